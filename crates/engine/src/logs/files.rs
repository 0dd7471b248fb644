//! Which files a log consists of, while another process rotates and compresses them.
//!
//! ```text
//! log.json ─rotate─► log.json.1 ─compress─► log.json.1.gz ─rotate─► log.json.2.gz ─► … ─► gone
//! ```
//!
//! Names move on at any moment, inodes do not: while a file is open, no other has its number. A compressed file
//! carries the number of the file that it was made from. What must hold of a listing: each file is the one written
//! right before the one in front of it. So a file is looked for one name behind that of its successor, and
//! counts if the successor still has its name after that; names only ever move on, and older ones first.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::bufread::GzDecoder;
use linux::file::{self, Named};
use serde::Deserialize;

/// How often a hole may be found before it is taken for one that stays: its maker was killed.
const HOLES: usize = 50;

/// One file of a log, open.
pub(super) struct Piece {
    inode: u64,
    /// The inode of the file that this was compressed from.
    origin: Option<u64>,
    pub(super) content: Content,
}

pub(super) enum Content {
    Plain(File),
    Compressed(Box<GzDecoder<BufReader<File>>>),
}

/// What the writer of a compressed file says of it, in the header's extra field.
#[derive(Deserialize)]
struct Extra {
    inode: u64,
}

impl Piece {
    fn open(path: &Path) -> file::Result<Option<Piece>> {
        let Some(file) = missing_is_none(file::open(path))? else { return Ok(None) };
        let inode = inode_of(&file, path)?;
        Ok(Some(Piece { inode, origin: None, content: Content::Plain(file) }))
    }

    fn open_compressed(path: &Path) -> file::Result<Option<Piece>> {
        let Some(file) = missing_is_none(file::open(path))? else { return Ok(None) };
        let inode = inode_of(&file, path)?;
        let decoder = GzDecoder::new(BufReader::new(file));
        let extra = decoder.header().and_then(|header| header.extra());
        let origin = extra.and_then(|extra| serde_json::from_slice::<Extra>(extra).ok());
        let origin = origin.map(|extra| extra.inode);
        Ok(Some(Piece { inode, origin, content: Content::Compressed(Box::new(decoder)) }))
    }

    /// Whether `other`, which was found later, is this one, or what this one was compressed into.
    fn is(&self, other: &Piece) -> bool {
        self.inode == other.inode || (other.origin == Some(self.inode) && !self.is_linked())
    }

    fn is_linked(&self) -> bool {
        match &self.content {
            Content::Plain(file) => rustix::fs::fstat(file).is_ok_and(|found| found.st_nlink > 0),
            Content::Compressed(decoder) => {
                rustix::fs::fstat(decoder.get_ref().get_ref()).is_ok_and(|found| found.st_nlink > 0)
            }
        }
    }

    /// Back to the beginning.
    pub(super) fn rewind(&mut self) -> std::io::Result<()> {
        if let Content::Compressed(decoder) = &mut self.content {
            let mut file = decoder.get_ref().get_ref().try_clone()?;
            file.rewind()?;
            **decoder = GzDecoder::new(BufReader::new(file));
        }
        Ok(())
    }

    /// What comes next. A compressed file that is damaged ends there.
    pub(super) fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.content {
            Content::Plain(file) => file.read(into),
            Content::Compressed(decoder) => Ok(decoder.read(into).unwrap_or(0)),
        }
    }
}

/// The files written after the one that `newest` is, or all there are; oldest first.
pub(super) fn written_after(path: &Path, newest: Option<&Piece>) -> file::Result<Vec<Piece>> {
    let mut walk = Walk { path, number: 0, patience: HOLES };
    let mut pieces: Vec<Piece> = Vec::new();
    while let Some(piece) = walk.before(pieces.last())? {
        if newest.is_some_and(|newest| newest.is(&piece)) {
            break;
        }
        pieces.push(piece);
    }
    pieces.reverse();
    Ok(pieces)
}

/// From the newest file to the oldest.
struct Walk<'a> {
    path: &'a Path,
    /// Where the piece was that was found last.
    number: u32,
    patience: usize,
}

impl Walk<'_> {
    /// The piece written right before `successor`; or the newest.
    fn before(&mut self, successor: Option<&Piece>) -> file::Result<Option<Piece>> {
        loop {
            if let Some(successor) = successor
                && !self.find(successor)?
            {
                // Gone, and with it all that were older.
                return Ok(None);
            }
            let next = if successor.is_some() { self.number + 1 } else { 0 };
            let mut found = open_numbered(self.path, next)?;
            if found.is_none() {
                // One number is free while the file before it moves on.
                let behind = open_numbered(self.path, next + 1)?;
                if behind.is_some() && self.patience > 0 {
                    self.patience -= 1;
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
                // Whoever moved them on was killed.
                found = behind;
            }
            match successor {
                Some(successor) if !self.is_at(successor, self.number)? => {}
                _ => {
                    if successor.is_none() {
                        self.number = 0;
                    }
                    return Ok(found);
                }
            }
        }
    }

    /// Looks where `piece` is by now. False when it is gone.
    fn find(&mut self, piece: &Piece) -> file::Result<bool> {
        let mut missing = 0;
        let mut number = self.number;
        loop {
            match self.look(piece, number)? {
                Some(true) => {
                    self.number = number;
                    return Ok(true);
                }
                Some(false) => missing = 0,
                None => missing += 1,
            }
            if missing > 2 {
                if !piece.is_linked() || self.patience == 0 {
                    return Ok(false);
                }
                // It was on its way.
                self.patience -= 1;
                (missing, number) = (0, self.number);
                continue;
            }
            number += 1;
        }
    }

    fn is_at(&self, piece: &Piece, number: u32) -> file::Result<bool> {
        Ok(self.look(piece, number)? == Some(true))
    }

    /// Whether the file of this number is `piece`; None when there is no such file.
    fn look(&self, piece: &Piece, number: u32) -> file::Result<Option<bool>> {
        let found = open_numbered(self.path, number)?;
        Ok(found.map(|found| piece.is(&found)))
    }
}

/// `log.json` or `log.json.<number>[.gz]`; None when there is none.
fn open_numbered(path: &Path, number: u32) -> file::Result<Option<Piece>> {
    if number == 0 {
        return Piece::open(path);
    }
    let name = numbered(path, number);
    if let Some(piece) = Piece::open(&name)? {
        return Ok(Some(piece));
    }
    Piece::open_compressed(&with_suffix(name, ".gz"))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    with_suffix(path.to_owned(), &format!(".{number}"))
}

fn with_suffix(path: PathBuf, suffix: &str) -> PathBuf {
    let mut name = path.into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

fn missing_is_none(opened: file::Result<File>) -> file::Result<Option<File>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

fn inode_of(file: &File, path: &Path) -> file::Result<u64> {
    Ok(rustix::fs::fstat(file).named("examine", path)?.st_ino)
}
