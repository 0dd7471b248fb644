//! Does what the nodes of the graph say: each kind has a file or a folder of its own beside this one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use build::{Record, Source, Step, Worker};
use dockerfile::lower::{Node, Op};
use image::LoadedLayer;
use oci::Digest;

use super::frontend::Work;
use super::session::Session;
use super::shared::SharedCache;
use super::sources::NamedBy;
use super::tree::Tree;
use super::{BuildError, contexts, copy, named, run, sources};
use crate::{Error, Result};

/// The worker of one build.
pub(super) struct Hands<'s> {
    /// The build.
    pub(super) session: &'s Session<'s>,
    /// What is to be done.
    pub(super) work: &'s Work,
    /// The caller's files.
    pub(super) contexts: contexts::Contexts<'s>,
    /// Has layers of caches that others have made.
    pub(super) cache: &'s SharedCache<'s>,
    /// What copies take, by their numbers, where that is all that they get: none walks through its files twice.
    pub(super) taken: Mutex<HashMap<usize, Digest>>,
}

impl Worker for Hands<'_> {
    type Tree = Tree;
    type Error = Error;

    fn source(&self, node: &Node, _: &Step<'_>) -> Result<Source<Tree>> {
        let here = |tree: Tree| Source::Here { identity: Some(tree.chain()), tree };
        match &node.op {
            Op::Image { reference, platform } => {
                self.work.bases.tree(self.session, reference, platform).map(here)
            }
            Op::Context { name, platform } => self.contexts.find(name, platform.as_deref()),
            Op::Http { url, checksum, .. } => sources::http(self.session, url, checksum.as_ref()),
            Op::Git(git) => sources::git(self.session, git, NamedBy::Dockerfile),
            // The text is part of what the node is.
            Op::Inline { .. } => Ok(Source::There { identity: node.digest.clone() }),
            Op::Scratch | Op::Run(_) | Op::Copy(_) | Op::MakeDirectory { .. } | Op::Merge => {
                Ok(here(Tree::empty()))
            }
        }
    }

    fn taken(&self, node: &Node, given: &[Option<Tree>], step: &Step<'_>) -> Result<Digest> {
        match &node.op {
            Op::Run(op) => run::taken(self.session, op, given, step),
            Op::Copy(op) => {
                let taken = copy::taken(self.session, op, given, step)?;
                if given.iter().skip(1).all(Option::is_some) {
                    self.known_taken().insert(step.number, taken.clone());
                }
                Ok(taken)
            }
            Op::MakeDirectory { .. }
            | Op::Merge
            | Op::Scratch
            | Op::Image { .. }
            | Op::Context { .. }
            | Op::Http { .. }
            | Op::Git(_)
            | Op::Inline { .. } => Err(BuildError::NoLayer { what: node.name.clone() }.into()),
        }
    }

    fn content(&self, node: &Node, inputs: &[Tree], step: &Step<'_>) -> Result<Digest> {
        match &node.op {
            Op::Run(op) => run::content(self.session, op, inputs, step),
            Op::Copy(op) => {
                let known = self.known_taken().get(&step.number).cloned();
                match known {
                    Some(taken) => Ok(copy::content_upon(inputs.first(), &taken)),
                    None => copy::content(self.session, op, inputs, step),
                }
            }
            Op::MakeDirectory { .. }
            | Op::Merge
            | Op::Scratch
            | Op::Image { .. }
            | Op::Context { .. }
            | Op::Http { .. }
            | Op::Git(_)
            | Op::Inline { .. } => Ok(chains(inputs)),
        }
    }

    fn perform(&self, node: &Node, inputs: &[Tree], step: &Step<'_>) -> Result<Record> {
        match &node.op {
            Op::Run(op) => {
                // Before it waits for a cache: who has one has a place, and gives both back.
                let _place = self.session.place()?;
                run::perform(self.session, op, inputs, step)
            }
            Op::Copy(op) => copy::perform(self.session, op, inputs, step),
            Op::MakeDirectory { path, owner } => {
                copy::make_directory(self.session, path, owner.as_deref(), inputs, step)
            }
            Op::Inline { name, content, mode } => copy::inline(self.session, name, content, *mode),
            Op::Merge => top_of(node, inputs),
            Op::Http { url, name, checksum } => {
                sources::fetch_http(self.session, url, name, checksum.as_ref(), step)
            }
            Op::Git(git) => sources::fetch_git(self.session, git, NamedBy::Dockerfile, step),
            Op::Context { name, .. } if !name.is_empty() => named::Named::fetch(self.session, name, step),
            // These are here, and have no layer of their own.
            Op::Scratch | Op::Image { .. } | Op::Context { .. } => {
                Err(BuildError::NoLayer { what: node.name.clone() }.into())
            }
        }
    }

    fn restore(&self, _: &Node, base: Option<&Tree>, record: &Record) -> Result<Option<Tree>> {
        // Kept before it is looked for, so that it cannot go afterwards.
        self.session.draft.keep_layers([&record.layer]).map_err(failed)?;
        let size = self.session.draft.layer_size(&record.layer).map_err(failed)?;
        let layer = match size == Some(record.size) {
            true => Some(LoadedLayer { diff_id: record.layer.clone(), size: record.size, blob: None }),
            false => self.cache.bring(record),
        };
        Ok(layer.map(|layer| base.cloned().unwrap_or_else(Tree::empty).with(layer)))
    }
}

impl Hands<'_> {
    fn known_taken(&self) -> MutexGuard<'_, HashMap<usize, Digest>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(source: image::Error) -> Error {
    crate::images::failed("use a layer of an earlier build")(source)
}

/// The layer that the second of two inputs has on top.
fn top_of(node: &Node, inputs: &[Tree]) -> Result<Record> {
    let top = inputs.get(1).and_then(|tree| tree.layers().last());
    let top = top.ok_or_else(|| BuildError::NoLayer { what: node.name.clone() })?;
    Ok(Record { layer: top.diff_id.clone(), size: top.size })
}

/// What all inputs are, together.
fn chains(inputs: &[Tree]) -> Digest {
    let chains: Vec<String> = inputs.iter().map(|input| input.chain().to_string()).collect();
    build::Key::of("chains", chains.iter().map(String::as_str)).digest().clone()
}
