//! What the command line says to words it does not take: Docker's texts, with Skiff's name, and Docker's exit codes.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

use testkit::{Output, Skiff};

fn check(skiff: &Skiff, arguments: &str, code: i32, stdout: &str, stderr: &str) {
    let words: Vec<&str> = arguments.split(' ').filter(|word| !word.is_empty()).collect();
    let want = Output { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() };
    assert_eq!(skiff.run(&words), want, "skiff {arguments}");
}

#[test]
fn wrong_flags_are_refused_as_docker_refuses_them() {
    const RUN: &str = "\n\nUsage:  skiff run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'skiff run --help' for more information\n";
    const PS: &str = "\n\nUsage:  skiff ps [OPTIONS]\n\nRun 'skiff ps --help' for more information\n";
    let skiff = Skiff::new();
    for (arguments, message, tail) in [
        ("run --foo x", "unknown flag: --foo", RUN),
        ("run -itz x", "unknown shorthand flag: 'z' in -itz", RUN),
        ("run -m", "flag needs an argument: 'm' in -m", RUN),
        ("run --name", "flag needs an argument: --name", RUN),
        ("run --=3 x", "bad flag syntax: --=3", RUN),
        (
            "run --init=foo x",
            "invalid argument \"foo\" for \"--init\" flag: not a boolean (true or false)",
            RUN,
        ),
        ("run -m 1x busybox", "invalid argument \"1x\" for \"-m, --memory\" flag: invalid size: 1x", RUN),
        (
            "run --mount type=bind,dst=/x,foo=1 busybox",
            "invalid argument \"type=bind,dst=/x,foo=1\" for \"--mount\" flag: unexpected key 'foo' in 'foo=1'",
            RUN,
        ),
        (
            "run --pull sometimes busybox",
            "invalid argument \"sometimes\" for \"--pull\" flag: must be one of \"always\", \"missing\" or \"never\"",
            RUN,
        ),
        (
            "run --detach-keys ctrl-1 busybox",
            "invalid argument \"ctrl-1\" for \"--detach-keys\" flag: unknown key \"ctrl-1\": want a character, or ctrl- \
             and one of a-z @ [ \\ ] ^ _",
            RUN,
        ),
        (
            "run -a stdlog busybox",
            "invalid argument \"stdlog\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
            RUN,
        ),
        ("ps --foo", "unknown flag: --foo", PS),
        ("ps -f", "flag needs an argument: 'f' in -f", PS),
        ("ps -n q", "invalid argument \"q\" for \"-n, --last\" flag: not a whole number that fits", PS),
        (
            "ps --filter q",
            "invalid argument \"q\" for \"-f, --filter\" flag: invalid filter: want name=value",
            PS,
        ),
    ] {
        check(&skiff, arguments, 125, "", &format!("{message}{tail}"));
    }
}

#[test]
fn wrong_counts_of_arguments_are_refused_as_docker_refuses_them() {
    let skiff = Skiff::new();
    for (arguments, complaint, usage) in [
        ("run", "'skiff run' requires at least 1 argument", "run [OPTIONS] IMAGE [COMMAND] [ARG...]"),
        ("rm", "'skiff rm' requires at least 1 argument", "rm [OPTIONS] CONTAINER [CONTAINER...]"),
        ("exec a", "'skiff exec' requires at least 2 arguments", "exec [OPTIONS] CONTAINER COMMAND [ARG...]"),
        ("ps x", "'skiff ps' accepts no arguments", "ps [OPTIONS]"),
        ("images a b", "'skiff images' requires at most 1 argument", "images [OPTIONS] [REPOSITORY[:TAG]]"),
        ("tag a", "'skiff tag' requires 2 arguments", "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"),
        (
            "container stop",
            "'skiff container stop' requires at least 1 argument",
            "container stop [OPTIONS] CONTAINER [CONTAINER...]",
        ),
    ] {
        let path = complaint.split('\'').nth(1).unwrap();
        let stderr = format!(
            "skiff: {complaint}\n\nUsage:  skiff {usage}\n\nRun '{path} --help' for more information\n"
        );
        check(&skiff, arguments, 1, "", &stderr);
    }
}

#[test]
fn unknown_commands_are_named_with_the_nearest_known_one() {
    let skiff = Skiff::new();
    for (arguments, stderr) in [
        (
            "pss",
            "skiff: unknown command: skiff pss\n\nDid you mean this?\n\tps\n\nRun 'skiff --help' for more information\n",
        ),
        (
            "frobnicate",
            "skiff: unknown command: skiff frobnicate\n\nRun 'skiff --help' for more information\n",
        ),
        (
            "image lss",
            "skiff: unknown command: skiff image lss\n\nDid you mean this?\n\tls\n\nRun 'skiff image --help' for more information\n",
        ),
        ("network ls", "skiff: skiff network is not supported yet: it comes with networks\n"),
    ] {
        check(&skiff, arguments, 1, "", stderr);
    }
    check(
        &skiff,
        "--foo ps",
        125,
        "",
        "unknown flag: --foo\n\nUsage:  skiff [OPTIONS] COMMAND [ARG...]\n\nRun 'skiff --help' for more information\n",
    );
}

#[test]
fn flags_of_later_versions_are_refused_by_name() {
    let skiff = Skiff::new();
    for (flag, message) in [
        ("-p 80:80", "--publish is not supported yet: it comes with networks"),
        ("--publish=80", "--publish is not supported yet: it comes with networks"),
        ("--volumes-from x", "--volumes-from is not supported yet: it comes with volumes"),
        ("--gpus all", "--gpus asks for what has a name here: --device nvidia.com/gpu=all"),
        ("--isolation x", "--isolation is about Windows containers"),
    ] {
        check(&skiff, &format!("run {flag} busybox"), 125, "", &format!("skiff: {message}\n"));
    }
    check(
        &skiff,
        "run --rm --restart always busybox",
        125,
        "",
        "skiff: conflicting options: cannot specify both --restart and --rm\n\nRun 'skiff run --help' for more information\n",
    );
    check(
        &skiff,
        "run -d -a stdout busybox",
        1,
        "",
        "skiff: conflicting options: cannot specify both --attach and --detach\n",
    );
}

#[test]
fn old_spellings_work_and_are_told_of() {
    let skiff = Skiff::with_busybox();
    let says = |words: &[&str], out: &str, notice: &str| {
        let done = skiff.run(words);
        assert!(done.code == 0 && done.stdout.ends_with(out), "{words:?}: {done:?}");
        assert_eq!(done.stderr, notice, "{words:?}");
    };
    let memory = "WARNING: --kernel-memory is deprecated and has no effect: the kernel counts its own memory to the limit of --memory\n";
    says(&["run", "--rm", "--kernel-memory", "64m", "busybox", "echo", "hi"], "hi\n", memory);
    says(&["run", "--rm", "--net", "none", "--disable-content-trust", "busybox", "echo", "hi"], "hi\n", "");
    says(&["run", "--rm", "--security-opt", "no-new-privileges:true", "busybox", "echo", "hi"], "hi\n", "");
    says(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"], "\n", "");
    says(&["update", "--kernel-memory", "64m", "--pids-limit", "50", "box"], "box\n", memory);
    let time = "Flag --time has been deprecated, use --timeout instead\n";
    says(&["restart", "--time", "0", "box"], "box\n", time);
    let pause =
        "Flag --pause has been deprecated: containers are frozen meanwhile, unless --no-pause is given\n";
    says(&["commit", "--pause=false", "box", "old"], "\n", pause);
    says(&["commit", "-p", "box", "old"], "\n", pause);
    says(&["stop", "--time=0", "box"], "box\n", time);
}

#[test]
fn help_goes_to_stdout_and_a_missing_command_to_stderr() {
    let skiff = Skiff::new();
    let asked = skiff.run(&["--help"]);
    assert_eq!((asked.code, asked.stderr.as_str()), (0, ""));
    assert!(asked.stdout.starts_with("Usage:  skiff [OPTIONS] COMMAND\n\n"), "{}", asked.stdout);
    for part in [
        "\nCommon Commands:\n  run  ",
        "\nManagement Commands:\n  builder  ",
        "\nGlobal Options:\n",
        "      --root string",
    ] {
        assert!(asked.stdout.contains(part), "{part:?} is not in {}", asked.stdout);
    }
    let bare: [&str; 0] = [];
    let missing = skiff.run(&bare);
    assert_eq!((missing.code, missing.stdout.as_str(), missing.stderr), (0, "", asked.stdout));

    let run = skiff.run(&["run", "--help", "--nonsense"]);
    assert_eq!(run.code, 0);
    assert!(
        run.stdout.starts_with("Usage:  skiff run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\n"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("\nAliases:\n  skiff container run, skiff run\n"), "{}", run.stdout);
    // `-h` is the host name in `run`, and help elsewhere.
    assert_eq!(skiff.run(&["run", "-h"]).code, 125);
    for (words, usage) in [
        (&["ps", "-h"][..], "Usage:  skiff ps [OPTIONS]\n"),
        (&["container", "-h"], "Usage:  skiff container COMMAND\n"),
        (&["-h"], "Usage:  skiff [OPTIONS] COMMAND\n"),
    ] {
        let helped = skiff.run(words);
        assert!(helped.code == 0 && helped.stdout.starts_with(usage), "{helped:?}");
        assert_eq!(helped.stderr, "Flag shorthand -h has been deprecated, use --help\n");
    }
    assert_eq!(skiff.ok(&["help", "ps"]), skiff.ok(&["ps", "--help"]));
    assert_eq!(skiff.ok(&["--version"]), format!("Skiff version {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_monitor_is_found_beside_the_program_or_in_libexec_and_nowhere_else() {
    use std::os::unix::fs::PermissionsExt;
    let skiff = Skiff::with_busybox();
    let place = |name: &str| skiff.folder().join(name);
    let program = skiff.command(&[""; 0]).get_program().to_owned();
    let monitor = std::path::Path::new(&program).with_file_name("skiff-monitor");
    for folder in ["prefix/bin", "prefix/libexec/skiff", "elsewhere"] {
        std::fs::create_dir_all(place(folder)).unwrap();
    }
    std::fs::copy(&program, place("prefix/bin/skiff")).unwrap();
    let run = || {
        let mut command = std::process::Command::new(place("prefix/bin/skiff"));
        command
            .args(["run", "--rm", "busybox", "echo", "it runs"])
            .env_clear()
            .current_dir(place("elsewhere"));
        command
            .env("SKIFF_ROOT", skiff.root())
            .env("SKIFF_RUN", skiff.run_folder())
            .env("PATH", place("elsewhere"));
        Output::of(command.output().unwrap())
    };
    // One that lies where others may choose is not taken.
    std::fs::write(place("elsewhere/skiff-monitor"), "#!/bin/sh\ntouch ran\n").unwrap();
    std::fs::set_permissions(place("elsewhere/skiff-monitor"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    let none = run();
    assert_eq!((none.code, none.stdout.as_str()), (125, ""), "{none:?}");
    assert!(
        none.stderr.starts_with("skiff: no skiff-monitor beside ") && !place("elsewhere/ran").exists(),
        "{none:?}"
    );
    std::fs::copy(&monitor, place("prefix/libexec/skiff/skiff-monitor")).unwrap();
    assert_eq!(run(), Output { code: 0, stdout: "it runs\n".to_owned(), stderr: String::new() });
    std::fs::rename(place("prefix/libexec/skiff/skiff-monitor"), place("prefix/bin/skiff-monitor")).unwrap();
    assert_eq!(run(), Output { code: 0, stdout: "it runs\n".to_owned(), stderr: String::new() });
}

#[test]
fn dates_are_shown_in_the_callers_zone() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "one", "busybox"]);
    let in_zone = |zone: &str, arguments: &[&str]| {
        let mut command = skiff.command(arguments);
        let output = Output::of(command.env("TZ", zone).output().unwrap());
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{zone} {arguments:?}: {output:?}");
        output.stdout
    };
    let (images, ps) = (["images", "--format", "{{.CreatedAt}}"], ["ps", "-a", "--format", "{{.CreatedAt}}"]);
    let history = ["history", "--format", "{{.CreatedAt}}", "busybox"];
    // The image of the tests is of 2026-01-02T03:04:05Z.
    assert_eq!(in_zone("America/New_York", &images), "2026-01-01 22:04:05 -0500 EST\n");
    assert_eq!(in_zone("Asia/Kolkata", &history), "2026-01-02T08:34:05+05:30\n");
    assert_eq!(in_zone("UTC", &history), "2026-01-02T03:04:05Z\n");
    assert!(in_zone("Asia/Kolkata", &ps).ends_with(" +0530 IST\n"));
    assert!(in_zone("Asia/Kolkata", &["ps", "-a", "--format", "json"]).contains(" +0530 IST\""));

    // Nobody writes into this one: reading it would take for ever.
    let pipe = skiff.folder().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let long = "x".repeat(100_000);
    for zone in [pipe.to_str().unwrap(), "/dev/zero", "../../etc/passwd", "\u{1b}[2J", &long] {
        assert_eq!(in_zone(zone, &images), "2026-01-02 03:04:05 +0000 UTC\n", "{zone:.40}");
    }
}

#[test]
fn times_without_a_zone_are_the_callers() {
    let skiff = Skiff::with_busybox();
    let pruned = |zone: &str| {
        let until = "until=2026-01-02T03:04:06";
        let mut command = skiff.command(&["image", "prune", "-af", "--filter", until]);
        Output::of(command.env("TZ", zone).output().unwrap()).stdout
    };
    // An hour ahead of UTC, that was before the image was made; an hour behind, after it.
    assert_eq!(pruned("UTC-1"), "Total reclaimed space: 0B\n");
    assert!(pruned("UTC+1").starts_with("Deleted Images:\n"));
}

#[test]
fn what_fails_behind_the_flags_has_dockers_exit_code() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "host", "busybox", "sh", "-c", "echo one; echo two; exec sleep 1000"]);
    let code = |arguments: &str| {
        let words: Vec<&str> = arguments.split(' ').collect();
        let output = skiff.run(&words);
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments}: {output:?}");
        output.code
    };
    for (arguments, want) in [
        // The flags are right, and the rest is not: a plain failure of `create`, and Skiff's of `run`.
        ("create --name host busybox", 1),
        ("create --pull never nosuch:9", 1),
        ("create --memory 1k busybox", 1),
        ("create --memory x busybox", 125),
        ("run --name host busybox", 125),
        ("exec host nope", 127),
        ("exec host /etc", 126),
        ("exec -u nobody2 host true", 126),
        ("exec -u app:nogroup2 host true", 126),
        ("exec -w /nodir host true", 126),
        ("exec -d host nope", 1),
        ("exec -d -u nobody2 host true", 1),
        ("logs --since foo host", 1),
        ("logs --until foo host", 1),
    ] {
        assert_eq!(code(arguments), want, "{arguments}");
    }
    assert_eq!(skiff.ok(&["logs", "--tail", "x", "host"]), "one\ntwo\n");
    assert_eq!(
        skiff.run(&["logs", "--since", "foo", "host"]).stderr,
        "skiff: invalid value for \"since\": failed to parse value as time or duration: \"foo\"\n"
    );
}
