//! Hands a seccomp notification descriptor to its listener (runtime specification, config-linux.md,
//! "The Container Process State").
//!
//! The listener's socket is a path of the host's, out of reach once init has entered its root, so the connection
//! is made before and kept until the filter is in.

use std::cell::RefCell;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};

use crate::error::failed;
use crate::plan::{HookState, ProcessPlan, SeccompListener};
use crate::{InitFailure, Step, hooks};

thread_local! {
    static CONNECTION: RefCell<Option<(OwnedFd, HookState, i32)>> = const { RefCell::new(None) };
}

/// Connects to the listener of `process`'s filter, if it has one.
pub(crate) fn connect(process: &ProcessPlan, state: &HookState, pid: i32) -> Result<(), InitFailure> {
    let Some(listener) = process.seccomp.as_ref().and_then(|filter| filter.listener.as_ref()) else {
        return Ok(());
    };
    let at = |errno| failed(Step::Seccomp, format!("listener {}", listener.path.display()))(errno);
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(at)?;
    let address = SocketAddrUnix::new(&listener.path).map_err(at)?;
    rustix::net::connect(&socket, &address).map_err(at)?;
    CONNECTION.set(Some((socket, state.clone(), pid)));
    Ok(())
}

/// Sends the state document with the descriptor.
pub(crate) fn send(listener: &SeccompListener, notifier: OwnedFd) -> Result<(), InitFailure> {
    let at = |errno| failed(Step::Seccomp, format!("listener {}", listener.path.display()))(errno);
    let Some((socket, state, pid)) = CONNECTION.take() else { return Err(at(rustix::io::Errno::NOTCONN)) };
    let document = serde_json::json!({
        "ociVersion": hooks::version(&state),
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": listener.metadata,
        "state": hooks::document(&state, "creating", Some(pid)),
    });
    let text = document.to_string();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [notifier.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(&socket, &[IoSlice::new(text.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(at)
}
