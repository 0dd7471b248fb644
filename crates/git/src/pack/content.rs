//! The content of an object: in memory where it is small, else in a temporary file of the caller's.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::Spool;
use crate::error::{Error, Result};

/// What is larger than that lies in a file.
pub(crate) const IN_MEMORY: u64 = 16 << 20;
/// Bytes that are written to a file at once.
const PORTION: usize = 256 << 10;

/// Content that is there as a whole.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Memory(Arc<Vec<u8>>),
    File(Arc<File>, u64),
}

/// Content on its way.
pub(crate) enum Output {
    Memory(Vec<u8>),
    File { file: File, at: u64, buffer: Vec<u8> },
}

impl Content {
    #[cfg(test)]
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self::Memory(Arc::new(bytes))
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }

    /// Bytes from `at` on, which must all be there.
    pub(crate) fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        let short = || Error::pack("an object is shorter than it was");
        match self {
            Self::Memory(bytes) => {
                let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).ok_or_else(short)?;
                buffer.copy_from_slice(from.get(..buffer.len()).ok_or_else(short)?);
                Ok(())
            }
            Self::File(file, _) => file
                .read_exact_at(buffer, at)
                .map_err(|source| Error::Spool { doing: "read an object", source }),
        }
    }

    pub(crate) fn reader(self) -> ContentReader {
        ContentReader { content: self, at: 0 }
    }
}

/// Reads content from its beginning.
pub(crate) struct ContentReader {
    content: Content,
    at: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.content.len() - self.at).unwrap_or(usize::MAX);
        let read = left.min(buffer.len());
        self.content.read_at(self.at, &mut buffer[..read]).map_err(io::Error::other)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Output {
    #[cfg(test)]
    pub(crate) fn memory() -> Self {
        Self::Memory(Vec::new())
    }

    /// Where content of so many bytes goes.
    pub(crate) fn of_size(size: u64, spool: &Spool<'_>) -> Result<Self> {
        match usize::try_from(size) {
            Ok(room) if size <= IN_MEMORY => Ok(Self::Memory(Vec::with_capacity(room))),
            _ => {
                let file = spool().map_err(|source| Error::Spool { doing: "keep a large object", source })?;
                Ok(Self::File { file, at: 0, buffer: Vec::with_capacity(PORTION) })
            }
        }
    }

    pub(crate) fn write(&mut self, part: &[u8]) -> Result<()> {
        match self {
            Self::Memory(bytes) => bytes.extend_from_slice(part),
            Self::File { buffer, .. } => {
                buffer.extend_from_slice(part);
                if buffer.len() >= PORTION {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Self::File { file, at, buffer } = self {
            file.write_all_at(buffer, *at)
                .map_err(|source| Error::Spool { doing: "write a large object", source })?;
            *at += buffer.len() as u64;
            buffer.clear();
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Content> {
        self.flush()?;
        Ok(match self {
            Self::Memory(bytes) => Content::Memory(Arc::new(bytes)),
            Self::File { file, at, .. } => Content::File(Arc::new(file), at),
        })
    }
}
