//! Who is connected: the caller that started the monitor, and everyone who came by the control socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::packet::{self, Nothing};
use crate::protocol::{Reply, Request};

/// The most clients at once. Beyond that, one that has nothing pending makes room.
const CLIENT_LIMIT: usize = 64;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) socket: OwnedFd,
    /// Asked to be told of the exit.
    pub(crate) waits: bool,
    /// Has streams attached.
    pub(crate) is_attached: bool,
    /// Waits for a program that it started.
    pub(crate) has_exec: bool,
    /// Had the container frozen for as long as it stays.
    pub(crate) freezes: bool,
    gone: bool,
}

/// All of them, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) list: Vec<Client>,
    last_id: u64,
}

/// The id of the caller that started the monitor.
pub(crate) const OWNER: u64 = 1;

impl Clients {
    pub(crate) fn add(&mut self, socket: OwnedFd) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.list.push(Client {
            id,
            socket,
            waits: false,
            is_attached: false,
            has_exec: false,
            freezes: false,
            gone: false,
        });
        id
    }

    /// Lets in who knocks.
    pub(crate) fn accept(&mut self, listener: BorrowedFd<'_>) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            match rustix::net::accept_with(listener, flags) {
                Ok(socket) => {
                    if is_welcome(&socket) && (self.list.len() < CLIENT_LIMIT || self.make_room()) {
                        self.add(socket);
                    }
                }
                // The peer is gone already.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return,
                // Out of descriptors or memory. Whoever knocks stays at the door and makes the listener ready
                // for ever: the pause keeps us from asking without end.
                Err(_) => {
                    self.make_room();
                    std::thread::sleep(Duration::from_millis(1));
                    return;
                }
            }
        }
    }

    /// Lets in who has knocked until there was no door any more. They cannot be served, and are told of the end whatever
    /// they came for: it answers every request.
    pub(crate) fn accept_last(&mut self, listener: BorrowedFd<'_>) {
        let last_id = self.last_id;
        self.accept(listener);
        let late = self.list.iter_mut().filter(|client| client.id > last_id);
        late.for_each(|client| client.waits = true);
    }

    fn make_room(&mut self) -> bool {
        let idle =
            |client: &Client| !(client.waits || client.is_attached || client.has_exec || client.freezes);
        let Some(index) = self.list.iter().position(idle) else { return false };
        self.list.remove(index);
        true
    }

    pub(crate) fn get(&mut self, id: u64) -> Option<&mut Client> {
        self.list.iter_mut().find(|client| client.id == id)
    }

    pub(crate) fn is_connected(&self, id: u64) -> bool {
        self.list.iter().any(|client| client.id == id && !client.gone)
    }

    /// Sends `reply` to one client. One that does not read its replies is cut off.
    pub(crate) fn reply(&mut self, id: u64, reply: &Reply, descriptors: &[BorrowedFd<'_>]) {
        if let Some(client) = self.get(id) {
            client.reply(reply, descriptors);
        }
    }

    /// Whether the one who had the container frozen is gone.
    pub(crate) fn lost_freezer(&self) -> bool {
        self.list.iter().any(|client| client.freezes && client.gone)
    }

    pub(crate) fn sweep(&mut self) {
        self.list.retain(|client| !client.gone);
    }
}

/// This process's user, or root. The directory's mode keeps others out already; this does should it be changed.
fn is_welcome(socket: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_peercred(socket)
        .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

impl Client {
    /// The next request, if there is one. A peer that talks nonsense is cut off like one that left.
    pub(crate) fn request(&mut self) -> Option<(Request, Vec<OwnedFd>)> {
        match packet::receive(self.socket.as_fd(), RecvFlags::DONTWAIT) {
            Ok(Ok(received)) => Some(received),
            Ok(Err(Nothing::NotYet)) => None,
            Ok(Err(Nothing::Closed)) | Err(_) => {
                self.gone = true;
                None
            }
        }
    }

    pub(crate) fn reply(&mut self, reply: &Reply, descriptors: &[BorrowedFd<'_>]) {
        if packet::send(self.socket.as_fd(), reply, descriptors, SendFlags::DONTWAIT).is_err() {
            self.gone = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

    use super::*;

    #[test]
    fn who_knocks_last_is_told_of_the_end_without_having_asked() {
        let folder = testkit::Scratch::new();
        let name = SocketAddrUnix::new(folder.join("control.sock")).unwrap();
        let socket = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
        };
        let listener = socket();
        rustix::net::bind(&listener, &name).unwrap();
        rustix::net::listen(&listener, 8).unwrap();
        let mut clients = Clients::default();
        let (owner, _theirs) = UnixDatagram::pair().unwrap();
        clients.add(owner.into());
        let early = socket();
        rustix::net::connect(&early, &name).unwrap();
        clients.accept(listener.as_fd());
        let late = socket();
        rustix::net::connect(&late, &name).unwrap();
        clients.accept_last(listener.as_fd());
        assert_eq!(clients.list.iter().map(|client| client.waits).collect::<Vec<_>>(), [false, false, true]);
    }
}
