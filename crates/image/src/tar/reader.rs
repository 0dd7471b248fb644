//! Reads the entries of a stored archive without reading its data.

use super::parser::{Parser, Summary};
use super::{Entry, Error, Limits};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Why the entries of a stored archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("read the archive at offset {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// It is not an acceptable archive.
    #[error(transparent)]
    Archive(#[from] Error),
}

/// How much is read at once: a header and, where files are small, the next few.
const WINDOW: usize = 4096;

/// Hands every entry of `archive` to `sink`, in order. Only headers are read; the data between them is passed
/// over. The position of the file is neither used nor changed.
///
/// # Errors
/// A failing read, the first defect of the archive, or the first error of the sink.
pub fn read_entries<E: From<ReadError> + From<Error>>(
    archive: &File,
    limits: Limits,
    sink: &mut dyn FnMut(Entry) -> Result<(), E>,
) -> Result<Summary, E> {
    let failed = |offset, source| E::from(ReadError::Io { offset, source });
    let size = archive.metadata().map_err(|source| failed(0, source))?.len();
    let mut parser = Parser::new(limits);
    let mut window = [0; WINDOW];
    let mut offset = 0;
    while offset < size {
        let read = match archive.read_at(&mut window, offset) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(offset, error)),
        };
        parser.push(&window[..read], sink)?;
        offset += read as u64;
        // Data that lies beyond the window need not be read, but it must be there.
        let beyond = parser.skippable().unwrap_or(u64::MAX).min(size - offset);
        offset += parser.skip(usize::try_from(beyond).unwrap_or(usize::MAX)) as u64;
    }
    parser.finish().map_err(E::from)
}
