//! The rules of hadolint that need no analysis of scripts. They are on trial (`experimental=DL3008`, or `all`), for
//! `docker build --check` does not have them.

use super::rules as r;
use super::shell::{commands, has_pipe};
use super::{Linter, Rule};
use crate::source::Span;
use crate::syntax::{CommandLine, Dockerfile, From, Instruction, Kind, Run, Stage};

pub(super) fn check(file: &Dockerfile, linter: &mut Linter) {
    for (index, stage) in file.stages.iter().enumerate() {
        linter.enter(&stage.from.comments);
        base(file, index, &stage.from.kind, stage.from.span, linter);
        let mut state = Seen::default();
        for instruction in &stage.instructions {
            linter.enter(&instruction.comments);
            one(instruction, &mut state, linter);
        }
        if index + 1 == file.stages.len() {
            last_user(stage, linter);
        }
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
}

fn base(file: &Dockerfile, index: usize, from: &From, span: Span, linter: &mut Linter) {
    let name = from.base.value.as_str();
    let mut before = file.stages[..index].iter().filter_map(|stage| stage.from.kind.name.as_ref());
    if name == "scratch" || name.contains(['$', '@']) || before.any(|stage| stage.value == name) {
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
        Kind::Add(add) => {
            let archive = |path: &str| {
                [".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"].iter().any(|end| path.ends_with(end))
            };
            let special = |path: &str| {
                path.contains("://") || path.contains('$') || path.contains("git@") || archive(path)
            };
            if !add.transfer.paths.is_empty() && !add.transfer.paths.iter().any(|path| special(&path.value)) {
                linter.warn(&r::DL3020, span, "COPY takes files of the context".to_owned());
            }
        }
        Kind::Copy(copy) => {
            let destination = copy.transfer.destination.value.as_str();
            let count = copy.transfer.paths.len() + copy.transfer.inline.len();
            if count > 1 && !destination.ends_with('/') && !matches!(destination, "." | "..") {
                linter.warn(&r::DL3021, span, format!("{destination} does not end with /"));
            }
            if !seen.workdir
                && !destination.starts_with(['/', '$', '"', '\''])
                && !destination.contains(":\\")
            {
                linter.warn(&r::DL3045, span, format!("Where {destination} is, the base image decides"));
            }
        }
        Kind::Arg(_)
        | Kind::Cmd(_)
        | Kind::Entrypoint(_)
        | Kind::Env(_)
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
        CommandLine::Exec(_) => Vec::new(),
        CommandLine::Shell(text) if run.heredocs.is_empty() => vec![text.value.clone()],
        CommandLine::Shell(_) => run.heredocs.iter().map(crate::syntax::Heredoc::body).collect(),
    };
    for text in &texts {
        let all = commands(text);
        let words: Vec<Vec<&str>> = all.iter().map(|one| one.iter().map(String::as_str).collect()).collect();
        for command in &words {
            plain(command, span, linter);
            packages(command, run, span, linter);
        }
        let uses = |name: &str| words.iter().any(|command| command.first() == Some(&name));
        (seen.wget, seen.curl) = (seen.wget | uses("wget"), seen.curl | uses("curl"));
        if seen.wget && seen.curl && (uses("wget") || uses("curl")) {
            linter.warn(&r::DL4001, span, "Both wget and curl are used".to_owned());
            (seen.wget, seen.curl) = (false, false);
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
        "ssh" | "vim" | "shutdown" | "service" | "ps" | "free" | "top" | "kill" | "mount" | "ifconfig" => {
            Some((&r::DL3001, format!("{name} does nothing useful here")))
        }
        "cd" if command.get(1).is_some_and(|path| path.starts_with('/')) => {
            Some((&r::DL3003, "WORKDIR enters a directory".to_owned()))
        }
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

/// The words after a subcommand that are no flags.
fn after<'a>(command: &[&'a str], subcommand: &str) -> Vec<&'a str> {
    let rest = command.iter().skip_while(|word| **word != subcommand).skip(1);
    rest.filter(|word| !word.starts_with('-') && !word.starts_with('$')).copied().collect()
}

/// Package managers.
fn packages(command: &[&str], run: &Run, span: Span, linter: &mut Linter) {
    let has = |flags: &[&str]| command.iter().any(|word| flags.contains(word));
    let unpinned = |subcommand: &str, pins: &[&str]| {
        let given = after(command, subcommand);
        given
            .into_iter()
            .find(|package| !pins.iter().any(|pin| package.contains(pin)) && !package.contains('/'))
    };
    match command {
        ["apt-get", rest @ ..] if rest.contains(&"install") => {
            if let Some(package) = unpinned("install", &["=", ".deb"]) {
                linter.warn(&r::DL3008, span, format!("Name a version: {package}=..."));
            }
            let quiet =
                |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.contains(['y', 'q']);
            if !has(&["--yes", "--assume-yes", "-qq"]) && !command.iter().any(quiet) {
                linter.warn(&r::DL3014, span, "Add -y".to_owned());
            }
            if !command
                .iter()
                .any(|word| word.contains("no-install-recommends") || word.contains("Install-Recommends"))
            {
                linter.warn(&r::DL3015, span, "Add --no-install-recommends".to_owned());
            }
        }
        ["apk", rest @ ..] if rest.contains(&"add") => {
            if let Some(package) = unpinned("add", &["=", "~", ">", "<", ".apk"]) {
                linter.warn(&r::DL3018, span, format!("Name a version: {package}=..."));
            }
            if !has(&["--no-cache"])
                && !is_mounted(run, "/var/cache/apk")
                && !is_mounted(run, "/etc/apk/cache")
            {
                linter.warn(&r::DL3019, span, "Add --no-cache, or mount a cache".to_owned());
            }
        }
        ["pip" | "pip3", rest @ ..] if rest.contains(&"install") => {
            let by_file = has(&["-r", "--requirement", "-e", "--editable", "."]);
            if let Some(package) =
                unpinned("install", &["==", ">", "<", "~=", "@", ".whl", ".tar"]).filter(|_| !by_file)
            {
                linter.warn(&r::DL3013, span, format!("Name a version: {package}==..."));
            }
            if !has(&["--no-cache-dir"]) && !is_mounted(run, "/root/.cache/pip") {
                linter.warn(&r::DL3042, span, "Add --no-cache-dir, or mount a cache".to_owned());
            }
        }
        ["npm", rest @ ..] if rest.contains(&"install") || rest.contains(&"i") => {
            let subcommand = if rest.contains(&"install") { "install" } else { "i" };
            let given = after(command, subcommand);
            let free = given.into_iter().find(|package| {
                !package.get(1..).unwrap_or_default().contains('@') && !package.starts_with(['.', '/'])
            });
            if let Some(package) = free {
                linter.warn(&r::DL3016, span, format!("Name a version: {package}@..."));
            }
        }
        ["gem", rest @ ..] if rest.contains(&"install") && !has(&["-v", "--version"]) => {
            if let Some(package) = unpinned("install", &[":"]) {
                linter.warn(&r::DL3028, span, format!("Name a version: {package}:..."));
            }
        }
        _ => {}
    }
}
