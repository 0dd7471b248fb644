//! What a word may become, by the table of commands and by what is there.

use engine::info::Status;
use engine::request::List;

use crate::commands;
use crate::context::Context;
use crate::flags::{Flag, Group, Kind, Section, Standing, Target, Verb};

/// Candidates, each with what it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) words: Vec<(String, String)>,
    /// Names of files are welcome too.
    pub(super) files: bool,
}

/// Where among the words the last one stands.
enum Place {
    Command(&'static Group),
    /// The value of a flag, which begins behind so many bytes of the word.
    Value(&'static Flag, usize),
    FlagOf(Option<&'static Verb>),
    /// The word of a verb with this number, from 0.
    Argument(&'static Verb, String, usize),
    Nothing,
}

/// Completes the last of `words`, which follow the program's name.
pub(super) fn complete(context: &Context, words: &[String]) -> Found {
    let Some((current, before)) = words.split_last() else { return Found::default() };
    let (mut found, from) = match place(current, before) {
        Place::Command(group) => (commands_of(group), 0),
        Place::FlagOf(verb) => (flags_of(verb), 0),
        Place::Value(flag, from) => (values_of(context, flag), from),
        Place::Argument(verb, name, at) => (arguments_of(context, verb, &name, at), 0),
        Place::Nothing => (Found::default(), 0),
    };
    let (kept, typed) = current.split_at(from);
    found.words.retain(|(word, _)| word.starts_with(typed));
    found.words.iter_mut().for_each(|(word, _)| word.insert_str(0, kept));
    found
}

fn place(current: &str, before: &[String]) -> Place {
    let mut before = before.iter();
    let mut group = &commands::TOP;
    // Flags of the program, then commands.
    let (verb, name) = loop {
        let Some(word) = before.next() else {
            return match flag_value(current, commands::GLOBAL.iter()) {
                _ if !current.starts_with('-') => Place::Command(group),
                Some((flag, from)) => Place::Value(flag, from),
                None => Place::FlagOf(None),
            };
        };
        if word.starts_with('-') {
            if let Some(flag) = awaits_value(word, commands::GLOBAL.iter())
                && before.next().is_none()
            {
                return Place::Value(flag, 0);
            }
            continue;
        }
        match group.entries.iter().find(|entry| entry.name == word).map(|entry| &entry.target) {
            Some(Target::Group(inner)) => group = inner,
            Some(Target::Verb(verb)) => break (*verb, word.clone()),
            Some(Target::Later(_)) | None => return Place::Nothing,
        }
    };
    let mut arguments = 0;
    while let Some(word) = before.next() {
        let flags_end = word == "--" || (!verb.interspersed && arguments > 0);
        if flags_end || !word.starts_with('-') || word == "-" {
            arguments += usize::from(word != "--");
        } else if let Some(flag) = awaits_value(word, verb.flags())
            && before.next().is_none()
        {
            return Place::Value(flag, 0);
        }
    }
    let flags_end = !verb.interspersed && arguments > 0;
    match flag_value(current, verb.flags()) {
        _ if flags_end || !current.starts_with('-') => Place::Argument(verb, name, arguments),
        Some((flag, from)) => Place::Value(flag, from),
        None => Place::FlagOf(Some(verb)),
    }
}

/// The flag whose value is the next word.
fn awaits_value(word: &str, mut flags: impl Iterator<Item = &'static Flag>) -> Option<&'static Flag> {
    let takes = |flag: &Flag| flag.kind != Kind::Switch;
    match word.strip_prefix("--") {
        Some(long) => flags.find(|flag| flag.long == long && takes(flag)),
        None => flags.find(|flag| flag.short.is_some_and(|letter| word.ends_with(letter)) && takes(flag)),
    }
}

/// The flag whose value has begun in the word, and where: `--name=val`.
fn flag_value(word: &str, mut flags: impl Iterator<Item = &'static Flag>) -> Option<(&'static Flag, usize)> {
    let (name, _) = word.strip_prefix("--")?.split_once('=')?;
    flags.find(|flag| flag.long == name).map(|flag| (flag, name.len() + 3))
}

fn commands_of(group: &'static Group) -> Found {
    let shown = group.entries.iter().filter(|entry| entry.section != Section::Hidden);
    let about = |target: &Target| match target {
        Target::Group(group) => Some(group.about),
        Target::Verb(verb) => Some(verb.about),
        Target::Later(_) => None,
    };
    let words = shown.filter_map(|entry| Some((entry.name.to_owned(), about(&entry.target)?.to_owned())));
    Found { words: words.collect(), files: false }
}

fn flags_of(verb: Option<&'static Verb>) -> Found {
    let flags: Vec<&Flag> = match verb {
        Some(verb) => verb.flags().collect(),
        None => commands::GLOBAL.iter().collect(),
    };
    let shown = flags.into_iter().filter(|flag| flag.standing == Standing::Works);
    let mut words: Vec<_> = shown.map(|flag| (format!("--{}", flag.long), flag.about.to_owned())).collect();
    words.push(("--help".to_owned(), "Show what there is".to_owned()));
    words.sort();
    Found { words, files: false }
}

/// Values that a flag takes, where there are only so many, or where they name things.
fn values_of(context: &Context, flag: &Flag) -> Found {
    let fixed: &[&str] = match flag.long {
        "pull" => &["always", "missing", "never"],
        "network" | "net" => &["none", "host", "container:"],
        "pid" => &["host", "container:"],
        "ipc" => &["none", "private", "shareable", "host", "container:"],
        "uts" | "userns" => &["host"],
        "cgroupns" => &["private", "host"],
        "restart" => &["no", "always", "unless-stopped", "on-failure"],
        "attach" => &["stdin", "stdout", "stderr"],
        "format" => &["json", "table", "{{."],
        "type" => &["container", "image"],
        "snapshotter" => &["erofs", "trees"],
        "log-level" => &["debug", "info", "warn", "error", "fatal"],
        "signal" | "stop-signal" => &["HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2"],
        "filter" => &[
            "ancestor=",
            "before=",
            "container=",
            "event=",
            "exited=",
            "health=",
            "id=",
            "image=",
            "label=",
            "name=",
            "since=",
            "status=",
            "type=",
            "until=",
        ],
        "volumes-from" => return Found { words: containers(context, |_| true), files: false },
        _ => &[],
    };
    let words = fixed.iter().map(|word| ((*word).to_owned(), String::new())).collect();
    Found { words, files: fixed.is_empty() }
}

/// What stands in the usage line says what may be typed.
fn arguments_of(context: &Context, verb: &Verb, name: &str, at: usize) -> Found {
    let words: Vec<&str> = verb.usage.split(' ').filter(|word| *word != "[OPTIONS]").collect();
    let Some(kind) = words.get(at).or_else(|| words.last().filter(|word| word.contains("..."))) else {
        return Found::default();
    };
    let wanted = |status: Status| match name {
        "attach" | "exec" | "kill" | "pause" | "stats" | "stop" | "top" => status.is_running(),
        "unpause" => status == Status::Paused,
        "start" => !status.is_running(),
        _ => true,
    };
    let mut found = Found::default();
    if kind.contains("CONTAINER") || kind.contains("NAME|ID") {
        found.words.extend(containers(context, wanted));
    }
    if kind.contains("CONTAINER:") {
        found.words.iter_mut().for_each(|(word, _)| word.push(':'));
        found.files = true;
    }
    if kind.contains("IMAGE") || kind.contains("REPOSITORY") || kind.contains("NAME|ID") {
        found.words.extend(images(context));
    }
    if kind.contains("SHELL") {
        found.words.extend(["bash", "fish", "zsh"].map(|shell| (shell.to_owned(), String::new())));
    }
    found.files |= ["COMMAND", "ARG", "PATH", "file", "FILE", "DIR"].iter().any(|word| kind.contains(word));
    found
}

/// Names of containers, each with its image and its state. What cannot be listed is no candidate.
fn containers(context: &Context, wanted: impl Fn(Status) -> bool) -> Vec<(String, String)> {
    let listed = context.engine().ok().and_then(|engine| engine.list(&List { all: true, last: None }).ok());
    let shown = listed.unwrap_or_default().into_iter().filter(|one| wanted(one.state.status));
    shown
        .map(|one| (one.name.to_string(), format!("{} ({})", one.image, one.state.status.as_str())))
        .collect()
}

/// Names of images.
fn images(context: &Context) -> Vec<(String, String)> {
    let listed = context.engine().ok().and_then(|engine| engine.images().ok());
    let mut names: Vec<_> = listed
        .unwrap_or_default()
        .into_iter()
        .flat_map(|image| image.tags)
        .map(|tag| (tag, String::new()))
        .collect();
    names.sort();
    names
}
