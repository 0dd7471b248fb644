//! From stages to a graph of operations, and the config of the image that they make.
//!
//! ```text
//! FROM alpine AS build         0 image alpine
//! COPY go.mod /src/            1 context
//! RUN go build                 2 copy 1:/go.mod -> 0:/src/
//! FROM scratch                 3 run 2
//! COPY --from=build /x /       4 scratch
//!                              5 copy 3:/x -> 4:/
//! ```
//!
//! A [`Node`] is an [`Op`] with the nodes whose results it takes; its result is a file tree. Nodes are numbered so that
//! inputs come first. A node's digest is that of the operation and of its inputs' digests, and of nothing that does
//! not decide the result: not of names for progress, of places in a file, of proxies, of what a context is to send. Equal
//! work is one node, in one stage or several, and for several platforms, which are lowered into one graph.
//!
//! What an operation does is whoever's who runs it; this crate knows no worker, no file and no clock. Digests of files,
//! images by tag and so on belong to the keys of a cache, which are made where the files are.
//!
//! Configs are pure too: what an instruction writes into one is known before anything is run, but for digests of layers.

mod base;
mod config;
mod copy;
mod digest;
mod expose;
mod generator;
mod git;
mod graph;
mod history;
mod instruction;
mod name;
mod run;
mod scan;
mod stage;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use oci::ImageConfig;

use crate::ignore::Matcher;
use crate::lint::Linter;
use crate::source::{Diagnostic, Result};
use crate::stage::{Base, Images, Options, Plan};

pub use copy::file_name;
pub use generator::{Generator, OUT as GENERATED};
pub use git::{GitSource, is_git, parse as parse_git};
pub use graph::{CopyOp, Graph, Node, Op, RunOp, Selection};
pub use scan::Scanned;

/// Configs of contexts that are images, by the context's name and the platform, as `os/architecture[/variant]`.
pub type ContextConfigs = BTreeMap<(String, String), ImageConfig>;

/// What a stage makes.
#[derive(Clone, Debug)]
pub struct Made {
    /// The node whose result is its file tree.
    pub node: usize,
    /// The image's config without the digests of the layers that are made.
    pub config: ImageConfig,
    /// The nodes that make a layer each, in order, after those of the base.
    pub layers: Vec<usize>,
    /// Of which files that went into it packages are to be listed, too, if they are at all.
    pub scanned: Scanned,
}

/// What lowering needs to know besides the plan.
pub struct Inputs<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What was asked for.
    pub options: &'a Options,
    /// The images' configs.
    pub images: &'a Images,
    /// Configs of contexts that are images.
    pub contexts: &'a ContextConfigs,
    /// What the main context leaves out.
    pub ignored: Option<&'a Matcher>,
    /// The file's escape character.
    pub escape: char,
}

/// Adds the operations of a plan to a graph; what its target makes. Rules that need to know variables are asked on the
/// way.
///
/// # Errors
/// If an instruction's values are none once its variables are replaced.
pub fn lower(graph: &mut Graph, inputs: &Inputs<'_>, linter: &mut Linter) -> Result<Made> {
    let others = inputs.plan.others.iter().filter(|_| inputs.options.all_stages);
    let order: Vec<usize> = inputs.plan.order.iter().chain(others).copied().collect();
    let base_of = |stage: &usize| match inputs.plan.stages[*stage].base {
        Base::Stage(base) => Some(base),
        Base::Scratch | Base::Image(_) | Base::Context(_) => None,
    };
    // How many need to know a stage's variables and config: those based on it, and whoever wants the target.
    let mut users: BTreeMap<usize, usize> = BTreeMap::from([(inputs.plan.target, 1)]);
    for base in order.iter().filter_map(base_of) {
        *users.entry(base).or_default() += 1;
    }
    let mut done = stage::Done::default();
    let mut scanned = Scanned::default();
    for (place, index) in order.iter().enumerate() {
        let state = stage::lower(graph, inputs, &mut done, *index, linter)?;
        if place < inputs.plan.order.len() {
            scanned.look(inputs.plan, *index, &state);
        }
        done.keep(*index, state, users.get(index).copied().unwrap_or_default());
    }
    let target = done.take(inputs.plan.target);
    let target = target.ok_or_else(|| Diagnostic::error("there is no target stage", None))?;
    let mut made = Made { scanned, ..target.finish(inputs) };
    graph.mask(&mut made.config);
    Ok(made)
}
