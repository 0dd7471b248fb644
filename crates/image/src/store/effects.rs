//! The store's effects on the file system, counted, so that a test can make any one of them fail.
//!
//! A store that is right leaves nothing behind whichever of its effects fails, and whether the process lives
//! on or dies there. Proving that needs a way to fail the first, the second, … the last; this is that way.
//! Without a fault armed, an effect costs one branch.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use linux::file::{self, Named as _};

/// What happens at the effect that is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The effect fails with `EIO` and has not happened.
    Error,
    /// The effect fails with `ENOSPC` and has not happened.
    Full,
    /// The process is killed before the effect.
    Kill,
}

/// Counts effects down to the one that fails.
#[derive(Clone, Debug)]
pub struct Faults(Option<Arc<Armed>>);

#[derive(Debug)]
struct Armed {
    left: AtomicI64,
    fault: Fault,
}

impl Faults {
    /// Nothing fails.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// The `nth` effect (from 1) fails, and no other.
    #[must_use]
    pub fn at(nth: u32, fault: Fault) -> Self {
        Self(Some(Arc::new(Armed { left: AtomicI64::new(i64::from(nth)), fault })))
    }

    /// Whether the effect that was to fail has come.
    #[must_use]
    pub fn struck(&self) -> bool {
        self.0.as_ref().is_some_and(|armed| armed.left.load(Ordering::Relaxed) <= 0)
    }

    fn check(&self, action: &'static str, path: &Path) -> file::Result<()> {
        let Some(armed) = &self.0 else { return Ok(()) };
        if armed.left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return Ok(());
        }
        if armed.fault == Fault::Kill {
            // The process does not outlive this call, so its result does not matter.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        let errno = match armed.fault {
            Fault::Full => rustix::io::Errno::NOSPC,
            Fault::Error | Fault::Kill => rustix::io::Errno::IO,
        };
        Err(io::Error::from(errno)).named(action, path)
    }

    pub(crate) fn create(&self, path: &Path, mode: u32) -> file::Result<File> {
        self.check("create", path)?;
        file::create_new(path, mode)
    }

    pub(crate) fn create_dir(&self, path: &Path) -> file::Result<bool> {
        self.check("create directory", path)?;
        file::create_dir(path, 0o700)
    }

    pub(crate) fn write(&self, mut file: &File, content: &[u8], path: &Path) -> file::Result<()> {
        self.check("write", path)?;
        file.write_all(content).named("write", path)
    }

    pub(crate) fn sync(&self, file: &File, path: &Path) -> file::Result<()> {
        self.check("sync", path)?;
        file.sync_all().named("sync", path)
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> file::Result<()> {
        self.check("sync", path)?;
        file::sync_dir(path)
    }

    /// Renames unless the new name exists; tells whether it did not.
    pub(crate) fn rename_new(&self, from: &Path, to: &Path) -> file::Result<bool> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        self.check("rename to", to)?;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            // A file system without the flag: the content is the same, so a race replaces like by like.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                if rustix::fs::access(to, rustix::fs::Access::EXISTS).is_ok() {
                    return Ok(false);
                }
                file::rename(from, to).map(|()| true)
            }
            Err(errno) => Err(errno).named("rename to", to),
        }
    }

    /// Gives a file another name, unless that exists; tells whether it did not.
    pub(crate) fn link_new(&self, from: &Path, to: &Path) -> file::Result<bool> {
        self.check("link to", to)?;
        match rustix::fs::link(from, to) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(errno) => Err(errno).named("link to", to),
        }
    }

    /// Renames, over whatever has that name.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> file::Result<()> {
        self.check("rename to", to)?;
        file::rename(from, to)
    }

    pub(crate) fn remove(&self, path: &Path) -> file::Result<bool> {
        self.check("remove", path)?;
        file::remove_if_exists(path)
    }
}
