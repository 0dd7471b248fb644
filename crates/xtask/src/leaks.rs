//! Proves that a run of the tests leaves nothing behind.
//!
//! Before the tests a note is taken of every process of Skiff's (and of the engines that the tests start), every
//! mount of this mount namespace, every control group and every temporary or run-time file. Afterwards whatever
//! has come and is ours fails the check, by name. A process may need a moment to die, so the check waits a little.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Programs whose survival is a leak.
const PROGRAMS: [&str; 10] = [
    "skiff",
    "skiff-monitor",
    "skiff-oci",
    "podman",
    "conmon",
    "dockerd",
    "containerd",
    "containerd-shim-runc-v2",
    "busybox",
    "qemu-system-x86_64",
];

/// Where tests and programs keep files that must not outlive them.
const FOLDERS: [&str; 5] = ["/tmp", "/var/tmp", "/run", "/dev/shm", "/var/lib"];

/// How long the last process may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// How deep below each hierarchy's root groups are looked for.
const DEPTH: u32 = 3;

/// Notes what is there, one line each. What tests that were killed have left is removed before: a program that a container of
/// theirs starts later would seem to be of the next run.
pub(crate) fn save(file: &Path) -> Result<()> {
    for line in testkit::sweep().context("remove what tests have left that were killed")? {
        println!("left by a test that was killed: {line}");
    }
    let lines: Vec<String> = observe().into_iter().collect();
    fs::write(file, lines.join("\n")).with_context(|| format!("write {}", file.display()))
}

/// Fails with a list of what has come since [`save`].
pub(crate) fn check(file: &Path) -> Result<()> {
    let saved = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let before: BTreeSet<String> = saved.lines().map(str::to_owned).collect();
    let start = Instant::now();
    loop {
        let left: Vec<String> = observe().difference(&before).cloned().collect();
        if left.is_empty() {
            println!("nothing left behind: no process, mount, control group or file");
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("left behind:\n  {}", left.join("\n  "));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn observe() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    processes(&mut found);
    mounts(&mut found);
    control_groups(&mut found);
    files(&mut found);
    found
}

/// Processes by program and number; a zombie is nobody's leak but its parent's, which is listed itself.
fn processes(found: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else {
            continue;
        };
        // The link to its program tells nothing of one that was executed from a mount of its own.
        let Ok(arguments) = fs::read(entry.path().join("cmdline")) else { continue };
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        let program = arguments.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        if PROGRAMS.contains(&program) {
            found.insert(format!("process {pid} {arguments}"));
        }
    }
}

fn mounts(found: &mut BTreeSet<String>) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in table.lines() {
        // Without the number, the parent and the device: they differ between mounts of the same thing.
        let place: Vec<&str> = line.split(' ').skip(3).take(2).collect();
        let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        found.insert(format!("mount {kind} {}", place.join(" on ")));
    }
}

/// Groups made by Skiff or by an engine that a test started.
fn control_groups(found: &mut BTreeSet<String>) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        if !right.starts_with("cgroup") {
            continue;
        }
        if let Some(place) = left.split(' ').nth(4) {
            groups_below(Path::new(place), DEPTH, found);
        }
    }
}

fn groups_below(folder: &Path, depth: u32, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // The parent of all of Skiff's groups is made once and stays, as every engine's does.
        let parent_of_ours = entry.file_name() == "skiff" && depth == DEPTH;
        if !parent_of_ours {
            found.insert(format!("control group {}", entry.path().display()));
        }
        if depth > 0 {
            groups_below(&entry.path(), depth - 1, found);
        }
    }
}

fn files(found: &mut BTreeSet<String>) {
    for folder in FOLDERS {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains("skiff") {
                found.insert(format!("file {}", entry.path().display()));
            }
        }
    }
}
