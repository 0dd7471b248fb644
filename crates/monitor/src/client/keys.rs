//! Detach keys: a sequence of bytes that ends a session when it is typed.

/// Looks for the sequence in what passes by.
#[derive(Debug)]
pub(crate) struct DetachKeys<'a> {
    sequence: &'a [u8],
    matched: usize,
}

impl<'a> DetachKeys<'a> {
    pub(crate) fn new(sequence: &'a [u8]) -> DetachKeys<'a> {
        DetachKeys { sequence, matched: 0 }
    }

    /// Appends to `out` what of `typed` goes on to the container, and tells whether the sequence is complete.
    /// The beginning of a possible sequence is held back until it is clear what it becomes.
    pub(crate) fn pass(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        if self.sequence.is_empty() {
            out.extend_from_slice(typed);
            return false;
        }
        for &byte in typed {
            while self.matched > 0 && self.sequence[self.matched] != byte {
                self.fall_back(out);
            }
            if self.sequence[self.matched] == byte {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    return true;
                }
            } else {
                out.push(byte);
            }
        }
        false
    }

    /// Shortens the match to the longest one that its own end begins; what precedes that goes on.
    fn fall_back(&mut self, out: &mut Vec<u8>) {
        let held = &self.sequence[..self.matched];
        let shorter = (0..self.matched).rev().find(|&length| held.ends_with(&self.sequence[..length]));
        let shorter = shorter.unwrap_or(0);
        out.extend_from_slice(&held[..self.matched - shorter]);
        self.matched = shorter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_detaches_and_everything_else_passes() {
        for (sequence, typed, passed, detached) in [
            ("\x10\x11", "ab\x10\x11cd", "ab", true),
            ("\x10\x11", "\x10x\x10\x10\x11", "\x10x\x10", true),
            ("\x10\x11", "\x10", "", false),
            ("aab", "aaab", "a", true),
            ("aab", "aacaab!", "aac", true),
            ("abab", "ababab", "", true),
            ("abac", "ababac", "ab", true),
            ("", "\x10\x11", "\x10\x11", false),
            ("q", "xyz", "xyz", false),
        ] {
            for step in 1..=typed.len().max(1) {
                let mut keys = DetachKeys::new(sequence.as_bytes());
                let mut out = Vec::new();
                let found = typed.as_bytes().chunks(step).any(|part| keys.pass(part, &mut out));
                assert_eq!(
                    (out.as_slice(), found),
                    (passed.as_bytes(), detached),
                    "{sequence:?} in {typed:?}"
                );
            }
        }
    }
}
