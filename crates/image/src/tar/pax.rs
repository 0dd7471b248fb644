//! PAX extended headers: `LENGTH KEY=VALUE\n` records that override or extend the header that follows.

use super::error::{Defect, Field};
use super::header::id;
use super::{Limits, Time, Xattr};

/// What the records said. A field that no record named is `None` and the header's own value stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: Sparse,
}

/// GNU's sparse formats on top of PAX; `None` where the file is not sparse.
#[derive(Clone, Debug, Default)]
pub(super) struct Sparse {
    /// 1.0 says its version; the older ones are known by their map.
    pub(super) major: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offset and length in turn, of formats 0.0 and 0.1.
    pub(super) map: Vec<u64>,
    /// Whether a map was announced, though it may be empty.
    pub(super) mapped: bool,
}

impl Records {
    /// Adds the records of one extended header; the later of two records with one key wins.
    pub(super) fn add(&mut self, mut text: &[u8], limits: &Limits) -> Result<(), Defect> {
        while !text.is_empty() {
            let (key, value, rest) = split_record(text)?;
            self.set(key, value, limits)?;
            text = rest;
        }
        Ok(())
    }

    /// These records where they speak, else those of the global header.
    pub(super) fn over(mut self, global: &Self) -> Self {
        self.uid = self.uid.or(global.uid);
        self.gid = self.gid.or(global.gid);
        self.mtime = self.mtime.or(global.mtime);
        self
    }

    /// Refuses what makes no sense for every entry alike.
    pub(super) fn check_global(&self) -> Result<(), Defect> {
        let senseless = [
            (self.path.is_some(), "path"),
            (self.link_target.is_some(), "linkpath"),
            (self.size.is_some(), "size"),
            // Also a matter of size: each header of 512 bytes would bring up to 64 KiB along.
            (!self.xattrs.is_empty(), "SCHILY.xattr"),
            (self.sparse.mapped || self.sparse.major.is_some() || self.sparse.name.is_some(), "GNU.sparse"),
        ];
        match senseless.iter().find(|(set, _)| *set) {
            Some((_, key)) => Err(Defect::PaxGlobal(key)),
            None => Ok(()),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), Defect> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.set_xattr(name.to_vec(), value.to_vec(), limits);
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = url_decode(name).ok_or(Defect::XattrEncoding)?;
            return self.set_xattr(name, base64_decode(value).ok_or(Defect::XattrEncoding)?, limits);
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.set(key, value, limits);
        }
        match key {
            b"path" => self.path = given(value).map(<[u8]>::to_vec),
            b"linkpath" => self.link_target = given(value).map(<[u8]>::to_vec),
            b"size" => self.size = given(value).map(|text| decimal(text, Field::Size)).transpose()?,
            b"uid" => self.uid = given(value).map(|text| decimal_id(text, Field::Uid)).transpose()?,
            b"gid" => self.gid = given(value).map(|text| decimal_id(text, Field::Gid)).transpose()?,
            b"mtime" => self.mtime = given(value).map(time).transpose()?,
            // Names of users, comments, access times and vendors' own keys change nothing here.
            _ => {}
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: Vec<u8>, value: Vec<u8>, limits: &Limits) -> Result<(), Defect> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(Defect::XattrName);
        }
        if value.len() > limits.xattr_bytes {
            let limit = limits.xattr_bytes as u64;
            return Err(Defect::Limit { what: "the size of an extended attribute", limit });
        }
        self.xattrs.retain(|xattr| *xattr.name != *name);
        self.xattrs.push(Xattr { name: name.into(), value: value.into() });
        if self.xattrs.len() > limits.xattrs {
            let limit = limits.xattrs as u64;
            return Err(Defect::Limit { what: "the number of extended attributes", limit });
        }
        let total: usize = self.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum();
        if total > limits.xattrs_bytes {
            let limit = limits.xattrs_bytes as u64;
            return Err(Defect::Limit { what: "the size of all extended attributes", limit });
        }
        Ok(())
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), Defect> {
        let number = |text| decimal(text, Field::SparseMap);
        match key {
            b"major" => self.major = Some(number(value)?),
            b"name" => self.name = Some(value.to_vec()),
            b"realsize" | b"size" => self.real_size = Some(number(value)?),
            b"numblocks" => self.mapped = true,
            b"offset" | b"numbytes" => {
                let expects_length = self.map.len() % 2 == 1;
                if expects_length != (key == b"numbytes") {
                    return Err(Defect::SparseMap("offsets and lengths do not alternate"));
                }
                self.mapped = true;
                self.map.push(number(value)?);
            }
            b"map" => {
                self.mapped = true;
                self.map.clear();
                for text in value.split(|&byte| byte == b',').filter(|_| !value.is_empty()) {
                    self.map.push(number(text)?);
                }
            }
            _ => {}
        }
        if self.map.len() / 2 > limits.sparse_extents {
            let limit = limits.sparse_extents as u64;
            return Err(Defect::Limit { what: "the number of pieces of a sparse file", limit });
        }
        Ok(())
    }
}

/// An empty value withdraws the record.
fn given(value: &[u8]) -> Option<&[u8]> {
    Some(value).filter(|value| !value.is_empty())
}

/// A record's key, its value, and the text after it.
type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits one record off. The length counts itself.
fn split_record(text: &[u8]) -> Result<Split<'_>, Defect> {
    let record = || -> Option<Split<'_>> {
        // A length of more than ten digits could not fit the limits anyway.
        let space = text.iter().take(11).position(|&byte| byte == b' ')?;
        let length = usize::try_from(decimal(&text[..space], Field::Size).ok()?).ok()?;
        let (record, rest) = text.split_at_checked(length)?;
        let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = body.iter().position(|&byte| byte == b'=')?;
        Some((&body[..equals], &body[equals + 1..], rest))
    };
    record().filter(|(key, _, _)| !key.is_empty()).ok_or(Defect::PaxRecord)
}

/// Decimal digits only, as no sign or space may hide in them.
pub(super) fn decimal(text: &[u8], field: Field) -> Result<u64, Defect> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Defect::NotANumber(field));
    }
    let digits = std::str::from_utf8(text).map_err(|_| Defect::NotANumber(field))?;
    digits.parse().map_err(|_| Defect::OutOfRange(field))
}

fn decimal_id(text: &[u8], field: Field) -> Result<u32, Defect> {
    let value = i64::try_from(decimal(text, field)?).map_err(|_| Defect::OutOfRange(field))?;
    id(value, field)
}

/// `[-]SECONDS[.FRACTION]`; digits beyond nanoseconds are cut off.
fn time(text: &[u8]) -> Result<Time, Defect> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(Defect::NotANumber(Field::Mtime));
    }
    let secs = i64::try_from(decimal(whole, Field::Mtime)?).map_err(|_| Defect::OutOfRange(Field::Mtime))?;
    let nanos =
        (0..9).fold(0, |sum, at| sum * 10 + fraction.get(at).map_or(0, |&digit| u32::from(digit - b'0')));
    Ok(match (negative, nanos) {
        (false, _) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        // Nanoseconds count forward: -1.25 s is -2 s and 0.75 s.
        (true, _) => Time { secs: -secs - 1, nanos: 1_000_000_000 - nanos },
    })
}

fn url_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (hex, tail) = tail.split_at_checked(2)?;
        rest = tail;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        decoded.push(digit(hex[0])? << 4 | digit(hex[1])?);
    }
    Some(decoded)
}

/// Standard alphabet; padding may be missing, as libarchive leaves it out.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|&byte| byte != b'=').map_or(0, |last| last + 1);
    if text.len() - end > 2 {
        return None;
    }
    let mut decoded = Vec::with_capacity(end * 3 / 4);
    for group in text[..end].chunks(4) {
        let mut bits = 0_u32;
        for &byte in group {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let bytes = match group.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        bits <<= 6 * (4 - group.len());
        decoded.extend_from_slice(&bits.to_be_bytes()[1..=bytes]);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Records, Defect> {
        let mut records = Records::default();
        records.add(text, &Limits::default()).map(|()| records)
    }

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(parse(b"12 path=abc\n").unwrap().path.unwrap(), b"abc");
        assert_eq!(parse(b"12 path=a\nc\n").unwrap().path.unwrap(), b"a\nc");
        for bad in [
            &b"11 path=abc\n"[..],
            b"13 path=abc\n",
            b"12 path=abcd",
            b"path=abc\n",
            b"12",
            b"8 pathx\n",
            b"5 =a\n",
            b"99999999999 path=abc\n",
            b"0 path=abc\n",
            b"+12 path=ab\n",
            b"3 \n",
            b"2 \n",
        ] {
            assert_eq!(parse(bad).unwrap_err(), Defect::PaxRecord, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn times_count_nanoseconds_forward() {
        for (text, secs, nanos) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("1.", 1, 0),
            ("1.0000000019", 1, 1),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("-0.000000001", -1, 999_999_999),
        ] {
            assert_eq!(time(text.as_bytes()), Ok(Time { secs, nanos }), "{text}");
        }
        for text in ["", "-", ".5", "1.x", "+1", "1e3", "99999999999999999999"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn libarchive_attributes_are_decoded() {
        let records = parse(b"41 LIBARCHIVE.xattr.user.a%3Db%25=AAEC/w\n").unwrap();
        assert_eq!(&*records.xattrs[0].name, b"user.a=b%");
        assert_eq!(&*records.xattrs[0].value, [0, 1, 2, 255]);
        assert_eq!(base64_decode(b"aGk=").unwrap(), b"hi");
        assert_eq!(base64_decode(b"").unwrap(), b"");
        for bad in [&b"a"[..], b"a-b_", b"aGk===", b"===="] {
            assert_eq!(base64_decode(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(url_decode(b"%4"), None);
        assert_eq!(url_decode(b"%zz"), None);
    }

    #[test]
    fn the_later_of_two_attributes_wins() {
        let records = parse(b"25 SCHILY.xattr.user.a=1\n25 SCHILY.xattr.user.a=2\n").unwrap();
        assert_eq!(records.xattrs.len(), 1);
        assert_eq!(&*records.xattrs[0].value, b"2");
    }
}
