//! Cuts a stream into lines, and lines that are too long into pieces.

/// The longest line that is kept in one piece; Docker's bound.
pub(crate) const LINE_LIMIT: usize = 16 << 10;

/// What a stream has said since its last line end.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// At most [`LINE_LIMIT`] bytes; holds no memory while it is empty.
    rest: Vec<u8>,
    /// The line of which pieces were handed over.
    begun: Option<Box<Begun>>,
}

/// A line that is too long.
#[derive(Debug)]
struct Begun {
    id: String,
    pieces: u32,
    time_ns: i64,
}

/// Which piece of a longer line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// 64 hex digits, the same for all pieces of a line.
    pub(crate) id: &'a str,
    /// From 1.
    pub(crate) ordinal: u32,
    pub(crate) last: bool,
}

/// A line, with its line feed, or a piece of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) part: Option<Part<'a>>,
    /// When the line began.
    pub(crate) time_ns: i64,
}

impl Lines {
    /// Hands every line of what was `said` at `now_ns` to `emit`, with its line end. A piece of a line that is too
    /// long has none, and is never cut within a UTF-8 character.
    pub(crate) fn push(&mut self, said: &[u8], now_ns: i64, mut emit: impl FnMut(Cut<'_>)) {
        let mut said = said;
        while let Some(end) = memchr(b'\n', said) {
            let (line, behind) = said.split_at(end + 1);
            said = behind;
            if self.rest.is_empty() && self.begun.is_none() && line.len() <= LINE_LIMIT + 1 {
                emit(Cut { text: line, part: None, time_ns: now_ns });
                continue;
            }
            self.piece(line, now_ns, &mut emit);
            let text = std::mem::take(&mut self.rest);
            match self.begun.take() {
                None => emit(Cut { text: &text, part: None, time_ns: now_ns }),
                Some(begun) => emit(begun.cut(&text, true)),
            }
        }
        self.piece(said, now_ns, &mut emit);
    }

    /// Hands over what is left at the end of a stream: a piece that nothing follows.
    pub(crate) fn finish(&mut self, now_ns: i64, mut emit: impl FnMut(Cut<'_>)) {
        let text = std::mem::take(&mut self.rest);
        if !text.is_empty() {
            self.emit_piece(&text, now_ns, &mut emit);
        }
        self.begun = None;
    }

    /// Adds to the rest, and hands over full pieces while more than one fits.
    fn piece(&mut self, mut said: &[u8], now_ns: i64, emit: &mut impl FnMut(Cut<'_>)) {
        // The limit counts without the line end, as Docker's buffer does.
        while self.rest.len() + said.len() > LINE_LIMIT
            && !(self.rest.len() + said.len() == LINE_LIMIT + 1 && said.ends_with(b"\n"))
        {
            let room = LINE_LIMIT.saturating_sub(self.rest.len());
            let (head, behind) = said.split_at(room.min(said.len()));
            self.rest.extend_from_slice(head);
            said = behind;
            let mut text = std::mem::take(&mut self.rest);
            let behind = text.split_off(character_boundary(&text));
            self.emit_piece(&text, now_ns, emit);
            self.rest = behind;
        }
        self.rest.extend_from_slice(said);
    }

    fn emit_piece(&mut self, text: &[u8], now_ns: i64, emit: &mut impl FnMut(Cut<'_>)) {
        let begun =
            self.begun.get_or_insert_with(|| Box::new(Begun { id: random_id(), pieces: 0, time_ns: now_ns }));
        emit(begun.cut(text, false));
        begun.pieces = begun.pieces.saturating_add(1);
    }
}

impl Begun {
    fn cut<'a>(&'a self, text: &'a [u8], last: bool) -> Cut<'a> {
        let part = Part { id: &self.id, ordinal: self.pieces.saturating_add(1), last };
        Cut { text, part: Some(part), time_ns: self.time_ns }
    }
}

/// Tells the pieces of one line from those of any other.
fn random_id() -> String {
    let mut bytes = [0_u8; 32];
    // Where the kernel has no random bytes yet, lines that are cut then share an id.
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
            lines.push(part, 1, |line| cut.push(line.text.to_vec()));
        }
        lines.finish(1, |line| cut.push(line.text.to_vec()));
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
        lines.push(b"begun", 1, |_| {});
        lines.push(b" and ended\n", 1, |_| {});
        assert_eq!(lines.rest.capacity(), 0);
        assert!(lines.begun.is_none());
    }

    #[test]
    fn pieces_say_which_line_they_belong_to() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut note = |cut: Cut<'_>| {
            let part = cut.part.map(|part| (part.id.to_owned(), part.ordinal, part.last));
            seen.push((cut.text.len(), part, cut.time_ns));
        };
        lines.push(&vec![b'x'; 2 * LINE_LIMIT + 10], 1, &mut note);
        lines.push(b"end\nshort\nrest", 2, &mut note);
        lines.finish(3, &mut note);
        let id = |index: usize| seen[index].1.clone().unwrap().0;
        let told: Vec<_> = seen
            .iter()
            .map(|(length, part, time)| (*length, part.as_ref().map(|part| (part.1, part.2)), *time))
            .collect();
        assert_eq!(
            told,
            [
                (LINE_LIMIT, Some((1, false)), 1),
                (LINE_LIMIT, Some((2, false)), 1),
                (14, Some((3, true)), 1),
                (6, None, 2),
                (4, Some((1, false)), 3),
            ]
        );
        assert_eq!(id(0).len(), 64);
        assert!(id(0) == id(1) && id(0) == id(2) && id(0) != id(4));
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
