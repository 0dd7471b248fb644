//! Work on files of ids that are lent to an ordinary user: making them, and removing them.
//!
//! Only root of a user namespace with these ids may do either, and only a fresh process of one thread may make such a
//! namespace for itself: its caller is a library that may have any number of threads, whose copy in a child could hang
//! on a lock that one of them held. So the caller starts this program anew, as it starts a monitor, and waits:
//!
//! ```text
//!   caller ──exec──► worker ──clone(NEWUSER)──► root over the lent ids: unpacks, removes
//!     │   socketpair    │ newuidmap, newgidmap          │
//!     ◄── Done, Failed ─┘◄──────────────────────────────┘
//! ```
//!
//! The three end together: the worker kills its child when the caller's end of the socket closes, the kernel does when
//! the worker dies. What a child leaves that is killed lies below `tmp/`, unlocked, or is a tree that has lost its name:
//! garbage, which the next collection has removed by the next worker.
//!
//! An order names the root of a store and digests, not files: what becomes of them is [`image`]'s affair, and the same in
//! the namespace as outside.

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use image::files::{self, Change, ChangeKind, Item, Marks, MountPoints, Stack, Times};
use image::snapshots::{Privilege, Snapshots, Trees, unpack_alone};
use image::{Stop, Store};
use linux::file::{self, Named as _};
use oci::{DiffId, Digest};
use runtime::plan::IdMaps;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, Gid, Uid};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};
use serde::{Deserialize, Serialize};

use crate::client::{Connection, Outcome, Received, unexpected};
use crate::error::{Error, Result};
use crate::packet;
use crate::protocol::Reply;
use crate::supervise::requests::causes;
use crate::worker;

/// An image's layers, to be unpacked as [`Trees::in_user_namespace`] does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpack {
    /// The root of the store; absolute.
    pub root: PathBuf,
    /// The image's id.
    pub image: Digest,
    /// Its layers, bottom first.
    pub layers: Vec<DiffId>,
    /// The name of the ids, for the trees.
    pub ids: String,
}

/// A part of one layer, which is unpacked as [`image::snapshots::unpack_alone`] does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The layer.
    pub layer: DiffId,
    /// Where its tar lies; absolute.
    pub tar: PathBuf,
    /// The directory that is made of it.
    pub scratch: PathBuf,
    /// The name in that of what is wanted.
    pub member: String,
    /// What that is renamed to.
    pub target: PathBuf,
}

/// A file that is to have another owner. It is the caller's so far, and so is what it lies in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// The file; no link at its end is followed.
    pub path: PathBuf,
    /// User and group, as the namespace numbers them.
    pub owner: (u32, u32),
    /// Its permission bits.
    pub mode: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    maps: IdMaps,
    job: Job,
}

/// A writable layer and the layers below it, to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadLayer {
    /// Their roots, the writable one first, if it was made yet.
    pub layers: Vec<PathBuf>,
    /// What is mounted in the container.
    pub mount_points: Vec<String>,
    /// What of them is wanted.
    pub form: Form,
}

/// As what a writable layer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// What changed, for [`read_changes`].
    Changes,
    /// What changed, as a layer's tar.
    Layer,
    /// The same with times in whole seconds, none of them later than this one, if there is one.
    Step(Option<i64>),
    /// Everything, as a tar.
    Whole,
    /// The one directory as it lies on disk, as a tar that has it as `data/`.
    Data,
}

#[derive(Debug, Serialize, Deserialize)]
enum Job {
    Unpack(Unpack),
    Remove(Vec<PathBuf>),
    Read(ReadLayer),
    Fill(Fill),
    Own(Own),
    /// What a tree has on disk, without some parts of it.
    Measure(PathBuf, Vec<PathBuf>),
}

/// Has layers unpacked by a new process of the monitor `program`, with the owners that `maps` give; waits for it.
///
/// # Errors
/// [`Error::Remote`] has the words of what could not be unpacked.
pub fn unpack(program: &Path, maps: IdMaps, what: Unpack) -> Result<()> {
    begin(program, maps, Job::Unpack(what), &[])?.finish()
}

/// Has trees removed likewise; their paths are absolute. One that is not there is no error.
///
/// # Errors
/// [`Error::Remote`] has the words of what could not be removed.
pub fn remove(program: &Path, maps: IdMaps, trees: Vec<PathBuf>) -> Result<()> {
    begin(program, maps, Job::Remove(trees), &[])?.finish()
}

/// Has a part of a layer unpacked likewise, unless that is to stop.
///
/// # Errors
/// [`Error::Remote`] has the words of what could not be unpacked; what was stopped is an error, too, once nobody works on it any more.
pub fn fill(program: &Path, maps: IdMaps, what: Fill, stop: &Stop<'_>) -> Result<()> {
    begin(program, maps, Job::Fill(what), &[])?.finish_unless(stop)
}

/// Gives a file away likewise.
///
/// # Errors
/// [`Error::Remote`] says why that is not possible.
pub fn own(program: &Path, maps: IdMaps, what: Own) -> Result<()> {
    begin(program, maps, Job::Own(what), &[])?.finish()
}

/// Has a tree measured likewise: the bytes that it has on disk, without what lies at `but`.
///
/// # Errors
/// [`Error::Remote`] says why that is not possible.
pub fn measure(program: &Path, maps: IdMaps, path: &Path, but: &[&Path]) -> Result<u64> {
    let (answer, out) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Error::system("make a pipe"))?;
    let but = but.iter().map(|path| (*path).to_owned()).collect();
    begin(program, maps, Job::Measure(path.to_owned(), but), &[out])?.finish()?;
    let mut bytes = [0; 8];
    // The worker has written before it answered, or it would have failed.
    let read = rustix::io::read(&answer, &mut bytes).map_err(Error::system("read a measure"))?;
    if read == bytes.len() {
        Ok(u64::from_le_bytes(bytes))
    } else {
        Err(Error::Protocol { reason: "a measure is cut" })
    }
}

/// Has a layer read likewise, into a pipe or a file. Returns while that goes on.
///
/// # Errors
/// If no process can be started for it.
pub fn read(program: &Path, maps: IdMaps, what: ReadLayer, out: OwnedFd) -> Result<Working> {
    begin(program, maps, Job::Read(what), &[out])
}

/// Changes as they come out of [`Form::Changes`].
pub fn read_changes(bytes: &[u8]) -> Vec<Change> {
    let change = |record: &[u8]| {
        let (kind, path) = record.split_first()?;
        let kind = match kind {
            b'A' => ChangeKind::Added,
            b'D' => ChangeKind::Deleted,
            _ => ChangeKind::Modified,
        };
        Some(Change { path: path.to_owned(), kind })
    };
    bytes.split(|&byte| byte == 0).filter_map(change).collect()
}

fn write_changes(changes: &[Change]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Change { path, kind } in changes {
        bytes.push(match kind {
            ChangeKind::Modified => b'C',
            ChangeKind::Added => b'A',
            ChangeKind::Deleted => b'D',
        });
        bytes.extend_from_slice(path);
        bytes.push(0);
    }
    bytes
}

/// A worker at work. Dropping this ends it.
#[derive(Debug)]
#[must_use]
pub struct Working {
    worker: Connection,
    attempt: &'static str,
}

impl Working {
    /// Waits for the end, or has it ended once it is to stop; then, too, nobody is at work any more when this returns.
    ///
    /// # Errors
    /// [`Error::Remote`] has the words of what went wrong; that it was stopped is the system's `ECANCELED`.
    fn finish_unless(mut self, stop: &Stop<'_>) -> Result<()> {
        /// Between two looks.
        const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let at = |errno| Error::System { attempt: "wait for the process that unpacks", errno };
        loop {
            if stop() {
                rustix::net::shutdown(&self.worker, Shutdown::Write).map_err(at)?;
                // The worker closes its end when its child is gone; an answer on its way says nothing new.
                while self.worker.receive().is_ok() {}
                return Err(at(Errno::CANCELED));
            }
            let mut watched = [PollFd::new(&self.worker, PollFlags::IN)];
            match poll(&mut watched, Some(&TURN)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.finish(),
                Err(errno) => return Err(at(errno)),
            }
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`Error::Remote`] has the words of what went wrong.
    pub fn finish(mut self) -> Result<()> {
        match self.worker.receive() {
            Ok(Received::Reply(Reply::Done(_), _)) => Ok(()),
            Ok(Received::Reply(reply, _)) => Err(unexpected(reply)),
            Ok(Received::Ended) | Err(Error::Gone) => Err(Error::Remote {
                attempt: self.attempt.to_owned(),
                message: "the process that worked on it ended without an answer".to_owned(),
            }),
            Err(error) => Err(error),
        }
    }
}

fn begin(program: &Path, maps: IdMaps, job: Job, with: &[OwnedFd]) -> Result<Working> {
    let attempt = job.attempt();
    let worker = worker::begin(program, &worker::Order::Lent(Order { maps, job }), with)?;
    Ok(Working { worker, attempt })
}

/// The worker's own side. The process must have no other thread.
pub(crate) fn work(control: &OwnedFd, Order { maps, job }: Order, with: &[OwnedFd]) -> Result<()> {
    let attempt = job.attempt().to_owned();
    let done = runtime::inside(&maps, Some(control.as_fd()), move || perform(job, with));
    let reply = match done {
        Ok(Ok(())) => Reply::Done(Outcome::Changed),
        Ok(Err(message)) => Reply::Failed { attempt, message },
        Err(error) => Reply::Failed { attempt, message: words(&error) },
    };
    // A caller that has gone needs no answer.
    let _sent = packet::send(control.as_fd(), &reply, &[], SendFlags::empty());
    Ok(())
}

impl Job {
    fn attempt(&self) -> &'static str {
        match self {
            Self::Unpack(_) => "unpack the layers as the owners of their files",
            Self::Remove(_) => "remove what lent ids own",
            Self::Read(_) => "read the writable layer",
            Self::Fill(_) => "unpack a layer as the owners of its files",
            Self::Own(_) => "give a file to a lent id",
            Self::Measure(..) => "measure what lent ids own",
        }
    }
}

fn perform(job: Job, with: &[OwnedFd]) -> std::result::Result<(), String> {
    match job {
        Job::Unpack(Unpack { root, image, layers, ids }) => Store::open(&root)
            .and_then(|store| Trees::in_user_namespace(ids).prepare(&store, &image, &layers))
            .map(drop)
            .map_err(|error| words(&error)),
        Job::Remove(trees) => remove_all(&trees).map_err(|error| words(&error)),
        Job::Fill(what) => fill_from(&what).map_err(|error| words(&error)),
        Job::Own(what) => give(&what).map_err(|error| words(&error)),
        Job::Measure(path, but) => match with {
            [out] => {
                let but: Vec<&Path> = but.iter().map(PathBuf::as_path).collect();
                let bytes = file::allotted(&path, &but).bytes.to_le_bytes();
                // Fewer than a pipe holds: all of them at once.
                rustix::io::write(out, &bytes).map(drop).map_err(|errno| errno.to_string())
            }
            _ => Err("there is nothing to write to".to_owned()),
        },
        Job::Read(what) => match with {
            [out] => read_layer(&what, out).map_err(|error| words(&error)),
            _ => Err("there is nothing to write to".to_owned()),
        },
    }
}

fn read_layer(what: &ReadLayer, out: &OwnedFd) -> image::Result<()> {
    let stack = Stack::open(what.layers.iter().map(PathBuf::as_path), Marks::User)?;
    let points = MountPoints::new(what.mount_points.iter().cloned());
    match what.form {
        Form::Layer => files::layer(stack, &points, Times::Exact, out.as_fd()).map(drop),
        Form::Step(latest) => files::layer(stack, &points, Times::Seconds { latest }, out.as_fd()).map(drop),
        Form::Whole => files::export(&stack, out.as_fd()).map(drop),
        Form::Data => files::pack(Item::Directory(&stack), b"data", out.as_fd()).map(drop),
        Form::Changes => {
            let bytes = write_changes(&files::changes(stack, &points)?);
            let written = rustix::io::fcntl_dupfd_cloexec(out, 0)
                .map_err(std::io::Error::from)
                .and_then(|out| std::fs::File::from(out).write_all(&bytes));
            written.map_err(|source| image::Error::Write { source })
        }
    }
}

/// Nobody but its owner, and root here, may rename a directory to where it has another parent.
fn fill_from(Fill { layer, tar, scratch, member, target }: &Fill) -> image::Result<()> {
    // Who does not want it any more ends this process.
    unpack_alone(tar, layer, scratch, Privilege::UserNamespace, &|| false)?;
    Ok(file::rename(&scratch.join(member), target)?)
}

/// The mode first: afterwards the file is somebody else's, and what a change of owner takes away it takes only from programs.
fn give(Own { path, owner: (uid, gid), mode }: &Own) -> file::Result<()> {
    file::set_mode(path, *mode)?;
    let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), flags).named("change owner of", path)
}

/// One that cannot be removed is no reason to leave the others; the last one is told of.
fn remove_all(trees: &[PathBuf]) -> file::Result<()> {
    let mut outcome = Ok(());
    for tree in trees {
        if let Err(error) = file::remove_tree(tree) {
            outcome = Err(error);
        }
    }
    outcome
}

pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let causes = causes(error);
    let separator = if causes.is_empty() { "" } else { ": " };
    format!("{error}{separator}{causes}")
}
