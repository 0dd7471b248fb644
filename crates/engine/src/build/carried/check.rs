//! Whether a layer may be the content of a cache mount.
//!
//! A layer's rules are wider than a directory's: it may take away what lies below it, and hold devices. A cache mount has neither:
//! one that does is not one of ours.

use std::io::Read;
use std::path::Path;

use image::Stop as Wish;
use image::tar::{self, Entry, EntryPath, Kind, Limits, Parser};
use linux::file;

use super::document::ROOT;

/// Bytes that are read at once.
const PORTION: usize = 256 << 10;
/// How the names begin by which layers take away.
const WHITEOUT: &[u8] = b".wh.";

/// Why the parser is stopped.
enum Stop {
    Archive(tar::Error),
    Entry(String),
}

impl From<tar::Error> for Stop {
    fn from(error: tar::Error) -> Self {
        Self::Archive(error)
    }
}

/// Refuses a layer that holds anything but one directory of files, directories, links and pipes, and one that is no more wanted.
pub(super) fn layer(path: &Path, wish: &Wish<'_>) -> Result<(), String> {
    let mut tar = file::open(path).map_err(|error| linux::chain(&error))?;
    let mut parser = Parser::new(Limits::default());
    let mut portion = vec![0; PORTION];
    let mut is_first = true;
    let mut look = |found: Entry| entry(&found, &mut is_first).map_err(Stop::Entry);
    loop {
        if wish() {
            return Err("nobody wants to know any more".to_owned());
        }
        let read = tar.read(&mut portion).map_err(|error| error.to_string())?;
        if read == 0 {
            break;
        }
        parser.push(&portion[..read], &mut look).map_err(|stop| match stop {
            Stop::Archive(error) => error.to_string(),
            Stop::Entry(reason) => reason,
        })?;
    }
    parser.finish().map_err(|error| error.to_string())?;
    if is_first { Err("it holds nothing".to_owned()) } else { Ok(()) }
}

fn entry(found: &Entry, is_first: &mut bool) -> Result<(), String> {
    let shown = || found.path.as_bytes().escape_ascii().to_string();
    inside(&found.path)?;
    if std::mem::take(is_first) && (found.kind != Kind::Directory || found.path.components().count() != 1) {
        return Err(format!("it begins with {}, not with a directory {ROOT}", shown()));
    }
    match &found.kind {
        Kind::File(_) | Kind::Directory | Kind::Symlink(_) | Kind::Fifo => Ok(()),
        Kind::Hardlink(target) => inside(target),
        Kind::CharDevice(_) | Kind::BlockDevice(_) => Err(format!("{} is a device", shown())),
    }
}

/// Refuses what is not below the one directory, or takes something away.
fn inside(path: &EntryPath) -> Result<(), String> {
    let shown = || path.as_bytes().escape_ascii().to_string();
    let mut names = path.components();
    if names.next() != Some(ROOT.as_bytes()) {
        return Err(format!("{} is not below {ROOT}", shown()));
    }
    match names.any(|name| name.starts_with(WHITEOUT)) {
        true => Err(format!("no layer can hold a file of the name {}", shown())),
        false => Ok(()),
    }
}
