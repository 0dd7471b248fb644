//! One message, one packet: encoding, descriptors, and the memfd for what does not fit.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::protocol::{DESCRIPTOR_LIMIT, PACKET_LIMIT, PLAN_LIMIT};

/// Why no message was received.
#[derive(Debug)]
pub(crate) enum Nothing {
    /// The peer has closed its end.
    Closed,
    /// A non-blocking socket holds no message.
    NotYet,
}

/// Sends a message and descriptors. A peer that is gone or does not read is an error, never a signal.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
    flags: SendFlags,
) -> std::result::Result<(), Errno> {
    let mut encoded = [0; PACKET_LIMIT];
    let encoded = postcard::to_slice(message, &mut encoded).map_err(|_| Errno::MSGSIZE)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_LIMIT))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::MSGSIZE);
    }
    let parts = [IoSlice::new(encoded)];
    loop {
        match rustix::net::sendmsg(socket, &parts, &mut ancillary, flags | SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Receives a message and its descriptors, all close-on-exec.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    flags: RecvFlags,
) -> Result<std::result::Result<(T, Vec<OwnedFd>), Nothing>> {
    let mut encoded = [0; PACKET_LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_LIMIT))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut was_reset = false;
    let received = loop {
        let parts = &mut [IoSliceMut::new(&mut encoded)];
        match rustix::net::recvmsg(socket, parts, &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => break received,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(Err(Nothing::NotYet)),
            // The peer closed without reading all of ours. What it sent before that is still to be read.
            Err(Errno::CONNRESET) if !was_reset => was_reset = true,
            Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Err(Nothing::Closed)),
            Err(errno) => return Err(Error::System { attempt: "receive a message", errno }),
        }
    };
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if received.bytes == 0 {
        return Ok(Err(Nothing::Closed));
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Error::Protocol { reason: "a message exceeds its bounds" });
    }
    match postcard::take_from_bytes(&encoded[..received.bytes]) {
        Ok((message, [])) => Ok(Ok((message, descriptors))),
        Ok(_) | Err(_) => Err(Error::Protocol { reason: "a message does not parse" }),
    }
}

/// Puts a plan into a memfd that can never change again.
pub(crate) fn seal<T: Serialize>(plan: &T) -> Result<OwnedFd> {
    let encoded =
        postcard::to_stdvec(plan).map_err(|_| Error::Protocol { reason: "a plan cannot be encoded" })?;
    seal_bytes(&encoded)
}

/// Puts bytes into a memfd that can never change again, to be read from the start.
pub(crate) fn seal_bytes(bytes: &[u8]) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = rustix::fs::memfd_create(c"skiff", flags).map_err(Error::system("make a memfd"))?;
    let mut file = File::from(memfd);
    file.write_all(bytes).map_err(|error| Error::System {
        attempt: "fill a memfd",
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    })?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map_err(Error::system("rewind a memfd"))?;
    rustix::fs::fcntl_add_seals(&file, seals()).map_err(Error::system("seal a memfd"))?;
    Ok(file.into())
}

/// A copy of a program in a memfd that can never change again.
pub(crate) fn seal_program(program: OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC;
    let memfd = match rustix::fs::memfd_create(c"skiff-monitor", flags) {
        // Kernels before 6.3 do not know the flag, and make every memfd executable.
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"skiff-monitor", flags - MemfdFlags::EXEC)?,
        outcome => outcome?,
    };
    let mut copy = File::from(memfd);
    std::io::copy(&mut File::from(program), &mut copy)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    rustix::fs::fcntl_add_seals(&copy, seals() | SealFlags::SEAL)?;
    // A descriptor open for writing cannot be executed.
    rustix::fs::open(
        format!("/proc/self/fd/{}", copy.as_fd().as_raw_fd()),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
}

/// Reads a plan back, from its beginning. A file that is not sealed is refused: its owner could change it
/// meanwhile.
pub(crate) fn unseal<T: DeserializeOwned>(memfd: BorrowedFd<'_>) -> Result<T> {
    let found = rustix::fs::fcntl_get_seals(memfd).map_err(Error::system("examine the seals of a plan"))?;
    if !found.contains(seals()) {
        return Err(Error::Protocol { reason: "a plan is not sealed" });
    }
    let size = rustix::fs::fstat(memfd).map_err(Error::system("examine a plan"))?.st_size;
    let size = usize::try_from(size).ok().filter(|&size| size <= PLAN_LIMIT);
    let mut encoded = vec![0; size.ok_or(Error::Protocol { reason: "a plan is too large" })?];
    let mut filled = 0;
    while filled < encoded.len() {
        match rustix::io::pread(memfd, &mut encoded[filled..], filled as u64) {
            Ok(0) => return Err(Error::Protocol { reason: "a plan is shorter than its file" }),
            Ok(length) => filled += length,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::System { attempt: "read a plan", errno }),
        }
    }
    match postcard::take_from_bytes(&encoded) {
        Ok((plan, [])) => Ok(plan),
        Ok(_) | Err(_) => Err(Error::Protocol { reason: "a plan does not parse" }),
    }
}

fn seals() -> SealFlags {
    SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK
}

/// Borrows every descriptor that is there, in order.
pub(crate) fn borrow_all<'a>(descriptors: impl IntoIterator<Item = &'a OwnedFd>) -> Vec<BorrowedFd<'a>> {
    descriptors.into_iter().map(AsFd::as_fd).collect()
}
