//! Version 2: which controllers a group has, and where a user without root may make one.
//!
//! A group has the controllers that every group above it hands down (`cgroup.subtree_control`). A group that holds
//! processes can hand down none ("no internal processes"); the root alone is exempt.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::hierarchy::{Mount, own_unified_group};
use crate::path::GroupPath;

/// A controller that a group needs, by its version 2 name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) controller: String,
    /// The limit that needs it; `None` is for statistics alone, which may lack.
    pub(crate) limit: Option<&'static str>,
}

/// Gives `group`, which lies at `path`, the controllers that it needs, by having every group above hand them down.
pub(crate) fn provide(mount: &Mount, path: &GroupPath, group: &Dir, needs: &[Need]) -> Result<()> {
    if missing(group, needs)?.is_empty() {
        return Ok(());
    }
    let mut obstacle = None;
    let mut at = Dir::open(&mount.point, Path::new("")).ok();
    for name in path.parents.iter().map(Some).chain([None]) {
        let Some(dir) = at else { break };
        obstacle = hand_down(&dir, needs)?.or(obstacle);
        at = name.and_then(|name| dir.child(name).ok());
    }
    let still = missing(group, needs)?;
    match still.iter().find_map(|need| need.limit.map(|limit| (need, limit))) {
        None => Ok(()),
        Some((need, limit)) => Err(Error::Unenforceable {
            limit: limit.to_owned(),
            reason: explain(&need.controller, group, obstacle),
        }),
    }
}

fn missing<'need>(group: &Dir, needs: &'need [Need]) -> Result<Vec<&'need Need>> {
    let there = group.require("cgroup.controllers")?;
    Ok(needs.iter().filter(|need| there.split_whitespace().all(|one| one != need.controller)).collect())
}

/// What kept a group from handing down a controller.
struct Obstacle {
    group: PathBuf,
    errno: Errno,
}

/// Lets `dir` hand down what it has of `needs`. One write where all goes well, which it does but once for each parent.
fn hand_down(dir: &Dir, needs: &[Need]) -> Result<Option<Obstacle>> {
    let has = dir.require("cgroup.controllers")?;
    let hands_down = dir.require("cgroup.subtree_control")?;
    let is_in = |list: &str, name: &str| list.split_whitespace().any(|one| one == name);
    let mut wanted: Vec<_> = needs.iter().map(|need| format!("+{}", need.controller)).collect();
    wanted.retain(|name| is_in(&has, &name[1..]) && !is_in(&hands_down, &name[1..]));
    wanted.dedup();
    if wanted.is_empty() || dir.write("cgroup.subtree_control", &wanted.join(" ")).is_ok() {
        return Ok(None);
    }
    let mut obstacle = None;
    for name in &wanted {
        if let Err(errno) = dir.write("cgroup.subtree_control", name) {
            obstacle = Some(Obstacle { group: dir.path().to_owned(), errno });
        }
    }
    Ok(obstacle)
}

fn explain(controller: &str, group: &Dir, obstacle: Option<Obstacle>) -> String {
    let reached = format!("controller {controller} does not reach {}", group.path().display());
    match obstacle {
        None => format!("{reached}: the kernel or a group above does not have it"),
        Some(Obstacle { group, errno: Errno::BUSY }) => {
            let group = group.display();
            format!(
                "{reached}: {group} holds processes and can hand down no controller; move them into a group below it"
            )
        }
        Some(Obstacle { group, errno: Errno::ACCESS | Errno::PERM | Errno::ROFS }) => {
            format!("{reached}: {} is not delegated to this user", group.display())
        }
        Some(Obstacle { group, errno }) => {
            format!("{reached}: {} does not hand it down: {errno}", group.display())
        }
    }
}

/// Where a relative path starts: our own group, or the nearest one above it that is ours to write and holds no processes.
///
/// A user's processes live in leaves (`app.slice/x.service`) of a subtree that systemd has delegated; the leaf itself
/// holds processes, the group above it can have children with limits.
pub(crate) fn base_of_relative_paths(mount: &Mount) -> Result<PathBuf> {
    let own = own_unified_group(mount)?.ok_or_else(|| Error::NotMounted { path: mount.point.clone() })?;
    let mut candidate = own.clone();
    loop {
        let Ok(dir) = Dir::open(&mount.point, &candidate) else { return Ok(own) };
        // A group that hands nothing down and is the real root reads without `cgroup.events`.
        if !dir.has("cgroup.events") || dir.read("cgroup.procs").is_ok_and(|pids| pids.is_empty()) {
            return Ok(candidate);
        }
        match candidate.parent() {
            Some(above) if is_ours(mount, above) => candidate = above.to_owned(),
            _ => return Ok(own),
        }
    }
}

/// Whether we may make groups there, and move processes within it.
fn is_ours(mount: &Mount, group: &Path) -> bool {
    let writable = |file: &str| {
        let path = mount.point.join(group).join(file);
        rustix::fs::accessat(rustix::fs::CWD, &path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    };
    writable("") && writable("cgroup.procs") && writable("cgroup.subtree_control")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_controller_away_is_told_with_what_to_do() {
        let group = Dir::open(Path::new("/proc"), Path::new("")).unwrap();
        let said =
            |errno| explain("memory", &group, Some(Obstacle { group: "/sys/fs/cgroup/x".into(), errno }));
        assert!(said(Errno::BUSY).contains("move them into a group below"), "{}", said(Errno::BUSY));
        assert!(said(Errno::ACCESS).contains("not delegated"), "{}", said(Errno::ACCESS));
        assert!(explain("memory", &group, None).contains("does not have it"));
    }
}
