//! One Skiff with folders of its own.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::leftovers::{self, Leftovers};
use crate::{Scratch, Terminal, User, image};

/// The program under test, its folders, and the duty to leave nothing.
#[derive(Debug)]
pub struct Skiff {
    base: Scratch,
    root: PathBuf,
    program: PathBuf,
    /// Whose Skiff it is; missing for root's.
    user: Option<(u32, u32)>,
    /// Whether layers may stay: those of the cache of builds, which no image needs.
    builds: bool,
}

/// What a program did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128+n after signal n.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Default for Skiff {
    fn default() -> Skiff {
        Skiff::new()
    }
}

impl Skiff {
    /// A Skiff without images. Needs root, and says so.
    pub fn new() -> Skiff {
        assert!(rustix::process::geteuid().is_root(), "this test needs root: it makes containers");
        let program = programs().join("skiff");
        for program in [&program, &programs().join("skiff-monitor")] {
            assert!(program.exists(), "{} is missing: cargo build --workspace --bins", program.display());
        }
        let base = Scratch::new();
        Skiff { root: base.join("root"), base, program, user: None, builds: false }
    }

    /// A Skiff with `busybox:latest` whose store lies elsewhere.
    pub fn with_busybox_at(root: &Path) -> Skiff {
        let mut skiff = Skiff::new();
        skiff.root = root.to_owned();
        skiff.load(&image::busybox());
        skiff
    }

    /// The same, which builds: the cache of that keeps layers without an image.
    pub fn that_builds(mut self) -> Skiff {
        self.builds = true;
        self
    }

    /// A Skiff without images that an ordinary user runs, from copies of the programs that the user can reach.
    pub fn of(user: &User) -> Skiff {
        let mut skiff = Skiff::new();
        let owned = |path: &Path| {
            std::os::unix::fs::lchown(path, Some(user.uid()), Some(user.gid())).expect("give to the user");
        };
        owned(&skiff.base);
        for name in ["skiff", "skiff-monitor"] {
            let copy = skiff.base.join(name);
            std::fs::copy(programs().join(name), &copy).expect("copy a program");
            owned(&copy);
        }
        skiff.program = skiff.base.join("skiff");
        skiff.user = Some((user.uid(), user.gid()));
        skiff
    }

    /// A Skiff with `busybox:latest`.
    pub fn with_busybox() -> Skiff {
        let skiff = Skiff::new();
        skiff.load(&image::busybox());
        skiff
    }

    /// Loads an archive.
    pub fn load(&self, archive: &[u8]) -> String {
        let output = self.run_with_input(&["load"], archive);
        assert_eq!(output.code, 0, "load: {output:?}");
        output.stdout
    }

    /// A folder that goes away with the fixture.
    pub fn folder(&self) -> &Path {
        &self.base
    }

    /// The store.
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// What runs.
    pub fn run_folder(&self) -> PathBuf {
        self.base.join("run")
    }

    /// Where its settings lie; the folder is not there unless a test makes it.
    pub fn settings(&self) -> PathBuf {
        self.base.join("settings")
    }

    /// The program, with its folders set, and nothing else of this process's environment but `PATH`.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("SKIFF_ROOT", self.root()).env("SKIFF_RUN", self.run_folder());
        command.env("SKIFF_CONFIG", self.settings());
        command.current_dir(&*self.base).args(arguments);
        if let Some((uid, gid)) = self.user {
            // Both at once also drop the supplementary groups.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs it to its end, with an empty standard input.
    pub fn run<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Output {
        output(self.command(arguments).stdin(Stdio::null()))
    }

    /// Runs it to its end with standard input.
    pub fn run_with_input<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start skiff");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A program that does not read its input has said why by its exit code.
                let _written = stdin.write_all(input);
            });
            Output::of(child.wait_with_output().expect("wait for skiff"))
        })
    }

    /// Runs it, wants success and nothing on standard error, and returns standard output.
    pub fn ok<A: AsRef<std::ffi::OsStr> + std::fmt::Debug>(&self, arguments: &[A]) -> String {
        let output = self.run(arguments);
        assert!(output.code == 0 && output.stderr.is_empty(), "skiff {arguments:?}: {output:#?}");
        output.stdout
    }

    /// Starts it with pipes and returns at once.
    pub fn start<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("start skiff")
    }

    /// Starts it on a terminal of its own.
    pub fn terminal<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A], columns: u16, rows: u16) -> Terminal {
        Terminal::start(&self.command(arguments), columns, rows)
    }

    /// What `inspect --format format name` prints, without the line's end.
    pub fn said(&self, format: &str, name: &str) -> String {
        self.ok(&["inspect", "--format", format, name]).trim_end().to_owned()
    }

    /// Actions of a container's events, in order.
    pub fn actions(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.run_folder().join("events.log")).unwrap_or_default();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event is JSON"));
        let its = events.filter(|event| event["Actor"]["Attributes"]["name"] == name);
        its.map(|event| event["Action"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until `inspect --format format name` prints `want`.
    pub fn wait_for(&self, name: &str, format: &str, want: &str) {
        let start = Instant::now();
        loop {
            let output = self.run(&["inspect", "--format", format, name]);
            if output.stdout.trim_end() == want {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{name}: {format} is never {want}: {output:#?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What containers have left once all are removed: processes, mounts, groups, files, one line each. Waits for
    /// what is on its way; empty is what should be.
    pub fn left_by_containers(&self) -> String {
        let known = leftovers::known_ids(&self.root(), &[]);
        Leftovers::wait(&self.base, &self.root, &known, &["containers", "tmp"]).to_string()
    }

    /// What builds have left, whose programs had these ids, once another has begun: processes, mounts, groups, files, one line
    /// each. Waits for what is on its way; empty is what should be.
    pub fn left_by_builds(&self, programs: &[String]) -> String {
        Leftovers::wait(&self.base, &self.root, programs, &["containers", "tmp"]).to_string()
    }

    /// What runs of builds whose programs had these ids, one line each, once what was on its way to its end has got there.
    pub fn running_of_builds(&self, programs: &[String]) -> String {
        Leftovers::wait_for_ends(&self.base, programs).to_string()
    }

    fn tear_down(&self) -> Leftovers {
        let ids = self.run(&["ps", "--all", "--quiet", "--no-trunc"]).stdout;
        let ids: Vec<&str> = ids.lines().collect();
        if !ids.is_empty() {
            self.run(&[&["rm", "--force"], &ids[..]].concat());
        }
        let images = self.run(&["images", "--quiet", "--no-trunc"]).stdout;
        let images: Vec<&str> = images.lines().collect();
        if !images.is_empty() {
            self.run(&[&["rmi", "--force"], &images[..]].concat());
        }
        // Not without need: a prune would remove also what a removal of images should have.
        if !self.run(&["builder", "du", "--format", "{{.ID}}"]).stdout.is_empty() {
            self.run(&["builder", "prune", "--all", "--force"]);
        }
        let known = leftovers::known_ids(&self.root(), &ids);
        let folders: &[&str] = match self.builds {
            true => &["containers", "tmp"],
            false => &["containers", "tmp", "layers", "trees"],
        };
        Leftovers::wait(&self.base, &self.root, &known, folders)
    }
}

impl Drop for Skiff {
    fn drop(&mut self) {
        let left = self.tear_down();
        // A test that failed already has told its reason; what it left is its consequence.
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left}");
        }
    }
}

impl Output {
    /// Reads what a process left.
    pub fn of(output: std::process::Output) -> Output {
        use std::os::unix::process::ExitStatusExt;
        let status = output.status;
        Output {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn output(command: &mut Command) -> Output {
    Output::of(command.output().expect("start skiff"))
}

/// Where the programs lie: beside the folder of this test's own.
pub fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("SKIFF_TEST_PROGRAMS") {
        return PathBuf::from(folder);
    }
    let own = std::env::current_exe().expect("a path of my own");
    let deps = own.parent().expect("a folder");
    deps.parent().unwrap_or(deps).to_owned()
}
