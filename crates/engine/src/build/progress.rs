//! Who tells the front end what happens: what the builder does of its own, and the nodes of the graph.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use build::{Cancel, Event, Key};
use dockerfile::lower::{Graph, Op};

use super::watch::{BuildEvent, BuildWatch, Vertex};
use crate::Result;

/// The numbers of vertices, of one build or of several that are watched as one.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Arc<AtomicUsize>);

impl Numbers {
    /// The first of so many numbers that nobody else has.
    fn take(&self, count: usize) -> usize {
        self.0.fetch_add(count, Ordering::Relaxed)
    }
}

/// Numbers vertices and tells of them.
pub(super) struct Progress<'w> {
    watch: &'w BuildWatch<'w>,
    /// Whether what fails does so because nobody wants it.
    cancel: Cancel,
    next: Numbers,
    /// The build's name, where there are several.
    prefix: Option<String>,
    /// The graph's nodes follow each other from this number on.
    first: OnceLock<usize>,
    /// Nodes that the front end knows.
    told: Mutex<BTreeSet<usize>>,
    /// How long those took that failed.
    ended: Mutex<BTreeMap<usize, Duration>>,
}

/// A piece of work that is under way.
pub(super) struct Part<'p> {
    progress: &'p Progress<'p>,
    id: usize,
}

impl Part<'_> {
    /// So much of something is done.
    pub(super) fn progress(&self, part: &str, current: u64, total: Option<u64>, is_done: bool) {
        (self.progress.watch)(BuildEvent::Progress { id: self.id, part, current, total, is_done });
    }
}

impl<'w> Progress<'w> {
    pub(super) fn new(watch: &'w BuildWatch<'w>) -> Self {
        Self::of_several(watch, &Numbers::default(), None)
    }

    /// Of one of several builds, whose name `prefix` is.
    pub(super) fn of_several(watch: &'w BuildWatch<'w>, numbers: &Numbers, prefix: Option<&str>) -> Self {
        Self {
            watch,
            cancel: Cancel::new(),
            next: numbers.clone(),
            prefix: prefix.map(str::to_owned),
            first: OnceLock::new(),
            told: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    /// What fails once that is cancelled has failed because of it.
    pub(super) fn ended_by(self, cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..self }
    }

    /// Tells of something that is no node.
    pub(super) fn tell(&self, event: BuildEvent<'_>) {
        (self.watch)(event);
    }

    /// Tells of a vertex, by the build's name where there are several. No address in its name has credentials.
    fn vertex(&self, mut vertex: Vertex) {
        vertex.name = oci::without_credentials(&vertex.name).into_owned();
        if let Some(prefix) = &self.prefix {
            vertex.name = match vertex.name.strip_prefix('[') {
                Some(rest) => format!("[{prefix} {rest}"),
                None => format!("[{prefix}] {}", vertex.name),
            };
            vertex.digest = Key::of("target", [prefix, vertex.digest.as_str()]).digest().clone();
        }
        self.tell(BuildEvent::Vertex(&vertex));
    }

    /// Work of the builder's own.
    pub(super) fn internal<T>(&self, name: &str, work: impl FnOnce(&Part<'_>) -> Result<T>) -> Result<T> {
        let id = self.next.take(1);
        let digest = Key::of("internal", [name]).digest().clone();
        let name = name.to_owned();
        self.vertex(Vertex { id, digest, name, inputs: Vec::new(), internal: true });
        self.tell(BuildEvent::Started { id });
        let begun = Instant::now();
        let done = work(&Part { progress: self, id });
        let ran = begun.elapsed();
        match &done {
            Ok(_) => self.tell(BuildEvent::Finished { id, ran }),
            Err(error) => self.failed(id, ran, error),
        }
        done
    }

    /// Tells of what happens to a node, and of the node before its first event. What people did not write is not shown.
    pub(super) fn node(&self, graph: &Graph, event: Event<'_>) {
        let number = number_of(&event);
        let Some(node) = graph.nodes().get(number).filter(|node| !matches!(node.op, Op::Scratch)) else {
            return;
        };
        let first = *self.first.get_or_init(|| self.next.take(graph.nodes().len()));
        let id = first + number;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(number) {
            let inputs = node.inputs.iter().map(|input| first + input).collect();
            let internal = node.name.starts_with("[internal]");
            let (digest, name) = (node.digest.clone(), node.name.clone());
            self.vertex(Vertex { id, digest, name, inputs, internal });
        }
        drop(told);
        match event {
            Event::Started { .. } => self.tell(BuildEvent::Started { id }),
            Event::Cached { .. } => self.tell(BuildEvent::Cached { id }),
            Event::Output { stream, bytes, .. } => self.tell(BuildEvent::Output { id, stream, bytes }),
            Event::Progress { what, current, total, .. } => {
                let is_done = total == Some(current);
                self.tell(BuildEvent::Progress { id, part: what, current, total, is_done });
            }
            Event::Finished { ran, .. } => self.tell(BuildEvent::Finished { id, ran }),
            // The error of a step that failed is told when it is known.
            Event::Ended { ran, cancelled: true, .. } => {
                self.tell(BuildEvent::Failed { id, ran, error: "", is_cancelled: true });
            }
            Event::Ended { ran, .. } => {
                self.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(number, ran);
            }
        }
    }

    /// Tells why a node failed.
    pub(super) fn node_failed(&self, number: usize, error: &crate::Error) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let ran = ended.get(&number).copied().unwrap_or_default();
        if let Some(first) = self.first.get() {
            self.failed(first + number, ran, error);
        }
    }

    fn failed(&self, id: usize, ran: Duration, error: &crate::Error) {
        if self.cancel.is_cancelled() {
            return self.tell(BuildEvent::Failed { id, ran, error: "", is_cancelled: true });
        }
        let error = linux::chain(error);
        let error = &oci::without_credentials(&error);
        self.tell(BuildEvent::Failed { id, ran, error, is_cancelled: false });
    }
}

fn number_of(event: &Event<'_>) -> usize {
    match event {
        Event::Started { node }
        | Event::Cached { node }
        | Event::Output { node, .. }
        | Event::Progress { node, .. }
        | Event::Finished { node, .. }
        | Event::Ended { node, .. } => *node,
    }
}
