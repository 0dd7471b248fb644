//! What is done in which situation, as tables.
//!
//! A line a node: how it ended for the watch (`-` if it was never begun), its name, and what the worker was asked for.

mod anew;
mod known;

use std::sync::atomic::Ordering;

use expect_test::{Expect, expect};

use super::*;

/// A world, a cache, and what was done in the builds so far.
#[derive(Default)]
struct Scene {
    world: World,
    store: Store,
    transcript: String,
    /// What the target was, of each build.
    trees: Vec<Tree>,
}

impl Scene {
    fn build(&mut self, title: &str, text: &str) {
        self.build_anew(title, text, &[]);
    }

    /// With `--no-cache` for nodes whose names contain one of these words.
    fn build_anew(&mut self, title: &str, text: &str, anew: &[&str]) {
        let (graph, target) = lowered(text);
        self.world.begin();
        let wishes = |node: &Node| anew.iter().any(|word| node.name.contains(word));
        let (result, diary) =
            build_of((&graph, &[target]), (&self.world, &self.store), &wishes, &Cancel::new());
        self.trees.extend(result.unwrap());
        let log = self.world.log.lock().unwrap();
        let line = |(number, node): (usize, &Node)| {
            let told = diary.of(number).map_or("-", |told| told.last.unwrap());
            let did = log.get(&number).map(|did| format!(": {}", did.join(" "))).unwrap_or_default();
            format!("{told:<6} {}{did}\n", node.name)
        };
        let lines: String = graph.nodes().iter().enumerate().map(line).collect();
        self.transcript.push_str(&format!("# {title}\n{lines}"));
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.transcript);
    }
}

const PLAIN: &str = "FROM a\nWORKDIR /w\nRUN one\nRUN two";

const STAGES: &str = "FROM a AS build\nRUN one\nFROM b\nRUN two\nCOPY --from=build /x /y\nRUN three";
