//! What a store must be whoever was killed: every file is what its name says, and the database leads to nothing that is not there.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::Scratch;

/// Reads a copy of the database as SQLite finds it after a crash: with its log, without the index of that.
const READ: &str = r"
import json, sqlite3, sys
base = sqlite3.connect(sys.argv[1])
rows = lambda sql: base.execute(sql).fetchall()
print(json.dumps({
    'sound': rows('PRAGMA integrity_check'),
    'foreign': rows('PRAGMA foreign_key_check'),
    'records': rows('SELECT id, layer FROM build_records'),
    'keys': rows('SELECT hex(key), record FROM build_keys'),
    'images': [json.loads(row[0]) for row in rows('SELECT record FROM images')],
    'tags': rows('SELECT reference, image FROM tags'),
    'containers': rows('SELECT count(*) FROM containers'),
}))
";

pub(crate) struct Store {
    root: PathBuf,
    /// Files that were found to be what they are named: nobody changes them, as their inodes tell.
    good: RefCell<BTreeSet<(u64, u64, i64, i64)>>,
}

impl Store {
    pub(crate) fn new(root: &Path) -> Store {
        Store { root: root.to_owned(), good: RefCell::default() }
    }

    /// Content is what its name says, and records name what is there.
    pub(crate) fn assert_sound(&self, what: &str) {
        let layers = self.good_files("layers", ".tar", what);
        let blobs = self.good_files("blobs/sha256", "", what);
        let base = self.database();
        assert_eq!(base["sound"], serde_json::json!([["ok"]]), "{what}: the database");
        assert_eq!(base["foreign"], serde_json::json!([]), "{what}: the database");
        let records: BTreeSet<&str> = texts(&base["records"], 0);
        for layer in texts(&base["records"], 1) {
            assert!(layers.contains(encoded(layer)), "{what}: a record names {layer}, which is not there");
        }
        let found = texts(&base["keys"], 1);
        assert_eq!(found, records, "{what}: keys without a record, or a record without a key");
        for image in base["images"].as_array().unwrap() {
            for layer in layers_of(image) {
                assert!(
                    layers.contains(encoded(&layer)),
                    "{what}: an image names {layer}, which is not there"
                );
            }
            let id = image["id"].as_str().unwrap();
            assert!(blobs.contains(encoded(id)), "{what}: {id} has no configuration");
        }
        let images: BTreeSet<&str> =
            base["images"].as_array().unwrap().iter().filter_map(|image| image["id"].as_str()).collect();
        assert!(texts(&base["tags"], 1).is_subset(&images), "{what}: a name without an image");
    }

    /// Nothing lies there that nothing names. With trees, parts of contexts that steps had mounted are layers which lie there until the
    /// next collection.
    pub(crate) fn assert_all_is_named(&self, has_trees: bool, what: &str) {
        let base = self.database();
        let images: Vec<String> = base["images"].as_array().unwrap().iter().flat_map(layers_of).collect();
        let records = texts(&base["records"], 1);
        let named: BTreeSet<&str> = images.iter().map(String::as_str).chain(records).map(encoded).collect();
        for layer in self.good_files("layers", ".tar", what) {
            assert!(has_trees || named.contains(layer.as_str()), "{what}: nothing names the layer {layer}");
        }
        for folder in ["tmp", "partial"] {
            let left: Vec<_> = entries(&self.root.join(folder)).collect();
            assert!(left.is_empty(), "{what}: {left:?}");
        }
    }

    fn database(&self) -> Value {
        let copy = Scratch::new();
        for name in ["state.db", "state.db-wal"] {
            let log = self.root.join(name);
            if log.exists() {
                std::fs::copy(log, copy.join(name)).unwrap();
            }
        }
        let output = Command::new("python3").args(["-c", READ]).arg(copy.join("state.db")).output();
        let output = output.expect("this test needs python3");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The names of a folder, without what they end with; each file is what its name says.
    fn good_files(&self, folder: &str, end: &str, what: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for path in entries(&self.root.join(folder)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let encoded =
                name.strip_suffix(end).unwrap_or_else(|| panic!("{what}: {}", path.display())).to_owned();
            let about = path.metadata().unwrap();
            let known = (about.ino(), about.size(), about.mtime(), about.mtime_nsec());
            if !self.good.borrow().contains(&known) {
                let digest = oci::Digest::of(&std::fs::read(&path).unwrap());
                assert_eq!(digest.encoded(), encoded, "{what}: {} is something else", path.display());
                self.good.borrow_mut().insert(known);
            }
            names.insert(encoded);
        }
        names
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path())
}

fn texts(rows: &Value, column: usize) -> BTreeSet<&str> {
    rows.as_array().unwrap().iter().map(|row| row[column].as_str().unwrap()).collect()
}

fn layers_of(image: &Value) -> Vec<String> {
    let layers = image["layers"].as_array().unwrap_or_else(|| panic!("no layers in {image}")).iter();
    layers
        .map(|layer| layer["diff_id"].as_str().unwrap_or_else(|| panic!("no layer in {image}")).to_owned())
        .collect()
}

fn encoded(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}
