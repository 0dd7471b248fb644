//! A layer from a layout: members in order, data from where it lies.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::fd::AsFd as _;

use build::{Record, Step};
use image::LayerWriter;
use image::tar::{Body, END, Member, Xattr, padding, write_member};
use oci::Digest;

use super::CopyError;
use super::layout::{Layout, Made};
use crate::Result;
use crate::build::BuildError;
use crate::build::context::{Copied, Files, Item, counted, shown};
use crate::build::session::Session;
use crate::build::view::{At, Kind, View};
use crate::images::failed;

const ACTION: &str = "write a layer";
/// Bytes of a file whose digest is kept for those who copy it on: less is hashed as fast as it is looked up.
const KNOWN: u64 = 64 << 10;

/// Writes the layer and has it stored.
pub(super) fn write(session: &Session<'_>, layout: &Layout, step: &Step<'_>) -> Result<Record> {
    let layer = session.draft.layer().map_err(failed(ACTION))?;
    let tell = counted(|bytes| step.progress("copying files", bytes, None));
    let (header, links, known) = (Vec::new(), HashMap::new(), Vec::new());
    let mut writer = Writer { layer, step, header, links, known, tell: &tell };
    for (path, made) in &layout.made {
        if step.cancel.is_cancelled() {
            return Err(BuildError::Cancelled.into());
        }
        writer.member(path, made)?;
    }
    writer.bytes(&END)?;
    let known = writer.known;
    let layer = writer.layer.hand_in().map_err(failed(ACTION))?;
    session.digests.learn(session, &layer, known);
    Ok(Record { layer: layer.diff_id, size: layer.size })
}

struct Writer<'w, 'd, 's> {
    layer: LayerWriter<'d, 's>,
    step: &'w Step<'w>,
    header: Vec<u8>,
    /// The first name of each file with several: by its source and inode.
    links: HashMap<(usize, (u64, u64)), Vec<u8>>,
    /// Where the content of large files begins, how long it is, and its digest.
    known: Vec<(u64, u64, Digest)>,
    tell: &'w (dyn Fn(u64) + Sync),
}

impl Writer<'_, '_, '_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let path = self.layer.path().to_owned();
        self.layer
            .write_all(bytes)
            .map_err(|source| failed(ACTION)(linux::file::Error { action: "write", path, source }.into()))
    }

    fn header(&mut self, path: &[u8], body: Body<'_>, made: &Made, xattrs: &[Xattr]) -> Result<()> {
        let Made { mode, uid, gid, mtime, .. } = *made;
        let mut header = std::mem::take(&mut self.header);
        header.clear();
        write_member(&Member { path, body, mode, uid, gid, mtime, xattrs }, &mut header);
        let written = self.bytes(&header);
        self.header = header;
        written
    }

    fn member(&mut self, path: &[u8], made: &Made) -> Result<()> {
        let Some((view, node)) = &made.origin else { return self.header(path, Body::Directory, made, &[]) };
        if let Some(inode) = view.shared_inode(node) {
            let key = (made.source, inode);
            if let Some(first) = self.links.get(&key).cloned() {
                return self.header(path, Body::Hardlink(&first), made, &[]);
            }
            self.links.insert(key, path.to_owned());
        }
        match made.kind {
            Kind::File => match (view, &node.at) {
                (View::Files(files), At::Found(item)) => self.file(path, made, files, item),
                (View::Layers(view), At::Layered(node)) => self.layered(path, made, view, *node),
                _ => Ok(()),
            },
            Kind::Directory => {
                let xattrs = match (view, &node.at) {
                    (View::Files(files), At::Found(item)) => files.directory_xattrs(item)?,
                    (View::Layers(view), At::Layered(node)) => layered_xattrs(view, *node),
                    _ => Vec::new(),
                };
                self.header(path, Body::Directory, made, &xattrs)
            }
            Kind::Symlink => self.header(path, Body::Symlink(&view.target(node)?), made, &[]),
            Kind::CharDevice(device) => self.header(path, Body::CharDevice(device), made, &[]),
            Kind::BlockDevice(device) => self.header(path, Body::BlockDevice(device), made, &[]),
            Kind::Fifo => self.header(path, Body::Fifo, made, &[]),
            Kind::Socket => {
                Err(CopyError::Socket { path: String::from_utf8_lossy(path).into_owned() }.into())
            }
        }
    }

    /// A file of the caller, which was hashed before.
    fn file(&mut self, path: &[u8], made: &Made, files: &Files, item: &Item) -> Result<()> {
        let (file, stat) = files.open_hashed(item)?;
        let size = item.identity().size;
        let xattrs = item.xattrs();
        let pieces = image::files::pieces(file.as_fd(), &stat);
        let whole = [(0, size)];
        match &pieces {
            Some(pieces) => self.header(path, Body::Sparse { size, pieces }, made, &xattrs)?,
            None => self.header(path, Body::File(size), made, &xattrs)?,
        }
        if let (None, true, Some(digest)) = (&pieces, size >= KNOWN, item.digest()) {
            self.known.push((self.layer.size(), size, digest.clone()));
        }
        let mut copied = files.doubt(item);
        self.data(&file, pieces.as_deref().unwrap_or(&whole), item.path(), copied.as_mut())?;
        files.check(&file, item, copied)
    }

    /// A file of a layer.
    fn layered(&mut self, path: &[u8], made: &Made, view: &image::View, node: u32) -> Result<()> {
        let xattrs = layered_xattrs(view, node);
        let Some(named) = view.named(node) else { return Ok(()) };
        let image::view::What::File(size) = named.what else { return Ok(()) };
        let Some((tar, extents)) = view.data(node) else {
            // Nothing, or nothing but a hole.
            if size == 0 {
                return self.header(path, Body::File(0), made, &xattrs);
            }
            return self.header(path, Body::Sparse { size, pieces: &[] }, made, &xattrs);
        };
        let is_whole = extents.iter().map(|extent| extent.length).sum::<u64>() == size && extents.len() == 1;
        let pieces: Vec<(u64, u64)> = extents.iter().map(|extent| (extent.offset, extent.length)).collect();
        let body = if is_whole { Body::File(size) } else { Body::Sparse { size, pieces: &pieces } };
        self.header(path, body, made, &xattrs)?;
        let sources: Vec<(u64, u64)> = extents.iter().map(|extent| (extent.source, extent.length)).collect();
        self.data(tar, &sources, path, None)
    }

    /// Pieces of a file, one behind the other, and zeros up to a full block. Whoever hashes what is copied is shown it.
    fn data(
        &mut self,
        file: &std::fs::File,
        pieces: &[(u64, u64)],
        path: &[u8],
        mut copied: Option<&mut Copied>,
    ) -> Result<()> {
        for &(mut offset, length) in pieces {
            let end = offset + length;
            while offset < end {
                if self.step.cancel.is_cancelled() {
                    return Err(BuildError::Cancelled.into());
                }
                let taken =
                    self.layer.take_from(file, (offset, end - offset), path).map_err(failed(ACTION))?;
                if taken.is_empty() {
                    return Err(CopyError::Changed { path: shown(path) }.into());
                }
                if let Some(copied) = &mut copied {
                    copied.take(offset, taken);
                }
                let taken = taken.len() as u64;
                (self.tell)(taken);
                offset += taken;
            }
        }
        let total = pieces.iter().map(|(_, length)| length).sum();
        self.bytes(&[0; 512][..padding(total)])
    }
}

fn layered_xattrs(view: &image::View, node: u32) -> Vec<Xattr> {
    view.named(node).map(|named| view.xattrs(&named).to_vec()).unwrap_or_default()
}
