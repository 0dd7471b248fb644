//! The contents of objects that were used last, as many as there is room for.

use std::collections::{BTreeMap, HashMap};

use super::content::Content;

/// Bytes of bases that are kept in memory, and how many that lie in files.
const CACHE_LIMIT: u64 = 64 << 20;
const CACHE_FILES: usize = 4;
/// What an entry of the cache takes beside its content.
const CACHE_ENTRY: u64 = 256;
/// Contents that were used last.
#[derive(Debug, Default)]
pub(super) struct Cache {
    contents: HashMap<u32, (Content, u64)>,
    by_turn: BTreeMap<u64, u32>,
    turn: u64,
    bytes: u64,
    files: usize,
}

impl Cache {
    pub(super) fn get(&mut self, index: u32) -> Option<Content> {
        let (content, turn) = self.contents.get_mut(&index)?;
        self.by_turn.remove(turn);
        self.turn += 1;
        *turn = self.turn;
        self.by_turn.insert(self.turn, index);
        Some(content.clone())
    }

    pub(super) fn put(&mut self, index: u32, content: Content) {
        match &content {
            Content::Memory(bytes) => self.bytes += bytes.len() as u64 + CACHE_ENTRY,
            Content::File(..) => self.files += 1,
        }
        self.turn += 1;
        self.by_turn.insert(self.turn, index);
        if let Some((old, turn)) = self.contents.insert(index, (content, self.turn)) {
            self.by_turn.remove(&turn);
            self.forget(&old);
        }
        while self.bytes > CACHE_LIMIT || self.files > CACHE_FILES {
            let Some((_, oldest)) = self.by_turn.pop_first() else { break };
            if let Some((old, _)) = self.contents.remove(&oldest) {
                self.forget(&old);
            }
        }
    }

    fn forget(&mut self, content: &Content) {
        match content {
            Content::Memory(bytes) => self.bytes -= bytes.len() as u64 + CACHE_ENTRY,
            Content::File(..) => self.files -= 1,
        }
    }
}
