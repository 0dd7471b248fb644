//! Compresses a log file that is no longer written, a portion at a time, so that nothing else waits for it.
//!
//! ```text
//! log.json.1 ─► log.json.gz.new ─rename─► log.json.1.gz, then log.json.1 is removed
//! ```
//!
//! It is done by the monitor itself: a portion takes about a millisecond, a program of its own would have to be waited
//! for at the container's end and looked for after the monitor's. Nothing depends on its success: what is
//! given up stays as it is, and readers take both.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

/// Bytes that are compressed in one turn.
const PORTION: usize = 128 << 10;

/// A file that is being compressed. Dropping it gives up.
#[derive(Debug)]
pub(crate) struct Compressor {
    from: File,
    to: Option<GzEncoder<File>>,
    half_done: PathBuf,
    left: u64,
}

impl Compressor {
    /// Begins with the file `from`; None where it cannot be read, or nothing be written.
    pub(crate) fn begin(path: &Path, from: &Path) -> Option<Compressor> {
        let mut half_done = path.as_os_str().to_owned();
        half_done.push(".gz.new");
        let half_done = PathBuf::from(half_done);
        let from = linux::file::open(from).ok()?;
        let found = rustix::fs::fstat(&from).ok()?;
        linux::file::remove_if_exists(&half_done).ok()?;
        let to = linux::file::create_new(&half_done, 0o600).ok()?;
        // Whoever follows the log knows the file by this.
        let extra = format!("{{\"inode\":{}}}", found.st_ino);
        let to = GzBuilder::new().extra(extra).write(to, Compression::fast());
        Some(Compressor { from, to: Some(to), half_done, left: u64::try_from(found.st_size).unwrap_or(0) })
    }

    /// About how many bytes are still to be read.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Does a portion. True when all is compressed and written.
    pub(crate) fn step(&mut self) -> std::io::Result<bool> {
        let mut portion = vec![0; PORTION];
        let length = self.from.read(&mut portion)?;
        self.left = self.left.saturating_sub(length as u64);
        if length > 0 {
            if let Some(to) = &mut self.to {
                to.write_all(&portion[..length])?;
            }
            return Ok(false);
        }
        if let Some(to) = self.to.take() {
            to.finish()?;
        }
        Ok(true)
    }

    /// Puts the result in the place of `name`, which is the file it was made from.
    pub(crate) fn replace(self, name: &Path) -> linux::file::Result<()> {
        let mut compressed = name.as_os_str().to_owned();
        compressed.push(".gz");
        linux::file::rename(&self.half_done, Path::new(&compressed))?;
        linux::file::remove(name)
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        // Gone already where it has replaced the file.
        drop(linux::file::remove_if_exists(&self.half_done));
    }
}
