//! Stages: what each is based on, which of them a target needs, in which order.
//!
//! Whoever builds knows things that a file does not say: build arguments, platforms, contexts, the configs of
//! images. [`Options`] holds the former; images are asked for: [`resolve`] says which configs it still needs
//! ([`Plan::missing`]), and is called again with them until it needs none, since triggers (ONBUILD) of one image may
//! name others.

mod arguments;
mod epoch;
mod graph;
mod resolver;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use oci::{ImageConfig, Platform, Reference};

use self::resolver::Resolver;
use crate::expand::Environment;
use crate::source::{Result, Span};
use crate::syntax::{Dockerfile, Instruction};

pub use arguments::{PREDEFINED_PROXIES, global_arguments, is_image_name};
pub use epoch::{Fetched, fetched_by};

/// What a build is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The stage wanted; the last one if none.
    pub target: Option<String>,
    /// Values of ARG.
    pub arguments: BTreeMap<String, String>,
    /// What is built for.
    pub platform: Platform,
    /// Whether it is built for others too: names of steps then say for which.
    pub several: bool,
    /// What builds.
    pub builder: Platform,
    /// Names of contexts that stand in for stages and images: as given, those of images without `:latest`.
    pub contexts: BTreeSet<String>,
    /// Whether stages that the target does not need are looked at too, as the checks do.
    pub all_stages: bool,
}

impl Options {
    /// For the platform that builds, with nothing else asked for.
    #[must_use]
    pub fn new(builder: Platform) -> Self {
        Self {
            target: None,
            arguments: BTreeMap::new(),
            platform: builder.clone(),
            several: false,
            builder,
            contexts: BTreeSet::new(),
            all_stages: false,
        }
    }
}

/// An image that a stage begins with, for a platform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageKey {
    /// The image.
    pub reference: Reference,
    /// As `os/architecture[/variant]`.
    pub platform: String,
}

/// Configs of images that are known.
pub type Images = BTreeMap<ImageKey, ImageConfig>;

/// What a stage begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// Another stage, by its number in [`Plan::stages`].
    Stage(usize),
    /// An image.
    Image(ImageKey),
    /// A context that the caller named.
    Context(String),
}

/// An instruction, and where its files come from.
#[derive(Clone, Debug)]
pub struct Step {
    /// The instruction.
    pub instruction: Instruction,
    /// The stages that it takes files from: of COPY that of `--from`, of RUN those of its mounts, in order.
    pub sources: Vec<Option<usize>>,
    /// Whether it comes from a trigger of the base.
    pub triggered: bool,
}

/// A stage with its base found.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Its name, or none if it has none.
    pub name: Option<String>,
    /// What people call it: its name, or `stage-N`.
    pub shown: String,
    /// The base as it reads with variables replaced.
    pub base_name: String,
    /// The base.
    pub base: Base,
    /// What it is built for.
    pub platform: Platform,
    /// FROM's place, or that of the instruction that names it.
    pub span: Span,
    /// Its instructions; none of a stage that stands for an image.
    pub steps: Vec<Step>,
    /// Its number in the file; none if it stands for an image that an instruction names.
    pub index: Option<usize>,
    /// Whether the target needs it.
    pub needed: bool,
}

/// Stages, of which one is wanted.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The variables of FROM lines: predefined and of the ARG instructions before the first stage.
    pub globals: Environment,
    /// The stages of the file, in order, and those that stand for images.
    pub stages: Vec<Resolved>,
    /// The one wanted.
    pub target: usize,
    /// Numbers of the stages needed, each after those that it needs.
    pub order: Vec<usize>,
    /// Numbers of the stages that are not, in the same manner.
    pub others: Vec<usize>,
    /// Images whose configs are needed and not known.
    pub missing: BTreeSet<ImageKey>,
    /// Build arguments that no ARG asks for.
    pub unconsumed: Vec<String>,
}

/// Finds out what there is to build.
///
/// # Errors
/// If a name leads nowhere, a value is none, or stages need each other in a circle.
pub fn resolve(file: &Dockerfile, options: &Options, images: &Images) -> Result<Plan> {
    let last = file.stages.last().and_then(|stage| stage.from.kind.name.as_ref());
    let target_name = options.target.clone().or(last.map(|name| name.value.clone()));
    let globals = global_arguments(file, options, target_name.as_deref().unwrap_or_default(), true)?;
    let mut resolver =
        Resolver { file, options, globals: &globals, stages: Vec::new(), names: BTreeMap::new() };
    for (index, stage) in file.stages.iter().enumerate() {
        resolver.stage(index, stage)?;
    }
    let count = file.stages.len();
    let target = match &options.target {
        None => count.saturating_sub(1),
        Some(name) => resolver.target(name)?,
    };
    for index in 0..count {
        // A context in a stage's place has nothing to do with the stage's instructions.
        if !resolver.is_replaced(index) {
            resolver.steps(index, &file.stages[index].instructions, false)?;
        }
    }
    let mut triggered = vec![false; count];
    loop {
        let (order, others) = graph::order(&resolver.stages, target)?;
        let wanted: Vec<usize> =
            if options.all_stages { (0..resolver.stages.len()).collect() } else { order.clone() };
        let mut found = false;
        for index in wanted {
            if index < count && !std::mem::replace(&mut triggered[index], true) {
                found |= resolver.triggers(index, images)?;
            }
        }
        if !found {
            return resolver.finish(target, order, others, images);
        }
    }
}
