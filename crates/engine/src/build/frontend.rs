//! From the text of a Dockerfile to one graph of operations for all platforms, and what the checks find on the way.

use std::collections::BTreeSet;
use std::sync::Arc;

use dockerfile::expand::suggestion;
use dockerfile::ignore::Matcher;
use dockerfile::lint::{Config, Linter, Warning, check_tree};
use dockerfile::lower::{self, ContextConfigs, Graph, Made};
use dockerfile::source::{Diagnostic, Source, Span};
use dockerfile::stage::{Base, ImageKey, Images, Options, resolve};
use dockerfile::syntax::{Dockerfile, Stage};
use dockerfile::{parse, stage};
use oci::Platform;

use super::contexts::Contexts;
use super::epoch;
use super::error::{BuildError, Faulty, Place};
use super::generator::Runs;
use super::images::Bases;
use super::progress::Progress;
use super::session::Session;
use super::watch::BuildEvent;
use crate::Result;
use crate::images::parse_platform;
use crate::request::{Build, EPOCH};

/// What is to be done, decided in full.
pub(super) struct Work {
    /// The Dockerfile.
    pub(super) source: Arc<Source>,
    /// The operations for all platforms.
    pub(super) graph: Graph,
    /// What the target makes for each platform, in the order in which they were asked for.
    pub(super) targets: Vec<Target>,
    /// The images that stages begin with.
    pub(super) bases: Bases,
    /// Whether all is to be made anew: the one stage that there is was named.
    pub(super) is_anew: bool,
    /// The runs of an image that lists packages, where one was asked for.
    pub(super) generator: Option<Runs>,
}

/// The image for one platform.
pub(super) struct Target {
    /// The platform.
    pub(super) platform: Platform,
    /// Its file tree and config.
    pub(super) made: Made,
}

/// A Dockerfile and the ignore file that goes with it.
pub(super) struct Text {
    /// What people call it.
    pub(super) name: String,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Patterns of what the main context leaves out.
    pub(super) ignored: Option<Matcher>,
}

/// Reads a Dockerfile, looks up the images that it begins with, and lowers it.
pub(super) fn work(
    session: &Session<'_>,
    (text, contexts): (Text, &Contexts<'_>),
    progress: &Progress<'_>,
) -> Result<Work> {
    let Text { name, bytes, ignored } = text;
    let (source, file) = parsed(name, bytes)?;
    let faulty = |error: Diagnostic| faulty(&source, vec![error], false);
    let host = options(session.request, (Platform::host(), false), None);
    let epoch = epoch::declare(session, &file, &host, faulty, progress)?;
    let given = session.request.arguments.get("BUILDKIT_DOCKERFILE_CHECK").map(|text| Config::parse(text));
    let given = given.transpose().map_err(|message| BuildError::CheckOptions { message })?;
    let mut linter = Linter::new(&file, given).map_err(faulty)?;
    let (bases, mut configs) = (Bases::default(), ContextConfigs::new());
    let (mut graph, mut images, mut targets) = (Graph::default(), Images::new(), Vec::new());
    let platforms = platforms(session.request)?;
    for platform in &platforms {
        let options = options(session.request, (platform.clone(), platforms.len() > 1), epoch.as_deref());
        if targets.is_empty() {
            check_tree(&file, &options, &mut linter);
        }
        let plan = plan(session, (&file, &source, &options), &bases, &mut images, progress)?;
        let plan = plan.map_err(faulty)?;
        look_up_contexts(session, &plan, contexts, &mut configs, progress)?;
        let inputs = lower::Inputs {
            plan: &plan,
            options: &options,
            images: &images,
            contexts: &configs,
            ignored: ignored.as_ref(),
            escape: file.escape,
        };
        // What is found for one platform is found for the others.
        let mut others = Linter::default();
        let linter = if targets.is_empty() { &mut linter } else { &mut others };
        let mut made = lower::lower(&mut graph, &inputs, linter).map_err(faulty)?;
        made.config.config.labels.extend(session.request.labels.clone());
        targets.push(Target { platform: platform.clone(), made });
    }
    tell(linter, &source, session.request.strict, progress)?;
    // Steps of a file with one stage are not called by it.
    let is_anew = match file.stages.as_slice() {
        [Stage { from, .. }] => {
            let name = from.kind.name.as_ref();
            name.is_some_and(|name| session.request.no_cache_filter.contains(&name.value))
        }
        _ => false,
    };
    Ok(Work { source, graph, targets, bases, is_anew, generator: None })
}

fn parsed(name: String, bytes: Vec<u8>) -> Result<(Arc<Source>, Dockerfile)> {
    let source = match Source::new(name.clone(), bytes) {
        Ok(source) => Arc::new(source),
        Err(_) => {
            let limit = dockerfile::source::FILE_LIMIT as u64;
            return Err(BuildError::LargeDockerfile { name, limit }.into());
        }
    };
    let file = parse::parse(&source);
    let file = file.map_err(|errors| faulty(&source, errors.iter().cloned().collect(), true))?;
    Ok((source, file))
}

fn faulty(source: &Arc<Source>, errors: Vec<Diagnostic>, is_syntax: bool) -> crate::Error {
    BuildError::Dockerfile(Box::new(Faulty { errors, source: Arc::clone(source), is_syntax })).into()
}

/// Stages and their bases. Triggers of one image may name others, so it takes several rounds.
fn plan(
    session: &Session<'_>,
    (file, source, options): (&Dockerfile, &Arc<Source>, &Options),
    bases: &Bases,
    images: &mut Images,
    progress: &Progress<'_>,
) -> Result<std::result::Result<stage::Plan, Diagnostic>> {
    loop {
        let plan = match resolve(file, options, images) {
            Ok(plan) if !plan.missing.is_empty() => plan,
            done => return Ok(done),
        };
        for key in &plan.missing {
            let config = bases.config(session, key, progress).map_err(|error| {
                // Nothing is wrong with the name then.
                if session.cancel.is_cancelled() { error } else { no_base(key, error, &plan, source) }
            });
            images.insert(key.clone(), config?);
        }
    }
}

/// An image that cannot be had, with the line that names it: often the name is that of a stage, misspelled.
fn no_base(key: &ImageKey, error: crate::Error, plan: &stage::Plan, source: &Arc<Source>) -> crate::Error {
    let begins = |stage: &&stage::Resolved| matches!(&stage.base, Base::Image(base) if base == key);
    let Some(stage) = plan.stages.iter().find(begins) else { return error };
    let start = |span: Span| span.range().start;
    let before = plan.stages.iter().filter(|other| start(other.span) < start(stage.span));
    let near = suggestion(&stage.base_name, before.filter_map(|other| other.name.as_deref()));
    let base = BuildError::Base {
        name: stage.base_name.clone(),
        reference: key.reference.clone(),
        near: near.map(str::to_owned),
        source: Box::new(error),
    };
    let place = Some(Place { source: Arc::clone(source), span: stage.span });
    BuildError::Step { name: stage.base_name.clone(), place, source: Box::new(base.into()) }.into()
}

/// What the stages are told by the request. `epoch` takes the place of an argument that says whose time counts.
fn options(request: &Build, (platform, several): (Platform, bool), epoch: Option<&str>) -> Options {
    let mut arguments = request.arguments.clone();
    arguments.extend(epoch.map(|epoch| (EPOCH.to_owned(), epoch.to_owned())));
    Options {
        target: request.target.clone().filter(|target| !target.is_empty()),
        arguments,
        platform,
        several,
        builder: Platform::host(),
        contexts: request.contexts.keys().cloned().collect(),
        all_stages: false,
    }
}

/// The platforms asked for, each once.
fn platforms(request: &Build) -> Result<Vec<Platform>> {
    let mut seen = BTreeSet::new();
    let mut platforms = Vec::new();
    for text in &request.platforms {
        let platform = parse_platform(text)?.normalized();
        if seen.insert(platform.to_string()) {
            platforms.push(platform);
        }
    }
    if platforms.is_empty() {
        platforms.push(Platform::host());
    }
    Ok(platforms)
}

/// Looks up the contexts that stages begin with, as far as they are images.
fn look_up_contexts(
    session: &Session<'_>,
    plan: &stage::Plan,
    contexts: &Contexts<'_>,
    configs: &mut ContextConfigs,
    progress: &Progress<'_>,
) -> Result<()> {
    for stage in plan.order.iter().filter_map(|index| plan.stages.get(*index)) {
        let Base::Context(name) = &stage.base else { continue };
        let key = (name.clone(), stage.platform.to_string());
        if configs.contains_key(&key) {
            continue;
        }
        if let Some(config) = contexts.named.config(session, (name, &stage.platform), progress)? {
            configs.insert(key, config);
        }
    }
    Ok(())
}

/// Tells what the checks found; with `strict`, or where the file says so, that is the end.
fn tell(linter: Linter, source: &Arc<Source>, strict: bool, progress: &Progress<'_>) -> Result<()> {
    let report = linter.finish(source);
    let warnings: &[Warning] = &report.warnings;
    for warning in warnings {
        progress.tell(BuildEvent::Warning { warning, source });
    }
    if strict && !warnings.is_empty() {
        return Err(BuildError::Lint { count: warnings.len() }.into());
    }
    match report.violation() {
        Some(message) => Err(BuildError::Violation { message }.into()),
        None => Ok(()),
    }
}
