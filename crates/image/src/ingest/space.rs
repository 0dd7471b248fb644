//! How much is written of what others send: no more than a layer may have, and never the last space of a file system, so that what else
//! runs there goes on. The end of a disk is told before it is reached.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use linux::file::Named as _;

use super::LAYER_LIMIT;
use super::pipeline::{BUFFER, fill};
use crate::error::{Error, Result};

/// How often the space left is looked at, in bytes written, where there is much.
const SPACE_CHECK: u64 = 16 << 20;
/// Bytes of the file system that no layer may take.
const SPACE_RESERVE: u64 = 64 << 20;

/// Copies what `name` holds to `file`, which is at `path`, as a layer is written: no more than a layer may have, and not the last space of
/// the file system. Returns how much it was.
///
/// # Errors
/// [`Error::TooLarge`], [`Error::NoSpace`], or what reading and writing fail with.
pub fn spool(name: &str, source: &mut dyn Read, file: &File, path: &Path) -> Result<u64> {
    spool_up_to(LAYER_LIMIT, name, source, (file, path))
}

fn spool_up_to(
    limit: u64,
    name: &str,
    source: &mut dyn Read,
    (mut file, path): (&File, &Path),
) -> Result<u64> {
    let failed = |source| Error::Read { entry: name.to_owned(), source };
    let (mut written, mut next_check) = (0, 0);
    let mut buffer = vec![0; BUFFER];
    loop {
        if written >= next_check {
            next_check = written + space(name, file, path)?;
        }
        let filled = fill(source, &mut buffer).map_err(failed)?;
        written += filled as u64;
        if written > limit {
            let reason = "no archive may hold more than a layer may";
            return Err(Error::TooLarge { entry: name.to_owned(), limit, reason });
        }
        file.write_all(&buffer[..filled]).named("write", path)?;
        if filled < BUFFER {
            return Ok(written);
        }
    }
}

/// How much may be written before the next look at what the file system has left, of which the last is not taken.
pub(super) fn space(name: &str, file: &File, path: &Path) -> Result<u64> {
    // Where it is not told, the write itself will.
    let Ok(space) = rustix::fs::fstatvfs(file) else { return Ok(SPACE_CHECK) };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let reserve = SPACE_RESERVE.min(space.f_blocks.saturating_mul(space.f_frsize) / 64);
    if let Some(more) = free.checked_sub(reserve) {
        return Ok(more.clamp(BUFFER as u64, SPACE_CHECK));
    }
    let path = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    Err(Error::NoSpace { entry: name.to_owned(), path, free })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_an_archive_holds_is_spooled_up_to_the_limit_and_no_further() {
        let folder = testkit::Scratch::new();
        let path = folder.join("spool");
        let spooled = |size: usize, limit: u64| {
            let file = linux::file::create_new(&path, 0o600).unwrap();
            let outcome =
                spool_up_to(limit, "a.tar.gz", &mut io::repeat(7).take(size as u64), (&file, &path));
            let written = file.metadata().unwrap().len();
            linux::file::remove(&path).unwrap();
            (outcome, written)
        };
        for size in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER] {
            let (outcome, written) = spooled(size, 3 * BUFFER as u64);
            assert_eq!((outcome.unwrap(), written), (size as u64, size as u64));
        }
        let (outcome, written) = spooled(4 * BUFFER, 2 * BUFFER as u64 + 1);
        let told = outcome.unwrap_err().to_string();
        assert_eq!(told, "a.tar.gz is larger than 524289 bytes; no archive may hold more than a layer may");
        assert_eq!(written, 2 * BUFFER as u64);
    }
}
