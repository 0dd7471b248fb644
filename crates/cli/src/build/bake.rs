//! `skiff bake`: the targets of bake files, side by side.
//!
//! ```text
//! URL, -f, files here ─► definition ─► plan (pure) ─┬─► --print, --list
//!                                                   └─► allowed? ─► words of a build, each ─► requests ─► Engine::build_together
//! ```
//!
//! A target becomes the words of a `skiff build`, which are parsed like those that people type: what a flag takes, and what it
//! is refused for, is said once. What a target makes for another (`target:`) is no word, and is put into the request.

mod allow;
mod definition;
mod list;
mod words;

use std::time::SystemTime;

use ::bake::{Plan, Reader, Request, Target};
use engine::request::{Build, DockerfileSource, NamedContext};
use oci::Platform;

use self::definition::{Definition, Remote};
use super::fault::Fault;
use super::progress::Mode;
use super::{call, outputs, place, request, results, sources};
use crate::commands::BUILD;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, Parsed};
use crate::output;
use crate::values::environment;

/// `skiff bake`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let mode = Mode::of(parsed)?;
    let wanted_list = parsed.value("list", list::List::parse)?;
    if parsed.on("print") && wanted_list.is_some() {
        return Err(Error::Conflict("--print and --list show different things: use one of them"));
    }
    let (addresses, targets) = definition::addresses(&parsed.arguments);
    let definition = Definition::read(context, parsed, addresses)?;
    let policies = parsed.list("policy").map(|policy| format!("*.policy+={policy}"));
    let overrides: Vec<String> = parsed.list("set").map(str::to_owned).chain(policies).collect();
    let variables = parsed.values("var", |text| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be name=value"),
    })?;
    let other = |path: &str| definition.other(context, path);
    let request = Request {
        files: &definition.files,
        environment: environment::all(),
        dotenv: definition.dotenv.as_deref(),
        reader: Some(Reader(&other)),
        variables: variables.into_iter().collect(),
        targets,
        overrides: &overrides,
        command_context: addresses.get(1).cloned(),
        local_platform: Some(Platform::host().to_string()),
        now: Some(SystemTime::now()),
        seed: Some(seed()?),
    };
    if let Some(list) = wanted_list {
        output::print(&list.show(&request.list().map_err(Fault::Bake)?));
        return Ok(0);
    }
    let plan = request.load().map_err(Fault::Bake)?;
    if parsed.on("print") {
        output::print(&format!("{}\n", plan.to_json().trim_end()));
        return Ok(0);
    }
    allow::check(parsed, &plan, definition.remote.as_ref(), definition.is_foreign)?;
    build(context, parsed, &plan, (definition.remote.as_ref(), mode))
}

/// What random values of a file are made from.
fn seed() -> Result<[u8; 32]> {
    let mut seed = [0; 32];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
        .map_err(|source| Error::System { attempt: "make a random number", source })?;
    Ok(seed)
}

fn build(
    context: &Context,
    parsed: &Parsed,
    plan: &Plan,
    (remote, mode): (Option<&Remote>, Mode),
) -> Result<u8> {
    let (mut builds, mut code, mut called) = (Vec::new(), 0, 0);
    for name in &plan.order {
        let Some(target) = plan.targets.get(name) else { continue };
        let words = words::of(name, target, parsed, remote)?;
        let own = flags::parse(&BUILD, parsed.path.clone(), &words)?;
        let mut place = place::locate(&own.arguments[0], own.text("file"))?;
        if let Some(text) = &target.dockerfile_inline {
            place.dockerfile = DockerfileSource::Text(text.clone().into_bytes());
        }
        if let Some(asked) = call::asked(&own)? {
            // What is only there for others is not asked about.
            if !target.linked {
                let gap = if called > 0 { "\n" } else { "" };
                called += 1;
                if plan.targets.len() > 1 && asked.is_for_people() {
                    output::print(&format!("{gap}{name}\n"));
                }
                code = code.max(call::run(context, &own, &asked, &place)?);
            }
            continue;
        }
        builds.push((name.clone(), linked(name, target, request::request(context, &own, place)?)?));
    }
    if builds.is_empty() {
        return Ok(code);
    }
    if builds.iter().filter(|(_, build)| outputs::uses_stdout(&build.outputs)).count() > 1 {
        return Err(Fault::StdoutForSeveral.into());
    }
    let (built, warnings) = super::make_all(context, parsed, &builds, mode)?;
    let metadata = builds.into_iter().zip(built).map(|((name, _), built)| (name, built.metadata()));
    results::write_metadata_of_targets(parsed, metadata.collect(), warnings)?;
    Ok(code)
}

/// A request with what its target has of other targets.
fn linked(name: &str, target: &Target, mut build: Build) -> Result<Build> {
    // Whoever wrote the file is not the caller: his keys are for what he has named, the definition itself.
    let named = target.contexts.values().chain([&target.context]);
    build.ssh.serves_contexts = !named.into_iter().any(|context| place::is_remote(context));
    for (context, value) in &target.contexts {
        let Some(made) = value.strip_prefix("target:") else { continue };
        let context = sources::context_name(context)
            .map_err(|reason| Fault::Target { target: name.to_owned(), reason })?;
        build.contexts.insert(context, NamedContext::Made(made.to_owned()));
    }
    Ok(build)
}
