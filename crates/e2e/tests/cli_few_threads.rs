//! Where no more threads are to be had, as the limit of a user's processes is reached: `load`, `pull`, `push` and `build` end with what to
//! do, never with a panic, and leave nothing; from some limit on they do without what they would like to have.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use testkit::{Output, Skiff, User, busybox, registry};

/// More than anybody needs.
const MANY: u32 = 64;
const FOLDERS: [&str; 5] = ["tmp", "layers", "blobs/sha256", "images", "trees"];

/// Runs it with so many processes and threads of its user at most.
fn limited((skiff, user): (&Skiff, &User), limit: u32, words: &[&str], input: &[u8]) -> Output {
    let plain = skiff.command(words);
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={}", user.uid()), format!("--regid={}", user.gid())]);
    command.args(["--clear-groups", "prlimit", &format!("--nproc={limit}:{limit}")]);
    command.arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(plain.get_current_dir().unwrap());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input)));
        Output::of(child.wait_with_output().unwrap())
    })
}

/// What is in some folders of the store.
fn stored(skiff: &Skiff, folders: &[&str]) -> Vec<PathBuf> {
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(skiff.root().join(folder)));
    let mut stored: Vec<PathBuf> = entries.flatten().map(|entry| entry.unwrap().path()).collect();
    stored.sort();
    stored
}

/// Has it done with one process more each time, until it is done; returns what it said each time before.
fn sweep((skiff, user): (&Skiff, &User), words: &[&str], input: &[u8]) -> Vec<String> {
    // Steps that are done stay done where later ones fail.
    let folders = if words[0] == "build" { &FOLDERS[..1] } else { &FOLDERS[..] };
    let (before, mut failures) = (stored(skiff, folders), Vec::new());
    for limit in 1..MANY {
        let output = limited((skiff, user), limit, words, input);
        let said = output.stderr;
        assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "{limit}: {said}");
        if output.code == 0 {
            return failures;
        }
        assert_eq!(output.code, 1, "{limit}: {said}");
        assert!(said.contains("Resource temporarily unavailable"), "{limit}: {said}");
        assert_eq!(stored(skiff, folders), before, "{limit}: {said}");
        assert_eq!(skiff.left_by_builds(&[]), "", "{limit}: {said}");
        failures.push(said);
    }
    panic!("{words:?} fails with {MANY} threads: {failures:?}");
}

#[test]
fn what_wants_more_threads_than_there_are_says_so_or_does_without() {
    let user = User::new();
    let (registry, _folder) = registry();
    let name = format!("{}/busybox:1", registry.address());
    let skiff = Skiff::of(&user).that_builds();
    let one = (&skiff, &user);

    let failures = sweep(one, &["load"], &busybox());
    let told = "Resource temporarily unavailable (os error 11); raise the limit of processes (ulimit -u, or pids.max of the control group)";
    assert!(failures[0].contains("start a thread to ") && failures[0].contains(told), "{failures:?}");

    skiff.ok(&["tag", "busybox", &name]);
    sweep(one, &["push", &name], b"");
    skiff.ok(&["rmi", "busybox", &name]);
    sweep(one, &["pull", &name], b"");

    let context = skiff.folder().join("context");
    std::fs::create_dir(&context).unwrap();
    let dockerfile = format!("FROM {name}\nCOPY Dockerfile /\nWORKDIR /w\n");
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let (out, context) = (skiff.folder().join("out.tar"), context.display().to_string());
    let out = format!("type=oci,dest={}", out.display());
    let failures = sweep(one, &["build", "--progress=plain", "-o", &out, &context], b"");
    assert!(failures[0].contains(told), "{failures:?}");
}
