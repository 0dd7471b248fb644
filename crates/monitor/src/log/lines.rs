//! Cuts a stream into lines, and lines that are too long into pieces.

/// The longest line that is kept in one piece; Docker's bound.
pub(crate) const LINE_LIMIT: usize = 16 << 10;

/// What a stream has said since its last line end.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// At most [`LINE_LIMIT`] bytes; holds no memory while it is empty.
    rest: Vec<u8>,
}

impl Lines {
    /// Hands every line to `emit`, with its line end. A piece of a line that is too long has none, and is
    /// never cut within a UTF-8 character.
    pub(crate) fn push(&mut self, said: &[u8], mut emit: impl FnMut(&[u8])) {
        let mut said = said;
        while let Some(end) = memchr(b'\n', said) {
            let (line, behind) = said.split_at(end + 1);
            said = behind;
            if self.rest.is_empty() && line.len() <= LINE_LIMIT + 1 {
                emit(line);
            } else {
                self.piece(line, &mut emit);
                emit(&self.rest);
                self.rest = Vec::new();
            }
        }
        self.piece(said, &mut emit);
    }

    /// Hands over what is left at the end of a stream.
    pub(crate) fn finish(&mut self, mut emit: impl FnMut(&[u8])) {
        if !self.rest.is_empty() {
            emit(&std::mem::take(&mut self.rest));
        }
    }

    /// Adds to the rest, and hands over full pieces while more than one fits.
    fn piece(&mut self, mut said: &[u8], emit: &mut impl FnMut(&[u8])) {
        // The limit counts without the line end, as Docker's buffer does.
        while self.rest.len() + said.len() > LINE_LIMIT
            && !(self.rest.len() + said.len() == LINE_LIMIT + 1 && said.ends_with(b"\n"))
        {
            let room = LINE_LIMIT.saturating_sub(self.rest.len());
            let (head, behind) = said.split_at(room.min(said.len()));
            self.rest.extend_from_slice(head);
            said = behind;
            let cut = character_boundary(&self.rest);
            emit(&self.rest[..cut]);
            self.rest.drain(..cut);
        }
        self.rest.extend_from_slice(said);
    }
}

/// The length of `bytes` without a character that has only begun at its end.
fn character_boundary(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    match tail.iter().rposition(|byte| byte & 0b1100_0000 == 0b1100_0000) {
        Some(position) => {
            let begun = tail.len() - position;
            let needed = match tail[position] {
                0b1100_0000..=0b1101_1111 => 2,
                0b1110_0000..=0b1110_1111 => 3,
                _ => 4,
            };
            if begun < needed { bytes.len() - begun } else { bytes.len() }
        }
        None => bytes.len(),
    }
}

fn memchr(wanted: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut cut = Vec::new();
        for part in parts {
            lines.push(part, |line| cut.push(line.to_vec()));
        }
        lines.finish(|line| cut.push(line.to_vec()));
        cut
    }

    #[test]
    fn long_lines_come_in_pieces_of_sixteen_kibibytes() {
        let line = |length: usize| [vec![b'x'; length], b"\n".to_vec()].concat();
        for (length, pieces) in [
            (LINE_LIMIT - 1, vec![LINE_LIMIT]),
            (LINE_LIMIT, vec![LINE_LIMIT + 1]),
            (LINE_LIMIT + 1, vec![LINE_LIMIT, 2]),
            (2 * LINE_LIMIT + 5, vec![LINE_LIMIT, LINE_LIMIT, 6]),
        ] {
            let whole = line(length);
            let lengths = |cut: Vec<Vec<u8>>| cut.iter().map(Vec::len).collect::<Vec<_>>();
            assert_eq!(lengths(cut(&[&whole])), pieces, "{length} at once");
            let (head, tail) = whole.split_at(1000);
            assert_eq!(lengths(cut(&[head, tail])), pieces, "{length} in two reads");
        }
    }

    #[test]
    fn a_character_is_never_cut() {
        for shift in 0..4 {
            let text = "a".repeat(shift) + &"\u{1F600}".repeat(LINE_LIMIT / 2);
            for piece in cut(&[text.as_bytes()]) {
                assert!(std::str::from_utf8(&piece).is_ok());
                assert!(piece.len() <= LINE_LIMIT);
            }
        }
    }

    #[test]
    fn no_memory_is_held_between_lines() {
        let mut lines = Lines::default();
        lines.push(b"begun", |_| {});
        lines.push(b" and ended\n", |_| {});
        assert_eq!(lines.rest.capacity(), 0);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_added_however_the_stream_is_read(
            stream in proptest::collection::vec(prop_oneof![9 => any::<u8>(), 1 => Just(b'\n')], 0..60_000),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            at.extend([0, stream.len()]);
            at.sort_unstable();
            let parts: Vec<&[u8]> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            let pieces = cut(&parts);
            prop_assert_eq!(&pieces, &cut(&[&stream]), "how it is read makes no difference");
            for piece in &pieces {
                prop_assert!(piece.strip_suffix(b"\n").unwrap_or(piece).len() <= LINE_LIMIT);
                let ends = piece.iter().filter(|&&byte| byte == b'\n').count();
                prop_assert!(ends == 0 || (ends == 1 && piece.ends_with(b"\n")));
            }
            prop_assert_eq!(pieces.concat(), stream);
        }
    }
}
