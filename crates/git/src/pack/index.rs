//! The index of a pack for git's own use (gitformat-pack, "Version 2 pack-*.idx files").

use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use super::Pack;
use crate::error::Result;
use crate::gitdir::Hashed;
use crate::id::ObjectId;

/// Offsets from here on are kept apart.
const LARGE: u64 = 1 << 31;

impl Pack {
    /// What git names its file after.
    pub(crate) fn name(&self) -> ObjectId {
        self.trailer.id
    }

    /// The pack as it came, and its size.
    pub(crate) fn raw(&self) -> (impl Read + 'static, u64) {
        let size = self.trailer.at + self.format.length() as u64;
        (Raw { file: std::sync::Arc::clone(&self.file), at: 0, size }, size)
    }

    /// Writes all of an index but the hash of itself.
    pub(crate) fn write_index(&self, to: &mut Hashed) -> Result<()> {
        to.put(b"\xfftOc\0\0\0\x02")?;
        let mut fanout = [0_u32; 256];
        for id in self.ids.iter().flatten() {
            fanout[usize::from(id.as_bytes()[0])] += 1;
        }
        let mut sum = 0;
        for count in fanout {
            sum += count;
            to.put(&sum.to_be_bytes())?;
        }
        for index in &self.order {
            if let Some(id) = self.id(*index) {
                to.put(id.as_bytes())?;
            }
        }
        for index in &self.order {
            to.put(&self.entry(*index)?.crc.to_be_bytes())?;
        }
        let mut large = Vec::new();
        for index in &self.order {
            let at = self.entry(*index)?.at;
            let told = match u32::try_from(at) {
                Ok(told) if at < LARGE => told,
                _ => {
                    large.push(at);
                    0x8000_0000 | u32::try_from(large.len() - 1).unwrap_or(0)
                }
            };
            to.put(&told.to_be_bytes())?;
        }
        for at in large {
            to.put(&at.to_be_bytes())?;
        }
        to.put(self.trailer.id.as_bytes())
    }
}

/// Reads a file without moving its position.
struct Raw {
    file: std::sync::Arc<std::fs::File>,
    at: u64,
    size: u64,
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the pack has become shorter"));
        }
        self.at += read as u64;
        Ok(read)
    }
}
