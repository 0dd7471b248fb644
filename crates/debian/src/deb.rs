//! Package files (deb(5)): an `ar` archive of three members.
//!
//! ```text
//! "!<arch>\n"
//! [60 bytes: name, …, size, "`\n"][data, padded to 2]…   debian-binary ("2.0\n"), control.tar[.*], data.tar[.*]
//! ```
//!
//! Where the two tars lie is found by their headers alone; what is in them is the business of whoever reads tars.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::error::Error;

/// How a member is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Compression {
    None,
    Gzip,
    Xz,
    Zstd,
    Bzip2,
}

/// A tar within a package file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it lies, in bytes from the start of the file.
    pub range: Range<u64>,
    /// How it is compressed.
    pub compression: Compression,
}

/// The two tars of a package file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What dpkg is told: `control`, `md5sums`, `conffiles`, the maintainer's scripts.
    pub control: Part,
    /// The files.
    pub data: Part,
}

/// Why a package file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("read the package file")]
    Io(#[source] io::Error),
    /// It is none.
    #[error(transparent)]
    Damaged(#[from] Error),
}

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;
/// The three, and a few that others have added and everybody passes over.
const MEMBERS_LIMIT: usize = 16;

/// Finds the parts of a package file.
///
/// # Errors
/// Where it cannot be read, or is no package file of version 2.
pub fn layout(file: &mut (impl Read + Seek)) -> Result<Layout, ReadError> {
    let damaged = |reason| ReadError::Damaged(Error::PackageFile { reason });
    let size = file.seek(SeekFrom::End(0)).map_err(ReadError::Io)?;
    file.seek(SeekFrom::Start(0)).map_err(ReadError::Io)?;
    let mut magic = [0; 8];
    read(file, &mut magic)?;
    if magic != *MAGIC {
        return Err(damaged("it is no ar archive"));
    }
    let (mut offset, mut control) = (8, None);
    for number in 0..MEMBERS_LIMIT {
        file.seek(SeekFrom::Start(offset)).map_err(ReadError::Io)?;
        let mut header = [0; HEADER];
        read(file, &mut header)?;
        let (name, length) = member(&header)?;
        let range = offset + HEADER as u64..(offset + HEADER as u64).saturating_add(length);
        if range.end > size {
            return Err(damaged("a member is longer than the file"));
        }
        if number == 0 {
            let mut version = [0; 2];
            if name != "debian-binary" || length < 4 {
                return Err(damaged("its first member is not debian-binary"));
            }
            read(file, &mut version)?;
            if version != *b"2." {
                return Err(damaged("its format is not version 2"));
            }
        } else if let Some(ending) = name.strip_prefix("control.tar") {
            if control.is_some() {
                return Err(damaged("it has two members control.tar"));
            }
            control = Some(Part { range: range.clone(), compression: compression(ending)? });
        } else if let Some(ending) = name.strip_prefix("data.tar") {
            let control = control.ok_or(damaged("its data.tar comes before its control.tar"))?;
            return Ok(Layout { control, data: Part { range, compression: compression(ending)? } });
        } else if !name.starts_with('_') {
            return Err(damaged("it has a member that no package file has"));
        }
        offset = range.end + range.end % 2;
    }
    Err(damaged("it has no data.tar"))
}

fn read(file: &mut impl Read, bytes: &mut [u8]) -> Result<(), ReadError> {
    file.read_exact(bytes).map_err(|source| {
        let ended = source.kind() == io::ErrorKind::UnexpectedEof;
        if ended { Error::PackageFile { reason: "it is truncated" }.into() } else { ReadError::Io(source) }
    })
}

/// Name and size.
fn member(header: &[u8; HEADER]) -> Result<(&str, u64), Error> {
    let damaged = || Error::PackageFile { reason: "the header of a member is damaged" };
    let text = |range: Range<usize>| std::str::from_utf8(&header[range]).map_err(|_| damaged());
    let size = text(48..58)?.trim_end_matches(' ');
    if &header[58..] != b"`\n" || size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(damaged());
    }
    // Some writers end names with a slash.
    let name = text(0..16)?.trim_end_matches(' ');
    Ok((name.strip_suffix('/').unwrap_or(name), size.parse().map_err(|_| damaged())?))
}

fn compression(ending: &str) -> Result<Compression, Error> {
    match ending {
        "" => Ok(Compression::None),
        ".gz" => Ok(Compression::Gzip),
        ".xz" => Ok(Compression::Xz),
        ".zst" => Ok(Compression::Zstd),
        ".bz2" => Ok(Compression::Bzip2),
        _ => Err(Error::PackageFile { reason: "a member is compressed in an unknown way" }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn archive(members: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, data) in members {
            bytes.extend(
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).bytes(),
            );
            bytes.extend(data.bytes());
            bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        }
        bytes
    }

    fn read(bytes: Vec<u8>) -> Result<Layout, String> {
        layout(&mut Cursor::new(bytes)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_parts_of_a_package_file_are_found() {
        let bytes = archive(&[
            ("debian-binary", "2.0\n"),
            ("_extra", "x"),
            ("control.tar.zst/", "abc"),
            ("data.tar", "defgh"),
            ("more", ""),
        ]);
        let found = read(bytes.clone()).unwrap();
        let slice = |part: &Part| {
            let skipped = bytes.iter().skip(usize::try_from(part.range.start).unwrap());
            skipped
                .take(usize::try_from(part.range.end - part.range.start).unwrap())
                .copied()
                .collect::<Vec<u8>>()
        };
        assert_eq!((slice(&found.control), found.control.compression), (b"abc".to_vec(), Compression::Zstd));
        assert_eq!((slice(&found.data), found.data.compression), (b"defgh".to_vec(), Compression::None));
        for end in 0..bytes.len() - 60 - 5 - 1 {
            assert!(read(bytes[..end].to_vec()).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_no_package_file_is_refused() {
        let version = ("debian-binary", "2.0\n");
        for (members, reason) in [
            (&[("control.tar", ""), version][..], "its first member is not debian-binary"),
            (&[("debian-binary", "3.0\n")], "its format is not version 2"),
            (&[version, ("data.tar", "")], "its data.tar comes before its control.tar"),
            (&[version, ("control.tar", ""), ("control.tar.gz", "")], "it has two members control.tar"),
            (&[version, ("control.tar.lzma", "")], "a member is compressed in an unknown way"),
            (&[version, ("other", "")], "it has a member that no package file has"),
        ] {
            assert_eq!(read(archive(members)), Err(format!("the package file is damaged: {reason}")));
        }
        let mut bytes = archive(&[version, ("control.tar", ""), ("data.tar", "x")]);
        let size = bytes.len() - 2 - 60 + 48;
        bytes[size..size + 10].copy_from_slice(b"9999999999");
        assert_eq!(
            read(bytes),
            Err("the package file is damaged: a member is longer than the file".to_owned())
        );
    }
}
