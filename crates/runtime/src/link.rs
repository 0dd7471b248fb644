//! The dialogue of supervisor and init over a pair of sequenced-packet sockets; drawn in the crate's head.
//!
//! One packet is one message, with the descriptors that belong to it. Both ends close on exec: once the program runs,
//! the supervisor reads the end. Each side closes the other's end first, so that a death is seen at once.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::InitFailure;

/// Longest message; only failures have text, and theirs is cut.
const LONGEST: usize = 16 * 1024;
/// Descriptors in one packet; the kernel takes 253.
const DESCRIPTORS: usize = 200;

/// From the supervisor.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// To a process that was cloned ahead: its plan in a memfd, and three streams unless it is to have a terminal.
    Plan,
    /// The id maps are written.
    Mapped,
    /// Mounts that the supervisor opened, if it could: the root and one for each bind mount, and then a filled
    /// `/dev`. `count` descriptors follow, in packets of [`Order::Descriptors`].
    Mounts {
        root_and_binds: bool,
        dev: bool,
        count: usize,
        /// The process id as the supervisor sees it, for the state document of hooks.
        pid: i32,
    },
    /// Some of the descriptors announced by the message before.
    Descriptors,
    /// The hooks that run beside the container have succeeded.
    HooksDone,
    /// Go on to the program.
    Release,
}

/// From init.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A process made further in: its pidfd is attached.
    Cloned {
        /// Its number, as the caller sees it.
        pid: i32,
    },
    /// A mount made in a mount namespace of its own is attached.
    Mounted,
    /// Everything is mounted: `prestart` and `createRuntime` hooks are due.
    HooksDue,
    /// Waiting for [`Order::Release`]; the terminal's master is attached when there is one.
    Parked,
    /// Waiting at the start gate.
    AtGate,
    /// It ends here.
    Failed(InitFailure),
}

/// One end.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Link {
    pub(crate) fn pair() -> Result<(Self, Self), Errno> {
        let (near, far) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(near), Self(far)))
    }

    pub(crate) fn send<M: Serialize>(
        &self,
        message: &M,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Errno> {
        let bytes = postcard::to_stdvec(message).map_err(|_| Errno::INVAL)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::MSGSIZE);
        }
        loop {
            match rustix::net::sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
            {
                Err(Errno::INTR) => {}
                result => return result.map(drop),
            }
        }
    }

    /// Sends any number of descriptors as packets of `message`.
    pub(crate) fn send_all<M: Serialize>(&self, message: &M, all: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        all.chunks(DESCRIPTORS).try_for_each(|some| self.send(message, some))
    }

    /// The next message; `None` when the other side is gone (or, for init's side, executes its program).
    pub(crate) fn receive<M: DeserializeOwned>(&self) -> Result<Option<(M, Vec<OwnedFd>)>, Errno> {
        self.receive_with(RecvFlags::CMSG_CLOEXEC)
    }

    /// The next message, where there is one already.
    pub(crate) fn receive_now<M: DeserializeOwned>(&self) -> Result<Option<(M, Vec<OwnedFd>)>, Errno> {
        match self.receive_with(RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => Ok(None),
            outcome => outcome,
        }
    }

    fn receive_with<M: DeserializeOwned>(
        &self,
        flags: RecvFlags,
    ) -> Result<Option<(M, Vec<OwnedFd>)>, Errno> {
        let mut bytes = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(&self.0, &mut parts, &mut ancillary, flags) {
                // The other side ended with messages of ours unread; its own last words come after the error, which is
                // told once.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                result => break result?,
            }
        };
        let descriptors = ancillary
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                RecvAncillaryMessage::ScmCredentials(_) | _ => None,
            })
            .flatten()
            .collect();
        if received.bytes == 0 {
            return Ok(None);
        }
        let message = postcard::from_bytes(&bytes[..received.bytes]).map_err(|_| Errno::BADMSG)?;
        Ok(Some((message, descriptors)))
    }
}
