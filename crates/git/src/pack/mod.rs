//! A pack: the objects that a server sends (gitformat-pack), in a file of the caller's.
//!
//! ```text
//! receive ── the file is complete, its trailer is right; whole objects have their names
//! resolve ── deltas are applied, each to its base, and so get their names, too
//! content, reader ── by name
//! ```
//!
//! What must hold:
//! - An object is what its name says: it was hashed, with git's own watch for collisions of SHA-1.
//! - Nothing recurses. Bases are held in a cache of a fixed size, and what was dropped is made anew; how often that happens is
//!   counted, and bounded by the size of what the pack holds.
//! - The memory that is held depends on how many objects came, never on what a head says, nor on how large objects are.

mod cache;
mod content;
mod delta;
mod index;
mod inflate;
mod receive;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use crate::Git;
use crate::Spool;
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::id::{Format, Hasher, ObjectId};

use cache::Cache;
pub(crate) use content::{Content, ContentReader};
use content::{IN_MEMORY, Output};
use inflate::Inflate;
pub(crate) use receive::receive;

/// The longest chain of deltas; git makes none that are longer.
const DEPTH_LIMIT: u16 = 4095;
/// How often the size of all objects may be made anew from deltas, and what is allowed beyond.
const WORK_FACTOR: u64 = 64;
const WORK_FREE: u64 = 1 << 30;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    fn of_code(code: u8) -> Option<Self> {
        [Self::Commit, Self::Tree, Self::Blob, Self::Tag].get(usize::from(code).checked_sub(1)?).copied()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }

    fn begin_hash(self, format: Format, size: u64) -> Hasher {
        let mut hasher = format.hasher();
        hasher.update(format!("{} {size}\0", self.name()).as_bytes());
        hasher
    }
}

/// What a delta is one of.
#[derive(Clone, Debug)]
enum Base {
    /// It is whole.
    None,
    Entry(u32),
    /// An object that is yet to be found.
    Id(Box<ObjectId>),
}

/// One object, as it lies there.
#[derive(Debug)]
struct Entry {
    /// Where it begins, and where its stream does.
    at: u64,
    data: u64,
    /// What the stream gives: the object, or the delta.
    size: u64,
    /// Of the bytes from `at` to the next entry.
    crc: u32,
    /// `None` until its base is known.
    kind: Option<Kind>,
    base: Base,
    /// How many deltas are applied for it.
    depth: u16,
}

/// Where the hash of all stands, and what it is.
#[derive(Clone, Copy, Debug)]
struct Trailer {
    id: ObjectId,
    at: u64,
}

/// The objects of one fetch.
#[derive(Debug)]
pub(crate) struct Pack {
    file: Arc<File>,
    format: Format,
    entries: Vec<Entry>,
    ids: Vec<Option<ObjectId>>,
    /// The sizes of the objects that deltas give.
    lengths: HashMap<u32, u64>,
    /// Entries in the order of their names.
    order: Vec<u32>,
    trailer: Trailer,
    cache: Cache,
    /// The size of all objects that are known, and the bytes that were made of deltas.
    total: u64,
    made: u64,
}

impl Pack {
    fn new(
        file: Arc<File>,
        format: Format,
        entries: Vec<Entry>,
        ids: Vec<Option<ObjectId>>,
        trailer: Trailer,
    ) -> Self {
        let total = entries.iter().filter(|entry| entry.kind.is_some()).map(|entry| entry.size).sum();
        Self {
            file,
            format,
            entries,
            ids,
            lengths: HashMap::new(),
            order: Vec::new(),
            trailer,
            cache: Cache::default(),
            total,
            made: 0,
        }
    }

    /// Gives all deltas their names.
    pub(crate) fn resolve(&mut self, git: &Git<'_>, budget: &mut Budget) -> Result<()> {
        let children = Children::of(&self.entries);
        let mut ready = Vec::new();
        for root in 0..self.count() {
            if !matches!(self.entry(root)?.base, Base::None) {
                continue;
            }
            children.of_base(root, self.id(root), &mut ready);
            while let Some((base, child)) = ready.pop() {
                if self.id(child).is_some() {
                    continue;
                }
                git.check_cancelled()?;
                self.resolve_one(base, child, git.spool, budget)?;
                children.of_base(child, self.id(child), &mut ready);
            }
        }
        let lost = self.ids.iter().filter(|id| id.is_none()).count();
        if lost > 0 {
            return Err(Error::pack(format!("{lost} of its objects are deltas without a base")));
        }
        self.order = (0..self.count()).collect();
        let ids = &self.ids;
        self.order.sort_unstable_by_key(|index| ids.get(*index as usize).copied().flatten());
        Ok(())
    }

    fn resolve_one(&mut self, base: u32, child: u32, spool: &Spool<'_>, budget: &mut Budget) -> Result<()> {
        let Entry { kind, depth, .. } = *self.entry(base)?;
        if depth >= DEPTH_LIMIT {
            return Err(Error::Limit { limit: DEPTH_LIMIT.into(), what: "deltas upon each other" });
        }
        let entry = self.entry_mut(child)?;
        (entry.base, entry.kind, entry.depth) = (Base::Entry(base), kind, depth + 1);
        let length = delta::sizes(&mut self.stream(child)?)?.1;
        budget.take_content(length)?;
        self.total = self.total.saturating_add(length);
        self.lengths.insert(child, length);
        let content = self.content(child, spool)?;
        let kind = kind.ok_or_else(|| Error::pack("a base is of no kind"))?;
        let mut hasher = kind.begin_hash(self.format, length);
        match &content {
            Content::Memory(bytes) => hasher.update(bytes),
            Content::File(..) => {
                let mut reader = content.clone().reader();
                let mut part = vec![0; 64 << 10];
                loop {
                    match reader.read(&mut part).map_err(Error::of_reading)? {
                        0 => break,
                        read => hasher.update(&part[..read]),
                    }
                }
            }
        }
        let id = hasher.finish()?;
        if let Some(place) = self.ids.get_mut(child as usize) {
            *place = Some(id);
        }
        Ok(())
    }

    fn count(&self) -> u32 {
        // Its head says how many there are in four bytes.
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    fn entry(&self, index: u32) -> Result<&Entry> {
        self.entries.get(index as usize).ok_or_else(|| Error::pack("an object is not there"))
    }

    fn entry_mut(&mut self, index: u32) -> Result<&mut Entry> {
        self.entries.get_mut(index as usize).ok_or_else(|| Error::pack("an object is not there"))
    }

    fn id(&self, index: u32) -> Option<ObjectId> {
        self.ids.get(index as usize).copied().flatten()
    }

    /// What the pack has under a name, and its size.
    pub(crate) fn find(&self, id: &ObjectId) -> Option<(u32, Kind, u64)> {
        let key = |index: &u32| self.id(*index);
        let place = self.order.binary_search_by_key(&Some(*id), key).ok()?;
        let index = *self.order.get(place)?;
        let entry = self.entries.get(index as usize)?;
        Some((index, entry.kind?, self.lengths.get(&index).copied().unwrap_or(entry.size)))
    }

    /// An object of a kind, which must be there.
    pub(crate) fn expect(&self, id: &ObjectId, wanted: Kind) -> Result<(u32, u64)> {
        let wrong = |reason: String| Error::Object { id: id.to_string(), reason };
        match self.find(id) {
            Some((index, kind, size)) if kind == wanted => Ok((index, size)),
            Some((_, kind, _)) => Err(wrong(format!("it is a {}, not a {}", kind.name(), wanted.name()))),
            None => Err(wrong(format!("the server did not send this {}", wanted.name()))),
        }
    }

    /// A small object as a whole.
    pub(crate) fn bytes(&mut self, id: &ObjectId, kind: Kind, spool: &Spool<'_>) -> Result<Arc<Vec<u8>>> {
        let (index, size) = self.expect(id, kind)?;
        let large = || Error::Object {
            id: id.to_string(),
            reason: format!(
                "it is a {} of {size} bytes, more than the {IN_MEMORY} that are read",
                kind.name()
            ),
        };
        if size > IN_MEMORY {
            return Err(large());
        }
        match self.content(index, spool)? {
            Content::Memory(bytes) => Ok(bytes),
            Content::File(..) => Err(large()),
        }
    }

    /// A blob as a stream, and its size.
    pub(crate) fn blob(&mut self, id: &ObjectId, spool: &Spool<'_>) -> Result<(BlobReader, u64)> {
        let (index, size) = self.expect(id, Kind::Blob)?;
        let reader = match self.entry(index)?.base {
            Base::None => BlobReader::Stream(Box::new(self.inflate(index)?)),
            Base::Entry(_) | Base::Id(_) => BlobReader::Content(self.content(index, spool)?.reader()),
        };
        Ok((reader, size))
    }

    fn inflate(&self, index: u32) -> Result<Inflate> {
        let entry = self.entry(index)?;
        Ok(Inflate::new(Arc::clone(&self.file), entry.data, entry.size))
    }

    fn stream(&self, index: u32) -> Result<BufReader<Inflate>> {
        Ok(BufReader::with_capacity(4 << 10, self.inflate(index)?))
    }

    /// The content of an object, whose bases are known.
    fn content(&mut self, index: u32, spool: &Spool<'_>) -> Result<Content> {
        let mut deltas = Vec::new();
        let mut at = index;
        let mut content = loop {
            if let Some(content) = self.cache.get(at) {
                break content;
            }
            match self.entry(at)?.base {
                Base::None => break self.inflated(at, spool)?,
                Base::Entry(base) => {
                    deltas.push(at);
                    at = base;
                }
                Base::Id(_) => return Err(Error::pack("a delta has no base")),
            }
        };
        while let Some(at) = deltas.pop() {
            content = self.applied(at, &content, spool)?;
        }
        Ok(content)
    }

    fn inflated(&mut self, index: u32, spool: &Spool<'_>) -> Result<Content> {
        let mut to = Output::of_size(self.entry(index)?.size, spool)?;
        let mut from = self.inflate(index)?;
        let mut part = [0; 16 << 10];
        loop {
            match from.read(&mut part).map_err(Error::of_reading)? {
                0 => break,
                read => to.write(&part[..read])?,
            }
        }
        self.keep(index, to)
    }

    fn applied(&mut self, index: u32, base: &Content, spool: &Spool<'_>) -> Result<Content> {
        let mut stream = self.stream(index)?;
        let (of, size) = delta::sizes(&mut stream)?;
        if of != base.len() {
            return Err(Error::pack("a delta is not one of its base"));
        }
        let mut to = Output::of_size(size, spool)?;
        delta::apply(base, &mut stream, size, &mut to)?;
        self.keep(index, to)
    }

    /// What was made is kept as long as there is room, and counted.
    fn keep(&mut self, index: u32, made: Output) -> Result<Content> {
        let content = made.finish()?;
        self.made = self.made.saturating_add(content.len());
        let limit = self.total.saturating_mul(WORK_FACTOR).saturating_add(WORK_FREE);
        if self.made > limit {
            return Err(Error::Limit { limit, what: "bytes that are made anew of deltas" });
        }
        self.cache.put(index, content.clone());
        Ok(content)
    }
}

/// Reads a blob.
pub(crate) enum BlobReader {
    Stream(Box<Inflate>),
    Content(ContentReader),
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Stream(reader) => reader.read(buffer),
            Self::Content(reader) => reader.read(buffer),
        }
    }
}

/// Which deltas there are of each base.
struct Children {
    by_entry: Vec<(u32, u32)>,
    by_id: Vec<(ObjectId, u32)>,
}

impl Children {
    fn of(entries: &[Entry]) -> Self {
        let (mut by_entry, mut by_id) = (Vec::new(), Vec::new());
        for (child, entry) in (0..).zip(entries) {
            match &entry.base {
                Base::None => {}
                Base::Entry(base) => by_entry.push((*base, child)),
                Base::Id(base) => by_id.push((**base, child)),
            }
        }
        by_entry.sort_unstable();
        by_id.sort_unstable();
        Self { by_entry, by_id }
    }

    /// Adds those of one, with it.
    fn of_base(&self, base: u32, id: Option<ObjectId>, to: &mut Vec<(u32, u32)>) {
        let from = self.by_entry.partition_point(|(other, _)| *other < base);
        to.extend(self.by_entry[from..].iter().take_while(|(other, _)| *other == base));
        if let Some(id) = id {
            let from = self.by_id.partition_point(|(other, _)| *other < id);
            let named = self.by_id[from..].iter().take_while(|(other, _)| *other == id);
            to.extend(named.map(|(_, child)| (base, *child)));
        }
    }
}
