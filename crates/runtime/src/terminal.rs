//! A pseudo-terminal of the container's own.
//!
//! Both ends come from the container's devpts: the master is opened below the root, without links and checked to lie
//! on a devpts; the other end is opened from the master by ioctl, without any path.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{OFlags, Uid, fchown, fstatfs};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::below::{Links, open};
use crate::error::failed;
use crate::plan::TerminalSize;
use crate::{InitFailure, Step};

const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Both ends.
pub(crate) struct Terminal {
    /// Never closed but by exec or exit: once the other end is the process's own terminal, the last copy of this one going
    /// away would kill the process (SIGHUP) before it could report a failure.
    pub(crate) master: ManuallyDrop<OwnedFd>,
    pub(crate) terminal: OwnedFd,
}

/// Opens a terminal of `size` below `root`.
pub(crate) fn allocate(root: BorrowedFd<'_>, size: TerminalSize) -> Result<Terminal, InitFailure> {
    let at = |errno| failed(Step::Terminal, "/dev/pts/ptmx")(errno);
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = open(root, Path::new("/dev/pts/ptmx"), flags, Links::Refuse).map_err(at)?;
    if fstatfs(&master).map_err(at)?.f_type != DEVPTS_MAGIC {
        return Err(at(Errno::NODEV));
    }
    unlockpt(&master).map_err(at)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = ioctl_tiocgptpeer(&master, flags).map_err(at)?;
    if size != TerminalSize::default() {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).map_err(at)?;
    }
    Ok(Terminal { master: ManuallyDrop::new(master), terminal })
}

/// Makes the terminal descriptors 0, 1 and 2 and the session's own; it belongs to `uid`.
pub(crate) fn take(terminal: impl AsFd, uid: u32) -> Result<(), InitFailure> {
    let at = |errno| failed(Step::Terminal, "as standard streams")(errno);
    fchown(terminal.as_fd(), Some(Uid::from_raw(uid)), None).map_err(at)?;
    rustix::process::ioctl_tiocsctty(terminal.as_fd()).map_err(at)?;
    for target in 0..3 {
        linux::process::replace_stdio(terminal.as_fd(), target).map_err(at)?;
    }
    Ok(())
}
