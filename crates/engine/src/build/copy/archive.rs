//! Archives that ADD unpacks: tars, compressed in any way that layers may be, told by their content.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use build::{Cancel, Step};
use image::view::What;

use super::CopyError;
use super::select::Picked;
use crate::Result;
use crate::build::BuildError;
use crate::build::session::Session;
use crate::build::view::{At, Kind, View};

/// The content of a file, from its beginning.
struct Content<'c> {
    file: Arc<File>,
    /// Offset in the file and length of each piece that is left, with the zeros before it.
    pieces: std::vec::IntoIter<(u64, u64, u64)>,
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
            let Some((hole, at, length)) = self.pieces.next() else { return Ok(0) };
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
    let mut content = content(picked, step.cancel)?;
    let original = content.file.clone();
    // Looked at first, for most that is added is no archive.
    {
        let Ok(mut plain) = image::decompressed(&path, &mut content) else { return Ok(None) };
        let mut start = [0; 512];
        if plain.read_exact(&mut start).is_err() || !image::tar::is_header(&start) {
            return if step.cancel.is_cancelled() { Err(BuildError::Cancelled.into()) } else { Ok(None) };
        }
    }
    let mut content = self::content(picked, step.cancel)?;
    let mut plain = image::decompressed(&path, &mut content).map_err(|error| cancelled(refused(error)))?;
    let spooled = spool(session, &mut plain, &path).map_err(cancelled)?;
    drop(plain);
    if let (View::Files(files), At::Found(item)) = (&picked.view, &picked.root.node.at) {
        files.check(&original, item, step.cancel)?;
    }
    let view = image::View::of_archive(spooled, &path).map_err(refused)?;
    Ok(Some(View::Layers(Arc::new(view))))
}

fn content<'c>(picked: &Picked, cancel: &'c Cancel) -> Result<Content<'c>> {
    let (file, pieces) = match (&picked.view, &picked.root.node.at) {
        (View::Files(files), At::Found(item)) => {
            (Arc::new(files.open_hashed(item)?.0), vec![(0, 0, item.identity().size)])
        }
        (View::Layers(view), At::Layered(node)) => {
            let size = match view.named(*node).map(|named| named.what) {
                Some(What::File(size)) => size,
                _ => 0,
            };
            let missing =
                || CopyError::NoFile { path: String::from_utf8_lossy(&picked.root.path).into_owned() };
            let (tar, extents) = view.data(*node).ok_or_else(missing)?;
            let mut end = 0;
            let mut pieces: Vec<(u64, u64, u64)> = Vec::new();
            for extent in extents {
                pieces.push((extent.offset - end, extent.source, extent.length));
                end = extent.offset + extent.length;
            }
            pieces.push((size.saturating_sub(end), 0, 0));
            (tar.clone(), pieces)
        }
        _ => return Err(CopyError::NoFile { path: String::new() }.into()),
    };
    Ok(Content { file, pieces: pieces.into_iter(), hole: 0, at: 0, left: 0, cancel })
}

/// Puts what comes out of an archive's compression where it can be read at any place, in a file without a name. A small file may hold
/// more than the disk: the rules of layers that are pulled bound it.
fn spool(session: &Session<'_>, plain: &mut dyn BufRead, path: &str) -> std::result::Result<File, CopyError> {
    let place = session.draft.fresh("archive");
    let failed = |source| CopyError::Archive { path: path.to_owned(), source: Box::new(source) };
    let file = linux::file::create_new(&place, 0o600).map_err(|error| failed(error.into()))?;
    linux::file::remove(&place).map_err(|error| failed(error.into()))?;
    image::spool(path, plain, &file, &place).map_err(failed)?;
    Ok(file)
}
