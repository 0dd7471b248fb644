//! A file that is whole or not there: a failure, and be it SIGKILL, leaves what was there before.
//!
//! A file without a name cannot take that of another in one step. A kill between the two that it takes leaves a second
//! file, whole as well, under the target's name with `.skiff-<pid>` behind it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::file::Named as _;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

use crate::context::absolute;
use crate::error::Result;

/// Dropping this removes it.
pub(crate) struct Partial {
    pub(crate) file: File,
    /// The name that it has until it is whole; none where the file system makes files without names.
    path: PathBuf,
    has_name: bool,
    target: PathBuf,
}

impl Partial {
    /// Begins a file that is to replace `path`.
    pub(crate) fn create(path: &str) -> Result<Partial> {
        let target = absolute(path)?;
        let mut path = target.clone().into_os_string();
        path.push(format!(".skiff-{}", std::process::id()));
        let path = PathBuf::from(path);
        if let Some(file) = nameless(&target) {
            return Ok(Partial { file: file.into(), path, has_name: false, target });
        }
        Ok(Partial { file: linux::file::create_new(&path, 0o600)?, path, has_name: true, target })
    }

    /// Puts it in its place.
    pub(crate) fn finish(mut self) -> Result<()> {
        if !self.has_name {
            let way = format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd());
            linkat(CWD, way, CWD, &self.path, AtFlags::SYMLINK_FOLLOW).named("create", &self.path)?;
            self.has_name = true;
        }
        linux::file::rename(&self.path, &self.target)?;
        self.has_name = false;
        Ok(())
    }
}

/// A file in the directory of `target` that nobody finds, and that goes with its last descriptor.
fn nameless(target: &Path) -> Option<OwnedFd> {
    let directory = target.parent()?;
    open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).ok()
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.has_name {
            // The failure that brought us here is the one to report.
            let _removed = linux::file::remove(&self.path);
        }
    }
}
