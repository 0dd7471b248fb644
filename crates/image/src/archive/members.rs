//! The members of an archive by their names, and the links between them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use super::stream;
use crate::error::{Error, Result};
use crate::ingest::Ingested;
use crate::tar::{self, EntryPath, Kind};

/// Bytes of all names and links of an archive.
const NAMES_LIMIT: u64 = 16 << 20;
/// How many links may lead from one name to the next.
const LINK_LIMIT: usize = 16;

/// The members by their names.
#[derive(Default)]
pub(super) struct ByName {
    members: BTreeMap<Vec<u8>, Member>,
    /// Bytes of their names and links.
    bytes: u64,
}

/// What a name stands for.
pub(super) struct Member {
    pub(super) content: Content,
    /// Whether the name occurs again.
    pub(super) again: bool,
}

pub(super) enum Content {
    /// So many bytes of the tar, from there.
    Section { offset: u64, size: u64 },
    /// A file in the scratch directory.
    Spooled { path: PathBuf },
    /// A layer that has been ingested into a file, if it was new.
    Layer { ingested: Box<Ingested>, path: Option<PathBuf> },
    /// Something that looked like a layer; why it is none.
    NoLayer(Mutex<Option<Error>>),
    /// Neither a layer nor small.
    TooLarge,
    /// Another name, to be followed.
    Link(Vec<u8>),
}

/// What an entry of the archive contributes.
pub(super) enum Place {
    /// A file, whose data lie there in the tar.
    Data { offset: u64, size: u64 },
    /// Another name for a member.
    Link(Vec<u8>),
    /// A directory.
    Nothing,
}

pub(super) fn place(entry: &tar::Entry) -> Result<Place> {
    let refuse = |reason: String| Err(Error::Entry { entry: entry.path.to_string(), reason });
    match &entry.kind {
        Kind::File(content) => match content.extents() {
            [] if content.size == 0 => Ok(Place::Data { offset: 0, size: 0 }),
            [all] if all.offset == 0 && all.length == content.size => {
                Ok(Place::Data { offset: all.source, size: all.length })
            }
            _ => refuse("it is a sparse file; make the archive again without --sparse".to_owned()),
        },
        Kind::Hardlink(target) => Ok(Place::Link(target.as_bytes().to_vec())),
        Kind::Symlink(target) => match resolve(entry.path.as_bytes(), target) {
            Some(target) => Ok(Place::Link(target)),
            None => refuse(format!("it is a link to \"{}\", outside of the archive", target.escape_ascii())),
        },
        Kind::Directory => Ok(Place::Nothing),
        Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo => {
            refuse("an archive of images holds files, directories and links only".to_owned())
        }
    }
}

/// Where a symbolic link leads, as a name in the archive; `None` if it leaves it.
fn resolve(link: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut parts: Vec<&[u8]> = link.split(|&byte| byte == b'/').collect();
    parts.pop();
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

impl ByName {
    /// All names that are text.
    pub(super) fn names(&self) -> Vec<String> {
        self.members.keys().filter_map(|name| String::from_utf8(name.clone()).ok()).collect()
    }

    /// Adds a member; `archive` is for the error when there are too many.
    pub(super) fn insert(&mut self, archive: &str, path: EntryPath, content: Content) -> Result<()> {
        use std::collections::btree_map::Entry;
        let link = if let Content::Link(target) = &content { target.len() } else { 0 };
        self.bytes += (path.as_bytes().len() + link) as u64;
        if self.bytes > NAMES_LIMIT {
            let entry = format!("{archive}: {path}: the list of all names");
            let reason = "so much have all names of an archive together at most";
            return Err(Error::TooLarge { entry, limit: NAMES_LIMIT, reason });
        }
        match self.members.entry(path.as_bytes().to_vec()) {
            Entry::Vacant(vacant) => drop(vacant.insert(Member { content, again: false })),
            // The first stays: what has a digest is checked against it, and nothing else may occur twice.
            Entry::Occupied(mut occupied) => occupied.get_mut().again = true,
        }
        Ok(())
    }

    /// The member that a name leads to, across links.
    pub(super) fn follow(&self, name: &str) -> Result<Option<&Member>> {
        let path = EntryPath::from_name(name.as_bytes(), &stream::limits())
            .map_err(|defect| Error::Entry { entry: name.to_owned(), reason: defect.to_string() })?;
        let mut name_now = path.as_bytes().to_vec();
        for _ in 0..LINK_LIMIT {
            match self.members.get(&name_now) {
                Some(Member { content: Content::Link(target), .. }) => name_now.clone_from(target),
                Some(member) => return Ok(Some(member)),
                None => return Ok(None),
            }
        }
        Err(Error::Entry {
            entry: name.to_owned(),
            reason: "it is a chain of links without an end".to_owned(),
        })
    }
}
