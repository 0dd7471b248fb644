//! `build`: from a Dockerfile to an image.
//!
//! ```text
//! request ─► session ─► frontend: Dockerfile, ignore file, images' configs ─► graph (pure) ─► build::solve ─► export
//!                                                                              │ Worker          │ Cache
//!                                                              copy, run, sources, …             state.db
//! ```
//!
//! A file tree of a build ([`tree::Tree`]) is a list of layers, or the caller's files. What copies and runs make are layers of the
//! store like those of images: nothing is mounted for a copy, and a step that the cache knows costs a row.

mod asked;
mod blobs;
mod cache;
mod cache_mounts;
mod carried;
mod context;
mod contexts;
mod copy;
mod epoch;
mod error;
mod export;
mod frontend;
mod generator;
mod images;
mod kept;
mod known;
mod later;
mod named;
mod parallel;
mod progress;
mod prune;
mod removals;
mod run;
mod salt;
mod scanned;
mod session;
mod shared;
mod sources;
mod together;
mod tree;
mod view;
mod waiting;
mod watch;
mod worker;
#[cfg(test)]
mod world;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ::build::{Cancel, Failure, Options, solve};
use dockerfile::lower::{Node, Op};
use registry_client::Client;

use crate::info::Built;
use crate::request::Build;
use crate::{Engine, Result};
use carried::Carried;
use frontend::Work;
use progress::Progress;
use session::Session;
use shared::SharedCache;
use together::{Made, Together};
use worker::Hands;

pub use copy::CopyError;
pub use error::{BuildError, Faulty, Place};
pub use kept::BuildCacheEntry;
pub use prune::{CacheLimits, PruneBuildCache, PrunedBuildCache};
pub use run::RunError;
pub use sources::{ReadRemote, RemoteFiles};
pub use state::CacheKind;
pub use together::TargetFailed;
pub use watch::{BuildEvent, BuildWatch, Vertex};

/// Programs that run at once unless the caller says: most wait for networks and disks, and those that compute get their share from the
/// kernel. Other builders have no limit; this one keeps a wide Dockerfile within the memory of a machine and the ids of its pool.
const PROGRAMS: usize = 32;

impl Engine {
    /// Builds images of a Dockerfile, and puts them where they are wanted. Blocks; `cancel` ends it from another thread. Whoever cancels
    /// ends the client, too ([`Client::end`]): what is waited for in the network hears of nothing else.
    pub fn build(
        &self,
        client: &Client,
        request: &Build,
        watch: &BuildWatch<'_>,
        cancel: &Cancel,
    ) -> Result<Built> {
        check(request)?;
        let progress = Progress::new(watch).ended_by(cancel);
        match self.build_one(client, request, (&progress, cancel), None) {
            // What fails because it was cancelled has no other reason that anybody wants to know.
            Err(_) if cancel.is_cancelled() => Err(BuildError::Cancelled.into()),
            built => built,
        }
    }

    /// One of several builds, or the only one.
    fn build_one(
        &self,
        client: &Client,
        request: &Build,
        (progress, cancel): (&Progress<'_>, &Cancel),
        part: Option<(&str, &Together<'_>)>,
    ) -> Result<Built> {
        let started = state::now();
        let mut session = Session::new(self, client, request, cancel)?;
        session.together = part.map(|(_, together)| together);
        let (contexts, text) = contexts::Contexts::open(&session, progress)?;
        let mut work = frontend::work(&session, (text, &contexts), progress)?;
        generator::add(&session, &mut work, progress)?;
        check_programs(&session, &work)?;
        let cache = SharedCache::new(&session, progress)?;
        session.carry(Carried::import(&session, progress)?);
        let context = scanned::context(&session, &work, &contexts)?;
        let others = [scanned::nodes(&session, &work)?, generator::nodes(&work).to_vec()].concat();
        let trees = solved(&session, &work, contexts, (&others, &cache), progress);
        self.measure_cache_mounts(&session.caches)?;
        let mut trees = trees?;
        let generated = trees.split_off(trees.len() - generator::nodes(&work).len());
        let generated = generator::read(&session, &work, &generated)?;
        let scanned = scanned::by_platform(&work, trees.split_off(work.targets.len()), context);
        let products = work.targets.iter().zip(trees).map(|(target, tree)| export::Product {
            platform: target.platform.clone(),
            config: target.made.config.clone(),
            tree,
            layer_names: target
                .made
                .layers
                .iter()
                .map(|node| work.graph.nodes()[*node].name.clone())
                .collect(),
        });
        let products = export::finished(&session, Some(&cache), products.collect())?;
        let facts = export::Facts {
            started: Some(started),
            work: Some(&work),
            cache: Some(&cache),
            scanned: Some(&scanned),
            generated: Some(&generated),
        };
        if let Some((name, together)) = part
            && together.is_wanted(name)
        {
            let origins = export::origins(&session, &products, &facts, progress);
            together.put(name, Made { products: products.clone(), origins })?;
        }
        export::run(&session, products, &facts, progress)
    }
}

/// Refuses what cannot be done, before anything is.
fn check(request: &Build) -> Result<()> {
    export::check(request)?;
    Ok(())
}

/// Refuses programs that ask for what the build was not allowed: before anything is built, and also those whose result is known.
fn check_programs(session: &Session<'_>, work: &Work) -> Result<()> {
    for node in work.graph.nodes() {
        if let Op::Run(op) = &node.op {
            run::check(session, op).map_err(|error| at_step(work, node, error))?;
        }
    }
    Ok(())
}

/// Solves the graph; the file tree of each target, and those of other nodes behind them.
fn solved(
    session: &Session<'_>,
    work: &Work,
    contexts: contexts::Contexts<'_>,
    (others, cache): (&[usize], &SharedCache<'_>),
    progress: &Progress<'_>,
) -> Result<Vec<tree::Tree>> {
    let hands = Hands { session, work, contexts, cache, taken: Mutex::default() };
    let request = session.request;
    let anew = |node: &Node| {
        is_step(&node.op)
            && (request.no_cache || work.is_anew || in_stage(&node.name, &request.no_cache_filter))
    };
    let salt = |op: &Op| {
        let salt = salt::of(request, session.timestamp(), op);
        let Op::Run(run) = op else { return salt };
        // What it may not have was refused before.
        salt + &salt::of_devices(&run::devices(session, run).unwrap_or_default())
    };
    let options = Options {
        programs: request.parallel.unwrap_or(PROGRAMS).max(1),
        anew: &anew,
        salt: &salt,
        asks_all: cache.exports_all()?,
    };
    let watch = |event: ::build::Event<'_>| progress.node(&work.graph, event);
    let targets: Vec<usize> = work.targets.iter().map(|target| target.made.node).collect();
    let targets = [&targets, others].concat();
    later::written(&session.draft, cache, |cache| {
        let solved = solve(&work.graph, &targets, (&hands, cache), &options, (session.cancel, &watch));
        solved.map_err(|failure| failed(failure, work, progress))
    })
}

/// What the Dockerfile does itself, as opposed to where its files come from.
fn is_step(op: &Op) -> bool {
    matches!(op, Op::Run(_) | Op::Copy(_) | Op::MakeDirectory { .. } | Op::Merge)
}

/// Whether a node, by its name (`[build 2/5] RUN make`), belongs to one of these stages.
fn in_stage(name: &str, stages: &BTreeSet<String>) -> bool {
    let place = name.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or("", |(place, _)| place);
    place.split(' ').any(|word| stages.contains(&word.to_lowercase()))
}

/// Why a step cannot be done, with its place in the Dockerfile.
fn at_step(work: &Work, node: &Node, error: crate::Error) -> crate::Error {
    let place = node.span.map(|span| Place { source: Arc::clone(&work.source), span });
    BuildError::Step { name: node.name.clone(), place, source: Box::new(error) }.into()
}

/// The failure of a step, with its place in the Dockerfile.
fn failed(failure: Failure<crate::Error>, work: &Work, progress: &Progress<'_>) -> crate::Error {
    match failure {
        Failure::Node { node, name, error } => {
            let error = generator::named(work, node, error);
            progress.node_failed(node, &error);
            match work.graph.nodes().get(node) {
                Some(node) => at_step(work, node, error),
                None => BuildError::Step { name, place: None, source: Box::new(error) }.into(),
            }
        }
        Failure::Cache(error) => error,
        Failure::Lost { layer, name, .. } => BuildError::Lost { layer, name }.into(),
        Failure::Cancelled => BuildError::Cancelled.into(),
    }
}
