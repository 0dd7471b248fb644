//! A place for one test of the OCI command line: a root file system, bundles, a control group of its own.
//!
//! Dropping it removes the containers and proves that no process, mount, group or file is left.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod dockerd;
pub(crate) mod peer;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
#[allow(unused_imports, reason = "each test program uses a part of it")]
pub(crate) use testkit::{require, wait_until};

/// What a program did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a program to its end, with an empty standard input. 128+n after signal n.
pub(crate) fn run(command: &mut Command) -> Done {
    use std::os::unix::process::ExitStatusExt;
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal)).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Done { code, out: text(output.stdout), err: text(output.stderr) }
}

/// The place.
pub(crate) struct Lab {
    pub(crate) base: PathBuf,
    /// The program under its name as a runtime.
    pub(crate) runtime: PathBuf,
    /// Name of the control group, and prefix of the containers' ids.
    pub(crate) name: String,
}

impl Lab {
    pub(crate) fn new(name: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root: it makes containers");
        let name = testkit::own_name(name);
        let base = std::env::temp_dir().join(&name);
        std::fs::create_dir(&base).unwrap();
        let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("skiff");
        assert!(program.exists(), "{} is missing: cargo build --workspace --bins", program.display());
        let runtime = base.join("skiff-oci");
        std::os::unix::fs::symlink(program, &runtime).unwrap();
        std::fs::create_dir(base.join("rootfs")).unwrap();
        std::fs::write(base.join("rootfs.tar"), testkit::busybox_layer(&[])).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(base.join("rootfs")).arg("-xf").arg(base.join("rootfs.tar"));
        assert_eq!(run(&mut tar).code, 0);
        Self { base, runtime, name }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// An id that no other test uses.
    pub(crate) fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// The words of `skiff oci` with its own root.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.path("state")).args(words);
        command
    }

    pub(crate) fn oci(&self, words: &[&str]) -> Done {
        run(&mut self.command(words))
    }

    /// Runs it and wants success.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let done = self.oci(words);
        assert_eq!(done.code, 0, "{words:?}: {done:?}");
        done.out
    }

    /// Creates a container with files for its streams, as an engine does: nobody holds a pipe.
    pub(crate) fn create(&self, id: &str, bundle: &Path, more: &[&str]) -> Done {
        let (out, err) = (self.path("create.out"), self.path("create.err"));
        let mut command =
            self.command(&[&["create", "--bundle", bundle.to_str().unwrap()], more, &[id]].concat());
        command.stdin(Stdio::null());
        command.stdout(std::fs::File::create(&out).unwrap()).stderr(std::fs::File::create(&err).unwrap());
        let code = command.status().unwrap().code().unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        Done { code, out: read(&out), err: read(&err) }
    }

    /// What a container has written since it was created.
    pub(crate) fn written(&self) -> String {
        std::fs::read_to_string(self.path("create.out")).unwrap()
    }

    pub(crate) fn status(&self, id: &str) -> String {
        let state: Value = serde_json::from_str(&self.ok(&["state", id])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    /// A bundle that runs `args`, after `change`.
    pub(crate) fn bundle(&self, name: &str, args: &[&str], change: impl FnOnce(&mut Value)) -> PathBuf {
        let bundle = self.path(name);
        std::fs::create_dir(&bundle).unwrap();
        self.ok(&["spec", "--bundle", bundle.to_str().unwrap()]);
        let path = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        // Every runtime of this distribution knows this version.
        config["ociVersion"] = json!("1.0.2");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(args);
        config["root"]["path"] = json!(self.path("rootfs"));
        change(&mut config);
        std::fs::write(path, config.to_string()).unwrap();
        bundle
    }

    /// Directories of control groups that are named after this place, deepest first.
    fn groups(&self) -> Vec<PathBuf> {
        let found = run(Command::new("find")
            .args(["/sys/fs/cgroup", "-depth", "-type", "d", "-path"])
            .arg(format!("*/{}*", self.name)));
        found.out.lines().map(PathBuf::from).collect()
    }

    /// Removes groups that an engine made for its own use and does not remove.
    pub(crate) fn remove_groups_of_the_engine(&self) {
        for group in self.groups() {
            // One in use is found by the check at the end.
            drop(std::fs::remove_dir(group));
        }
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> = self.groups().iter().map(|path| path.display().to_string()).collect();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(&self.name)).map(str::to_owned));
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            if words.contains(&self.name) {
                left.push(format!("{}: {words}", entry.path().display()));
            }
        }
        left
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let ids = self.oci(&["list", "--quiet"]).out;
        for id in ids.lines() {
            self.oci(&["delete", "--force", id]);
        }
        let start = Instant::now();
        while !self.leftovers().is_empty() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let left = self.leftovers();
        let removed = std::fs::remove_dir_all(&self.base);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:#?}");
            removed.unwrap();
            assert!(ids.is_empty(), "containers left behind: {ids}");
        }
    }
}
