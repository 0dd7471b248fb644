//! `image bootstrap`.

#![allow(clippy::disallowed_methods, reason = "the command line is what reads the environment")]

use std::time::Duration;

use engine::request::{Bootstrap, Variant};

use super::{pressure, registries};
use crate::context::{Context, absolute};
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;
use crate::values::time::positive_duration;

/// How long the scripts of packages may take.
const SCRIPTS: Duration = Duration::from_secs(3600);

/// `skiff image bootstrap`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let text = |name| parsed.text(name).map(str::to_owned).filter(|text| !text.is_empty());
    let list = |name| parsed.list(name).map(str::to_owned).collect();
    let request = Bootstrap {
        system: parsed.arguments[0].clone(),
        packages: parsed.arguments[1..].to_vec(),
        tag: text("tag"),
        variant: parsed.value("variant", parse_variant)?.unwrap_or_default(),
        mirror: text("mirror"),
        sources: list("source"),
        components: list("component"),
        keyring: text("keyring").map(absolute).transpose()?,
        platform: text("platform"),
        allow_expired: parsed.on("allow-expired"),
        source_date_epoch: variable("SOURCE_DATE_EPOCH").map(parse_epoch).transpose()?,
        timeout: parsed.value("timeout", positive_duration)?.unwrap_or(SCRIPTS),
    };
    let quiet = parsed.on("quiet");
    let mut progress = |step: &str| {
        if !quiet {
            output::warn(&format!("{step}\n"));
        }
    };
    // No credential is for an archive, so none is looked for.
    let client = registries::anonymous_client(context)?;
    let image = context.engine()?.bootstrap(&client, &request, &mut progress)?;
    output::print(&format!("{}\n", image.id));
    pressure::relieve_after(context, &[&image.id.to_string()]);
    Ok(0)
}

fn parse_variant(text: &str) -> std::result::Result<Variant, String> {
    match text {
        "minbase" => Ok(Variant::Minbase),
        "distroless" => Ok(Variant::Distroless),
        _ => Err("wanted is minbase or distroless".to_owned()),
    }
}

fn parse_epoch(text: String) -> Result<i64> {
    text.parse().map_err(|_| Error::SourceDateEpoch { text })
}

fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).filter(|value| !value.is_empty()).and_then(|value| value.into_string().ok())
}
