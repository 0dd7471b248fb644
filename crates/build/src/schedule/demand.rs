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
            self.queues.look(node, Next::Look);
        }
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
                let definition = match (&self.slot(node).definition, open) {
                    (Definition::Nameless, _) => Definition::Nameless,
                    (Definition::Known(_) | Definition::Open(_), 2..) => Definition::Open(open - 1),
                    (Definition::Known(_) | Definition::Open(_), _) => self.definition_of(user),
                };
                let defined = !matches!(definition, Definition::Open(_));
                self.slot_mut(user).definition = definition;
                if defined {
                    left.push(user);
                    self.defined(user);
                }
            }
        }
    }

    fn definition_of(&self, node: usize) -> Definition {
        let inputs = &self.graph.nodes()[node].inputs;
        let keys: Option<Vec<&str>> = inputs
            .iter()
            .map(|input| match &self.slot(*input).definition {
                Definition::Known(key) => Some(key.as_str()),
                Definition::Open(_) | Definition::Nameless => None,
            })
            .collect();
        match keys {
            Some(keys) => Definition::Known(Key::definition(&self.slot(node).effect, keys)),
            None => Definition::Nameless,
        }
    }

    /// A node that had to wait for its definition does so no more.
    fn defined(&mut self, node: usize) {
        if self.slot(node).wait == Wait::Undecided {
            let mut wanted = Vec::new();
            self.choose(node, &mut wanted);
            wanted.into_iter().for_each(|node| self.want(node));
        }
    }

    /// A node needs its inputs no more. Sources that were looked for, and that nobody fetches then, are done with.
    fn release(&mut self, node: usize) {
        let mut left = vec![node];
        while let Some(node) = left.pop() {
            for input in &self.graph.nodes()[node].inputs {
                let is_target = self.is_target[*input];
                let slot = self.slot_mut(*input);
                slot.users -= 1;
                if slot.users == 0 && !is_target && slot.wait == Wait::Unwanted {
                    self.forget(*input);
                    left.push(*input);
                }
            }
        }
    }

    /// What was looked for is not fetched.
    pub(super) fn forget(&mut self, node: usize) {
        let slot = self.slot_mut(node);
        if slot.started && !slot.closed {
            slot.closed = true;
            self.news.push(Event::Cached { node });
        }
    }
}
