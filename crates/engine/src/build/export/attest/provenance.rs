//! SLSA provenance, version 1 or 0.2, with BuildKit's parameters: its consumers read ours.
//!
//! | | `mode=min` | `mode=max` |
//! |---|---|---|
//! | what it was made of, where it came from, target | yes | yes |
//! | build arguments, labels, ids of secrets | no | yes |
//! | steps and the Dockerfile | no | yes |
//!
//! Never: values of secrets, proxies, and passwords in addresses. With `SOURCE_DATE_EPOCH` no time and no number of the build is
//! told, so that equal builds attest the same.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dockerfile::lower::{Graph, Node, Op};
use dockerfile::syntax::MountKind;
use oci::{Platform, Reference};
use serde_json::{Map, Value, json};

use super::{Predicate, encoded, field, refuse};
use crate::Result;
use crate::build::export::{Export, Material, Product};
use crate::request::{BuildContext, Fields, parse_bool};

/// How it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Provenance {
    is_max: bool,
    is_old: bool,
    builder: String,
    is_reproducible: bool,
    inline_only: bool,
}

const V1: &str = "https://slsa.dev/provenance/v1";
const V02: &str = "https://slsa.dev/provenance/v0.2";
/// How the parameters are to be read.
const TYPE_V1: &str = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
const TYPE_V02: &str = "https://mobyproject.org/buildkit@v1";
/// Variables that are no arguments: they tell how to reach the world, perhaps with a password.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

impl Provenance {
    /// Reads the fields of `--attest type=provenance`.
    pub(super) fn parse(fields: &Fields) -> Result<Provenance> {
        const KIND: &str = "provenance";
        let mut provenance = Provenance::default();
        for (key, value) in fields {
            let flag = || match value.as_str() {
                "" => Ok(true),
                text => parse_bool(text)
                    .ok_or_else(|| refuse(KIND, &format!("{key}={text:?} is neither true nor false"))),
            };
            match key.to_ascii_lowercase().as_str() {
                "type" | "disabled" | "enabled" => {}
                "mode" => match value.as_str() {
                    "min" | "" => {}
                    "max" => provenance.is_max = true,
                    other => return Err(refuse(KIND, &format!("mode={other:?} is neither min nor max"))),
                },
                "version" => match value.as_str() {
                    "v1" => {}
                    "v0.2" => provenance.is_old = true,
                    other => return Err(refuse(KIND, &format!("version={other:?} is neither v1 nor v0.2"))),
                },
                "builder-id" => provenance.builder.clone_from(value),
                "reproducible" => provenance.is_reproducible = flag()?,
                "inline-only" => provenance.inline_only = flag()?,
                // The file is always called the same.
                "filename" => {}
                _ => return Err(refuse(KIND, &format!("there is no option {key:?}"))),
            }
        }
        let is_last = |key: &str| field(fields, key).is_some();
        provenance.is_max &= is_last("mode");
        Ok(provenance)
    }

    /// How one image was made.
    pub(super) fn predicate(&self, export: &Export<'_>, product: &Product) -> Result<Predicate> {
        let facts = Facts::of(self, export, product);
        let (kind, content) =
            if self.is_old { (V02, self.earlier(&facts)) } else { (V1, self.current(&facts)) };
        Ok(Predicate { kind, file: "provenance.json", content, inline_only: self.inline_only })
    }

    fn current(&self, facts: &Facts) -> Value {
        let dependency = |material: &Material| json!({ "uri": material.uri, "digest": { &material.algorithm: &material.digest } });
        let dependencies: Vec<Value> = facts.materials.iter().map(dependency).collect();
        let mut source = json!({ "path": facts.entry_point });
        if let Some(uri) = &facts.context {
            source["uri"] = json!(uri);
            if let Some(digest) = facts.digest_of(uri) {
                source["digest"] = digest;
            }
        }
        let mut internal = json!({ "builderPlatform": facts.builder });
        let mut metadata = facts.times("invocationID", "startedOn", "finishedOn");
        if let Some(steps) = &facts.steps {
            internal["buildConfig"] = steps.clone();
            metadata.insert("buildkit_metadata".to_owned(), facts.extra.clone());
        }
        metadata.insert(
            "buildkit_completeness".to_owned(),
            json!({
                "request": facts.is_complete,
                "resolvedDependencies": !facts.has_local,
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
        let material = |material: &Material| json!({ "uri": material.uri, "digest": { &material.algorithm: &material.digest } });
        let materials: Vec<Value> = facts.materials.iter().map(material).collect();
        let mut source = json!({ "entryPoint": facts.entry_point });
        if let Some(uri) = &facts.context {
            source["uri"] = json!(uri);
            if let Some(digest) = facts.digest_of(uri) {
                source["digest"] = digest;
            }
        }
        let mut metadata = facts.times("buildInvocationID", "buildStartedOn", "buildFinishedOn");
        metadata.insert(
            "completeness".to_owned(),
            json!({
                "parameters": facts.is_complete,
                "environment": true,
                "materials": !facts.has_local,
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
            metadata.insert(format!("{TYPE_V02}#metadata"), facts.extra.clone());
        }
        predicate["metadata"] = Value::Object(metadata);
        predicate
    }
}

/// What is told of a build.
struct Facts {
    materials: Vec<Material>,
    /// Where the context came from, unless from the caller's files.
    context: Option<String>,
    entry_point: String,
    request: Value,
    /// Whether the request is told in full.
    is_complete: bool,
    /// Whether files of the caller were used.
    has_local: bool,
    /// Whether a program could reach the network.
    has_network: bool,
    builder: String,
    /// Number of the build, when it began and when it ended.
    times: Option<(String, String, String)>,
    steps: Option<Value>,
    extra: Value,
}

impl Facts {
    fn of(provenance: &Provenance, export: &Export<'_>, product: &Product) -> Facts {
        let request = export.session.request;
        let nodes = nodes(export, product);
        let mut materials = export.facts.fetched.clone();
        let (mut locals, mut secrets, mut agents) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut has_network = false;
        for (_, node) in &nodes {
            match &node.op {
                Op::Image { reference, platform } => materials.extend(image(export, reference, platform)),
                Op::Context { name, .. } => locals.push(name.clone()),
                Op::Run(run) => {
                    has_network |= !matches!(run.network, dockerfile::syntax::Network::None);
                    for (mount, _) in &run.mounts {
                        match &mount.kind {
                            MountKind::Secret { id, required, .. } => {
                                secrets.insert(id.clone(), !required);
                            }
                            MountKind::Ssh { id, required, .. } => {
                                agents.insert(id.clone(), !required);
                            }
                            MountKind::Bind { .. } | MountKind::Cache { .. } | MountKind::Tmpfs { .. } => {}
                        }
                    }
                }
                Op::Scratch
                | Op::Http { .. }
                | Op::Git(_)
                | Op::Inline { .. }
                | Op::Copy(_)
                | Op::MakeDirectory { .. }
                | Op::Merge => {}
            }
        }
        for material in &mut materials {
            material.uri = without_password(&material.uri);
        }
        materials.sort();
        materials.dedup();
        let context = match &request.context {
            BuildContext::Remote(address) => Some(without_password(address)),
            BuildContext::Empty | BuildContext::Directory(_) | BuildContext::Stream(_) => None,
        };
        let (args, is_complete) = arguments(export, provenance.is_max);
        let mut told = json!({ "frontend": "dockerfile.v0", "args": args });
        locals.sort();
        locals.dedup();
        if !locals.is_empty() {
            told["locals"] = locals.iter().map(|name| json!({ "name": name })).collect();
        }
        if provenance.is_max {
            let list = |all: &BTreeMap<String, bool>| -> Value {
                all.iter().map(|(id, optional)| json!({ "id": id, "optional": optional })).collect()
            };
            for (key, all) in [("secrets", &secrets), ("ssh", &agents)] {
                if !all.is_empty() {
                    told[key] = list(all);
                }
            }
        }
        let source = export.facts.work.map(|work| &work.source);
        let times = match (export.session.timestamp(), export.facts.started) {
            (None, Some(started)) => {
                Some((export.session.nonce.clone(), started.to_string(), state::now().to_string()))
            }
            _ => None,
        };
        Facts {
            materials,
            context,
            entry_point: source.map_or_else(|| "Dockerfile".to_owned(), |source| source.name().to_owned()),
            request: told,
            is_complete,
            has_local: !locals.is_empty(),
            has_network,
            builder: Platform::host().to_string(),
            times,
            steps: provenance.is_max.then(|| steps(&nodes)),
            extra: source.filter(|_| provenance.is_max).map_or(Value::Null, |source| {
                let data = STANDARD.encode(source.text());
                let info = json!({ "filename": source.name(), "language": "Dockerfile", "data": data });
                json!({ "source": { "infos": [info] } })
            }),
        }
    }

    fn digest_of(&self, uri: &str) -> Option<Value> {
        let found = self.materials.iter().find(|material| material.uri == uri)?;
        Some(json!({ &found.algorithm: &found.digest }))
    }

    fn is_hermetic(&self) -> bool {
        !self.has_local && !self.has_network
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

/// What the caller said that may be told; whether that is all.
fn arguments(export: &Export<'_>, is_max: bool) -> (BTreeMap<String, String>, bool) {
    let request = export.session.request;
    let mut args = BTreeMap::new();
    if let Some(target) = &request.target {
        args.insert("target".to_owned(), target.clone());
    }
    if request.no_cache {
        args.insert("no-cache".to_owned(), String::new());
    }
    let is_proxy = |name: &str| PROXIES.contains(&name.to_ascii_lowercase().as_str());
    let arguments = request.arguments.iter().filter(|(name, _)| !is_proxy(name));
    let arguments = arguments.map(|(name, value)| (format!("build-arg:{name}"), value));
    let labels = request.labels.iter().map(|(name, value)| (format!("label:{name}"), value));
    let mut is_complete = true;
    for (key, value) in arguments.chain(labels) {
        if is_max {
            args.insert(key, value.clone());
        } else {
            is_complete = false;
        }
    }
    (args, is_complete)
}

/// The nodes that an image was made of, by their numbers.
fn nodes<'w>(export: &Export<'w>, product: &Product) -> Vec<(usize, &'w Node)> {
    let Some(work) = export.facts.work else { return Vec::new() };
    let wanted = product.platform.normalized();
    let target = work.targets.iter().find(|target| target.platform.normalized() == wanted);
    let Some(target) = target else { return Vec::new() };
    reached(&work.graph, target.made.node)
}

fn reached(graph: &Graph, from: usize) -> Vec<(usize, &Node)> {
    let mut seen: BTreeMap<usize, &Node> = BTreeMap::new();
    let mut pending = vec![from];
    while let Some(number) = pending.pop() {
        if let Some(node) = graph.nodes().get(number)
            && seen.insert(number, node).is_none()
        {
            pending.extend(&node.inputs);
        }
    }
    seen.into_iter().collect()
}

/// An image that a stage begins with. Its registry's digest counts; of one that was made here, that of its config.
fn image(export: &Export<'_>, reference: &Reference, platform: &str) -> Option<Material> {
    let work = export.facts.work?;
    let key = dockerfile::stage::ImageKey { reference: reference.clone(), platform: platform.to_owned() };
    let id = work.bases.found().get(&key)?.clone();
    let state = export.session.engine.state();
    let known = match reference.digest() {
        Some(digest) => Some(digest.clone()),
        None => state.digest_of_name(&reference.clone().or_latest()).ok().flatten(),
    };
    let manifest = || state.image(&id).ok().flatten()?.manifest.map(|manifest| manifest.digest);
    let digest = known.or_else(manifest).unwrap_or_else(|| id.clone());
    let repository: Vec<String> = reference.familiar_name().split('/').map(encoded).collect();
    let version = reference.tag().map(|tag| format!("@{}", encoded(tag))).unwrap_or_default();
    let uri = format!("pkg:docker/{}{version}?platform={}", repository.join("/"), encoded(platform));
    let (algorithm, digest) = (digest.algorithm_name().to_owned(), digest.encoded().to_owned());
    Some(Material { uri, algorithm, digest })
}

/// The steps of a build with what each takes.
fn steps(nodes: &[(usize, &Node)]) -> Value {
    let places: BTreeMap<usize, usize> =
        nodes.iter().enumerate().map(|(place, (number, _))| (*number, place)).collect();
    let mut digests = Map::new();
    let mut definition = Vec::new();
    for (place, (_, node)) in nodes.iter().enumerate() {
        let id = format!("step{place}");
        digests.insert(node.digest.to_string(), json!(id));
        let inputs: Vec<String> =
            node.inputs.iter().filter_map(|input| Some(format!("step{}:0", places.get(input)?))).collect();
        let mut step = json!({ "id": id, "op": operation(&node.op), "name": node.name });
        if !inputs.is_empty() {
            step["inputs"] = json!(inputs);
        }
        definition.push(step);
    }
    json!({ "llbDefinition": definition, "digestMapping": digests })
}

fn operation(op: &Op) -> Value {
    let source = |identifier: String| json!({ "Op": { "source": { "identifier": identifier } } });
    match op {
        Op::Scratch => json!({ "Op": {} }),
        Op::Image { reference, .. } => source(format!("docker-image://{reference}")),
        Op::Context { name, .. } => source(format!("local://{name}")),
        Op::Http { url, .. } => source(without_password(url)),
        Op::Git(git) => source(format!("git://{}", without_password(&git.remote))),
        Op::Inline { name, .. } => source(format!("inline://{name}")),
        Op::Run(run) => json!({ "Op": { "exec": { "meta": {
            "args": run.args, "env": run.env, "cwd": run.cwd, "user": run.user,
        } } } }),
        Op::Copy(copy) => {
            let action = |selection: &dockerfile::lower::Selection| json!({ "Action": { "copy": { "src": selection.path, "dest": copy.destination } } });
            let actions: Vec<Value> = copy.selections.iter().map(action).collect();
            json!({ "Op": { "file": { "actions": actions } } })
        }
        Op::MakeDirectory { path, .. } => {
            json!({ "Op": { "file": { "actions": [{ "Action": { "mkdir": { "path": path } } }] } } })
        }
        Op::Merge => json!({ "Op": { "merge": {} } }),
    }
}

/// An address without what a user gives for a password in it.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://xxxxx@{host}{path}"),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_told() {
        for (address, told) in [
            ("https://u:p@h/x#y", "https://xxxxx@h/x#y"),
            ("https://token@h:1/x@y", "https://xxxxx@h:1/x@y"),
            ("https://a@b@h", "https://xxxxx@h"),
            ("https://h/x?a@b", "https://h/x?a@b"),
            ("git@h:x", "git@h:x"),
        ] {
            assert_eq!(without_password(address), told);
        }
    }

    #[test]
    fn options_are_buildkits() {
        let parse = |text: &str| {
            let pair =
                |field: &str| field.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
            Provenance::parse(&text.split(',').filter_map(pair).collect())
        };
        assert!(
            parse("mode=max,version=v0.2,builder-id=x,reproducible=true")
                .is_ok_and(|all| all.is_max && all.is_old)
        );
        assert!(parse("type=provenance").is_ok_and(|all| !all.is_max && !all.is_old));
        for bad in ["mode=most", "version=v2", "reproducible=x", "else=1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
