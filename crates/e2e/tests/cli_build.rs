//! `build` with the real program: what comes out, what is done again and what is not, and what is refused.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

mod building;

use building::{Workshop, cached};
use testkit::wait_until;

#[test]
fn an_image_is_built_and_runs() {
    let workshop = Workshop::new(
        "FROM busybox\nARG NAME=you\nENV GREETING=\"hello $NAME\"\nWORKDIR /work\nCOPY one sub/ ./\nRUN echo $GREETING > said && cat one deep/two >> said\nCMD [\"cat\", \"/work/said\"]\n",
    );
    workshop.write("one", "1\n");
    workshop.write("sub/deep/two", "2\n");
    workshop.build(&["--build-arg", "NAME=world"]);
    assert_eq!(workshop.skiff.ok(&["run", "--rm", "made"]), "hello world\n1\n2\n");
    assert_eq!(workshop.in_image("pwd; ls"), "/work\ndeep\none\nsaid\n");
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn what_was_done_is_not_done_again() {
    let workshop = Workshop::new(
        "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /once\nCOPY kept /\nRUN cat /kept > /copy; cat /proc/sys/kernel/random/uuid > /first\nCOPY source /\nRUN cat /source > /built; cat /proc/sys/kernel/random/uuid > /second\n",
    );
    workshop.write("kept", "kept\n");
    workshop.write("source", "one\n");
    workshop.build(&[]);
    let all = "cat /once /first /second";
    let first = workshop.in_image(all);
    let again = workshop.build(&[]);
    assert_eq!((cached(&again), workshop.in_image(all)), (5, first.clone()), "{again}");

    // Another time is no change, nor is another name of the folder.
    let moved = workshop.skiff.folder().join("moved");
    std::fs::create_dir(&moved).unwrap();
    for name in ["Dockerfile", "kept", "source"] {
        std::fs::copy(workshop.context.join(name), moved.join(name)).unwrap();
    }
    let moved = Workshop { skiff: workshop.skiff, context: moved };
    let again = moved.build(&[]);
    assert_eq!((cached(&again), moved.in_image(all)), (5, first.clone()), "{again}");

    // What follows from a change is done, and what comes before it is not.
    moved.write("source", "two\n");
    let changed = moved.build(&[]);
    assert_eq!(cached(&changed), 3, "{changed}");
    assert_eq!(moved.in_image("cat /built"), "two\n");
    let now = moved.in_image(all);
    assert_eq!(first.lines().take(2).collect::<Vec<_>>(), now.lines().take(2).collect::<Vec<_>>());
    assert_ne!(first, now);

    // And back.
    moved.write("source", "one\n");
    assert_eq!((cached(&moved.build(&[])), moved.in_image(all)), (5, first.clone()));
    assert_eq!(cached(&moved.build(&["--no-cache"])), 0);
    assert_ne!(moved.in_image(all), first);
}

#[test]
fn what_a_program_sees_of_its_build_is_part_of_what_it_is_known_by() {
    let workshop = Workshop::new("FROM busybox\nRUN grep -c known.example /etc/hosts > /hosts; true\n");
    let hosts = |flags: &[&str]| {
        let said = workshop.build(flags);
        (cached(&said), workshop.in_image("cat /hosts"))
    };
    assert_eq!(hosts(&[]), (0, "0\n".to_owned()));
    assert_eq!(hosts(&["--add-host", "known.example:10.0.0.1"]), (0, "1\n".to_owned()));
    assert_eq!(hosts(&["--add-host", "known.example:10.0.0.2"]), (1, "1\n".to_owned()), "where it lies");
    assert_eq!(hosts(&["--shm-size", "1m"]).0, 0);
    assert_eq!(hosts(&["--memory", "100m"]), (1, "0\n".to_owned()), "a limit");
}

/// Nothing that an image says of itself makes it another one's stand-in: its layers decide.
#[test]
fn a_base_with_the_same_name_history_and_config_is_known_by_its_files() {
    let workshop = Workshop::new("FROM base\nRUN cat /x > /y\n");
    let folder = workshop.context.join("base");
    workshop.write("base/Dockerfile", "FROM busybox\nCOPY x /x\n");
    let mut histories = std::collections::BTreeSet::new();
    for (content, known) in [("1\n", 0), ("2\n", 0), ("1\n", 1)] {
        workshop.write("base/x", content);
        let flags =
            ["build", "-q", "-t", "base", "--build-arg", "SOURCE_DATE_EPOCH=1", folder.to_str().unwrap()];
        workshop.skiff.ok(&flags);
        histories.insert(workshop.skiff.ok(&[
            "history",
            "--no-trunc",
            "--format",
            "{{.CreatedBy}} {{.CreatedAt}}",
            "base",
        ]));
        assert_eq!(cached(&workshop.build(&[])), known, "{content}");
        assert_eq!(workshop.in_image("cat /y"), content);
    }
    assert_eq!(histories.len(), 1, "{histories:#?}");
}

#[test]
fn what_is_not_allowed_is_refused_also_where_its_result_is_known() {
    let workshop = Workshop::new("FROM busybox\nRUN --security=insecure true\n");
    workshop.build(&["--allow", "security.insecure"]);
    let said = workshop.fails(&[], &["security.insecure is not allowed", ">>> RUN --security=insecure true"]);
    assert!(!said.contains(" CACHED"), "{said}");
}

#[test]
fn an_epoch_makes_equal_images_and_is_no_other_builds() {
    let workshop = Workshop::new("FROM busybox\nRUN echo x > /x\nCOPY one /one\n");
    workshop.write("one", "1\n");
    let id = |workshop: &Workshop| workshop.skiff.said("{{.Id}}", "made");
    let times = |workshop: &Workshop| workshop.in_image("stat -c %Y /x /one");
    let at = |epoch: &str| format!("SOURCE_DATE_EPOCH={epoch}");
    workshop.build(&["--build-arg", &at("1700000000")]);
    let (first, made) = (id(&workshop), times(&workshop));
    assert_eq!(made, "1700000000\n1700000000\n");
    workshop.build(&["--no-cache", "--build-arg", &at("1700000000")]);
    assert_eq!(id(&workshop), first);
    workshop.build(&["--build-arg", &at("1600000000")]);
    assert_eq!(times(&workshop), "1600000000\n1600000000\n");
    workshop.build(&[]);
    assert_ne!(times(&workshop), made);
}

#[test]
fn stages_that_nobody_needs_are_not_built() {
    let workshop = Workshop::new(
        "FROM busybox AS base\nRUN echo base > /base\nFROM base AS broken\nRUN false\nFROM base AS tools\nRUN echo tool > /tool\nFROM scratch AS files\nCOPY --from=tools /tool /tool\nFROM base\nCOPY --from=files / /\n",
    );
    let said = workshop.build(&[]);
    assert!(!said.contains("RUN false"), "{said}");
    assert_eq!(workshop.in_image("cat /base /tool"), "base\ntool\n");
    workshop.fails(&["--target", "broken"], &["RUN false", "exit code: 1"]);
    workshop.fails(&["--target", "nowhere"], &["target stage \"nowhere\" could not be found"]);
}

#[test]
fn stages_run_side_by_side() {
    // Each waits for the other, by a cache that both have mounted.
    let workshop = Workshop::new(
        "FROM busybox AS one\nRUN --mount=type=cache,target=/meet touch /meet/one; until [ -e /meet/two ]; do sleep 0.02; done; echo 1 > /made\nFROM busybox AS two\nRUN --mount=type=cache,target=/meet touch /meet/two; until [ -e /meet/one ]; do sleep 0.02; done; echo 2 > /made\nFROM scratch\nCOPY --from=one /made /1\nCOPY --from=two /made /2\n",
    );
    workshop.build(&["--parallel", "2"]);
}

#[test]
fn a_program_that_fails_is_shown_with_what_it_said_and_its_line() {
    let workshop = Workshop::new(
        "FROM busybox\nRUN echo before\nRUN echo it is broken >&2; \\\n    exit 7\nRUN echo after\n",
    );
    let said =
        workshop.fails(&[], &["it is broken", "exit code: 7", "Dockerfile:3", ">>> RUN echo it is broken"]);
    assert!(!said.contains("echo after\n#"), "{said}");
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn a_dockerfile_that_cannot_be_built_is_shown_with_its_line() {
    for (text, words) in [
        ("FRM busybox\n", &["dockerfile parse error on line 1: unknown instruction: FRM", "FROM"][..]),
        ("FROM busybox\nCOPY one\n", &["line 2", "COPY requires at least two arguments"]),
        ("RUN true\n", &["no build stage in current context"]),
        ("", &["file with no instructions"]),
        (
            "FROM busybox AS one\nCOPY --from=later /a /b\nFROM busybox AS later\nFROM one\n",
            &["cannot copy from stage \"later\""],
        ),
        ("FROM busybox\nCOPY missing /\n", &["\"/missing\": not found"]),
        ("FROM busybox\nCOPY ../outside /\n", &["not found"]),
        (
            "FROM busybox\nRUN --mount=type=secret,id=x,required=true true\n",
            &["secret x: not found; give it by --secret id=x,src=FILE"],
        ),
        (
            "FROM busybox\nRUN --mount=type=ssh,required=true true\n",
            &["unset ssh forward key default; give it by --ssh default"],
        ),
        ("FROM busybox\nRUN --security=insecure true\n", &["security.insecure is not allowed"]),
    ] {
        Workshop::new(text).fails(&[], words);
    }
}

#[test]
fn a_secret_reaches_its_program_and_nothing_else() {
    let workshop = Workshop::new(
        "FROM busybox\nRUN --mount=type=secret,id=key cp /run/secrets/key /dev/shm/x; wc -c < /run/secrets/key > /size; ls -l /run/secrets/key | cut -c1-10 > /mode\nRUN --mount=type=secret,id=key,env=KEY [ -n \"$KEY\" ]\n",
    );
    let secret = "sehr-geheim-31415926";
    workshop.write("../key", secret);
    let file = workshop.skiff.folder().join("key");
    let said = workshop.build(&["--secret", &format!("id=key,src={}", file.display())]);
    assert!(!said.contains(secret), "{said}");
    assert_eq!(
        workshop.in_image("cat /size /mode; ls /run/secrets 2>&1; true"),
        "20\n-r--------\nls: /run/secrets: No such file or directory\n"
    );
    // Nowhere on the disk, in no config, no history, no row.
    let mut grep = std::process::Command::new("grep");
    let found = grep
        .args(["-rl", secret])
        .arg(workshop.skiff.root())
        .arg(workshop.skiff.run_folder())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    // Another secret is no reason to run it again.
    workshop.write("../key", "another");
    let again = workshop.build(&["--secret", &format!("id=key,src={}", file.display())]);
    assert_eq!(cached(&again), 2, "{again}");
}

#[test]
fn two_builds_of_the_same_at_once_share_the_work() {
    let workshop = Workshop::new(
        "FROM busybox\nRUN --mount=type=cache,target=/count echo x >> /count/runs; sleep 0.5; cat /count/runs > /runs\n",
    );
    let context = workshop.context.to_str().unwrap().to_owned();
    let words = ["build", "-q", "--network=none", "-t", "made", &context];
    let children: Vec<_> = (0..4).map(|_| workshop.skiff.start(&words)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(workshop.in_image("cat /runs"), "x\n");
}

#[test]
fn a_build_that_is_killed_leaves_nothing_and_the_next_one_succeeds() {
    let workshop = Workshop::new(
        "FROM busybox\nRUN echo done > /done\nRUN --mount=type=cache,target=/c touch /c/began; sleep 1000\n",
    );
    let context = workshop.context.to_str().unwrap().to_owned();
    let mut child = workshop.skiff.start(&["build", "--network=none", &context]);
    wait_until("the step runs", || {
        let mut find = std::process::Command::new("find");
        let found = find.arg(workshop.skiff.root().join("cache")).args(["-name", "began"]).output().unwrap();
        !found.stdout.is_empty()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // What half-done work there was lies in `tmp` until the next one comes; no process and no mount is left.
    wait_until("the step has ended", || {
        let left = std::fs::read_dir(workshop.skiff.run_folder().join("builds")).unwrap();
        left.flatten().all(|entry| !entry.path().join("status").exists())
    });
    workshop.write("Dockerfile", "FROM busybox\nRUN echo done > /done\n");
    let said = workshop.build(&[]);
    assert_eq!(cached(&said), 1, "{said}");
    assert_eq!(workshop.skiff.left_by_containers(), "");
    let tmp: Vec<_> = std::fs::read_dir(workshop.skiff.root().join("tmp")).unwrap().collect();
    assert!(tmp.is_empty(), "{tmp:?}");
}

#[test]
fn what_a_program_leaves_may_be_as_deep_as_a_layer_can_hold_it() {
    let dockerfile = |depth: usize| {
        format!(
            "FROM busybox AS deep\nRUN for i in $(seq {depth}); do mkdir d && cd d || exit 1; done; echo x > leaf\nFROM busybox\nCOPY --from=deep /d /copied\n"
        )
    };
    let workshop = Workshop::new(&dockerfile(500));
    workshop.build(&[]);
    let leaf = format!("cat /copied/{}leaf", "d/".repeat(499));
    assert_eq!(workshop.in_image(&leaf), "x\n");
    workshop.write("Dockerfile", dockerfile(600));
    workshop.fails(&[], &["too long"]);
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn a_time_before_the_first_stage_holds_for_all_that_is_made() {
    let workshop =
        Workshop::new("ARG SOURCE_DATE_EPOCH=1000\nFROM busybox\nRUN echo x > /x\nCOPY one /one\n");
    workshop.write("one", "1\n");
    workshop.build(&[]);
    assert_eq!(workshop.in_image("stat -c %Y /x /one"), "1000\n1000\n");
    let made = workshop.skiff.ok(&["image", "inspect", "--format", "{{.Created}}", "made"]);
    assert_eq!(made, "1970-01-01T00:16:40Z\n");
    workshop.build(&["--build-arg", "SOURCE_DATE_EPOCH=2000"]);
    assert_eq!(workshop.in_image("stat -c %Y /x"), "2000\n");
    workshop.write("Dockerfile", "ARG SOURCE_DATE_EPOCH=soon\nFROM busybox\n");
    workshop.fails(&[], &["invalid SOURCE_DATE_EPOCH: \"soon\""]);
}

#[test]
fn what_programs_see_of_the_machine_decides_what_is_done_again() {
    let workshop =
        Workshop::new("FROM busybox\nRUN hostname > /name; grep given /etc/hosts > /host || true\n");
    let both = |workshop: &Workshop| workshop.in_image("cat /name /host");
    workshop.build(&[]);
    assert_eq!((cached(&workshop.build(&[])), both(&workshop)), (1, "buildkitsandbox\n".to_owned()));
    let named = ["--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=me", "--add-host=given:1.2.3.4"];
    assert_eq!(cached(&workshop.build(&named)), 0);
    assert_eq!(both(&workshop), "me\n1.2.3.4\tgiven\n");
    assert_eq!(
        cached(&workshop.build(&["--add-host=given:1.2.3.4"])),
        0,
        "the host has its usual name again"
    );
    assert_eq!((cached(&workshop.build(&named)), cached(&workshop.build(&[]))), (1, 1));
}

#[test]
fn no_terminal_obeys_what_an_error_repeats() {
    let workshop = Workshop::new("FROM busybox\nFOO\x1b]0;title\x07\n");
    let said = workshop.fails(&[], &["unknown instruction: FOO"]);
    assert!(!said.contains(['\x1b', '\x07']), "{said:?}");
    workshop.write("Dockerfile", "FROM busybox\nCOPY sub /data\nCOPY sub /data/\x1b[31m\n");
    workshop.write("sub/\x1b[31m", "x");
    let said = workshop
        .fails(&[], &["ERROR: failed to build: failed to solve: cannot copy to non-directory: /data/"]);
    assert!(!said.contains('\x1b'), "{said:?}");
}

#[test]
fn the_context_may_come_as_a_stream_and_the_dockerfile_too() {
    let workshop = Workshop::new("FROM busybox\nCOPY one /\n");
    workshop.write("one", "1\n");
    let mut tar = std::process::Command::new("tar");
    let archive = tar.arg("-C").arg(&workshop.context).args(["-czf", "-", "."]).output().unwrap().stdout;
    let build = |words: &[&str], input: &[u8]| {
        let output = workshop
            .skiff
            .run_with_input(&[&["build", "-q", "--network=none", "-t", "made"], words].concat(), input);
        assert_eq!(output.code, 0, "{}", output.stderr);
    };
    build(&["-"], &archive);
    assert_eq!(workshop.in_image("cat /one"), "1\n");
    build(&["-"], b"FROM busybox\nRUN echo alone > /alone\n");
    assert_eq!(workshop.in_image("cat /alone"), "alone\n");
    build(&["-f", "-", workshop.context.to_str().unwrap()], b"FROM busybox\nCOPY one /renamed\n");
    assert_eq!(workshop.in_image("cat /renamed"), "1\n");
}
