//! What people and scripts see of `skiff build`: progress in all its forms, ids and files, failures, interrupts.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

use serde_json::Value;
use testkit::{Skiff, build_context, registry};

#[test]
fn plain_progress_names_steps_what_they_say_and_the_image() {
    let skiff = Skiff::with_busybox().that_builds();
    let (_scratch, path) = build_context("FROM busybox\nCOPY x /x\nRUN echo said; echo also >&2\n");
    let built = skiff.run(&["build", "-t", "a:1", &path]);
    assert_eq!((built.code, built.stdout.as_str()), (0, ""), "{}", built.stderr);
    for line in ["2/3] COPY x /x", " said", " also", "naming to docker.io/library/a:1 done"] {
        let shown = |shown: &str| shown.starts_with('#') && shown.ends_with(line);
        assert!(built.stderr.lines().any(shown), "{line}: {}", built.stderr);
    }
    let again = skiff.run(&["build", "-t", "a:1", &path]);
    assert!(again.stderr.contains(" CACHED\n"), "{}", again.stderr);
    assert_eq!(skiff.ok(&["run", "--rm", "a:1", "cat", "/x"]), "x\n");
}

#[test]
fn ids_and_metadata_are_for_scripts() {
    let skiff = Skiff::new().that_builds();
    let (scratch, path) = build_context("FROM scratch\nCOPY x /x\n");
    let file = |name: &str| scratch.join(name).to_str().unwrap().to_owned();
    let (iidfile, metadata) = (file("id"), file("metadata"));
    let id =
        skiff.ok(&["build", "-q", "-t", "b", "--iidfile", &iidfile, "--metadata-file", &metadata, &path]);
    let id = id.strip_suffix('\n').unwrap();
    assert_eq!(std::fs::read_to_string(&iidfile).unwrap(), id);
    assert_eq!(skiff.said("{{.Id}}", "b"), id);
    let metadata: Value = serde_json::from_str(&std::fs::read_to_string(&metadata).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], id);
    assert_eq!(metadata["image.name"], "docker.io/library/b:latest");
    // A build that fails leaves no id of an earlier one.
    let failed = skiff.run(&["build", "-q", "--iidfile", &iidfile, "--target", "none", &path]);
    assert_eq!((failed.code, std::fs::exists(&iidfile).unwrap()), (1, false), "{}", failed.stderr);
    let json = skiff.run(&["build", "--progress", "rawjson", &path]);
    assert!(json.code == 0 && json.stderr.lines().count() > 3, "{}", json.stderr);
    for line in json.stderr.lines() {
        let status: Value = serde_json::from_str(line).unwrap();
        assert!(status.as_object().unwrap().len() == 1, "{line}");
    }
}

#[test]
fn a_failure_shows_the_line_and_what_was_said() {
    let skiff = Skiff::with_busybox().that_builds();
    let (_scratch, path) = build_context("FROM busybox\nRUN echo before; exit 7\n");
    let failed = skiff.run(&["build", &path]);
    assert_eq!((failed.code, failed.stdout.as_str()), (1, ""));
    assert!(failed.stderr.contains("\n   2 | >>> RUN echo before; exit 7\n"), "{}", failed.stderr);
    assert!(failed.stderr.contains("2/2] RUN echo before; exit 7:\n0."), "{}", failed.stderr);
    let last = failed.stderr.lines().last().unwrap();
    assert!(last.starts_with("ERROR: failed to build: failed to solve: process \"/bin/sh -c"), "{last}");
    assert!(last.ends_with("did not complete successfully: exit code: 7"), "{last}");
    let (_scratch, path) = build_context("FROM scratch\nCOPPY x /x\n");
    let failed = skiff.run(&["build", &path]);
    let shown = " --> Dockerfile:2:1\n  |\n2 | COPPY x /x\n  | ^^^^^\n";
    assert!(failed.code == 1 && failed.stderr.contains(shown), "{}", failed.stderr);
}

#[test]
fn files_can_go_to_a_folder_or_to_stdout() {
    let skiff = Skiff::new().that_builds();
    let (scratch, path) = build_context("FROM scratch\nCOPY x /dir/x\n");
    let folder = scratch.join("out");
    let to_folder = skiff.run(&["build", "-o", folder.to_str().unwrap(), &path]);
    assert_eq!(to_folder.code, 0, "{}", to_folder.stderr);
    assert_eq!(std::fs::read_to_string(folder.join("dir/x")).unwrap(), "x\n");
    let tar = skiff.run(&["build", "-o", "-", &path]);
    assert!(tar.code == 0 && tar.stdout.contains("dir/x") && tar.stdout.contains("ustar"), "{}", tar.stderr);
}

#[test]
fn a_terminal_has_a_window_and_its_cursor_afterwards() {
    let skiff = Skiff::with_busybox().that_builds();
    let (_scratch, path) = build_context("FROM busybox\nRUN echo said; sleep 0.3\nRUN true\n");
    let mut terminal = skiff.terminal(&["build", "-t", "a", &path], 80, 24);
    terminal.expect("[+] Building ");
    terminal.expect(" => => # said");
    let (code, text) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(") FINISHED") && text.contains("3/3] RUN true"), "{text}");
    assert!(text.contains(" Time: ") && text.contains("RUN echo said; sleep 0.3"), "{text}");
    assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "{text}");
}

#[test]
fn no_terminal_obeys_what_a_program_says() {
    let skiff = Skiff::with_busybox().that_builds();
    let (_scratch, path) = build_context(
        "FROM busybox\nRUN printf 'a\\033]0;owned\\007b\\033[6n\\033[2J\\033[31mred\\n'; false\n",
    );
    for progress in ["plain", "tty"] {
        let (code, text) = skiff.terminal(&["build", "--progress", progress, &path], 80, 24).finish();
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("ab\x1b[31mred\x1b[0m"), "{text:?}");
        for harmful in ["\x1b]", "\x07", "\x1b[6n", "\x1b[2J"] {
            assert!(!text.contains(harmful), "{harmful:?} in {text:?}");
        }
    }
    // A file gets all of it.
    let output = skiff.run(&["build", "--progress=plain", &path]);
    assert!(output.stderr.contains("a\x1b]0;owned\x07b"), "{:?}", output.stderr);
}

#[test]
fn an_interrupt_ends_the_build_and_leaves_nothing() {
    let skiff = Skiff::with_busybox().that_builds();
    let (_scratch, path) = build_context("FROM busybox\nRUN echo begun; sleep 1000\n");
    let mut terminal = skiff.terminal(&["build", "-t", "never", &path], 80, 24);
    terminal.expect("begun");
    terminal.send(b"\x03");
    let (code, text) = terminal.finish();
    assert_eq!(code, 130, "{text}");
    assert!(text.contains("CANCELED"), "{text}");
    assert!(text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "{text}");
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn an_image_that_cannot_be_had_is_shown_where_it_is_named() {
    let skiff = Skiff::new().that_builds();
    let (registry, _content) = registry();
    let text = format!("[registry.\"docker.io\"]\nserver = \"http://{}\"\n", registry.address());
    std::fs::create_dir(skiff.settings()).unwrap();
    std::fs::write(skiff.settings().join("registries.toml"), text).unwrap();
    for (dockerfile, line, name) in [
        (
            "FROM scratch AS builder\nCOPY x /x\nFROM bulider\n",
            3,
            "bulider (did you mean the stage builder?)",
        ),
        (
            "FROM scratch AS builder\nFROM scratch\nCOPY --from=bilder /x /x\n",
            3,
            "bilder (did you mean the stage builder?)",
        ),
        ("FROM entirely-else\nFROM scratch AS builder\nCOPY --from=0 /x /x\n", 1, "entirely-else"),
    ] {
        let (_scratch, path) = build_context(dockerfile);
        let failed = skiff.run(&["build", &path]);
        assert_eq!(failed.code, 1, "{}", failed.stderr);
        let named = name.split(' ').next().unwrap();
        let last = format!(
            "ERROR: failed to build: failed to solve: {name}: failed to resolve source metadata for docker.io/library/{named}:latest: "
        );
        assert!(failed.stderr.lines().last().unwrap().starts_with(&last), "{}", failed.stderr);
        assert!(failed.stderr.contains(&format!("Dockerfile:{line}\n")), "{}", failed.stderr);
    }
}
