//! A Dockerfile that is looked at as a build would, without one.

use std::collections::BTreeSet;

use dockerfile::ignore::Matcher;
use dockerfile::lint::{Config, Linter, Report, check_tree};
use dockerfile::lower::{Graph, Inputs, lower};
use dockerfile::parse::{parse, parse_or_part};
use dockerfile::source::{Diagnostic, Source, Span};
use dockerfile::stage::{Base, ImageKey, Images, Options, Plan, resolve};
use dockerfile::syntax::Dockerfile;
use oci::ImageConfig;

use super::super::outline;
use super::asked::{Call, Format, Method};
use super::config_here;
use crate::context::Context;
use crate::error::Result;
use crate::output;

/// Finds the config of an image.
type Configs<'a> = &'a dyn Fn(&ImageKey) -> Option<ImageConfig>;

/// What is asked about.
pub(super) struct Subject<'a> {
    pub(super) source: &'a Source,
    pub(super) options: &'a Options,
    pub(super) ignored: Option<&'a Matcher>,
}

/// What was found.
pub(super) struct Checked {
    pub(super) report: Report,
    /// Why the file cannot be built, each as it is shown.
    pub(super) errors: Vec<Diagnostic>,
}

impl Subject<'_> {
    pub(super) fn check(&self, configs: Configs<'_>) -> Checked {
        let file = match parse_or_part(self.source) {
            Ok(file) => file,
            Err((part, errors)) => return self.unreadable(&part, errors.iter().cloned().collect()),
        };
        let mut linter = match self.linter(&file) {
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

    fn linter(&self, file: &Dockerfile) -> std::result::Result<Linter, Diagnostic> {
        let given = self.options.arguments.get("BUILDKIT_DOCKERFILE_CHECK").map(|text| Config::parse(text));
        let given = given.transpose().map_err(|message| {
            Diagnostic::error(format!("failed to parse check options: {message}"), None)
        })?;
        Linter::new(file, given)
    }

    /// A file that cannot be read to its end: what is said of all lines before the first error. Which case most instructions are
    /// written in, all of them decide.
    fn unreadable(&self, part: &Dockerfile, errors: Vec<Diagnostic>) -> Checked {
        let mut linter = self.linter(part).unwrap_or_default();
        check_tree(part, self.options, &mut linter);
        let line = errors.first().and_then(Diagnostic::span).map(|span| self.source.lines_of(span).0);
        let mut checked = self.broken(linter, errors, true);
        let report = &mut checked.report;
        report.warnings.retain(|warning| line.is_none_or(|line| self.source.lines_of(warning.span).1 < line));
        report.is_error &= !report.warnings.is_empty();
        checked
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
    pub(super) fn list(&self, context: &Context, call: &Call) -> Result<u8> {
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
