//! One piece of a node's work: what a thread does between two looks at the schedule.
//!
//! ```text
//! Source ─► what a node without inputs is
//! Define ─► what it takes of inputs that have no name
//! Hint   ─► whether its definition is known, so that its base alone is needed
//! Look   ─► by its keys; with all inputs by its content too  ─► Claim ─► Perform
//! Adopt  ─► what another node of this build has made of the same content
//! Merge  ─► the layer of the second input, upon the first
//! ```

use std::time::{Duration, Instant};

use dockerfile::lower::{Graph, Node};

use crate::solve::Salt;
use crate::{Cache, Cancel, Claim, Event, Failure, Key, Record, Source, Step, Watch, Worker};

/// What is to be done next for a node.
pub(crate) struct Job<T> {
    pub(crate) node: usize,
    pub(crate) task: Task<T>,
    /// Whether the watch has been told that the node is worked on.
    pub(crate) started: bool,
    /// How long the node has been worked on before.
    pub(crate) ran: Duration,
}

/// The kinds of jobs.
pub(crate) enum Task<T> {
    Source,
    /// Of these inputs, each at its place; whether all others are there, too.
    Define(Vec<Option<T>>, bool),
    Hint(Key),
    /// With the base alone, or with all inputs.
    Look(Inputs<T>),
    Adopt(Inputs<T>, Record),
    Claim(Inputs<T>, Key),
    Perform(Inputs<T>, Option<Claim>),
    /// The second input, what it has made, and whether that was known before.
    Merge {
        base: T,
        layer: usize,
        record: Record,
        cached: bool,
    },
}

/// What a node is made of.
pub(crate) struct Inputs<T> {
    /// The trees, the first one its base.
    pub(crate) trees: Vec<T>,
    /// Whether that is all of them.
    pub(crate) whole: bool,
    /// Whether nothing that is known counts.
    pub(crate) anew: bool,
    /// By which keys it is looked for, the cheapest first.
    pub(crate) look: Vec<Key>,
    /// By which keys it is to be found when it was made, those that are known soonest first. Of one without inputs, the first is that of
    /// its content.
    pub(crate) keep: Vec<Key>,
}

/// What has come of a job.
pub(crate) enum Outcome<T> {
    Source(Source<T>),
    /// What it takes; none if that could not be told, which whoever needs its content is told.
    Defined(Option<Key>),
    /// Whether the definition is known.
    Hint(bool),
    /// With the base alone it is not known.
    Unknown,
    /// It has to be done, under this key.
    Unmade(Key),
    /// The layer to be adopted is gone.
    Gone,
    /// It has to be done, and nobody else does it; none if nobody is kept from it.
    Claimed(Claim),
    /// Its tree, what its layer is, and whether that was known.
    Made {
        tree: T,
        record: Record,
        cached: bool,
    },
    /// The build was cancelled.
    Stopped,
}

/// What a thread has to tell the schedule.
pub(crate) struct Report<T, E: std::error::Error + 'static> {
    pub(crate) node: usize,
    pub(crate) started: bool,
    pub(crate) ran: Duration,
    pub(crate) outcome: Result<Outcome<T>, Failure<E>>,
}

/// With whose help jobs are done.
pub(crate) struct Crew<'a, W, C> {
    pub(crate) graph: &'a Graph,
    pub(crate) worker: &'a W,
    pub(crate) cache: &'a C,
    pub(crate) cancel: &'a Cancel,
    pub(crate) watch: &'a Watch<'a>,
    /// As in [`crate::Options`].
    pub(crate) salt: &'a Salt<'a>,
}

type Done<T, E> = Result<Outcome<T>, Failure<E>>;

impl<W: Worker, C: Cache<Error = W::Error>> Crew<'_, W, C> {
    /// Does it. Of a node that is done by it the watch is told here, before those that wait for it can begin.
    pub(crate) fn run(&self, job: Job<W::Tree>) -> Report<W::Tree, W::Error> {
        let mut hand = Hand { crew: self, node: &self.graph.nodes()[job.node], number: job.node, job };
        let waits = matches!(hand.job.task, Task::Claim(..));
        let begun = Instant::now();
        let outcome = hand.run();
        if matches!(outcome, Err(Failure::Node { .. })) {
            hand.start();
        }
        // Waiting for others is no work.
        let ran = hand.job.ran + if waits { Duration::ZERO } else { begun.elapsed() };
        let node = hand.number;
        match &outcome {
            Ok(Outcome::Made { cached: true, .. }) => (self.watch)(Event::Cached { node }),
            Ok(Outcome::Made { cached: false, .. } | Outcome::Source(Source::Here { .. })) => {
                (self.watch)(Event::Finished { node, ran });
            }
            Ok(_) | Err(_) => {}
        }
        Report { node, started: hand.job.started, ran, outcome }
    }
}

/// One job that is being done.
struct Hand<'a, 'c, W: Worker, C> {
    crew: &'a Crew<'c, W, C>,
    node: &'a Node,
    number: usize,
    job: Job<W::Tree>,
}

impl<W: Worker, C: Cache<Error = W::Error>> Hand<'_, '_, W, C> {
    fn run(&mut self) -> Done<W::Tree, W::Error> {
        match std::mem::replace(&mut self.job.task, Task::Source) {
            Task::Source => {
                self.start();
                let found = self.crew.worker.source(self.node, &self.step());
                found.map(Outcome::Source).map_err(|error| self.failed(error))
            }
            Task::Define(given, is_whole) => Ok(self.define(&given, is_whole)),
            Task::Hint(key) => Ok(Outcome::Hint(self.find(&key)?.is_some())),
            Task::Look(inputs) => self.look(inputs),
            Task::Adopt(inputs, record) => {
                let found = self.restored(&inputs, record, None)?;
                Ok(found.unwrap_or(Outcome::Gone))
            }
            Task::Claim(inputs, key) => self.claim(&inputs, &key),
            Task::Perform(inputs, claim) => self.perform(&inputs, claim),
            Task::Merge { base, layer, record, cached } => {
                self.start();
                match self.restore(Some(&base), &record)? {
                    Some(tree) => Ok(Outcome::Made { tree, record, cached }),
                    None => Err(self.lost(layer, &record)),
                }
            }
        }
    }

    /// Before its base is there the node does not begin for those who watch, and they hear nothing of it.
    fn define(&mut self, given: &[Option<W::Tree>], is_whole: bool) -> Outcome<W::Tree> {
        if is_whole {
            self.start();
        }
        let quiet = |_: Event<'_>| {};
        let watch: &Watch<'_> = if is_whole { self.crew.watch } else { &quiet };
        let taken =
            self.crew.worker.taken(self.node, given, &Step::new(self.number, self.crew.cancel, watch));
        Outcome::Defined(taken.ok().map(|taken| Key::taken(&taken)))
    }

    /// By its keys, and by its content if all inputs are there.
    fn look(&mut self, mut inputs: Inputs<W::Tree>) -> Done<W::Tree, W::Error> {
        if inputs.whole {
            self.start();
        }
        for key in std::mem::take(&mut inputs.look) {
            if let Some(made) = self.known(&inputs, &key)? {
                return Ok(made);
            }
        }
        if !inputs.whole {
            return Ok(Outcome::Unknown);
        }
        let key = match inputs.keep.first() {
            Some(key) if inputs.trees.is_empty() => return Ok(Outcome::Unmade(key.clone())),
            _ => self.content(&inputs.trees)?,
        };
        let made = if inputs.anew { None } else { self.known(&inputs, &key)? };
        Ok(made.unwrap_or(Outcome::Unmade(key)))
    }

    /// Nobody else does it from here on; unless somebody has meanwhile.
    fn claim(&mut self, inputs: &Inputs<W::Tree>, key: &Key) -> Done<W::Tree, W::Error> {
        let claim = self.crew.cache.claim(key, &self.step()).map_err(Failure::Cache)?;
        let Some(claim) = claim else { return Ok(Outcome::Stopped) };
        Ok(self.known(inputs, key)?.unwrap_or(Outcome::Claimed(claim)))
    }

    fn perform(&mut self, inputs: &Inputs<W::Tree>, claim: Option<Claim>) -> Done<W::Tree, W::Error> {
        self.start();
        let record = self.crew.worker.perform(self.node, &inputs.trees, &self.step());
        let record = record.map_err(|error| self.failed(error))?;
        self.keep(&inputs.keep, &record)?;
        drop(claim);
        match self.restore(inputs.trees.first(), &record)? {
            Some(tree) => Ok(Outcome::Made { tree, record, cached: false }),
            None => Err(self.lost(self.number, &record)),
        }
    }

    /// What is known by a key, if its layer is there.
    fn known(
        &mut self,
        inputs: &Inputs<W::Tree>,
        key: &Key,
    ) -> Result<Option<Outcome<W::Tree>>, Failure<W::Error>> {
        match self.find(key)? {
            Some(record) => self.restored(inputs, record, Some(key)),
            None => Ok(None),
        }
    }

    /// The tree of a record that some key led to. Those that are known sooner lead to it from now on. Later ones stay as they are: whether
    /// a build learns of them is up to what else it needs, and to which thread comes first, and the next one would have to write what
    /// this one was too quick to learn.
    fn restored(
        &mut self,
        inputs: &Inputs<W::Tree>,
        record: Record,
        by: Option<&Key>,
    ) -> Result<Option<Outcome<W::Tree>>, Failure<W::Error>> {
        let Some(tree) = self.restore(inputs.trees.first(), &record)? else { return Ok(None) };
        self.start();
        let sooner = inputs.keep.iter().take_while(|key| Some(*key) != by);
        let mut missing = Vec::new();
        for key in sooner {
            // Reading is cheap, and mostly finds it; a cache that has it all is not written to.
            if self.find(key)?.as_ref() != Some(&record) {
                missing.push(key.clone());
            }
        }
        if !missing.is_empty() {
            // With the one that led here: so a cache sees that it is the same result, and that this key is of use still.
            missing.extend(by.cloned());
            self.keep(&missing, &record)?;
        }
        Ok(Some(Outcome::Made { tree, record, cached: true }))
    }

    fn content(&self, trees: &[W::Tree]) -> Result<Key, Failure<W::Error>> {
        let content = self.crew.worker.content(self.node, trees, &self.step());
        let content = content.map_err(|error| self.failed(error))?;
        Ok(Key::content(&Key::effect(&self.node.op, self.crew.salt), &content))
    }

    fn find(&self, key: &Key) -> Result<Option<Record>, Failure<W::Error>> {
        self.crew.cache.find(key).map_err(Failure::Cache)
    }

    fn keep(&self, keys: &[Key], record: &Record) -> Result<(), Failure<W::Error>> {
        self.crew.cache.keep(keys, record, self.node).map_err(Failure::Cache)
    }

    fn restore(&self, base: Option<&W::Tree>, record: &Record) -> Result<Option<W::Tree>, Failure<W::Error>> {
        self.crew.worker.restore(self.node, base, record).map_err(|error| self.failed(error))
    }

    fn start(&mut self) {
        if !self.job.started {
            self.job.started = true;
            (self.crew.watch)(Event::Started { node: self.number });
        }
    }

    fn step(&self) -> Step<'_> {
        Step::new(self.number, self.crew.cancel, self.crew.watch)
    }

    fn failed(&self, error: W::Error) -> Failure<W::Error> {
        Failure::Node { node: self.number, name: self.node.name.clone(), error }
    }

    fn lost(&self, node: usize, record: &Record) -> Failure<W::Error> {
        let name = self.crew.graph.nodes()[node].name.clone();
        Failure::Lost { node, name, layer: record.layer.clone() }
    }
}
