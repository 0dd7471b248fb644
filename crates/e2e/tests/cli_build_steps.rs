//! The edges of RUN: how steps end, what they say and how much, what they leave behind, and how they are written down.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::time::{Duration, Instant};

use testkit::{Output, Skiff};

struct Workshop {
    skiff: Skiff,
}

impl Workshop {
    fn new() -> Workshop {
        Workshop { skiff: Skiff::with_busybox().that_builds() }
    }

    fn build_with(&self, variables: &[(&str, &str)], flags: &[&str], dockerfile: &[u8]) -> Output {
        let context = self.skiff.folder().join("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let context = context.display().to_string();
        let words = [&["build", "--network=none", "-t", "made"], flags, &[&context]].concat();
        let mut command = self.skiff.command(&words);
        Output::of(command.envs(variables.iter().copied()).output().unwrap())
    }

    fn build(&self, dockerfile: &str) -> Output {
        self.build_with(&[], &["--progress=plain", "--no-cache"], dockerfile.as_bytes())
    }

    fn ok(&self, dockerfile: &str) -> String {
        let output = self.build(dockerfile);
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    fn fails(&self, dockerfile: &str, words: &[&str]) -> String {
        let output = self.build(dockerfile);
        assert_eq!(output.code, 1, "{}", output.stderr);
        for word in words {
            assert!(output.stderr.contains(word), "{dockerfile}: no {word:?} in:\n{}", output.stderr);
        }
        output.stderr
    }

    fn in_image(&self, script: &str) -> String {
        self.skiff.ok(&["run", "--rm", "made", "sh", "-c", script])
    }
}

#[test]
fn steps_that_fail_are_told_of_as_by_buildkit() {
    let workshop = Workshop::new();
    for (step, words) in [
        ("RUN false", &["process \"/bin/sh -c false\" did not complete successfully: exit code: 1"][..]),
        ("RUN [\"sh\", \"-c\", \"exit 255\"]", &["process \"sh -c exit 255\" did not", "exit code: 255"]),
        (
            "RUN sh -c 'kill -9 $$'; exit $?",
            &["process \"/bin/sh -c sh -c 'kill -9 $$'; exit $?\" did not", "exit code: 137"],
        ),
        ("RUN kill -TERM $$; sleep 1; exit 3", &["exit code: 3"]),
        // The first process of its namespace has no signal of its own making to fear.
        ("RUN sh -c 'kill -SEGV $$'; exit $?", &["exit code: 139"]),
        ("RUN [\"/bin/nothing\"]", &["process \"/bin/nothing\"", "/bin/nothing"]),
        ("RUN [\"/etc/passwd\"]", &["process \"/etc/passwd\"", "ermission denied"]),
        ("USER nobody-there\nRUN true", &["nobody-there"]),
        ("RUN <<END\nset -e\nfalse\necho 'not '\"reached\"\nEND", &["exit code: 1"]),
        ("RUN true | false", &["exit code: 1"]),
        ("SHELL [\"/bin/nothing\", \"-c\"]\nRUN true", &["process \"/bin/nothing -c true\""]),
        ("RUN \\\n  echo begun \\\n  && exit 4", &["Dockerfile:2", "exit code: 4", "begun"]),
    ] {
        let said = workshop.fails(&format!("FROM busybox\n{step}\n"), words);
        assert!(!said.contains("not reached"), "{said}");
    }
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn an_unknown_user_is_named_once_with_the_line_of_the_step() {
    let workshop = Workshop::new();
    for (user, words) in [
        ("nobody-here", "unable to find user nobody-here: no matching entries in passwd file"),
        ("root:none", "unable to find group none: no matching entries in group file"),
    ] {
        let said = workshop.fails(&format!("FROM busybox\nUSER {user}\nRUN id\n"), &[words]);
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("ERROR: ") && last.ends_with(words), "{said}");
        assert_eq!(last.matches("find ").count(), words.matches("find ").count(), "{last}");
        assert!(said.contains("3 | >>> RUN id"), "{said}");
    }
}

#[test]
fn a_first_process_is_a_step_as_any_other() {
    // It is the first of its pid namespace, whom signals without a handler do not end; nor must a child of its that ends.
    let workshop = Workshop::new();
    let begun = Instant::now();
    workshop.ok("FROM busybox\nRUN sh -c 'sleep 1000 & sleep 1000 & exec >/dev/null 2>&1 </dev/null; sleep 1000 &' ; echo $$ > /pid; sleep 1000 & echo over\n");
    assert!(begun.elapsed() < Duration::from_secs(120), "nobody waits for what a step leaves running");
    assert_eq!(workshop.in_image("cat /pid"), "1\n");
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn input_is_empty_and_a_terminal_is_not_there() {
    let workshop = Workshop::new();
    workshop.ok("FROM busybox\nRUN cat | wc -c > /read; readlink /proc/self/fd/0 > /in; tty > /tty; test -t 1 || echo no > /out\n");
    assert_eq!(workshop.in_image("cat /read /in /tty /out"), "0\n/dev/null\nnot a tty\nno\n");
}

#[test]
fn what_a_step_says_is_shown_whatever_it_is() {
    let workshop = Workshop::new();
    let said = workshop
        .ok("FROM busybox\nRUN printf 'no end of line'\nRUN printf 'a\\r\\nb\\rc\\n\\n\\nd'; printf e >&2\n");
    assert!(said.contains("no end of line\n"), "{said}");
    // Bytes that are no text, and sequences that a terminal would obey, do not end a build or its progress.
    let bytes = "RUN printf '\\377\\376\\000\\033]0;title\\007\\033[2J\\200after\\n'; head -c 70000 /dev/urandom; echo; echo at the end\n";
    for progress in ["plain", "rawjson", "quiet"] {
        let dockerfile = format!("FROM busybox\nRUN echo {progress} > /by\n{bytes}");
        let output = workshop.build_with(
            &[],
            &[&format!("--progress={progress}"), "--no-cache"],
            dockerfile.as_bytes(),
        );
        assert_eq!(output.code, 0, "{progress}: {}", output.stderr);
        let shows = output.stderr.lines().any(|line| line.ends_with(" at the end"));
        assert_eq!(shows, progress == "plain", "{progress}");
        assert_eq!(workshop.in_image("cat /by"), format!("{progress}\n"));
    }
}

#[test]
fn a_gigabyte_of_output_is_clipped_and_its_end_is_shown() {
    let workshop = Workshop::new();
    let begun = Instant::now();
    let dockerfile = b"FROM busybox\nRUN yes 0123456789abcdef | head -c 1073741824; echo; echo this is why >&2; echo the last line; exit 9\n";
    let output = workshop.build_with(&[], &["--progress=plain"], dockerfile);
    assert_eq!(output.code, 1);
    let said = output.stderr;
    assert!(said.len() < 8 << 20, "{} bytes", said.len());
    let tail: String = said.chars().rev().take(3000).collect::<Vec<_>>().into_iter().rev().collect();
    assert!(said.contains("[output clipped, log limit 2MiB reached]"), "{tail}");
    assert!(
        said.contains("left out]") && said.contains("the last line") && said.contains("this is why"),
        "{tail}"
    );
    assert!(said.contains("exit code: 9"), "{tail}");
    // No time is asserted but that it ends: a machine may be busy.
    assert!(begun.elapsed() < Duration::from_secs(300));
}

#[test]
fn the_limits_of_output_are_those_of_the_environment() {
    let workshop = Workshop::new();
    let dockerfile = b"FROM busybox\nRUN seq 1 400000\n";
    let build = |variables: &[(&str, &str)]| {
        let output = workshop.build_with(variables, &["--progress=plain", "--no-cache"], dockerfile);
        assert_eq!(output.code, 0, "{variables:?}");
        output.stderr
    };
    let said = build(&[("BUILDKIT_STEP_LOG_MAX_SIZE", "-1")]);
    assert!(!said.contains("clipped") && said.contains(" 399999\n") && said.contains(" 200001\n"));
    let said = build(&[("BUILDKIT_STEP_LOG_MAX_SIZE", "10240")]);
    assert!(
        said.contains("log limit 10KiB reached]")
            && said.contains(" 400000\n")
            && !said.contains(" 200001\n")
    );
    let said = build(&[("BUILDKIT_STEP_LOG_MAX_SPEED", "1024")]);
    assert!(said.contains("log limit 1KiB/s reached]") && said.contains(" 400000\n"), "{}", said.len());
}

#[test]
fn long_words_are_handed_on_or_refused_by_the_kernel() {
    let workshop = Workshop::new();
    let word = "x".repeat(60_000);
    let said = workshop.ok(&format!("FROM busybox\nRUN echo {word} | wc -c > /size\n"));
    assert!(said.len() < 1 << 20);
    assert_eq!(workshop.in_image("cat /size"), "60001\n");
    let many = format!("[\"sh\", \"-c\", \"echo $# > /count\"{}]", ", \"w\"".repeat(10_000));
    workshop.ok(&format!("FROM busybox\nRUN {many}\n"));
    assert_eq!(workshop.in_image("cat /count"), "9999\n");
    // A word may have 128 KiB: the kernel's own reason. No line of a Dockerfile may be as long, so it has several.
    let lines = vec!["y".repeat(50_000); 4].join("\n");
    workshop.fails(&format!("FROM busybox\nRUN <<END\n: {lines}\nEND\n"), &["rgument list too long"]);
}

#[test]
fn shells_and_documents_are_what_they_are_elsewhere() {
    let workshop = Workshop::new();
    workshop.ok("FROM busybox\nRUN printf '#!/bin/sh\\necho \"$0:$*\" >> /powershell\\n' > /bin/pwsh && chmod +x /bin/pwsh\n\
                 SHELL [\"pwsh\", \"-NoProfile\", \"-Command\"]\nRUN Write-Output 'a b'\nRUN <<END\nGet-Item c\nEND\n");
    assert_eq!(
        workshop.in_image("cat /powershell"),
        "/bin/pwsh:-NoProfile -Command Write-Output 'a b'\n/bin/pwsh:-NoProfile -Command Get-Item c\n\n"
    );
    workshop.ok("FROM busybox\nRUN <<ONE cat > /one && cat <<'TWO' > /two\nfirst $0\nONE\nsecond $0\nTWO\n\
                 RUN <<-END\n\t#!/bin/sh -eu\n\techo \"$0\" > /three\n\techo $# >> /three\n\tEND\n\
                 RUN cat <<\"EOF\" >/four\n  $HOME `no` \\\\\nEOF\n");
    assert_eq!(workshop.in_image("cat /one /two"), "first /bin/sh\nsecond $0\n");
    assert_eq!(workshop.in_image("cat /three"), "/dev/pipes/END\n0\n");
    assert_eq!(workshop.in_image("cat /four"), "  $HOME `no` \\\\\n");
    assert_eq!(workshop.in_image("ls /dev/pipes 2>&1; true"), "ls: /dev/pipes: No such file or directory\n");
}
