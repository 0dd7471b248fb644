//! Programs of builds, run by the real monitor over a tiny image.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

mod basics;
mod mounts;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use build::{Cancel, Event, Record, Step, Stream};
use dockerfile::lower::RunOp;
use dockerfile::syntax::{Network, Security};
use image::LoadedLayer;
use registry_client::{Client, Settings};
use testkit::Scratch;

use super::{content, perform};
use crate::build::session::Session;
use crate::build::tree::Tree;
use crate::build::world::program as shell;
use crate::request::Build;
use crate::{Config, Engine, Error, KeptFor, Snapshotter};

/// An engine on a root of its own.
struct Site {
    engine: Engine,
    client: Client,
    request: Build,
    cancel: Cancel,
    folder: Scratch,
}

/// What came of a program.
struct Outcome {
    record: Result<Record, Error>,
    said: Vec<(Stream, String)>,
}

impl Site {
    fn new() -> Site {
        Site::with(None)
    }

    fn with(snapshotter: Option<Snapshotter>) -> Site {
        assert!(rustix::process::geteuid().is_root(), "this test needs root: it runs containers");
        let folder = Scratch::new();
        let monitor = testkit::programs().join("skiff-monitor");
        assert!(monitor.exists(), "build the monitor first: cargo build -p monitor");
        let config = Config {
            root: folder.join("root"),
            run: folder.join("run"),
            monitor,
            snapshotter,
            trace: std::env::var_os("SKIFF_TEST_TRACE").map(PathBuf::from),
            cdi_folders: vec![folder.join("cdi")],
            kept_for: KeptFor::default(),
        };
        let engine = Engine::open(config).unwrap();
        let client = Client::new(Settings::default());
        Site { engine, client, request: Build::default(), cancel: Cancel::new(), folder }
    }

    fn session(&self) -> Session<'_> {
        Session::new(&self.engine, &self.client, &self.request, &self.cancel).unwrap()
    }

    /// Runs one program over busybox, in a session of its own.
    fn run(&self, op: &RunOp) -> Outcome {
        let session = self.session();
        let base = busybox(&session);
        self.run_in(&session, op, &[base])
    }

    fn run_in(&self, session: &Session<'_>, op: &RunOp, inputs: &[Tree]) -> Outcome {
        let said = Mutex::new(Vec::new());
        let watch = |event: Event<'_>| {
            if let Event::Output { stream, bytes, .. } = event {
                said.lock().unwrap().push((stream, String::from_utf8_lossy(bytes).into_owned()));
            }
        };
        let record = perform(session, op, inputs, &Step::new(0, &self.cancel, &watch));
        // As whoever keeps the record does.
        record.iter().for_each(|record| session.draft.publish(&record.layer).unwrap());
        Outcome { record, said: said.into_inner().unwrap() }
    }

    /// Names and contents of a layer: what it has of directories and links ends with `/` and ` -> target`.
    fn members(&self, record: &Record) -> BTreeMap<String, String> {
        members(&self.engine.store.layer_path(&record.layer))
    }

    /// What is left of programs, anywhere.
    fn remains(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in ["run/builds", "run/builds/images", "root/tmp", "root/containers"] {
            let entries = std::fs::read_dir(self.folder.join(folder)).into_iter().flatten().flatten();
            found.extend(entries.map(|entry| entry.path()));
        }
        // Where mounts of images are offered.
        found.retain(|path| !path.ends_with("run/builds/images"));
        found
    }

    /// A monitor goes after its program's end was told.
    fn assert_clean(&self) {
        let start = Instant::now();
        while !self.remains().is_empty() && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(self.remains().is_empty(), "left: {:?}", self.remains());
    }
}

impl Outcome {
    /// What it said on a stream.
    fn text(&self, wanted: Stream) -> String {
        self.said.iter().filter(|(stream, _)| *stream == wanted).map(|(_, text)| text.as_str()).collect()
    }

    fn stdout(&self) -> String {
        if let Err(error) = &self.record {
            panic!("{}\n{}", linux::chain(error), self.text(Stream::Stderr));
        }
        self.text(Stream::Stdout)
    }

    /// The error with its reasons.
    fn error(&self) -> String {
        linux::chain(self.record.as_ref().unwrap_err())
    }
}

fn members(path: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            return (format!("{}/", name.trim_end_matches('/')), String::new());
        }
        if let Some(target) = entry.link_name().unwrap() {
            return (format!("{name} -> {}", target.display()), String::new());
        }
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        (name, content)
    });
    entries.collect()
}

/// A layer of these bytes.
fn layer(session: &Session<'_>, tar: &[u8]) -> LoadedLayer {
    let mut writer = session.draft.layer().unwrap();
    writer.write_all(tar).unwrap();
    writer.finish().unwrap()
}

fn busybox(session: &Session<'_>) -> Tree {
    Tree::empty().with(layer(session, &testkit::busybox_layer(&[])))
}

/// What the cache knows a program by.
fn key(session: &Session<'_>, op: &RunOp, inputs: &[Tree]) -> oci::Digest {
    content(session, op, inputs, &Step::new(0, session.cancel, &|_| ())).unwrap()
}
