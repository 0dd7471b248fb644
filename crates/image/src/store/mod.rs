//! Content by digest below one root, shared by any number of processes.
//!
//! ```text
//! <root>/blobs/<algorithm>/<encoded>   documents, byte for byte
//! <root>/layers/<encoded>.tar          uncompressed layers: mode 0400, immutable flag where the file system has it
//! <root>/images/<encoded>.erofs        merged indexes, derived from the layers
//! <root>/partial/<encoded>/             a layer that was begun, with what has come of its blob; see [`partial`]
//! <root>/tmp/<scratch>/                half-done work, locked by its maker, with a lease on what he relies on
//! ```
//!
//! # Locks
//!
//! All are `flock` on directories, so the kernel releases them with their process and no lock file is needed.
//!
//! | lock | shared | alone |
//! |---|---|---|
//! | `layers/` | [`Hold`]: whoever adds content, while he writes a lease, and again from before he publishes until the names are committed | [`Collector`]: from before the query for what is live until everything else is removed |
//! | `tmp/` | whoever makes a scratch directory, until it has locked it | the sweep |
//! | `tmp/<scratch>/` | | its maker, for life; the sweep takes it without waiting, and what it gets is garbage |
//! | `partial/<layer>/` | | whoever fetches the layer, until it is published; who wants it too waits, and takes over |
//!
//! # What must hold
//!
//! | at any time | because |
//! |---|---|
//! | what somebody found here, or has put here, stays until he has named it, fails or dies | he leased it before he looked ([`lease`]), and a collector keeps what the living have leased; from the publication on he holds the store |
//! | a collector waits for no download, and no download for a collector that is at work on something else for long | the store is held for the writing of a few lines, and for renames and one transaction |
//! | who is killed keeps nothing, but for a while what he has fetched | a lease ends with the lock of its scratch directory; what he has fetched is told by `partial/`, and goes when it is too old |
//! | no two fetch a layer at the same time, and none of them waits for ever | `partial/<layer>/` is locked by one of them, who waits for no other lock meanwhile |
//! | a sweep sees no scratch directory whose maker lives | he locks it before `tmp/` is free for the sweep |
//!
//! The order is `layers/`, `tmp/`, scratch, `partial/`; a thread that has a `Hold` must not ask for a collector.
//!
//! # Durability
//!
//! A file is written and synced in a scratch directory, renamed into place, and its directory synced; only
//! then does the engine commit its name. Adding what is there already is no error and writes nothing: equal
//! names mean equal content.

mod collect;
mod derive;
mod draft;
mod effects;
mod keep;
mod layer;
mod lease;
mod partial;
mod pending;
mod publish;
mod remover;
mod repair;
mod scratch;
mod stacked;
mod verify;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use linux::file::{self, Named as _};
use oci::{DiffId, Digest, ImageConfig};
use rustix::fs::FlockOperation;

pub use collect::{Collected, Collector, Live};
pub use draft::Draft;
pub use effects::{Fault, Faults};
pub use keep::Kept;
pub use layer::LayerWriter;
pub use partial::KeptFor;
pub(crate) use partial::{Claim, Making};
pub(crate) use publish::Staged;
pub use remover::Remover;
pub(crate) use scratch::Scratch;
pub use verify::{Finding, verify};

use crate::error::{Error, Result};

/// A handle on one root. Cheap: it holds paths, not files.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    effects: Faults,
    remover: Remover,
    kept_for: KeptFor,
}

/// Keeps collectors out while content is published; see the module's locks. Dropped after the names are
/// committed.
#[derive(Debug)]
#[must_use]
pub struct Hold {
    _lock: OwnedFd,
}

const DIRECTORIES: [&str; 4] = ["blobs", "layers", "images", "tmp"];

impl Store {
    /// Opens the store below `root`, making its directories where they are missing.
    ///
    /// # Errors
    /// If a directory cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, Faults::none())
    }

    /// As [`Store::open`], with one effect that fails; for tests of what is left behind.
    ///
    /// # Errors
    /// If a directory cannot be made.
    pub fn open_with(root: &Path, effects: Faults) -> Result<Self> {
        let store = Self {
            root: root.to_owned(),
            effects,
            remover: Remover::default(),
            kept_for: KeptFor::default(),
        };
        // The last one made proves that the others are there, so an existing store costs one system call.
        let last = store.root.join(DIRECTORIES[3]);
        if rustix::fs::access(&last, rustix::fs::Access::EXISTS).is_err() {
            file::create_dirs(root, 0o700)?;
            for name in DIRECTORIES {
                file::create_dir(&store.root.join(name), 0o700)?;
            }
            file::sync_dir(root)?;
        }
        Ok(store)
    }

    /// Has trees that this process may not remove, because its files belong to ids lent to it, removed by `remover`.
    #[must_use]
    pub fn with_remover(self, remover: Remover) -> Self {
        Self { remover, ..self }
    }

    /// Keeps what was begun for as long as `kept_for` says.
    #[must_use]
    pub fn with_kept_for(self, kept_for: KeptFor) -> Self {
        Self { kept_for, ..self }
    }

    pub(crate) fn kept_for(&self) -> &KeptFor {
        &self.kept_for
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a layer's tar lies, whether or not it is there.
    #[must_use]
    pub fn layer_path(&self, layer: &DiffId) -> PathBuf {
        self.layers().join(format!("{}.tar", layer.digest().encoded()))
    }

    /// Where a document lies, whether or not it is there.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm_name()).join(digest.encoded())
    }

    /// Where an image's merged index lies, whether or not it is there. See [`Store::index`].
    #[must_use]
    pub fn index_path(&self, image: &Digest) -> PathBuf {
        self.images().join(format!("{}.erofs", image.encoded()))
    }

    /// The unpacked trees that the stacks of an image's layers have made, whatever ids they were unpacked for.
    #[must_use]
    pub fn tree_paths(&self, layers: &[DiffId]) -> Vec<PathBuf> {
        let stacks = collect::stacks(layers);
        let belongs = |name: &String| stacks.iter().any(|stack| collect::stack_of(name) == stack);
        self.trees_that(&belongs)
    }

    /// The trees that have been replaced by good ones, of any stack of layers, and are kept for those who have them mounted.
    #[must_use]
    pub fn replaced_trees(&self) -> Vec<PathBuf> {
        self.trees_that(&|name| collect::replaced(name).is_some())
    }

    fn trees_that(&self, wanted: &dyn Fn(&String) -> bool) -> Vec<PathBuf> {
        let Ok(names) = std::fs::read_dir(self.trees()) else { return Vec::new() };
        let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(wanted).map(|name| self.trees().join(name)).collect()
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    pub(crate) fn effects(&self) -> &Faults {
        &self.effects
    }

    /// The size of a layer's tar in bytes; `None` if it is not there.
    ///
    /// # Errors
    /// If the file cannot be examined.
    pub fn layer_size(&self, layer: &DiffId) -> Result<Option<u64>> {
        size_of(&self.layer_path(layer))
    }

    /// A document, checked against its digest.
    ///
    /// # Errors
    /// If it is missing, larger than documents may be, or damaged.
    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let content =
            file::read_bounded(&path, oci::CONFIG_LIMIT).map_err(|error| match error.is_missing() {
                true => Error::NotStored { what: "document", digest: digest.to_string() },
                false => error.into(),
            })?;
        match digest.verify(&content) {
            Ok(()) => Ok(content),
            Err(error) => Err(Error::Damaged { path, reason: error.to_string() }),
        }
    }

    /// The config of an image, which is the document that its id names.
    ///
    /// # Errors
    /// As [`Store::blob`], or if it is not an acceptable config.
    pub fn config(&self, image: &Digest) -> Result<ImageConfig> {
        let content = self.blob(image)?;
        ImageConfig::parse(&content)
            .map_err(|source| Error::Document { entry: format!("config of image {image}"), source })
    }

    /// Keeps collectors out; waits while one is at work.
    ///
    /// # Errors
    /// If the lock cannot be taken.
    pub fn hold(&self) -> Result<Hold> {
        let lock = lock(&self.layers(), FlockOperation::LockShared)?;
        Ok(Hold { _lock: lock })
    }

    /// Waits until nobody publishes content, and keeps it so.
    ///
    /// # Errors
    /// If the lock cannot be taken.
    pub fn collector(&self) -> Result<Collector<'_>> {
        Ok(Collector::new(self, lock(&self.layers(), FlockOperation::LockExclusive)?))
    }

    /// As [`Store::collector`], but `None` where it would have to wait.
    ///
    /// # Errors
    /// If the lock cannot be taken for another reason.
    pub fn try_collector(&self) -> Result<Option<Collector<'_>>> {
        match try_lock(&self.layers(), FlockOperation::NonBlockingLockExclusive)? {
            Some(lock) => Ok(Some(Collector::new(self, lock))),
            None => Ok(None),
        }
    }
}

/// Size of a file in bytes; `None` if there is none.
pub(crate) fn size_of(path: &Path) -> Result<Option<u64>> {
    match rustix::fs::lstat(path) {
        Ok(stat) => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno).named("examine", path).map_err(Error::from),
    }
}

/// Opens a directory and locks it, waiting if need be.
fn lock(path: &Path, operation: FlockOperation) -> Result<OwnedFd> {
    let directory = open_directory(path)?;
    loop {
        match rustix::fs::flock(&directory, operation) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result.named("lock", path)?,
        }
    }
    Ok(directory)
}

/// Opens a directory and locks it; `None` if that would mean to wait.
fn try_lock(path: &Path, operation: FlockOperation) -> Result<Option<OwnedFd>> {
    let directory = open_directory(path)?;
    match rustix::fs::flock(&directory, operation) {
        Ok(()) => Ok(Some(directory)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno).named("lock", path).map_err(Error::from),
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).named("open", path).map_err(Error::from)
}
