//! An engine on a root of its own, with an image made from the distribution's static busybox.

#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "not every test file uses every fixture; tests handle their own files and may fail"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::info::LogLine;
use engine::request::{Create, Import, Logs, Remove, WaitFor};
use engine::{Config, Engine, Snapshotter};
#[allow(unused_imports, reason = "not every test file uses every fixture")]
pub(crate) use linux::chain;
use testkit::Scratch;

/// An engine whose root goes away with its test, after a check that nothing else stays.
pub(crate) struct Fixture {
    pub(crate) engine: Engine,
    pub(crate) base: PathBuf,
    _folder: Scratch,
}

impl Fixture {
    /// An engine without images.
    pub(crate) fn empty() -> Fixture {
        Fixture::with(None)
    }

    /// An engine with the image `busybox:latest`.
    pub(crate) fn new() -> Fixture {
        let fixture = Fixture::empty();
        fixture.import("busybox", &[]);
        fixture
    }

    pub(crate) fn with(snapshotter: Option<Snapshotter>) -> Fixture {
        assert!(rustix::process::geteuid().is_root(), "this test needs root: it runs containers");
        let folder = Scratch::new();
        let base = folder.to_path_buf();
        let engine = Engine::open(config(&base, snapshotter)).unwrap();
        Fixture { engine, base, _folder: folder }
    }

    /// A second handle on the same root, as another process would have it.
    pub(crate) fn again(&self) -> Engine {
        Engine::open(config(&self.base, None)).unwrap()
    }

    /// Imports the busybox tree as an image.
    pub(crate) fn import(&self, name: &str, changes: &[&str]) -> String {
        let tar = busybox_tar();
        let request = Import {
            reference: Some(name.to_owned()),
            changes: changes.iter().map(|text| (*text).to_owned()).collect(),
            source: "-".to_owned(),
            ..Import::default()
        };
        self.engine.import(&mut &tar[..], &request).unwrap().id
    }

    /// A request for `sh -c script`.
    pub(crate) fn shell(script: &str) -> Create {
        let mut create = Create { image: "busybox".to_owned(), ..Create::default() };
        create.process.command = ["sh", "-c", script].map(str::to_owned).to_vec();
        create
    }

    /// Runs to the end: exit code, and output with errors behind it.
    pub(crate) fn output(&self, request: &Create) -> (i32, String) {
        let started = self.engine.run(request, None).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let code = self.engine.wait(started.id.as_str(), WaitFor::NotRunning).unwrap();
        let text = self.log(started.id.as_str());
        self.engine.remove(started.id.as_str(), &Remove::default()).unwrap();
        (code, text)
    }

    /// What a container has printed so far.
    pub(crate) fn log(&self, name: &str) -> String {
        let mut text = Vec::new();
        let mut sink = |line: Option<LogLine<'_>>| {
            line.inspect(|line| text.extend_from_slice(line.text));
            true
        };
        self.engine.logs(name, &Logs::default(), &mut sink).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Waits until a container has printed `text`.
    pub(crate) fn wait_for(&self, name: &str, text: &str) {
        eventually(&format!("{name} prints {text:?}"), || self.log(name).contains(text));
    }
}

impl Fixture {
    /// What the run directory holds that should not be there when nothing runs.
    fn unknown(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.base.join("run"));
        let names = entries.into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| {
                !["events.log", "images", "root", "snapshotter", "seccomp"].contains(&name.as_str())
            })
            .collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        for container in
            self.engine.list(&engine::request::List { all: true, last: None }).unwrap_or_default()
        {
            drop(self.engine.remove(container.id.as_str(), &Remove { force: true, ..Remove::default() }));
        }
        // A monitor goes after its container's end was told.
        let start = Instant::now();
        while !self.unknown().is_empty() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let unknown = self.unknown();
        let containers = std::fs::read_dir(self.base.join("root/containers")).map_or(0, Iterator::count);
        if !std::thread::panicking() {
            assert!(unknown.is_empty(), "left in the run directory: {unknown:?}");
            assert_eq!(containers, 0, "left in containers/");
        }
    }
}

pub(crate) fn config(base: &Path, snapshotter: Option<Snapshotter>) -> Config {
    let monitor = testkit::programs().join("skiff-monitor");
    assert!(monitor.exists(), "build the monitor first: cargo build -p monitor");
    Config {
        root: base.join("root"),
        run: base.join("run"),
        monitor,
        snapshotter,
        trace: None,
        cdi_folders: Vec::new(),
        kept_for: engine::KeptFor::default(),
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came to be that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A root file system of busybox with the users root and app.
pub(crate) fn busybox_tar() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("install busybox-static");
    let mut tar = tar::Builder::new(Vec::new());
    let mut entry = |path: &str, kind: tar::EntryType, mode: u32, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        if link.is_empty() {
            tar.append_data(&mut header, path, content).unwrap();
        } else {
            tar.append_link(&mut header, path, link).unwrap();
        }
    };
    let (directory, file, link) =
        (tar::EntryType::Directory, tar::EntryType::Regular, tar::EntryType::Symlink);
    for path in ["bin/", "etc/", "dev/", "proc/", "sys/", "root/", "home/"] {
        entry(path, directory, 0o755, "", b"");
    }
    entry("tmp/", directory, 0o1777, "", b"");
    entry("bin/busybox", file, 0o755, "", &busybox);
    for name in [
        "sh", "true", "false", "cat", "ls", "echo", "sleep", "id", "env", "hostname", "ps", "stat", "kill",
        "pwd", "mount", "touch", "mkdir", "ip", "dd", "seq", "nc", "ipcs",
    ] {
        entry(&format!("bin/{name}"), link, 0o777, "busybox", b"");
    }
    entry("bin/plain", file, 0o644, "", b"not a program");
    entry(
        "etc/passwd",
        file,
        0o644,
        "",
        b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home:/bin/sh\n",
    );
    entry("etc/group", file, 0o644, "", b"root:x:0:\napp:x:1000:\nextra:x:2000:app\nmore:x:3000:\n");
    tar.into_inner().unwrap()
}
