//! Rows at the end of a terminal that are drawn over and over, one for each layer that moves.
//!
//! ```text
//! settled rows         done, and drawn for the last time: they may leave the terminal above
//! ─────────────
//! drawn rows           as many as the terminal has room for
//! ─────────────        the cursor
//! further rows         not drawn until there is room
//! ```

use std::time::{Duration, Instant};

use crate::output;

/// How often they are drawn while nothing happens but that bytes move.
pub(super) const EVERY: Duration = Duration::from_millis(100);

/// What stands on the terminal.
#[derive(Default)]
pub(super) struct Rows {
    settled: usize,
    drawn: usize,
    last: Option<Instant>,
}

/// Where drawing them ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// At the last row of the terminal: what has left it above cannot be drawn over.
    Terminal,
    /// At the last of them. Nothing is drawn over after this.
    All,
}

impl Rows {
    /// Whether it is time to draw them again.
    pub(super) fn is_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= EVERY)
    }

    /// What draws all rows, each with whether it is done, over what stands there.
    pub(super) fn draw(&mut self, rows: &[(String, bool)], extent: Extent) -> String {
        let height = match extent {
            Extent::Terminal => output::height().saturating_sub(1).max(1),
            Extent::All => usize::MAX,
        };
        self.last = Some(Instant::now());
        self.draw_on(rows, height, output::width().max(20) - 1)
    }

    fn draw_on(&mut self, rows: &[(String, bool)], height: usize, width: usize) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        let unsettled = rows.get(self.settled..).unwrap_or_default();
        let too_many = unsettled.len().saturating_sub(height);
        let settling = unsettled.iter().take(too_many).take_while(|(_, is_done)| *is_done).count();
        let shown = unsettled.len().min(settling.saturating_add(height));
        for (row, _) in &unsettled[..shown] {
            let row: String = row.chars().take(width).collect();
            text.push_str(&format!("\r{row}\x1b[K\n"));
        }
        self.drawn = shown - settling;
        self.settled += settling;
        text
    }

    /// What takes them away, for a line that is to stand above; they are drawn anew after that.
    pub(super) fn lift(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            drawn => format!("\x1b[{drawn}A\r\x1b[J"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(done: &[bool]) -> Vec<(String, bool)> {
        (0..).zip(done).map(|(number, done)| (format!("row {number}"), *done)).collect()
    }

    #[test]
    fn those_that_are_done_make_room_for_others() {
        let mut block = Rows::default();
        let drawn = |number: u32| format!("\rrow {number}\x1b[K\n");
        let mut draw = |done: &[bool], height| block.draw_on(&rows(done), height, 80);
        assert_eq!(draw(&[false; 4], 2), drawn(0) + &drawn(1));
        // The second has to wait for the first.
        assert_eq!(draw(&[false, true, false, false], 2), format!("\x1b[2A{}{}", drawn(0), drawn(1)));
        let both = [drawn(0), drawn(1), drawn(2), drawn(3)].concat();
        assert_eq!(draw(&[true, true, false, false], 2), format!("\x1b[2A{both}"));
        assert_eq!(draw(&[true; 4], usize::MAX), format!("\x1b[2A{}{}", drawn(2), drawn(3)));
    }

    #[test]
    fn no_row_is_longer_than_the_terminal_is_wide() {
        let row = [("a long row".to_owned(), false)];
        assert_eq!(Rows::default().draw_on(&row, 10, 6), "\ra long\x1b[K\n");
    }
}
