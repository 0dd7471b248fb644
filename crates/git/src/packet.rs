//! Packets (gitprotocol-common): four hexadecimal digits of a length, their own four included, and what they announce.
//!
//! Nothing longer than a packet may be is ever held.

use std::io::{self, Read};

use crate::error::{Error, Result, excerpt};

/// The longest packet, its length included.
const LONGEST: usize = 65_520;

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// The end of a message.
    Flush,
    /// The end of a section.
    Delimiter,
    /// The end of an answer, which servers send to relays alone.
    End,
    /// What it carries.
    Data(&'a [u8]),
}

impl<'a> Packet<'a> {
    /// What it carries as a line, without its end.
    pub(crate) fn line(&self) -> Option<&'a [u8]> {
        match self {
            Self::Data(data) => Some(data.strip_suffix(b"\n").unwrap_or(data)),
            Self::Flush | Self::Delimiter | Self::End => None,
        }
    }
}

/// Reads packets.
pub(crate) struct Packets<R> {
    inner: R,
    buffer: Vec<u8>,
}

impl<R: Read> Packets<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new() }
    }

    /// The next packet; `None` where the answer ends. A packet in which the server says why it goes no further is an error.
    pub(crate) fn next(&mut self) -> Result<Option<Packet<'_>>> {
        let mut length = [0; 4];
        match read_up_to(&mut self.inner, &mut length)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(ends_too_soon()),
        }
        let Some(length) = length
            .iter()
            .try_fold(0, |length, digit| Some(length << 4 | char::from(*digit).to_digit(16)? as usize))
        else {
            return Err(Error::protocol(format!("a packet of length {:?}", excerpt(&length))));
        };
        match length {
            0 => return Ok(Some(Packet::Flush)),
            1 => return Ok(Some(Packet::Delimiter)),
            2 => return Ok(Some(Packet::End)),
            4..=LONGEST => {}
            _ => return Err(Error::protocol(format!("a packet of {length} bytes"))),
        }
        self.buffer.resize(length - 4, 0);
        if read_up_to(&mut self.inner, &mut self.buffer)? < self.buffer.len() {
            return Err(ends_too_soon());
        }
        if let Some(said) = self.buffer.strip_prefix(b"ERR ") {
            return Err(Error::Refused { said: excerpt(said) });
        }
        Ok(Some(Packet::Data(&self.buffer)))
    }

    /// The same where the answer must not end yet.
    pub(crate) fn expect(&mut self) -> Result<Packet<'_>> {
        self.next()?.ok_or_else(ends_too_soon)
    }
}

fn ends_too_soon() -> Error {
    let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle");
    Error::Transfer { source }
}

/// Fills the buffer as far as there is something to fill it with.
fn read_up_to(inner: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match inner.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::of_reading(error)),
        }
    }
    Ok(filled)
}

/// Adds a packet that carries a line.
pub(crate) fn write_line(to: &mut Vec<u8>, line: &str) {
    to.extend_from_slice(format!("{:04x}{line}\n", line.len() + 5).as_bytes());
}

/// Adds a packet that carries what it is given as it is.
pub(crate) fn write_packet(to: &mut Vec<u8>, data: &[u8]) {
    to.extend_from_slice(format!("{:04x}", data.len() + 4).as_bytes());
    to.extend_from_slice(data);
}

/// Adds the end of a section.
pub(crate) fn write_delimiter(to: &mut Vec<u8>) {
    to.extend_from_slice(b"0001");
}

/// Adds the end of a message.
pub(crate) fn write_flush(to: &mut Vec<u8>) {
    to.extend_from_slice(b"0000");
}

/// What comes in the first band of a multiplexed stream (gitprotocol-v2, "packfile"), to its end.
pub(crate) struct SideBand<R> {
    packets: Packets<R>,
    /// What of the last packet was not read yet.
    from: usize,
    to: usize,
    is_over: bool,
}

impl<R: Read> SideBand<R> {
    pub(crate) fn new(packets: Packets<R>) -> Self {
        Self { packets, from: 0, to: 0, is_over: false }
    }

    fn fill(&mut self) -> Result<()> {
        while self.from == self.to && !self.is_over {
            match self.packets.expect()? {
                Packet::Data([1, data @ ..]) => (self.from, self.to) = (1, data.len() + 1),
                Packet::Data([2, said @ ..]) => tracing::debug!(said = %excerpt(said), "the server"),
                Packet::Data([3, said @ ..]) => return Err(Error::Refused { said: excerpt(said) }),
                Packet::Data(_) => return Err(Error::protocol("a packet of no known band")),
                Packet::Flush | Packet::Delimiter | Packet::End => self.is_over = true,
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for SideBand<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill().map_err(io::Error::other)?;
        let data = &self.packets.buffer[self.from..self.to];
        let read = data.len().min(buffer.len());
        buffer[..read].copy_from_slice(&data[..read]);
        self.from += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of some bytes, as text.
    fn told(bytes: &[u8]) -> String {
        let mut packets = Packets::new(bytes);
        let mut told = String::new();
        loop {
            match packets.next() {
                Ok(None) => return told,
                Ok(Some(packet)) => told.push_str(&match packet.line() {
                    Some(line) => format!("{:?} ", String::from_utf8_lossy(line)),
                    None => format!("{packet:?} "),
                }),
                Err(error) => return format!("{told}! {error}"),
            }
        }
    }

    #[test]
    fn packets_are_read_to_their_end() {
        for (bytes, want) in [
            (&b""[..], ""),
            (b"0005a0004000100020000", "\"a\" \"\" Delimiter End Flush "),
            (b"0006a\n0006a\n", "\"a\" \"a\" "),
            (b"0003", "! the server's answer makes no sense: a packet of 3 bytes"),
            (b"fff1", "! the server's answer makes no sense: a packet of 65521 bytes"),
            (b"+005", "! the server's answer makes no sense: a packet of length \"+005\""),
            (b"000", "! read the server's answer"),
            (b"0009abc", "! read the server's answer"),
            (b"000eERR no\x1b[2J\n", "! the server refuses: no [2J"),
        ] {
            assert_eq!(told(bytes), want, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn bands_are_told_apart() {
        let read = |bytes: &[u8]| {
            let mut read = Vec::new();
            match SideBand::new(Packets::new(bytes)).read_to_end(&mut read) {
                Ok(_) => String::from_utf8(read).unwrap(),
                Err(error) => format!("! {error}"),
            }
        };
        assert_eq!(read(b"0007\x01ab0006\x02x0005\x010006\x01c0000"), "abc");
        assert_eq!(read(b"0007\x01ab0009\x03gone"), "! the server refuses: gone");
        assert_eq!(read(b"0007\x01ab"), "! read the server's answer");
        assert_eq!(read(b"0006\x09x"), "! the server's answer makes no sense: a packet of no known band");
        assert_eq!(read(b"0004"), "! the server's answer makes no sense: a packet of no known band");
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_sent_does_harm(bytes in "([0-9a-f]{4}|000[0-9]|\\PC{0,20}){0,20}") {
            let first = told(bytes.as_bytes());
            proptest::prop_assert_eq!(told(bytes.as_bytes()), first);
            let mut read = Vec::new();
            drop(SideBand::new(Packets::new(bytes.as_bytes())).read_to_end(&mut read));
            proptest::prop_assert!(read.len() <= bytes.len());
        }

        #[test]
        fn what_is_written_is_read(lines in proptest::collection::vec("[a-zA-Z0-9 ]{0,100}", 0..20)) {
            let mut bytes = Vec::new();
            lines.iter().for_each(|line| write_line(&mut bytes, line));
            write_flush(&mut bytes);
            let mut packets = Packets::new(&bytes[..]);
            for line in &lines {
                let packet = packets.next().unwrap().unwrap();
                let data = packet.line().unwrap().to_vec();
                proptest::prop_assert_eq!(String::from_utf8(data).unwrap(), line.clone());
            }
            proptest::prop_assert_eq!(packets.next().unwrap(), Some(Packet::Flush));
        }
    }
}
