//! The rules of hadolint that need no analysis of scripts. They are on trial (`experimental=DL3008`, or `all`), for
//! `docker build --check` does not have them.

use std::collections::HashSet;

use super::rules as r;
use super::shell::{commands, has_pipe};
use super::{Linter, Rule};
use crate::source::Span;
use crate::syntax::{CommandLine, Dockerfile, From, Instruction, Kind, Run, Stage, Transfer};

pub(super) fn check(file: &Dockerfile, linter: &mut Linter) {
    let mut names = HashSet::new();
    for stage in &file.stages {
        linter.enter(&stage.from.comments);
        base(&names, &stage.from.kind, stage.from.span, linter);
        names.extend(stage.from.kind.name.as_ref().map(|name| name.value.as_str()));
        let mut state = Seen::default();
        for instruction in &stage.instructions {
            linter.enter(&instruction.comments);
            one(instruction, &mut state, linter);
        }
        last_user(stage, linter);
    }
    linter.enter(&[]);
}

/// What a stage has had so far.
#[derive(Default)]
struct Seen {
    workdir: bool,
    pipefail: bool,
    wget: bool,
    curl: bool,
    /// pip keeps no cache, as a variable says.
    pip: bool,
}

/// What a stage stands on; `before` are the names of those before it.
fn base(before: &HashSet<&str>, from: &From, span: Span, linter: &mut Linter) {
    let name = from.base.value.as_str();
    if name == "scratch" || name.contains(['$', '@']) || before.contains(name) {
        return;
    }
    match name.rsplit_once('/').map_or(name, |(_, last)| last).split_once(':') {
        None => linter.warn(&r::DL3006, span, format!("Name a version of the image {name}")),
        Some((_, "latest")) => linter.warn(&r::DL3007, span, format!("{name} is another image tomorrow")),
        Some(_) => {}
    }
}

fn last_user(stage: &Stage, linter: &mut Linter) {
    let users = stage.instructions.iter().rev().find_map(|instruction| {
        let Kind::User(user) = &instruction.kind else { return None };
        Some((instruction, user.value.split(':').next().unwrap_or_default()))
    });
    if let Some((instruction, "root" | "0")) = users {
        linter.enter(&instruction.comments);
        linter.warn(&r::DL3002, instruction.span, "The image runs as root".to_owned());
    }
}

fn one(instruction: &Instruction, seen: &mut Seen, linter: &mut Linter) {
    let span = instruction.span;
    match &instruction.kind {
        Kind::Run(run) => shell(run, span, seen, linter),
        Kind::Workdir(_) => seen.workdir = true,
        Kind::Shell(words) => seen.pipefail = words.iter().any(|word| word.contains("pipefail")),
        Kind::Add(add) => added(&add.transfer, span, linter),
        Kind::Copy(copy) => copied(&copy.transfer, seen, span, linter),
        Kind::Env(env) => {
            let mut pairs = env.iter().map(|pair| (pair.name.value.as_str(), pair.value.value.as_str()));
            seen.pip |= pairs.any(|(name, value)| name == NO_PIP_CACHE && is_on(value));
        }
        Kind::Arg(_)
        | Kind::Cmd(_)
        | Kind::Entrypoint(_)
        | Kind::Expose(_)
        | Kind::Healthcheck(_)
        | Kind::Label(_)
        | Kind::Maintainer(_)
        | Kind::Onbuild(_)
        | Kind::Stopsignal(_)
        | Kind::User(_)
        | Kind::Volume(_) => {}
    }
}

fn added(transfer: &Transfer, span: Span, linter: &mut Linter) {
    const ARCHIVES: [&str; 6] = [".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"];
    let is_for_add = |path: &str| {
        let is_elsewhere = ["://", "$", "git@"].iter().any(|mark| path.contains(mark));
        is_elsewhere || ARCHIVES.iter().any(|end| path.ends_with(end))
    };
    if !transfer.paths.is_empty() && !transfer.paths.iter().any(|path| is_for_add(&path.value)) {
        linter.warn(&r::DL3020, span, "COPY takes files of the context".to_owned());
    }
}

fn copied(transfer: &Transfer, seen: &Seen, span: Span, linter: &mut Linter) {
    let destination = transfer.destination.value.as_str();
    let count = transfer.paths.len() + transfer.inline.len();
    if count > 1 && !destination.ends_with('/') && !matches!(destination, "." | "..") {
        linter.warn(&r::DL3021, span, format!("{destination} does not end with /"));
    }
    let place = destination.trim_start_matches(['"', '\'']);
    if !seen.workdir && !place.starts_with(['/', '$']) && !place.contains(":\\") {
        linter.warn(&r::DL3045, span, format!("Where {destination} is, the base image decides"));
    }
}

/// Whether a mount keeps something under this path from a layer.
fn is_mounted(run: &Run, path: &str) -> bool {
    run.mounts.iter().any(|mount| {
        let kept = mount
            .fields
            .iter()
            .any(|(key, value, _)| key == "type" && matches!(value.as_deref(), Some("cache" | "tmpfs")));
        let target = |key: &str| matches!(key, "target" | "dst" | "destination");
        let covers = |value: &str| path.starts_with(value.trim_end_matches('/'));
        kept && mount.fields.iter().any(|(key, value, _)| target(key) && value.as_deref().is_some_and(covers))
    })
}

fn shell(run: &Run, span: Span, seen: &mut Seen, linter: &mut Linter) {
    let texts: Vec<String> = match &run.command {
        // A shell that is named is one all the same.
        CommandLine::Exec(words) => match words.as_slice() {
            [shell, flags, text, ..] if is_shell(shell) && flags.starts_with('-') && flags.ends_with('c') => {
                vec![text.clone()]
            }
            _ => Vec::new(),
        },
        CommandLine::Shell(text) if run.heredocs.is_empty() => vec![text.value.clone()],
        CommandLine::Shell(_) => run.heredocs.iter().map(crate::syntax::Heredoc::body).collect(),
    };
    for text in &texts {
        let all = commands(text);
        let words: Vec<Vec<&str>> = all.iter().map(|one| one.iter().map(String::as_str).collect()).collect();
        for command in &words {
            plain(command, span, linter);
            packages(command, (run, seen.pip || sets_no_cache(text)), span, linter);
        }
        let uses = |name: &str| words.iter().any(|command| command.first() == Some(&name));
        (seen.wget, seen.curl) = (seen.wget | uses("wget"), seen.curl | uses("curl"));
        if seen.wget && seen.curl && (uses("wget") || uses("curl")) {
            linter.warn(&r::DL4001, span, "Both wget and curl are used".to_owned());
        }
        let updates = words
            .iter()
            .any(|command| matches!(command.as_slice(), ["apt-get", rest @ ..] if rest.contains(&"update")));
        if updates && !text.contains("/var/lib/apt/lists") && !is_mounted(run, "/var/lib/apt/lists") {
            linter.warn(&r::DL3009, span, "Remove /var/lib/apt/lists/*, or mount a cache there".to_owned());
        }
        if has_pipe(text) && !seen.pipefail && !text.contains("pipefail") {
            linter.warn(&r::DL4006, span, "What fails before the pipe goes unnoticed".to_owned());
        }
    }
}

/// Commands that have no place in a build.
fn plain(command: &[&str], span: Span, linter: &mut Linter) {
    let Some(name) = command.first() else { return };
    let rule: Option<(&'static Rule, String)> = match *name {
        "ssh" | "vim" | "shutdown" | "service" | "ps" | "free" | "top" | "kill" | "mount" => {
            Some((&r::DL3001, format!("{name} does nothing useful here")))
        }
        "cd" => Some((&r::DL3003, "WORKDIR enters a directory".to_owned())),
        "sudo" => Some((&r::DL3004, "USER says who runs this".to_owned())),
        "apt" => Some((&r::DL3027, "apt-get is made for scripts".to_owned())),
        "wget" => {
            let quiet = ["-q", "--quiet", "-nv", "--no-verbose", "--progress", "-o", "--output-file"];
            let is_quiet = command.iter().any(|word| quiet.iter().any(|flag| word.starts_with(flag)));
            (!is_quiet).then(|| (&r::DL3047, "Add --progress=dot:giga, or -q".to_owned()))
        }
        _ => None,
    };
    if let Some((rule, message)) = rule {
        linter.warn(rule, span, message);
    }
}

/// The variable that has pip keep no cache.
const NO_PIP_CACHE: &str = "PIP_NO_CACHE_DIR";

fn is_on(value: &str) -> bool {
    matches!(value.trim_matches(['"', '\'']).to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes")
}

fn is_shell(program: &str) -> bool {
    matches!(program.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash" | "zsh" | "ksh"))
}

/// Whether a text sets that variable for a command.
fn sets_no_cache(text: &str) -> bool {
    let values =
        text.split_whitespace().filter_map(|word| word.strip_prefix(NO_PIP_CACHE)?.strip_prefix('='));
    values.into_iter().any(is_on)
}

/// The words after a subcommand that are neither flags nor their values.
fn after<'a>(command: &[&'a str], subcommand: &str, with_value: &[&str]) -> Vec<&'a str> {
    let mut given = Vec::new();
    let mut rest = command.iter().skip_while(|word| **word != subcommand).skip(1);
    while let Some(word) = rest.next() {
        if with_value.contains(word) {
            rest.next();
        } else if !word.starts_with('-') {
            given.push(*word);
        }
    }
    given
}

/// The first word of those that names no version, by any of these marks.
fn unpinned<'a>(given: &[&'a str], pins: &[&str]) -> Option<&'a str> {
    given.iter().find(|package| !pins.iter().any(|pin| package.contains(pin))).copied()
}

/// Package managers.
fn packages(command: &[&str], (run, pip_keeps_none): (&Run, bool), span: Span, linter: &mut Linter) {
    let has = |flags: &[&str]| command.iter().any(|word| flags.contains(word));
    match command {
        ["apt-get", rest @ ..] if rest.contains(&"install") => apt(command, span, linter),
        ["apk", rest @ ..] if rest.contains(&"add") => {
            let given = after(
                command,
                "add",
                &["-t", "--virtual", "-X", "--repository", "--repositories-file", "-p", "--root"],
            );
            if let Some(package) = unpinned(&given, &["=", "~", ">", "<", ".apk"]) {
                linter.warn(&r::DL3018, span, format!("Name a version: {package}=..."));
            }
            if !has(&["--no-cache"])
                && !is_mounted(run, "/var/cache/apk")
                && !is_mounted(run, "/etc/apk/cache")
            {
                linter.warn(&r::DL3019, span, "Add --no-cache, or mount a cache".to_owned());
            }
        }
        [python, "-m", rest @ ..] if python.starts_with("python") => {
            pip(rest, (run, pip_keeps_none), span, linter);
        }
        ["pip" | "pip2" | "pip3" | "pipx", ..] => pip(command, (run, pip_keeps_none), span, linter),
        ["npm", rest @ ..] if rest.contains(&"install") || rest.contains(&"i") => {
            let subcommand = if rest.contains(&"install") { "install" } else { "i" };
            let given = after(command, subcommand, &["--registry", "--prefix", "--cache", "--loglevel"]);
            let free = given.into_iter().find(|package| {
                !package.get(1..).unwrap_or_default().contains('@')
                    && !package.starts_with(['.', '/'])
                    && !package.starts_with("git+")
                    && !package.ends_with(".tgz")
            });
            if let Some(package) = free {
                linter.warn(&r::DL3016, span, format!("Name a version: {package}@..."));
            }
        }
        ["gem", rest @ ..] if rest.contains(&"install") && !has(&["-v", "--version"]) => {
            if let Some(package) = unpinned(&after(command, "install", &[]), &[":"]) {
                linter.warn(&r::DL3028, span, format!("Name a version: {package}:..."));
            }
        }
        _ => {}
    }
}

fn apt(command: &[&str], span: Span, linter: &mut Linter) {
    let given = after(command, "install", &["-t", "--target-release", "-o", "-c"]);
    if let Some(package) = unpinned(&given, &["=", ".deb", "/"]) {
        linter.warn(&r::DL3008, span, format!("Name a version: {package}=..."));
    }
    let quiet = |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.contains(['y', 'q']);
    let said = |word: &&str| matches!(*word, "--yes" | "--assume-yes" | "-qq");
    if !command.iter().any(|word| said(word) || quiet(word)) {
        linter.warn(&r::DL3014, span, "Add -y".to_owned());
    }
    let recommends =
        |word: &&str| word.contains("no-install-recommends") || word.contains("Install-Recommends");
    if !command.iter().any(recommends) {
        linter.warn(&r::DL3015, span, "Add --no-install-recommends".to_owned());
    }
}

fn pip(command: &[&str], (run, keeps_none): (&Run, bool), span: Span, linter: &mut Linter) {
    if !command.contains(&"install") || !command.first().is_some_and(|name| name.starts_with("pip")) {
        return;
    }
    let has = |flags: &[&str]| command.iter().any(|word| flags.contains(word));
    let by_file = ["-r", "--requirement", "-e", "--editable", "-c", "--constraint"];
    let is_by_file = has(&by_file) || command.iter().any(|word| word.starts_with("--requirement="));
    let with_value = [
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "-t",
        "--target",
        "--prefix",
        "--root",
        "--proxy",
        "--timeout",
        "--retries",
    ];
    let mut given = after(command, "install", &with_value);
    given.retain(|package| !package.starts_with(['.', '/']));
    let pins = ["==", ">", "<", "~=", "!=", "@", ".whl", ".tar"];
    if let Some(package) = unpinned(&given, &pins).filter(|_| !is_by_file) {
        linter.warn(&r::DL3013, span, format!("Name a version: {package}==..."));
    }
    let is_kept = !keeps_none && !has(&["--no-cache-dir"]) && !is_mounted(run, "/root/.cache/pip");
    if is_kept && command.first() != Some(&"pipx") {
        linter.warn(&r::DL3042, span, "Add --no-cache-dir, or mount a cache".to_owned());
    }
}
