//! A file that is whole or not there: a failure, and be it SIGKILL, leaves what was there before.
//!
//! A file without a name cannot take that of another in one step. A kill between the two that it takes leaves a second
//! file, whole as well, under the target's name with `.skiff-<pid>` behind it; where there are no files without a name, any
//! kill does. The next one with the same target removes it, and so does [`sweep`] of its directory: its process is gone, and with it
//! the lock on the file.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, linkat, open, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, geteuid, test_kill_process};

use crate::file::{self, Named as _, Result};

/// Dropping this removes it.
#[derive(Debug)]
pub struct Partial {
    /// To be written.
    pub file: File,
    /// The name that it has until it is whole; none where the file system makes files without names.
    path: PathBuf,
    has_name: bool,
    target: PathBuf,
}

impl Partial {
    /// Begins a file that is to replace `target`, an absolute path.
    pub fn create(target: &Path) -> Result<Partial> {
        remove_abandoned(target);
        Partial::begin(target.to_owned())
    }

    fn begin(target: PathBuf) -> Result<Partial> {
        let mut path = target.clone().into_os_string();
        path.push(format!(".skiff-{}", std::process::id()));
        let path = PathBuf::from(path);
        let (file, has_name) = match nameless(&target) {
            Some(file) => (file.into(), false),
            None => (file::create_new(&path, 0o600)?, true),
        };
        // Without a lock, its process says whether it is abandoned.
        let _locked = crate::lock::lock_for_file(&file);
        Ok(Partial { file, path, has_name, target })
    }

    /// Begins a file that is to replace what has a name in a directory that is open. What others have left there is not looked for.
    pub fn create_in(directory: BorrowedFd<'_>, name: &str) -> Result<Partial> {
        let target = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Partial::begin(target)
    }

    /// Puts it in its place.
    pub fn finish(mut self) -> Result<()> {
        if !self.has_name {
            let way = format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd());
            linkat(CWD, way, CWD, &self.path, AtFlags::SYMLINK_FOLLOW).named("create", &self.path)?;
            self.has_name = true;
        }
        file::rename(&self.path, &self.target)?;
        self.has_name = false;
        Ok(())
    }
}

/// A file in the directory of `target` that nobody finds, and that goes with its last descriptor.
fn nameless(target: &Path) -> Option<OwnedFd> {
    let directory = target.parent()?;
    open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).ok()
}

/// Removes what killed ones have left beside `target`. What cannot be is as it was.
fn remove_abandoned(target: &Path) {
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else { return };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = open(directory, flags, Mode::empty()) else { return };
    remove(directory.as_fd(), &|found| maker(name.as_bytes(), found));
}

/// Removes what killed ones have left in a directory, whatever it was to become. What cannot be is as it was.
pub fn sweep(directory: BorrowedFd<'_>) {
    remove(directory, &|found| {
        let mark = found.windows(MARK.len()).rposition(|part| part == MARK).filter(|at| *at > 0)?;
        maker(&found[..mark], found)
    });
}

fn remove(directory: BorrowedFd<'_>, maker: &dyn Fn(&[u8]) -> Option<Pid>) {
    let Ok(entries) = Dir::read_from(directory) else { return };
    for entry in entries.flatten() {
        let maker = maker(entry.file_name().to_bytes());
        if maker.is_some_and(|maker| is_abandoned(directory, entry.file_name(), maker)) {
            let _removed = unlinkat(directory, entry.file_name(), AtFlags::empty());
        }
    }
}

/// What follows a target's name, before the number of the process.
const MARK: &[u8] = b".skiff-";

/// Who has made the file `name`, if it is one that was to become `target`.
fn maker(target: &[u8], name: &[u8]) -> Option<Pid> {
    let number = name.strip_prefix(target)?.strip_prefix(MARK)?;
    let is_plain = number.iter().all(u8::is_ascii_digit) && number.first() != Some(&b'0');
    Pid::from_raw(std::str::from_utf8(number).ok().filter(|_| is_plain)?.parse().ok()?)
}

/// Whether a file of ours has nobody who works on it: neither a process of that number, nor one in another pid namespace.
fn is_abandoned(directory: BorrowedFd<'_>, name: &CStr, maker: Pid) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(directory, name, flags, Mode::empty()) else { return false };
    let is_ours = fstat(&file).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_uid == geteuid().as_raw()
    });
    is_ours && test_kill_process(maker) == Err(Errno::SRCH) && crate::lock::is_locked(&file) == Ok(false)
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.has_name {
            // The failure that brought us here is the one to report.
            let _removed = file::remove(&self.path);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests handle their own files")]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_that_exact_form_have_a_maker() {
        for (name, pid) in [
            ("all.tar.skiff-17", Some(17)),
            ("all.tar.skiff-4194304", Some(4_194_304)),
            ("all.tar", None),
            ("all.tar.skiff-", None),
            ("all.tar.skiff-0", None),
            ("all.tar.skiff-017", None),
            ("all.tar.skiff--17", None),
            ("all.tar.skiff-+17", None),
            ("all.tar.skiff-17x", None),
            ("all.tar.skiff-17.skiff-18", None),
            ("all.tar.skiff-99999999999", None),
            ("xall.tar.skiff-17", None),
        ] {
            assert_eq!(maker(b"all.tar", name.as_bytes()), pid.and_then(Pid::from_raw), "{name}");
        }
    }

    #[test]
    fn what_the_dead_have_left_in_a_directory_goes_and_nothing_else() {
        let directory = std::env::temp_dir().join(format!("skiff-test-{}-partial", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        // No process has a number beyond the kernel's largest (4194304).
        let names = ["a.skiff-4194999", ".b.skiff-4194999", "a", "a.skiff-x", ".skiff-4194999", "c.skiff-1"];
        for name in names {
            std::fs::write(directory.join(name), name).unwrap();
        }
        let opened = File::open(&directory).unwrap();
        let own = Partial::create_in(opened.as_fd(), "own").unwrap();
        sweep(opened.as_fd());
        own.finish().unwrap();
        let left = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(left, [".skiff-4194999", "a", "a.skiff-x", "c.skiff-1", "own"]);
    }
}
