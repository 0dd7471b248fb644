//! What is known of nodes that no target needed.
//!
//! A target that is found needs nothing of what it was made of, so a build may end without a word about most of its graph. Who hands the
//! cache on needs all of it: on another machine one file may differ, and then those before it are needed. So each node is asked for by
//! the keys that can be told without its files, those upon what is below it first; inputs have lower numbers, so one way up is enough.

use dockerfile::lower::Op;

use super::Schedule;
use crate::{Cache, Key, Record};

impl<T: Clone, E: std::error::Error + Send + 'static> Schedule<'_, T, E> {
    /// Asks a cache for all that was not needed.
    pub(crate) fn survey<C: Cache<Error = E>>(&mut self, cache: &C) -> Result<(), E> {
        for node in 0..self.slots.len() {
            if !self.reach.needed[node] || self.slot(node).result.is_some() || self.slot(node).tree.is_some()
            {
                continue;
            }
            let Some(record) = self.recorded(node, cache)? else { continue };
            self.name(node, &record);
            self.slot_mut(node).record = Some(record);
        }
        Ok(())
    }

    fn recorded<C: Cache<Error = E>>(&self, node: usize, cache: &C) -> Result<Option<Record>, E> {
        let Some(lowered) = self.graph.nodes().get(node) else { return Ok(None) };
        if let (Op::Merge, [_, layer]) = (&lowered.op, lowered.inputs.as_slice()) {
            return Ok(self.slot(*layer).record.clone());
        }
        let (mut look, mut keep): (Vec<Key>, Vec<Key>) = (Vec::new(), Vec::new());
        self.keys(node, true, &mut look, &mut keep);
        for key in look {
            if let Some(record) = cache.find(&key)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}
