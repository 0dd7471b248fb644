//! `skiff manifest`: lists of manifests that lie in registries, made, looked at and pushed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::registries::Client;
use engine::request::AnnotateManifest;
use engine::{Inspected, ListedManifest};
use oci::MediaType;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value, json};
use template::Template;

use super::registries;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::inspect::AttestedFields;
use crate::output;

/// How Docker indents manifests, and lists.
const MANIFEST_INDENT: &str = "\t";
const LIST_INDENT: &str = "   ";

/// `skiff manifest create`.
pub(crate) fn create(context: &Context, parsed: &Parsed) -> Result<u8> {
    let client = registries::client_of(context, parsed.on("insecure"))?;
    let Some((list, manifests)) = parsed.arguments.split_first() else { return Ok(0) };
    let name = context.engine()?.create_manifest_list(&client, list, manifests, parsed.on("amend"))?;
    output::print(&format!("Created manifest list {name}\n"));
    Ok(0)
}

/// `skiff manifest annotate`.
pub(crate) fn annotate(context: &Context, parsed: &Parsed) -> Result<u8> {
    let text = |name: &str| parsed.text(name).map(str::to_owned);
    let features = parsed.list("os-features").flat_map(|text| text.split(','));
    let request = AnnotateManifest {
        os: text("os"),
        architecture: text("arch"),
        variant: text("variant"),
        os_version: text("os-version"),
        os_features: features.filter(|text| !text.is_empty()).map(str::to_owned).collect(),
    };
    context.engine()?.annotate_manifest(&parsed.arguments[0], &parsed.arguments[1], &request)?;
    Ok(0)
}

/// `skiff manifest inspect`.
pub(crate) fn inspect(context: &Context, parsed: &Parsed) -> Result<u8> {
    let client = registries::client_of(context, parsed.on("insecure"))?;
    if let Some(format) = parsed.text("format").filter(|text| !text.is_empty()) {
        return formatted(context, parsed, (&client, format));
    }
    let (list, name) = match parsed.arguments.as_slice() {
        [list, name] => (Some(list.as_str()), name),
        names => (None, &names[0]),
    };
    let is_verbose = parsed.on("verbose");
    let text = match context.engine()?.inspect_manifest(&client, list, name, is_verbose)? {
        Inspected::Manifest(manifest) if is_verbose => indented(&described(&manifest)?, MANIFEST_INDENT),
        Inspected::Manifest(manifest) => indented(&parse(&manifest.bytes)?, MANIFEST_INDENT),
        Inspected::List { manifests, .. } if is_verbose => {
            let all = manifests.iter().map(described).collect::<Result<Vec<_>>>()?;
            indented(&Value::Array(all), MANIFEST_INDENT)
        }
        Inspected::List { document, .. } => indented(&parse(&document)?, LIST_INDENT),
    };
    output::print(&format!("{text}\n"));
    Ok(0)
}

/// By a template: what a registry has under a name, as `docker buildx imagetools inspect` tells it.
fn formatted(context: &Context, parsed: &Parsed, (client, format): (&Client, &str)) -> Result<u8> {
    let [name] = parsed.arguments.as_slice() else {
        return Err(Error::Conflict("--format is for one name of a registry"));
    };
    if parsed.on("verbose") {
        return Err(Error::Conflict("--format and --verbose exclude each other"));
    }
    let template = Template::parse(format).map_err(Error::Template)?;
    let attested = AttestedFields::of(Some(format));
    let asks_for_configs = format.contains(".Image") || format.contains("json .}");
    let wanted = |kind: &str| attested.want(kind);
    let found = context.engine()?.remote_images(client, name, (asks_for_configs, &wanted))?;
    let mut top = json!(found.descriptor);
    if let (Value::Object(top), Value::Object(document), true) =
        (&mut top, parse(&found.document)?, found.descriptor.media_type.is_index())
    {
        top.extend(document);
    }
    let image = match found.statements.is_several {
        true => found.configs.into_iter().collect(),
        false => found.configs.into_values().next().unwrap_or(Value::Null),
    };
    let mut document = json!({ "Name": found.reference, "Manifest": top, "Image": image });
    if attested.any() {
        attested.add(&mut document, found.statements);
    }
    output::print(&(template.execute(&document).map_err(Error::Template)? + "\n"));
    Ok(0)
}

/// `skiff manifest push`.
pub(crate) fn push(context: &Context, parsed: &Parsed) -> Result<u8> {
    let client = registries::client_of(context, parsed.on("insecure"))?;
    let pushed = context.engine()?.push_manifest_list(&client, &parsed.arguments[0], parsed.on("purge"))?;
    for (name, digest) in &pushed.manifests {
        output::print(&format!("Pushed ref {name} with digest: {digest}\n"));
    }
    output::print(&format!("{}\n", pushed.digest));
    Ok(0)
}

/// `skiff manifest rm`.
pub(crate) fn remove(context: &Context, parsed: &Parsed) -> Result<u8> {
    let mut code = 0;
    for list in &parsed.arguments {
        if let Err(error) = context.engine()?.remove_manifest_list(list) {
            code = 1;
            output::complain(&error.into());
        }
    }
    Ok(code)
}

fn parse(document: &[u8]) -> Result<Value> {
    serde_json::from_slice(document).map_err(Error::ManifestJson)
}

/// A manifest with all that is known of it, as Docker names things.
fn described(manifest: &ListedManifest) -> Result<Value> {
    let mut fields = Map::new();
    fields.insert("Ref".to_owned(), json!(manifest.reference));
    fields.insert("Descriptor".to_owned(), json!(manifest.descriptor));
    fields.insert("Raw".to_owned(), json!(STANDARD.encode(&manifest.bytes)));
    let is_docker = manifest.descriptor.media_type == MediaType::DOCKER_MANIFEST;
    let name = if is_docker { "SchemaV2Manifest" } else { "OCIManifest" };
    fields.insert(name.to_owned(), parse(&manifest.bytes)?);
    Ok(Value::Object(fields))
}

fn indented(value: &Value, indent: &str) -> String {
    let mut out = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(indent.as_bytes()));
    // A value that came from JSON goes into memory without fail.
    let _written = value.serialize(&mut serializer);
    String::from_utf8_lossy(&out).into_owned()
}
