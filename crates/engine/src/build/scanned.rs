//! File trees of which packages are listed besides an image's own: of stages and of the context, as the Dockerfile wants it.
//!
//! Stages are further targets of the build: one whose image is known is looked up as well, and made where it is not. The context is
//! made a layer, as it is where a step mounts it; nothing names that layer, and the next collection removes it.

use std::collections::BTreeMap;

use build::{Source, Step};

use super::contexts::Contexts;
use super::copy;
use super::export::{Scanned, lists_packages};
use super::frontend::Work;
use super::session::Session;
use super::tree::Tree;
use crate::Result;
use crate::images::failed;

/// What the context is called among the stages.
const CONTEXT: &str = "context";

/// The nodes that make the files of such stages, target by target.
pub(super) fn nodes(session: &Session<'_>, work: &Work) -> Result<Vec<usize>> {
    if !lists_packages(session.request)? {
        return Ok(Vec::new());
    }
    let stages = work.targets.iter().flat_map(|target| &target.made.scanned.stages);
    Ok(stages.map(|(_, node)| *node).collect())
}

/// The context as layers; none if nobody wants to know what is in it.
pub(super) fn context(session: &Session<'_>, work: &Work, contexts: &Contexts<'_>) -> Result<Option<Tree>> {
    let is_wanted = work.targets.iter().any(|target| target.made.scanned.context);
    if !is_wanted || !lists_packages(session.request)? {
        return Ok(None);
    }
    let Source::Here { tree, .. } = contexts.find("", None)? else { return Ok(None) };
    let quiet = |_: build::Event<'_>| {};
    let tree = copy::as_layer(session, &tree, "/", &Step::new(0, session.cancel, &quiet))?;
    for layer in tree.diff_ids() {
        session.draft.publish(&layer).map_err(failed("store the context"))?;
    }
    Ok(Some(tree))
}

/// What was made of those nodes, and the context, by platform and name.
pub(super) fn by_platform(work: &Work, trees: Vec<Tree>, context: Option<Tree>) -> Scanned {
    let mut trees = trees.into_iter();
    let mut all = Scanned::new();
    for target in &work.targets {
        let scanned = &target.made.scanned;
        let context = context.iter().filter(|_| scanned.context);
        let mut named: BTreeMap<String, Tree> =
            context.map(|tree| (CONTEXT.to_owned(), tree.clone())).collect();
        // A stage of that name comes before the context, as in BuildKit.
        named.extend(scanned.stages.iter().map(|(name, _)| name.clone()).zip(trees.by_ref()));
        all.insert(target.platform.to_string(), named);
    }
    all
}
