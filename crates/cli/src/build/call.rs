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

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dockerfile::ignore::{self, Matcher};
use dockerfile::lint::{Config, Linter, Report, check_tree, sarif};
use dockerfile::lower::{Graph, Inputs, lower};
use dockerfile::parse::parse;
use dockerfile::source::{Diagnostic, Source, Span};
use dockerfile::stage::{Base, ImageKey, Images, Options, Plan, resolve};
use dockerfile::syntax::Dockerfile;
use engine::request::{BuildContext, DockerfileSource};
use oci::{ImageConfig, Platform};
use serde_json::Value;

use super::fault::Fault;
use super::place::{DOCKERFILE_LIMIT, Place};
use super::{csv, outline, request};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::flags::parse::parse_bool;
use crate::output;
use crate::values::environment;

/// The most bytes of an ignore file.
const IGNORE_LIMIT: u64 = 16 << 20;

/// What is asked for instead of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) format: Format,
    /// What is found makes no exit code.
    pub(super) ignore_status: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Check,
    Outline,
    Targets,
    Describe,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
    Sarif,
}

/// What `--call`, `--check` and `--format` ask for; nothing if that is a build.
pub(super) fn asked(parsed: &Parsed) -> Result<Option<Call>> {
    let call = parsed.value("call", call_of)?.flatten();
    let call = match parsed.on("check") {
        true if call.is_none() => {
            Some(Call { method: Method::Check, format: Format::Text, ignore_status: false })
        }
        _ => call,
    };
    let format = parsed.value("format", format_of)?;
    match (call, format) {
        (Some(call), Some(format)) => check_format(Call { format, ..call }).map(Some),
        (Some(call), None) => check_format(call).map(Some),
        (None, Some(_)) => Err(Error::Conflict("--format is for --check and --call")),
        (None, None) => Ok(None),
    }
}

fn check_format(call: Call) -> Result<Call> {
    match (call.method, call.format) {
        (Method::Outline | Method::Targets | Method::Describe, Format::Sarif) => {
            Err(Error::Conflict("only --check has results that SARIF can hold"))
        }
        _ => Ok(call),
    }
}

fn call_of(text: &str) -> std::result::Result<Option<Call>, String> {
    let mut call = Call { method: Method::Check, format: Format::Text, ignore_status: false };
    let mut is_build = false;
    for field in csv::fields(text)? {
        match csv::pair(&field) {
            Err(_) => match field.as_str() {
                "" | "build" => is_build = true,
                "check" | "lint" => call.method = Method::Check,
                "outline" => call.method = Method::Outline,
                "targets" => call.method = Method::Targets,
                "subrequests.describe" => call.method = Method::Describe,
                _ => return Err(format!("no method {field:?}: build, check, outline or targets")),
            },
            Ok((key, value)) => match key.as_str() {
                "format" => call.format = format_of(&value)?,
                "ignorestatus" => {
                    call.ignore_status = parse_bool(&value).ok_or("ignorestatus: not a boolean")?;
                }
                _ => return Err(format!("unknown key {key:?}: format or ignorestatus")),
            },
        }
    }
    Ok((!is_build).then_some(call))
}

fn format_of(text: &str) -> std::result::Result<Format, &'static str> {
    match text {
        "text" | "default" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "sarif" => Ok(Format::Sarif),
        _ => Err("format must be one of \"text\", \"json\" or \"sarif\""),
    }
}

/// Does it; the exit code.
pub(super) fn run(context: &Context, parsed: &Parsed, call: &Call, place: &Place) -> Result<u8> {
    if call.method == Method::Describe {
        output::print(&outline::describe(call.format == Format::Json));
        return Ok(0);
    }
    let text = read(place, parsed.text("file"))?;
    let lookup = &|name: &str| environment::caller(name);
    let arguments = request::arguments(context, parsed, lookup)?;
    let platform = parsed.list("platform").next().map(str::to_owned).or_else(environment::default_platform);
    let platform = platform.and_then(|list| list.split(',').next().map(str::to_owned));
    let platform: Option<Platform> =
        platform.map(|text| text.parse().map_err(|source| Error::Platform { text, source })).transpose()?;
    let target = parsed.text("target").map(str::to_owned).filter(|target| !target.is_empty());
    let names = parsed.values("build-context", super::sources::context)?;
    let options = Options {
        // Without a target all stages are looked at.
        all_stages: target.is_none(),
        target,
        arguments,
        platform: platform.map_or_else(Platform::host, |platform| platform.normalized()),
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

/// A Dockerfile and what goes with it.
struct Text {
    name: String,
    bytes: Vec<u8>,
    ignored: Option<Matcher>,
}

/// Reads the Dockerfile; messages call it what the caller does.
fn read(place: &Place, given: Option<&str>) -> Result<Text> {
    let folder = match &place.context {
        BuildContext::Directory(folder) => Some(folder.as_path()),
        BuildContext::Empty | BuildContext::Stream(_) | BuildContext::Remote(_) => None,
    };
    let (name, path, bytes) = match (&place.dockerfile, folder) {
        (DockerfileSource::Text(bytes), _) => ("Dockerfile".to_owned(), None, bytes.clone()),
        (DockerfileSource::File(path), _) => {
            let name = given.map_or_else(|| path.display().to_string(), str::to_owned);
            let bytes = bytes_of(path, &name)?;
            (name, Some(path.clone()), bytes)
        }
        (DockerfileSource::Default, Some(folder)) => {
            let (name, path, bytes) = first_of(folder)?;
            (name.to_owned(), Some(path), bytes)
        }
        (DockerfileSource::InContext(file), Some(folder)) => {
            let path = folder.join(file);
            let bytes = bytes_of(&path, file)?;
            (file.clone(), Some(path), bytes)
        }
        (DockerfileSource::Default | DockerfileSource::InContext(_), None) => {
            let what = match place.context {
                BuildContext::Stream(_) => "an archive",
                BuildContext::Remote(_) | BuildContext::Directory(_) | BuildContext::Empty => "a repository",
            };
            return Err(Fault::CallNeedsFile { what }.into());
        }
    };
    let own = path.map(|path| {
        let mut name = path.into_os_string();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    let shared = folder.map(|folder| folder.join(".dockerignore"));
    Ok(Text { name, bytes, ignored: ignored([own, shared].into_iter().flatten())? })
}

fn bytes_of(path: &Path, name: &str) -> Result<Vec<u8>> {
    linux::file::read_bounded(path, DOCKERFILE_LIMIT).map_err(|error| match error.is_missing() {
        true => Fault::NoDockerfile { name: name.to_owned() }.into(),
        false => Error::File(error),
    })
}

/// The Dockerfile of a folder.
fn first_of(folder: &Path) -> Result<(&'static str, PathBuf, Vec<u8>)> {
    for name in ["Dockerfile", "dockerfile", "Containerfile"] {
        let path = folder.join(name);
        match bytes_of(&path, name) {
            Err(Error::Build(Fault::NoDockerfile { .. })) => {}
            found => return found.map(|bytes| (name, path, bytes)),
        }
    }
    Err(Fault::NoDockerfile { name: "Dockerfile".to_owned() }.into())
}

/// The patterns of the first of these files that is there.
fn ignored(mut files: impl Iterator<Item = PathBuf>) -> Result<Option<Matcher>> {
    let found = files.find_map(|path| match linux::file::read_bounded(&path, IGNORE_LIMIT) {
        Err(error) if error.is_missing() => None,
        read => Some((path, read)),
    });
    let Some((path, read)) = found else { return Ok(None) };
    let matcher = Matcher::new(ignore::read(&read?));
    let matcher = matcher
        .map_err(|error| Fault::IgnoreFile { name: path.display().to_string(), reason: error.to_string() })?;
    Ok(Some(matcher))
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

/// Finds the config of an image.
type Configs<'a> = &'a dyn Fn(&ImageKey) -> Option<ImageConfig>;

/// What is asked about.
struct Subject<'a> {
    source: &'a Source,
    options: &'a Options,
    ignored: Option<&'a Matcher>,
}

/// What was found.
struct Checked {
    report: Report,
    /// Why the file cannot be built, each as it is shown.
    errors: Vec<Diagnostic>,
}

impl Subject<'_> {
    fn check(&self, configs: Configs<'_>) -> Checked {
        let file = match parse(self.source) {
            Ok(file) => file,
            Err(errors) => {
                let errors: Vec<Diagnostic> = errors.iter().cloned().collect();
                return self.broken(Linter::default(), errors, true);
            }
        };
        let given = self.options.arguments.get("BUILDKIT_DOCKERFILE_CHECK").map(|text| Config::parse(text));
        let linter = match given.transpose() {
            Ok(given) => Linter::new(&file, given),
            Err(message) => Err(Diagnostic::error(format!("failed to parse check options: {message}"), None)),
        };
        let mut linter = match linter {
            Ok(linter) => linter,
            Err(error) => return self.broken(Linter::default(), vec![error], false),
        };
        check_tree(&file, self.options, &mut linter);
        let lowered = self.plan(&file, configs).and_then(|(plan, images)| {
            let inputs = Inputs {
                plan: &plan,
                options: self.options,
                images: &images,
                contexts: &Default::default(),
                ignored: self.ignored,
                escape: file.escape,
            };
            lower(&mut Graph::default(), &inputs, &mut linter).map(|_| unknown(&file, &plan, &images))
        });
        match lowered {
            Ok(unknown) => {
                let mut report = linter.finish(self.source);
                report.warnings.retain(|warning| {
                    let inside =
                        |place: &Span| place.start <= warning.span.start && warning.span.end <= place.end;
                    warning.rule.name != "UndefinedVar" || !unknown.iter().any(inside)
                });
                report.is_error &= !report.warnings.is_empty();
                Checked { report, errors: Vec::new() }
            }
            Err(error) => self.broken(linter, vec![error], false),
        }
    }

    fn broken(&self, linter: Linter, errors: Vec<Diagnostic>, is_syntax: bool) -> Checked {
        let report = linter.finish(self.source);
        let Some(first) = errors.first() else { return Checked { report, errors } };
        let mut error = first.clone();
        if let Some(span) = error.span().filter(|_| is_syntax) {
            let line = self.source.line_of(span.start);
            error.message = format!("dockerfile parse error on line {line}: {}", error.message);
        }
        Checked { report: report.with_error(error), errors }
    }

    /// Stages, with the configs of their bases as far as they are known.
    fn plan(
        &self,
        file: &Dockerfile,
        configs: Configs<'_>,
    ) -> std::result::Result<(Plan, Images), Diagnostic> {
        let (mut images, mut asked) = (Images::new(), BTreeSet::new());
        loop {
            let plan = resolve(file, self.options, &images)?;
            let new: Vec<ImageKey> =
                plan.missing.iter().filter(|key| !asked.contains(*key)).cloned().collect();
            if new.is_empty() {
                return Ok((plan, images));
            }
            for key in new {
                images.extend(configs(&key).map(|config| (key.clone(), config)));
                asked.insert(key);
            }
        }
    }

    /// `outline` and `targets`.
    fn list(&self, context: &Context, call: &Call) -> Result<u8> {
        let broken = |errors: Vec<Diagnostic>| {
            let shown: Vec<String> = errors.iter().map(|error| error.render(self.source)).collect();
            let message = errors.first().map_or("", |error| &error.message);
            output::warn(&format!("{}\nERROR: {message}\n", shown.join("\n")));
            Ok(1)
        };
        let file = match parse(self.source) {
            Ok(file) => file,
            Err(errors) => return broken(errors.iter().cloned().collect()),
        };
        let is_json = call.format == Format::Json;
        if call.method == Method::Targets {
            output::print(&outline::targets(&file, self.source, is_json));
            return Ok(0);
        }
        // Of an outline only what the target needs counts.
        let options = Options { all_stages: false, ..self.options.clone() };
        let subject = Subject { options: &options, ..*self };
        match subject.plan(&file, &|key| config_here(context, key)) {
            Ok((plan, _)) => output::print(&outline::outline(&file, self.source, &options, &plan, is_json)),
            Err(error) => return broken(vec![error]),
        }
        Ok(0)
    }
}

/// The places of stages whose variables nobody knows, as their base is not here.
fn unknown(file: &Dockerfile, plan: &Plan, images: &Images) -> Vec<Span> {
    let mut known = vec![true; plan.stages.len()];
    let mut places = Vec::new();
    for (index, stage) in plan.stages.iter().enumerate() {
        known[index] = match &stage.base {
            Base::Scratch => true,
            // A stage is based on one before it.
            Base::Stage(base) => known.get(*base).copied().unwrap_or(false),
            Base::Image(key) => images.contains_key(key),
            Base::Context(_) => false,
        };
        if let Some(stage) = stage.index.and_then(|index| file.stages.get(index)).filter(|_| !known[index]) {
            let last = stage.instructions.last().map_or(stage.from.span, |last| last.span);
            places.push(stage.from.span.to(last));
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, env: &[&str]) -> (Source, Checked) {
        let source = Source::new("Dockerfile", text.as_bytes().to_vec()).unwrap();
        let options = Options { all_stages: true, ..Options::new("linux/amd64".parse().unwrap()) };
        let subject = Subject { source: &source, options: &options, ignored: None };
        let here = |key: &ImageKey| {
            let mut config =
                ImageConfig { platform: "linux/amd64".parse().unwrap(), ..ImageConfig::default() };
            config.config.env = env.iter().map(|one| (*one).to_owned()).collect();
            key.reference.familiar().starts_with("here").then_some(config)
        };
        let checked = subject.check(&here);
        (source, checked)
    }

    #[test]
    fn variables_of_a_base_that_is_not_here_are_not_called_undefined() {
        let found = |text: &str, env: &[&str]| checked(text, env).1.report.warnings.len();
        assert_eq!(found("FROM here\nENV A=$B\n", &[]), 1);
        assert_eq!(found("FROM here\nENV A=$B\n", &["B=1"]), 0);
        assert_eq!(found("FROM there\nENV A=$B\n", &[]), 0);
        assert_eq!(found("FROM there AS a\nFROM a\nENV A=$B\n", &[]), 0);
        assert_eq!(found("FROM scratch\nENV A=$B\n", &[]), 1);
        assert_eq!(found("FROM there\nFROM scratch\nENV A=$B\n", &[]), 1);
        assert_eq!(found("FROM there\nMAINTAINER x\n", &[]), 1);
    }

    #[test]
    fn what_cannot_be_built_is_said_with_its_line() {
        let (source, found) = checked("FROM a\nFRON b\nRUM c\n", &[]);
        let error = found.report.build_error.unwrap();
        assert_eq!(
            error.message,
            "dockerfile parse error on line 2: unknown instruction: FRON (did you mean FROM?)"
        );
        assert_eq!(found.errors.len(), 2);
        assert!(found.errors[1].render(&source).contains("3 | RUM c\n  | ^^^"));
        let (_, found) = checked("# check=foo=1\nFROM a\n", &[]);
        assert!(found.report.build_error.unwrap().message.starts_with("failed to parse check options"));
    }

    #[test]
    fn calls_have_a_method_and_a_format() {
        let call = |text: &str| call_of(text).map(|call| call.map(|call| (call.method, call.format)));
        for (text, want) in [
            ("build", None),
            ("check", Some((Method::Check, Format::Text))),
            ("lint,format=json", Some((Method::Check, Format::Json))),
            ("check,format=sarif", Some((Method::Check, Format::Sarif))),
            ("outline", Some((Method::Outline, Format::Text))),
            ("targets,format=json", Some((Method::Targets, Format::Json))),
        ] {
            assert_eq!(call(text).unwrap(), want, "{text}");
        }
        assert!(call("x").is_err() && call("check,format=xml").is_err() && call("check,a=b").is_err());
        assert!(call_of("check,ignorestatus=1").unwrap().unwrap().ignore_status);
    }
}
