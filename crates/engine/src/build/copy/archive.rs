//! Archives that ADD unpacks: tars, compressed in any way that layers may be, told by their content.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use build::{Cancel, Step};
use image::view::What;

use super::CopyError;
use super::select::Picked;
use crate::Result;
use crate::build::BuildError;
use crate::build::context::Copied;
use crate::build::session::Session;
use crate::build::view::{At, Kind, View};

/// A file that may be an archive.
struct Source {
    file: Arc<File>,
    /// Offset in the file and length of each piece, with the zeros before it.
    pieces: Vec<(u64, u64, u64)>,
    /// It is the caller's own.
    may_change: bool,
}

impl Source {
    fn content<'c>(&'c self, cancel: &'c Cancel) -> Content<'c> {
        Content { file: &self.file, pieces: self.pieces.iter(), hole: 0, at: 0, left: 0, cancel }
    }
}

/// The content of a file, from its beginning.
struct Content<'c> {
    file: &'c File,
    /// Those that are left.
    pieces: std::slice::Iter<'c, (u64, u64, u64)>,
    hole: u64,
    at: u64,
    left: u64,
    cancel: &'c Cancel,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("the build was cancelled"));
        }
        while self.hole == 0 && self.left == 0 {
            let Some(&(hole, at, length)) = self.pieces.next() else { return Ok(0) };
            (self.hole, self.at, self.left) = (hole, at, length);
        }
        let most = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if self.hole > 0 {
            let zeros = most(self.hole);
            buffer[..zeros].fill(0);
            self.hole -= zeros as u64;
            return Ok(zeros);
        }
        let wanted = most(self.left);
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// A content whose reader is not the only one to see it.
struct Shown<'c, 'f> {
    content: &'c mut Content<'f>,
    at: u64,
    to: &'c mut Copied,
}

impl Read for Shown<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.to.take(self.at, &buffer[..read]);
        self.at += read as u64;
        Ok(read)
    }
}

/// The files of the archive that a source is; none if it is none.
pub(super) fn open(session: &Session<'_>, picked: &Picked, step: &Step<'_>) -> Result<Option<View>> {
    if !picked.unpack || picked.root.node.kind != Kind::File {
        return Ok(None);
    }
    let path = String::from_utf8_lossy(&picked.root.path).into_owned();
    let refused = |source| CopyError::Archive { path: path.clone(), source: Box::new(source) };
    let cancelled = |error: CopyError| -> crate::Error {
        if step.cancel.is_cancelled() { BuildError::Cancelled.into() } else { error.into() }
    };
    let source = source(session, picked, &path, step.cancel)?;
    // Looked at first, for most that is added is no archive.
    {
        let mut content = source.content(step.cancel);
        let Ok(mut plain) = image::decompressed(&path, &mut content) else { return Ok(None) };
        let mut start = [0; 512];
        if plain.read_exact(&mut start).is_err() || !image::tar::is_header(&start) {
            return if step.cancel.is_cancelled() { Err(BuildError::Cancelled.into()) } else { Ok(None) };
        }
    }
    let mut content = source.content(step.cancel);
    let mut plain = image::decompressed(&path, &mut content).map_err(|error| cancelled(refused(error)))?;
    let spooled = spool(session, &mut plain, &path).map_err(cancelled);
    drop(plain);
    if let (true, View::Files(files), At::Found(item)) =
        (source.may_change, &picked.view, &picked.root.node.at)
    {
        // First, for that is why it could not be read.
        files.check(&source.file, item, None)?;
    }
    let view = image::View::of_archive(spooled?, &path).map_err(refused)?;
    Ok(Some(View::Layers(Arc::new(view))))
}

fn source(session: &Session<'_>, picked: &Picked, path: &str, cancel: &Cancel) -> Result<Source> {
    match (&picked.view, &picked.root.node.at) {
        (View::Files(files), At::Found(item)) => {
            let file = Arc::new(files.open_hashed(item)?.0);
            let pieces = vec![(0, 0, item.identity().size)];
            let theirs = Source { file, pieces, may_change: true };
            let Some(mut copied) = files.doubt(item) else { return Ok(theirs) };
            // Read once, for whoever unpacks it looks at it twice and not at all of it.
            let mut content = theirs.content(cancel);
            let ours = spool(session, &mut Shown { content: &mut content, at: 0, to: &mut copied }, path);
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
            files.check(&theirs.file, item, ours.is_ok().then_some(copied))?;
            Ok(Source { file: Arc::new(ours?), may_change: false, ..theirs })
        }
        (View::Layers(view), At::Layered(node)) => {
            let size = match view.named(*node).map(|named| named.what) {
                Some(What::File(size)) => size,
                _ => 0,
            };
            let missing = || CopyError::NoFile { path: path.to_owned() };
            let (tar, extents) = view.data(*node).ok_or_else(missing)?;
            let mut end = 0;
            let mut pieces: Vec<(u64, u64, u64)> = Vec::new();
            for extent in extents {
                pieces.push((extent.offset - end, extent.source, extent.length));
                end = extent.offset + extent.length;
            }
            pieces.push((size.saturating_sub(end), 0, 0));
            Ok(Source { file: tar.clone(), pieces, may_change: false })
        }
        _ => Err(CopyError::NoFile { path: String::new() }.into()),
    }
}

/// Puts an archive, or what comes out of its compression, where it can be read at any place: in a file without a name. A small file may
/// hold more than the disk: the rules of layers that are pulled bound it.
fn spool(session: &Session<'_>, plain: &mut dyn Read, path: &str) -> std::result::Result<File, CopyError> {
    let place = session.draft.fresh("archive");
    let failed = |source| CopyError::Archive { path: path.to_owned(), source: Box::new(source) };
    let file = linux::file::create_new(&place, 0o600).map_err(|error| failed(error.into()))?;
    linux::file::remove(&place).map_err(|error| failed(error.into()))?;
    image::spool(path, plain, &file, &place).map_err(failed)?;
    Ok(file)
}
