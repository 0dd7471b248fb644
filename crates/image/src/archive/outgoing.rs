//! Writes blobs that lead to each other as an OCI image layout: a tar, or a directory that may hold others already.
//!
//! ```text
//! oci-layout  index.json  [manifest.json]  blobs/<algorithm>/<digest>
//! ```
//!
//! What must hold:
//! - The same content gives the same bytes: blobs stand in the order of their digests, and nothing has a time.
//! - In a directory every file is whole: it is written without a name, synced, and put in its place; `index.json` comes last, so that
//!   nothing leads to what is not there. What a kill has left goes with the next one. No link in it is followed, whoever put it there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use linux::file;
use linux::partial::{self, Partial};
use oci::{Descriptor, DiffId, Digest, Index, MediaType};
use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, fsync, mkdirat, openat, openat2};
use rustix::io::Errno;

use super::compress::Verified;
use super::contents::blob_name;
use super::write::TarWriter;
use crate::error::{Error, Result};
use crate::stop::{Stop, Stopping};
use crate::store::Store;

/// Where the bytes of a blob are.
#[derive(Clone, Debug)]
pub enum Content {
    /// Here.
    Bytes(Vec<u8>),
    /// They are a layer of the store.
    Layer(DiffId),
    /// In a file.
    File(PathBuf),
}

/// A layout that is to be written.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// The blobs, each with its size.
    pub blobs: BTreeMap<Digest, (u64, Content)>,
    /// What `index.json` names.
    pub index: Vec<Descriptor>,
    /// `manifest.json`, which makes it a docker-archive, too.
    pub docker: Option<Vec<u8>>,
}

impl Content {
    /// The bytes from `at` on, unchecked: whoever takes them knows the digest.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn open_at(&self, store: &Store, at: u64) -> io::Result<Box<dyn Read + Send>> {
        let from = |path: &std::path::Path| -> io::Result<Box<dyn Read + Send>> {
            let mut file = file::open(path).map_err(io::Error::other)?;
            file.seek(SeekFrom::Start(at))?;
            Ok(Box::new(file))
        };
        match self {
            Content::Bytes(bytes) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Box::new(io::Cursor::new(bytes[start..].to_vec())))
            }
            Content::Layer(layer) => from(&store.layer_path(layer)),
            Content::File(path) => from(path),
        }
    }
}

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Outgoing {
    /// Adds a document.
    pub fn document(&mut self, digest: &Digest, content: Vec<u8>) {
        self.blobs.insert(digest.clone(), (content.len() as u64, Content::Bytes(content)));
    }

    /// Writes it as a tar. Layers of the store are checked against their digests meanwhile.
    ///
    /// # Errors
    /// If a blob is missing or damaged, or `out` fails. What has been written is then of no use.
    pub fn write_tar(&self, store: &Store, out: &mut dyn Write) -> Result<()> {
        let failed = |source| Error::Write { source };
        let index = encode(&self.index)?;
        let mut tar = TarWriter::new(out);
        tar.file("oci-layout", MARKER).map_err(failed)?;
        tar.file(INDEX, &index).map_err(failed)?;
        if let Some(docker) = &self.docker {
            tar.file("manifest.json", docker).map_err(failed)?;
        }
        tar.directory("blobs/").map_err(failed)?;
        let mut algorithm = "";
        for (digest, (size, content)) in &self.blobs {
            if digest.algorithm_name() != algorithm {
                algorithm = digest.algorithm_name();
                tar.directory(&format!("blobs/{algorithm}/")).map_err(failed)?;
            }
            let beyond = tar.stream(&blob_name(digest), *size, &mut open(store, content)?).map_err(failed)?;
            if beyond > 0 {
                let (found, expected) = (format!("more than {size}"), size.to_string());
                return Err(Error::Mismatch { entry: blob_name(digest), what: "size", expected, found });
            }
        }
        tar.finish().map_err(failed)
    }

    /// Writes it into a directory, beside what is there: an entry of its index that has the name of a new one gives way.
    ///
    /// # Errors
    /// If it was stopped, the directory holds something else under these names, a blob is missing or damaged, or something cannot be written.
    pub fn write_directory(&self, store: &Store, directory: &OwnedFd, stop: &Stop<'_>) -> Result<()> {
        partial::sweep(directory.as_fd());
        let blobs = enter(directory, "blobs")?;
        let mut algorithms: BTreeMap<&str, OwnedFd> = BTreeMap::new();
        for (digest, (size, content)) in &self.blobs {
            let name = digest.algorithm_name();
            if !algorithms.contains_key(name) {
                let directory = enter(&blobs, name)?;
                partial::sweep(directory.as_fd());
                algorithms.insert(name, directory);
            }
            let Some(parent) = algorithms.get(name) else { continue };
            let names = (digest.encoded(), &*blob_name(digest));
            put(parent, (names, Some(*size)), &mut open(store, content)?, stop)?;
        }
        for (name, parent) in &algorithms {
            fsync(parent).map_err(at("sync", name))?;
        }
        put(directory, (("oci-layout", "oci-layout"), None), &mut &*MARKER, stop)?;
        let mut entries = present(directory)?;
        let name = |entry: &Descriptor| entry.annotations.get(REF_NAME).cloned();
        entries.retain(|old| {
            let gives_way = |new: &Descriptor| match (name(old), name(new)) {
                (Some(old), Some(new)) => old == new,
                (None, _) => old.digest == new.digest,
                (Some(_), None) => false,
            };
            !self.index.iter().any(gives_way)
        });
        entries.extend(self.index.iter().cloned());
        put(directory, ((INDEX, INDEX), None), &mut &*encode(&entries)?, stop)?;
        fsync(directory).map_err(at("sync", "."))
    }
}

fn encode(entries: &[Descriptor]) -> Result<Vec<u8>> {
    let index = Index {
        schema_version: 2,
        media_type: Some(MediaType::OCI_INDEX),
        artifact_type: None,
        manifests: entries.to_vec(),
        subject: None,
        annotations: BTreeMap::new(),
    };
    serde_json::to_vec(&index).map_err(|source| Error::Json { entry: INDEX.to_owned(), source })
}

/// The bytes of a blob; a layer that is not what it is named is an error at its end.
fn open(store: &Store, content: &Content) -> Result<Box<dyn Read>> {
    Ok(match content {
        Content::Bytes(bytes) => Box::new(io::Cursor::new(bytes.clone())),
        Content::Layer(layer) => Box::new(Verified::open(store, layer)?),
        Content::File(path) => Box::new(file::open(path)?),
    })
}

fn at(action: &'static str, name: &str) -> impl FnOnce(Errno) -> Error {
    let path = name.to_owned();
    move |errno| Error::Files { action, path, source: errno.into() }
}

/// A directory below another, made if it is missing; a link is none.
fn enter(parent: &OwnedFd, name: &str) -> Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(at("create directory", name)(errno)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map_err(at("enter", name))
}

/// Puts a file into a directory, in one step. Of its two names the second is the one for errors.
fn put(
    parent: &OwnedFd,
    ((at_name, name), size): ((&str, &str), Option<u64>),
    content: &mut dyn Read,
    stop: &Stop<'_>,
) -> Result<()> {
    let failed = |source| Error::Files { action: "write", path: name.to_owned(), source };
    let unmade = |error: file::Error| failed(error.source);
    let partial = Partial::create_in(parent.as_fd(), at_name).map_err(unmade)?;
    let written = io::copy(content, &mut Stopping::new(&partial.file, stop)).map_err(failed)?;
    if let Some(size) = size.filter(|size| *size != written) {
        let (found, expected) = (written.to_string(), size.to_string());
        return Err(Error::Mismatch { entry: name.to_owned(), what: "size", expected, found });
    }
    fchmod(&partial.file, Mode::from_raw_mode(0o644)).map_err(at("change the mode of", name))?;
    fsync(partial.file.as_fd()).map_err(at("sync", name))?;
    partial.finish().map_err(unmade)
}

/// The entries of the index that is there.
fn present(directory: &OwnedFd) -> Result<Vec<Descriptor>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = match openat2(directory, INDEX, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(at("open", INDEX)(errno)),
    };
    let failed = |source| Error::Files { action: "read", path: INDEX.to_owned(), source };
    let mut bytes = Vec::new();
    file.take(oci::MANIFEST_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    let index = Index::parse(&bytes).map_err(|source| Error::Document { entry: INDEX.to_owned(), source })?;
    Ok(index.manifests)
}
