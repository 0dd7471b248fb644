//! A build without a Dockerfile, for tests: trees from lines, copies, and trees as lines.
//!
//! ```text
//! d dir 755          f dir/file 644 content          l dir/link target
//! p pipe 600         h dir/hard dir/file             s socket
//! ```

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use build::{Cancel, Event, Record, Step};
use dockerfile::ignore::Matcher;
use dockerfile::lower::{CopyOp, RunOp, Selection};
use dockerfile::syntax::{Network, Security};
use image::LoadedLayer;
use image::view::{ROOT, What};
use oci::Digest;
use registry_client::{Client, Settings};
use testkit::Scratch;

use super::context::{Files, Hashes, Identity};
use super::copy;
use super::session::Session;
use super::tree::Tree;
use crate::request::Build;
use crate::{Config, Engine, KeptFor};

pub(super) struct World {
    pub(super) scratch: Scratch,
    engine: Engine,
    client: Client,
    pub(super) request: Build,
    pub(super) cancel: Cancel,
    pub(super) hashes: Arc<Remembered>,
}

/// An engine on a root of its own, without a monitor.
pub(super) fn engine(folder: &Path) -> Engine {
    Engine::open(Config {
        root: folder.join("root"),
        run: folder.join("run"),
        monitor: PathBuf::from("/nonexistent"),
        snapshotter: None,
        trace: None,
        cdi_folders: Vec::new(),
        kept_for: KeptFor::default(),
    })
    .unwrap()
}

impl World {
    pub(super) fn new() -> World {
        let scratch = Scratch::new();
        World {
            engine: engine(&scratch),
            client: Client::new(Settings::default()),
            request: Build::default(),
            cancel: Cancel::new(),
            hashes: Arc::default(),
            scratch,
        }
    }

    pub(super) fn session(&self) -> Session<'_> {
        Session::new(&self.engine, &self.client, &self.request, &self.cancel).unwrap()
    }

    /// A directory of these files.
    pub(super) fn directory(&self, name: &str, lines: &str) -> PathBuf {
        let directory = self.scratch.join(name);
        make(&directory, lines);
        directory
    }

    pub(super) fn open(&self, directory: &Path, ignored: &str) -> Tree {
        let ignored = Matcher::new(dockerfile::ignore::read(ignored.as_bytes())).unwrap();
        let hashes: Arc<dyn Hashes> = self.hashes.clone();
        let files = Files::open(directory, ("context", "nonce"), Some(&ignored), hashes).unwrap();
        Tree::Files(Arc::new(files))
    }

    pub(super) fn context(&self, name: &str, lines: &str) -> Tree {
        self.open(&self.directory(name, lines), "")
    }
}

/// Makes files.
pub(super) fn make(directory: &Path, lines: &str) {
    std::fs::create_dir_all(directory).unwrap();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(4, ' ');
        let (kind, path) = (words.next().unwrap(), directory.join(words.next().unwrap()));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).unwrap();
        }
        let third = words.next().unwrap_or_default();
        match kind {
            "d" => std::fs::create_dir_all(&path).unwrap(),
            "f" => std::fs::write(&path, words.next().unwrap_or_default()).unwrap(),
            "l" => std::os::unix::fs::symlink(third, &path).unwrap(),
            "h" => std::fs::hard_link(directory.join(third), &path).unwrap(),
            "p" => rustix::fs::mknodat(
                rustix::fs::CWD,
                &path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap(),
            "s" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            other => panic!("{other} is no kind of file"),
        }
        if matches!(kind, "d" | "f") {
            let mode = u32::from_str_radix(third, 8).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// `COPY [flags] source… destination`, of the context `inputs[1]` on the base `inputs[0]`. `ADD` unpacks.
pub(super) fn op(text: &str) -> CopyOp {
    let mut words = text.split_whitespace();
    let unpack = words.next() == Some("ADD");
    let mut op = CopyOp {
        selections: Vec::new(),
        destination: String::new(),
        owner: None,
        mode: None,
        exclude: Vec::new(),
    };
    let (mut parents, mut paths) = (false, Vec::new());
    for word in words {
        match word.split_once('=') {
            Some(("--chown", owner)) => op.owner = Some(owner.to_owned()),
            Some(("--chmod", mode)) => op.mode = Some(mode.to_owned()),
            Some(("--exclude", pattern)) => op.exclude.push(pattern.to_owned()),
            _ if word == "--parents" => parents = true,
            _ => paths.push(word.to_owned()),
        }
    }
    op.destination = paths.pop().unwrap();
    for path in paths {
        let rooted = |path: &str| dockerfile::ignore::clean(&format!("/{path}"));
        let (path, parents) = if parents {
            let (base, pattern) = path.split_once("/./").unwrap_or(("/", &path));
            (rooted(base), Some(rooted(pattern).trim_start_matches('/').to_owned()))
        } else {
            (rooted(&path), None)
        };
        op.selections.push(Selection { input: 1, path, parents, unpack, local: true });
    }
    op
}

pub(super) fn quiet(_: Event<'_>) {}

/// One more layer by copies, one a line.
pub(super) fn copied(session: &Session<'_>, base: &Tree, source: &Tree, lines: &str) -> crate::Result<Tree> {
    let mut tree = base.clone();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let inputs = [tree.clone(), source.clone()];
        let step = Step::new(0, session.cancel, &quiet);
        copy::content(session, &op(line), &inputs, &step)?;
        tree = with(&tree, copy::perform(session, &op(line), &inputs, &step)?);
    }
    Ok(tree)
}

/// The key of a copy.
pub(super) fn key(session: &Session<'_>, base: &Tree, source: &Tree, line: &str) -> crate::Result<Digest> {
    let step = Step::new(0, session.cancel, &quiet);
    copy::content(session, &op(line), &[base.clone(), source.clone()], &step)
}

pub(super) fn with(tree: &Tree, record: Record) -> Tree {
    tree.with(LoadedLayer { diff_id: record.layer, size: record.size, blob: None })
}

/// All files of a tree, a line each.
pub(super) fn listed(session: &Session<'_>, tree: &Tree) -> String {
    let view = session.merged(tree).unwrap();
    let mut text = String::new();
    list(&view, ROOT, "", &mut text);
    text
}

fn list(view: &image::View, directory: u32, path: &str, text: &mut String) {
    for (name, node) in view.children(directory) {
        let path = format!("{path}/{}", String::from_utf8_lossy(name));
        let named = view.named(node).unwrap();
        let what = match named.what {
            What::File(size) => {
                use std::os::unix::fs::FileExt as _;
                let mut content = vec![0; usize::try_from(size).unwrap()];
                if let Some((tar, extents)) = view.data(node) {
                    for extent in extents {
                        let start = usize::try_from(extent.offset).unwrap();
                        let end = start + usize::try_from(extent.length).unwrap();
                        tar.read_exact_at(&mut content[start..end], extent.source).unwrap();
                    }
                }
                let links = Some(view.links(named.inode)).filter(|links| *links > 1);
                let links = links.map(|links| format!(" ({links} links)")).unwrap_or_default();
                match String::from_utf8(content).map_err(|content| content.into_bytes().len()) {
                    Ok(content) if content.len() <= 40 => format!(" = {content}{links}"),
                    Ok(content) => format!(" = {} bytes{links}", content.len()),
                    Err(length) => format!(" = {length} bytes, no text{links}"),
                }
            }
            What::Directory => "/".to_owned(),
            What::Symlink(target) => format!(" -> {}", String::from_utf8_lossy(target)),
            What::CharDevice(_) => " (character device)".to_owned(),
            What::BlockDevice(_) => " (block device)".to_owned(),
            What::Fifo => " (pipe)".to_owned(),
        };
        writeln!(text, "{:04o} {}:{} {path}{what}", named.mode, named.uid, named.gid).unwrap();
        if named.what == What::Directory {
            list(view, node, &path, text);
        }
    }
}

/// An error with all that it says.
pub(super) fn words(error: &crate::Error) -> String {
    linux::chain(error)
}

/// A program of the shell.
pub(super) fn program(script: &str) -> RunOp {
    RunOp {
        platform: "linux/amd64".to_owned(),
        args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        mounts: Vec::new(),
        document: None,
        network: Network::None,
        security: Security::Sandbox,
        devices: Vec::new(),
        proxies: Vec::new(),
    }
}

/// Keeps digests as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<HashMap<Identity, Digest>>);

impl Hashes for Remembered {
    fn find(&self, files: &[Identity]) -> Vec<Option<Digest>> {
        let known = self.0.lock().unwrap();
        files.iter().map(|file| known.get(file).cloned()).collect()
    }

    fn keep(&self, files: &[(Identity, Digest)]) {
        let mut known = self.0.lock().unwrap();
        known.extend(files.iter().cloned());
    }

    fn forget(&self, file: &Identity) {
        self.0.lock().unwrap().remove(file);
    }
}
