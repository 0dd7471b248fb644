//! A worker and a cache for tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use dockerfile::lower::{Node, Op};
use oci::{DiffId, Digest};

use crate::{Cache, Claim, Key, Record, Source, Step, Stream, Worker};

#[derive(Debug, thiserror::Error)]
pub(super) enum Oops {
    #[error("no luck with {0}")]
    Failed(String),
    #[error("ended")]
    Cancelled,
}

/// Layers, by the digest of them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree(pub(super) Digest);

/// What a worker is to do with a node of a name, besides its work.
pub(super) type Deed = dyn Fn(&Node, &Step<'_>) -> Result<(), Oops> + Sync + Send;

/// What there is outside.
pub(super) struct World {
    /// What images, files and repositories are at present; whatever is not named is `1`.
    pub(super) versions: Mutex<BTreeMap<String, String>>,
    layers: Mutex<BTreeSet<String>>,
    /// What nodes of a name have made.
    products: Mutex<BTreeMap<String, Vec<DiffId>>>,
    /// What was asked of the worker, by node number.
    pub(super) log: Mutex<BTreeMap<usize, Vec<&'static str>>>,
    running: AtomicUsize,
    pub(super) most: AtomicUsize,
    dates: AtomicUsize,
    shift: AtomicUsize,
    deed: Box<Deed>,
    forgetful: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            versions: Mutex::default(),
            layers: Mutex::default(),
            products: Mutex::default(),
            log: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            dates: AtomicUsize::new(0),
            shift: AtomicUsize::new(0),
            deed: Box::new(|_, _| Ok(())),
            forgetful: false,
        }
    }
}

impl World {
    pub(super) fn with(deed: impl Fn(&Node, &Step<'_>) -> Result<(), Oops> + Sync + Send + 'static) -> Self {
        Self { deed: Box::new(deed), ..Self::default() }
    }

    /// One whose layers go as soon as they are made.
    pub(super) fn forgetful() -> Self {
        Self { forgetful: true, ..Self::default() }
    }

    pub(super) fn set(&self, name: &str, version: &str) {
        self.versions.lock().unwrap().insert(name.to_owned(), version.to_owned());
    }

    fn version(&self, name: &str) -> String {
        self.versions.lock().unwrap().get(name).cloned().unwrap_or_else(|| "1".to_owned())
    }

    /// Removes what nodes have made whose names contain this.
    pub(super) fn lose(&self, name: &str) {
        let products = self.products.lock().unwrap();
        let made = products.iter().filter(|(node, _)| node.contains(name)).flat_map(|(_, layers)| layers);
        let mut layers = self.layers.lock().unwrap();
        let lost = made.filter(|layer| layers.remove(layer.as_str())).count();
        assert_ne!(lost, 0, "nothing of {name} is there");
    }

    /// Lets programs make something else from now on; with zero, what they made at first.
    pub(super) fn shift(&self, shift: usize) {
        self.shift.store(shift, Ordering::SeqCst);
    }

    /// How often nodes were done whose names contain this.
    pub(super) fn products(&self, name: &str) -> usize {
        let products = self.products.lock().unwrap();
        products.iter().filter(|(node, _)| node.contains(name)).map(|(_, made)| made.len()).sum()
    }

    pub(super) fn lose_some(&self, lost: impl Fn(&str) -> bool) {
        self.layers.lock().unwrap().retain(|layer| !lost(layer));
    }

    pub(super) fn lose_all(&self) {
        self.layers.lock().unwrap().clear();
    }

    pub(super) fn begin(&self) {
        self.log.lock().unwrap().clear();
    }

    fn note(&self, step: &Step<'_>, what: &'static str) {
        self.log.lock().unwrap().entry(step.number).or_default().push(what);
    }

    /// How often something was done.
    pub(super) fn count(&self, what: &str) -> usize {
        self.log.lock().unwrap().values().flatten().filter(|did| **did == what).count()
    }
}

fn digest(parts: &[&str]) -> Digest {
    Key::of("test", parts.iter().copied()).digest().clone()
}

impl Worker for World {
    type Tree = Tree;
    type Error = Oops;

    fn source(&self, node: &Node, step: &Step<'_>) -> Result<Source<Tree>, Oops> {
        self.note(step, "source");
        (self.deed)(node, step)?;
        let here = |name: &str| digest(&["here", name, &self.version(name)]);
        match &node.op {
            Op::Image { reference, .. } => {
                let identity = here(&reference.familiar().to_string());
                Ok(Source::Here { tree: Tree(identity.clone()), identity: Some(identity) })
            }
            Op::Context { name, .. } => Ok(Source::Here { tree: Tree(here(name)), identity: None }),
            Op::Http { url, .. } => Ok(Source::There { identity: digest(&["file", &self.version(url)]) }),
            Op::Git(git) => Ok(Source::There { identity: digest(&["commit", &self.version(&git.remote)]) }),
            Op::Inline { .. } => Ok(Source::There { identity: node.digest.clone() }),
            Op::Scratch | Op::Run(_) | Op::Copy(_) | Op::MakeDirectory { .. } | Op::Merge => {
                let identity = digest(&["nothing"]);
                Ok(Source::Here { tree: Tree(identity.clone()), identity: Some(identity) })
            }
        }
    }

    fn taken(&self, node: &Node, given: &[Option<Tree>], step: &Step<'_>) -> Result<Digest, Oops> {
        self.note(step, "taken");
        assert!(given.len() == node.inputs.len() && given[0].is_none());
        let trees: Vec<&str> =
            given.iter().map(|tree| tree.as_ref().map_or("", |tree| tree.0.as_str())).collect();
        assert!(trees.iter().any(|tree| !tree.is_empty()));
        Ok(digest(&trees))
    }

    fn content(&self, node: &Node, inputs: &[Tree], step: &Step<'_>) -> Result<Digest, Oops> {
        self.note(step, "content");
        assert_eq!(inputs.len(), node.inputs.len());
        // What is copied does not depend on the base.
        let skipped = usize::from(matches!(node.op, Op::Copy(_)));
        let trees: Vec<&str> = inputs.iter().skip(skipped).map(|tree| tree.0.as_str()).collect();
        Ok(digest(&trees))
    }

    fn perform(&self, node: &Node, inputs: &[Tree], step: &Step<'_>) -> Result<Record, Oops> {
        self.note(step, "perform");
        assert_eq!(inputs.len(), node.inputs.len());
        let program = matches!(node.op, Op::Run(_));
        if program {
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(running, Ordering::SeqCst);
            step.output(Stream::Stdout, b"hello");
        }
        let done = (self.deed)(node, step);
        let done = if step.cancel.is_cancelled() { Err(Oops::Cancelled) } else { done };
        if program {
            self.running.fetch_sub(1, Ordering::SeqCst);
        }
        done?;
        let effect = node.op.effect();
        let content = self.content(node, inputs, step)?;
        self.log.lock().unwrap().get_mut(&step.number).unwrap().pop();
        let date = if node.name.contains("date") { self.dates.fetch_add(1, Ordering::SeqCst) } else { 0 };
        let shift = if program { self.shift.load(Ordering::SeqCst) } else { 0 };
        let date = format!("{date} {shift}");
        let file = match &node.op {
            Op::Http { url, .. } => self.version(url),
            Op::Git(git) => self.version(&git.remote),
            Op::Scratch
            | Op::Image { .. }
            | Op::Context { .. }
            | Op::Inline { .. }
            | Op::Run(_)
            | Op::Copy(_)
            | Op::MakeDirectory { .. }
            | Op::Merge => String::new(),
        };
        let layer = digest(&["layer", effect.as_str(), content.as_str(), &date, &file]);
        if !self.forgetful {
            self.layers.lock().unwrap().insert(layer.as_str().to_owned());
        }
        let layer: DiffId = layer.try_into().unwrap();
        self.products.lock().unwrap().entry(node.name.clone()).or_default().push(layer.clone());
        Ok(Record { layer, size: 1 })
    }

    fn restore(&self, _: &Node, base: Option<&Tree>, record: &Record) -> Result<Option<Tree>, Oops> {
        if !self.layers.lock().unwrap().contains(record.layer.as_str()) {
            return Ok(None);
        }
        let base = base.map_or("", |base| base.0.as_str());
        Ok(Some(Tree(digest(&["tree", base, record.layer.as_str()]))))
    }
}

/// A cache.
#[derive(Default)]
pub(super) struct Store {
    records: Mutex<HashMap<Key, Record>>,
    claims: Arc<Claims>,
    pub(super) reads: AtomicUsize,
    pub(super) writes: AtomicUsize,
    /// The keys by which something was found.
    pub(super) found: Mutex<BTreeSet<Key>>,
    /// The keys that were kept together, each time.
    pub(super) kept: Mutex<Vec<Vec<Key>>>,
    /// How many wait for a claim.
    pub(super) waiting: AtomicUsize,
    /// Whether it answers.
    pub(super) broken: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct Claims {
    held: Mutex<BTreeSet<Key>>,
    changed: Condvar,
}

impl Claims {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Key>> {
        self.held.lock().unwrap()
    }
}

struct Held(Arc<Claims>, Key);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
        self.0.changed.notify_all();
    }
}

impl Store {
    pub(super) fn claimed(&self) -> usize {
        self.claims.lock().len()
    }

    /// All records, by their keys.
    pub(super) fn all(&self) -> HashMap<Key, Record> {
        self.records.lock().unwrap().clone()
    }

    pub(super) fn forget(&self, unwanted: impl Fn(&Key) -> bool) {
        self.records.lock().unwrap().retain(|key, _| !unwanted(key));
    }
}

impl Cache for Store {
    type Error = Oops;

    fn find(&self, key: &Key) -> Result<Option<Record>, Oops> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(Oops::Failed("the cache".to_owned()));
        }
        let found = self.records.lock().unwrap().get(key).cloned();
        if found.is_some() {
            self.found.lock().unwrap().insert(key.clone());
        }
        Ok(found)
    }

    fn keep(&self, keys: &[Key], record: &Record, _: &Node) -> Result<(), Oops> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.kept.lock().unwrap().push(keys.to_vec());
        let mut records = self.records.lock().unwrap();
        for key in keys {
            records.insert(key.clone(), record.clone());
        }
        Ok(())
    }

    fn claim(&self, key: &Key, step: &Step<'_>) -> Result<Option<Claim>, Oops> {
        let mut held = self.claims.lock();
        if held.contains(key) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            while held.contains(key) && !step.cancel.is_cancelled() {
                // A wish to end does not wake who waits here.
                held = self.claims.changed.wait_timeout(held, Duration::from_millis(2)).unwrap().0;
            }
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        if step.cancel.is_cancelled() {
            return Ok(None);
        }
        held.insert(key.clone());
        drop(held);
        Ok(Some(Box::new(Held(Arc::clone(&self.claims), key.clone()))))
    }
}
