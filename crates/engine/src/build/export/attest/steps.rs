//! The steps of a build as its provenance tells them (`mode=max`): what each does, where it is written, and which layers it made.
//!
//! The shape is that of BuildKit: operations in the JSON form of its definitions, numbered `step0`, `step1` …, each after what it
//! takes from. Proxies are left out, for they may hold a password; secrets are mounts that have nothing but an id. What is encoded here
//! (the Dockerfile, documents in it) has no credentials of addresses; of all else the predicate is rid as a whole.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dockerfile::lower::{GitSource, Graph, Node, Op, RunOp, Selection};
use dockerfile::source::ranges;
use dockerfile::syntax::{MountKind, Network, Security};
use oci::{Descriptor, KnownCredentials};
use serde_json::{Map, Value, json};

use super::materials::without_credentials;
use crate::build::export::{Export, Product};
use crate::build::frontend::Target;

/// The nodes that an image was made of, by their numbers.
pub(super) fn nodes<'w>(export: &Export<'w>, product: &Product) -> Vec<(usize, &'w Node)> {
    match (export.facts.work, target(export, product)) {
        (Some(work), Some(target)) => reached(&work.graph, target.made.node),
        _ => Vec::new(),
    }
}

fn target<'w>(export: &Export<'w>, product: &Product) -> Option<&'w Target> {
    let wanted = product.platform.normalized();
    let targets = &export.facts.work?.targets;
    targets.iter().find(|target| target.platform.normalized() == wanted)
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

/// The places of nodes among the steps.
fn places(nodes: &[(usize, &Node)]) -> BTreeMap<usize, usize> {
    nodes.iter().enumerate().map(|(place, (number, _))| (*number, place)).collect()
}

/// What each step does, and from which it takes.
pub(super) fn config(nodes: &[(usize, &Node)], known: &KnownCredentials) -> Value {
    let places = places(nodes);
    let mut digests = Map::new();
    let mut definition = Vec::with_capacity(nodes.len());
    for (place, (_, node)) in nodes.iter().enumerate() {
        let id = format!("step{place}");
        digests.insert(node.digest.to_string(), json!(id));
        let inputs: Vec<String> =
            node.inputs.iter().filter_map(|input| Some(format!("step{}:0", places.get(input)?))).collect();
        let mut step = json!({ "id": id, "op": operation(&node.op, known) });
        if !inputs.is_empty() {
            step["inputs"] = json!(inputs);
        }
        definition.push(step);
    }
    json!({ "llbDefinition": definition, "digestMapping": digests })
}

/// The Dockerfile with the lines of each step, and the layers that steps have made.
pub(super) fn metadata(
    export: &Export<'_>,
    product: &Product,
    nodes: &[(usize, &Node)],
    (layers, known): (&[Descriptor], &KnownCredentials),
) -> Value {
    let mut metadata = Map::new();
    if let Some(work) = export.facts.work {
        let source = &work.source;
        let mut locations = Map::new();
        for (place, (_, node)) in nodes.iter().enumerate() {
            let Some(span) = node.span else { continue };
            let ranges = ranges(source, span);
            locations.insert(format!("step{place}"), json!({ "locations": [{ "ranges": ranges }] }));
        }
        let data = STANDARD.encode(known.mask(source.text()).as_bytes());
        let info = json!({ "filename": source.name(), "language": "Dockerfile", "data": data });
        metadata.insert("source".to_owned(), json!({ "locations": locations, "infos": [info] }));
    }
    let layers = layers_of(export, product, nodes, layers);
    if !layers.is_empty() {
        metadata.insert("layers".to_owned(), Value::Object(layers));
    }
    Value::Object(metadata)
}

/// The layers of each step of the image's own stages: all that its file tree has then.
fn layers_of(
    export: &Export<'_>,
    product: &Product,
    nodes: &[(usize, &Node)],
    layers: &[Descriptor],
) -> Map<String, Value> {
    let mut told = Map::new();
    let Some(target) = target(export, product) else { return told };
    let own = &target.made.layers;
    let Some(base) = layers.len().checked_sub(own.len()) else { return told };
    let places = places(nodes);
    let chain = |count: usize| {
        let blob = |layer: &Descriptor| json!({ "mediaType": layer.media_type, "digest": layer.digest, "size": layer.size });
        let chain: Vec<Value> = layers.iter().take(count).map(blob).collect();
        json!([chain])
    };
    for (position, node) in own.iter().enumerate() {
        if let Some(place) = places.get(node) {
            told.insert(format!("step{place}:0"), chain(base + position + 1));
        }
    }
    // What lies below the first of them.
    let first = own.first().and_then(|node| nodes.get(*places.get(node)?)?.1.inputs.first());
    if let Some(place) =
        first.or(Some(&target.made.node)).and_then(|node| places.get(node)).filter(|_| base > 0)
    {
        told.entry(format!("step{place}:0")).or_insert_with(|| chain(base));
    }
    told
}

fn operation(op: &Op, known: &KnownCredentials) -> Value {
    let source = |identifier: String| json!({ "Op": { "source": { "identifier": identifier } } });
    match op {
        Op::Scratch => json!({ "Op": null }),
        Op::Image { reference, platform } => {
            let mut operation = source(format!("docker-image://{reference}"));
            let mut parts = platform.split('/');
            let (os, architecture) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            operation["platform"] = json!({ "Architecture": architecture, "OS": os });
            if let Some(variant) = parts.next() {
                operation["platform"]["Variant"] = json!(variant);
            }
            operation
        }
        Op::Context { name, .. } => {
            source(format!("local://{}", if name.is_empty() { "context" } else { name.as_str() }))
        }
        Op::Http { url, name, checksum } => {
            let mut operation = source(without_credentials(url));
            let attributes = &mut operation["Op"]["source"]["attrs"];
            *attributes = json!({ "http.filename": name });
            if let Some(checksum) = checksum {
                attributes["http.checksum"] = json!(checksum);
            }
            operation
        }
        Op::Git(git) => repository(git, &source),
        Op::Inline { name, content, mode } => {
            let data = STANDARD.encode(known.mask(content).as_bytes());
            let made = json!({ "mkfile": { "path": format!("/{name}"), "mode": mode, "data": data } });
            json!({ "Op": { "file": { "actions": [{ "input": -1, "secondaryInput": -1, "Action": made }] } } })
        }
        Op::Run(run) => json!({ "Op": { "exec": exec(run) } }),
        Op::Copy(copy) => {
            let action = |selection: &Selection| {
                let copied = json!({ "src": selection.path, "dest": copy.destination });
                json!({ "secondaryInput": selection.input, "Action": { "copy": copied } })
            };
            let actions: Vec<Value> = copy.selections.iter().map(action).collect();
            json!({ "Op": { "file": { "actions": actions } } })
        }
        Op::MakeDirectory { path, .. } => {
            let made = json!({ "mkdir": { "path": path, "mode": 0o755, "makeParents": true } });
            json!({ "Op": { "file": { "actions": [{ "secondaryInput": -1, "Action": made }] } } })
        }
        Op::Merge => json!({ "Op": { "merge": { "inputs": [{ "input": 0 }, { "input": 1 }] } } }),
    }
}

/// The same repository is called the same by whichever protocol it is reached: by its host and its path.
fn repository(git: &GitSource, source: &dyn Fn(String) -> Value) -> Value {
    let address = without_credentials(&git.remote);
    let place = address.split_once("://").map_or(address.as_str(), |(_, place)| place);
    let host = place.find('/').unwrap_or(place.len());
    let place = place[..host].rfind('@').map_or(place, |at| &place[at + 1..]);
    let mut part = git.reference.clone().unwrap_or_default();
    if let Some(directory) = &git.subdirectory {
        part.push(':');
        part.push_str(directory);
    }
    let part = if part.is_empty() { part } else { format!("#{part}") };
    let mut operation = source(format!("git://{place}{part}"));
    let attributes = &mut operation["Op"]["source"]["attrs"];
    *attributes = json!({ "git.fullurl": address });
    if git.keep_git_dir {
        attributes["git.keepgitdir"] = json!("true");
    }
    if let Some(checksum) = &git.checksum {
        attributes["git.checksum"] = json!(checksum);
    }
    operation
}

fn exec(run: &RunOp) -> Value {
    let mut meta = json!({ "args": run.args, "env": run.env, "cwd": run.cwd });
    if !run.user.is_empty() {
        meta["user"] = json!(run.user);
    }
    let mut mounts = vec![json!({ "input": 0, "dest": "/", "output": 0 })];
    for (mount, input) in &run.mounts {
        let input = input.map_or(json!(-1), |input| json!(input));
        let mut told = json!({ "input": input, "dest": mount.target, "output": -1 });
        match &mount.kind {
            MountKind::Bind { source, .. } => told["selector"] = json!(source),
            MountKind::Cache { id, .. } => {
                told["mountType"] = json!(3);
                told["cacheOpt"] = json!({ "ID": id });
            }
            MountKind::Tmpfs { .. } => told["mountType"] = json!(4),
            MountKind::Secret { id, required, .. } => {
                told["mountType"] = json!(1);
                told["secretOpt"] = json!({ "ID": id, "optional": !required });
            }
            MountKind::Ssh { id, required, .. } => {
                told["mountType"] = json!(2);
                told["SSHOpt"] = json!({ "ID": id, "optional": !required });
            }
        }
        mounts.push(told);
    }
    let mut exec = json!({ "meta": meta, "mounts": mounts });
    match run.network {
        Network::Default => {}
        Network::Host => exec["network"] = json!(1),
        Network::None => exec["network"] = json!(2),
    }
    if matches!(run.security, Security::Insecure) {
        exec["security"] = json!(1);
    }
    exec
}
