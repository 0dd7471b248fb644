//! The push parser: a state machine over blocks that never holds more than one entry.

use super::error::{Defect, Error, Field, Place};
use super::header::{Block, Header, ZERO, text};
use super::pax::{Records, Sparse};
use super::{BLOCK, Content, Device, Entry, EntryPath, Kind, Limits, sparse};

/// Reads an archive that arrives in pieces and hands each entry to a sink as soon as its header is complete,
/// before its data.
///
/// After an error, from the archive or from the sink, the parser must be dropped.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    /// Bytes taken so far.
    offset: u64,
    entries: u64,
    state: State,
    block: Block,
    filled: usize,
    /// Extension headers that wait for their entry.
    pending: Pending,
    global: Records,
    global_bytes: usize,
    /// Where the entry at hand starts, its extension headers included.
    start: u64,
    /// The name of the last entry whose name could be read.
    name: Option<Box<[u8]>>,
    /// Whether that is the entry at hand.
    named: bool,
}

/// What the next bytes are.
#[derive(Debug)]
enum State {
    /// A header, or the first block of the end mark.
    Header,
    /// The second block of the end mark.
    EndMark,
    /// Records or a long name of an extension header.
    Extension { kind: Extension, text: Vec<u8>, left: usize, padding: u64 },
    /// More items of an old GNU sparse map.
    OldSparse(Box<Draft>),
    /// A sparse map of format 1.0, in front of the data.
    TextSparse(Box<Draft>, sparse::TextMap),
    /// Data or padding, of no interest here.
    Skip { left: u64 },
    /// Whatever follows the end mark.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    Pax,
    PaxGlobal,
    LongName,
    LongLink,
}

/// What extension headers said of the entry that follows them.
#[derive(Debug, Default)]
struct Pending {
    any: bool,
    bytes: usize,
    records: Records,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

/// A file whose sparse map is not yet complete.
#[derive(Debug)]
struct Draft {
    entry: Entry,
    /// Bytes of data in the archive, not yet passed.
    stored: u64,
    /// From the end of this entry's data to the next header.
    padding: u64,
    real: u64,
    map: Vec<u64>,
}

/// What a whole archive was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many entries it has.
    pub entries: u64,
    /// How many bytes were pushed, with everything behind the end mark.
    pub bytes: u64,
    /// Whether the end mark was there. Without it an archive that was cut between two entries cannot be told
    /// from a whole one, so only an archive whose digest is checked may do without.
    pub terminated: bool,
}

impl Parser {
    /// A parser for one archive.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            offset: 0,
            entries: 0,
            state: State::Header,
            block: ZERO,
            filled: 0,
            pending: Pending::default(),
            global: Records::default(),
            global_bytes: 0,
            start: 0,
            name: None,
            named: false,
        }
    }

    /// Takes the next bytes of the archive and hands every entry that they complete to `sink`.
    ///
    /// # Errors
    /// The first defect of the archive, or the first error of the sink.
    pub fn push<E: From<Error>>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut dyn FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let taken = match &mut self.state {
                State::Skip { .. } | State::End => self.skip(bytes.len()),
                State::Extension { text, left, .. } => {
                    let taken = bytes.len().min(*left);
                    text.extend_from_slice(&bytes[..taken]);
                    *left -= taken;
                    self.offset += taken as u64;
                    self.finish_extension_if_complete().map_err(|defect| self.error(defect))?;
                    taken
                }
                State::Header | State::EndMark | State::OldSparse(_) | State::TextSparse(..) => {
                    let taken = bytes.len().min(self.block.len() - self.filled);
                    self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
                    self.filled += taken;
                    self.offset += taken as u64;
                    if self.filled == self.block.len() {
                        self.filled = 0;
                        self.take_block(sink)?;
                    }
                    taken
                }
            };
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// How many of the next bytes the parser would pass over without looking: data, padding, or (`None`)
    /// all the rest of the archive.
    #[must_use]
    pub fn skippable(&self) -> Option<u64> {
        match &self.state {
            State::Skip { left } => Some(*left),
            State::End => None,
            State::Header
            | State::EndMark
            | State::Extension { .. }
            | State::OldSparse(_)
            | State::TextSparse(..) => Some(0),
        }
    }

    /// Passes over at most `most` bytes that [`Parser::skippable`] allows; returns how many.
    pub fn skip(&mut self, most: usize) -> usize {
        let skipped = match &mut self.state {
            State::Skip { left } => {
                let skipped = usize::try_from(*left).map_or(most, |left| left.min(most));
                *left -= skipped as u64;
                if *left == 0 {
                    self.state = State::Header;
                }
                skipped
            }
            State::End => most,
            State::Header
            | State::EndMark
            | State::Extension { .. }
            | State::OldSparse(_)
            | State::TextSparse(..) => 0,
        };
        self.offset += skipped as u64;
        skipped
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// An archive that stops inside an entry.
    pub fn finish(self) -> Result<Summary, Error> {
        let missing = match &self.state {
            State::Header | State::EndMark if self.filled == 0 => 0,
            State::Header | State::EndMark | State::OldSparse(_) | State::TextSparse(..) => {
                (self.block.len() - self.filled) as u64
            }
            State::Extension { left, padding, .. } => *left as u64 + padding,
            State::Skip { left } => *left,
            State::End => 0,
        };
        if missing > 0 {
            return Err(self.error(Defect::Truncated { missing }));
        }
        if self.pending.any {
            return Err(self.error(Defect::ExtensionAlone));
        }
        let terminated = matches!(self.state, State::End);
        Ok(Summary { entries: self.entries, bytes: self.offset, terminated })
    }

    fn error(&self, defect: Defect) -> Error {
        // A header of which only a part has arrived belongs to an entry that was not yet begun.
        let begun = !matches!(self.state, State::Header) || self.filled == 0 || self.pending.any;
        let place = match &self.name {
            Some(name) if self.named && begun => Place::Entry(name.clone()),
            Some(name) => Place::After(name.clone()),
            None => Place::Start,
        };
        Error { place, offset: if begun { self.start } else { self.offset - self.filled as u64 }, defect }
    }

    fn take_block<E: From<Error>>(&mut self, sink: &mut dyn FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
        let block = self.block;
        let complete = match std::mem::replace(&mut self.state, State::Header) {
            State::Header => self.take_header(&block),
            State::EndMark if block == ZERO => {
                self.state = State::End;
                Ok(None)
            }
            State::EndMark => Err(Defect::LoneZeroBlock),
            State::OldSparse(draft) => self.take_old_map(draft, &block),
            State::TextSparse(draft, map) => self.take_text_map(draft, map, &block),
            // These take bytes, not blocks.
            state @ (State::Extension { .. } | State::Skip { .. } | State::End) => {
                self.state = state;
                Ok(None)
            }
        };
        match complete.map_err(|defect| self.error(defect))? {
            Some(entry) => sink(entry),
            None => Ok(()),
        }
    }

    fn take_header(&mut self, block: &Block) -> Result<Option<Entry>, Defect> {
        if !self.pending.any {
            self.start = self.offset - BLOCK;
            self.named = false;
        }
        if *block == ZERO {
            self.state = State::EndMark;
            return if self.pending.any { Err(Defect::ExtensionAlone) } else { Ok(None) };
        }
        let header = Header::new(block)?;
        let extension = match header.kind() {
            b'x' | b'X' => Extension::Pax,
            b'g' => Extension::PaxGlobal,
            b'L' => Extension::LongName,
            b'K' => Extension::LongLink,
            // A volume label names the archive, not an entry.
            b'V' => {
                let size = self.file_bytes(header.size()?)?;
                self.skip_over(size + padding(size));
                return Ok(None);
            }
            _ => return self.take_entry(&header),
        };
        self.begin_extension(extension, header.size()?).map(|()| None)
    }

    fn begin_extension(&mut self, kind: Extension, size: u64) -> Result<(), Defect> {
        let (used, limit, what) = match kind {
            Extension::PaxGlobal => {
                (&mut self.global_bytes, self.limits.global_bytes, "the size of global PAX headers")
            }
            Extension::Pax | Extension::LongName | Extension::LongLink => {
                self.pending.any = true;
                (&mut self.pending.bytes, self.limits.extension_bytes, "the size of extension headers")
            }
        };
        let left = usize::try_from(size).unwrap_or(usize::MAX);
        *used = used.saturating_add(left);
        if *used > limit {
            return Err(Defect::Limit { what, limit: limit as u64 });
        }
        // Grown as the bytes arrive: a header may promise much and deliver little.
        self.state = State::Extension { kind, text: Vec::new(), left, padding: padding(size) };
        self.finish_extension_if_complete()
    }

    fn finish_extension_if_complete(&mut self) -> Result<(), Defect> {
        let State::Extension { kind, text: content, left: 0, padding } = &mut self.state else {
            return Ok(());
        };
        let (kind, content, padding) = (*kind, std::mem::take(content), *padding);
        self.skip_over(padding);
        match kind {
            Extension::Pax => self.pending.records.add(&content, &self.limits)?,
            Extension::PaxGlobal => {
                self.global.add(&content, &self.limits)?;
                self.global.check_global()?;
            }
            Extension::LongName => self.pending.long_name = Some(text(&content).to_vec()),
            Extension::LongLink => self.pending.long_link = Some(text(&content).to_vec()),
        }
        Ok(())
    }

    fn take_entry(&mut self, header: &Header<'_>) -> Result<Option<Entry>, Defect> {
        let Pending { records, long_name, long_link, .. } = std::mem::take(&mut self.pending);
        let mut records = records.over(&self.global);
        let sparse = std::mem::take(&mut records.sparse);
        let name = long_name.or_else(|| sparse.name.clone()).or(records.path.take());
        let name = name.unwrap_or_else(|| header.name());
        self.name = Some(name.as_slice().into());
        self.named = true;
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Defect::Limit { what: "the number of entries", limit: self.limits.entries });
        }

        let path = EntryPath::from_name(&name, &self.limits)?;
        let stored = match (header.kind(), records.size) {
            // Nothing follows these, whatever their size field says: it held allocation hints once.
            (b'1'..=b'6', _) => 0,
            (_, Some(size)) => self.file_bytes(size)?,
            (_, None) => self.file_bytes(header.size()?)?,
        };
        let kind = match header.kind() {
            // V7 had no type for directories; a slash at the end told.
            0 | b'0' | b'7' if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File(Content::contiguous(self.offset, stored)),
            b'1' => Kind::Hardlink(EntryPath::from_link_target(
                &self.link_target(header, long_link, records.link_target.take())?,
                &self.limits,
            )?),
            b'2' => Kind::Symlink(self.link_target(header, long_link, records.link_target.take())?.into()),
            b'3' => match header.device()? {
                Device { major: 0, minor: 0 } => return Err(Defect::WhiteoutDevice),
                device => Kind::CharDevice(device),
            },
            b'4' => Kind::BlockDevice(header.device()?),
            // GNU's incremental dumps list a directory's names as its data.
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(Defect::UnsupportedType(other)),
        };
        if path.is_root() && kind != Kind::Directory {
            return Err(Defect::RootNotDirectory);
        }
        let entry = Entry {
            path,
            offset: self.start,
            mode: header.mode()?,
            uid: records.uid.map_or_else(|| header.uid(), Ok)?,
            gid: records.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: records.mtime.map_or_else(|| header.mtime(), Ok)?,
            xattrs: records.xattrs,
            kind,
        };
        if !matches!(entry.kind, Kind::File(_)) {
            self.skip_over(stored + padding(stored));
            return Ok(Some(entry));
        }
        self.take_file(header, entry, sparse, stored)
    }

    /// A regular file, which may have a sparse map in one of four places.
    fn take_file(
        &mut self,
        header: &Header<'_>,
        entry: Entry,
        sparse: Sparse,
        stored: u64,
    ) -> Result<Option<Entry>, Defect> {
        let draft = |real, map| Draft { entry, stored, padding: padding(stored), real, map };
        if header.kind() == b'S' {
            let mut map = Vec::new();
            let (items, more) = header.sparse_map();
            sparse::add_old_items(items, &mut map, &self.limits)?;
            let draft = draft(self.file_bytes(header.real_size()?)?, map);
            return self.old_map_taken(Box::new(draft), more);
        }
        let real = sparse.real_size.map(|real| self.file_bytes(real)).transpose()?;
        match (sparse.major, real) {
            (None, None) if !sparse.mapped => self.finish_file(draft(stored, vec![0, stored])),
            (None | Some(0), Some(real)) if sparse.mapped => self.finish_file(draft(real, sparse.map)),
            (Some(1), Some(real)) => {
                self.await_text_map(Box::new(draft(real, Vec::new())), sparse::TextMap::default())
            }
            (None | Some(0), _) => Err(Defect::SparseMap("it lacks the map or the real size")),
            (Some(_), _) => Err(Defect::SparseMap("its format is unknown, or it lacks the real size")),
        }
    }

    fn take_old_map(&mut self, mut draft: Box<Draft>, block: &Block) -> Result<Option<Entry>, Defect> {
        let before = draft.map.len();
        sparse::add_old_items(&block[..504], &mut draft.map, &self.limits)?;
        if draft.map.len() == before {
            return Err(Defect::SparseMap("a block of it holds no piece, so it might never end"));
        }
        self.old_map_taken(draft, block[504] != 0)
    }

    fn old_map_taken(&mut self, draft: Box<Draft>, more: bool) -> Result<Option<Entry>, Defect> {
        if more {
            self.state = State::OldSparse(draft);
            return Ok(None);
        }
        self.finish_file(*draft)
    }

    fn take_text_map(
        &mut self,
        mut draft: Box<Draft>,
        mut text: sparse::TextMap,
        block: &Block,
    ) -> Result<Option<Entry>, Defect> {
        draft.stored -= BLOCK;
        match text.add(block, &self.limits)? {
            Some(map) => {
                draft.map = map;
                self.finish_file(*draft)
            }
            None => self.await_text_map(draft, text),
        }
    }

    fn await_text_map(&mut self, draft: Box<Draft>, text: sparse::TextMap) -> Result<Option<Entry>, Defect> {
        if draft.stored < BLOCK {
            return Err(Defect::SparseMap("it does not end within the stored data"));
        }
        self.state = State::TextSparse(draft, text);
        Ok(None)
    }

    /// The map is complete and the data comes next.
    fn finish_file(&mut self, draft: Draft) -> Result<Option<Entry>, Defect> {
        let Draft { mut entry, stored, padding, real, map } = draft;
        entry.kind = Kind::File(sparse::content(&map, self.offset, stored, real)?);
        self.skip_over(stored + padding);
        Ok(Some(entry))
    }

    fn link_target(
        &self,
        header: &Header<'_>,
        long: Option<Vec<u8>>,
        record: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Defect> {
        let target = long.or(record).unwrap_or_else(|| header.link_target().to_vec());
        match target.len() {
            0 => Err(Defect::NoTarget),
            length if length > self.limits.path_bytes => Err(Defect::Limit {
                what: "the length of a link target",
                limit: self.limits.path_bytes as u64,
            }),
            _ if target.contains(&0) => Err(Defect::NulByte(Field::LinkTarget)),
            _ => Ok(target),
        }
    }

    fn file_bytes(&self, size: u64) -> Result<u64, Defect> {
        if size > self.limits.file_bytes {
            return Err(Defect::Limit { what: "the size of a file", limit: self.limits.file_bytes });
        }
        Ok(size)
    }

    fn skip_over(&mut self, left: u64) {
        self.state = if left == 0 { State::Header } else { State::Skip { left } };
    }
}

/// Bytes from the end of `size` bytes of data to the next block.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK) - size
}
