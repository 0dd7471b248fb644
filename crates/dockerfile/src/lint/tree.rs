//! The rules that need the file and its global variables alone; those that need the environment of an instruction are
//! asked where that is known, in [`crate::lower`].

use std::collections::BTreeSet;

use oci::Platform;

use super::rules as r;
use super::{Linter, Rule, looks_secret, style};
use crate::expand::{Environment, Lexer, suggestion};
use crate::source::Span;
use crate::stage::{Options, global_arguments, is_image_name};
use crate::syntax::{Dockerfile, Instruction, Kind, Pair, Stage};

/// Asks all rules that need no more than the file.
pub fn check_tree(file: &Dockerfile, options: &Options, linter: &mut Linter) {
    for span in &file.empty_continuations {
        linter.warn(&r::NO_EMPTY_CONTINUATION, *span, "Empty continuation line".to_owned());
    }
    for instruction in &file.arguments {
        linter.enter(&instruction.comments);
        let names: Vec<&str> = instruction.kind.iter().map(|argument| argument.name.value.as_str()).collect();
        description("ARG", &names, &instruction.comments, instruction.span, linter);
    }
    casing(file, linter);
    names(file, linter);
    let target = options.target.clone().unwrap_or_default();
    let globals = global_arguments(file, options, &target, true).unwrap_or_default();
    let defaults = global_arguments(file, options, &target, false);
    for stage in &file.stages {
        linter.enter(&stage.from.comments);
        from(file, stage, &globals, linter);
        if let Ok(defaults) = &defaults {
            default_base(file, stage, defaults, linter);
        }
        for instruction in &stage.instructions {
            linter.enter(&instruction.comments);
            single(instruction, linter);
        }
        once(stage, linter);
    }
    linter.enter(&[]);
    style::check(file, linter);
}

/// `NAME` of the first word of the comment above.
fn description(keyword: &str, names: &[&str], comments: &[String], span: Span, linter: &mut Linter) {
    let (Some(last), Some(first)) = (comments.last(), names.first()) else { return };
    let word = last.split(' ').next().unwrap_or_default();
    if !names.contains(&word) {
        let example = if names.len() > 1 { "<arg_key>" } else { *first };
        let message = format!("Comment for {keyword} should follow the format: `# {example} <description>`");
        linter.warn(&r::INVALID_DEFINITION_DESCRIPTION, span, message);
    }
}

fn is_lower(text: &str) -> bool {
    !text.contains(char::is_uppercase)
}

fn is_upper(text: &str) -> bool {
    !text.contains(char::is_lowercase)
}

/// All instructions are to be written as most are.
fn casing(file: &Dockerfile, linter: &mut Linter) {
    let stages = file.stages.iter();
    let words: Vec<(&str, Span, &[String])> = stages
        .flat_map(|stage| {
            let from = (stage.from.keyword.value.as_str(), stage.from.span, stage.from.comments.as_slice());
            let others = stage.instructions.iter();
            std::iter::once(from).chain(
                others.map(|other| (other.keyword.value.as_str(), other.span, other.comments.as_slice())),
            )
        })
        .collect();
    let lower = words.iter().filter(|(word, ..)| is_lower(word)).count();
    let upper = words.iter().filter(|(word, ..)| !is_lower(word) && is_upper(word)).count();
    for (word, span, comments) in words {
        let (fits, wanted) =
            if lower > upper { (is_lower(word), "lowercase") } else { (is_upper(word), "uppercase") };
        if !fits {
            linter.enter(comments);
            let message =
                format!("Command '{word}' should match the case of the command majority ({wanted})");
            linter.warn(&r::CONSISTENT_INSTRUCTION_CASING, span, message);
        }
    }
}

fn names(file: &Dockerfile, linter: &mut Linter) {
    let mut seen = BTreeSet::new();
    for stage in &file.stages {
        linter.enter(&stage.from.comments);
        let from = &stage.from.kind;
        let (Some(name), Some(written)) = (&from.name, &from.written_name) else { continue };
        if name.value != written.value {
            let message = format!("Stage name '{}' should be lowercase", written.value);
            linter.warn(&r::STAGE_NAME_CASING, stage.from.span, message);
        }
        if matches!(name.value.as_str(), "scratch" | "context") {
            let message =
                format!("Stage name should not use the same name as reserved stage {:?}", name.value);
            linter.warn(&r::RESERVED_STAGE_NAME, stage.from.span, message);
        }
        if !seen.insert(name.value.as_str()) {
            let message = format!("Duplicate stage name {:?}, stage names should be unique", name.value);
            linter.warn(&r::DUPLICATE_STAGE_NAME, stage.from.span, message);
        }
    }
}

fn from(file: &Dockerfile, stage: &Stage, globals: &Environment, linter: &mut Linter) {
    let (keyword, span, from) = (&stage.from.keyword.value, stage.from.span, &stage.from.kind);
    if let Some(word) = &from.as_keyword {
        let fits = if is_lower(keyword) {
            is_lower(&word.value)
        } else {
            !is_upper(keyword) || is_upper(&word.value)
        };
        if !fits {
            let message = format!("'{}' and '{keyword}' keywords' casing do not match", word.value);
            linter.warn(&r::FROM_AS_CASING, span, message);
        }
    }
    if let Some(name) = &from.name {
        description("FROM", &[name.value.as_str()], &stage.from.comments, span, linter);
    }
    let declared = file.arguments.iter().flat_map(|instruction| &instruction.kind);
    let declared: BTreeSet<&str> =
        declared.map(|argument| argument.name.value.as_str()).chain(globals.names()).collect();
    let lexer = Lexer::new(file.escape);
    for text in std::iter::once(&from.base).chain(&from.platform) {
        let unmatched = match lexer.expand(&text.value, globals) {
            Ok(found) => found.unmatched,
            Err(error) => error.unmatched,
        };
        for name in unmatched.iter().filter(|name| !declared.contains(name.as_str())) {
            let near = suggestion(name, declared.iter().copied());
            let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            linter.warn(
                &r::UNDEFINED_ARG_IN_FROM,
                span,
                format!("FROM argument '{name}' is not declared{near}"),
            );
        }
    }
    platform(lexer, stage, globals, linter);
}

/// `--platform=$TARGETPLATFORM`, and constants.
fn platform(lexer: Lexer, stage: &Stage, globals: &Environment, linter: &mut Linter) {
    let (span, from) = (stage.from.span, &stage.from.kind);
    let Some(text) = &from.platform else { return };
    let Ok(found) = lexer.expand(&text.value, globals) else { return };
    let target = "TARGETPLATFORM";
    let alone = found.matched.len() == 1 && found.unmatched.is_empty() && found.matched.contains(target);
    if alone && globals.get(target) == Some(&found.text) {
        let shown = &text.value;
        let message = format!(
            "Setting platform to predefined {shown} in FROM is redundant as this is the default behavior"
        );
        linter.warn(&r::REDUNDANT_TARGET_PLATFORM, span, message);
    }
    if found.matched.is_empty() && found.unmatched.is_empty() {
        let Ok(platform) = found.text.parse::<Platform>() else { return };
        let name = from.name.as_ref().map_or("", |name| name.value.as_str());
        if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let message = format!("FROM --platform flag should not use constant value {:?}", found.text);
            linter.warn(&r::FROM_PLATFORM_FLAG_CONST_DISALLOWED, span, message);
        }
    }
}

fn default_base(file: &Dockerfile, stage: &Stage, defaults: &Environment, linter: &mut Linter) {
    let base = &stage.from.kind.base;
    let Ok(found) = Lexer::new(file.escape).expand(&base.value, defaults) else { return };
    if !is_image_name(&found.text) {
        let message =
            format!("Default value for ARG {} results in empty or invalid base image name", base.value);
        linter.warn(&r::INVALID_DEFAULT_ARG_IN_FROM, stage.from.span, message);
    }
}

/// What an instruction alone shows.
fn single(instruction: &Instruction, linter: &mut Linter) {
    let span = instruction.span;
    if let Kind::Maintainer(_) = &instruction.kind {
        let message = "Maintainer instruction is deprecated in favor of using label";
        linter.warn(&r::MAINTAINER_DEPRECATED, span, message.to_owned());
    }
    if let Kind::Arg(arguments) = &instruction.kind {
        let names: Vec<&str> = arguments.iter().map(|argument| argument.name.value.as_str()).collect();
        description("ARG", &names, &instruction.comments, span, linter);
        for name in names {
            secret("ARG", name, span, linter);
        }
    }
    if let Kind::Env(pairs) | Kind::Label(pairs) = &instruction.kind {
        legacy(&instruction.keyword.value, pairs, span, linter);
    }
    if let Kind::Env(pairs) = &instruction.kind {
        for pair in pairs {
            secret("ENV", &pair.name.value, span, linter);
        }
    }
}

fn legacy(keyword: &str, pairs: &[Pair], span: Span, linter: &mut Linter) {
    if pairs.iter().any(|pair| pair.legacy) {
        let message = format!(
            "\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"
        );
        linter.warn(&r::LEGACY_KEY_VALUE_FORMAT, span, message);
    }
}

fn secret(keyword: &str, name: &str, span: Span, linter: &mut Linter) {
    if looks_secret(name) {
        let message = format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {name:?})");
        linter.warn(&r::SECRETS_USED_IN_ARG_OR_ENV, span, message);
    }
}

/// Of these only the last in a stage counts; the ones before are named.
fn once(stage: &Stage, linter: &mut Linter) {
    let rule: &'static Rule = &r::MULTIPLE_INSTRUCTIONS_DISALLOWED;
    for wanted in ["CMD", "ENTRYPOINT", "HEALTHCHECK"] {
        let all = stage.instructions.iter().filter(|instruction| instruction.kind.name() == wanted);
        let all: Vec<&Instruction> = all.collect();
        for pair in all.windows(2) {
            linter.enter(&pair[1].comments);
            let keyword = &pair[1].keyword.value;
            let message = format!(
                "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
            );
            linter.warn(rule, pair[0].span, message);
        }
    }
}
