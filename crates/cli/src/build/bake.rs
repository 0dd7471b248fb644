//! `skiff bake`: the targets of bake files, one after the other.
//!
//! A target becomes the words of a `skiff build`, which are parsed like those that people type: what a flag takes, and what it
//! is refused for, is said once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use ::bake::{Entry, FILES, File, Plan, Request, Target};
use engine::request::DockerfileSource;
use oci::Platform;
use serde_json::{Map, Value};

use super::fault::Fault;
use super::progress::Mode;
use super::{call, place, results};
use crate::commands::BUILD;
use crate::context::Context;
use crate::error::Result;
use crate::flags::{self, Parsed};
use crate::output::{self, table};
use crate::values::environment;

/// The most bytes of a bake file.
const LIMIT: u64 = 4 << 20;

/// `skiff bake`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let mode = Mode::of(parsed)?;
    let files = files(parsed)?;
    let overrides: Vec<String> = parsed.list("set").map(str::to_owned).collect();
    let variables = parsed.values("var", |text| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be name=value"),
    })?;
    let request = Request {
        files: &files,
        environment: environment::all(),
        variables: variables.into_iter().collect(),
        targets: &parsed.arguments,
        overrides: &overrides,
        command_context: None,
        local_platform: Some(Platform::host().to_string()),
        now: Some(SystemTime::now()),
        seed: None,
    };
    if let Some(what) = parsed.value("list", listed)? {
        output::print(&list(&request, what)?);
        return Ok(0);
    }
    let plan = request.load().map_err(Fault::Bake)?;
    if parsed.on("print") {
        output::print(&format!("{}\n", plan.to_json().trim_end()));
        return Ok(0);
    }
    allowed(parsed, &plan)?;
    build(context, parsed, &plan, mode)
}

/// The files of `-f`, or those that are there.
fn files(parsed: &Parsed) -> Result<Vec<File>> {
    let given: Vec<&str> = parsed.list("file").collect();
    let read = |name: &str| {
        let bytes = match name {
            "-" => place::stdin_text()?,
            name => linux::file::read_bounded(Path::new(name), LIMIT)?,
        };
        let content = String::from_utf8_lossy(&bytes).into_owned();
        Ok(File { name: name.to_owned(), content })
    };
    if !given.is_empty() {
        return given.into_iter().map(read).collect();
    }
    let found: Vec<&&str> = FILES.iter().filter(|name| Path::new(name).exists()).collect();
    if found.is_empty() {
        return Err(Fault::NoBakeFile.into());
    }
    found.into_iter().map(|name| read(name)).collect()
}

#[derive(Clone, Copy)]
enum Listed {
    Targets,
    Variables,
}

fn listed(text: &str) -> std::result::Result<Listed, &'static str> {
    match text.trim_start_matches("type=") {
        "targets" => Ok(Listed::Targets),
        "variables" => Ok(Listed::Variables),
        _ => Err("must be targets or variables"),
    }
}

fn list(request: &Request<'_>, what: Listed) -> Result<String> {
    let found = request.list().map_err(Fault::Bake)?;
    let mut rows = match what {
        Listed::Targets => String::from("TARGET\tDESCRIPTION\n"),
        Listed::Variables => String::from("VARIABLE\tTYPE\tVALUE\tDESCRIPTION\n"),
    };
    match what {
        Listed::Targets => {
            for (name, group) in &found.groups {
                let about = group.description.clone().unwrap_or_else(|| group.targets.join(", "));
                rows.push_str(&format!("{name}\t{about}\n"));
            }
            for (name, about) in found.targets.iter().filter(|(name, _)| !name.starts_with('_')) {
                rows.push_str(&format!("{name}\t{}\n", about.as_deref().unwrap_or_default()));
            }
        }
        Listed::Variables => {
            for variable in &found.variables {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let value = variable.value.clone().unwrap_or_else(|| "<null>".to_owned());
                let (kind, about) = (text(&variable.kind), text(&variable.description));
                rows.push_str(&format!("{}\t{kind}\t{value}\t{about}\n", variable.name));
            }
        }
    }
    Ok(table::compact(&rows, 3))
}

/// What the file asks for has to be allowed by who calls, for somebody else may have written it.
fn allowed(parsed: &Parsed, plan: &Plan) -> Result<()> {
    let given: Vec<&str> = parsed.list("allow").flat_map(|text| text.split(',')).collect();
    for (name, target) in &plan.targets {
        let host = target.network.as_deref() == Some("host");
        let wanted = target.entitlements.iter().map(String::as_str).chain(host.then_some("network.host"));
        for wanted in wanted {
            let is_given = |given: &&str| *given == wanted || wanted.starts_with(&format!("{given}="));
            if !given.iter().any(is_given) {
                return Err(Fault::NotAllowed { target: name.clone(), wanted: wanted.to_owned() }.into());
            }
        }
    }
    Ok(())
}

fn build(context: &Context, parsed: &Parsed, plan: &Plan, mode: Mode) -> Result<u8> {
    let mut code = 0;
    let mut metadata = Map::new();
    for name in &plan.order {
        let Some(target) = plan.targets.get(name) else { continue };
        let own = flags::parse(&BUILD, parsed.path.clone(), &words(target, parsed))?;
        let mut place = place::locate(&own.arguments[0], own.text("file"))?;
        if let Some(text) = &target.dockerfile_inline {
            place.dockerfile = DockerfileSource::Text(text.clone().into_bytes());
        }
        if let Some(asked) = call::asked(&own)? {
            code = code.max(call::run(context, &own, &asked, &place)?);
            continue;
        }
        if plan.order.len() > 1 && matches!(mode, Mode::Plain | Mode::Tty) {
            output::warn(&format!("==> {name}\n"));
        }
        let (built, _) = super::make(context, &own, place, mode)?;
        metadata.insert(name.clone(), Value::Object(built.metadata()));
    }
    results::write_metadata(parsed, metadata, Vec::new())?;
    Ok(code)
}

/// The words of a build that does what a target says.
fn words(target: &Target, parsed: &Parsed) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |flag: &str, value: &str| words.push(format!("--{flag}={value}"));
    let pairs = |map: &BTreeMap<String, String>, sign: &str| -> Vec<String> {
        map.iter().map(|(name, value)| format!("{name}{sign}{value}")).collect()
    };
    pairs(&target.args, "=").iter().for_each(|one| add("build-arg", one));
    pairs(&target.labels, "=").iter().for_each(|one| add("label", one));
    pairs(&target.contexts, "=").iter().for_each(|one| add("build-context", one));
    pairs(&target.extra_hosts, "=").iter().for_each(|one| add("add-host", one));
    for (flag, list) in [
        ("annotation", &target.annotations),
        ("tag", &target.tags),
        ("platform", &target.platforms),
        ("no-cache-filter", &target.no_cache_filter),
        ("ulimit", &target.ulimits),
        ("allow", &target.entitlements),
    ] {
        list.iter().for_each(|one| add(flag, one));
    }
    for (flag, list) in
        [("cache-from", &target.cache_from), ("cache-to", &target.cache_to), ("output", &target.output)]
    {
        list.iter().for_each(|entry| add(flag, &fields(&entry.kind, entry)));
    }
    for attest in &target.attest {
        let entry = Entry { kind: attest.kind.clone(), attributes: attest.attributes.clone() };
        let off = if attest.disabled { ",disabled=true" } else { "" };
        add("attest", &format!("{}{off}", fields(&attest.kind, &entry)));
    }
    for secret in &target.secret {
        let source = secret.source.iter().map(|source| quoted(&format!("src={source}")));
        let variable = secret.variable.iter().map(|name| quoted(&format!("env={name}")));
        let id = quoted(&format!("id={}", secret.id));
        let all: Vec<String> = [id].into_iter().chain(source).chain(variable).collect();
        add("secret", &all.join(","));
    }
    for ssh in &target.ssh {
        let paths = ssh.paths.join(",");
        let all = if paths.is_empty() { ssh.id.clone() } else { format!("{}={paths}", ssh.id) };
        add("ssh", &all);
    }
    let texts = [("target", &target.target), ("network", &target.network), ("shm-size", &target.shm_size)];
    for (flag, text) in texts {
        text.iter().for_each(|text| add(flag, text));
    }
    for (flag, on) in [("pull", target.pull), ("no-cache", target.no_cache)] {
        on.iter().for_each(|on| add(flag, &on.to_string()));
    }
    if target.dockerfile_inline.is_none() && !target.dockerfile.is_empty() {
        let is_here = Path::new(&target.context).is_dir();
        let path = if is_here {
            Path::new(&target.context).join(&target.dockerfile)
        } else {
            target.dockerfile.clone().into()
        };
        // One that nobody has named is looked for under all names that it may have.
        if target.dockerfile != "Dockerfile" || path.exists() {
            add("file", &path.to_string_lossy());
        }
    }
    let asked = parsed.on("check").then_some("check").or(parsed.text("call")).or(target.call.as_deref());
    asked.into_iter().for_each(|call| add("call", call));
    // What is asked of all targets counts after what each says.
    for flag in ["provenance", "sbom", "allow"] {
        parsed.list(flag).for_each(|value| add(flag, value));
    }
    for flag in ["pull", "no-cache"] {
        parsed.tristate(flag).iter().for_each(|on| add(flag, &on.to_string()));
    }
    for flag in ["push", "load"] {
        if parsed.on(flag) && !target.linked {
            add(flag, "true");
        }
    }
    words.extend([
        "--".to_owned(),
        if target.context.is_empty() { ".".to_owned() } else { target.context.clone() },
    ]);
    words
}

/// `type=kind,key=value,…`.
fn fields(kind: &str, entry: &Entry) -> String {
    let attributes = entry.attributes.iter().map(|(key, value)| quoted(&format!("{key}={value}")));
    [quoted(&format!("type={kind}"))].into_iter().chain(attributes).collect::<Vec<_>>().join(",")
}

/// A field that may hold commas.
fn quoted(field: &str) -> String {
    match field.contains([',', '"']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_becomes_the_words_of_a_build() {
        let file = File {
            name: "docker-bake.hcl".to_owned(),
            content:
                "target \"default\" {\n context = \"/no/such\"\n args = { A = \"1\" }\n tags = [\"a:1\"]\n \
                      output = [\"type=local,\\\"dest=/a,b\\\"\"]\n no-cache = true\n}\n"
                    .to_owned(),
        };
        let plan = ::bake::load(&[file], &BTreeMap::new(), &[], &[]).unwrap();
        let parsed = flags::parse(&BUILD, String::new(), &["--load".to_owned(), "x".to_owned()]).unwrap();
        let words = words(&plan.targets["default"], &parsed);
        assert_eq!(
            words,
            [
                "--build-arg=A=1",
                "--tag=a:1",
                "--output=type=local,\"dest=/a,b\"",
                "--no-cache=true",
                "--load=true",
                "--",
                "/no/such"
            ]
        );
    }
}
