//! The digest of all that a copy gets from its inputs: of the base which layers it has, of the sources what is taken of them.
//! No time is part of it, and no path that does not show in the result.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use build::{Cancel, Step};
use image::LoadedLayer;
use image::tar::{Extent, Xattr};
use image::view::What;
use oci::{Digest, Hasher};
use rustix::fs::fstat;

use super::select::{Entry, Picked};
use crate::Result;
use crate::build::BuildError;
use crate::build::context::{Files, Seen, counted};
use crate::build::parallel;
use crate::build::session::Session;
use crate::build::view::{At, Kind, View};
use crate::images::failed;

/// Of files in layers, by where their data lies: the tar's device and inode, the first byte there, and the size.
#[derive(Debug, Default)]
pub(in crate::build) struct Digests(Mutex<HashMap<Place, Digest>>);

type Place = (u64, u64, u64, u64);

impl Digests {
    /// Takes the digests of files that a layer was just made of: where each begins in it, and its size.
    pub(super) fn learn(&self, session: &Session<'_>, layer: &LoadedLayer, files: Vec<(u64, u64, Digest)>) {
        // Where it cannot be looked at, the next one who asks says why.
        let Ok(stat) = rustix::fs::stat(session.draft.layer_path(&layer.diff_id)) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(files.into_iter().map(|(start, size, digest)| {
            let place = (stat.st_dev, stat.st_ino, start, size);
            (place, digest)
        }));
    }
}

/// Hashes fields, each with its length before it, so that no two lists of them have the same bytes.
pub(super) struct Fields {
    hasher: Hasher,
    /// What is not hashed yet: most fields are smaller than what is hashed at once.
    waiting: Vec<u8>,
}

/// Bytes that are hashed together.
const WAITING: usize = 4 << 10;

impl Fields {
    pub(super) fn new(kind: &str) -> Self {
        let mut fields = Self { hasher: Hasher::sha256(), waiting: Vec::with_capacity(2 * WAITING) };
        fields.add(kind.as_bytes());
        fields
    }

    pub(super) fn add(&mut self, field: &[u8]) {
        self.number(field.len() as u64);
        self.waiting.extend_from_slice(field);
    }

    pub(super) fn number(&mut self, number: u64) {
        if self.waiting.len() >= WAITING {
            self.hasher.update(&self.waiting);
            self.waiting.clear();
        }
        self.waiting.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn finish(mut self) -> Digest {
        self.hasher.update(&self.waiting);
        self.hasher.finish()
    }
}

/// Makes the digests of all that is taken known.
pub(super) fn hash(session: &Session<'_>, all: &[Picked], step: &Step<'_>) -> Result<()> {
    let tell = counted(|bytes| step.progress("transferring context:", bytes, None));
    for picked in all {
        let files = picked.entries.iter().filter(|entry| entry.node.kind == Kind::File);
        match &picked.view {
            View::Files(view) => {
                let items: Vec<&Seen> = files
                    .filter_map(|entry| match &entry.node.at {
                        At::Found(item) => Some(item),
                        At::Layered(_) => None,
                    })
                    .collect();
                view.hash(&items, step.cancel, &tell)?;
            }
            View::Layers(view) => hash_layered(session, view, files, step)?,
        }
    }
    Ok(())
}

fn hash_layered<'a>(
    session: &Session<'_>,
    view: &image::View,
    files: impl Iterator<Item = &'a Entry>,
    step: &Step<'_>,
) -> Result<()> {
    let mut wanted: Vec<(Place, u32)> = Vec::new();
    for entry in files {
        let At::Layered(node) = entry.node.at else { continue };
        if let Some(place) = place(view, node)? {
            wanted.push((place, node));
        }
    }
    wanted.sort_unstable();
    wanted.dedup_by_key(|(place, _)| *place);
    {
        let known = session.digests.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.retain(|(place, _)| !known.contains_key(place));
    }
    let bytes = wanted.iter().map(|((.., size), _)| size).sum();
    parallel::each(&wanted, bytes, &|(place, node): &(Place, u32), buffer: &mut [u8]| {
        let digest = content(view, *node, buffer, step.cancel)?;
        session.digests.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*place, digest);
        Ok(())
    })
}

/// Where the data of a file lies; none of an empty one.
fn place(view: &image::View, node: u32) -> Result<Option<Place>> {
    let Some((tar, extents)) = view.data(node) else { return Ok(None) };
    let stat =
        fstat(tar).map_err(|errno| failed("read a layer")(image::Error::Write { source: errno.into() }))?;
    let size = match view.named(node).map(|named| named.what) {
        Some(What::File(size)) => size,
        _ => 0,
    };
    let start = extents.first().map_or(0, |extent| extent.source);
    Ok(Some((stat.st_dev, stat.st_ino, start, size)))
}

/// The digest of a file's bytes, holes as the zeros that they read as.
fn content(view: &image::View, node: u32, buffer: &mut [u8], cancel: &Cancel) -> Result<Digest> {
    use std::os::unix::fs::FileExt as _;
    let size = match view.named(node).map(|named| named.what) {
        Some(What::File(size)) => size,
        _ => 0,
    };
    let mut hasher = Hasher::sha256();
    let mut at = 0;
    let data = view.data(node);
    let end = Extent { offset: size, source: 0, length: 0 };
    let (tar, extents) =
        data.as_ref().map(|(tar, extents)| (Some(tar), extents.as_slice())).unwrap_or_default();
    for extent in extents.iter().chain([&end]) {
        let hole = buffer.len().min(64 << 10);
        buffer[..hole].fill(0);
        while at < extent.offset {
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
            let most = usize::try_from(extent.offset - at).unwrap_or(usize::MAX).min(hole);
            hasher.update(&buffer[..most]);
            at += most as u64;
        }
        let mut done = 0;
        while done < extent.length {
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
            let most = usize::try_from(extent.length - done).unwrap_or(usize::MAX).min(buffer.len());
            let Some(tar) = tar else { break };
            tar.read_exact_at(&mut buffer[..most], extent.source + done).map_err(|source| {
                failed("read a layer")(image::Error::Read { entry: "a file of a layer".to_owned(), source })
            })?;
            hasher.update(&buffer[..most]);
            done += most as u64;
        }
        at += extent.length;
    }
    Ok(hasher.finish())
}

/// Adds all of a source that shows in the result.
pub(super) fn add(fields: &mut Fields, session: &Session<'_>, picked: &Picked) -> Result<()> {
    let is_directory = picked.root.node.kind == Kind::Directory;
    let flags = [is_directory, picked.contents, picked.unpack].map(u8::from);
    fields.add(&flags);
    // What is in a directory says nothing of its name.
    fields.add(if is_directory && picked.contents { b"" } else { &picked.name });
    fields.number(picked.entries.len() as u64);
    let mut links = HashMap::new();
    for (number, entry) in picked.entries.iter().enumerate() {
        let node = &entry.node;
        fields.add(&entry.path);
        for number in [node.mode, node.uid, node.gid] {
            fields.number(u64::from(number));
        }
        if let Some(inode) = picked.view.shared_inode(node) {
            // Other names that are not taken do not matter.
            let first = *links.entry(inode).or_insert(number);
            if first != number {
                fields.add(b"link");
                fields.number(first as u64);
                continue;
            }
        }
        add_content(fields, session, picked, entry)?;
    }
    Ok(())
}

fn add_content(fields: &mut Fields, session: &Session<'_>, picked: &Picked, entry: &Entry) -> Result<()> {
    let node = &entry.node;
    match node.kind {
        Kind::File => {
            fields.add(b"file");
            let (digest, xattrs) = file(session, &picked.view, &node.at)?;
            fields.number(picked.view.size(node));
            fields.add(digest.as_ref().map_or("", |digest| digest.as_str()).as_bytes());
            add_xattrs(fields, &xattrs);
        }
        Kind::Directory => {
            fields.add(b"directory");
            add_xattrs(fields, &directory_xattrs(&picked.view, &node.at)?);
        }
        Kind::Symlink => {
            fields.add(b"symlink");
            fields.add(&picked.view.target(node)?);
        }
        Kind::CharDevice(device) | Kind::BlockDevice(device) => {
            let is_char = matches!(node.kind, Kind::CharDevice(_));
            fields.add(if is_char { b"char" } else { b"block" });
            fields.number(u64::from(device.major));
            fields.number(u64::from(device.minor));
        }
        Kind::Fifo => fields.add(b"fifo"),
        Kind::Socket => fields.add(b"socket"),
    }
    Ok(())
}

fn file<'a>(session: &Session<'_>, view: &View, at: &'a At) -> Result<(Option<Cow<'a, Digest>>, Vec<Xattr>)> {
    Ok(match (view, at) {
        (View::Files(_), At::Found(item)) => (item.digest().map(Cow::Borrowed), item.xattrs()),
        (View::Layers(view), At::Layered(node)) => {
            let place = place(view, *node)?;
            let known = session.digests.0.lock().unwrap_or_else(PoisonError::into_inner);
            let digest = place.and_then(|place| known.get(&place).cloned().map(Cow::Owned));
            (digest, view.named(*node).map(|named| view.xattrs(&named).to_vec()).unwrap_or_default())
        }
        _ => (None, Vec::new()),
    })
}

fn directory_xattrs(view: &View, at: &At) -> Result<Vec<Xattr>> {
    match (view, at) {
        (View::Files(files), At::Found(item)) => Files::directory_xattrs(files, item),
        (View::Layers(view), At::Layered(node)) => {
            Ok(view.named(*node).map(|named| view.xattrs(&named).to_vec()).unwrap_or_default())
        }
        _ => Ok(Vec::new()),
    }
}

fn add_xattrs(fields: &mut Fields, xattrs: &[Xattr]) {
    fields.number(xattrs.len() as u64);
    for xattr in xattrs {
        fields.add(&xattr.name);
        fields.add(&xattr.value);
    }
}
