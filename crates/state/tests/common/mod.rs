//! Fixtures of the state's tests.

#![allow(dead_code, clippy::unwrap_used, reason = "not every test file uses every fixture; tests may fail")]

use std::path::{Path, PathBuf};

#[allow(unused_imports, reason = "not every test file uses every fixture")]
pub(crate) use linux::chain;
use oci::{ContainerId, Digest};
use state::{ContainerRecord, ExitRecord, IdPool, ImageRecord, Lookup, NewContainer, Result, State};

/// A root that goes away with its test, not made yet.
pub(crate) struct Scratch {
    pub(crate) path: PathBuf,
    _folder: testkit::Scratch,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        let folder = testkit::Scratch::new();
        Scratch { path: folder.join("root"), _folder: folder }
    }

    pub(crate) fn state(&self) -> State {
        State::open(&self.path).unwrap()
    }
}

/// An id that begins with `first` and ends with `last`.
pub(crate) fn id(first: u8, last: u8) -> ContainerId {
    let mut bytes = [first; 32];
    bytes[31] = last;
    ContainerId::from_bytes(bytes)
}

pub(crate) fn image_record(content: &[u8]) -> ImageRecord {
    ImageRecord {
        id: Digest::of(content),
        manifest: None,
        repositories: Vec::new(),
        digests: Vec::new(),
        platform: "linux/amd64".parse().unwrap(),
        created: None,
        stored: state::now(),
        size: 0,
        layers: Vec::new(),
        attached: Vec::new(),
    }
}

pub(crate) fn put_image(state: &State, content: &[u8]) -> Digest {
    let image = image_record(content);
    state.put_image(&image, &[]).unwrap();
    image.id
}

pub(crate) fn create(state: &State, image: &Digest, id: &ContainerId, name: &str) -> Result<ContainerRecord> {
    state.create_container(&NewContainer {
        id,
        name: &name.parse().unwrap(),
        image,
        created: state::now(),
        pool: Some(IdPool::DEFAULT),
        summary: "{}",
        spec: &format!("{{\"text\":\"{}\"}}", "x".repeat(2000)),
    })?;
    match state.find_container(id.as_str())? {
        Lookup::Found(record) => Ok(record),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn exit_record(code: i32) -> ExitRecord {
    ExitRecord {
        asked: state::Asked::User,
        restarts: 3,
        log_lines_lost: 5,
        code,
        signal: None,
        oom_killed: false,
        started: Some(state::now()),
        finished: state::now(),
        lost: false,
        error: None,
    }
}

/// Takes the database of `root` back to version 1.
pub(crate) fn as_the_first_version_had_it(root: &Path) {
    let connection = rusqlite::Connection::open(root.join("state.db")).unwrap();
    let back = "ALTER TABLE exits DROP COLUMN asked; ALTER TABLE exits DROP COLUMN restarts; \
         ALTER TABLE exits DROP COLUMN log_lines_lost; ALTER TABLE containers DROP COLUMN removing; \
         DROP TABLE image_uses; DROP TABLE sources; ALTER TABLE tags DROP COLUMN through; \
         ALTER TABLE tags DROP COLUMN digest; DROP TABLE drafts; DROP TABLE build_records; \
         DROP TABLE build_keys; DROP TABLE build_contexts; DROP TABLE build_context_parts; DROP TABLE cache_mounts";
    connection.execute_batch(back).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
}
