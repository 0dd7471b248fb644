//! The text of `--help`, laid out as Docker lays it out.

use std::fmt::Write as _;

use super::{Flag, Group, Kind, Section, Standing, Target, Verb};

/// Width where the output is no terminal.
pub(crate) const DEFAULT_WIDTH: usize = 80;

/// Help of a verb that was named by `path`.
pub(crate) fn verb(verb: &Verb, path: &str, width: usize) -> String {
    let mut text = format!("Usage:  skiff {path}{}\n\n{}\n", spaced(verb.usage), verb.about);
    if !verb.aliases.is_empty() {
        let spellings: Vec<String> = verb.aliases.iter().map(|alias| format!("skiff {alias}")).collect();
        let _ = write!(text, "\nAliases:\n  {}\n", spellings.join(", "));
    }
    let options = options(verb.flags(), width);
    if !options.is_empty() {
        let _ = write!(text, "\nOptions:\n{options}");
    }
    text
}

/// Help of a group; the top has global options and headings.
pub(crate) fn group(group: &Group, global: &'static [Flag], width: usize) -> String {
    let top = group.path.is_empty();
    let usage = if top { "[OPTIONS] COMMAND".to_owned() } else { format!("{} COMMAND", group.path) };
    let mut text = format!("Usage:  skiff {usage}\n\n{}\n", group.about);
    let sections = [
        (Section::Common, "Common Commands"),
        (Section::Management, "Management Commands"),
        (Section::Plain, "Commands"),
    ];
    let names = group.entries.iter().filter(|entry| is_shown(&entry.target)).map(|entry| entry.name.len());
    let column = names.max().unwrap_or(0).max(11);
    for (section, heading) in sections {
        let mut lines = String::new();
        for entry in group.entries.iter().filter(|entry| entry.section == section) {
            let about = match entry.target {
                Target::Group(group) => group.about,
                Target::Verb(verb) => verb.about,
                Target::Later(_) => continue,
            };
            let _ = writeln!(lines, "  {:column$} {about}", entry.name);
        }
        if !lines.is_empty() {
            let _ = write!(text, "\n{heading}:\n{lines}");
        }
    }
    if top {
        let _ = write!(text, "\nGlobal Options:\n{}", options(global.iter(), width));
    }
    let path = spaced(group.path);
    let _ = write!(text, "\nRun 'skiff{path} COMMAND --help' for more information on a command.\n");
    text
}

/// One line that says how a verb is used.
pub(crate) fn usage_line(path: &str, usage: &str) -> String {
    format!("Usage:  skiff {path}{}", spaced(usage))
}

fn spaced(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" {text}") }
}

fn is_shown(target: &Target) -> bool {
    match target {
        Target::Group(_) | Target::Verb(_) => true,
        Target::Later(_) => false,
    }
}

/// The flags that work, sorted, in two columns; the second is wrapped.
fn options(flags: impl Iterator<Item = &'static Flag>, width: usize) -> String {
    let mut shown: Vec<&Flag> = flags.filter(|flag| flag.standing == Standing::Works).collect();
    shown.sort_by_key(|flag| flag.long);
    let left: Vec<String> = shown.iter().map(|flag| left_column(flag)).collect();
    let column = left.iter().map(String::len).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (flag, left) in shown.iter().zip(left) {
        let mut about = flag.about.to_owned();
        if !flag.default.is_empty() {
            let _ = write!(about, " (default {})", flag.default);
        }
        let room = width.saturating_sub(column).max(24);
        let mut lead = format!("{left:column$}");
        for line in about.lines().flat_map(|line| wrap(line, room)) {
            let _ = writeln!(text, "{}", format!("{lead}{line}").trim_end());
            lead = " ".repeat(column);
        }
    }
    text
}

fn left_column(flag: &Flag) -> String {
    let letter = flag.short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
    match flag.kind {
        Kind::Switch => format!("  {letter}--{}", flag.long),
        Kind::Value(kind) | Kind::List(kind) => format!("  {letter}--{} {kind}", flag.long),
    }
}

/// Breaks at blanks so that no line is longer than `room`, unless one word is.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}
