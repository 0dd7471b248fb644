//! Man pages: one for the program, for each group and for each command, and for every other spelling a link to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::commands;
use crate::flags::{Flag, Group, Kind, Standing, Target, Verb};

/// The day of this version.
const DATE: &str = "2026-11-21";

/// What a file of the manual is.
pub(super) enum Page {
    Text(String),
    /// Another spelling: a link to the file of this name.
    Link(String),
}

/// Names of files with what they are.
pub(super) fn pages() -> BTreeMap<String, Page> {
    let mut pages = BTreeMap::new();
    collect(&commands::TOP, &mut pages);
    pages
}

fn collect(group: &'static Group, pages: &mut BTreeMap<String, Page>) {
    pages.insert(file(group.path), Page::Text(group_page(group)));
    for entry in group.entries {
        let path = if group.path.is_empty() {
            entry.name.to_owned()
        } else {
            format!("{} {}", group.path, entry.name)
        };
        match entry.target {
            Target::Group(inner) => collect(inner, pages),
            // Hidden ones are spellings of others, or none of a reader's business.
            Target::Verb(verb) if verb.about.is_empty() => {}
            Target::Verb(verb) => {
                let main = verb.aliases.last().copied().unwrap_or(&path);
                let page = match main == path {
                    true => Page::Text(verb_page(verb, &path)),
                    false => Page::Link(file(main)),
                };
                pages.insert(file(&path), page);
            }
            Target::Later(_) => {}
        }
    }
}

/// `skiff-container-run.1`.
fn file(path: &str) -> String {
    format!("{}.1", title(path))
}

fn title(path: &str) -> String {
    if path.is_empty() { "skiff".to_owned() } else { format!("skiff-{}", path.replace(' ', "-")) }
}

fn head(path: &str, about: &str) -> String {
    let title = title(path);
    format!(
        ".TH {} 1 {DATE} \"Skiff {}\" \"Skiff manual\"\n.SH NAME\n{} \\- {}\n",
        escape(&title.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        escape(&title),
        escape(about)
    )
}

fn group_page(group: &'static Group) -> String {
    let mut text = head(group.path, group.about);
    let path = if group.path.is_empty() { String::new() } else { format!(" {}", group.path) };
    let _ = writeln!(text, ".SH SYNOPSIS\n.B skiff{}\n.I COMMAND\n.SH COMMANDS", escape(&path));
    let mut seen = Vec::new();
    for entry in group.entries {
        let about = match entry.target {
            Target::Group(inner) => inner.about,
            Target::Verb(verb) => verb.about,
            Target::Later(_) => continue,
        };
        if about.is_empty() || seen.contains(&about) {
            continue;
        }
        seen.push(about);
        let _ = writeln!(text, ".TP\n.B {}\n{}", escape(entry.name), escape(about));
    }
    if group.path.is_empty() {
        text.push_str(&options(commands::GLOBAL.iter()));
        text.push_str(
            ".SH ENVIRONMENT\n.TP\n.B SKIFF_ROOT\nFolder of images and containers.\n.TP\n.B SKIFF_RUN\nFolder of what is running.\n\
             .TP\n.B DOCKER_CONFIG\nFolder of the client configuration.\n.TP\n.B TZ\nTime zone of what is shown.\n",
        );
    }
    text + &see_also(group.path)
}

fn verb_page(verb: &'static Verb, path: &str) -> String {
    let mut text = head(path, verb.about);
    let _ = writeln!(text, ".SH SYNOPSIS\n.B skiff {}\n{}", escape(path), escape(verb.usage));
    let _ = writeln!(text, ".SH DESCRIPTION\n{}.", escape(verb.about));
    let others: Vec<String> =
        verb.aliases.iter().map(|alias| format!(".B skiff {}\n", escape(alias))).collect();
    if others.len() > 1 {
        let _ = write!(text, ".SH ALIASES\n{}", others.join(".br\n"));
    }
    text.push_str(&options(verb.flags()));
    text + &see_also(path)
}

fn see_also(path: &str) -> String {
    let above = path.rsplit_once(' ').map_or("", |(above, _)| above);
    if path.is_empty() { String::new() } else { format!(".SH SEE ALSO\n.BR {} (1)\n", escape(&title(above))) }
}

fn options(flags: impl Iterator<Item = &'static Flag>) -> String {
    let mut shown: Vec<&Flag> = flags.filter(|flag| flag.standing == Standing::Works).collect();
    shown.sort_by_key(|flag| flag.long);
    let mut text = String::new();
    for flag in shown {
        if text.is_empty() {
            text.push_str(".SH OPTIONS\n");
        }
        let letter = flag.short.map_or_else(String::new, |letter| format!("\\-{letter}, "));
        let value = match flag.kind {
            Kind::Switch => String::new(),
            Kind::Value(kind) | Kind::List(kind) => format!("=\\fI{}\\fR", escape(kind)),
        };
        let _ = writeln!(text, ".TP\n\\fB{letter}\\-\\-{}\\fR{value}", escape(flag.long));
        for (at, line) in flag.about.lines().enumerate() {
            let _ = writeln!(text, "{}{}", if at > 0 { ".br\n" } else { "" }, escape(line));
        }
        if !flag.default.is_empty() {
            let _ = writeln!(text, "(default {})", escape(flag.default));
        }
    }
    text
}

/// Text that is nothing but text.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('~', "\\(ti").replace('^', "\\(ha");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
