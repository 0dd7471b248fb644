//! Against servers that are reached by a connection of its own: `git daemon`, and git behind a real `sshd`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Files, Shelf, client, commit, git, listed, noise, of_git, told, write};
use git::{Error, Git, Request, Serves, Ssh, SshProgram};
use registry_client::{Client, Patience, Settings};
use testkit::{Sshd, git_daemon, wait_until};

fn request(remote: String) -> Request {
    Request { remote, submodules: true, ..Request::default() }
}

fn files(request: &Request, ssh: Ssh<'_>) -> Result<Files, Error> {
    let client = client();
    let git = Git { ssh, ..common::git_of(&client, &|_| None) };
    let revision = git.resolve(request)?;
    let mut checkout = git.fetch(request, &revision)?;
    listed(&mut checkout)
}

fn shell(command: String) -> SshProgram {
    SshProgram::Shell(command.into())
}

fn by(program: &SshProgram) -> Ssh<'_> {
    Ssh { program, agent: None, serves: Serves::All }
}

fn full(shelf: &Shelf, name: &str) -> std::path::PathBuf {
    let folder = shelf.repository(name);
    write(&folder, "a/large", &noise(3 << 20, 7));
    for number in 0..50 {
        write(&folder, &format!("many/{number}"), format!("{number}\n").repeat(number).as_bytes());
    }
    commit(&folder, "second");
    git(&folder, &["tag", "-a", "-m", "one", "v1"]);
    write(&folder, "later", b"x");
    commit(&folder, "third");
    folder
}

#[test]
fn a_daemon_gives_what_git_checks_out() {
    let shelf = Shelf::new();
    let folder = full(&shelf, "a b.git");
    let daemon = git_daemon(&shelf.scratch);
    let at = |name: &str| format!("git://{}/{name}", daemon.address());
    assert_eq!(files(&request(at("a%20b.git")), common::NO_SSH).unwrap(), of_git(&folder, "main"));
    assert_eq!(daemon.connections(), 2, "to find it, and to fetch it");
    let tag = Request { reference: Some("v1".to_owned()), ..request(at("a b.git")) };
    assert_eq!(files(&tag, common::NO_SSH).unwrap(), of_git(&folder, "v1"));
    let error = told(&files(&request(at("none.git")), common::NO_SSH).unwrap_err());
    assert!(error.contains("the server refuses") && error.contains("/none.git"), "{error}");
}

#[test]
fn servers_behind_ssh_give_what_git_checks_out_in_both_versions() {
    let shelf = Shelf::new();
    let folder = full(&shelf, "it's a!.git");
    for lets_version_in in [false, true] {
        let sshd = Sshd::start(lets_version_in);
        let program = shell(sshd.command());
        let remote = sshd.address(&folder);
        assert_eq!(files(&request(remote.clone()), by(&program)).unwrap(), of_git(&folder, "main"));
        for (reference, name) in
            [("v1", "v1"), ("refs/heads/main", "main"), (&git(&folder, &["rev-parse", "main"]), "main")]
        {
            let named = Request { reference: Some(reference.to_owned()), ..request(remote.clone()) };
            assert_eq!(files(&named, by(&program)).unwrap(), of_git(&folder, name), "{reference}");
        }
        let error = told(&files(&request(format!("{remote}x")), by(&program)).unwrap_err());
        assert!(
            error.contains("ends with status 128") && error.contains("not appear to be a git"),
            "{error}"
        );
    }
}

#[test]
fn an_agent_serves_and_nothing_else_is_asked() {
    let shelf = Shelf::new();
    let folder = full(&shelf, "a.git");
    let sshd = Sshd::start(true);
    let agent = sshd.agent();
    let remote = sshd.address(&folder);
    let program = shell(sshd.command_without_key());
    let with_agent = Ssh { agent: Some(agent.socket()), ..by(&program) };
    assert_eq!(files(&request(remote.clone()), with_agent).unwrap(), of_git(&folder, "main"));
    let error = told(&files(&request(remote.clone()), by(&program)).unwrap_err());
    assert!(error.contains("Permission denied") && error.contains("--ssh default"), "{error}");
    let stranger = shell(sshd.command_of_a_stranger());
    let error = told(&files(&request(remote.clone()), by(&stranger)).unwrap_err());
    assert!(error.contains("Host key verification failed") && error.contains("known_hosts"), "{error}");
    assert!(!error.contains('@'), "nothing of who we are: {error}");
    let missing = SshProgram::Path("/nonexistent/ssh".into());
    let error = told(&files(&request(remote), by(&missing)).unwrap_err());
    assert!(error.contains("start /nonexistent/ssh") && error.contains("No such file"), "{error}");
}

#[test]
fn keys_are_for_what_the_caller_says() {
    let shelf = Shelf::new();
    let library = shelf.repository("library.git");
    let folder = shelf.repository("a.git");
    let sshd = Sshd::start(false);
    let program = shell(sshd.command());
    let id = git(&library, &["rev-parse", "main"]);
    write(&folder, ".gitmodules", b"[submodule \"l\"]\npath = l\nurl = ../library.git\n");
    let commit_modules = || {
        git(&folder, &["add", ".gitmodules"]);
        git(&folder, &["update-index", "--add", "--cacheinfo", &format!("160000,{id},l")]);
        git(&folder, &["commit", "-q", "-m", "with a submodule"]);
    };
    commit_modules();
    let peer = shelf.serve();
    let by_ssh = request(sshd.address(&folder));
    let all = files(&by_ssh, by(&program)).unwrap();
    assert_eq!(all["l/README"], "644 library.git");
    let named = Ssh { serves: Serves::Named, ..by(&program) };
    let before = sshd.connections();
    let error = told(&files(&by_ssh, named).unwrap_err());
    assert!(error.contains("submodule \"l\"") && error.contains("--ssh default"), "{error}");
    assert_eq!(sshd.connections(), before + 2, "nobody has asked for the submodule");
    let without = Request { submodules: false, ..by_ssh.clone() };
    assert_eq!(files(&without, named).unwrap()["README"], "644 a.git");
    let error = told(&files(&by_ssh, common::NO_SSH).unwrap_err());
    assert!(error.contains("what a Dockerfile or a bake file names"), "{error}");
    // One of the web that leads there leads nowhere.
    let text = format!("[submodule \"l\"]\npath = l\nurl = {}\n", sshd.address(&library));
    write(&folder, ".gitmodules", text.as_bytes());
    commit_modules();
    let by_web = common::request(&peer, "a.git");
    let before = sshd.connections();
    let error = told(&files(&by_web, named).unwrap_err());
    assert!(error.contains("a submodule uses your keys of ssh only"), "{error}");
    assert_eq!(sshd.connections(), before);
    assert_eq!(files(&by_web, by(&program)).unwrap()["l/README"], "644 library.git");
}

#[test]
fn what_a_server_says_beside_does_nothing_to_a_terminal() {
    let talks = shell("sh -c 'printf \"\\033[2Jyou are \\033[31mowned\\r\\n\" >&2; exit 3' #".to_owned());
    let error = told(&files(&request("git@host:a".to_owned()), by(&talks)).unwrap_err());
    assert!(error.contains("ends with status 3") && error.contains("owned"), "{error}");
    assert!(!error.chars().any(char::is_control), "{error:?}");
    // Words without end are no reason to keep them, and none to wait for their end.
    let floods =
        shell("sh -c 'head -c 50000000 /dev/zero | tr \"\\0\" x >&2; echo last >&2; exit 1' #".to_owned());
    let error = told(&files(&request("git@host:a".to_owned()), by(&floods)).unwrap_err());
    assert!(error.len() < 2000 && error.contains("status 1"), "{error}");
}

/// Whether a process runs that has this word among its arguments.
fn runs(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let text = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&text).contains(word)
    })
}

#[test]
fn who_does_not_want_it_any_more_waits_for_nobody_and_leaves_no_program() {
    let word = format!("skiff-silent-{}", std::process::id());
    // It starts another, and neither ends by itself.
    let silent = shell(format!("sh -c 'sleep 1000 & : {word}; wait' {word} #"));
    let cancelled = AtomicBool::new(false);
    let is_cancelled = || cancelled.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let client = client();
            let git =
                Git { ssh: by(&silent), is_cancelled: &is_cancelled, ..common::git_of(&client, &|_| None) };
            git.resolve(&request("git@host:a".to_owned())).unwrap_err()
        });
        wait_until("the program runs", || runs(&word));
        cancelled.store(true, Ordering::SeqCst);
        let error = asked.join().unwrap();
        assert!(matches!(error.root(), Error::Cancelled), "{error:?}");
    });
    // It was killed before its caller has gone on, with what it had started; the kernel may take a moment.
    wait_until("nothing of the program is left", || !runs(&word));
}

#[test]
fn a_long_silence_is_an_end() {
    let patience = Patience { silence: Duration::from_millis(300), ..Patience::default() };
    let client = Client::new(Settings { patience, ..Settings::default() });
    let git = common::git_of(&client, &|_| None);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    let remote = format!("git://{}/a", listener.local_addr().unwrap());
    let error = git.resolve(&request(remote)).unwrap_err();
    assert!(matches!(error.root(), Error::Silent { .. }), "{error:?}");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    // Nobody listens there, nor will another test.
    let error = told(&git.resolve(&request("git://127.0.0.1:1/a".to_owned())).unwrap_err());
    assert!(error.contains("connect to 127.0.0.1") && error.contains("refused"), "{error}");
}

/// A server that says the same to everybody, once it has heard something.
fn says(text: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            drop(stream.read(&mut [0; 1000]));
            drop(stream.write_all(text));
        }
    });
    format!("git://{address}/a")
}

#[test]
fn servers_that_talk_nonsense_are_errors_and_no_more() {
    for (text, want) in [
        (&b""[..], "connect to"),
        (b"000", "unexpected end of file"),
        (b"zzzz", "a packet of length"),
        (b"fff1", "a packet of 65521 bytes"),
        (b"000aversio0000", "no version"),
        (b"000eversion 2\n0000", "does not know the command ls-refs"),
        (b"000eversion 2\n000cls-refs\n0000003eERR \x1b]0;title\x07 no such thing as this one here for you\n\n\n\n\n", "refuses"),
        (b"0030ERR access denied or repository not exported", "refuses"),
    ] {
        let error = told(&files(&request(says(text)), common::NO_SSH).unwrap_err());
        assert!(error.contains(want), "{:?}: {error}", String::from_utf8_lossy(text));
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
}

#[test]
fn what_is_kept_for_others_tells_no_user() {
    let named = |remote: &str| git::identity(remote, false).unwrap();
    assert_eq!(named("git@host:a/b.git"), named("https://token@host/a/b.git"));
    assert_eq!(named("http://me@host/a/b.git"), named("git://host/a/b.git"));
    assert_ne!(named("ssh://host/a/b.git"), named("git://host/a/b.git"));
    assert_ne!(named("ssh://host:2222/a/b.git"), named("ssh://host/a/b.git"));
    assert!(!git::identity("git@host:a/b.git", true).unwrap().contains("git@"));
}
