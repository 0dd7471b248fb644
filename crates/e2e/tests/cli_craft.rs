//! Completions, by the shells themselves; man pages, by those who judge them; hints.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

use std::process::Command;

use testkit::{Output, Skiff, require};

fn fixture() -> Skiff {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["tag", "busybox", "reg.example:5000/team/box:v2"]);
    skiff.ok(&["create", "--name", "still", "busybox"]);
    skiff.ok(&["run", "-d", "--name", "going", "busybox", "sleep", "1000"]);
    skiff
}

/// Lines that a user may have typed up to the cursor, with what must be offered and what must not.
const LINES: &[(&str, &[&str], &[&str])] = &[
    ("r", &["run", "rm", "rename"], &["stats", "remove"]),
    ("container st", &["start", "stats", "stop"], &["ps"]),
    ("run --read", &["--read-only"], &["--rm"]),
    ("run --pull ", &["always", "missing", "never"], &["busybox:latest"]),
    ("run --pull=al", &["--pull=always"], &["--pull=never"]),
    ("run --rm ", &["busybox:latest", "reg.example:5000/team/box:v2"], &["still"]),
    ("rm ", &["still", "going"], &["busybox:latest"]),
    ("stop ", &["going"], &["still"]),
    ("start s", &["still"], &["going"]),
    ("rm still ", &["going"], &[]),
    ("rename still ", &[], &["going"]),
    ("inspect ", &["still", "busybox:latest"], &[]),
    ("ps --filter ", &["status=", "name="], &[]),
    ("completion ", &["bash", "zsh", "fish"], &[]),
    ("nonsense ", &[], &["run"]),
];

/// What is offered for a line; bash replaces the last part of a word alone.
fn check(shell: &str, offered: impl Fn(&str) -> Vec<String>) {
    for (line, wanted, unwanted) in LINES {
        let typed = line.rsplit(' ').next().unwrap_or_default();
        let cut = |word: &str| match typed.rfind([':', '=']).filter(|_| shell == "bash") {
            Some(at) => word[at + 1..].to_owned(),
            None => word.to_owned(),
        };
        let offered = offered(&format!("skiff {line}"));
        for word in *wanted {
            assert!(offered.contains(&cut(word)), "{shell}: {line:?} offers no {word}: {offered:?}");
        }
        for word in *unwanted {
            assert!(!offered.contains(&cut(word)), "{shell}: {line:?} offers {word}: {offered:?}");
        }
    }
}

/// Runs a shell with `skiff` in its path and the fixture's folders.
fn shell(skiff: &Skiff, program: &str, flags: &[&str], script: &str, line: &str) -> Vec<String> {
    let programs = testkit::programs();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let (root, run) = (skiff.root(), skiff.run_folder());
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", path)
        .env("SKIFF_ROOT", root)
        .env("SKIFF_RUN", run)
        .env("HOME", skiff.folder());
    command.env("LINE", line).current_dir(skiff.folder()).args(flags).arg("-c").arg(script);
    let output = Output::of(command.output().unwrap());
    assert!(output.stderr.is_empty(), "{program}: {line}: {output:?}");
    output.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_what_is_typed() {
    require("bash", "bash");
    let skiff = fixture();
    let script = r#"
        eval "$(skiff completion bash)"
        COMP_LINE=$LINE COMP_POINT=${#LINE}
        COMP_WORDS=(skiff) COMP_CWORD=1
        _skiff
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    check("bash", |line| shell(&skiff, "bash", &["--norc"], script, line));
    let registered =
        shell(&skiff, "bash", &["--norc"], "eval \"$(skiff completion bash)\"; complete -p skiff", "");
    assert_eq!(registered, ["complete -F _skiff skiff"]);
}

#[test]
fn zsh_completes_what_is_typed() {
    require("zsh", "zsh");
    let skiff = fixture();
    // The builtin that offers words works within the line editor alone: here it prints them.
    let script = r#"
        compadd() {
            local name=${@[-1]}
            print -rl -- "${(@P)name}"
        }
        _files() { print -r -- a-file }
        eval "$(skiff completion zsh)"
        words=("${(@s: :)LINE}")
        CURRENT=${#words}
        _skiff
    "#;
    check("zsh", |line| shell(&skiff, "zsh", &["-f"], script, line));
    let loaded =
        "autoload -Uz compinit; compinit -u -D; eval \"$(skiff completion zsh)\"; print -r -- $_comps[skiff]";
    assert_eq!(shell(&skiff, "zsh", &["-f"], loaded, ""), ["_skiff"]);
}

#[test]
fn fish_completes_what_is_typed() {
    require("fish", "fish");
    let skiff = fixture();
    let script = "skiff completion fish | source; complete -C \"$LINE\"";
    check("fish", |line| {
        let lines = shell(&skiff, "fish", &["--no-config"], script, line);
        lines.iter().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    });
}

#[test]
fn every_command_has_a_man_page_without_a_fault() {
    require("mandoc", "mandoc");
    let skiff = Skiff::new();
    let folder = skiff.folder().join("man/man1");
    skiff.ok(&["man", folder.to_str().unwrap()]);
    let mut pages: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    for page in [
        "skiff.1",
        "skiff-run.1",
        "skiff-container-run.1",
        "skiff-image.1",
        "skiff-stats.1",
        "skiff-events.1",
    ] {
        assert!(pages.contains(&page.to_owned()), "{page}: {pages:?}");
    }
    assert!(!pages.iter().any(|page| page.contains("__")), "{pages:?}");
    let mut lint = Command::new("mandoc");
    lint.args(["-T", "lint", "-W", "warning"]).args(&pages).current_dir(&folder);
    let said = Output::of(lint.output().unwrap());
    assert_eq!((said.code, said.stdout.as_str()), (0, ""), "{said:?}");
    let mut read = Command::new("mandoc");
    let text =
        Output::of(read.args(["-T", "ascii", "skiff-run.1"]).current_dir(&folder).output().unwrap()).stdout;
    let text: String = text.replace('\u{8}', "");
    assert!(text.contains("memory") && text.contains("IMAGE [COMMAND] [ARG...]"), "{text}");
}

#[test]
fn what_is_nearly_right_is_hinted_at() {
    let skiff = Skiff::new();
    for (words, hint) in [
        (&["rnu"][..], "Did you mean this?\n\trun\n"),
        (&["container", "strat"], "Did you mean this?\n\tstart\n"),
        (&["run", "--nmae", "x", "busybox"], "Did you mean this?\n\t--name\n"),
        (&["ps", "--no-truncate"], "unknown flag: --no-truncate"),
        (&["completion", "tcsh"], "want bash, zsh or fish"),
    ] {
        let output = skiff.run(words);
        assert!(output.code != 0 && output.stderr.contains(hint), "{words:?}: {output:?}");
    }
    let help = skiff.ok(&["--help"]);
    assert!(help.contains("\nManagement Commands:\n") && !help.contains("__complete"), "{help}");
}
