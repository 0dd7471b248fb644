//! Who needs whose tree, and what a node is defined by: how news of one node reach those that use it, without recursion.

use dockerfile::lower::Op;

use super::Schedule;
use super::slot::{Definition, Wait};
use crate::queue::Next;
use crate::{Event, Key};

impl<T: Clone, E: std::error::Error> Schedule<'_, T, E> {
    /// A node's tree is needed.
    pub(super) fn want(&mut self, node: usize) {
        let mut left = vec![node];
        while let Some(node) = left.pop() {
            if self.slot(node).wait != Wait::Unwanted {
                continue;
            }
            let inputs = &self.graph.nodes()[node].inputs;
            let Some(base) = inputs.first() else {
                self.slot_mut(node).wait = Wait::All;
                // What is here, or was not looked for yet, comes by itself.
                if self.slot(node).tree.is_none() && self.slot(node).definition != Definition::Open(0) {
                    self.queues.look(node, Next::Look);
                }
                continue;
            };
            self.slot_mut(node).wait = Wait::Undecided;
            self.slot_mut(node).missing = usize::from(self.slot(*base).tree.is_none());
            left.push(*base);
            self.choose(node, &mut left);
        }
    }

    /// Decides for how many inputs a node waits, if that can be told; asks the cache otherwise.
    fn choose(&mut self, node: usize, wanted: &mut Vec<usize>) {
        let nodes = self.graph.nodes();
        let surely = nodes[node].inputs.iter().skip(1).all(|input| self.slot(*input).tree.is_some())
            || nodes[node].op == Op::Merge
            || self.reach.tainted[node]
            || self.slot(node).definition == Definition::Nameless;
        if surely {
            self.wait_for_all(node, wanted);
        } else if matches!(self.slot(node).definition, Definition::Known(_)) {
            self.queues.look(node, Next::Hint);
        }
    }

    /// The cache knows a node's definition: its base is enough.
    pub(super) fn wait_for_base(&mut self, node: usize) {
        self.slot_mut(node).wait = Wait::Base;
        self.look_if_complete(node);
    }

    /// All of a node's inputs are needed.
    pub(super) fn gather(&mut self, node: usize) {
        let mut wanted = Vec::new();
        self.wait_for_all(node, &mut wanted);
        wanted.into_iter().for_each(|node| self.want(node));
    }

    fn wait_for_all(&mut self, node: usize, wanted: &mut Vec<usize>) {
        let inputs = &self.graph.nodes()[node].inputs;
        let missing = inputs.iter().filter(|input| self.slot(**input).tree.is_none());
        let count = missing.clone().count();
        wanted.extend(missing.copied());
        let slot = self.slot_mut(node);
        slot.wait = Wait::All;
        slot.missing = count;
        self.look_if_complete(node);
    }

    fn look_if_complete(&mut self, node: usize) {
        let slot = self.slot(node);
        if slot.missing == 0 && matches!(slot.wait, Wait::Base | Wait::All) {
            if self.seeks(node) {
                self.slot_mut(node).held = true;
            } else {
                self.queues.look(node, Next::Look);
            }
        }
    }

    /// Whether what a node takes of files without a name is being looked at, or will be: it is not looked for meanwhile.
    fn seeks(&self, node: usize) -> bool {
        let is_taken = |input: &usize| {
            let slot = self.slot(*input);
            slot.definition == Definition::Nameless && slot.tree.is_some()
        };
        let inputs = &self.graph.nodes()[node].inputs;
        matches!(self.slot(node).definition, Definition::Open(_) | Definition::Sought)
            && inputs.iter().skip(1).any(is_taken)
    }

    /// A node's tree is here: tells those that wait for it.
    pub(super) fn arrived(&mut self, node: usize) {
        for edge in self.reach.users(node) {
            let user = self.reach.user(edge);
            let slot = self.slot_mut(user.node);
            let waits = match slot.wait {
                Wait::Unwanted => false,
                Wait::Undecided | Wait::Base => user.stands_on,
                Wait::All => true,
            };
            if waits {
                slot.missing -= 1;
                self.look_if_complete(user.node);
            }
        }
        self.release(node);
    }

    /// A node is defined, by a key or by nothing that has a name.
    pub(super) fn define(&mut self, node: usize, definition: Definition) {
        self.slot_mut(node).definition = definition;
        let mut left = vec![node];
        while let Some(node) = left.pop() {
            for edge in self.reach.users(node) {
                let user = self.reach.user(edge).node;
                let Definition::Open(open) = self.slot(user).definition else { continue };
                // What is made of such files will be there later than those who need its definition.
                let is_lost = self.slot(node).definition == Definition::Nameless
                    && (self.reach.user(edge).stands_on || self.slot(node).tree.is_none());
                let definition = match open {
                    _ if is_lost => Definition::Nameless,
                    2.. => Definition::Open(open - 1),
                    _ => self.definition_of(user),
                };
                self.slot_mut(user).definition = definition.clone();
                match definition {
                    Definition::Open(_) => {}
                    Definition::Sought => self.queues.look(user, Next::Define),
                    Definition::Nameless | Definition::Known(_) => {
                        left.push(user);
                        self.defined(user);
                    }
                }
            }
        }
    }

    fn definition_of(&self, node: usize) -> Definition {
        let inputs = &self.graph.nodes()[node].inputs;
        match self.defined_by(node, inputs) {
            Some(keys) => Definition::Known(Key::definition(&self.slot(node).effect, keys)),
            None => Definition::Sought,
        }
    }

    /// What some of a node's inputs are defined by, each at its place, and last what it takes of those without a name. None if one of them
    /// has neither.
    pub(super) fn defined_by(&self, node: usize, inputs: &[usize]) -> Option<Vec<&str>> {
        let taken = self.slot(node).taken.as_ref();
        let mut keys = Vec::with_capacity(inputs.len() + 1);
        let mut is_taken = false;
        for input in inputs {
            match &self.slot(*input).definition {
                Definition::Known(key) => keys.push(key.as_str()),
                Definition::Nameless if taken.is_some() => {
                    keys.push("");
                    is_taken = true;
                }
                Definition::Open(_) | Definition::Sought | Definition::Nameless => return None,
            }
        }
        keys.extend(taken.filter(|_| is_taken).map(Key::as_str));
        Some(keys)
    }

    /// The inputs of a node that have no name, each at its place, and whether all others are there.
    pub(super) fn nameless(&self, node: usize) -> (Vec<Option<T>>, bool) {
        let inputs = &self.graph.nodes()[node].inputs;
        let given = |input: &usize| match self.slot(*input).definition {
            Definition::Nameless => self.slot(*input).tree.clone(),
            Definition::Open(_) | Definition::Sought | Definition::Known(_) => None,
        };
        let is_whole = inputs.iter().all(|input| self.slot(*input).tree.is_some());
        (inputs.iter().map(given).collect(), is_whole)
    }

    /// What a node takes of inputs without a name is known, or nobody can tell.
    pub(super) fn sought(&mut self, node: usize, taken: Option<Key>) {
        let slot = self.slot_mut(node);
        let could_be = taken.is_some();
        slot.taken = taken;
        let definition = if could_be { self.definition_of(node) } else { Definition::Nameless };
        // It first: those that it tells of it may want it, which is to choose for it once more.
        self.slot_mut(node).definition = definition.clone();
        self.defined(node);
        self.define(node, definition);
    }

    /// A node that had to wait for its definition does so no more.
    fn defined(&mut self, node: usize) {
        if std::mem::take(&mut self.slot_mut(node).held) {
            self.queues.look(node, Next::Look);
        }
        if self.slot(node).wait == Wait::Undecided {
            let mut wanted = Vec::new();
            self.choose(node, &mut wanted);
            wanted.into_iter().for_each(|node| self.want(node));
        }
    }

    /// A node needs its inputs no more. Sources that were looked for, and that nobody fetches then, are done with; so are steps that
    /// nobody needed, which are told of from the first to the last.
    fn release(&mut self, node: usize) {
        let (mut left, mut gone) = (vec![node], Vec::new());
        while let Some(node) = left.pop() {
            for input in &self.graph.nodes()[node].inputs {
                let is_target = self.is_target[*input];
                let slot = self.slot_mut(*input);
                slot.users -= 1;
                if slot.users == 0 && !is_target && slot.wait == Wait::Unwanted {
                    gone.push(*input);
                    left.push(*input);
                }
            }
        }
        gone.sort_unstable();
        gone.into_iter().for_each(|node| self.forget(node));
    }

    /// What was looked for is not fetched, and what is known is not needed.
    pub(super) fn forget(&mut self, node: usize) {
        let slot = self.slot_mut(node);
        // Who is still looked for begins when he was found.
        let is_found = matches!(slot.definition, Definition::Nameless | Definition::Known(_));
        if slot.closed || !(slot.started || is_found) {
            return;
        }
        slot.closed = true;
        if !slot.started {
            slot.started = true;
            self.news.push(Event::Started { node });
        }
        self.news.push(Event::Cached { node });
    }
}
