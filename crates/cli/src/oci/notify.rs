//! A service that tells its manager that it is ready (sd_notify(3)).
//!
//! ```text
//! program ──READY=1──► <root>/<id>/notify/notify.sock ──► this command ──READY=1, MAINPID──► $NOTIFY_SOCKET
//! ```
//! The manager's own socket never enters the container: whoever writes to it may name another main process, keep
//! descriptors there or hold a watchdog off. What is passed on is that the program is ready, and once.

use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use linux::file;
use runtime::LaunchPlan;
use runtime::plan::{Mount, MountAttributes, MountIdMap, MountKind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Global;
use super::container::{Folder, Init};
use super::error::{Error, Result};

const INSIDE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";
/// A message is longer only if it is none.
const LONGEST: usize = 4096;

/// Where the caller wants to be told.
pub(super) struct Manager {
    address: SocketAddr,
}

impl Manager {
    /// `NOTIFY_SOCKET`: a path, or after `@` an abstract name.
    #[allow(
        clippy::disallowed_methods,
        reason = "the command line reads the environment for everything below it"
    )]
    pub(super) fn of_caller(global: &Global) -> Option<Self> {
        let name = std::env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty())?;
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None if name.starts_with('/') => SocketAddr::from_pathname(&name),
            None => Err(std::io::ErrorKind::InvalidInput.into()),
        };
        if address.is_err() {
            global.log.warn("NOTIFY_SOCKET is no address of a socket; nothing is passed on to it");
        }
        Some(Self { address: address.ok()? })
    }

    fn tell(&self, message: &str) -> Result<()> {
        let sent =
            UnixDatagram::unbound().and_then(|own| own.send_to_addr(message.as_bytes(), &self.address));
        sent.map(drop).map_err(|source| Error::System { attempt: "tell NOTIFY_SOCKET".into(), source })
    }
}

/// The folder that the container gets, made before it is.
pub(super) fn prepare(folder: &Folder, plan: &mut LaunchPlan) -> Result<()> {
    let source = place(folder);
    file::create_dir(&source, 0o755)?;
    plan.mounts.push(Mount {
        target: INSIDE.into(),
        kind: MountKind::Bind { source, recursive: false },
        attributes: MountAttributes {
            readonly: true,
            nosuid: true,
            nodev: true,
            noexec: true,
            ..MountAttributes::default()
        },
        propagation: None,
        id_map: MountIdMap::None,
    });
    plan.process.env.retain(|entry| !entry.starts_with("NOTIFY_SOCKET="));
    plan.process.env.push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
    Ok(())
}

fn place(folder: &Folder) -> PathBuf {
    folder.path.join("notify")
}

/// Our end of the container's socket.
pub(super) struct Notify {
    socket: UnixDatagram,
    manager: Manager,
}

impl Notify {
    /// Makes the socket, before the program runs. `None` where the container was made without.
    pub(super) fn listen(folder: &Folder, manager: Manager) -> Result<Option<Self>> {
        let attempt = || format!("make {}", place(folder).join(SOCKET).display());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(place(folder), flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::system(attempt())(errno)),
        };
        // By its descriptor: the address of a socket is shorter than a path may be.
        let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
        let path = format!("/proc/self/fd/{number}/{SOCKET}");
        let failed = |source| Error::System { attempt: attempt(), source };
        let socket = UnixDatagram::bind(&path).map_err(failed)?;
        // Whoever the program runs as; the container's folder keeps all others out.
        file::set_mode(Path::new(&path), 0o777)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Some(Self { socket, manager }))
    }

    /// Reads what is there; true once the manager has been told. `main` is the process that it shall watch instead of us.
    pub(super) fn pass_on(&self, main: Option<i32>) -> Result<bool> {
        let mut buffer = [0; LONGEST];
        let count = match self.socket.recv(&mut buffer) {
            Ok(count) => count,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(false);
            }
            Err(source) => return Err(Error::System { attempt: "read a notification".into(), source }),
        };
        let ready = buffer
            .get(..count)
            .unwrap_or_default()
            .split(|byte| *byte == b'\n')
            .any(|line| line == b"READY=1");
        if ready {
            self.manager.tell("READY=1\n")?;
            if let Some(pid) = main {
                self.manager.tell(&format!("MAINPID={pid}\n"))?;
            }
        }
        Ok(ready)
    }

    /// Stays until a detached container is ready, or has ended without ever being so.
    pub(super) fn wait(&self, init: Init) -> Result<()> {
        let Some(pidfd) = init.open()? else { return Ok(()) };
        loop {
            let mut watched = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            match poll(&mut watched, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("wait for the container to be ready")(errno)),
            }
            let [told, ended] = watched.map(|one| !one.revents().is_empty());
            if told && self.pass_on(Some(init.pid))? || ended {
                return Ok(());
            }
        }
    }
}

impl AsFd for Notify {
    /// Becomes readable when the program has something to say.
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
