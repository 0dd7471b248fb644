//! Groups below a container's own: where `exec --cgroup` puts a further process.

use std::path::{Component, Path, PathBuf};

use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::group::Cgroup;
use crate::hierarchy::{Controller, Mount};
use crate::node::Node;
use crate::path::GroupPath;

/// Where below a group a process goes. A path may begin with a slash and may be empty: the group itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Below {
    /// The same path in every hierarchy; the only form that version 2 has.
    Everywhere(PathBuf),
    /// Paths for some version 1 controllers. In the other hierarchies it is the group itself.
    Controllers(Vec<(Controller, PathBuf)>),
}

impl Cgroup {
    /// Opens what `below` names; none of it is made. Fails with [`Error::Missing`] where a group is not there, and
    /// with [`Error::NoController`] for a controller that has no version 1 hierarchy here.
    ///
    /// Where both versions are mounted and a group of this name was made for the controllers alone, the process stays
    /// in the group itself in the unified hierarchy, which controls nothing.
    pub fn below(&self, below: &Below) -> Result<Self> {
        let mut group = self.nothing_yet();
        let open = |mount: &Mount, path: &Path| {
            let location = location(&self.location, path)?;
            Node::open(mount, &location)?
                .ok_or_else(|| Error::Missing { path: mount.point.join(relative(&location)) })
        };
        if let Below::Controllers(paths) = below {
            for (controller, _) in paths {
                if self.hierarchy.legacy_home(*controller).is_none() {
                    return Err(Error::NoController { controller: controller.legacy_name() });
                }
            }
        }
        let of = |mount: &Mount| match below {
            Below::Everywhere(path) => Some(path.as_path()),
            Below::Controllers(paths) => paths
                .iter()
                .rev()
                .find(|(controller, _)| mount.controllers.contains(controller))
                .map(|(_, path)| path.as_path()),
        };
        for mount in &self.hierarchy.legacy {
            let here = self.legacy.iter().any(|node| node.controllers == mount.controllers);
            match of(mount) {
                Some(path) if here || matches!(below, Below::Controllers(_)) => {
                    group.legacy.push(open(mount, path)?);
                }
                None if here => group.legacy.push(open(mount, Path::new(""))?),
                _ => {}
            }
        }
        if let (Some(_), Some(mount)) = (&self.unified, &self.hierarchy.unified) {
            let opened = match open(mount, of(mount).unwrap_or(Path::new(""))) {
                Err(Error::Missing { .. }) if !group.legacy.is_empty() => open(mount, Path::new("")),
                result => result,
            };
            group.unified = Some(opened?);
        }
        Ok(group)
    }
}

/// Controllers that let a version 2 group have processes beside groups (cgroup v2 documentation, "Threads").
const THREADED: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];

impl Cgroup {
    /// Where a further process of a container goes whose own group takes none, because the container has made groups of its
    /// own below and given them controllers: to `first`, its first process, as with runc. `None` where the group
    /// itself will do.
    pub fn beside(&self, first: Pid) -> Result<Option<Self>> {
        const DELEGATED: &str = "cgroup.subtree_control";
        let (Some(node), Some(mount)) = (&self.unified, &self.hierarchy.unified) else { return Ok(None) };
        let delegated =
            node.dir.read(DELEGATED).map_err(|errno| node.dir.failed("read", DELEGATED, errno))?;
        if delegated.split_ascii_whitespace().all(|name| THREADED.contains(&name)) {
            return Ok(None);
        }
        let path = format!("/proc/{}/cgroup", first.as_raw_nonzero());
        let text = linux::file::read_to_string(Path::new(&path)).map_err(Error::Detect)?;
        let place = text.lines().find_map(|line| line.strip_prefix("0::"));
        // One that has moved elsewhere is not to be followed.
        let Some(below) = place.and_then(|place| Path::new(place).strip_prefix(&self.path).ok()) else {
            return Ok(None);
        };
        let location = location(&self.location, below)?;
        let mut group = self.below(&Below::Controllers(Vec::new()))?;
        group.unified = Node::open(mount, &location)?;
        Ok(Some(group))
    }
}

/// `path` below `group`.
fn location(group: &GroupPath, path: &Path) -> Result<GroupPath> {
    if path.components().all(|part| matches!(part, Component::RootDir | Component::CurDir)) {
        return Ok(group.clone());
    }
    let below = GroupPath::parse(path)?;
    let parents = group.parents.iter().chain([&group.name]).cloned().chain(below.parents).collect();
    Ok(GroupPath { absolute: group.absolute, parents, name: below.name })
}

/// From the hierarchy's root, without a leading slash.
fn relative(location: &GroupPath) -> PathBuf {
    location.parents.iter().chain([&location.name]).collect()
}
