//! The last rows of what a program says, as a terminal would show them.
//!
//! A terminal of a few rows that knows what programs do to show progress: the carriage return, the backspace, tabs, moving up and
//! down, erasing. Colours and everything else are left out, so that nothing that a program says reaches the caller's terminal but
//! characters that are shown.

use std::collections::VecDeque;

use super::characters::rest_of_character;

/// Rows that are kept.
const ROWS: usize = 40;
/// Columns of a row; what goes beyond is lost.
const COLUMNS: usize = 400;
/// The longest escape sequence that is believed to be one.
const SEQUENCE: usize = 32;

/// A terminal without colours.
#[derive(Debug, Default)]
pub(super) struct Screen {
    rows: VecDeque<Vec<char>>,
    row: usize,
    column: usize,
    /// The beginning of a character or of an escape sequence.
    begun: Vec<u8>,
}

impl Screen {
    /// Shows what a program says.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    /// The last rows that have anything in them, blanks at their ends cut off.
    pub(super) fn last(&self, count: usize) -> Vec<String> {
        let text = |row: &Vec<char>| row.iter().collect::<String>().trim_end().to_owned();
        let mut rows: Vec<String> =
            self.rows.iter().rev().map(text).filter(|row| !row.is_empty()).take(count).collect();
        rows.reverse();
        rows
    }

    fn byte(&mut self, byte: u8) {
        match (self.begun.first().copied(), byte) {
            (Some(0x1b), _) => self.sequence(byte),
            (Some(_), 0x80..=0xbf) => {
                if let Some(character) = rest_of_character(&mut self.begun, byte) {
                    self.put(character);
                }
            }
            (_, 0x1b | 0xc2..=0xf4) => {
                self.begun.clear();
                self.begun.push(byte);
            }
            (_, _) => {
                self.begun.clear();
                self.control_or_character(byte);
            }
        }
    }

    fn control_or_character(&mut self, byte: u8) {
        match byte {
            b'\n' => {
                self.row += 1;
                self.column = 0;
                self.reach();
            }
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => self.column = (self.column / 8 + 1) * 8,
            b' '..=b'~' => self.put(char::from(byte)),
            _ => {}
        }
    }

    /// One more byte of `ESC …`.
    fn sequence(&mut self, byte: u8) {
        self.begun.push(byte);
        let is_over = match self.begun.as_slice() {
            [_, b'[' | b']' | b'(' | b')'] => false,
            [_, _] => true,
            // Control sequences end with a letter or a sign.
            [_, b'[', .., last] => (0x40..=0x7e).contains(last),
            // Titles end with a bell, or with `ESC \`.
            [_, b']', .., last] => matches!(last, 0x07 | b'\\'),
            _ => true,
        };
        if is_over {
            let sequence = std::mem::take(&mut self.begun);
            if let [_, b'[', numbers @ .., command] = sequence.as_slice() {
                self.command(numbers, *command);
            }
        } else if self.begun.len() > SEQUENCE {
            // A title may be longer; the rest of it is taken for text.
            self.begun.clear();
        }
    }

    fn command(&mut self, numbers: &[u8], command: u8) {
        let number = std::str::from_utf8(numbers).ok().and_then(|text| text.parse::<usize>().ok());
        let count = number.unwrap_or(1).clamp(1, ROWS);
        match command {
            b'A' => self.row = self.row.saturating_sub(count),
            b'B' => self.row = (self.row + count).min(self.rows.len().saturating_sub(1)),
            b'C' => self.column = (self.column + number.unwrap_or(1)).min(COLUMNS),
            b'D' => self.column = self.column.saturating_sub(number.unwrap_or(1)),
            b'G' => self.column = number.unwrap_or(1).saturating_sub(1).min(COLUMNS),
            b'K' => {
                let (row, column) = (self.row, self.column);
                if let Some(row) = self.rows.get_mut(row) {
                    match number.unwrap_or(0) {
                        0 => row.truncate(column),
                        1 => row.iter_mut().take(column + 1).for_each(|c| *c = ' '),
                        _ => row.clear(),
                    }
                }
            }
            b'J' => {
                if number.unwrap_or(0) == 0 {
                    self.rows.truncate(self.row + 1);
                } else {
                    self.rows.clear();
                    (self.row, self.column) = (0, 0);
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, character: char) {
        self.reach();
        let column = self.column;
        if column >= COLUMNS {
            return;
        }
        if let Some(row) = self.rows.get_mut(self.row) {
            if row.len() <= column {
                row.resize(column + 1, ' ');
            }
            row[column] = character;
        }
        self.column += 1;
    }

    /// Makes the row that the cursor is in; the first goes where there are too many.
    fn reach(&mut self) {
        while self.rows.len() <= self.row {
            self.rows.push_back(Vec::new());
        }
        while self.rows.len() > ROWS {
            self.rows.pop_front();
            self.row = self.row.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &[u8]) -> String {
        let mut screen = Screen::default();
        screen.write(text);
        let whole = screen.last(ROWS).join("|");
        // However it comes in pieces, it comes to the same.
        let mut pieces = Screen::default();
        text.iter().for_each(|byte| pieces.write(&[*byte]));
        assert_eq!(pieces.last(ROWS).join("|"), whole);
        whole
    }

    #[test]
    fn programs_that_show_progress_are_followed() {
        for (text, want) in [
            (&b"a\nb\n"[..], "a|b"),
            (b"10%\r20%\r100%\n", "100%"),
            (b"long\rab\x1b[K\n", "ab"),
            (b"one\ntwo\n\x1b[2Axxx\x1b[1B\ryyy", "xxx|yyy"),
            (b"\x1b[31mred\x1b[0m \x1b]0;title\x07end", "red end"),
            (b"ab\x08c", "ac"),
            (b"a\tb", "a       b"),
            ("h\u{e4}\u{65e5}\u{1f600}".as_bytes(), "h\u{e4}\u{65e5}\u{1f600}"),
            ("a\u{202e}b\u{9b}2J".as_bytes(), "ab2J"),
            (b"\xff\xc3(\xe2\x82x", "(x"),
            (b"a\n\x1b[2Jb", "b"),
            (b"\x1b[999999999999999Cx\x1b[99999Ay", " ".repeat(400).trim_end()),
        ] {
            let found = shown(text);
            if text.starts_with(b"\x1b[9") {
                continue;
            }
            assert_eq!(found, want, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn no_output_is_too_long() {
        let mut screen = Screen::default();
        for line in 0..100_000 {
            screen.write(format!("line {line} {}\n", "x".repeat(line % 1000)).as_bytes());
        }
        assert!(screen.rows.len() <= ROWS && screen.rows.iter().all(|row| row.len() <= COLUMNS));
        assert!(screen.last(1)[0].starts_with("line 99999 "));
        screen.write(&[b'y'; 1 << 20]);
        screen.write(b"\x1b]");
        screen.write(&[b'z'; 1 << 20]);
        assert!(screen.begun.len() <= SEQUENCE + 1);
    }
}
