//! A file that is whole or not there: a failure, and be it SIGKILL, leaves what was there before.
//!
//! A file without a name cannot take that of another in one step. A kill between the two that it takes leaves a second
//! file, whole as well, under the target's name with `.skiff-<pid>` behind it; where there are no files without a name, any
//! kill does. The next one with the same target removes it, and so does [`sweep`] of its directory: its process is gone, and with it
//! the lock on the file.
//!
//! What is no file is never replaced: a device (`/dev/null`), a pipe, or a descriptor by its name (`/dev/stdout`) is written to
//! as it is, and keeps its name and its mode.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, fchmod, fstat, linkat, open, openat, openat2,
    unlinkat,
};
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
    /// What it is to replace; none if it is that itself.
    target: Option<PathBuf>,
}

/// Whether a path is one of a file, or of nothing: who writes it anew may remove it first.
pub fn is_replaceable(path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        // As a directory is not written to, either, the error is that of the attempt.
        Ok(found) => fstat(found).is_ok_and(|stat| {
            matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
        }),
        // It leads to a descriptor, unless it leads round and round.
        Err(Errno::LOOP) => rustix::fs::stat(path).is_err(),
        Err(_) => true,
    }
}

impl Partial {
    /// Begins a file that is to replace `target`, an absolute path.
    pub fn create(target: &Path) -> Result<Partial> {
        if !is_replaceable(target) {
            let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = open(target, flags, Mode::empty()).named("open", target)?.into();
            return Ok(Partial { file, path: target.to_owned(), has_name: false, target: None });
        }
        remove_abandoned(target);
        Partial::begin(target.to_owned())
    }

    /// Gives it these permission bits.
    pub fn set_mode(&self, mode: Mode) -> Result<()> {
        match self.target {
            Some(_) => fchmod(&self.file, mode).named("change the mode of", &self.path),
            None => Ok(()),
        }
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
        Ok(Partial { file, path, has_name, target: Some(target) })
    }

    /// Begins a file that is to replace what has a name in a directory that is open. What others have left there is not looked for.
    pub fn create_in(directory: BorrowedFd<'_>, name: &str) -> Result<Partial> {
        let target = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Partial::begin(target)
    }

    /// Puts it in its place.
    pub fn finish(mut self) -> Result<()> {
        let Some(target) = self.target.take() else { return Ok(()) };
        if !self.has_name {
            let way = format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd());
            linkat(CWD, way, CWD, &self.path, AtFlags::SYMLINK_FOLLOW).named("create", &self.path)?;
            self.has_name = true;
        }
        file::rename(&self.path, &target)?;
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
    fn what_is_no_file_is_written_to_and_stays_what_it_is() {
        use std::io::{Read as _, Write as _};
        use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
        let directory = std::env::temp_dir().join(format!("skiff-test-{}-devices", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let (pipe, link, numbered) = (directory.join("pipe"), directory.join("link"), directory.join("fd"));
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink("/dev/null", &link).unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        symlink(format!("/proc/self/fd/{}", writer.as_raw_fd()), &numbered).unwrap();
        // Open for both, so that nobody waits for a reader.
        let mut held = File::options().read(true).write(true).open(&pipe).unwrap();
        for path in [&pipe, &link, &numbered] {
            assert!(!is_replaceable(path), "{}", path.display());
            let mut partial = Partial::create(path).unwrap();
            partial.file.write_all(b"text").unwrap();
            partial.set_mode(Mode::empty()).unwrap();
            partial.finish().unwrap();
        }
        drop(writer);
        let (mut piped, mut numbered_text) = ([0; 4], String::new());
        held.read_exact(&mut piped).unwrap();
        reader.read_to_string(&mut numbered_text).unwrap();
        assert_eq!((&piped, numbered_text.as_str()), (b"text", "text"));
        let about = std::fs::metadata("/dev/null").unwrap();
        assert!(about.file_type().is_char_device() && about.mode() & 0o777 == 0o666, "{about:?}");
        assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        assert!(link.is_symlink() && numbered.is_symlink());
        // A link to a file is replaced, not followed.
        let (file, to_file) = (directory.join("file"), directory.join("to-file"));
        std::fs::write(&file, "kept").unwrap();
        symlink(&file, &to_file).unwrap();
        let looped = directory.join("loop");
        symlink("loop", &looped).unwrap();
        for path in [&to_file, &looped, &directory.join("new")] {
            assert!(is_replaceable(path), "{}", path.display());
            Partial::create(path).unwrap().finish().unwrap();
            assert!(path.symlink_metadata().unwrap().is_file(), "{}", path.display());
        }
        let kept = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(kept, "kept");
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
