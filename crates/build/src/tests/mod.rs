//! Tests of the solver, with a worker and a cache of their own.
//!
//! The worker's trees are lists of layers, and a layer is the digest of what it was made of: so whatever is made twice of the same is
//! the same, and everything else differs. Programs whose words contain `date` make something else each time.

mod cases;
mod random;
mod size;
mod trouble;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use dockerfile::lower::{Graph, Inputs, Node, lower};
use dockerfile::parse::parse;
use dockerfile::source::Source as Text;
use dockerfile::stage::{Images, Options as Wishes, resolve};

use self::world::{Oops, Store, Tree, World};
use crate::{Cancel, Event, Failure, Key, Options, solve};

/// The graph of a Dockerfile, and the node that its last stage ends with.
fn lowered(text: &str) -> (Graph, usize) {
    let source = Text::new("Dockerfile", text.as_bytes().to_vec()).unwrap();
    let file = parse(&source).unwrap_or_else(|errors| panic!("{}", errors.render(&source)));
    let (options, images, contexts) =
        (Wishes::new("linux/amd64".parse().unwrap()), Images::new(), BTreeMap::new());
    let plan = resolve(&file, &options, &images).unwrap();
    let mut graph = Graph::default();
    let inputs = Inputs {
        plan: &plan,
        options: &options,
        images: &images,
        contexts: &contexts,
        ignored: None,
        escape: file.escape,
    };
    let made = lower(&mut graph, &inputs, &mut dockerfile::lint::Linter::default()).unwrap();
    (graph, made.node)
}

/// What the watch was told of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    started: bool,
    /// When it began and ended, among all events.
    begun: usize,
    ended: usize,
    last: Option<&'static str>,
}

/// Checks events as they come: the order of a node's, and that its inputs come first.
#[derive(Default)]
struct Diary(Mutex<BTreeMap<usize, Told>>, AtomicUsize);

impl Diary {
    fn hear(&self, event: Event<'_>) {
        let mut told = self.0.lock().unwrap();
        let now = self.1.fetch_add(1, Ordering::SeqCst);
        let mut end = |node: usize, how: &'static str| {
            let node = told.entry(node).or_default();
            assert!(node.started && node.last.is_none(), "{how} {node:?}");
            (node.last, node.ended) = (Some(how), now);
        };
        match event {
            Event::Started { node } => {
                let node = told.entry(node).or_default();
                assert!(!node.started, "started twice");
                (node.started, node.begun) = (true, now);
            }
            Event::Cached { node } => end(node, "cached"),
            Event::Finished { node, .. } => end(node, "done"),
            Event::Ended { node, cancelled, .. } => end(node, if cancelled { "cancelled" } else { "failed" }),
            Event::Output { node, .. } | Event::Progress { node, .. } => {
                let node = told.entry(node).or_default();
                assert!(node.started && node.last.is_none(), "said something: {node:?}");
            }
        }
    }

    fn of(&self, node: usize) -> Option<Told> {
        self.0.lock().unwrap().get(&node).cloned()
    }
}

/// One build: what the trees are, and what was told.
fn build_of(
    (graph, targets): (&Graph, &[usize]),
    (world, store): (&World, &Store),
    anew: &(dyn Fn(&Node) -> bool + Sync),
    cancel: &Cancel,
) -> (Result<Vec<Tree>, Failure<Oops>>, Diary) {
    let diary = Diary::default();
    // More is asked for than is needed, and nothing comes of it but news.
    let options = Options { programs: 2, anew, salt: &|_| String::new(), asks_all: true };
    let result = solve(graph, targets, (world, store), &options, (cancel, &|event| diary.hear(event)));
    assert_eq!(store.claimed(), 0, "claims are given back");
    for (node, told) in diary.0.lock().unwrap().iter() {
        assert!(told.last.is_some(), "node {node} was begun, and no end was told");
    }
    (result, diary)
}
