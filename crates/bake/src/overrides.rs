//! `--set pattern.key[=value]`: what the command line puts over what files say.

use std::collections::BTreeMap;

use crate::definition::{Config, Definition, check_resource};
use crate::entry::{Output, from_texts, last_of_each, parse_bool, without_doubles};
use crate::error::{Error, Result};
use crate::pattern;

/// Overrides by target and key.
pub(crate) type Overrides = BTreeMap<String, BTreeMap<String, Override>>;

/// What all overrides of one key of one target come to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Override {
    /// As it was given last, for errors.
    text: String,
    /// The last value.
    value: String,
    /// All values, for keys that are lists.
    values: Vec<String>,
    /// Whether they come to what is there (`+=`), rather than in its place.
    append: bool,
}

/// Keys that take several values.
const LISTS: &[&str] = &[
    "annotations",
    "attest",
    "cache-from",
    "cache-to",
    "entitlements",
    "no-cache-filter",
    "output",
    "platform",
    "policy",
    "secrets",
    "ssh",
    "tags",
    "ulimits",
];
/// Keys that take one value.
const SINGLE: &[&str] = &[
    "call",
    "context",
    "description",
    "dockerfile",
    "dockerfile-inline",
    "load",
    "network",
    "no-cache",
    "pull",
    "push",
    "shm-size",
    "target",
];
/// Keys that are followed by a name.
const NAMED: &[&str] = &["args", "contexts", "extra-hosts", "labels", "resources"];

/// Reads all overrides. An argument without a value takes that of the environment, and is nothing without one.
pub(crate) fn parse(
    texts: &[String],
    config: &Config,
    environment: &BTreeMap<String, String>,
) -> Result<Overrides> {
    let mut all = Overrides::new();
    for text in texts {
        let invalid = |reason: String| Error::Override { text: text.clone(), reason };
        let (left, value) = match text.split_once('=') {
            Some((left, value)) => (left, Some(value)),
            None => (text.as_str(), None),
        };
        let (left, append) = left.strip_suffix('+').map_or((left, false), |left| (left, true));
        let Some((pattern, key)) = left.split_once('.') else {
            return Err(invalid(format!("invalid override key {left}, expected target.name")));
        };
        let (first, name) = key.split_once('.').map_or((key, None), |(first, name)| (first, Some(name)));
        check_key(first, name).map_err(invalid)?;
        let value = match (value, first, name) {
            (Some(value), ..) => value,
            (None, "args", Some(name)) => match environment.get(name) {
                Some(value) => value,
                None => continue,
            },
            (None, ..) => return Err(invalid("expected target.name=value".to_owned())),
        };
        for target in expand(pattern, config)? {
            let entry = all.entry(target).or_default().entry(key.to_owned()).or_default();
            text.clone_into(&mut entry.text);
            value.clone_into(&mut entry.value);
            entry.values.push(value.to_owned());
            entry.append = append;
        }
    }
    Ok(all)
}

fn check_key(key: &str, name: Option<&str>) -> std::result::Result<(), String> {
    if NAMED.contains(&key) {
        return match name {
            Some(_) => Ok(()),
            None => Err(format!("invalid key {key}, {key} requires name")),
        };
    }
    if name.is_some() && (LISTS.contains(&key) || SINGLE.contains(&key)) {
        return Err(format!("invalid key {key}, which takes no name"));
    }
    if LISTS.contains(&key) || SINGLE.contains(&key) {
        return Ok(());
    }
    let known: Vec<&str> = LISTS.iter().chain(SINGLE).chain(NAMED).copied().collect();
    Err(format!("unknown key: {key}; known are {}", known.join(", ")))
}

/// The targets that a pattern means: one of that name, or all that fit.
fn expand(pattern: &str, config: &Config) -> Result<Vec<String>> {
    if config.target(pattern).is_some() {
        return Ok(vec![pattern.to_owned()]);
    }
    let fitting =
        config.targets.iter().map(|target| &target.name).filter(|name| pattern::matches(pattern, name));
    let fitting: Vec<String> = fitting.cloned().collect();
    if fitting.is_empty() { Err(Error::NoMatch { pattern: pattern.to_owned() }) } else { Ok(fitting) }
}

/// Puts overrides over a target.
pub(crate) fn apply(target: &mut Definition, overrides: &BTreeMap<String, Override>) -> Result<()> {
    // What depends on the outputs comes last, however the overrides were ordered.
    let (late, early): (Vec<_>, Vec<_>) =
        overrides.iter().partition(|(key, _)| matches!(key.as_str(), "push" | "load"));
    for (key, it) in early.into_iter().chain(late) {
        set(target, key, it).map_err(|reason| Error::Override { text: it.text.clone(), reason })?;
    }
    Ok(())
}

fn set(target: &mut Definition, key: &str, it: &Override) -> std::result::Result<(), String> {
    let value = it.value.clone();
    let flag =
        || parse_bool(&it.value).ok_or_else(|| format!("invalid value {} for boolean key {key}", it.value));
    let (first, name) = key.split_once('.').unwrap_or((key, ""));
    match first {
        "args" => drop(target.args.insert(name.to_owned(), value)),
        "contexts" => drop(target.contexts.insert(name.to_owned(), value)),
        "labels" => drop(target.labels.insert(name.to_owned(), value)),
        "extra-hosts" => drop(target.extra_hosts.insert(name.to_owned(), value)),
        "resources" => {
            check_resource(name, &value)?;
            target.resources.insert(name.to_owned(), value);
        }
        "description" => target.description = Some(value),
        "context" => target.context = Some(value),
        "dockerfile" => target.dockerfile = Some(value),
        "dockerfile-inline" => target.dockerfile_inline = Some(value),
        "target" => target.target = Some(value),
        "call" => target.call = Some(value),
        "shm-size" => target.shm_size = Some(value),
        "network" => target.network = Some(value),
        "no-cache" => target.no_cache = Some(flag()?),
        "pull" => target.pull = Some(flag()?),
        "tags" => put(&mut target.tags, it.values.clone(), it.append),
        "platform" => put(&mut target.platforms, it.values.clone(), it.append),
        "no-cache-filter" => put(&mut target.no_cache_filter, it.values.clone(), it.append),
        "ulimits" => put(&mut target.ulimits, it.values.clone(), it.append),
        "entitlements" => put(&mut target.entitlements, it.values.clone(), true),
        "annotations" => put(&mut target.annotations, it.values.clone(), true),
        "cache-from" => put(&mut target.cache_from, from_texts(&it.values)?, it.append),
        "cache-to" => put(&mut target.cache_to, from_texts(&it.values)?, it.append),
        "secrets" => put(&mut target.secret, from_texts(&it.values)?, it.append),
        "policy" => put(&mut target.policy, from_texts(&it.values)?, it.append),
        "ssh" => put(&mut target.ssh, from_texts(&it.values)?, it.append),
        "output" => put(&mut target.output, from_texts(&it.values)?, it.append),
        "attest" => {
            put(&mut target.attest, from_texts(&it.values)?, true);
            target.attest = target.attest.take().map(last_of_each);
        }
        "push" => push(target.output.get_or_insert_default(), flag()?),
        "load" => load(target.output.get_or_insert_default(), flag()?),
        _ => return Err(format!("unknown key: {first}")),
    }
    for list in [&mut target.cache_from, &mut target.cache_to] {
        *list = list.take().map(without_doubles);
    }
    Ok(())
}

fn put<T>(list: &mut Option<Vec<T>>, values: Vec<T>, append: bool) {
    if append {
        list.get_or_insert_default().extend(values);
    } else {
        *list = Some(values);
    }
}

/// `--push`: images go to a registry, or stay away from it.
fn push(outputs: &mut Vec<Output>, push: bool) {
    if !push {
        let mut at = 0;
        while at < outputs.len() {
            if outputs[at].0.kind == "registry" {
                outputs.swap_remove(at);
                continue;
            }
            if outputs[at].0.kind == "image" {
                outputs[at].0.attributes.insert("push".to_owned(), "false".to_owned());
            }
            at += 1;
        }
        return;
    }
    for output in outputs.iter_mut().filter(|output| output.0.kind == "image") {
        output.0.attributes.insert("push".to_owned(), "true".to_owned());
    }
    if outputs.iter().all(|output| output.0.kind == "docker") {
        outputs.push(Output::of_kind("image").with("push", "true"));
    }
}

/// `--load`: images come to the local store, unless the outputs are no images.
fn load(outputs: &mut Vec<Output>, load: bool) {
    if !load {
        return;
    }
    for output in &*outputs {
        match output.0.kind.as_str() {
            "docker" if output.0.attributes.contains_key("dest") => {}
            "image" | "registry" | "oci" => {}
            _ => return,
        }
    }
    outputs.push(Output::of_kind("docker"));
}
