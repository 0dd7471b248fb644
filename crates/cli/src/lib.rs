//! Flags to engine requests; tables, templates, exit codes.
//!
//! ```text
//! words ──flags::parse──► Parsed ──(commands::*, values::*)──► engine request
//!                                                                   │
//! stdout, stderr, exit code ◄──output::*, template::*──── typed info ┘
//! ```
//!
//! One table ([`flags`], [`commands`]) says which commands and flags there are. Everything that turns text into
//! values ([`values`]) or values into text ([`output`], the crate `template`) is pure; the modules named after things
//! ([`container`], [`image`], [`system`]) ask the engine and print. No other crate prints.

mod build;
mod builder;
mod commands;
mod configuration;
mod container;
mod context;
mod craft;
mod error;
mod events;
mod flags;
mod image;
mod info;
mod inspect;
mod log;
mod oci;
mod output;
mod registry;
mod system;
mod terminal;
mod usage;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use context::Context;
use error::{Error, Result};
use flags::{Group, Target, Verb, help};

/// Runs `skiff` with `arguments`, the program's name in front.
///
/// `skiff oci …`, and a program of the name `skiff-oci` or `runc`, is the OCI runtime's command line.
pub fn main(mut arguments: Vec<OsString>) -> ExitCode {
    let word = |at: usize| arguments.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    let oci_from = if oci::is_implied_by(word(0)) { Some(1) } else { (word(1) == "oci").then_some(2) };
    if let Some(from) = oci_from {
        return oci::main(arguments.split_off(from));
    }
    let words = match utf8(arguments) {
        Ok(words) => words,
        Err(error) => return fail(&error, None),
    };
    dispatch(words.get(1..).unwrap_or_default())
}

/// Words as text; a word that is not is named by its number.
fn utf8(arguments: Vec<OsString>) -> Result<Vec<String>> {
    let text = |(number, word): (usize, OsString)| {
        word.into_string()
            .map_err(|word| Error::NotUtf8 { number, shown: word.to_string_lossy().into_owned() })
    };
    arguments.into_iter().enumerate().map(text).collect()
}

fn dispatch(words: &[String]) -> ExitCode {
    let flags: Vec<_> = commands::GLOBAL.iter().collect();
    let global = match flags::parse::parse_global(&flags, words) {
        Ok(global) => global,
        Err(error) => {
            return fail(&error, Some(Place { path: String::new(), usage: "[OPTIONS] COMMAND [ARG...]" }));
        }
    };
    if global.on("version") {
        output::print(&format!("Skiff version {}\n", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    global.notices.iter().for_each(|notice| output::warn(&format!("{notice}\n")));
    let words = &global.arguments;
    if global.help || words.is_empty() {
        return show_group(&commands::TOP, global.help);
    }
    match log::start(&global).and_then(|()| Context::new(&global)) {
        Ok(context) => {
            let code = in_group(&context, &commands::TOP, words);
            context.leave();
            code
        }
        Err(error) => fail(&error, Some(Place { path: String::new(), usage: "[OPTIONS] COMMAND [ARG...]" })),
    }
}

/// Finds the first of `words` in `group` and goes on with the rest.
fn in_group(context: &Context, group: &'static Group, words: &[String]) -> ExitCode {
    let Some((name, rest)) = words.split_first() else { return show_group(group, false) };
    if name == "--help" || name == "-h" || (name == "help" && group.path.is_empty()) {
        if name == "-h" {
            output::warn(&format!("{}\n", flags::parse::HELP_LETTER));
        }
        return match rest.first().filter(|_| name == "help") {
            Some(_) => in_group(context, group, &[rest, &["--help".to_owned()]].concat()),
            None => show_group(group, true),
        };
    }
    let path = if group.path.is_empty() { name.clone() } else { format!("{} {name}", group.path) };
    let Some(entry) = group.entries.iter().find(|entry| entry.name == name) else {
        if name.starts_with('-') {
            let name = name.trim_start_matches('-').to_owned();
            let error = Error::UnknownFlag { name, nearest: None };
            return fail(&error, Some(Place { path: group.path.to_owned(), usage: "COMMAND" }));
        }
        let nearest = nearest(group, name);
        return fail(&Error::UnknownCommand { path, group: group.path.to_owned(), nearest }, None);
    };
    match entry.target {
        Target::Group(inner) => in_group(context, inner, rest),
        Target::Later(with) => fail(&Error::CommandLater { path, with }, None),
        Target::Verb(verb) if std::ptr::eq(verb, &commands::BUILD) && build::is_bake(rest) => {
            run_verb(context, &commands::BAKE, format!("{path} bake"), &rest[1..])
        }
        Target::Verb(verb) => run_verb(context, verb, path, rest),
    }
}

fn run_verb(context: &Context, verb: &'static Verb, path: String, words: &[String]) -> ExitCode {
    let place = Place { path: path.clone(), usage: verb.usage };
    let outcome = flags::parse(verb, path, words).and_then(|parsed| {
        parsed.notices.iter().for_each(|notice| output::warn(&format!("{notice}\n")));
        if parsed.help {
            output::print(&help::verb(verb, &parsed.path, output::width()));
            return Ok(0);
        }
        (verb.run)(context, &parsed)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error, Some(place)),
    }
}

fn show_group(group: &'static Group, asked: bool) -> ExitCode {
    let text = help::group(group, commands::GLOBAL, output::width());
    if asked {
        output::print(&text)
    } else {
        output::warn(&text)
    }
    ExitCode::SUCCESS
}

/// Which verb an error is about.
struct Place {
    path: String,
    usage: &'static str,
}

/// Prints an error as Docker does, and says which code to exit with.
fn fail(error: &Error, place: Option<Place>) -> ExitCode {
    let mut code = error.exit_code();
    let more = |path: &str| {
        let path = if path.is_empty() { String::new() } else { format!(" {path}") };
        format!("Run 'skiff{path} --help' for more information\n")
    };
    match (error, place) {
        (Error::Printed(_), _) => {}
        (Error::ReaderGone, _) => linux::signal::end_by(linux::signal::PIPE),
        (Error::ArgumentCount { path, usage, .. }, _) => {
            let usage = help::usage_line(path, usage);
            output::warn(&format!("skiff: {error}\n\n{usage}\n\n{}", more(path)));
        }
        (Error::UnknownCommand { group, nearest, .. }, _) => {
            let hint = nearest.map_or(String::new(), |name| format!("\nDid you mean this?\n\t{name}\n"));
            output::warn(&format!("skiff: {error}\n{hint}\n{}", more(group)));
        }
        (error, Some(place)) if error.is_usage() => {
            let usage = help::usage_line(&place.path, place.usage);
            output::warn(&format!(
                "{error}\n{}\n{}\n\n{}",
                near_flag(error),
                usage.replace("skiff  ", "skiff "),
                more(&place.path)
            ));
        }
        (error, _) => output::warn(&format!("skiff: {}\n", error.chain())),
    }
    if matches!(error, Error::FlagLater { .. } | Error::FlagNever { .. }) {
        code = 125;
    }
    ExitCode::from(code)
}

/// What an unknown flag may have been meant to be.
fn near_flag(error: &Error) -> String {
    if let Error::UnknownFlag { nearest: Some(name), .. } = error {
        return format!("\nDid you mean this?\n\t--{name}\n");
    }
    String::new()
}

/// The one of `names` that differs least from `name`, if any is near.
pub(crate) fn nearest_of(names: impl Iterator<Item = &'static str>, name: &str) -> Option<&'static str> {
    let near = names.map(|known| (distance(known, name), known)).min()?;
    // Two letters of three say little.
    let most = if name.len() > 3 { 2 } else { 1 };
    (near.0 <= most && near.0 < name.len()).then_some(near.1)
}

/// The command of `group` that differs least from `name`, if any is near.
fn nearest(group: &'static Group, name: &str) -> Option<&'static str> {
    nearest_of(group.entries.iter().map(|entry| entry.name), name)
}

/// How many letters to insert, remove, replace, or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
