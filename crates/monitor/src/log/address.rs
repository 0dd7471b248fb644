//! Where a server is, and a socket to it that never waits.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};

use crate::packet;
use crate::plan::SyslogServer;

/// Where the local server listens.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// One place where the server may be.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) kind: SocketType,
    pub(super) place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    Unix(PathBuf),
    Net(SocketAddr),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_stream = self.kind == SocketType::STREAM;
        match &self.place {
            Place::Unix(path) => {
                write!(f, "dial {} {}", if is_stream { "unix" } else { "unixgram" }, path.display())
            }
            Place::Net(address) => write!(f, "dial {} {address}", if is_stream { "tcp" } else { "udp" }),
        }
    }
}

/// Where a server may be, one after the other.
pub(super) fn addresses(server: &SyslogServer) -> Vec<Address> {
    let unix = |kind, path: &Path| Address { kind, place: Place::Unix(path.to_owned()) };
    let net = |kind, places: &[SocketAddr]| {
        places.iter().map(|place| Address { kind, place: Place::Net(*place) }).collect()
    };
    match server {
        SyslogServer::Local => [SocketType::DGRAM, SocketType::STREAM]
            .into_iter()
            .flat_map(|kind| LOCAL.map(|path| unix(kind, Path::new(path))))
            .collect(),
        SyslogServer::Unix(path) => vec![unix(SocketType::STREAM, path)],
        SyslogServer::UnixDatagram(path) => vec![unix(SocketType::DGRAM, path)],
        SyslogServer::Udp(places) => net(SocketType::DGRAM, places),
        SyslogServer::Tcp(places) => net(SocketType::STREAM, places),
    }
}

/// A socket, and whether it is connected already.
pub(super) fn dial(address: &Address) -> Result<(OwnedFd, bool), Errno> {
    let family = match &address.place {
        Place::Unix(_) => AddressFamily::UNIX,
        Place::Net(SocketAddr::V4(_)) => AddressFamily::INET,
        Place::Net(SocketAddr::V6(_)) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, address.kind, flags, None)?;
    let connected = match &address.place {
        Place::Unix(path) => rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_path())?),
        Place::Net(place) => rustix::net::connect(&socket, place),
    };
    match connected {
        Ok(()) => Ok((socket, true)),
        Err(Errno::INPROGRESS) => Ok((socket, false)),
        Err(errno) => Err(errno),
    }
}

/// Sends a message or a part of it; the journal takes one that is too long as a file.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    kind: SocketType,
    message: &[u8],
    takes_files: bool,
) -> Result<usize, Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(socket, message, flags) {
        Err(Errno::MSGSIZE | Errno::NOBUFS) if takes_files && kind == SocketType::DGRAM => {
            let file = packet::seal_bytes(message).map_err(|_| Errno::MSGSIZE)?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let files = [file.as_fd()];
            if !ancillary.push(SendAncillaryMessage::ScmRights(&files)) {
                return Err(Errno::MSGSIZE);
            }
            rustix::net::sendmsg(socket, &[IoSlice::new(&[])], &mut ancillary, flags).map(|_| message.len())
        }
        outcome => outcome,
    }
}
