//! Copies between the caller and a container's file system, as the container sees it.
//!
//! ```text
//!   caller                       worker, in the container's namespaces ([`runtime::visit`])
//!     ── order, end of a pipe ──►  finds the path, decides where a copy goes
//!     ◄──────── Found | Refused ─
//!     ◄═══════ tar ═════════════►  packs or unpacks
//!     ◄──────────── Done | Failed
//! ```
//!
//! The two sides trust each other's archives no further than [`image::files`] does any. A caller that dies closes its end of
//! the pipe, which ends the worker.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use image::files::{
    Item, Located, Marks, Owner, Place, Present, Rules, Source, Stack, Where, locate, pack, place, unpack,
};
use runtime::LaunchPlan;
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use crate::client::{Connection, Received, unexpected};
use crate::clock;
use crate::error::{Error, Result};
use crate::lent::words;
use crate::life::Phase;
use crate::lost;
use crate::packet;
use crate::protocol::Reply;
use crate::status::{self, Process};
use crate::supervise::seat::Seat;
use crate::supervise::volumes;
use crate::worker;

/// How long a start that got in between may take.
const STARTING_MS: u64 = 10_000;

/// How to come to a container's files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Way {
    /// It runs: by its first process.
    Running(Process),
    /// It does not, and nobody can start it meanwhile.
    Stopped {
        /// Its root and what is mounted there.
        launch: Box<LaunchPlan>,
        /// `<run>/<id>`.
        run_dir: PathBuf,
        /// `<root>/containers/<id>`.
        container_dir: PathBuf,
    },
}

/// What to do there. Paths are absolute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Write a file or a directory as a tar.
    Pack {
        /// What.
        path: Vec<u8>,
        /// It is meant as a directory.
        is_directory: bool,
        /// A link at its end is followed.
        follow: bool,
        /// What it is called in the tar.
        name: Vec<u8>,
    },
    /// Unpack a tar.
    Unpack {
        /// To where.
        path: Vec<u8>,
        /// It is meant as a directory.
        is_directory: bool,
        /// What is copied.
        source: Copied,
        /// The files belong to whom the tar says, instead of to root.
        keep_owners: bool,
    },
}

/// What is copied into a container; [`Source`], for a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of Source")]
pub enum Copied {
    Directory(Vec<u8>),
    Contents,
    File(Vec<u8>),
    Tar,
}

/// What was found at the path of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// It is a directory.
    pub is_directory: bool,
}

/// Why a task is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// There is nothing of that name, or no directory to put it in.
    Missing,
    /// It is meant as a directory, and is none.
    NotADirectory,
    /// As [`image::files::Refused`].
    CannotCopyDirectory,
    /// As [`image::files::Refused`].
    NoSuchDirectory,
    /// As [`image::files::Refused`].
    MustBeDirectory,
    /// As [`image::files::Refused`].
    MustBeDirectoryOrFile,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    way: Way,
    task: Task,
}

/// A worker in a container. Dropping this ends it.
#[derive(Debug)]
#[must_use]
pub struct Visit {
    worker: Connection,
}

/// Sends a worker, which is the monitor `program`, to a container; `stream` is the end of a pipe for the tar.
///
/// # Errors
/// If no process can be started for it.
pub fn begin(program: &Path, way: Way, task: Task, stream: OwnedFd) -> Result<Visit> {
    let order = worker::Order::Visit(Box::new(Order { way, task }));
    Ok(Visit { worker: worker::begin(program, &order, &[stream])? })
}

impl Visit {
    /// Waits until the worker has found the path, and so has begun with the tar.
    ///
    /// # Errors
    /// [`Error::Remote`] has the words of what went wrong.
    pub fn found(&mut self) -> Result<std::result::Result<Found, Refusal>> {
        let reply = self.receive()?;
        if let Reply::Found(found) = reply {
            return Ok(Ok(found));
        }
        if let Reply::CopyRefused(refusal) = reply { Ok(Err(refusal)) } else { Err(unexpected(reply)) }
    }

    /// Waits until it is done.
    ///
    /// # Errors
    /// [`Error::Remote`] has the words of what went wrong.
    pub fn finish(mut self) -> Result<()> {
        let reply = self.receive()?;
        if let Reply::Done(_) = reply { Ok(()) } else { Err(unexpected(reply)) }
    }

    fn receive(&mut self) -> Result<Reply> {
        match self.worker.receive() {
            Ok(Received::Reply(reply, _)) => Ok(reply),
            Ok(Received::Ended) | Err(Error::Gone) => Err(Error::Remote {
                attempt: ATTEMPT.to_owned(),
                message: "the process that worked on it ended without an answer".to_owned(),
            }),
            Err(error) => Err(error),
        }
    }
}

const ATTEMPT: &str = "copy files of the container";

/// The worker's own side. The process must have no other thread.
pub(crate) fn work(control: &OwnedFd, Order { way, task }: Order, with: &[OwnedFd]) -> Result<()> {
    let [stream] = with else { return Err(Error::Protocol { reason: "a copy has no stream" }) };
    let guest = Guest { control: control.as_fd(), stream: stream.as_fd() };
    let worked = match way {
        Way::Running(init) => join(init).map(|root| guest.work(root, &task)),
        Way::Stopped { launch, run_dir, container_dir } => {
            visit_stopped(&guest, *launch, (&run_dir, &container_dir), &task)
        }
    };
    if let Err(error) = worked {
        guest.reply(&Reply::Failed { attempt: ATTEMPT.to_owned(), message: words(&error) });
    }
    Ok(())
}

fn join(init: Process) -> Result<OwnedFd> {
    let gone = || Error::Remote { attempt: ATTEMPT.to_owned(), message: "it has just ended".to_owned() };
    let pid = Pid::from_raw(init.pid).ok_or_else(gone)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    // Read after the descriptor was opened: if it agrees now, the descriptor is that process's.
    if lost::start_time(init.pid) != Some(init.start_time) {
        return Err(gone());
    }
    runtime::visit::join(pid, pidfd.as_fd()).map_err(remote)
}

fn visit_stopped(
    guest: &Guest<'_>,
    mut launch: LaunchPlan,
    (run_dir, container_dir): (&Path, &Path),
    task: &Task,
) -> Result<()> {
    // Two overlays over one writable layer would be one too many.
    let seat = match sit_or_join(run_dir, guest.control)? {
        Entrance::Stopped(seat) => seat,
        Entrance::Running(root) => {
            guest.work(root, task);
            return Ok(());
        }
    };
    let filling = volumes::prepare(&mut launch, container_dir)?;
    let ready = || filling.map_or(Ok(()), volumes::Filling::finish);
    let keep = [guest.control, guest.stream];
    let visited = runtime::visit::assemble::<Failed>(
        &launch,
        &keep,
        || ready().map_err(Failed),
        |root| guest.work(root, task),
    );
    seat.leave()?;
    visited.map_err(|Failed(error)| error)
}

/// What has become of a container that did not run when its caller looked.
enum Entrance {
    Stopped(Seat),
    /// Somebody has started it: its root.
    Running(OwnedFd),
}

fn sit_or_join(run_dir: &Path, caller: BorrowedFd<'_>) -> Result<Entrance> {
    let give_up = clock::monotonic_ms() + STARTING_MS;
    loop {
        match Seat::occupy(run_dir, caller) {
            Ok(seat) if seat.leftover()?.is_none_or(|status| status.exit.is_some()) => {
                return Ok(Entrance::Stopped(seat));
            }
            // What its monitor has left running is an observer's to kill.
            Ok(seat) => {
                seat.leave()?;
                let message = "its monitor has just died".to_owned();
                return Err(Error::Remote { attempt: ATTEMPT.to_owned(), message });
            }
            Err(Error::AlreadyRunning) if clock::monotonic_ms() < give_up => {}
            Err(error) => return Err(error),
        }
        let status = status::read(run_dir)?;
        let runs =
            status.filter(|status| matches!(status.phase, Phase::Running { .. } | Phase::Paused { .. }));
        // One that has just ended leaves its seat.
        if let Some(Ok(root)) = runs.and_then(|status| status.init).map(join) {
            return Ok(Entrance::Running(root));
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Either crate's error.
struct Failed(Error);

impl From<runtime::Error> for Failed {
    fn from(error: runtime::Error) -> Self {
        Self(remote(error))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn remote(error: runtime::Error) -> Error {
    Error::Remote { attempt: ATTEMPT.to_owned(), message: words(&error) }
}

/// A process with the container's root.
struct Guest<'a> {
    control: BorrowedFd<'a>,
    stream: BorrowedFd<'a>,
}

/// Why a task has ended.
enum Stop {
    Refused(Refusal),
    Failed(image::Error),
}

impl From<image::Error> for Stop {
    fn from(error: image::Error) -> Self {
        Self::Failed(error)
    }
}

impl Guest<'_> {
    fn reply(&self, reply: &Reply) {
        // A caller that has gone needs no answer.
        let _sent = packet::send(self.control, reply, &[], SendFlags::empty());
    }

    /// Does a task with the container's root as `/`, and tells how it went.
    fn work(&self, root: OwnedFd, task: &Task) {
        let done = match task {
            Task::Pack { path, is_directory, follow, name } => {
                self.pack(&root, (path, *is_directory, *follow), name)
            }
            Task::Unpack { path, is_directory, source, keep_owners } => {
                self.unpack(&root, (path, *is_directory), source, *keep_owners)
            }
        };
        self.reply(&match done {
            Ok(()) => Reply::Done(crate::client::Outcome::Changed),
            Err(Stop::Refused(refusal)) => Reply::CopyRefused(refusal),
            Err(Stop::Failed(error)) => Reply::Failed { attempt: ATTEMPT.to_owned(), message: words(&error) },
        });
    }

    fn pack(
        &self,
        root: &OwnedFd,
        (path, is_directory, follow): (&[u8], bool, bool),
        name: &[u8],
    ) -> std::result::Result<(), Stop> {
        let found = find(root, path, follow || is_directory)?;
        match found.present() {
            Present::Nothing => return Err(Stop::Refused(Refusal::Missing)),
            Present::File | Present::Other if is_directory => {
                return Err(Stop::Refused(Refusal::NotADirectory));
            }
            Present::File | Present::Other | Present::Directory => {}
        }
        let is_directory = found.present() == Present::Directory;
        if is_directory {
            let stack = Stack::new(vec![found.directory()?], Marks::None)?;
            self.reply(&Reply::Found(Found { is_directory }));
            pack(Item::Directory(&stack), name, self.stream)?;
        } else {
            let own_name = found.name.clone();
            let stack = Stack::new(vec![found.parent], Marks::None)?;
            self.reply(&Reply::Found(Found { is_directory }));
            pack(Item::Other { parent: &stack, name: &own_name }, name, self.stream)?;
        }
        Ok(())
    }

    fn unpack(
        &self,
        root: &OwnedFd,
        (path, is_directory): (&[u8], bool),
        source: &Copied,
        keep_owners: bool,
    ) -> std::result::Result<(), Stop> {
        let source = match source.clone() {
            Copied::Directory(name) => Source::Directory(name),
            Copied::Contents => Source::Contents,
            Copied::File(name) => Source::File(name),
            Copied::Tar => Source::Tar,
        };
        let found = find(root, path, true)?;
        let decided = place(&source, found.present(), is_directory);
        let target = match decided.map_err(|refused| Stop::Refused(Refusal::from(refused)))? {
            Where::Into if source == Source::Tar => Place::Into(found.directory()?),
            Where::Into => Place::Contents(found.directory()?),
            Where::Under(name) => Place::As { parent: found.directory()?, name },
            Where::As => Place::As { parent: found.parent, name: found.name },
        };
        self.reply(&Reply::Found(Found { is_directory: false }));
        let owner = if keep_owners { Owner::Kept } else { Owner::Creator };
        let rules = Rules {
            owner,
            follows_links: source == Source::Tar,
            keeps_privileges: true,
            replaces: false,
            whole: false,
        };
        unpack(self.stream, &target, rules)?;
        Ok(())
    }
}

fn find(root: &OwnedFd, path: &[u8], follow: bool) -> std::result::Result<Located, Stop> {
    locate(root.as_fd(), path, follow).map_err(|error| match error.errno() {
        Some(Errno::NOENT | Errno::NOTDIR) => Stop::Refused(Refusal::Missing),
        _ => Stop::Failed(error),
    })
}

impl From<image::files::Refused> for Refusal {
    fn from(refused: image::files::Refused) -> Self {
        use image::files::Refused;
        match refused {
            Refused::CannotCopyDirectory => Self::CannotCopyDirectory,
            Refused::NoSuchDirectory => Self::NoSuchDirectory,
            Refused::NotADirectory => Self::NotADirectory,
            Refused::MustBeDirectory => Self::MustBeDirectory,
            Refused::MustBeDirectoryOrFile => Self::MustBeDirectoryOrFile,
        }
    }
}
