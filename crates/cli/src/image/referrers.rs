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

/// `skiff image referrers`: what in its registry says something about an image.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let failed = |source| Error::OfRegistry(Box::new(source));
    let text = &parsed.arguments[0];
    let name: Reference =
        text.parse().map_err(|source| Error::Reference { text: text.chars().take(80).collect(), source })?;
    let name = name.or_latest();
    let format = Format::parse(parsed.text("format"), "{{.Digest}}\t{{.ArtifactType}}\t{{.Size}}")?;
    let client = registries::client(context)?;
    let repository = client.repository(&name).map_err(failed)?;
    let digest = match name.digest() {
        Some(digest) => digest.clone(),
        None => repository.resolve(&name).map_err(failed)?.digest,
    };
    let wanted = parsed.text("artifact-type").filter(|kind| !kind.is_empty());
    let found = repository.referrers(&digest, wanted).map_err(failed)?;
    if parsed.on("quiet") {
        output::print(&found.iter().map(|entry| format!("{}\n", entry.digest)).collect::<String>());
        return Ok(0);
    }
    output::print(&format.render(&COLUMNS, found.iter().map(row).collect())?);
    Ok(0)
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
