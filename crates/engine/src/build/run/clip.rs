//! How much of what a program says is passed on: as BuildKit has it, so much in all, and so much per second if that is asked for.
//!
//! ```text
//! said:   0123456789abcdefghijklmnopqrstuvwxyz      passed on:  012345
//!         └─limit─┘└──── left out ────┘└ end ┘                  [output clipped, log limit 6B reached]
//!                                                               [output clipped: 23B left out]
//!                                                               uvwxyz
//! ```
//!
//! Unlike there, the end is passed on too: what a program says last is why it failed. A stream that is slow enough again is passed on
//! again. Nothing that a program says takes more memory than [`END`]; pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::request::OutputLimits;

/// How much of the end of what was left out is passed on.
const END: usize = 16 << 10;

/// One stream of one program.
#[derive(Debug, Default)]
pub(super) struct Clip {
    limits: OutputLimits,
    /// Bytes that the program has said so far.
    said: u64,
    /// What was left out last, if the stream is being clipped.
    clipped: Option<Clipped>,
}

/// What is left out.
#[derive(Debug, Default)]
struct Clipped {
    bytes: u64,
    end: VecDeque<u8>,
}

impl Clip {
    pub(super) fn new(limits: OutputLimits) -> Clip {
        Clip { limits, ..Clip::default() }
    }

    /// What the program says, `since` it began to; hands on to `out` what is to be seen of it.
    pub(super) fn say(&mut self, bytes: &[u8], since: Duration, out: &mut dyn FnMut(&[u8])) {
        let (most, reason) = self.most(since);
        let room = usize::try_from(most.saturating_sub(self.said)).unwrap_or(usize::MAX);
        let (seen, left_out) = bytes.split_at(room.min(bytes.len()));
        self.said = self.said.saturating_add(bytes.len() as u64);
        if !seen.is_empty() {
            out(seen);
        }
        if left_out.is_empty() {
            // Slow enough again: what was left out is lost.
            if !seen.is_empty() {
                self.clipped = None;
            }
            return;
        }
        let clipped = self.clipped.get_or_insert_with(|| {
            out(format!("\n[output clipped, log limit {reason} reached]\n").as_bytes());
            Clipped::default()
        });
        clipped.keep(left_out);
    }

    /// The stream has ended.
    pub(super) fn end(&mut self, out: &mut dyn FnMut(&[u8])) {
        let Some(Clipped { bytes, end }) = self.clipped.take() else { return };
        let end = Vec::from(end);
        // Half a line at the beginning is left out, too, unless it is all there is.
        let is_cut = bytes > end.len() as u64;
        let line = end.iter().position(|byte| *byte == b'\n').filter(|_| is_cut).map_or(0, |at| at + 1);
        let shown = if line < end.len() { &end[line..] } else { &end[..] };
        let left_out = bytes - shown.len() as u64;
        if left_out > 0 {
            out(format!("[output clipped: {} left out]\n", shown_bytes(left_out)).as_bytes());
        }
        out(shown);
    }

    /// How much may have been said by now, and what limits it.
    fn most(&self, since: Duration) -> (u64, String) {
        let OutputLimits { size, speed } = self.limits;
        let seconds = since.as_secs() + u64::from(since.subsec_nanos() > 0);
        let by_speed = speed.map(|speed| (speed.saturating_mul(seconds.max(1)), speed));
        match (size, by_speed) {
            (Some(size), Some((most, _))) if size < most => (size, shown_bytes(size)),
            (_, Some((most, speed))) => (most, format!("{}/s", shown_bytes(speed))),
            (Some(size), None) => (size, shown_bytes(size)),
            (None, None) => (u64::MAX, String::new()),
        }
    }
}

impl Clipped {
    fn keep(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let bytes = &bytes[bytes.len().saturating_sub(END)..];
        let excess = (self.end.len() + bytes.len()).saturating_sub(END);
        self.end.drain(..excess);
        self.end.extend(bytes);
    }
}

/// `2MiB`, `1.5KiB`, `7B`: at most two digits behind the point.
fn shown_bytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x400 => return format!("{bytes}B"),
        0x400..0x10_0000 => (0x400, "KiB"),
        0x10_0000..0x4000_0000 => (0x10_0000, "MiB"),
        _ => (0x4000_0000_u64, "GiB"),
    };
    let (whole, hundredths) = (bytes / unit, u128::from(bytes % unit) * 100 / u128::from(unit));
    let text = format!("{whole}.{hundredths:02}");
    format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of what is said, at which milliseconds.
    fn seen(size: Option<u64>, speed: Option<u64>, said: &[(u64, &str)]) -> String {
        let mut clip = Clip::new(OutputLimits { size, speed });
        let mut all = Vec::new();
        for (at, text) in said {
            clip.say(text.as_bytes(), Duration::from_millis(*at), &mut |bytes| all.extend_from_slice(bytes));
        }
        clip.end(&mut |bytes| all.extend_from_slice(bytes));
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn what_is_too_much_is_left_out_but_for_its_end() {
        assert_eq!(seen(Some(6), None, &[(0, "01"), (9, "2345")]), "012345");
        assert_eq!(
            seen(Some(6), None, &[(0, "012345678"), (9, "9")]),
            "012345\n[output clipped, log limit 6B reached]\n6789"
        );
        assert_eq!(seen(None, None, &[(0, "0123456789")]), "0123456789");
        assert_eq!(seen(Some(0), None, &[(0, "a\nb\n")]), "\n[output clipped, log limit 0B reached]\na\nb\n");
        let long = format!("{}\nlast\n", "x".repeat(END * 2));
        assert_eq!(
            seen(Some(2), None, &[(0, "a\n"), (1, &long)]),
            "a\n\n[output clipped, log limit 2B reached]\n[output clipped: 32KiB left out]\nlast\n"
        );
        // One line that is longer than what is kept.
        let endless = seen(Some(0), None, &[(0, &"y".repeat(END + 7))]);
        assert!(endless.ends_with(&format!("[output clipped: 7B left out]\n{}", "y".repeat(END))));
    }

    #[test]
    fn what_is_too_fast_is_left_out_until_it_is_slow_enough() {
        let said = [(0, "0123"), (999, "456"), (2001, "789"), (2002, "abc")];
        assert_eq!(
            seen(Some(100), Some(4), &said),
            "0123\n[output clipped, log limit 4B/s reached]\n789ab\n[output clipped, log limit 4B/s reached]\nc"
        );
        assert_eq!(seen(Some(2), Some(4), &[(0, "0123")]), "01\n[output clipped, log limit 2B reached]\n23");
    }

    #[test]
    fn bytes_are_shown_as_by_buildkit() {
        for (bytes, want) in [
            (7, "7B"),
            (1023, "1023B"),
            (2048, "2KiB"),
            (1536, "1.5KiB"),
            (200 << 10, "200KiB"),
            (2 << 20, "2MiB"),
            (50_000_000, "47.68MiB"),
            (3 << 30, "3GiB"),
            (u64::MAX, "17179869183.99GiB"),
        ] {
            assert_eq!(shown_bytes(bytes), want);
        }
    }
}
