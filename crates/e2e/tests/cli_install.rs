//! `make install`, of the programs under test: what lies where, and whether it works from there.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

use std::path::Path;
use std::process::{Command, Stdio};

use testkit::{Output, Scratch, Skiff, busybox, programs};

fn run(command: &mut Command) -> Output {
    Output::of(command.stdin(Stdio::null()).output().unwrap())
}

/// `make` with the programs that the tests have built, in place of a build of its own.
fn make(words: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut make = Command::new("make");
    make.current_dir(source).arg("CARGO=true").arg(format!("RELEASE={}", programs().display()));
    let done = run(make.args(words));
    assert_eq!(done.code, 0, "{words:?}: {done:?}");
}

/// Every file and link below a folder.
fn files(folder: &Path) -> Vec<String> {
    let found = run(Command::new("find").arg(folder).args(["!", "-type", "d", "-printf", "%P\n"]));
    let mut files: Vec<String> = found.stdout.lines().map(str::to_owned).collect();
    files.sort();
    files
}

#[test]
fn what_is_installed_works_from_where_it_lies_and_can_be_removed() {
    let scratch = Scratch::new();
    let prefix = scratch.join("usr");
    let given = format!("PREFIX={}", prefix.display());
    make(&["install", &given]);
    let installed = files(&prefix);
    for file in [
        "bin/skiff",
        "bin/skiff-oci",
        "libexec/skiff/skiff-monitor",
        "lib/systemd/system/skiff.service",
        "lib/systemd/user/skiff.service",
        "share/man/man1/skiff.1",
        "share/man/man1/skiff-container-run.1",
        "share/man/man1/skiff-run.1",
        "share/bash-completion/completions/skiff",
        "share/zsh/site-functions/_skiff",
        "share/fish/vendor_completions.d/skiff.fish",
    ] {
        assert!(installed.iter().any(|found| found == file), "{file} is not in {installed:?}");
    }

    // The programs find each other; the folders are those of a fixture, which removes what is made there.
    let skiff = Skiff::new();
    skiff.load(&busybox());
    let own: [&str; 0] = [];
    let command = skiff.command(&own);
    let mut there = Command::new(prefix.join("bin/skiff"));
    there.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = run(there.args(["run", "--rm", "busybox", "echo", "hi"]));
    assert_eq!((said.code, said.stdout.as_str()), (0, "hi\n"), "{said:?}");
    let features = run(Command::new(prefix.join("bin/skiff-oci")).arg("features"));
    assert!(features.code == 0 && features.stdout.contains("ociVersionMax"), "{features:?}");

    // systemd judges the units: their programs must be there.
    let unit = |kind: &str| prefix.join(format!("lib/systemd/{kind}/skiff.service"));
    let mut verify = Command::new("systemd-analyze");
    let judged = run(verify.args(["verify", "--man=no"]).arg(unit("system")));
    assert_eq!((judged.code, judged.stderr.as_str()), (0, ""), "{judged:?}");
    let mut verify = Command::new("systemd-analyze");
    verify.env("XDG_RUNTIME_DIR", &*scratch);
    let judged = run(verify.args(["--user", "verify", "--man=no"]).arg(unit("user")));
    assert_eq!((judged.code, judged.stderr.as_str()), (0, ""), "{judged:?}");

    make(&["uninstall", &given]);
    assert_eq!(files(&prefix), Vec::<String>::new());
}

#[test]
fn a_package_is_made_in_a_folder_of_its_own() {
    let scratch = Scratch::new();
    let given = format!("DESTDIR={}", scratch.display());
    make(&["install", &given, "PREFIX=/usr"]);
    let unit = std::fs::read_to_string(scratch.join("usr/lib/systemd/system/skiff.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/skiff system resume\n"), "{unit}");
    let link = std::fs::read_link(scratch.join("usr/bin/skiff-oci")).unwrap();
    assert_eq!(link, Path::new("skiff"), "a link that leaves the folder");
    let completion =
        std::fs::read_to_string(scratch.join("usr/share/bash-completion/completions/skiff")).unwrap();
    assert!(completion.contains("complete -F _skiff skiff"), "{completion}");
}
