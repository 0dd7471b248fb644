//! What a registry keeps, below one root of its own that one server holds at a time.
//!
//! ```text
//! <root>/registry.db                        names, links, manifests, tags, referrers (SQLite, WAL)
//! <root>/blobs/<aa>/<encoded>.<upload>      blobs, byte for byte as they were pushed; mode 0400
//! <root>/uploads/<repository>.<upload>      half-done blobs
//! <root>/uploads/fetched.<repository>.…     of these, what has come of another registry's
//! ```
//!
//! # What lies where, and why
//!
//! Blobs are files, because they are large and are served by reading them. Everything that has a *name* is in one
//! database, because what must never be half done are changes of several names at once: a manifest with the blobs that it
//! uses, the tags that move to it and the subject that it refers to is one transaction. Manifests themselves are small and
//! lie in it too, so that storing one syncs one file.
//!
//! # What must hold
//!
//! 1. **Whatever a manifest uses is there.** A repository *links* the blobs that it may serve; a manifest *uses* links of its
//!    own repository; a link refers to a blob. These are foreign keys, so neither the collector nor a client's DELETE nor a
//!    mistake can remove a link that is used, or a blob that is linked: the database refuses the whole transaction.
//! 2. **Changes never interleave.** One thread writes ([`ledger`]): between what a change has read and its commit there is
//!    no other change. A manifest that is stored while the collector runs comes before it and keeps its blobs, or after it
//!    and is told which are missing.
//! 3. **A row's file is there.** A blob's file is synced and in its place before the row is asked for, and is removed after the
//!    row's removal is committed. Files are named by digest *and* upload, so the name is never used again: a late removal
//!    cannot hit the file of a blob that was pushed anew.
//! 4. **What a client was told stays for a while.** A link is kept for the grace period from the push, the mount, or the
//!    answer that told a client it need not push. The last is remembered in memory ([`leases`]), so nothing is collected
//!    before a server has run for as long.
//! 5. **Nothing lasting is left by a death.** A file that has no row, and that nobody is about to give one, is garbage
//!    ([`collect`]); an upload that nobody goes on with is expired by its age.
//! 6. **What was acknowledged is on disk.** An answer comes after the commit, which is synced. Of an unfinished upload the
//!    bytes outlive the server; after a loss of power fewer may be there, and the client is told how many.

mod cached;
mod collect;
mod document;
mod error;
mod leases;
mod ledger;
mod records;
mod upload;

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use linux::file::{self, Named as _};
use oci::{Algorithm, Digest};
use rustix::fs::{FlockOperation, Mode, OFlags};

pub use cached::Kept;
pub use collect::{Collected, Rules};
pub use document::Unfit;
pub use error::{Error, Result};
pub use ledger::Pending;
use records::Origin;
pub use records::{Blob, Document, NewManifest, Referrer, Removed, Stored, Totals};
pub use upload::{Upload, Writer};

use crate::names::{Reference, Repository, Tag, UploadId};
use error::Purpose as _;
use leases::Leases;
use ledger::Ledger;
use upload::Uploads;

/// A root that this process serves.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    ledger: Ledger,
    uploads: Uploads,
    leases: Leases,
    /// Files that are in place, or will be in a moment, and whose rows are not committed yet.
    placing: Mutex<HashSet<String>>,
    /// The kernel releases it with the process.
    _lock: OwnedFd,
}

/// What became of an upload that was to be finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The repository has the blob.
    Stored,
    /// The content is not what was named; the upload is gone.
    Mismatch {
        /// The digest of what was received.
        found: Digest,
    },
}

impl Store {
    /// Opens the root, which is made when missing (mode 0700), and takes it for this process. Nothing is collected until
    /// `grace` has passed.
    ///
    /// # Errors
    /// If another process has it, or it cannot be read and written.
    pub fn open(root: &Path, grace: Duration) -> Result<Self> {
        file::create_dirs(root, 0o700).to("make the registry's root")?;
        let lock = take(root)?;
        // The last one made proves that all are there.
        if rustix::fs::access(root.join("blobs/ff"), rustix::fs::Access::EXISTS).is_err() {
            let made = "make the registry's folders";
            for folder in ["uploads", "blobs"] {
                file::create_dir(&root.join(folder), 0o700).to(made)?;
            }
            for number in 0..=u8::MAX {
                file::create_dir(&root.join("blobs").join(format!("{number:02x}")), 0o700).to(made)?;
            }
            file::sync_dir(&root.join("blobs")).to(made)?;
            file::sync_dir(root).to(made)?;
        }
        Ok(Self {
            ledger: Ledger::open(&root.join("registry.db"))?,
            uploads: Uploads::new(root.join("uploads")),
            leases: Leases::new(grace),
            root: root.to_owned(),
            placing: Mutex::default(),
            _lock: lock,
        })
    }

    /// A blob that a client may rely on from now on, if its repository links it.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn blob(&self, repository: &Repository, digest: &Digest) -> Result<Option<Blob>> {
        // In this order: a collector that has not seen the lease has committed before the records are read.
        self.leases.renew(repository, digest);
        self.ledger.read("look for a blob", |records| records::blob(records, repository, digest))
    }

    /// Opens a blob's file for reading; `None` when it has been collected since it was looked for.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open_blob(&self, blob: &Blob) -> Result<Option<File>> {
        match file::open(&self.place(&blob.file)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.is_missing() => Ok(None),
            Err(source) => Err(Error::File { action: "read a blob", source }),
        }
    }

    /// Begins to receive a blob. `algorithm` spares hashing twice, where it is known by what the blob will be named.
    ///
    /// # Errors
    /// If no file can be made for it.
    pub fn begin_upload(
        &self,
        repository: &Repository,
        algorithm: Option<Algorithm>,
    ) -> Result<(UploadId, std::sync::Arc<Upload>)> {
        self.uploads.begin(repository, algorithm)
    }

    /// An upload of this repository that was begun and not finished. One that an earlier server began is read and hashed.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn find_upload(
        &self,
        repository: &Repository,
        id: &UploadId,
    ) -> Result<Option<std::sync::Arc<Upload>>> {
        self.uploads.find(repository, id)
    }

    /// How many uploads are open.
    pub fn open_uploads(&self) -> usize {
        self.uploads.count()
    }

    /// Makes what was received a blob of `repository`, if it is what `digest` names; on disk when this returns.
    ///
    /// # Errors
    /// If it cannot be stored. The upload may be gone then.
    pub fn finish(&self, repository: &Repository, digest: &Digest, writer: Writer) -> Result<Finished> {
        self.place_blob(repository, digest, writer, Origin::Pushed)
    }

    fn place_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        mut writer: Writer,
        origin: Origin,
    ) -> Result<Finished> {
        if let Err(found) = writer.verify(digest)? {
            writer.cancel(&self.uploads)?;
            return Ok(Finished::Mismatch { found });
        }
        let (name, now) = (repository.clone(), now());
        let wanted = digest.clone();
        let known = self
            .ledger
            .change("link a blob", move |records| records::link_known(records, &name, &wanted, now, origin));
        if known.wait()? {
            writer.cancel(&self.uploads)?;
            return Ok(Finished::Stored);
        }
        let file = blob_file(digest)?;
        let blob = Blob { size: writer.length(), file };
        let _placing = Placing::new(self, &blob.file);
        writer.publish(&self.uploads, &self.place(&blob.file))?;
        let (name, wanted, place) = (repository.clone(), digest.clone(), self.place(&blob.file));
        let added = self.ledger.change("record a blob", move |records| {
            records::add_blob(records, &name, &wanted, &blob, now, origin)
        });
        if !added.wait()? {
            // Pushed by two at once; the other one's file is the blob. After an error it is not known which is.
            file::remove_if_exists(&place).to("remove the second copy of a blob")?;
        }
        Ok(Finished::Stored)
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// If its file cannot be removed.
    pub fn cancel(&self, mut writer: Writer) -> Result<()> {
        writer.cancel(&self.uploads)
    }

    /// Links a blob of `from` in `repository` too; false where `from` does not link it.
    pub fn mount(&self, repository: &Repository, from: &Repository, digest: &Digest) -> Pending<bool> {
        let (name, from, digest, now) = (repository.clone(), from.clone(), digest.clone(), now());
        self.ledger.change("mount a blob", move |records| records::mount(records, &name, &from, &digest, now))
    }

    /// Takes a blob from a repository, unless a manifest of it uses it.
    pub fn unlink(&self, repository: &Repository, digest: &Digest) -> Pending<Removed> {
        let (name, digest) = (repository.clone(), digest.clone());
        self.ledger.change("remove a blob", move |records| records::unlink(records, &name, &digest))
    }

    /// A manifest as it was pushed.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn document(&self, repository: &Repository, reference: &Reference) -> Result<Option<Document>> {
        self.ledger.read("look for a manifest", |records| records::document(records, repository, reference))
    }

    /// Stores a manifest and moves `tags` to it. `sparse` lets an index name manifests that the repository does not have.
    pub fn put_manifest(
        &self,
        repository: &Repository,
        manifest: NewManifest,
        tags: Vec<Tag>,
        sparse: bool,
    ) -> Pending<Stored> {
        let (name, now) = (repository.clone(), now());
        self.ledger.change("store a manifest", move |records| {
            records::put_manifest(records, &name, &manifest, &tags, sparse, now)
        })
    }

    /// Removes a tag, or by digest a manifest with all its tags.
    pub fn remove(&self, repository: &Repository, reference: &Reference) -> Pending<Removed> {
        let (name, reference) = (repository.clone(), reference.clone());
        self.ledger.change("remove a manifest", move |records| records::remove(records, &name, &reference))
    }

    /// A page of tags after `last`; `None` where the repository is not known.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn tags(&self, repository: &Repository, last: &str, limit: u32) -> Result<Option<Vec<String>>> {
        self.ledger.read("list tags", |records| records::tags(records, repository, last, limit))
    }

    /// A page of repositories after `last`.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn repositories(&self, last: &str, limit: u32) -> Result<Vec<String>> {
        self.ledger.read("list repositories", |records| records::repositories(records, last, limit))
    }

    /// Some repositories that have a blob.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn repositories_with(&self, digest: &Digest, limit: u32) -> Result<Vec<Repository>> {
        let names = self
            .ledger
            .read("look for a blob", |records| records::repositories_with(records, digest, limit))?;
        // Nothing else is ever written there.
        Ok(names.iter().filter_map(|name| Repository::parse(name)).collect())
    }

    /// A page of the manifests about `subject` after the digest `last`: at most so many, and not many more bytes of annotations
    /// than are given; there are more, where the page has more of either.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        kind: Option<&str>,
        last: &str,
        most: (u32, usize),
    ) -> Result<Vec<Referrer>> {
        self.ledger.read("list referrers", |records| {
            records::referrers(records, repository, subject, kind, last, most)
        })
    }

    /// How much there is of everything. Counts rows.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn totals(&self) -> Result<Totals> {
        self.ledger.read("count what is stored", records::totals)
    }

    /// Changes nothing, by the way that every change goes.
    pub fn probe(&self) -> Pending<()> {
        self.ledger.change("write the records", |_| Ok(()))
    }

    /// Removes uploads that nobody has gone on with for `expiry`; returns how many.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn expire_uploads(&self, expiry: Duration) -> Result<u64> {
        self.uploads.tidy(expiry)
    }

    /// Where a blob's file lies.
    fn place(&self, file: &str) -> PathBuf {
        self.root.join("blobs").join(file)
    }
}

/// Keeps a file from being taken for a stray until its row is committed.
#[derive(Debug)]
struct Placing<'a> {
    store: &'a Store,
    file: String,
}

impl<'a> Placing<'a> {
    fn new(store: &'a Store, file: &str) -> Self {
        store.placing.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned());
        Self { store, file: file.to_owned() }
    }
}

impl Drop for Placing<'_> {
    fn drop(&mut self) {
        self.store.placing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.file);
    }
}

/// A name below `blobs/` that was never used before.
fn blob_file(digest: &Digest) -> Result<String> {
    let serial =
        UploadId::random().map_err(|source| Error::System { action: "name a blob's file", source })?;
    // Hexadecimal, because only such digests are stored.
    let encoded = digest.encoded();
    Ok(format!("{}/{encoded}.{serial}", encoded.get(..2).unwrap_or("00")))
}

/// Takes the root for this process.
fn take(root: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder =
        rustix::fs::open(root, flags, Mode::empty()).named("open", root).to("lock the registry's root")?;
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(folder),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Taken { path: root.to_owned() }),
        Err(errno) => Err(errno).named("lock", root).to("lock the registry's root"),
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    milliseconds(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
