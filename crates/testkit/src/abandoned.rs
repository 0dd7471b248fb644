//! What tests leave behind whose process is killed: nobody drops their fixtures.
//!
//! Everything of a test's that outlives its process has the number of that process in its name (folders for temporary
//! files and control groups: `skiff-test-<pid>-…`; users: `skiff<pid>x<n>`), so that a later run can tell it from what is
//! in use. Containers are found by the folder that their Skiff has below such a folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal, kill_process};

use crate::leftovers::{groups, mounted, named_or_open, other_processes};
use crate::user;

/// How long what is killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How every name begins; the number of the process follows.
const PREFIX: &str = "skiff-test-";

/// A name for something that outlives a test that is killed; `rest` tells it from the others of the same process.
pub fn own_name(rest: &str) -> String {
    format!("{PREFIX}{}-{rest}", std::process::id())
}

/// Ends and removes what tests have left whose processes are gone. One line for each thing that was found.
pub fn sweep() -> Result<Vec<String>> {
    let mut found = Vec::new();
    let temporary = std::env::temp_dir();
    // One at a time: what another has just removed would be an error.
    let alone = std::fs::File::open(&temporary).context("open the folder for temporary files")?;
    flock(&alone, FlockOperation::LockExclusive).context("lock the folder for temporary files")?;
    for entry in std::fs::read_dir(&temporary).context("list temporary files")? {
        let entry = entry.context("list temporary files")?;
        if maker(&entry.file_name().to_string_lossy()).is_some_and(is_gone) {
            let path = entry.path();
            remove_folder(&path, &mut found).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    remove_groups(|name| maker(name).is_some_and(is_gone), &mut found)?;
    for (name, _) in user::all().into_iter().filter(|(_, maker)| is_gone(*maker)) {
        user::remove(&name).map_err(anyhow::Error::msg).with_context(|| format!("remove user {name}"))?;
        found.push(format!("user {name}"));
    }
    Ok(found)
}

/// The process that gave something its name.
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Another process may have the number now: then what is left stays for the next time, and is in nobody's way.
fn is_gone(process: u32) -> bool {
    !Path::new("/proc").join(process.to_string()).exists()
}

fn remove_folder(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    let base = folder.to_string_lossy();
    let containers = containers(folder);
    let is_group = |name: &str| containers.iter().any(|id| name.contains(id.as_str()));
    end_processes(&base, &containers, found)?;
    remove_groups(is_group, found)?;
    let mounts = mounted(Path::new("/proc/self"));
    let places = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
    for place in places.filter(|place| Path::new(place).starts_with(folder)) {
        rustix::mount::unmount(place, UnmountFlags::DETACH).with_context(|| format!("unmount {place}"))?;
        found.push(format!("mount {place}"));
    }
    linux::file::remove_tree(folder)?;
    found.push(format!("file {base}"));
    Ok(())
}

/// Ids of the containers of which something lies in a test's folder.
fn containers(folder: &Path) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for place in ["", "run", "root/containers", "containers"] {
        let entries = std::fs::read_dir(folder.join(place)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        ids.extend(
            names.filter(|name| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())),
        );
    }
    ids
}

/// Kills whatever runs from the folder `base` or in it, until nothing does: what is alive may start more.
fn end_processes(base: &str, containers: &BTreeSet<String>, found: &mut Vec<String>) -> Result<()> {
    let start = Instant::now();
    let is_container = |text: &str| containers.iter().any(|id| text.contains(id.as_str()));
    loop {
        let mut alive = BTreeSet::new();
        for process in other_processes() {
            // The root of a container alone: of what else is mounted there, others may have copies.
            let table = mounted(&process.path);
            let mut roots = table.lines().filter(|line| line.split(' ').nth(4) == Some("/"));
            let groups = std::fs::read_to_string(process.path.join("cgroup")).unwrap_or_default();
            let line = process.to_string();
            let is_within =
                is_container(&line) || is_container(&groups) || roots.any(|root| root.contains(base));
            if (is_within || named_or_open(&process.path, base)) && !is_zombie(&process.path) {
                // It may have ended meanwhile.
                let _ = Pid::from_raw(process.number).map(|pid| kill_process(pid, Signal::KILL));
                alive.insert(line);
            }
        }
        if alive.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("these do not end: {alive:?}");
        }
        found.extend(alive.into_iter().map(|line| format!("process {line}")));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_zombie(process: &Path) -> bool {
    std::fs::read_link(process.join("exe")).is_err()
}

fn remove_groups(is_one: impl Fn(&str) -> bool, found: &mut Vec<String>) -> Result<()> {
    let start = Instant::now();
    let mut left: Vec<PathBuf> = groups(is_one);
    found.extend(left.iter().map(|group| format!("control group {}", group.display())));
    loop {
        for group in &left {
            let inside = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for pid in inside.lines().filter_map(|number| Pid::from_raw(number.parse().ok()?)) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        // Inner ones first.
        let mut failure = None;
        while let Some(group) = left.pop() {
            match std::fs::remove_dir(&group) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    failure = Some(error);
                    left.push(group);
                    break;
                }
                _ => {}
            }
        }
        let Some(failure) = failure else { return Ok(()) };
        if start.elapsed() > PATIENCE {
            return Err(failure).with_context(|| format!("remove the control groups {left:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
