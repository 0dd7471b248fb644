//! Deltas: what an object has of its base, and what it has not (gitformat-pack, "Deltified representation").
//!
//! ```text
//! size of the base · size of the result · then of each piece:
//! 1sssoooo offset and size, as many bytes of each as bits are set: from the base       0nnnnnnn: n bytes that follow
//! ```
//!
//! A delta is read as a stream and its base by positions, so neither is held for it. What comes out is as long as the head says, to
//! which the caller has agreed.

use std::io::{ErrorKind, Read};

use super::content::{Content, Output};
use crate::error::{Error, Result};

/// Bytes that are copied at once.
const PORTION: usize = 16 << 10;
/// The size of a piece of the base that says none.
const UNSAID: u64 = 0x1_0000;

/// The sizes of base and result.
pub(crate) fn sizes(delta: &mut impl Read) -> Result<(u64, u64)> {
    Ok((size(delta)?, size(delta)?))
}

/// Writes the result of a delta whose sizes have been read.
pub(crate) fn apply(base: &Content, delta: &mut impl Read, size: u64, to: &mut Output) -> Result<()> {
    let mut buffer = [0; PORTION];
    let mut left = size;
    let mut take = |length: u64| {
        left = left.checked_sub(length).ok_or_else(|| Error::pack("a delta gives more than it says"))?;
        Ok::<_, Error>(left)
    };
    while let Some(code) = byte(delta)? {
        if code & 0x80 != 0 {
            let mut at = number(delta, code & 15)?;
            let mut length =
                Some(number(delta, code >> 4 & 7)?).filter(|length| *length > 0).unwrap_or(UNSAID);
            take(length)?;
            if at + length > base.len() {
                return Err(Error::pack("a delta takes what its base does not have"));
            }
            while length > 0 {
                let part = &mut buffer[..usize::try_from(length).unwrap_or(PORTION).min(PORTION)];
                base.read_at(at, part)?;
                to.write(part)?;
                at += part.len() as u64;
                length -= part.len() as u64;
            }
        } else {
            let part = &mut buffer[..usize::from(code)];
            if part.is_empty() {
                return Err(Error::pack("a delta has a code that means nothing"));
            }
            take(part.len() as u64)?;
            delta.read_exact(part).map_err(of_delta)?;
            to.write(part)?;
        }
    }
    match take(0)? {
        0 => Ok(()),
        _ => Err(Error::pack("a delta gives less than it says")),
    }
}

/// Bytes of a number of which `present` says which are there, the lowest first.
fn number(delta: &mut impl Read, present: u8) -> Result<u64> {
    let mut number = 0;
    for place in 0..4 {
        if present >> place & 1 != 0 {
            number |= u64::from(byte(delta)?.ok_or_else(short)?) << (8 * place);
        }
    }
    Ok(number)
}

fn size(delta: &mut impl Read) -> Result<u64> {
    let (mut size, mut shift) = (0, 0);
    loop {
        let byte = byte(delta)?.ok_or_else(short)?;
        if shift > 56 {
            return Err(Error::pack("a delta says a size beyond all sizes"));
        }
        size |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
}

/// The next byte; `None` at the end.
fn byte(delta: &mut impl Read) -> Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match delta.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(of_delta(error)),
        }
    }
}

fn short() -> Error {
    Error::pack("a delta ends in the middle")
}

fn of_delta(error: std::io::Error) -> Error {
    if error.kind() == ErrorKind::UnexpectedEof { short() } else { Error::of_reading(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(base: &[u8], mut delta: &[u8]) -> Result<Vec<u8>> {
        let base = Content::of(base.to_vec());
        let (_, size) = sizes(&mut delta)?;
        assert!(size < 1 << 20, "as large as a test may be");
        let mut to = Output::memory();
        apply(&base, &mut delta, size, &mut to)?;
        let content = to.finish()?;
        let mut bytes = vec![0; usize::try_from(content.len()).unwrap()];
        content.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn deltas_give_what_they_say_or_nothing() {
        let told = |delta: &[u8]| match applied(b"0123456789", delta) {
            Ok(bytes) => String::from_utf8(bytes).unwrap(),
            Err(error) => format!("! {error}"),
        };
        for (delta, want) in [
            (&[10, 3, 0x91, 2, 3][..], "234"),
            (&[10, 5, 2, b'a', b'b', 0x90, 3], "ab012"),
            (&[10, 0], ""),
            (&[10, 4, 0x91, 2, 3], "! the pack is damaged: a delta gives less than it says"),
            (&[10, 2, 0x91, 2, 3], "! the pack is damaged: a delta gives more than it says"),
            (&[10, 3, 0x91, 8, 3], "! the pack is damaged: a delta takes what its base does not have"),
            (&[10, 3, 0x91, 2], "! the pack is damaged: a delta ends in the middle"),
            (&[10, 3, 3, b'a'], "! the pack is damaged: a delta ends in the middle"),
            (&[10, 3, 0], "! the pack is damaged: a delta has a code that means nothing"),
            (&[10], "! the pack is damaged: a delta ends in the middle"),
            (&[0x80; 20], "! the pack is damaged: a delta says a size beyond all sizes"),
        ] {
            assert_eq!(told(delta), want, "{delta:?}");
        }
        // A piece without a size has 65,536 bytes.
        let base = vec![7; 0x1_0000];
        assert_eq!(applied(&base, &[0x80, 0x80, 4, 0x80, 0x80, 4, 0x80]).unwrap(), base);
    }

    proptest::proptest! {
        #[test]
        fn no_delta_does_harm(base: Vec<u8>, size in 0_u8..100, delta: Vec<u8>) {
            let delta = [vec![0, size], delta].concat();
            if let Ok(bytes) = applied(&base, &delta) {
                proptest::prop_assert_eq!(bytes.len(), usize::from(size));
            }
        }
    }
}
