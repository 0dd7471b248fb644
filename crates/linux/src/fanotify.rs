//! Asks before a program is executed: permission events of fanotify(7).
//!
//! Whoever opens a file to execute it waits until the event is answered. Closing the group lets all of them go on, as
//! does the end of the process that holds it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use rustix::io::{Errno, Result};

/// A group of marks, non-blocking and close-on-exec. Needs `CAP_SYS_ADMIN`.
#[derive(Debug)]
pub struct ExecGuard(OwnedFd);

/// Somebody wants to execute a file, and waits. Dropping it lets them.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    guard: &'a ExecGuard,
    file: Option<OwnedFd>,
    /// The process, in this process's pid namespace; 0 when it is not in there.
    pub pid: i32,
}

/// One event as the kernel writes it (`struct fanotify_event_metadata`).
const EVENT: usize = 24;

impl ExecGuard {
    /// A group that marks nothing yet.
    pub fn new() -> Result<ExecGuard> {
        let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC | libc::FAN_NONBLOCK;
        let files = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE;
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::fanotify_init(flags, files.cast_unsigned()) };
        if fd < 0 {
            return Err(last_errno());
        }
        // SAFETY: a successful call answers a new descriptor of ours.
        Ok(ExecGuard(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Asks from now on about every file of the file system that `place` is on, through whatever mount it is reached.
    pub fn mark_file_system(&self, place: BorrowedFd<'_>) -> Result<()> {
        let path = format!("/proc/self/fd/{}\0", place.as_raw_fd());
        let flags = libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM;
        // SAFETY: the path ends with a zero byte and lives across the call.
        let result = unsafe {
            libc::fanotify_mark(
                self.0.as_raw_fd(),
                flags,
                libc::FAN_OPEN_EXEC_PERM,
                libc::AT_FDCWD,
                path.as_ptr().cast(),
            )
        };
        if result < 0 { Err(last_errno()) } else { Ok(()) }
    }

    /// Those who wait, a bounded number of them; none when nobody does.
    pub fn requests(&self) -> Result<Vec<ExecRequest<'_>>> {
        let mut buffer = [0_u8; 64 * EVENT];
        let length = match rustix::io::read(&self.0, &mut buffer) {
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) => return Err(errno),
        };
        let mut requests = Vec::new();
        let mut rest = &buffer[..length];
        while let Some(event) = rest.first_chunk::<EVENT>() {
            let word =
                |at: usize| i32::from_ne_bytes([event[at], event[at + 1], event[at + 2], event[at + 3]]);
            let (fd, pid) = (word(16), word(20));
            // SAFETY: the kernel has opened this descriptor for us with the event, and told of it once.
            let file = (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
            requests.push(ExecRequest { guard: self, file, pid });
            let step = usize::try_from(word(0)).unwrap_or(0).max(EVENT);
            rest = rest.get(step..).unwrap_or_default();
        }
        Ok(requests)
    }
}

impl AsFd for ExecGuard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ExecRequest<'_> {
    /// The file, open for reading, without causing events.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }

    /// Lets it be executed; gives its file.
    pub fn allow(mut self) -> Option<OwnedFd> {
        self.answer(libc::FAN_ALLOW);
        self.file.take()
    }

    /// Has the attempt fail with `EPERM`; gives its file.
    pub fn deny(mut self) -> Option<OwnedFd> {
        self.answer(libc::FAN_DENY);
        self.file.take()
    }

    fn answer(&self, response: u32) {
        let Some(file) = &self.file else { return };
        let mut answer = [0; 8];
        answer[..4].copy_from_slice(&file.as_raw_fd().to_ne_bytes());
        answer[4..].copy_from_slice(&response.to_ne_bytes());
        // One who was killed meanwhile needs no answer.
        let _written = rustix::io::write(&self.guard.0, &answer);
    }
}

impl Drop for ExecRequest<'_> {
    fn drop(&mut self) {
        self.answer(libc::FAN_ALLOW);
    }
}

/// The file's path as the kernel knows it; a file without a name has ` (deleted)` behind the one that it had.
pub fn path_of(file: BorrowedFd<'_>) -> Result<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let link = rustix::fs::readlink(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())), Vec::new())?;
    Ok(std::ffi::OsString::from_vec(link.into_bytes()).into())
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
