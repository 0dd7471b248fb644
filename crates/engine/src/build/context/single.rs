//! Single files of a context, read before it is known what else is wanted of it: the Dockerfile, ignore files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use linux::file::Named as _;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

use crate::Result;
use crate::build::copy::CopyError;

/// The content of a file below a directory; none if there is none. Links are followed, but not out of the directory.
pub(in crate::build) fn read_file(directory: &Path, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let whole = directory.join(path);
    let name = || path.display().to_string();
    let context = |source| CopyError::Context { name: directory.display().to_string(), source };
    let root = openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .named("open", directory)
        .map_err(context)?;
    // No pipe is waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file: File = match openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(file) => file.into(),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        // A socket, or a device without a driver.
        Err(Errno::NXIO) => return Err(CopyError::NoFile { path: name() }.into()),
        Err(errno) => {
            let (action, source) = ("open", errno.into());
            return Err(context(linux::file::Error { action, path: whole, source }).into());
        }
    };
    let stat = fstat(&file).named("examine", &whole).map_err(context)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(CopyError::NoFile { path: name() }.into());
    }
    let mut content = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut content);
    read.map_err(|error: io::Error| error).named("read", &whole).map_err(context)?;
    if content.len() as u64 > limit {
        return Err(CopyError::LargeFile { path: name(), limit }.into());
    }
    Ok(Some(content))
}
