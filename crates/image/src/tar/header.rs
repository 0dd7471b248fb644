//! The 512-byte header: fields, numbers, checksum, dialects.
//!
//! ```text
//!   0 name[100]   100 mode[8]  108 uid[8]   116 gid[8]   124 size[12]  136 mtime[12]  148 checksum[8]
//! 156 type        157 link target[100]      257 magic[6] 263 version[2] 265 uname[32] 297 gname[32]
//! 329 major[8]    337 minor[8]
//! ustar: 345 prefix[155]       star: 345 prefix[131], "tar\0" at 508
//! GNU:   386 sparse[4 × 24]    482 extended   483 real size[12]
//! ```

use super::error::{Defect, Field};
use super::{Device, Time};

/// The bytes of one block.
pub(super) type Block = [u8; 512];

/// What marks the end of an archive, twice.
pub(super) const ZERO: Block = [0; 512];

/// A header whose checksum matches.
pub(super) struct Header<'a>(&'a Block);

/// Whether these bytes begin with a header: whether they may be an archive.
#[must_use]
pub fn is_header(start: &[u8]) -> bool {
    start.first_chunk::<512>().is_some_and(|block| *block != ZERO && Header::new(block).is_ok())
}

/// Which fields the writer knew.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// No magic: nothing after the link target.
    V7,
    /// POSIX: a prefix of 155 bytes.
    Ustar,
    /// Jörg Schilling's star: a prefix of 131 bytes.
    Star,
    /// GNU: long names in entries of their own, sparse maps in the header.
    Gnu,
}

impl<'a> Header<'a> {
    /// Checks the checksum, which old writers summed over signed bytes.
    pub(super) fn new(block: &'a Block) -> Result<Self, Defect> {
        let header = Self(block);
        let stored = number(&block[148..156], Field::Checksum).map_err(|_| Defect::Checksum)?;
        // The sum counts its own field as spaces. Plain sums over the whole block keep the loops simple enough to
        // run many bytes at a time; this is where parsing spends its time.
        let field = &block[148..156];
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
        let high = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte >> 7)).sum::<u32>();
        let unsigned = i64::from(sum(block) - sum(field)) + 8 * i64::from(b' ');
        // A byte with the top bit set counts 256 less when it is signed.
        let signed = unsigned - 256 * i64::from(high(block) - high(field));
        if stored == unsigned || stored == signed { Ok(header) } else { Err(Defect::Checksum) }
    }

    fn dialect(&self) -> Dialect {
        match (&self.0[257..263], &self.0[508..512]) {
            (b"ustar\0", b"tar\0") => Dialect::Star,
            (b"ustar\0", _) => Dialect::Ustar,
            (b"ustar ", _) => Dialect::Gnu,
            _ => Dialect::V7,
        }
    }

    /// The type flag.
    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Prefix and name, joined.
    pub(super) fn name(&self) -> Vec<u8> {
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&self.0[345..500]),
            Dialect::Star => text(&self.0[345..476]),
            Dialect::V7 | Dialect::Gnu => &[],
        };
        let name = text(&self.0[..100]);
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// The target of a link.
    pub(super) fn link_target(&self) -> &'a [u8] {
        text(&self.0[157..257])
    }

    /// Permission bits; some writers add the bits of the file type, which the type flag already tells.
    pub(super) fn mode(&self) -> Result<u16, Defect> {
        let mode = number(&self.0[100..108], Field::Mode)?;
        u16::try_from(mode & 0o7777).map_err(|_| Defect::OutOfRange(Field::Mode))
    }

    /// Owner.
    pub(super) fn uid(&self) -> Result<u32, Defect> {
        id(number(&self.0[108..116], Field::Uid)?, Field::Uid)
    }

    /// Group.
    pub(super) fn gid(&self) -> Result<u32, Defect> {
        id(number(&self.0[116..124], Field::Gid)?, Field::Gid)
    }

    /// Bytes of data in the archive.
    pub(super) fn size(&self) -> Result<u64, Defect> {
        unsigned(&self.0[124..136], Field::Size)
    }

    /// Modification time.
    pub(super) fn mtime(&self) -> Result<Time, Defect> {
        Ok(Time { secs: number(&self.0[136..148], Field::Mtime)?, nanos: 0 })
    }

    /// Device numbers, in the ranges that Linux has.
    pub(super) fn device(&self) -> Result<Device, Defect> {
        if self.dialect() == Dialect::V7 {
            return Err(Defect::NotANumber(Field::Device));
        }
        let part = |range: std::ops::Range<usize>, bits: u32| match number(&self.0[range], Field::Device)? {
            value if (0..1 << bits).contains(&value) => {
                u32::try_from(value).map_err(|_| Defect::OutOfRange(Field::Device))
            }
            _ => Err(Defect::OutOfRange(Field::Device)),
        };
        Ok(Device { major: part(329..337, 12)?, minor: part(337..345, 20)? })
    }

    /// The real size of an old GNU sparse file.
    pub(super) fn real_size(&self) -> Result<u64, Defect> {
        unsigned(&self.0[483..495], Field::Size)
    }

    /// The sparse map's first four items, and whether blocks with more items follow.
    pub(super) fn sparse_map(&self) -> (&'a [u8], bool) {
        (&self.0[386..482], self.0[482] != 0)
    }
}

/// An id that the kernel can hold: 32 bits, but not the all-ones value that means "no id".
pub(super) fn id(value: i64, field: Field) -> Result<u32, Defect> {
    u32::try_from(value).ok().filter(|&id| id != u32::MAX).ok_or(Defect::OutOfRange(field))
}

/// A number that cannot be negative.
pub(super) fn unsigned(field: &[u8], name: Field) -> Result<u64, Defect> {
    u64::try_from(number(field, name)?).map_err(|_| Defect::OutOfRange(name))
}

/// A number: octal digits between spaces and NULs, or base 256 with the top bit set. An empty field is 0.
pub(super) fn number(field: &[u8], name: Field) -> Result<i64, Defect> {
    match field.first() {
        Some(&first) if first & 0x80 != 0 => base_256(first, &field[1..], name),
        _ => octal(field, name),
    }
}

/// Two's complement, big endian; the top bit only marks the encoding.
fn base_256(first: u8, rest: &[u8], name: Field) -> Result<i64, Defect> {
    let negative = first & 0x40 != 0;
    let mut value = i128::from(first & 0x3f) - if negative { 0x40 } else { 0 };
    for &byte in rest {
        // Twelve bytes at most: 94 bits, so this cannot overflow.
        value = (value << 8) | i128::from(byte);
    }
    i64::try_from(value).map_err(|_| Defect::OutOfRange(name))
}

fn octal(field: &[u8], name: Field) -> Result<i64, Defect> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let digits = &digits[..digits.iter().position(blank).unwrap_or(digits.len())];
    let mut value = 0_i64;
    for &digit in digits {
        if !(b'0'..=b'7').contains(&digit) {
            return Err(Defect::NotANumber(name));
        }
        // Twelve digits at most: 36 bits.
        value = value << 3 | i64::from(digit - b'0');
    }
    Ok(value)
}

/// The text up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&byte| byte == 0).unwrap_or(field.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        let cases: [(&[u8], Option<i64>); 10] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"0000849\0", None),
            (b"-000001\0", None),
            (b"\x80\0\0\0\0\0\x01\x00", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field, Field::Mtime).ok(), expected, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn an_id_fits_the_kernel() {
        assert_eq!(id(4_294_967_294, Field::Uid), Ok(4_294_967_294));
        assert_eq!(id(4_294_967_295, Field::Uid), Err(Defect::OutOfRange(Field::Uid)));
        assert_eq!(id(4_294_967_296, Field::Uid), Err(Defect::OutOfRange(Field::Uid)));
        assert_eq!(id(-1, Field::Uid), Err(Defect::OutOfRange(Field::Uid)));
    }
}
