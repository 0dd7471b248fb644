//! Repositories that git makes and serves, and what a checkout of them holds.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests start programs and handle their own files"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use git::{Checkout, Entry, EntryKind, Error, Git, Limits, Request, Serves, Ssh, SshProgram};
use registry_client::{Client, Patience, Settings};
use testkit::{Peer, Scratch, git_backend};

/// Runs git in a folder, with an identity and a time that are always the same, and without anybody's configuration.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    git_with(folder, arguments, b"")
}

pub fn git_with(folder: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(folder)
        .args(["-c", "protocol.file.allow=always", "-c", "core.autocrlf=false", "-c", "gc.auto=0"])
        .args(arguments)
        .envs([
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@b"),
            ("GIT_AUTHOR_DATE", "1700000000 +0000"),
        ])
        .envs([("GIT_COMMITTER_NAME", "C"), ("GIT_COMMITTER_EMAIL", "c@d")])
        .envs([("GIT_COMMITTER_DATE", "1700000000 +0000"), ("HOME", "/nonexistent")])
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_SYSTEM", "/dev/null"), ("LC_ALL", "C")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("git is needed (scripts/install-packages test)");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A folder of repositories.
pub struct Shelf {
    pub scratch: Scratch,
}

impl Shelf {
    pub fn new() -> Shelf {
        Shelf { scratch: Scratch::new() }
    }

    /// A new repository with a first commit of some files.
    pub fn repository(&self, name: &str) -> PathBuf {
        self.repository_of(name, "sha1")
    }

    pub fn repository_of(&self, name: &str, format: &str) -> PathBuf {
        let folder = self.scratch.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        git(&folder, &["init", "-q", "-b", "main", "--object-format", format, "."]);
        write(&folder, "README", name.as_bytes());
        commit(&folder, "first");
        folder
    }

    /// Serves all of them by `git http-backend`.
    pub fn serve(&self) -> Peer {
        let root = self.scratch.to_path_buf();
        Peer::serve(move |seen| git_backend(&root, seen))
    }
}

pub fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

pub fn link(folder: &Path, name: &str, target: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

/// Commits all there is, and gives the commit.
pub fn commit(folder: &Path, message: &str) -> String {
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "--allow-empty", "-m", message]);
    git(folder, &["rev-parse", "HEAD"])
}

pub fn client() -> Client {
    let patience = Patience {
        connect: Duration::from_secs(5),
        silence: Duration::from_secs(20),
        attempts: 4,
        first: Duration::from_millis(10),
        longest: Duration::from_millis(40),
        longest_asked: Duration::from_secs(2),
    };
    Client::new(Settings { patience, ..Settings::default() })
}

/// A file without a name.
pub fn spool() -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    const O_TMPFILE: i32 = 0o20_200_000;
    let folder = std::env::temp_dir();
    std::fs::OpenOptions::new().read(true).write(true).custom_flags(O_TMPFILE).open(folder)
}

/// Nothing is fetched over ssh.
pub const NO_SSH: Ssh<'static> = Ssh { program: &SshProgram::Ssh, agent: None, serves: Serves::Nothing };

/// What repositories are fetched with here, and never cancelled.
pub fn git_of<'a>(client: &'a Client, secret: &'a dyn Fn(&str) -> Option<String>) -> Git<'a> {
    Git { client, spool: &spool, secret, ssh: NO_SSH, is_cancelled: &|| false, limits: Limits::default() }
}

pub fn request(peer: &Peer, name: &str) -> Request {
    Request { remote: format!("http://{}/{name}", peer.address()), submodules: true, ..Request::default() }
}

/// All that a checkout holds: what each path is.
pub type Files = BTreeMap<String, String>;

pub fn files(request: &Request) -> Result<Files, Error> {
    files_with(request, Limits::default(), &|_| None)
}

pub fn files_with(
    request: &Request,
    limits: Limits,
    secret: &dyn Fn(&str) -> Option<String>,
) -> Result<Files, Error> {
    let client = client();
    let git = Git { limits, ..git_of(&client, secret) };
    let revision = git.resolve(request)?;
    let mut checkout = git.fetch(request, &revision)?;
    listed(&mut checkout)
}

pub fn listed(checkout: &mut Checkout<'_>) -> Result<Files, Error> {
    let mut files = Files::new();
    checkout.visit(|Entry { path, mode, kind }| -> Result<(), Error> {
        let told = match kind {
            EntryKind::Directory => format!("{mode:o} directory"),
            EntryKind::Link { target } => format!("{mode:o} -> {}", String::from_utf8_lossy(target)),
            EntryKind::File { size, content } => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(|error| error.downcast::<Error>().unwrap())?;
                assert_eq!(bytes.len() as u64, size);
                format!("{mode:o} {}", shown(&bytes))
            }
        };
        let path = String::from_utf8_lossy(path).into_owned();
        let folder = path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        assert!(
            folder.is_none_or(|folder| files.get(&folder).is_some_and(|told| told.ends_with(" directory")))
        );
        assert_eq!(files.insert(path.clone(), told), None, "{path} comes twice");
        Ok(())
    })?;
    Ok(files)
}

fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=40 => String::from_utf8_lossy(bytes).into_owned(),
        _ => testkit_digest(bytes),
    }
}

fn testkit_digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let hash = sha2::Sha256::digest(bytes);
    format!("{} bytes {}", bytes.len(), hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// What git itself has in a folder's files.
pub fn of_folder(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(current) = folders.pop() {
        for entry in std::fs::read_dir(current).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap() == ".git" {
                continue;
            }
            let metadata = path.symlink_metadata().unwrap();
            let told = if metadata.is_dir() {
                folders.push(path.clone());
                "755 directory".to_owned()
            } else if metadata.is_symlink() {
                format!("777 -> {}", std::fs::read_link(&path).unwrap().display())
            } else {
                let mode = if metadata.permissions().mode() & 0o100 == 0 { "644" } else { "755" };
                let mut bytes = Vec::new();
                File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
                format!("{mode} {}", shown(&bytes))
            };
            files.insert(path.strip_prefix(folder).unwrap().to_string_lossy().into_owned(), told);
        }
    }
    files
}

/// What git checks out of a folder's commit.
pub fn of_git(repository: &Path, reference: &str) -> Files {
    let scratch = Scratch::new();
    let folder = scratch.join("clone");
    let path = folder.to_str().unwrap();
    git(repository, &["clone", "-q", "--no-checkout", ".", path]);
    git(&folder, &["checkout", "-q", &git(repository, &["rev-parse", reference])]);
    of_folder(&folder)
}

/// Writes a checkout to a folder.
pub fn unpack(checkout: &mut Checkout<'_>, folder: &Path) {
    checkout
        .visit(|Entry { path, mode, kind }| -> Result<(), Error> {
            use std::os::unix::ffi::OsStrExt as _;
            let path = folder.join(std::ffi::OsStr::from_bytes(path));
            match kind {
                EntryKind::Directory => std::fs::create_dir(&path).unwrap(),
                EntryKind::Link { target } => symlink(std::ffi::OsStr::from_bytes(target), &path).unwrap(),
                EntryKind::File { content, .. } => {
                    let mut file = File::create_new(&path).unwrap();
                    std::io::copy(content, &mut file).unwrap();
                    file.set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
                }
            }
            Ok(())
        })
        .unwrap();
}

/// An error with its causes.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Bytes that no two places have alike.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(step).collect()
}
