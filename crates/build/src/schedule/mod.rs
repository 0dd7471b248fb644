//! Which job is next: all that is known of a build, without threads.
//!
//! Whoever has nothing to do asks for a job ([`Schedule::next`]), does it, and reports ([`Schedule::report`]). Each node and each edge is
//! looked at a few times, whatever the graph looks like.
//!
//! A record that is known by a node's definition may have been made upon another base than the one which is there: the base's layer was
//! lost, say, and came out differently when it was made again. So a definition only tells that the other inputs can wait. What counts is
//! the key of the definition *upon the tree that is there*, and a layer never comes to lie on what it was not made for.

mod demand;
mod slot;
mod survey;

use std::collections::HashMap;

use dockerfile::lower::{Graph, Op};

use self::slot::{Definition, Slot, Wait};
use crate::job::{Inputs, Job, Outcome, Report, Task};
use crate::queue::{Next, Place, Queues};
use crate::reach::Reach;
use crate::solve::Salt;
use crate::{Cancel, Event, Failure, Key, Record, Source};

/// Who makes something of a content that several nodes have in common.
enum Flight {
    /// One of them does; these wait.
    Under(Vec<usize>),
    /// One of them has.
    Landed(Record),
}

/// A build under way.
pub(crate) struct Schedule<'g, T, E: std::error::Error + 'static> {
    graph: &'g Graph,
    reach: Reach,
    slots: Vec<Slot<T>>,
    is_target: Vec<bool>,
    /// Targets that are not there yet.
    open: usize,
    queues: Queues,
    /// By whether it is done anew, and the key.
    flights: HashMap<(bool, Key), Flight>,
    /// What the watch is to be told, once nobody holds the schedule.
    news: Vec<Event<'static>>,
    failure: Option<Failure<E>>,
    caller: &'g Cancel,
    /// For all who work on it.
    pub(crate) cancel: Cancel,
}

impl<'g, T: Clone, E: std::error::Error + 'static> Schedule<'g, T, E> {
    pub(crate) fn new(
        graph: &'g Graph,
        targets: &[usize],
        reach: Reach,
        (programs, salt): (usize, &Salt<'_>),
        caller: &'g Cancel,
    ) -> Self {
        let nodes = graph.nodes();
        let slot = |(number, node): (usize, &dockerfile::lower::Node)| {
            let users = reach.users(number).len();
            // Nobody asks for the rest.
            let effect = if reach.needed[number] { Key::effect(&node.op, salt) } else { node.digest.clone() };
            Slot::new(effect, node.inputs.len(), users)
        };
        let slots = nodes.iter().enumerate().map(slot).collect();
        let mut is_target = vec![false; nodes.len()];
        targets.iter().for_each(|target| is_target[*target] = true);
        let mut schedule = Self {
            graph,
            reach,
            slots,
            open: is_target.iter().filter(|is| **is).count(),
            is_target,
            queues: Queues::new(programs),
            flights: HashMap::new(),
            news: Vec::new(),
            failure: None,
            caller,
            cancel: caller.child(),
        };
        targets.iter().for_each(|target| schedule.want(*target));
        let sources = |node: &usize| schedule.reach.needed[*node] && nodes[*node].inputs.is_empty();
        let sources: Vec<usize> = (0..nodes.len()).filter(sources).collect();
        // The first ones are looked for first.
        sources.into_iter().rev().for_each(|node| schedule.queues.look(node, Next::Source));
        schedule
    }

    fn slot(&self, node: usize) -> &Slot<T> {
        &self.slots[node]
    }

    fn slot_mut(&mut self, node: usize) -> &mut Slot<T> {
        &mut self.slots[node]
    }

    /// How many threads find something to do at most.
    pub(crate) fn most_threads(&self) -> usize {
        self.queues.most_threads()
    }

    /// Whether there is nothing left to do, and nobody does anything.
    pub(crate) fn is_over(&self) -> bool {
        (self.open == 0 || self.failure.is_some()) && self.queues.is_idle()
    }

    /// Whether nothing has failed.
    pub(crate) fn is_well(&self) -> bool {
        self.failure.is_none()
    }

    /// Whether nobody does anything, and nobody could: never, unless this file is wrong.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.is_over() && self.queues.is_idle() && !self.queues.has_next()
    }

    /// Whether somebody else could be of use.
    pub(crate) fn has_next(&self) -> bool {
        self.failure.is_none() && self.open > 0 && self.queues.has_next()
    }

    /// Something to do, and the place that it takes.
    pub(crate) fn next(&mut self) -> Option<(Job<T>, Place)> {
        if self.failure.is_none() && self.open > 0 && self.caller.is_cancelled() {
            self.fail(Failure::Cancelled);
        }
        if self.failure.is_some() || self.open == 0 {
            return None;
        }
        let (node, next, place) = self.queues.take()?;
        let task = self.task(node, next);
        let slot = self.slot(node);
        Some((Job { node, task, started: slot.started, ran: slot.ran }, place))
    }

    fn task(&mut self, node: usize, next: Next) -> Task<T> {
        match next {
            Next::Source => Task::Source,
            Next::Define => {
                let (given, is_whole) = self.nameless(node);
                Task::Define(given, is_whole)
            }
            Next::Hint => match &self.slot(node).definition {
                Definition::Known(key) => Task::Hint(key.clone()),
                Definition::Open(_) | Definition::Sought | Definition::Nameless => {
                    Task::Look(self.inputs(node))
                }
            },
            Next::Look => self.merged(node).unwrap_or_else(|| Task::Look(self.inputs(node))),
            Next::Adopt(record) => Task::Adopt(self.inputs(node), record),
            Next::Claim => match self.slot(node).content.clone() {
                Some(key) => Task::Claim(self.inputs(node), key),
                None => Task::Look(self.inputs(node)),
            },
            Next::Perform => {
                let claim = self.slot_mut(node).claim.take();
                Task::Perform(self.inputs(node), claim)
            }
        }
    }

    /// A layer that was made for itself, upon another tree.
    fn merged(&self, node: usize) -> Option<Task<T>> {
        let node = &self.graph.nodes()[node];
        let [base, layer] = node.inputs.as_slice() else { return None };
        let (tree, made) = (self.slot(*base).tree.clone()?, self.slot(*layer));
        let record = made.record.clone().filter(|_| node.op == Op::Merge)?;
        Some(Task::Merge { base: tree, layer: *layer, record, cached: made.cached })
    }

    fn inputs(&self, node: usize) -> Inputs<T> {
        let slot = self.slot(node);
        let whole = slot.wait == Wait::All;
        let wanted = self.graph.nodes()[node].inputs.iter().take(if whole { usize::MAX } else { 1 });
        let trees = wanted.filter_map(|input| self.slot(*input).tree.clone()).collect();
        let (mut look, mut keep) = (Vec::new(), Vec::new());
        self.keys(node, whole, &mut look, &mut keep);
        keep.extend(slot.content.clone());
        keep.dedup();
        let anew = self.reach.anew[node];
        if anew {
            look.clear();
        }
        Inputs { trees, whole, anew, look, keep }
    }

    /// The keys of a node that are known without a look at contents: to look for, and to keep.
    fn keys(&self, node: usize, whole: bool, look: &mut Vec<Key>, keep: &mut Vec<Key>) {
        let slot = self.slot(node);
        let definition = |node: &usize| match &self.slot(*node).definition {
            Definition::Known(key) => Some(key),
            Definition::Open(_) | Definition::Sought | Definition::Nameless => None,
        };
        let inputs = self.graph.nodes()[node].inputs.as_slice();
        let Some((base, others)) = inputs.split_first() else {
            keep.extend(definition(&node).cloned());
            look.clone_from(keep);
            return;
        };
        // Where nothing else has to be made, the tree of the base is all that counts.
        if others.iter().any(|input| definition(input).is_some()) {
            keep.extend(definition(&node).cloned());
        }
        let defined = self.defined_by(node, others);
        if let (Some(base), Some(others_defined)) = (&self.slot(*base).result, defined) {
            let key = Key::upon(&slot.effect, base, others_defined);
            // What was made of an input that is made anew is not what would be made of it now.
            if !others.iter().any(|input| self.reach.tainted[*input]) {
                look.push(key.clone());
            }
            keep.push(key);
        }
        let results: Option<Vec<&Key>> =
            inputs.iter().map(|input| self.slot(*input).result.as_ref()).collect();
        if let Some(results) = results.filter(|_| whole && !others.is_empty()) {
            let key = Key::trees(&slot.effect, results);
            look.push(key.clone());
            keep.push(key);
        }
    }

    /// A job is done.
    pub(crate) fn report(&mut self, report: Report<T, E>, place: Place) {
        let Report { node, started, ran, outcome } = report;
        self.queues.leave(place);
        let slot = self.slot_mut(node);
        (slot.started, slot.ran) = (started, ran);
        match outcome {
            Ok(outcome) => self.proceed(node, outcome),
            Err(failure) => {
                let cancelled = self.cancel.is_cancelled();
                self.close(node, cancelled);
                self.fail(if self.caller.is_cancelled() { Failure::Cancelled } else { failure });
            }
        }
    }

    fn proceed(&mut self, node: usize, outcome: Outcome<T>) {
        match outcome {
            Outcome::Source(source) => self.found(node, source),
            Outcome::Defined(taken) => self.sought(node, taken),
            Outcome::Hint(true) => self.wait_for_base(node),
            Outcome::Hint(false) | Outcome::Unknown => self.gather(node),
            Outcome::Unmade(key) => self.take_off(node, key),
            Outcome::Gone => {
                if let Some(key) = self.slot(node).content.clone() {
                    let flight = (self.reach.anew[node], key.clone());
                    if matches!(self.flights.get(&flight), Some(Flight::Landed(_))) {
                        self.flights.remove(&flight);
                    }
                    self.take_off(node, key);
                }
            }
            Outcome::Claimed(claim) => {
                self.slot_mut(node).claim = Some(claim);
                self.perform(node);
            }
            Outcome::Made { tree, record, cached } => self.made(node, tree, record, cached),
            Outcome::Stopped => self.fail(Failure::Cancelled),
        }
    }

    fn found(&mut self, node: usize, source: Source<T>) {
        let (tree, identity) = match source {
            Source::Here { tree, identity } => (Some(tree), identity),
            Source::There { identity } => (None, Some(identity)),
        };
        let slot = self.slot_mut(node);
        let key = identity.map(|identity| Key::definition(&slot.effect, [identity.as_str()]));
        let is_here = tree.is_some();
        if is_here {
            (slot.tree, slot.result, slot.closed) = (tree, key.clone(), true);
        }
        // First that it is here: whoever learns of its definition must not begin to wait for it. But who takes files without a name begins
        // with these.
        let definition = key.map_or(Definition::Nameless, Definition::Known);
        self.slot_mut(node).definition = definition.clone();
        if is_here {
            self.complete(node);
        }
        self.define(node, definition);
        let slot = self.slot(node);
        match (is_here, slot.wait) {
            (true, _) => {}
            (false, Wait::Unwanted) if slot.users == 0 => self.forget(node),
            (false, Wait::Unwanted) => {}
            (false, Wait::Undecided | Wait::Base | Wait::All) => self.queues.look(node, Next::Look),
        }
    }

    /// What has this content is to be made: by this node, unless another is about it.
    fn take_off(&mut self, node: usize, key: Key) {
        let anew = self.reach.anew[node];
        self.slot_mut(node).content = Some(key.clone());
        match self.flights.get_mut(&(anew, key.clone())) {
            Some(Flight::Under(waiting)) => waiting.push(node),
            Some(Flight::Landed(record)) => {
                let record = record.clone();
                self.queues.look(node, Next::Adopt(record));
            }
            None => {
                self.flights.insert((anew, key), Flight::Under(Vec::new()));
                // What is done anew is not shared with other builds, so none of them is to wait for it.
                if anew {
                    self.perform(node);
                } else {
                    let program = matches!(self.graph.nodes()[node].op, Op::Run(_));
                    self.queues.claim(node, self.reach.rank[node], program);
                }
            }
        }
    }

    fn perform(&mut self, node: usize) {
        let program = matches!(self.graph.nodes()[node].op, Op::Run(_));
        self.queues.perform(node, self.reach.rank[node], program);
    }

    fn made(&mut self, node: usize, tree: T, record: Record, cached: bool) {
        if let Some(key) = self.slot(node).content.clone() {
            let landed = Flight::Landed(record.clone());
            if let Some(Flight::Under(waiting)) = self.flights.insert((self.reach.anew[node], key), landed) {
                waiting.into_iter().for_each(|other| self.queues.look(other, Next::Adopt(record.clone())));
            }
        }
        self.name(node, &record);
        let slot = self.slot_mut(node);
        (slot.tree, slot.record, slot.cached) = (Some(tree), Some(record), cached);
        slot.closed = true;
        self.complete(node);
    }

    /// What a node's tree is, once its layer is known.
    fn name(&mut self, node: usize, record: &Record) {
        let base = self.graph.nodes()[node].inputs.first();
        self.slot_mut(node).result = match base.map(|base| &self.slot(*base).result) {
            // Upon files without a name there is none either.
            Some(None) => None,
            Some(Some(base)) => Some(Key::tree(Some(base), &record.layer)),
            None => Some(Key::tree(None, &record.layer)),
        };
    }

    /// A node's tree is here.
    fn complete(&mut self, node: usize) {
        if self.is_target[node] {
            self.open -= 1;
        }
        self.arrived(node);
    }

    fn close(&mut self, node: usize, cancelled: bool) {
        let slot = self.slot_mut(node);
        if slot.started && !slot.closed {
            slot.closed = true;
            let ran = slot.ran;
            self.news.push(Event::Ended { node, ran, cancelled });
        }
    }

    /// The build ends; the first failure is the one that counts.
    pub(crate) fn fail(&mut self, failure: Failure<E>) {
        self.cancel.cancel();
        self.queues.clear();
        self.failure.get_or_insert(failure);
    }

    /// What the watch is to be told.
    pub(crate) fn news(&mut self) -> Vec<Event<'static>> {
        std::mem::take(&mut self.news)
    }

    /// How it ended, and what the watch is to be told last.
    pub(crate) fn finish(mut self, targets: &[usize]) -> (Result<Vec<T>, Failure<E>>, Vec<Event<'static>>) {
        for node in 0..self.slots.len() {
            if self.failure.is_some() {
                self.close(node, true);
            } else {
                self.forget(node);
            }
        }
        let news = self.news();
        match self.failure {
            Some(failure) => (Err(failure), news),
            None => {
                let tree = |target: &usize| self.slots[*target].tree.clone();
                (Ok(targets.iter().filter_map(tree).collect()), news)
            }
        }
    }
}
