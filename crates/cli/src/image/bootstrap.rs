//! `image bootstrap`.

#![allow(clippy::disallowed_methods, reason = "the command line is what reads the environment")]

use engine::request::{Bootstrap, Proxies, Variant};

use super::pressure;
use crate::context::{Context, absolute};
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;

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
        source_date_epoch: variable(&["SOURCE_DATE_EPOCH"]).map(parse_epoch).transpose()?,
        proxies: Proxies {
            http: variable(&["http_proxy"]),
            https: variable(&["https_proxy", "HTTPS_PROXY"]),
            except: variable(&["no_proxy", "NO_PROXY"]),
        },
    };
    let quiet = parsed.on("quiet");
    let mut progress = |step: &str| {
        if !quiet {
            output::warn(&format!("{step}\n"));
        }
    };
    let image = context.engine()?.bootstrap(&request, &mut progress)?;
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

/// The first of these that the environment has.
fn variable(names: &[&str]) -> Option<String> {
    let found = names.iter().find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
    found.and_then(|value| value.into_string().ok())
}
