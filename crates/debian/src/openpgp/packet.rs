//! Packets and multi-precision integers (RFC 9580, sections 3.2 and 4).

use super::SignatureError;

/// What a packet is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Signature,
    PublicKey,
    PublicSubkey,
    UserId,
    /// Says nothing to anybody but who wrote it: markers, trust, padding.
    Passed,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) tag: Tag,
    pub(super) body: &'a [u8],
}

/// Debian's keyring has about 300.
const PACKETS_LIMIT: usize = 50_000;

/// Splits data into packets; ends after the first error.
pub(super) fn packets(bytes: &[u8]) -> impl Iterator<Item = Result<Packet<'_>, SignatureError>> {
    let (mut rest, mut count) = (bytes, 0);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        count += 1;
        let packet = take(&mut rest).filter(|_| count <= PACKETS_LIMIT);
        if packet.is_none() {
            rest = &[];
        }
        Some(packet.ok_or(SignatureError::Malformed { reason: "a packet is damaged" }))
    })
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<Packet<'a>> {
    let mut reader = Reader(rest);
    let first = reader.byte()?;
    let number = match first {
        0xc0.. => first & 0x3f,
        0x80.. => (first >> 2) & 0x0f,
        _ => return None,
    };
    let length = match (first, first & 3) {
        (0xc0.., _) => length(&mut reader)?,
        (_, 0) => usize::from(reader.byte()?),
        (_, 1) => usize::from(reader.u16()?),
        (_, 2) => usize::try_from(reader.u32()?).ok()?,
        // To the end of the data: nobody writes that around keys and signatures.
        _ => return None,
    };
    let body = reader.bytes(length)?;
    *rest = reader.0;
    let tag = match number {
        2 => Tag::Signature,
        6 => Tag::PublicKey,
        13 => Tag::UserId,
        14 => Tag::PublicSubkey,
        10 | 12 | 21 => Tag::Passed,
        _ => Tag::Other,
    };
    Some(Packet { tag, body })
}

/// A length of the new format, which subpackets have too; those in parts are not read.
pub(super) fn length(reader: &mut Reader<'_>) -> Option<usize> {
    match reader.byte()? {
        short @ 0..192 => Some(usize::from(short)),
        first @ 192..224 => Some(((usize::from(first) - 192) << 8) + usize::from(reader.byte()?) + 192),
        255 => usize::try_from(reader.u32()?).ok(),
        224..255 => None,
    }
}

/// Takes from the front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A number without its leading zeros: 16 bits with its length in bits, then its bytes.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        let bits = usize::from(self.u16()?);
        let bytes = self.bytes(bits.div_ceil(8))?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Some(&bytes[zeros..])
    }
}
