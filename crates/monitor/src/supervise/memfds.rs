//! Programs in files of memory (memfd_create(2)): they lie on no file system that could be guarded, so a container whose
//! drift is blocked executes none.
//!
//! ```text
//! monitor ── clone ─► child ── setns(pid) ── clone ─► grandchild, one of the container's ── vm.memfd_noexec = 2
//! ```
//!
//! The parameter is that of the writer's own pid namespace, and only root outside of the container may write it. The
//! monitor itself joins nothing.

use std::os::fd::{AsFd, BorrowedFd};

use linux::process::{Clone, Cloned, NEW_PID, clone, exit_now, set_namespaces};
use runtime::plan::Namespace;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::error::{Error, Result};
use crate::plan::{DriftMode, MonitorPlan};

const PARAMETER: &str = "/proc/sys/vm/memfd_noexec";
/// The first kernel whose value 2 refuses those alone that ask for memory to execute: before, it also refused whoever had
/// never heard of the difference.
const KERNEL: (u32, u32) = (6, 6);

/// Keeps the container whose first process is `init` from executing memory, where that is asked for and can be had.
pub(crate) fn refuse(plan: &MonitorPlan, init: i32) -> Result<()> {
    let own_processes = plan.launch.namespaces.pid == Namespace::New;
    if plan.drift != DriftMode::Block || !own_processes || kernel() < Some(KERNEL) {
        return Ok(());
    }
    let failed = Error::system("refuse programs in memory (vm.memfd_noexec)");
    let pidfd = Pid::from_raw(init).ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    pidfd.and_then(|pidfd| in_child(|| within(pidfd.as_fd()))).map_err(failed)
}

fn kernel() -> Option<(u32, u32)> {
    runtime::seccomp::kernel_version(&rustix::system::uname().release().to_string_lossy())
}

/// In the child of the monitor: its own children are the container's.
fn within(container: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    set_namespaces(container, NEW_PID)?;
    in_child(|| {
        let file = openat(CWD, PARAMETER, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(file, b"2").map(drop)
    })
}

/// Does `work` in a child, and waits for it.
fn in_child(work: impl FnOnce() -> std::result::Result<(), Errno>) -> std::result::Result<(), Errno> {
    let child = match clone(Clone::default())? {
        Cloned::Parent { pidfd, .. } => pidfd,
        Cloned::Child => {
            let code =
                work().map_or_else(|errno| u8::try_from(errno.raw_os_error()).unwrap_or(u8::MAX), |()| 0);
            exit_now(code)
        }
    };
    loop {
        return match waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => continue,
            Err(errno) => Err(errno),
            Ok(ended) => match ended.and_then(|ended| ended.exit_status()) {
                Some(0) => Ok(()),
                Some(errno) => Err(Errno::from_raw_os_error(errno)),
                None => Err(Errno::CHILD),
            },
        };
    }
}
