//! Bake files (HCL, JSON, Compose) to resolved build targets, as `docker buildx bake` has them.
//!
//! Pure: nothing here opens a file, asks the clock or reads the environment. Who calls hands in texts and gets a plan.
//!
//! ```no_run
//! use std::collections::BTreeMap;
//!
//! let file = bake::File {
//!     name: "docker-bake.hcl".to_owned(),
//!     content: r#"
//!         variable "TAG" { default = "latest" }
//!         target "default" { tags = ["app:${TAG}"] }
//!     "#
//!     .to_owned(),
//! };
//! let environment = BTreeMap::from([("TAG".to_owned(), "v1".to_owned())]);
//! let overrides = ["*.args.VERSION=1".to_owned()];
//! let plan = bake::load(&[file], &environment, &[], &overrides)?;
//! for name in &plan.order {
//!     let target = &plan.targets[name];
//!     assert_eq!(target.tags, ["app:v1"]);
//!     assert_eq!(target.args["VERSION"], "1");
//! }
//! # Ok::<(), bake::Error>(())
//! ```
//!
//! [`FILES`] are the names to look for where none is given, in the order in which what is there is handed in. A
//! [`Request`] takes more than [`load`]: values of `--var`, built-in variables, the time. [`Request::list`] is what
//! `--list` shows, [`Plan::to_json`] what `--print` shows.
//!
//! ```text
//! text ──hcl, json──► document ──resolve, eval──► definitions ──plan──► targets
//!      ──compose─────────────────────────────────►      ▲
//!                                              overrides┘
//! ```
//!
//! Where it goes another way than the original, on purpose: parents that are a circle are refused, not passed over;
//! `target.NAME.ATTRIBUTE` is that of the last block which sets it, not of the last block; outputs are set before `push`
//! and `load`, whose order the original leaves to chance; `&&` and `||` leave out a right side that decides nothing;
//! numbers hold 38 digits; lengths count characters where the original counts graphemes. Files that Compose files name (`include`, `extends`, `env_file`) are read by who calls ([`Reader`]).
//!
//! Files are from anywhere: how large they are, how deep they nest, how many targets they make and how much is
//! evaluated has limits, and what leads back to itself is refused with the way it takes.

#![allow(clippy::wildcard_enum_match_arm, reason = "values have nine kinds, of which most code wants one")]

mod compose;
mod definition;
mod document;
mod entry;
mod error;
mod eval;
mod expr;
mod functions;
mod hcl;
mod json;
mod number;
mod overrides;
mod path;
mod pattern;
mod plan;
mod print;
mod resolve;
#[cfg(test)]
mod tests;
mod types;
mod value;

use std::collections::BTreeMap;
use std::time::SystemTime;

pub use definition::Group;
pub use entry::{Attest, Entry, Policy, Secret, Ssh};
pub use error::{Error, Place, Result};
pub use plan::{Plan, Target};
pub use resolve::Variable;

use definition::Config;
use error::{Fault, Sources};
use functions::Host;
use resolve::{Outside, Resolver};

/// The files that make a definition where none is named, as far as they are there; later ones lie over earlier ones.
pub const FILES: &[&str] = &[
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// How large all files may be together.
const MAX_BYTES: usize = 4 << 20;

/// A bake file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, whose ending says what it is; without a known ending, its content says.
    pub name: String,
    /// Its text.
    pub content: String,
}

/// Reads `files` and resolves `targets` (names, groups, patterns; none: `default`) with `overrides` (`--set`).
pub fn load(
    files: &[File],
    environment: &BTreeMap<String, String>,
    targets: &[String],
    overrides: &[String],
) -> Result<Plan> {
    let request =
        Request { files, environment: environment.clone(), targets, overrides, ..Request::default() };
    request.load()
}

/// Reads files that Compose files name, by their paths: relative ones are seen from the folder of the command, or of a
/// definition elsewhere from the top of that. Answers the text, or that there is no such file; or why it is not to be had.
#[derive(Clone, Copy)]
pub struct Reader<'a>(pub &'a dyn Fn(&str) -> std::result::Result<Option<String>, String>);

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Reader")
    }
}

/// What to read and what to make of it.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// The files, earlier ones below later ones.
    pub files: &'a [File],
    /// Environment variables, which give variables their values.
    pub environment: BTreeMap<String, String>,
    /// The text of `.env`, whose variables Compose files have below those of the environment.
    pub dotenv: Option<&'a str>,
    /// What reads files that Compose files name; without it, those are refused.
    pub reader: Option<Reader<'a>>,
    /// Values of variables that go before the environment (`--var`).
    pub variables: BTreeMap<String, String>,
    /// Names of targets and groups, and patterns; none means `default`.
    pub targets: &'a [String],
    /// `pattern.key[+]=value` (`--set`).
    pub overrides: &'a [String],
    /// `BAKE_CMD_CONTEXT`: where the command was given, where that is not where the files are; `cwd://` otherwise.
    pub command_context: Option<String>,
    /// `BAKE_LOCAL_PLATFORM`: the platform of this machine.
    pub local_platform: Option<String>,
    /// What `timestamp` answers; without it, a file that asks is refused.
    pub now: Option<SystemTime>,
    /// What random values (`uuidv4`, `bcrypt`) are made from; without it, a file that asks is refused.
    pub seed: Option<[u8; 32]>,
}

/// What there is to choose from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// The targets and what they are for, by name. Those of names with `_` at their start are for files alone.
    pub targets: BTreeMap<String, Option<String>>,
    /// The groups, by name.
    pub groups: BTreeMap<String, Group>,
    /// The variables, by name.
    pub variables: Vec<Variable>,
}

impl Request<'_> {
    /// Resolves the targets.
    pub fn load(&self) -> Result<Plan> {
        let (config, _) = self.define()?;
        let overrides = overrides::parse(self.overrides, &config, &self.environment)?;
        let mut plan = plan::make(&config, self.targets, &overrides)?;
        if let Some(epoch) = self.environment.get("SOURCE_DATE_EPOCH").filter(|epoch| !epoch.is_empty()) {
            for target in plan.targets.values_mut() {
                target.args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| epoch.clone());
            }
        }
        Ok(plan)
    }

    /// Says what could be resolved.
    pub fn list(&self) -> Result<List> {
        let (config, variables) = self.define()?;
        let targets = config.targets.into_iter().map(|target| (target.name, target.description));
        let mut groups = BTreeMap::new();
        for (name, group) in config.groups {
            groups.entry(name).or_insert(group);
        }
        Ok(List { targets: targets.collect(), groups, variables })
    }

    /// Reads all files into one set of definitions.
    fn define(&self) -> Result<(Config, Vec<Variable>)> {
        let size = self.files.iter().fold(0usize, |sum, file| sum.saturating_add(file.content.len()));
        if size > MAX_BYTES {
            return Err(Error::Limit { what: "bytes of bake files".to_owned(), limit: MAX_BYTES as u64 });
        }
        let sources = Sources { files: self.files };
        self.define_from_sources().map_err(|fault| sources.error(fault))
    }

    /// What Compose files see of the environment.
    fn with_dotenv(&self, environment: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Fault> {
        let mut all = match self.dotenv {
            Some(text) => compose::dotenv::parse(text, &|name| environment.get(name).map(String::as_str))
                .map_err(|wrong| {
                    let place = Place { file: ".env".to_owned(), position: Some((wrong.line, 1)) };
                    Error::Syntax { place, reason: wrong.reason }
                })?,
            None => BTreeMap::new(),
        };
        all.extend(environment.clone());
        Ok(all)
    }

    fn define_from_sources(&self) -> Result<(Config, Vec<Variable>), Fault> {
        let without_environment = BTreeMap::new();
        let disabled = self.environment.get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP");
        let disabled = disabled.is_some_and(|text| entry::parse_bool(text) == Some(true));
        let outside = Outside {
            environment: if disabled { &without_environment } else { &self.environment },
            variables: &self.variables,
            builtin: BTreeMap::from([
                (
                    "BAKE_CMD_CONTEXT".to_owned(),
                    self.command_context.clone().unwrap_or_else(|| "cwd://".to_owned()),
                ),
                ("BAKE_LOCAL_PLATFORM".to_owned(), self.local_platform.clone().unwrap_or_default()),
            ]),
        };
        let composed = self.with_dotenv(outside.environment)?;
        let of_compose =
            Outside { environment: &composed, variables: &self.variables, builtin: outside.builtin.clone() };
        let (mut documents, mut composes) = (Vec::new(), Vec::new());
        for (at, file) in self.files.iter().enumerate() {
            match read(file, at)? {
                Read::Document(document) => documents.push(document),
                Read::Compose(compose) => composes.push(compose),
            }
        }
        let mut config = Config::default();
        if !composes.is_empty() {
            compose::define(composes, &of_compose, self.reader, &mut config)?;
        }
        let host = Host::new(self.now, self.seed, self.environment.get("HOME").cloned());
        let variables = Resolver::new(&documents, &outside, host)?.resolve(&mut config)?;
        Ok((config, variables))
    }
}

enum Read {
    Document(document::Document),
    Compose(compose::File),
}

/// Reads a file as what its name says; without an ending that says something, as what it can be read as.
fn read(file: &File, at: usize) -> Result<Read, Fault> {
    let name = file.name.to_lowercase();
    let text = file.content.strip_prefix('\u{feff}').unwrap_or(&file.content);
    let ends = |ending: &str| name.ends_with(ending);
    if ends(".yml") || ends(".yaml") {
        return compose::parse(&file.name, text).map(Read::Compose);
    }
    if ends(".json") {
        return json::parse(&file.name, text, at).map(Read::Document);
    }
    let hcl = hcl::parse(&file.name, text, at);
    if ends(".hcl") || hcl.is_ok() {
        return hcl.map(Read::Document);
    }
    if let Ok(document) = json::parse(&file.name, text, at) {
        return Ok(Read::Document(document));
    }
    match compose::parse(&file.name, text) {
        Ok(compose) => Ok(Read::Compose(compose)),
        Err(_) => hcl.map(Read::Document),
    }
}
