//! Writes a tar: directories and files with fixed owners, modes and times, so that equal content gives equal
//! bytes.

use std::io::{self, Read, Write};

use crate::tar::BLOCK;

/// A tar in the making.
pub(super) struct TarWriter<'a> {
    out: &'a mut dyn Write,
}

/// The most that eleven octal digits can say; beyond it stands a binary number.
const OCTAL_LIMIT: u64 = 0o777_7777_7777;
/// Bytes of a name without an extension; only a SHA-512 makes one longer.
const NAME_LIMIT: usize = 100;
const ZEROS: [u8; 512] = [0; 512];

impl<'a> TarWriter<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    /// A directory; the name ends with a slash.
    pub(super) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(name, b'5', 0o755, 0)
    }

    /// A file whose content is at hand.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.stream(name, content.len() as u64, &mut &*content).map(drop)
    }

    /// A file of `size` bytes; a source that has fewer is an error. Returns how many bytes the source has
    /// beyond, 0 or 1.
    pub(super) fn stream(&mut self, name: &str, size: u64, source: &mut dyn Read) -> io::Result<u64> {
        self.header(name, b'0', 0o644, size)?;
        let mut buffer = vec![0; 256 << 10];
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            match source.read(&mut buffer[..most]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.out.write_all(&buffer[..read])?;
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let padding = usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or(0);
        self.out.write_all(&ZEROS[..padding])?;
        Ok(source.read(&mut buffer[..1])? as u64)
    }

    /// The end mark.
    pub(super) fn finish(self) -> io::Result<()> {
        self.out.write_all(&ZEROS)?;
        self.out.write_all(&ZEROS)?;
        self.out.flush()
    }

    fn header(&mut self, name: &str, kind: u8, mode: u64, size: u64) -> io::Result<()> {
        let mut short = name;
        if name.len() > NAME_LIMIT {
            let record = pax_record("path", name);
            self.header("pax", b'x', 0o644, record.len() as u64)?;
            self.out.write_all(record.as_bytes())?;
            self.out.write_all(&ZEROS[..(record.len().next_multiple_of(ZEROS.len()) - record.len())])?;
            // For readers without PAX, which would not find it by its digest in any case.
            short = name.get(..NAME_LIMIT).unwrap_or("long");
        }
        let mut block = ZEROS;
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, short.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        if size <= OCTAL_LIMIT {
            put(124, format!("{size:011o}").as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &size.to_be_bytes());
        }
        // 1970, as nothing of today belongs into an archive that is to be the same tomorrow.
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.out.write_all(&block)
    }
}

/// `LENGTH KEY=VALUE` and a newline, where the length counts itself.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    loop {
        let record = format!("{length}{rest}");
        if record.len() == length {
            return record;
        }
        length = record.len();
    }
}
