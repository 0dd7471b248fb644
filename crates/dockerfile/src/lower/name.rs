//! What people are shown of steps: `[linux/amd64 build 2/5] RUN make VERSION=7`.
//!
//! The place says for which platform it is, where there are several, of which stage, where there are several, and which of the stage's
//! steps it is. The words are those of the file with the values of variables that are set, as BuildKit shows them; credentials of
//! addresses are not shown, nor what a secret gives a program by a variable. Names decide nothing: they are in no digest.

use super::Inputs;
use super::stage::Context;
use super::state::State;
use crate::expand::{Environment, Lexer};
use crate::parse::heredoc_operator;
use crate::source::plain;
use crate::stage::{Resolved, Step};
use crate::syntax::{CommandLine, Heredoc, Kind};

/// What is made of documents in the file.
pub(super) const DOCUMENT: &str = "[internal] preparing inline document";

/// The most characters that are shown.
const SHOWN: usize = 500;
/// The longest words whose variables are looked up.
const EXPANDED: usize = 64 << 10;

/// `[build 2/5] `, with the platform before the stage if the request wants several.
pub(super) fn place(
    inputs: &Inputs<'_>,
    stage: &Resolved,
    cross: &str,
    (step, total): (usize, usize),
) -> String {
    // Two are enough to know: this is asked for each step of what may be thousands of stages.
    let is_alone = inputs.plan.stages.iter().filter(|stage| stage.index.is_some()).take(2).count() == 1;
    let shown = if is_alone { String::new() } else { format!("{} ", stage.shown) };
    let platform = match inputs.options.several {
        true => format!("{}{cross} ", stage.platform),
        false => String::new(),
    };
    let digits = total.to_string().len();
    format!("[{platform}{shown}{step:digits$}/{total}] ")
}

impl Context<'_, '_> {
    /// What people are shown of a step.
    pub(super) fn name(&self, state: &State, step: &Step) -> String {
        let trigger = if step.triggered { "ONBUILD " } else { "" };
        let mut words = self.words_shown(state, step);
        if let Kind::Run(run) = &step.instruction.kind
            && let CommandLine::Shell(text) = &run.command
            && heredoc_operator(&text.value).is_some()
        {
            words.extend(run.heredocs.first().map(summary));
        }
        let words: String = plain(&oci::without_credentials(&words)).chars().take(SHOWN).collect();
        place(self.inputs, self.stage, &self.cross(state), self.step) + trigger + &words
    }

    /// The file's words, with values for variables.
    fn words_shown(&self, state: &State, step: &Step) -> String {
        let code = step.instruction.code.as_str();
        let (instruction, rest) = code.split_once(char::is_whitespace).unwrap_or((code, ""));
        let lexer =
            Lexer { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Lexer::new(self.inputs.escape) };
        let expanded = match rest.len() <= EXPANDED {
            true => lexer.expand(rest, &masked(&state.env, step)).ok().map(|found| found.text),
            false => None,
        };
        let rest = expanded.as_deref().unwrap_or(rest);
        format!("{} {rest}", instruction.to_uppercase())
    }

    /// `->arm64`, where a step runs on one platform and makes something for another, and knows.
    fn cross(&self, state: &State) -> String {
        let (here, there) = (&self.stage.platform, &self.inputs.options.platform);
        let knows = ["TARGETPLATFORM", "TARGETOS", "TARGETARCH"].iter().any(|name| state.env.contains(name));
        if !self.inputs.options.several || here == there || !knows {
            return String::new();
        }
        match here.os == there.os {
            true => format!("->{}", there.to_string().split_once('/').map_or("", |(_, rest)| rest)),
            false => format!("->{there}"),
        }
    }
}

/// The variables, without what secrets hold.
fn masked(env: &Environment, step: &Step) -> Environment {
    let mut env = env.clone();
    if let Kind::Run(run) = &step.instruction.kind {
        for mount in &run.mounts {
            let field = |name: &str| mount.fields.iter().find(|field| field.0 == name)?.1.as_deref();
            if let (Some("secret"), Some(name)) = (field("type"), field("env")) {
                env.set(name, "****");
            }
        }
    }
    env
}

/// ` (first line...)`.
fn summary(document: &Heredoc) -> String {
    let body = document.content.trim();
    let first = body.lines().next().unwrap_or_default();
    let more = if body.lines().nth(1).is_some() { "..." } else { "" };
    format!(" ({first}{more})")
}
