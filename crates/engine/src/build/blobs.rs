//! Documents and blobs of an artifact, where others keep it: in a repository of a registry, or in an OCI layout on this disk, which is a
//! folder or one tar.
//!
//! ```text
//! registry   reference ──────────► manifest or index ─► blobs by digest
//! layout     index.json, by a tag ─► blobs/sha256/…  ─► blobs/sha256/…
//! tar        the same, each file where it lies in the tar
//! ```
//!
//! What is read is from anywhere. Documents have a limit and the digest that led to them; a blob is what its digest says, or an
//! error at its end, as long as whoever reads it looks at what came of it. Of a layout only files are opened, beneath its folder and
//! through no link. A tar is read where it lies: only its headers are looked at before a blob is wanted, and nothing of it is unpacked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::tar::{self, Kind, Limits, ReadError};
use image::{LoadedLayer, Stop, Stopping};
use oci::{Descriptor, DiffId, Digest, Document, Index, Platform, Reference};
use registry_client::Repository;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat, openat2};

use super::BuildError;
use super::session::Session;
use crate::images::failed;
use crate::{Error, Result};

/// What a layout's entries are called by.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// How many indexes may lead to each other.
const DEPTH: usize = 4;
/// The most files that a layout in one tar may have.
const MEMBERS_LIMIT: u64 = 100_000;
/// The largest layer that is believed in, in bytes.
const LAYER_LIMIT: u64 = 1 << 40;

/// Where they are.
pub(super) enum Blobs {
    Registry(Box<Repository>),
    Layout(PathBuf),
    Tar(Tar),
}

/// A layout in one tar.
pub(super) struct Tar {
    path: PathBuf,
    file: Arc<File>,
    /// Where each of its files lies: offset and length.
    members: BTreeMap<String, (u64, u64)>,
}

/// A file of a tar.
struct Section {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        (self.at, self.left) = (self.at + read as u64, self.left - read as u64);
        match read == 0 && most > 0 {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(read),
        }
    }
}

/// Which of the entries of a layout is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The one of this name.
    Tag(String),
    /// The one of this digest.
    Digest(Digest),
    /// `latest`, or the only one that there is.
    Usual,
}

impl Blobs {
    /// What a name in a registry leads to.
    pub(super) fn in_registry(session: &Session<'_>, reference: &Reference) -> Result<(Blobs, Document)> {
        let refused = |source| refused(reference, source);
        let repository = session.client.repository(reference).map_err(refused)?;
        let fetched = repository.manifest(reference).map_err(refused)?;
        Ok((Blobs::Registry(Box::new(repository)), fetched.document))
    }

    /// What an entry of a layout leads to.
    pub(super) fn in_layout(directory: &Path, wanted: &Entry) -> Result<(Blobs, Document)> {
        Blobs::Layout(directory.to_owned()).found(wanted)
    }

    /// The same of a layout that is one tar.
    pub(super) fn in_tar(path: &Path, wanted: &Entry) -> Result<(Blobs, Document)> {
        Blobs::Tar(Tar::open(path)?).found(wanted)
    }

    fn found(self, wanted: &Entry) -> Result<(Blobs, Document)> {
        let blobs = self;
        let index = blobs.file("index.json", oci::MANIFEST_LIMIT)?;
        let index = Index::parse(&index).map_err(|error| blobs.bad(error.to_string()))?;
        let entry = wanted.find(&index).ok_or_else(|| blobs.bad(format!("it has no {wanted}")))?;
        let document = blobs.document(entry)?;
        Ok((blobs, document))
    }

    /// A document that another one leads to.
    pub(super) fn document(&self, entry: &Descriptor) -> Result<Document> {
        match self {
            Blobs::Registry(repository) => Ok(repository
                .manifest_of_index(entry)
                .map_err(|source| fetch_failed(entry, source))?
                .document),
            Blobs::Layout(_) | Blobs::Tar(_) => {
                let bytes = self.small(entry, oci::MANIFEST_LIMIT)?;
                Document::parse(&bytes, &entry.media_type).map_err(|error| self.bad(error.to_string()))
            }
        }
    }

    /// The image for a platform that a document is or leads to.
    pub(super) fn image(&self, mut top: Document, platform: &Platform) -> Result<oci::Manifest> {
        for _ in 0..DEPTH {
            let index = match top {
                Document::Manifest(manifest) => return Ok(*manifest),
                Document::Index(index) => index,
            };
            // One that names no platform is for whoever asks, if it is alone.
            let only = || index.manifests.first().filter(|_| index.manifests.len() == 1);
            let entry = index.select(platform).or_else(only);
            let entry = entry.ok_or_else(|| self.bad(format!("it has nothing for {platform}")))?;
            top = self.document(entry)?;
        }
        Err(self.bad("its indexes lead to each other without an end".to_owned()))
    }

    /// A small blob as a whole.
    pub(super) fn small(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        match self {
            Blobs::Registry(repository) => {
                repository.small_blob(blob, limit).map_err(|source| fetch_failed(blob, source))
            }
            Blobs::Layout(_) | Blobs::Tar(_) => {
                let bytes = self.file(&path(&blob.digest), limit)?;
                blob.verify(&bytes).map_err(|error| self.bad(error.to_string()))?;
                Ok(bytes)
            }
        }
    }

    /// The bytes of a blob. Those of a layout are unchecked.
    pub(super) fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>> {
        match self {
            Blobs::Registry(repository) => {
                Ok(Box::new(repository.blob(blob).map_err(|source| fetch_failed(blob, source))?))
            }
            Blobs::Layout(_) | Blobs::Tar(_) => self.open_file(&path(&blob.digest)),
        }
    }

    /// Fetches a layer into the store, as [`Blobs::fetch`] does.
    pub(super) fn bring(
        &self,
        session: &Session<'_>,
        layer: (&DiffId, Option<u64>),
        blob: &Descriptor,
        stop: &Stop<'_>,
    ) -> Result<LoadedLayer> {
        let fetched = self.fetch(session, layer, blob, stop)?;
        session.draft.publish(&fetched.diff_id).map_err(failed("store a layer"))?;
        Ok(fetched)
    }

    /// Fetches a layer for this build alone: not a byte more than `size`, where it is known, and with the digest that was said. What is to
    /// stop is an error.
    pub(super) fn fetch(
        &self,
        session: &Session<'_>,
        (layer, size): (&DiffId, Option<u64>),
        blob: &Descriptor,
        stop: &Stop<'_>,
    ) -> Result<LoadedLayer> {
        let mut bytes = self.open(blob)?;
        let name = layer.to_string();
        let tar = image::decompressed(&name, &mut *bytes).map_err(failed("fetch a layer"))?;
        let mut writer = session.draft.layer().map_err(failed("store a layer"))?;
        let read = |source| image::Error::Read { entry: name.clone(), source };
        let most = size.unwrap_or(LAYER_LIMIT).saturating_add(1);
        let copied = io::copy(&mut tar.take(most), &mut Stopping::new(&mut writer, stop));
        let copied = copied.map_err(read).map_err(failed("fetch a layer"))?;
        if copied == most || size.is_some_and(|size| size != copied) {
            return Err(self.bad(format!("the layer {name} is not as long as was said")));
        }
        writer.flush().map_err(read).map_err(failed("store a layer"))?;
        let stored = writer.hand_in().map_err(failed("store a layer"))?;
        if stored.diff_id != *layer {
            return Err(self.bad(format!("the layer {name} has the digest {}", stored.diff_id)));
        }
        Ok(stored)
    }

    /// A small file of a layout.
    fn file(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.open_file(name)?.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|source| Error::System { action: "read", path: name.into(), source })?;
        if bytes.len() as u64 > limit {
            return Err(self.bad(format!("{name} is larger than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// A file of a layout; no link leads out of it, and nothing else is opened by that name and then waited for.
    fn open_file(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let directory = match self {
            Blobs::Registry(_) => return Err(self.bad("it is in a registry".to_owned())),
            Blobs::Tar(tar) => {
                let found = tar.members.get(name).copied();
                let (at, left) = found.ok_or_else(|| self.bad(format!("it has no {name}")))?;
                return Ok(Box::new(Section { file: Arc::clone(&tar.file), at, left }));
            }
            Blobs::Layout(directory) => directory,
        };
        let failed = |errno: rustix::io::Errno| Error::System {
            action: "open",
            path: directory.join(name),
            source: errno.into(),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = openat(CWD, directory, flags, Mode::empty()).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = openat2(&base, name, flags, Mode::empty(), resolve).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.bad(format!("{name} is no file")));
        }
        Ok(Box::new(File::from(file)))
    }

    /// It cannot be used, for a reason.
    pub(super) fn bad(&self, reason: String) -> Error {
        let place = match self {
            Blobs::Registry(_) => "what the registry has".to_owned(),
            Blobs::Layout(directory) => format!("the layout {}", directory.display()),
            Blobs::Tar(tar) => format!("the archive {}", tar.path.display()),
        };
        BuildError::Artifact { place, reason }.into()
    }
}

impl Tar {
    /// Opens one, and looks where its files lie.
    fn open(path: &Path) -> Result<Tar> {
        let system = |source| Error::System { action: "open", path: path.to_owned(), source };
        let bad = |reason: String| {
            Error::from(BuildError::Artifact { place: format!("the archive {}", path.display()), reason })
        };
        // Nobody waits for whoever may write to a pipe.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(CWD, path, flags, Mode::empty()).map_err(|e| system(e.into()))?);
        if !file.metadata().map_err(system)?.is_file() {
            return Err(bad("it is no file".to_owned()));
        }
        let mut members = BTreeMap::new();
        let limits = Limits { entries: MEMBERS_LIMIT, ..Limits::default() };
        let read = tar::read_entries::<Unread>(&file, limits, &mut |entry| {
            let Kind::File(content) = &entry.kind else { return Ok(()) };
            let Ok(name) = String::from_utf8(entry.path.as_bytes().to_vec()) else { return Ok(()) };
            let at = match content.extents() {
                [] if content.size == 0 => 0,
                [one] if one.length == content.size => one.source,
                _ => return Err(Unread(format!("{name} has holes"))),
            };
            match members.insert(name, (at, content.size)) {
                None => Ok(()),
                Some(_) => Err(Unread("two of its files have the same name".to_owned())),
            }
        });
        read.map_err(|Unread(reason)| bad(reason))?;
        Ok(Tar { path: path.to_owned(), file: Arc::new(file), members })
    }
}

/// Why a tar is not read.
struct Unread(String);

impl From<tar::Error> for Unread {
    fn from(error: tar::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<ReadError> for Unread {
    fn from(error: ReadError) -> Self {
        Self(error.to_string())
    }
}

impl Entry {
    fn find<'i>(&self, index: &'i Index) -> Option<&'i Descriptor> {
        let named = |tag: &str| {
            let is_it = |entry: &&Descriptor| entry.annotations.get(REF_NAME).is_some_and(|name| name == tag);
            index.manifests.iter().find(is_it)
        };
        match self {
            Entry::Tag(tag) => named(tag),
            Entry::Digest(digest) => index.manifests.iter().find(|entry| entry.digest == *digest),
            Entry::Usual => {
                named("latest").or_else(|| index.manifests.first().filter(|_| index.manifests.len() == 1))
            }
        }
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Entry::Tag(tag) => f.write_str(tag),
            Entry::Digest(digest) => digest.fmt(f),
            Entry::Usual => f.write_str("latest"),
        }
    }
}

/// Why a registry does not let an artifact be used.
pub(super) fn refused(reference: &Reference, source: registry_client::Error) -> Error {
    Error::Registry { action: "use", name: reference.familiar(), source: Box::new(source) }
}

fn fetch_failed(blob: &Descriptor, source: registry_client::Error) -> Error {
    Error::Registry { action: "fetch", name: blob.digest.to_string(), source: Box::new(source) }
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm_name(), digest.encoded())
}
