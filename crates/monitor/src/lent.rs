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

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use image::Store;
use image::snapshots::{Snapshots, Trees};
use linux::file;
use oci::{DiffId, Digest};
use runtime::plan::IdMaps;
use rustix::net::SendFlags;
use serde::{Deserialize, Serialize};

use crate::client::{Outcome, Received, spawn, unexpected};
use crate::error::{Error, Result};
use crate::packet;
use crate::protocol::Reply;
use crate::supervise::requests::causes;

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

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    maps: IdMaps,
    job: Job,
}

#[derive(Debug, Serialize, Deserialize)]
enum Job {
    Unpack(Unpack),
    Remove(Vec<PathBuf>),
}

/// Has layers unpacked by a new process of the monitor `program`, with the owners that `maps` give; waits for it.
///
/// # Errors
/// [`Error::Remote`] has the words of what could not be unpacked.
pub fn unpack(program: &Path, maps: IdMaps, what: Unpack) -> Result<()> {
    ask(program, &Order { maps, job: Job::Unpack(what) })
}

/// Has trees removed likewise; their paths are absolute. One that is not there is no error.
///
/// # Errors
/// [`Error::Remote`] has the words of what could not be removed.
pub fn remove(program: &Path, maps: IdMaps, trees: Vec<PathBuf>) -> Result<()> {
    ask(program, &Order { maps, job: Job::Remove(trees) })
}

fn ask(program: &Path, order: &Order) -> Result<()> {
    let sealed = packet::seal(order)?;
    let mut worker = spawn::prepare(program, "worker")?.work(&sealed)?;
    match worker.receive() {
        Ok(Received::Reply(Reply::Done(_), _)) => Ok(()),
        Ok(Received::Reply(reply, _)) => Err(unexpected(reply)),
        Ok(Received::Ended) | Err(Error::Gone) => Err(Error::Remote {
            attempt: order.job.attempt().to_owned(),
            message: "the process that worked on it ended without an answer".to_owned(),
        }),
        Err(error) => Err(error),
    }
}

/// The worker's own side. The process must have no other thread.
pub(crate) fn work(control: &OwnedFd, descriptors: &[OwnedFd]) -> Result<()> {
    let [order] = descriptors else {
        return Err(Error::Protocol { reason: "the first message has no order" });
    };
    let Order { maps, job } = packet::unseal(order.as_fd())?;
    let attempt = job.attempt().to_owned();
    let done = runtime::inside(&maps, Some(control.as_fd()), move || perform(job));
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
        }
    }
}

fn perform(job: Job) -> std::result::Result<(), String> {
    match job {
        Job::Unpack(Unpack { root, image, layers, ids }) => Store::open(&root)
            .and_then(|store| Trees::in_user_namespace(ids).prepare(&store, &image, &layers))
            .map(drop)
            .map_err(|error| words(&error)),
        Job::Remove(trees) => remove_all(&trees).map_err(|error| words(&error)),
    }
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

fn words(error: &dyn std::error::Error) -> String {
    let causes = causes(error);
    let separator = if causes.is_empty() { "" } else { ": " };
    format!("{error}{separator}{causes}")
}
