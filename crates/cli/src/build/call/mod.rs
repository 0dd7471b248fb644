//! `--call` and `--check`: what can be said of a Dockerfile without building anything.
//!
//! ```text
//! Dockerfile, ignore file ─► parse ─► stages ─► checks ─► text, JSON or SARIF
//!                                       │
//!                              configs of images, where they are here
//! ```
//!
//! Nothing is fetched. Of a stage whose base image is not here, nobody knows the variables, so that those it uses are not
//! called undefined.

mod asked;
mod subject;
#[cfg(test)]
mod tests;
mod text;

use dockerfile::lint::sarif;
use dockerfile::source::Source;
use dockerfile::stage::{ImageKey, Options};
use oci::{ImageConfig, Platform};
use serde_json::Value;

use self::asked::{Format, Method};
use self::subject::Subject;
use super::fault::Fault;
use super::place::Place;
use super::{outline, request, sources};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;
use crate::values::environment;

pub(super) use asked::{Call, asked};

/// Does it; the exit code.
pub(super) fn run(context: &Context, parsed: &Parsed, call: &Call, place: &Place) -> Result<u8> {
    if call.method == Method::Describe {
        output::print(&outline::describe(call.format == Format::Json));
        return Ok(0);
    }
    let text = text::read(place, parsed.text("file"))?;
    let lookup = &|name: &str| environment::caller(name);
    let arguments = request::arguments(context, parsed, lookup)?;
    let platform = parsed.list("platform").next().map(str::to_owned).or_else(environment::default_platform);
    let platform = platform.and_then(|list| list.split(',').next().map(str::to_owned));
    let platform: Option<Platform> =
        platform.map(|text| text.parse().map_err(|source| Error::Platform { text, source })).transpose()?;
    let target = parsed.text("target").map(str::to_owned).filter(|target| !target.is_empty());
    let names = parsed.values("build-context", sources::context)?;
    let options = Options {
        // Without a target all stages are looked at.
        all_stages: target.is_none(),
        target,
        arguments,
        platform: platform.map_or_else(Platform::host, |platform| platform.normalized()),
        several: false,
        builder: Platform::host(),
        contexts: names.into_iter().map(|(name, _)| name).collect(),
    };
    let source = Source::new(text.name, text.bytes).map_err(|error| Fault::Dockerfile(Box::new(error)))?;
    let subject = Subject { source: &source, options: &options, ignored: text.ignored.as_ref() };
    let strict = parsed.value("lint", request::strict)?.unwrap_or(false);
    match call.method {
        Method::Check | Method::Describe => check(context, &subject, call, strict),
        Method::Outline | Method::Targets => subject.list(context, call),
    }
}

fn check(context: &Context, subject: &Subject<'_>, call: &Call, strict: bool) -> Result<u8> {
    let mut checked = subject.check(&|key| config_here(context, key));
    checked.report.is_error |= strict && !checked.report.warnings.is_empty();
    let report = &checked.report;
    output::print(&match call.format {
        Format::Text => report.to_text(),
        Format::Json => pretty(&report.to_json()),
        Format::Sarif => pretty(&sarif(&[report], env!("CARGO_PKG_VERSION"))),
    });
    if let Some(error) = &report.build_error {
        let shown: Vec<String> = checked.errors.iter().map(|error| error.render(subject.source)).collect();
        output::warn(&format!("{}\nERROR: {}\n", shown.join("\n"), error.message));
        return Ok(1);
    }
    Ok(if call.ignore_status { 0 } else { report.exit_code() })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The config of an image that is here.
fn config_here(context: &Context, key: &ImageKey) -> Option<ImageConfig> {
    // To ask is not to make a store.
    if !context.root().ok()?.join("state.db").exists() {
        return None;
    }
    let name = key.reference.to_string();
    let info = context.engine().ok()?.image_inspect(&name, Some(&key.platform)).ok()?;
    ImageConfig::parse(&info.config).ok()
}
