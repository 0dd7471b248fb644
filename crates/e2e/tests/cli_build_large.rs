//! Builds that somebody has made to be too much, and contexts with what no context should have: within bounds of memory, with a
//! result or an error that says what is wrong.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod building;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use building::{Workshop, cached};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use testkit::Output;

/// Runs a build to its end; also the most memory that it had, in KiB.
fn measured(workshop: &Workshop, words: &[String], stdin: Stdio) -> (Output, u64) {
    let mut command = workshop.skiff.command(words);
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watcher = std::thread::spawn(move || {
        let mut most = 0;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            // One that has ended has no memory, until its end is taken notice of.
            let Some(line) = line else { break };
            most = line.trim().trim_end_matches(" kB").parse().unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        most
    });
    drop(child.stdin.take());
    let output = Output::of(child.wait_with_output().unwrap());
    (output, watcher.join().unwrap())
}

#[test]
fn ten_thousand_stages_are_built_as_far_as_they_are_needed() {
    let mut text = String::from("FROM scratch AS s0\nCOPY x /x\n");
    for number in 1..10_000 {
        let before = number - 1;
        text.push_str(&match number % 100 {
            // A long way down, with a layer now and then.
            0 => format!("FROM s{before} AS s{number}\nCOPY --from=s{} /x /made/{number}\n", number / 2),
            50 => format!("FROM s{before} AS s{number}\nENV N={number}\n"),
            _ => format!("FROM s{before} AS s{number}\n"),
        });
    }
    let workshop = Workshop::new(&text);
    workshop.write("x", "x");
    let words = workshop.words(&["-t", "made"]);
    let (output, most) = measured(&workshop, &words, Stdio::null());
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(most < 400 << 10, "{most} KiB");
    assert_eq!(workshop.skiff.said("{{index .Config.Env 1}} {{len .RootFS.Layers}}", "made"), "N=9950 100");
    let again = workshop.build(&[]);
    assert_eq!(cached(&again), 100);
    // Of those of which nothing is needed, nothing is done.
    let early = workshop.build(&["--target", "s50"]);
    assert_eq!(cached(&early), 1, "{early}");
}

#[test]
fn ten_thousand_stages_side_by_side_are_no_more_work_than_one() {
    let mut text = String::new();
    for number in 0..10_000 {
        text.push_str(&format!("FROM scratch AS s{number}\nCOPY x /{number}\n"));
    }
    text.push_str("FROM scratch\nCOPY --from=s1 / /\nCOPY --from=s9999 / /\n");
    let workshop = Workshop::new(&text);
    workshop.write("x", "x");
    let (output, most) = measured(&workshop, &workshop.words(&["-t", "made"]), Stdio::null());
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(most < 400 << 10, "{most} KiB");
    assert!(!output.stderr.contains("s5000"), "{}", output.stderr);
}

#[test]
fn a_dockerfile_of_a_hundred_megabytes_is_refused_before_it_is_read() {
    let workshop = Workshop::new("FROM scratch\n");
    let large = workshop.beside("large");
    let file = std::fs::File::create(&large).unwrap();
    file.set_len(100 << 20).unwrap();
    let context = workshop.context.to_str().unwrap();
    let words = |words: &[&str]| -> Vec<String> {
        [&["build", "--progress=plain"], words].concat().into_iter().map(str::to_owned).collect()
    };
    let stdin = || Stdio::from(std::fs::File::open(&large).unwrap());
    std::fs::hard_link(&large, workshop.context.join("Large")).unwrap();
    for (words, stdin) in [
        (words(&["-f", &large, context]), Stdio::null()),
        (words(&["-f", "-", context]), stdin()),
        (words(&["-"]), stdin()),
        (words(&["--check", "-f", &large, context]), Stdio::null()),
        (words(&["-f", &format!("{context}/Large"), context]), Stdio::null()),
    ] {
        let (output, most) = measured(&workshop, &words, stdin);
        assert_eq!(output.code, 1, "{words:?}: {}", output.stderr);
        assert!(output.stderr.contains("16777216"), "{words:?}: {}", output.stderr);
        assert!(most < 120 << 10, "{words:?}: {most} KiB");
    }
}

#[test]
fn the_largest_dockerfile_is_read_within_bounds() {
    const LIMIT: usize = 16 << 20;
    let filled = |begin: &str, line: &str| {
        let mut text = String::from(begin);
        while text.len() + line.len() <= LIMIT {
            text.push_str(line);
        }
        text
    };
    for (text, what) in [
        (
            filled("FROM scratch\nCOPY Dockerfile /\n", "# nothing but words, again and again, to the end\n"),
            "",
        ),
        (filled("FROM scratch\nCOPY x /\n", "ENV A=$A\n"), ""),
        (filled("FROM scratch\nCOPY x /\nENV A=", "${A:-"), "1"),
        (filled("FROM scratch\nRUN <<E\n", "text\n"), "unterminated heredoc"),
        (filled("FROM scratch\nCOPY x /\nLABEL", " a=b"), ""),
        (filled("", "FROM scratch\n"), ""),
        (filled("FROM scratch\nCOPY", " x"), ""),
        (filled("", "x\n"), "unknown instruction: x"),
    ] {
        let workshop = Workshop::new(&text);
        workshop.write("x", "x");
        let (output, most) = measured(&workshop, &workshop.words(&["--progress=quiet"]), Stdio::null());
        let begin = &text[..40];
        assert!(
            output.code <= 1,
            "{begin:?}: {} {}",
            output.code,
            &output.stderr[..output.stderr.len().min(2000)]
        );
        assert!(what.is_empty() || output.stderr.contains(what), "{begin:?}: {}", output.stderr.len());
        assert!(output.stderr.len() < 1 << 20, "{begin:?}: {} bytes of words", output.stderr.len());
        assert!(most < 512 << 10, "{begin:?}: {most} KiB");
    }
}

#[test]
fn what_no_context_should_have_is_copied_as_it_is_or_named() {
    let workshop = Workshop::new("FROM busybox\nCOPY . /all/\n");
    let path = |name: &str| workshop.context.join(name);
    mknodat(CWD, path("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let null = rustix::fs::makedev(1, 3);
    mknodat(CWD, path("device"), FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, null).unwrap();
    std::os::unix::fs::symlink("loop", path("loop")).unwrap();
    std::os::unix::fs::symlink(".", path("here")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path("absolute")).unwrap();
    std::os::unix::fs::symlink("../../../../../../etc/passwd", path("relative")).unwrap();
    workshop.write("etc/passwd", "the context's own");
    workshop.build(&[]);
    let listed = workshop.in_image(
        "cd /all; stat -c '%F' pipe device; for link in loop here absolute relative; do readlink $link; done",
    );
    assert_eq!(listed, "fifo\ncharacter special file\nloop\n.\n/etc/passwd\n../../../../../../etc/passwd\n");
    // Who names one of them gets what it leads to within the context, and never more.
    for (dockerfile, word) in [
        ("FROM scratch\nCOPY loop /x\n", "too many levels of symbolic links"),
        ("FROM scratch\nCOPY loop/x /x\n", "too many levels of symbolic links"),
        ("FROM scratch\nCOPY pipe/x /x\n", "not found"),
        ("FROM scratch\nCOPY here/here/here/missing /x\n", "not found"),
    ] {
        workshop.write("Dockerfile", dockerfile);
        let said = workshop.fails(&[], &[word]);
        assert!(said.contains("COPY"), "{said}");
    }
    for name in ["absolute", "relative", "here/here/relative"] {
        workshop.write("Dockerfile", format!("FROM scratch\nCOPY {name} /x\n"));
        let out = workshop.beside("out");
        workshop.build(&["-o", &out]);
        assert_eq!(std::fs::read_to_string(Path::new(&out).join("x")).unwrap(), "the context's own");
    }
    // Neither is a Dockerfile, nor an ignore file; and no pipe is waited for.
    for name in ["pipe", "device", "loop"] {
        let file = path(name);
        let output =
            workshop.skiff.run(&["build", "-f", file.to_str().unwrap(), workshop.context.to_str().unwrap()]);
        assert_eq!(output.code, 1, "{}", output.stderr);
        assert!(output.stderr.contains(name), "{}", output.stderr);
        std::fs::rename(&file, path(".dockerignore")).unwrap();
        if name == "loop" {
            std::fs::remove_file(path(".dockerignore")).unwrap();
            std::os::unix::fs::symlink(".dockerignore", path(".dockerignore")).unwrap();
        }
        workshop.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
        workshop.fails(&[], &[".dockerignore"]);
        std::fs::remove_file(path(".dockerignore")).unwrap();
    }
}
