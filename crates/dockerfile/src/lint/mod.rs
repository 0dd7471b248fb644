//! Checks: what can be built and should not be written.
//!
//! The rules of BuildKit with its names, descriptions, addresses and words, and those of hadolint that need no
//! analysis of shell scripts, under their codes (`DL3008`), in words of our own. What a rule of each says alike is said
//! once, by BuildKit's.
//!
//! `# check=skip=A,B;error=true;experimental=C` at the top of a file holds for all of it; a comment `# check=skip=A`
//! right above an instruction for that one.

mod config;
mod report;
mod rules;
mod secrets;
mod shell;
mod style;
#[cfg(test)]
mod tests;
mod tree;

pub use config::Config;
pub use report::{Report, sarif};
pub(crate) use rules::{
    COPY_IGNORED_FILE, EXPOSE_INVALID_FORMAT, EXPOSE_PROTO_CASING, INVALID_BASE_IMAGE_PLATFORM,
    JSON_ARGS_RECOMMENDED, UNDEFINED_VAR, WORKDIR_RELATIVE_PATH,
};
pub use rules::{RULES, Rule};
pub(crate) use secrets::looks_secret;
pub use tree::check_tree;

use crate::source::{Diagnostic, Result, Source, Span};
use crate::syntax::{DirectiveName, Dockerfile};

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The rule.
    pub rule: &'static Rule,
    /// What it says about this place.
    pub message: String,
    /// The instruction.
    pub span: Span,
}

impl Warning {
    /// As messages are shown.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        let warning =
            Diagnostic { code: Some(self.rule.name), ..Diagnostic::warning(&self.message, self.span) };
        warning.with_help(self.rule.url)
    }
}

/// Collects what rules find, as a file and its comments want it.
#[derive(Clone, Debug, Default)]
pub struct Linter {
    config: Config,
    local: Option<Config>,
    warnings: Vec<Warning>,
}

impl Linter {
    /// With the rules that `given` names, or else those of the file's `# check=`.
    ///
    /// # Errors
    /// If the directive cannot be read.
    pub fn new(file: &Dockerfile, given: Option<Config>) -> Result<Self> {
        let config = match (given, file.directive(DirectiveName::Check)) {
            (Some(config), _) => config,
            (None, None) => Config::default(),
            (None, Some(directive)) => Config::parse(&directive.value.value).map_err(|message| {
                Diagnostic::error(format!("failed to parse check options: {message}"), directive.value.span)
            })?,
        };
        Ok(Self { config, ..Self::default() })
    }

    /// Takes up the comments above an instruction, in place of those before. Of several with options the first counts;
    /// one that cannot be read changes nothing.
    pub fn enter(&mut self, comments: &[String]) {
        let options = comments.iter().find_map(|comment| {
            let (name, value) = comment.split_once('=')?;
            name.trim().eq_ignore_ascii_case("check").then_some(value.trim())
        });
        self.local =
            options.and_then(|options| Config::parse(options.split(' ').next().unwrap_or_default()).ok());
    }

    /// Says something, unless nobody wants to hear it.
    pub fn warn(&mut self, rule: &'static Rule, span: Span, message: String) {
        let configs = || [Some(&self.config), self.local.as_ref()].into_iter().flatten();
        let wanted = !rule.experimental || configs().any(|config| config.experiments(rule.name));
        if wanted && !configs().any(|config| config.skips(rule.name)) {
            let message = oci::without_credentials(&message).into_owned();
            self.warnings.push(Warning { rule, message, span });
        }
    }

    /// What was found, in the order of the file.
    #[must_use]
    pub fn finish(mut self, source: &Source) -> Report {
        self.warnings.sort_by_key(|warning| warning.span.start);
        self.warnings.dedup();
        let error = self.config.error && !self.warnings.is_empty();
        Report::new(source, self.warnings, error)
    }
}
