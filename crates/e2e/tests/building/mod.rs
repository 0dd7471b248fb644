//! What tests of builds have in common: a Skiff with busybox, and a folder with a context.

#![allow(dead_code, reason = "each test uses some of it")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use testkit::{Output, Skiff};

/// The time that files of images get which are to be the same each time.
pub(crate) const EPOCH: &str = "SOURCE_DATE_EPOCH=1700000000";

/// A Skiff with busybox, and a folder with a context.
pub(crate) struct Workshop {
    pub(crate) skiff: Skiff,
    pub(crate) context: PathBuf,
}

impl Workshop {
    pub(crate) fn new(dockerfile: &str) -> Workshop {
        Workshop::with(Skiff::with_busybox().that_builds(), dockerfile)
    }

    pub(crate) fn with(skiff: Skiff, dockerfile: &str) -> Workshop {
        let context = skiff.folder().join("context");
        std::fs::create_dir(&context).unwrap();
        let workshop = Workshop { skiff, context };
        workshop.write("Dockerfile", dockerfile);
        workshop
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.context.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// The path of a file beside the context.
    pub(crate) fn beside(&self, name: &str) -> String {
        self.skiff.folder().join(name).to_str().unwrap().to_owned()
    }

    /// `build` of the context, without a network.
    pub(crate) fn words(&self, flags: &[&str]) -> Vec<String> {
        let begin = ["build", "--progress=plain", "--network=none"];
        let context = self.context.to_str().unwrap();
        [&begin[..], flags, &[context]].concat().into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn try_build(&self, flags: &[&str]) -> Output {
        self.skiff.run(&self.words(flags))
    }

    /// What the build tells of itself, which is tagged `made`.
    pub(crate) fn build(&self, flags: &[&str]) -> String {
        let output = self.try_build(&[&["-t", "made"], flags].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    /// What a build says that fails, in which these words are to be.
    pub(crate) fn fails(&self, flags: &[&str], words: &[&str]) -> String {
        let output = self.try_build(flags);
        assert_eq!(output.code, 1, "{}", output.stderr);
        for word in words {
            assert!(output.stderr.contains(word), "no {word:?} in:\n{}", output.stderr);
        }
        output.stderr
    }

    pub(crate) fn in_image(&self, script: &str) -> String {
        self.skiff.ok(&["run", "--rm", "made", "sh", "-c", script])
    }

    /// Whatever builds have left goes.
    pub(crate) fn forget(&self) {
        self.skiff.run(&["rmi", "-f", "made", "made:2"]);
        self.skiff.ok(&["builder", "prune", "-af"]);
    }

    /// The names of what the store holds.
    pub(crate) fn stored(&self) -> Vec<PathBuf> {
        let folders = ["layers", "blobs/sha256", "images", "trees", "tmp", "partial", "containers"];
        let entries = folders.iter().flat_map(|folder| std::fs::read_dir(self.skiff.root().join(folder)));
        let mut stored: Vec<PathBuf> = entries.flatten().map(|entry| entry.unwrap().path()).collect();
        stored.sort();
        stored
    }
}

/// How often a step was taken from the cache.
pub(crate) fn cached(progress: &str) -> usize {
    progress.lines().filter(|line| line.ends_with(" CACHED")).count()
}

/// All files below a folder, by their paths: mode and content, of links where they lead.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let read = |path: PathBuf| {
        let about = folder.join(&path).symlink_metadata().unwrap();
        let content = match about.file_type() {
            kind if kind.is_file() => std::fs::read(folder.join(&path)).unwrap(),
            kind if kind.is_symlink() => {
                std::fs::read_link(folder.join(&path)).unwrap().into_os_string().into_encoded_bytes()
            }
            _ => Vec::new(),
        };
        (path, (about.mode(), content))
    };
    paths(folder).into_iter().map(read).collect()
}

/// The paths of all files below a folder, which others may be working in.
pub(crate) fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
            paths.push(entry.path().strip_prefix(folder).unwrap().to_owned());
        }
    }
    paths
}

impl Workshop {
    /// Where a program of some build has made a file in the cache that it has mounted, if it has.
    pub(crate) fn mark(&self, name: &str) -> Option<PathBuf> {
        let mounts = self.skiff.root().join("cache/mounts");
        let found = paths(&mounts).into_iter().find(|path| path.ends_with(format!("data/{name}")))?;
        Some(mounts.join(found))
    }

    /// Waits for that.
    pub(crate) fn wait_for_mark(&self, name: &str) -> PathBuf {
        let mut mark = None;
        testkit::wait_until("a program of a build has come so far", || {
            mark = self.mark(name);
            mark.is_some()
        });
        mark.unwrap()
    }
}
