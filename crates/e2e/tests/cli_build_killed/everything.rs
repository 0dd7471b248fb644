//! A build with all that a build does, its results, and what must hold of them whoever was killed.
//!
//! ```text
//! undisturbed, twice ──► what is the same each time
//! killed ──► what there is, is whole ──► built again ──► the same as undisturbed, and nothing besides ──► forgotten ──► nothing
//! ```

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::{Entry, Output, Skiff, layer};

use crate::building::{EPOCH, Workshop, files};
use crate::store::Store;

/// Stages beside each other, one of them with every kind of mount; copies from the context, from an archive and between stages.
const DOCKERFILE: &str = "FROM busybox AS tool\n\
    RUN --mount=type=cache,target=/c --mount=type=secret,id=key --mount=type=bind,source=one,target=/src/one \
    cat /src/one > /tool && wc -c < /run/secrets/key >> /tool && echo x > /c/n && rm -f /bin/yes\n\
    FROM busybox AS beside\n\
    WORKDIR /deep/er\n\
    RUN echo beside > said && ln said hard && ln -s said soft\n\
    FROM busybox\n\
    WORKDIR /work\n\
    ADD packed.tar /unpacked/\n\
    COPY one sub/ ./\n\
    COPY --from=tool /tool /usr/tool\n\
    COPY --from=beside /deep /deep\n\
    RUN cat one deep/two /usr/tool /deep/er/hard /unpacked/three > said\n\
    CMD [\"cat\", \"said\"]\n";

/// What its image says.
const SAID: &str = "1\n2\n1\n6\nbeside\n3\n";

/// All outputs that are files, and the caches.
const OUTPUTS: [&str; 8] = [
    "--output=type=image",
    "--output=type=oci,dest=out/oci.tar",
    "--output=type=docker,dest=out/docker.tar",
    "--output=type=oci,tar=false,dest=out/layout",
    "--output=type=tar,dest=out/tar.tar",
    "--output=type=local,dest=out/local",
    "--cache-to=type=local,dest=out/cache",
    "--cache-mounts-to=type=local,dest=out/mounts",
];

/// Those that are layouts.
const LAYOUTS: [&str; 3] = ["layout", "cache", "mounts"];

/// Files by their paths, those in archives behind a `!`.
type Found = BTreeMap<PathBuf, Vec<u8>>;

pub(crate) struct Everything {
    pub(crate) workshop: Workshop,
    words: Vec<String>,
    id: String,
    /// What an undisturbed build leaves where it was told to, with what is the same each time.
    outputs: BTreeMap<PathBuf, Option<Vec<u8>>>,
    stored: Vec<PathBuf>,
    store: Store,
}

impl Everything {
    /// Builds it twice, undisturbed. `global` comes before the command.
    pub(crate) fn new(skiff: Skiff, global: &[&str]) -> Everything {
        let workshop = Workshop::with(skiff, DOCKERFILE);
        workshop.write("one", "1\n");
        workshop.write("sub/deep/two", "2\n");
        workshop.write(
            "packed.tar",
            layer(&[Entry::File("three", 0o640, b"3\n"), Entry::Directory("four", 0o700)]),
        );
        std::fs::write(workshop.beside("key"), "secret").unwrap();
        let mut flags: Vec<String> = OUTPUTS.iter().map(|output| (*output).to_owned()).collect();
        flags.extend([
            format!("--secret=id=key,src={}", workshop.beside("key")),
            format!("--build-arg={EPOCH}"),
            "--sbom=true".to_owned(),
            "--provenance=mode=max".to_owned(),
            "-t=made".to_owned(),
            "-t=made:2".to_owned(),
            "--metadata-file=out/metadata".to_owned(),
        ]);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let words = global.iter().map(|word| (*word).to_owned()).chain(workshop.words(&flags)).collect();
        let store = Store::new(&workshop.skiff.root());
        let (id, outputs, stored) = (String::new(), BTreeMap::new(), workshop.stored());
        let mut everything = Everything { workshop, words, id, outputs, stored, store };
        everything.know();
        everything
    }

    fn know(&mut self) {
        self.begin(false);
        self.id = self.build();
        assert_eq!(self.workshop.skiff.ok(&["run", "--rm", "made"]), SAID);
        let first = self.found();
        self.workshop.forget();
        // The base may have got a tree, which goes with the base.
        let trees = self.workshop.skiff.root().join("trees");
        let (before, now) = (std::mem::take(&mut self.stored), self.workshop.stored());
        assert!(now.iter().all(|path| path.starts_with(&trees) || before.contains(path)), "{now:?}");
        self.stored = now;
        self.begin(false);
        assert_eq!(self.build(), self.id);
        let second = self.found();
        let is_same = |(path, content): (PathBuf, Vec<u8>)| {
            let same = second.get(&path).is_some_and(|other| *other == content);
            (path, same.then_some(content))
        };
        let count = first.len();
        self.outputs = first.into_iter().map(is_same).collect();
        let same = self.outputs.values().flatten().count();
        assert!(count > 60 && same > 40, "{same} of {count} files are the same in each build");
        self.workshop.forget();
        assert_eq!(self.workshop.stored(), self.stored);
    }

    /// The words of the command.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    fn out(&self) -> PathBuf {
        PathBuf::from(self.workshop.beside("out"))
    }

    /// An empty folder for outputs, or one in which others have put something.
    pub(crate) fn begin(&self, with_old: bool) {
        let out = self.out();
        drop(std::fs::remove_dir_all(&out));
        let folder = std::fs::metadata(self.workshop.skiff.folder()).unwrap();
        let make = |path: PathBuf| {
            std::fs::create_dir(&path).unwrap();
            std::os::unix::fs::lchown(&path, Some(folder.uid()), Some(folder.gid())).unwrap();
        };
        make(out.clone());
        if with_old {
            make(out.join("local"));
            make(out.join("local/work"));
            for path in ["oci.tar", "docker.tar", "tar.tar", "local/work/said"] {
                std::fs::write(out.join(path), "old").unwrap();
            }
        }
    }

    fn try_build(&self) -> Output {
        self.workshop.skiff.run(&self.words)
    }

    fn build(&self) -> String {
        let output = self.try_build();
        assert_eq!(output.code, 0, "{}", output.stderr);
        self.workshop.skiff.said("{{.Id}}", "made")
    }

    /// What lies among the outputs.
    fn found(&self) -> Found {
        let mut found = Found::new();
        for (path, (mode, content)) in files(&self.out()) {
            if path.extension().is_some_and(|extension| extension == "tar") && content != b"old" {
                members(&path, &content, &mut found);
            } else if mode & 0o170_000 != 0o040_000 {
                found.insert(path, content);
            }
        }
        found
    }

    /// What holds whoever was killed; `programs` had those ids.
    pub(crate) fn check(&self, programs: &[String], what: &str) {
        let skiff = &self.workshop.skiff;
        assert_eq!(skiff.running_of_builds(programs), "", "{what}: runs on");
        self.store.assert_sound(what);
        self.check_outputs(what);
        self.check_names(what);
        // The next one does the rest, and takes away what was left.
        let again = self.try_build();
        assert_eq!(again.code, 0, "{what}: the next one fails: {}", again.stderr);
        assert_eq!(skiff.said("{{.Id}}", "made"), self.id, "{what}");
        assert_eq!(skiff.left_by_builds(programs), "", "{what}: left behind");
        self.store.assert_sound(what);
        let trees = self.workshop.skiff.root().join("trees");
        let has_trees = self.stored.iter().any(|path| path.starts_with(&trees));
        self.store.assert_all_is_named(has_trees, what);
        let found = self.found();
        // Nobody removes blobs from where others may have put them.
        let counted =
            |path: &&PathBuf| !LAYOUTS.iter().any(|layout| path.starts_with(format!("{layout}/blobs")));
        let names: Vec<_> = found.keys().filter(counted).collect();
        let expected: Vec<_> = self.outputs.keys().filter(counted).collect();
        // Names of blobs that differ are as many.
        assert_eq!(names.len(), expected.len(), "{what}: {names:?} for {expected:?}");
        // What a cache says of steps that were known depends on what was known.
        let stays = |path: &Path| !path.starts_with("cache") && !path.starts_with("mounts");
        for (path, content) in self.outputs.iter().filter(|(path, _)| stays(path)) {
            if let Some(content) = content {
                assert!(found.get(path) == Some(content), "{what}: {} is another file", path.display());
            }
        }
        for layout in LAYOUTS {
            assert_layout_is_whole(&self.out().join(layout), what);
        }
        for name in ["made", "made:2"] {
            assert_eq!(skiff.run(&["image", "verify", name]).code, 0, "{what}: {name}");
        }
        self.workshop.forget();
        assert_eq!(self.workshop.stored(), self.stored, "{what}: stays when all is forgotten");
    }

    /// A file is what was there or whole, a directory has no half file.
    fn check_outputs(&self, what: &str) {
        let all: Vec<_> = self.outputs.values().flatten().collect();
        for (path, content) in self.found() {
            let text = path.to_string_lossy();
            let is_whole = match self.outputs.get(&path) {
                Some(Some(expected)) => *expected == content,
                Some(None) => true,
                None => text.contains("/blobs/") || text.contains("!blobs/"),
            };
            // Between two names.
            let is_archive = text.contains(".tar.skiff-");
            if is_archive {
                members(&path, &content, &mut Found::new());
            }
            let is_document = serde_json::from_slice::<Value>(&content).is_ok();
            let is_twice = text.contains(".skiff-")
                && (is_archive || is_document || content.is_empty() || all.contains(&&content));
            let is_index = path.ends_with("index.json");
            assert!(
                is_whole || is_twice || is_index || content == b"old",
                "{what}: {text} is half a file of {} bytes",
                content.len()
            );
        }
        if let Ok(text) = std::fs::read(self.out().join("metadata")) {
            assert!(serde_json::from_slice::<Value>(&text).is_ok(), "{what}");
        }
        for layout in LAYOUTS {
            assert_layout_is_whole(&self.out().join(layout), what);
        }
    }

    /// A name is one of a whole image.
    fn check_names(&self, what: &str) {
        let skiff = &self.workshop.skiff;
        for name in ["made", "made:2"] {
            let found = skiff.run(&["inspect", "-f", "{{.Id}}", name]);
            if found.code == 0 {
                assert_eq!(found.stdout.trim_end(), self.id, "{what}");
                assert_eq!(skiff.run(&["image", "verify", name]).code, 0, "{what}");
            }
        }
        assert_eq!(skiff.run(&["system", "df"]).code, 0, "{what}");
        assert_eq!(skiff.run(&["builder", "du"]).code, 0, "{what}");
    }
}

/// The files of an archive that was written to its end.
fn members(path: &Path, content: &[u8], found: &mut Found) {
    assert!(content.ends_with(&[0; 1024]), "{} is half an archive", path.display());
    let mut archive = tar::Archive::new(content);
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut inside = Vec::new();
        entry.read_to_end(&mut inside).unwrap();
        let name = entry.path().unwrap().display().to_string();
        found.insert(PathBuf::from(format!("{}!{name}", path.display())), inside);
    }
}

/// Whatever the index of a layout leads to is there.
pub(crate) fn assert_layout_is_whole(folder: &Path, what: &str) {
    let Ok(index) = std::fs::read(folder.join("index.json")) else { return };
    let mut left: Vec<Value> = vec![serde_json::from_slice(&index).unwrap()];
    while let Some(document) = left.pop() {
        let listed = ["manifests", "layers"].iter().filter_map(|key| document[key].as_array()).flatten();
        for entry in listed.chain(document.get("config")) {
            let Some(digest) = entry["digest"].as_str() else { continue };
            let blob = std::fs::read(folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:")));
            let blob = blob.unwrap_or_else(|error| panic!("{what}: {digest}: {error}"));
            assert_eq!(oci::Digest::of(&blob).as_str(), digest, "{what}");
            left.extend(serde_json::from_slice::<Value>(&blob));
        }
    }
}
