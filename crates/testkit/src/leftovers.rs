//! What a test may have left behind: processes, mounts, control groups, files.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the last process may take to go.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is left, one line each.
#[derive(Debug, Default)]
pub(crate) struct Leftovers(BTreeSet<String>);

impl Leftovers {
    /// Looks until nothing is left, or patience ends. Below the store's root, `folders` are to be empty.
    pub(crate) fn wait(base: &Path, ids: &[String], folders: &[&str]) -> Leftovers {
        let start = Instant::now();
        loop {
            let left = Leftovers::look(base, ids, folders);
            if left.is_empty() || start.elapsed() > PATIENCE {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn look(base: &Path, ids: &[String], folders: &[&str]) -> Leftovers {
        let base = base.to_string_lossy();
        let mut left = BTreeSet::new();
        processes(&base, &mut left);
        mounts(&base, &mut left);
        control_groups(ids, &mut left);
        for folder in folders {
            entries(&format!("{base}/root/{folder}"), &mut left);
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
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) || name == std::process::id().to_string() {
            continue;
        }
        let path = entry.path();
        let read =
            |file: &str| fs::read(path.join(file)).map(|text| String::from_utf8_lossy(&text).into_owned());
        let arguments = read("cmdline").unwrap_or_default().replace('\0', " ");
        let named = arguments.contains(base);
        let mounted = read("mountinfo").is_ok_and(|table| table.contains(base));
        let opened = || {
            let open = fs::read_dir(path.join("fd")).into_iter().flatten().flatten();
            open.filter_map(|fd| fs::read_link(fd.path()).ok())
                .any(|target| target.to_string_lossy().contains(base))
        };
        // Other tests' processes see the mounts of the host, which are looked at by themselves.
        if named || (mounted && !shares_mounts(&path)) || opened() {
            let program = fs::read_link(path.join("exe")).unwrap_or_default();
            left.insert(format!("process {name} {} {arguments}", program.display()));
        }
    }
}

fn shares_mounts(process: &Path) -> bool {
    let of = |path: &Path| fs::read_link(path.join("ns/mnt")).ok();
    of(process).is_some_and(|namespace| Some(namespace) == of(Path::new("/proc/self")))
}

fn mounts(base: &str, left: &mut BTreeSet<String>) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    left.extend(table.lines().filter(|line| line.contains(base)).map(|line| format!("mount {line}")));
}

fn control_groups(ids: &[String], left: &mut BTreeSet<String>) {
    let mut pending = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    let mut depth = 0;
    while !pending.is_empty() && depth < 6 {
        depth += 1;
        for folder in std::mem::take(&mut pending) {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let name = entry.file_name().to_string_lossy().into_owned();
                if ids.iter().any(|id| name.contains(id.as_str())) {
                    left.insert(format!("control group {}", entry.path().display()));
                }
                pending.push(entry.path());
            }
        }
    }
}

fn entries(folder: &str, left: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        left.insert(format!("file {}", entry.path().display()));
    }
}

/// Folders of containers below the run folder.
fn run_folders(base: &str, left: &mut BTreeSet<String>) {
    for entry in fs::read_dir(format!("{base}/run")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == 64 {
            left.insert(format!("file {}", entry.path().display()));
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
