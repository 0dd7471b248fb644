//! `skiff build --check` and `--call` as they are typed: what they print, where, and with which exit code.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::{Skiff, build_context};

#[test]
fn a_file_without_faults_is_said_to_have_none() {
    let skiff = Skiff::new();
    let (_scratch, path) = build_context("FROM scratch\nCOPY x /x\n");
    assert_eq!(skiff.ok(&["build", "--check", &path]), "Check complete, no warnings found.\n");
    assert_eq!(skiff.ok(&["buildx", "build", "--call=check", &path]), "Check complete, no warnings found.\n");
    // Nothing is made for it, not even a store.
    assert!(!skiff.root().exists());
}

#[test]
fn what_the_checks_find_goes_to_stdout_and_into_the_exit_code() {
    let skiff = Skiff::new();
    let (scratch, path) = build_context("FROM scratch as x\nCOPY secret /x\n");
    std::fs::write(scratch.join(".dockerignore"), "secret\n").unwrap();
    let found = skiff.run(&["build", "--check", &path]);
    assert_eq!((found.code, found.stderr.as_str()), (1, ""));
    assert!(found.stdout.starts_with("Check complete, 2 warnings have been found!\n"), "{}", found.stdout);
    assert!(
        found
            .stdout
            .contains("\nDockerfile:2\n--------------------\n   1 |     FROM scratch as x\n   2 | >>> COPY")
    );
    let json = skiff.run(&["build", "--call=check,format=json", &path]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["warnings"][1]["ruleName"], "CopyIgnoredFile");
    let sarif = skiff.run(&["build", "--check", "--format", "sarif", &path]);
    let sarif: Value = serde_json::from_str(&sarif.stdout).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "FromAsCasing");
    // The file's own ignore file counts alone.
    std::fs::write(scratch.join("Dockerfile.dockerignore"), "").unwrap();
    let found = skiff.run(&["build", "--check", &path]);
    assert!(found.stdout.starts_with("Check complete, 1 warning has been found!\n"), "{}", found.stdout);
    let quiet = skiff.run(&["build", "--check", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", &path]);
    assert_eq!(quiet.code, 0);
}

#[test]
fn a_file_that_cannot_be_built_is_shown_with_its_line() {
    let skiff = Skiff::new();
    let found = skiff.run_with_input(&["build", "--check", "-"], b"FROM scratch\nCOPPY a b\n");
    assert_eq!((found.code, found.stdout.as_str()), (1, ""));
    let shown = "error: unknown instruction: COPPY (did you mean COPY?)\n --> Dockerfile:2:1\n  |\n2 | COPPY a b\n  | ^^^^^\n";
    assert!(found.stderr.starts_with(shown), "{}", found.stderr);
    let last = "ERROR: dockerfile parse error on line 2: unknown instruction: COPPY (did you mean COPY?)\n";
    assert!(found.stderr.ends_with(last), "{}", found.stderr);
}

#[test]
fn files_are_found_as_docker_finds_them() {
    let skiff = Skiff::new();
    let (scratch, path) = build_context("FROM scratch\n");
    let other = scratch.join("other.Dockerfile");
    std::fs::write(&other, "FROM scratch\nMAINTAINER x\n").unwrap();
    let named = skiff.run(&["build", "--check", "-f", other.to_str().unwrap(), &path]);
    assert!(named.stdout.contains(&format!("\n{}:2\n", other.display())), "{}", named.stdout);
    let from_stdin =
        skiff.run_with_input(&["build", "--check", "-f", "-", &path], b"FROM scratch\nMAINTAINER x\n");
    assert!(from_stdin.stdout.contains("\nDockerfile:2\n"), "{}", from_stdin.stdout);
    for (arguments, error) in [
        (&["/no/such"][..], "unable to prepare context: path \"/no/such\" not found"),
        (&["-f", "/no/such", &path], "failed to read dockerfile: open /no/such: no such file or directory"),
        (&["-f", "-", "-"], "invalid argument: can't use stdin for both build context and dockerfile"),
        (&["-"], "stdin is empty: it has neither a Dockerfile nor a tar"),
    ] {
        let output = skiff.run(&[&["build", "--check"], arguments].concat());
        assert_eq!((output.code, output.stderr), (1, format!("skiff: {error}\n")), "{arguments:?}");
    }
}

#[test]
fn variables_of_a_base_image_that_is_here_are_known() {
    let skiff = Skiff::with_busybox();
    let (_scratch, path) =
        build_context("FROM busybox\nENV A=$NOPE\nFROM elsewhere.example/x\nENV A=$NOPE\n");
    let found = skiff.run(&["build", "--check", &path]);
    assert!(found.stdout.starts_with("Check complete, 1 warning has been found!\n"), "{}", found.stdout);
    assert!(
        found.stdout.contains("UndefinedVar") && found.stdout.contains("Dockerfile:2"),
        "{}",
        found.stdout
    );
}

/// Warnings of lines before the first error are there in every form, with what BuildKit's JSON has.
#[test]
fn what_was_found_before_an_error_is_said_with_it() {
    let skiff = Skiff::new();
    let text = "FROM scratch as x\nMAINTAINER a \\\n  b\nCOPPY a \\\n  b\nMAINTAINER c\n";
    let (_scratch, path) = build_context(text);
    let found = skiff.run(&["build", "--check", &path]);
    assert_eq!(found.code, 1);
    assert!(found.stdout.starts_with("Check complete, 2 warnings have been found!\n"), "{}", found.stdout);
    assert!(found.stdout.contains("FromAsCasing") && found.stdout.contains("MaintainerDeprecated"));
    assert!(!found.stdout.contains("MAINTAINER c\n---"), "{}", found.stdout);
    assert!(found.stderr.ends_with("on line 4: unknown instruction: COPPY (did you mean COPY?)\n"));

    let found = skiff.run(&["build", "--call=check,format=json", &path]);
    assert_eq!(found.code, 1);
    let json: Value = serde_json::from_str(&found.stdout).unwrap();
    let line = |number: u32| json!({ "start": { "line": number }, "end": { "line": number } });
    assert_eq!(json["warnings"][0]["ruleName"], "FromAsCasing");
    assert_eq!(json["warnings"][1]["location"], json!({ "ranges": [line(2), line(3)] }));
    assert_eq!(json["warnings"].as_array().unwrap().len(), 2);
    let error = &json["buildError"];
    let message = "dockerfile parse error on line 4: unknown instruction: COPPY (did you mean COPY?)";
    assert_eq!(error["message"], message);
    assert_eq!(error["location"]["ranges"][0]["start"]["line"], 4);
    let source = &json["sources"][0];
    assert_eq!(
        (source["filename"].as_str(), source["language"].as_str()),
        (Some("Dockerfile"), Some("Dockerfile"))
    );
    assert_eq!(STANDARD.decode(source["data"].as_str().unwrap()).unwrap(), text.as_bytes());

    let found = skiff.run(&["build", "--call=check,format=sarif", &path]);
    let sarif: Value = serde_json::from_str(&found.stdout).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let levels: Vec<&str> = results.iter().filter_map(|result| result["level"].as_str()).collect();
    assert_eq!((found.code, levels), (1, vec!["warning", "warning", "error"]));

    // What is wrong only with the values of variables, or with the stages, is an error of the same kind.
    for (text, message) in [
        ("FROM scratch as x\nEXPOSE a/b/c\n", "invalid proto: b/c"),
        ("FROM scratch as x\nFROM ${X:?no}\n", "failed to process \"${X:?no}\": X: no"),
    ] {
        let (_scratch, path) = build_context(text);
        let found = skiff.run(&["build", "--call=check,format=json", &path]);
        let json: Value = serde_json::from_str(&found.stdout).unwrap();
        assert_eq!(json["warnings"][0]["ruleName"], "FromAsCasing", "{text}");
        assert_eq!(json["sources"].as_array().unwrap().len(), 1);
        assert_eq!(json["buildError"]["message"], message);
        assert_eq!(json["buildError"]["location"], json!({ "ranges": [line(2)] }));
    }
}
