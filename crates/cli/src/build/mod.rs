//! `skiff build`.
//!
//! ```text
//! words ─► place: context and Dockerfile ─┬─► call: checks, outlines; needs the Dockerfile alone
//!                                         └─► request ─► Engine::build ─► progress ─► files with the results
//! ```
//!
//! Results go to standard output, everything else to standard error. Exit codes are Docker's: 1 for whatever failed, also for
//! a check that found something; 130 after an interrupt.

pub(crate) mod bake;
mod call;
mod csv;
mod execute;
mod fault;
mod outline;
mod outputs;
mod place;
mod policy;
mod progress;
mod request;
mod results;
mod sources;
mod vcs;

pub(crate) use fault::Fault;

use std::path::Path;

use engine::info::Built;
use engine::request::Build;

use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::image::pressure;
use crate::output;
use progress::{Display, Mode};

/// Whether the words after `build` are those of `skiff bake`: `skiff build bake …`. A folder of that name is the context that it
/// is for Docker.
pub(crate) fn is_bake(words: &[String]) -> bool {
    words.first().is_some_and(|word| word == "bake") && !Path::new("bake").is_dir()
}

/// `skiff build`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let asked = call::asked(parsed)?;
    let mode = Mode::of(parsed)?;
    let place = place::locate(&parsed.arguments[0], parsed.text("file"))?;
    if let Some(asked) = asked {
        return call::run(context, parsed, &asked, &place);
    }
    let (built, warnings) = make(context, parsed, place, mode)?;
    results::write_metadata(parsed, built.metadata(), warnings)?;
    Ok(0)
}

/// Builds what was typed of these files; with what was built, what the checks found.
fn make(
    context: &Context,
    parsed: &Parsed,
    place: place::Place,
    mode: Mode,
) -> Result<(Built, Vec<serde_json::Value>)> {
    let request = request::request(context, parsed, place)?;
    results::forget_id(parsed)?;
    let expanded = context.debug || parsed.on("debug");
    let display = Display::new(mode, expanded, parsed.tristate("timings"));
    let built = execute::execute(context, &request, &display)?;
    let id = built.id();
    if let Some(id) = &id {
        results::write_id(parsed, id)?;
    }
    if let Some(id) = id.as_ref().filter(|_| mode == Mode::Quiet) {
        output::print(&format!("{id}\n"));
    }
    relieve(context, std::slice::from_ref(&built));
    Ok((built, display.warnings()))
}

/// Builds several at once; with what was built of each, what the checks found.
fn make_all(
    context: &Context,
    parsed: &Parsed,
    builds: &[(String, Build)],
    mode: Mode,
) -> Result<(Vec<Built>, Vec<serde_json::Value>)> {
    let display = Display::new(mode, context.debug, parsed.tristate("timings"));
    let built = execute::execute_all(context, builds, &display)?;
    if mode == Mode::Quiet {
        let ids = built.iter().filter_map(Built::id).map(|id| format!("{id}\n"));
        output::print(&ids.collect::<String>());
    }
    relieve(context, &built);
    Ok((built, display.warnings()))
}

/// Makes room where the disk is too full, but not of what has just been built.
fn relieve(context: &Context, built: &[Built]) {
    let images = built.iter().flat_map(|built| &built.images);
    let added: Vec<String> = images.map(|image| image.id.to_string()).collect();
    pressure::relieve_after(context, &added.iter().map(String::as_str).collect::<Vec<_>>());
}
