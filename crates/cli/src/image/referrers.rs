//! `skiff image referrers`.

use oci::{Descriptor, Reference};
use serde_json::{Map, Value};

use super::registries;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;
use crate::output::list::{Columns, Format};
use crate::output::units;

const COLUMNS: Columns = Columns {
    headers: &[
        ("Annotations", "ANNOTATIONS"),
        ("ArtifactType", "ARTIFACT TYPE"),
        ("Digest", "DIGEST"),
        ("MediaType", "MEDIA TYPE"),
        ("Size", "SIZE"),
    ],
    raw: &[("digest", "Digest"), ("artifact_type", "ArtifactType"), ("size", "Size")],
};

/// `skiff image referrers`: what says something about an image, in its registry or here.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let format = Format::parse(parsed.text("format"), "{{.Digest}}\t{{.ArtifactType}}\t{{.Size}}")?;
    let wanted = parsed.text("artifact-type").filter(|kind| !kind.is_empty());
    let name = &parsed.arguments[0];
    let found = match parsed.on("local") {
        true => attached(context, name, wanted)?,
        false => in_registry(context, name, wanted)?,
    };
    if parsed.on("quiet") {
        output::print(&found.iter().map(|entry| format!("{}\n", entry.digest)).collect::<String>());
        return Ok(0);
    }
    output::print(&format.render(&COLUMNS, found.iter().map(row).collect())?);
    Ok(0)
}

/// Documents that are kept with an image here. What will refer to it are manifests of these, made when it is pushed.
fn attached(context: &Context, name: &str, wanted: Option<&str>) -> Result<Vec<Descriptor>> {
    let mut found = context.engine()?.attached(name)?;
    found.retain(|entry| wanted.is_none_or(|wanted| entry.media_type.as_str() == wanted));
    Ok(found)
}

fn in_registry(context: &Context, text: &str, wanted: Option<&str>) -> Result<Vec<Descriptor>> {
    let failed = |source| Error::OfRegistry(Box::new(source));
    let name: Reference =
        text.parse().map_err(|source| Error::Reference { text: text.chars().take(80).collect(), source })?;
    let name = name.or_latest();
    let client = registries::client(context)?;
    let repository = client.repository(&name).map_err(failed)?;
    let digest = match name.digest() {
        Some(digest) => digest.clone(),
        None => repository.resolve(&name).map_err(failed)?.digest,
    };
    repository.referrers(&digest, wanted).map_err(failed)
}

fn row(entry: &Descriptor) -> Map<String, Value> {
    let kind = entry.artifact_type.as_ref().map_or_else(String::new, ToString::to_string);
    let notes: Vec<String> =
        entry.annotations.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let fields = [
        ("Annotations", notes.join(",")),
        ("ArtifactType", kind),
        ("Digest", entry.digest.to_string()),
        ("MediaType", entry.media_type.to_string()),
        ("Size", units::size(entry.size, 3)),
    ];
    fields.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text))).collect()
}
