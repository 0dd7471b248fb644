//! Compose files: the services that are built, as targets.
//!
//! ```text
//! text ──yaml──► tree ──interpolate──► extends ──► paths ──► include ──► merge, over the files before ──► services ──► definitions
//!                                         ▲                     ▲                                            ▲
//!                                  other files ([`load`])  other files, with `.env` of their own         env_file
//! ```
//!
//! Of a file only `name`, `include`, `services.*.{image,build,environment,env_file,extends}` and `secrets` matter; every profile counts. Variables
//! are those of the environment, then those of `.env` ([`dotenv`]), then `COMPOSE_PROJECT_NAME`. Other files are read by who
//! calls, relative to the folder of the project, which is his own.
//!
//! Unlike the original, an `env_file` is only read where a build argument takes its value from the service's environment: what
//! programs are told when they run need not be there when they are built.

pub(crate) mod dotenv;
mod environment;
mod interpolate;
mod load;
mod merge;
mod paths;
mod service;

use crate::definition::{Config, Group};
use crate::error::{Error, Fault, Place};
use crate::resolve::{Outside, check_name};
use crate::{MAX_BYTES, Reader};

use load::{Level, Loader};
use yaml::{Rules, Yaml};

/// What is taken of a file, and of all that it names together. What comes twice is said by Compose's words.
const RULES: Rules = Rules { depth: 64, nodes: 256 << 10, doubles: true, merges: true };

/// A file as it was read.
pub(crate) struct File {
    name: String,
    root: Yaml,
}

/// Reads a file.
pub(crate) fn parse(name: &str, text: &str) -> Result<File, Fault> {
    let place = |position| Place { file: name.to_owned(), position };
    let root = yaml::parse(text, RULES).map_err(|error| Error::Syntax {
        place: place(Some((error.line, error.column))),
        reason: error.reason,
    })?;
    let invalid = |reason: &str| Error::Invalid { place: place(None), reason: reason.to_owned() };
    if !matches!(root, Yaml::Map(_) | Yaml::Null) {
        return Err(invalid("a Compose file is a map").into());
    }
    if !["services", "secrets", "include"].iter().any(|key| root.get(key).is_some()) {
        return Err(invalid("empty compose file").into());
    }
    Ok(File { name: name.to_owned(), root })
}

/// Adds what the files say, merged in their order. `environment` is what their variables stand for.
pub(crate) fn define(
    files: Vec<File>,
    outside: &Outside<'_>,
    reader: Option<Reader<'_>>,
    config: &mut Config,
) -> Result<(), Fault> {
    let values = environment::values(&files, outside)?;
    let mut loader = Loader::new(reader, MAX_BYTES);
    let mut root = Yaml::Map(Vec::new());
    for file in files {
        let mut level = Level::first(values.clone(), &file.name);
        merge::over(&mut root, loader.load(&file.name, file.root, &mut level)?);
    }
    let mut root = merge::settled(root);
    let secrets = root.remove("secrets").unwrap_or(Yaml::Null);
    let Some(Yaml::Map(mut services)) = root.remove("services") else { return Ok(()) };
    if services.is_empty() {
        return Ok(());
    }
    services.sort_by(|one, other| one.0.cmp(&other.0));
    let mut group = Group::default();
    for (name, service) in &services {
        let target = name.replace('.', "_");
        let invalid = |reason| Error::Target { target: target.clone(), reason };
        let Some(build) = service.get("build").filter(|build| !build.is_null()) else { continue };
        check_name(&target).map_err(invalid)?;
        let mut environment = environment::Environment::of(service, &values, &mut loader);
        let definition = service::definition(&target, (service, build), &secrets, &mut environment);
        group.targets.push(target.clone());
        config.add(definition.map_err(invalid)?);
    }
    config.set_group("default".to_owned(), group);
    Ok(())
}
