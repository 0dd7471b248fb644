//! Compose files: the services that are built, as targets.
//!
//! ```text
//! text ──yaml──► tree ──interpolate──► tree ──merge, over the files before──► services ──service──► definitions
//! ```
//!
//! Of a file only `services.*.{image,build,environment,extends}` and `secrets` matter. Variables are those of the environment, then
//! those of `.env` ([`dotenv`]). Other files are not read: neither those that `include` or `extends` name, which are refused, nor
//! `env_file`, which build arguments without a value could take theirs from.

pub(crate) mod dotenv;
mod interpolate;
mod merge;
mod service;
mod yaml;

use std::collections::BTreeMap;

use crate::definition::{Config, Group};
use crate::error::{Error, Fault, Place};
use crate::resolve::Outside;
use crate::resolve::check_name;

use yaml::{MAX_NODES, Yaml, count};

/// How many services may extend each other in a chain.
const MAX_EXTENDS: usize = 16;

/// A file that was read, with its variables filled in.
pub(crate) struct File {
    root: Yaml,
}

/// Reads a file.
pub(crate) fn parse(name: &str, text: &str, outside: &Outside<'_>) -> Result<File, Fault> {
    let place = |position| Place { file: name.to_owned(), position };
    let mut root = yaml::parse(text)
        .map_err(|error| Error::Syntax { place: place(error.position), reason: error.reason })?;
    let invalid = |reason| Error::Invalid { place: place(None), reason };
    interpolate::all(&mut root, outside).map_err(invalid)?;
    merge::canonical(&mut root).map_err(invalid)?;
    if root.get("include").is_some_and(|include| !include.is_null()) {
        return Err(invalid("include is not supported: name the files instead".to_owned()).into());
    }
    if root.get("services").is_none() && root.get("secrets").is_none() {
        return Err(invalid("empty compose file".to_owned()).into());
    }
    Ok(File { root })
}

/// Adds what the files say, merged in their order.
pub(crate) fn define(files: Vec<File>, outside: &Outside<'_>, config: &mut Config) -> Result<(), Fault> {
    let mut root = Yaml::Map(Vec::new());
    for file in files {
        merge::over(&mut root, file.root);
    }
    let secrets = root.get("secrets").cloned().unwrap_or(Yaml::Null);
    let services = match root.get("services") {
        Some(Yaml::Map(services)) if !services.is_empty() => services.as_slice(),
        _ => return Ok(()),
    };
    let by_name: BTreeMap<&str, &Yaml> =
        services.iter().map(|(name, service)| (name.as_str(), service)).collect();
    let mut group = Group::default();
    let mut left = MAX_NODES;
    for name in by_name.keys() {
        let target = name.replace('.', "_");
        let invalid = |reason| Error::Target { target: target.clone(), reason };
        let service = extended(name, &by_name, &mut Vec::new(), &mut left)?;
        let Some(build) = service.get("build").filter(|build| !build.is_null()) else { continue };
        check_name(&target).map_err(invalid)?;
        let definition = service::definition(&target, &service, build, &secrets, outside).map_err(invalid)?;
        group.targets.push(target);
        config.add(definition);
    }
    config.set_group("default".to_owned(), group);
    Ok(())
}

/// A service with what it extends below it.
fn extended(
    name: &str,
    services: &BTreeMap<&str, &Yaml>,
    chain: &mut Vec<String>,
    left: &mut usize,
) -> Result<Yaml, Error> {
    let Some(service) = services.get(name) else { return Err(Error::NoTarget { name: name.to_owned() }) };
    if let Some(start) = chain.iter().position(|link| link == name) {
        let mut chain = chain.split_off(start);
        chain.push(name.to_owned());
        return Err(Error::Cycle { kind: "extends", chain });
    }
    if chain.len() >= MAX_EXTENDS {
        return Err(Error::Limit {
            what: "services that extend each other".to_owned(),
            limit: MAX_EXTENDS as u64,
        });
    }
    chain.push(name.to_owned());
    let too_much = || Error::Limit {
        what: "nodes of services, with what they extend".to_owned(),
        limit: MAX_NODES as u64,
    };
    *left = left.checked_sub(count(service)).ok_or_else(too_much)?;
    let mut service = (*service).clone();
    if let Some(extends) = service.remove("extends").filter(|extends| !extends.is_null()) {
        let refused = |reason: &str| Error::Target { target: name.to_owned(), reason: reason.to_owned() };
        if extends.get("file").is_some() {
            return Err(refused("a service of another file cannot be extended"));
        }
        let base = extends.text().or_else(|| extends.get("service").and_then(Yaml::text));
        let base = base.ok_or_else(|| refused("extends names no service"))?;
        let mut merged = extended(&base, services, chain, left)?;
        merge::over(&mut merged, service);
        service = merged;
    }
    chain.pop();
    Ok(service)
}
