//! SLSA provenance, version 1 or 0.2, with BuildKit's parameters: its consumers read ours.
//!
//! | | `mode=min` | `mode=max` |
//! |---|---|---|
//! | what it was made of, where it came from, target | yes | yes |
//! | build arguments, labels, ids of secrets and agents | no | yes |
//! | steps with their variables, the Dockerfile, layers | no | yes |
//!
//! Never: values of secrets, proxies, and credentials of addresses (`credentials`). Who asks for provenance and says no mode gets `max`; what is told
//! of images that leave this host, without anybody asking, is `min`. With `SOURCE_DATE_EPOCH` no time and no number of the build
//! is told, so that equal builds attest the same; without it each build is told apart, as by BuildKit.

use std::collections::{BTreeMap, BTreeSet};

use oci::{Descriptor, KnownCredentials, Platform};
use serde_json::{Map, Value, json};

use super::materials::{Material, without_credentials};
use super::origin::Origin;
use super::{Predicate, credentials, refuse, steps};
use crate::Result;
use crate::build::export::{Export, Product};
use crate::request::{BuildNetwork, Fields, NamedContext, parse_bool};

/// How it is written.
#[derive(Clone, Debug)]
pub(super) struct Provenance {
    is_max: bool,
    is_old: bool,
    builder: String,
    is_reproducible: bool,
    inline_only: bool,
    /// What its file is called.
    file: String,
}

/// What the file is called beside a file system, unless something else was said.
const FILE: &str = "provenance.json";
const V1: &str = "https://slsa.dev/provenance/v1";
const V02: &str = "https://slsa.dev/provenance/v0.2";
/// How the parameters are to be read.
const TYPE_V1: &str = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
const TYPE_V02: &str = "https://mobyproject.org/buildkit@v1";
/// Variables that are no arguments: they tell how to reach the world, perhaps with a password.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

impl Provenance {
    /// What is told without being asked, of images alone.
    pub(super) fn least() -> Provenance {
        Provenance {
            is_max: false,
            is_old: false,
            builder: String::new(),
            is_reproducible: false,
            inline_only: true,
            file: FILE.to_owned(),
        }
    }

    /// Reads the fields of `--attest type=provenance`.
    pub(super) fn parse(fields: &Fields) -> Result<Provenance> {
        const KIND: &str = "provenance";
        let mut provenance = Provenance { is_max: true, inline_only: false, ..Provenance::least() };
        for (key, value) in fields {
            let flag = || match value.as_str() {
                "" => Ok(true),
                text => parse_bool(text)
                    .ok_or_else(|| refuse(KIND, &format!("{key}={text:?} is neither true nor false"))),
            };
            match key.to_ascii_lowercase().as_str() {
                "type" | "disabled" | "enabled" => {}
                "mode" => match value.as_str() {
                    "min" => provenance.is_max = false,
                    "max" | "full" => provenance.is_max = true,
                    other => return Err(refuse(KIND, &format!("mode={other:?} is neither min nor max"))),
                },
                "version" => match value.as_str() {
                    "v1" => provenance.is_old = false,
                    "v0.2" => provenance.is_old = true,
                    other => return Err(refuse(KIND, &format!("version={other:?} is neither v1 nor v0.2"))),
                },
                "builder-id" => provenance.builder.clone_from(value),
                "reproducible" => provenance.is_reproducible = flag()?,
                "inline-only" => provenance.inline_only = flag()?,
                "filename" => match value.rsplit('/').next() {
                    Some(name) if !matches!(name, "" | "." | "..") && !name.contains('\0') => {
                        name.clone_into(&mut provenance.file);
                    }
                    _ => return Err(refuse(KIND, &format!("filename={value:?} names no file"))),
                },
                _ => return Err(refuse(KIND, &format!("there is no option {key:?}"))),
            }
        }
        Ok(provenance)
    }

    /// How one image was made, whose manifest names these layers.
    pub(super) fn predicate(
        &self,
        export: &Export<'_>,
        product: &Product,
        layers: &[Descriptor],
    ) -> Predicate {
        let (kind, content) = self.content(export, product, layers);
        let (kind, content) = (kind.to_owned(), content.to_string().into());
        Predicate { kind, file: self.file.clone(), content, inline_only: self.inline_only }
    }

    /// The same as it is told, with its kind.
    pub(super) fn content(
        &self,
        export: &Export<'_>,
        product: &Product,
        layers: &[Descriptor],
    ) -> (&'static str, Value) {
        let facts = Facts::of(self, export, product, layers);
        let (kind, mut content) =
            if self.is_old { (V02, self.earlier(&facts)) } else { (V1, self.current(&facts)) };
        credentials::mask(&mut content, &facts.known);
        (kind, content)
    }

    fn current(&self, facts: &Facts) -> Value {
        let dependencies: Vec<Value> = facts.origin.materials.all.iter().map(Material::told).collect();
        let source = facts.source("path");
        let mut internal = json!({ "builderPlatform": facts.builder });
        let mut metadata = facts.times("invocationID", "startedOn", "finishedOn");
        if let Some(steps) = &facts.steps {
            internal["buildConfig"] = steps.clone();
        }
        metadata.insert("buildkit_metadata".to_owned(), facts.extra.clone());
        metadata.insert(
            "buildkit_completeness".to_owned(),
            json!({
                "request": facts.is_complete,
                "resolvedDependencies": facts.origin.materials.is_complete,
            }),
        );
        metadata.insert("buildkit_hermetic".to_owned(), json!(facts.is_hermetic()));
        metadata.insert("buildkit_reproducible".to_owned(), json!(self.is_reproducible));
        json!({
            "buildDefinition": {
                "buildType": TYPE_V1,
                "externalParameters": { "configSource": source, "request": facts.request },
                "internalParameters": internal,
                "resolvedDependencies": dependencies,
            },
            "runDetails": { "builder": { "id": self.builder }, "metadata": metadata },
        })
    }

    fn earlier(&self, facts: &Facts) -> Value {
        let materials: Vec<Value> = facts.origin.materials.all.iter().map(Material::told).collect();
        let source = facts.source("entryPoint");
        let mut metadata = facts.times("buildInvocationID", "buildStartedOn", "buildFinishedOn");
        metadata.insert(
            "completeness".to_owned(),
            json!({
                "parameters": facts.is_complete,
                "environment": true,
                "materials": facts.origin.materials.is_complete,
            }),
        );
        metadata.insert("reproducible".to_owned(), json!(self.is_reproducible));
        metadata.insert(format!("{TYPE_V02}#hermetic"), json!(facts.is_hermetic()));
        let mut predicate = json!({
            "builder": { "id": self.builder },
            "buildType": TYPE_V02,
            "materials": materials,
            "invocation": {
                "configSource": source,
                "parameters": facts.request,
                "environment": { "platform": facts.builder },
            },
        });
        if let Some(steps) = &facts.steps {
            predicate["buildConfig"] = steps.clone();
        }
        metadata.insert(format!("{TYPE_V02}#metadata"), facts.extra.clone());
        predicate["metadata"] = Value::Object(metadata);
        predicate
    }
}

/// What is told of a build.
struct Facts {
    origin: Origin,
    entry_point: String,
    request: Value,
    /// Whether the request is told in full.
    is_complete: bool,
    builder: String,
    /// Number of the build, when it began and when it ended.
    times: Option<(String, String, String)>,
    steps: Option<Value>,
    extra: Value,
    known: KnownCredentials,
}

impl Facts {
    fn of(provenance: &Provenance, export: &Export<'_>, product: &Product, layers: &[Descriptor]) -> Facts {
        let request = export.session.request;
        let nodes = steps::nodes(export, product);
        let origin = Origin::of(export, product);
        let known = credentials::known(export, &nodes);
        let (arguments, is_complete) = arguments(export, provenance.is_max);
        let mut told = json!({ "frontend": "dockerfile.v0", "args": arguments });
        if !origin.materials.locals.is_empty() {
            told["locals"] = origin.materials.locals.iter().map(|name| json!({ "name": name })).collect();
        }
        if provenance.is_max {
            for (key, all) in origin.lent.told() {
                told[key] = all;
            }
        }
        let times = match (export.session.timestamp(), export.facts.started) {
            (None, Some(started)) => {
                Some((export.session.nonce.clone(), started.to_string(), state::now().to_string()))
            }
            _ => None,
        };
        let source = export.facts.work.map(|work| &work.source);
        Facts {
            origin,
            entry_point: source.map_or_else(|| "Dockerfile".to_owned(), |source| source.name().to_owned()),
            request: told,
            is_complete,
            builder: Platform::host().to_string(),
            times,
            steps: provenance.is_max.then(|| steps::config(&nodes, &known)),
            extra: {
                let mut extra = match provenance.is_max {
                    true => steps::metadata(export, product, &nodes, (layers, &known)),
                    false => json!({}),
                };
                if !request.vcs.is_empty() {
                    let told = request
                        .vcs
                        .iter()
                        .map(|(key, value)| (key.clone(), json!(without_credentials(value))));
                    extra["vcs"] = Value::Object(told.collect());
                }
                extra
            },
            known,
        }
    }

    /// Where the Dockerfile came from; its path by the name that it has in this version.
    fn source(&self, path: &str) -> Value {
        let mut source = json!({ path: self.entry_point });
        if let Some(context) = &self.origin.materials.context {
            source["uri"] = context.told()["uri"].clone();
            if let Some(digest) = self.origin.materials.context_digest() {
                source["digest"] = digest;
            }
        }
        source
    }

    /// Nothing came from where it may be another thing tomorrow.
    fn is_hermetic(&self) -> bool {
        self.origin.materials.is_complete && !self.origin.has_network
    }

    fn times(&self, number: &str, started: &str, finished: &str) -> Map<String, Value> {
        let mut map = Map::new();
        if let Some((id, from, to)) = &self.times {
            map.insert(number.to_owned(), json!(id));
            map.insert(started.to_owned(), json!(from));
            map.insert(finished.to_owned(), json!(to));
        }
        map
    }
}

/// What the caller said that may be told, by the names that BuildKit's frontend knows; whether that is all.
fn arguments(export: &Export<'_>, is_max: bool) -> (BTreeMap<String, String>, bool) {
    let request = export.session.request;
    let mut args = BTreeMap::new();
    let mut add = |key: &str, value: String| args.insert(key.to_owned(), value);
    if let Some(target) = &request.target {
        add("target", target.clone());
    }
    if request.no_cache || !request.no_cache_filter.is_empty() {
        let stages: Vec<&str> = request.no_cache_filter.iter().map(String::as_str).collect();
        // All stages where none is named.
        add("no-cache", if request.no_cache { String::new() } else { stages.join(",") });
    }
    match request.network {
        BuildNetwork::Default => {}
        BuildNetwork::None => drop(add("force-network-mode", "none".to_owned())),
        BuildNetwork::Host => drop(add("force-network-mode", "host".to_owned())),
    }
    if !request.extra_hosts.is_empty() {
        let hosts: Vec<String> = request.extra_hosts.iter().map(|host| host.replacen(':', "=", 1)).collect();
        add("add-hosts", hosts.join(","));
    }
    if let Some(size) = request.limits.shm_size {
        add("shm-size", size.to_string());
    }
    if request.platforms.iter().collect::<BTreeSet<_>>().len() > 1 {
        add("multi-platform", "true".to_owned());
    }
    for (name, context) in &request.contexts {
        let told = match context {
            NamedContext::Directory(_) => format!("local:{name}"),
            NamedContext::Image(image) => format!("docker-image://{image}"),
            // Where it lies is the caller's own matter.
            NamedContext::Layout { .. } => format!("oci-layout:{name}"),
            NamedContext::Remote(address) => without_credentials(address),
            NamedContext::Made(target) => format!("target:{target}"),
        };
        add(&format!("context:{name}"), told);
    }
    let is_proxy = |name: &str| PROXIES.contains(&name.to_ascii_lowercase().as_str());
    let arguments = request.arguments.iter().filter(|(name, _)| !is_proxy(name));
    let arguments = arguments.map(|(name, value)| (format!("build-arg:{name}"), value));
    let labels = request.labels.iter().map(|(name, value)| (format!("label:{name}"), value));
    let mut is_complete = true;
    for (key, value) in arguments.chain(labels) {
        is_complete &= is_max;
        if is_max {
            add(&key, value.clone());
        }
    }
    (args, is_complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Provenance> {
        let pair = |field: &str| field.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Provenance::parse(&text.split(',').filter_map(pair).collect())
    }

    #[test]
    fn options_are_buildkits() {
        for (text, is_max, is_old, inline_only, file) in [
            ("mode=max,version=v0.2,builder-id=x,reproducible=true", true, true, false, FILE),
            ("type=provenance", true, false, false, FILE),
            ("mode=min,inline-only=true", false, false, true, FILE),
            ("mode=full,version=v1,filename=a/slsa.json", true, false, false, "slsa.json"),
        ] {
            let found = parsed(text).unwrap();
            let found = (found.is_max, found.is_old, found.inline_only, found.file.as_str());
            assert_eq!(found, (is_max, is_old, inline_only, file), "{text}");
        }
        for bad in
            ["mode=most", "mode=", "version=v2", "reproducible=x", "else=1", "filename=..", "filename="]
        {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
