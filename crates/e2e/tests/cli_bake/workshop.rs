//! A Skiff with bake files, and what the tests ask of it.

use testkit::{Output, Skiff};

/// A Skiff whose folder has bake files.
pub(crate) struct Workshop {
    pub(crate) skiff: Skiff,
}

impl Workshop {
    pub(crate) fn new(files: &[(&str, &str)]) -> Workshop {
        let workshop = Workshop { skiff: Skiff::with_busybox().that_builds() };
        for (path, content) in files {
            workshop.write(path, content);
        }
        workshop
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.skiff.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.skiff.folder().join(path)).unwrap()
    }

    /// With these variables beside the usual.
    pub(crate) fn try_with(&self, environment: &[(&str, &str)], words: &[&str]) -> Output {
        let mut command = self.skiff.command(words);
        command.envs(environment.iter().copied()).stdin(std::process::Stdio::null());
        Output::of(command.output().unwrap())
    }

    pub(crate) fn bake(&self, words: &[&str]) -> String {
        self.bake_with(&[], words)
    }

    pub(crate) fn bake_with(&self, environment: &[(&str, &str)], words: &[&str]) -> String {
        let output = self.try_with(environment, &[&["bake", "--progress=plain"], words].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    pub(crate) fn fails(&self, words: &[&str], says: &[&str]) -> String {
        let output = self.try_with(&[], &[&["bake", "--progress=plain"], words].concat());
        assert_eq!(output.code, 1, "{}", output.stderr);
        for says in says {
            assert!(output.stderr.contains(says), "no {says:?} in:\n{}", output.stderr);
        }
        output.stderr
    }

    pub(crate) fn in_image(&self, image: &str, script: &str) -> String {
        self.skiff.ok(&["run", "--rm", image, "sh", "-c", script])
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.skiff.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let mut names: Vec<String> =
            names.lines().filter(|name| *name != "busybox:latest").map(str::to_owned).collect();
        names.sort();
        names
    }
}

/// A Dockerfile that says what it was told.
pub(crate) const DOCKERFILE: &str =
    "FROM busybox\nARG WHO=nobody\nARG VERSION=0\nRUN echo $WHO $VERSION > /said\n";
