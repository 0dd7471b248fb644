//! What a test may have left behind: processes, mounts, loop devices, control groups, files.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the last process may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is left, one line each.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(BTreeSet<String>);

impl Leftovers {
    /// Looks until nothing is left, or patience ends. Below the store's root, `folders` are to be empty.
    pub(crate) fn wait(base: &Path, root: &Path, ids: &[String], folders: &[&str]) -> Leftovers {
        let start = Instant::now();
        loop {
            let left = Leftovers::look(base, root, ids, folders);
            if left.is_empty() || start.elapsed() > PATIENCE {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Looks until nothing runs any more, or patience ends: whatever has anything of `base`, or is in a control group of `ids`.
    pub(crate) fn wait_for_ends(base: &Path, ids: &[String]) -> Leftovers {
        let start = Instant::now();
        loop {
            let mut left = BTreeSet::new();
            processes(&base.to_string_lossy(), &mut left);
            members(ids, &mut left);
            let left = Leftovers(left);
            if left.is_empty() || start.elapsed() > PATIENCE {
                return left;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn look(base: &Path, root: &Path, ids: &[String], folders: &[&str]) -> Leftovers {
        let base = base.to_string_lossy();
        let mut left = BTreeSet::new();
        processes(&base, &mut left);
        mounts(&base, &mut left);
        loop_devices(&base, &mut left);
        control_groups(ids, &mut left);
        for folder in folders {
            entries(&root.join(folder).to_string_lossy(), &mut left);
        }
        run_folders(&base, &mut left);
        Leftovers(left)
    }
}

impl fmt::Display for Leftovers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// Processes other than this one that have anything of `base` open, mounted or in their arguments.
fn processes(base: &str, left: &mut BTreeSet<String>) {
    for process in other_processes() {
        let of_base = named_or_open(&process.path, base);
        // Other tests' processes see the mounts of the host, which are looked at by themselves.
        if of_base || (mounted(&process.path).contains(base) && !shares_mounts(&process.path)) {
            left.insert(format!("process {process}"));
        }
    }
}

/// A process of this host.
pub(crate) struct Process {
    pub(crate) number: i32,
    pub(crate) path: PathBuf,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = fs::read_link(self.path.join("exe")).unwrap_or_default();
        write!(f, "{} {} {}", self.number, program.display(), arguments(&self.path))
    }
}

/// All but this one.
pub(crate) fn other_processes() -> Vec<Process> {
    let own = std::process::id().cast_signed();
    let process = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok().filter(|number| *number != own)?;
        Some(Process { number, path: entry.path() })
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(process).collect()
}

fn arguments(process: &Path) -> String {
    let bytes = fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Whether anything of `base` is in a process's arguments or open.
pub(crate) fn named_or_open(process: &Path, base: &str) -> bool {
    let opened = || {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| target.to_string_lossy().contains(base))
    };
    arguments(process).contains(base) || opened()
}

/// What a process sees mounted.
pub(crate) fn mounted(process: &Path) -> String {
    let table = fs::read(process.join("mountinfo")).unwrap_or_default();
    String::from_utf8_lossy(&table).into_owned()
}

fn shares_mounts(process: &Path) -> bool {
    let of = |path: &Path| fs::read_link(path.join("ns/mnt")).ok();
    of(process).is_some_and(|namespace| Some(namespace) == of(Path::new("/proc/self")))
}

/// Files that are loop devices, removed or not.
fn loop_devices(base: &str, left: &mut BTreeSet<String>) {
    for device in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let file = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
        if file.contains(base) {
            left.insert(format!("loop device {} {}", device.path().display(), file.trim()));
        }
    }
}

fn mounts(base: &str, left: &mut BTreeSet<String>) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    left.extend(table.lines().filter(|line| line.contains(base)).map(|line| format!("mount {line}")));
}

fn control_groups(ids: &[String], left: &mut BTreeSet<String>) {
    let groups = groups(|name| ids.iter().any(|id| name.contains(id.as_str())));
    left.extend(groups.iter().map(|group| format!("control group {}", group.display())));
}

/// Processes in the control groups of containers.
fn members(ids: &[String], left: &mut BTreeSet<String>) {
    for group in groups(|name| ids.iter().any(|id| name.contains(id.as_str()))) {
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        left.extend(members.lines().map(|member| format!("process {member} in {}", group.display())));
    }
}

/// Control groups whose own name is one of those, and all below them, outer ones first.
pub(crate) fn groups(is_one: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![(PathBuf::from("/sys/fs/cgroup"), false)];
    for _depth in 0..6 {
        for (folder, is_within) in std::mem::take(&mut pending) {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let is_found = is_within || is_one(&entry.file_name().to_string_lossy());
                if is_found {
                    found.push(entry.path());
                }
                pending.push((entry.path(), is_found));
            }
        }
    }
    found
}

fn entries(folder: &str, left: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        left.insert(format!("file {}", entry.path().display()));
    }
}

/// Folders of containers below the run folder, and of programs of builds.
fn run_folders(base: &str, left: &mut BTreeSet<String>) {
    for folder in ["run", "run/builds"] {
        for entry in fs::read_dir(format!("{base}/{folder}")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.len() == 64 {
                left.insert(format!("file {}", entry.path().display()));
            }
        }
    }
}

/// Ids of containers: those that were listed, and whatever still has a folder.
pub(crate) fn known_ids(root: &Path, listed: &[&str]) -> Vec<String> {
    let mut ids: BTreeSet<String> = listed.iter().map(|id| (*id).to_owned()).collect();
    for entry in fs::read_dir(root.join("containers")).into_iter().flatten().flatten() {
        ids.insert(entry.file_name().to_string_lossy().into_owned());
    }
    ids.into_iter().collect()
}
