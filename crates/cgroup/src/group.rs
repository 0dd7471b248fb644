//! One control group, in every hierarchy that it needs.
//!
//! Which directories are made, and why:
//!
//! | hierarchy | made | for |
//! |---|---|---|
//! | unified (version 2, also beside version 1) | always | cloning into, killing, freezing, listing; all limits on version 2 |
//! | memory, pids | always | limits, statistics, out-of-memory events |
//! | cpu | always | limits; and a container's many threads weigh no more than another's one |
//! | devices | with device rules | the rules |
//! | cpuacct, freezer | without a unified hierarchy that can kill | statistics; freezing and killing |
//! | cpuset, blkio, hugetlb, net_cls, net_prio, rdma | with such a limit | the limit |
//!
//! Each costs some 40 µs to make, enter and remove again, so the rest is left alone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::apply::Work;
use crate::delegate::base_of_relative_paths;
use crate::error::{Error, Result};
use crate::hierarchy::{Controller, Hierarchy};
use crate::node::{Node, remove_empty};
use crate::path::GroupPath;
use crate::{Limits, Plan};

/// A control group. One from [`Cgroup::create`] is removed, with everything in it killed, when it is
/// dropped: call [`Cgroup::remove`] to learn how that went, [`Cgroup::keep`] to leave it in place. One from
/// [`Cgroup::open`] is only looked at, and outlives the value.
#[derive(Debug)]
#[must_use]
pub struct Cgroup {
    pub(crate) hierarchy: Hierarchy,
    pub(crate) location: GroupPath,
    pub(crate) path: PathBuf,
    pub(crate) unified: Option<Node>,
    pub(crate) legacy: Vec<Node>,
    owned: bool,
}

/// Lets a process that is not yet running its program enter the version 1 groups by itself.
///
/// Moving *another* process takes a lock whose first use waits for a grace period of RCU: 10 ms on an idle
/// machine. A single-threaded process that moves itself through `tasks` needs no such lock: 5 µs for each hierarchy.
#[derive(Debug)]
pub struct Joiner {
    tasks: Vec<OwnedFd>,
}

impl Joiner {
    /// Moves the calling thread, which must be its process's only one. Allocates nothing: fit for a cloned child.
    pub fn enter(&self) -> std::result::Result<(), Errno> {
        for tasks in &self.tasks {
            rustix::io::write(tasks, b"0")?;
        }
        Ok(())
    }
}

/// How long removal waits for killed processes to be gone.
const REMOVE_LIMIT: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Makes the group with its limits: all of it, or nothing.
    ///
    /// Fails with [`Error::NotDelegated`] or [`Error::NotMounted`] (see [`Error::is_not_delegated`]) where
    /// this process may make none, with [`Error::InUse`] when one of that name has processes, and with
    /// [`Error::Unenforceable`] when a limit would not hold.
    pub fn create(hierarchy: &Hierarchy, plan: &Plan) -> Result<Self> {
        let location = locate(hierarchy, &plan.path)?;
        let work = Work::plan(hierarchy, &plan.limits)?;
        let mut group = Self::nowhere(hierarchy, location);
        group.owned = true;
        if let Some(mount) = &hierarchy.unified {
            group.unified = Some(Node::make(mount, &group.location)?);
        }
        // Older than 5.14, it cannot kill, and perhaps not freeze.
        let alone = !group.unified.as_ref().is_some_and(|node| node.dir.has("cgroup.kill"));
        for mount in &hierarchy.legacy {
            if mount.controllers.iter().any(|controller| needs_legacy(*controller, &work, alone)) {
                group.legacy.push(Node::make(mount, &group.location)?);
            }
        }
        group.enforce(&work, &plan.limits, true)?;
        Ok(group)
    }

    /// Opens the group at `path`, which is [`Plan::path`] or what [`Cgroup::path`] said, wherever it exists.
    pub fn open(hierarchy: &Hierarchy, path: &Path) -> Result<Self> {
        let mut group = Self::nowhere(hierarchy, locate(hierarchy, path)?);
        if let Some(mount) = &hierarchy.unified {
            group.unified = Node::open(mount, &group.location)?;
        }
        for mount in &hierarchy.legacy {
            group.legacy.extend(Node::open(mount, &group.location)?);
        }
        if group.unified.is_none() && group.legacy.is_empty() {
            return Err(Error::Missing { path: group.path.clone() });
        }
        Ok(group)
    }

    fn nowhere(hierarchy: &Hierarchy, location: GroupPath) -> Self {
        let path = location.to_path();
        Self { hierarchy: hierarchy.clone(), location, path, unified: None, legacy: Vec::new(), owned: false }
    }

    /// A value for another group of the same hierarchies, with nothing opened yet.
    pub(crate) fn nothing_yet(&self) -> Self {
        Self::nowhere(&self.hierarchy, self.location.clone())
    }

    /// The absolute path below every hierarchy's root: what to write down in order to [`Cgroup::open`] it later.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor for `CLONE_INTO_CGROUP`; `None` where there is no unified hierarchy.
    /// Besides being cloned into it, the child must [`Joiner::enter`], or be [`Cgroup::join`]ed.
    pub fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(|node| node.dir.as_fd())
    }

    /// What the child needs to enter the groups that cloning does not reach. Nothing on version 2.
    pub fn joiner(&self) -> Result<Joiner> {
        let open = |node: &Node| {
            node.dir.file("tasks", OFlags::WRONLY).map_err(|errno| node.dir.failed("open", "tasks", errno))
        };
        let tasks = self.legacy.iter().map(open).collect::<Result<_>>()?;
        Ok(Joiner { tasks })
    }

    /// Moves a process, with all its threads, into the group in every hierarchy. May take 10 ms: see [`Joiner`].
    pub fn join(&self, pid: Pid) -> Result<()> {
        self.legacy.iter().chain(&self.unified).try_for_each(|node| join_node(node, pid))
    }

    /// Changes the limits that are set in `limits`; the others stay, device rules too if there are none.
    /// Where one is refused, those before it have been set.
    pub fn update(&mut self, limits: &Limits) -> Result<()> {
        let work = Work::plan(&self.hierarchy, limits)?;
        self.refuse_to_kill(limits)?;
        let before = self.legacy.len();
        let missing: Vec<_> = self
            .hierarchy
            .legacy
            .iter()
            .filter(|mount| {
                let about = mount.controllers.iter().any(|controller| work.is_about(*controller));
                about && !self.legacy.iter().any(|node| node.controllers == mount.controllers)
            })
            .collect();
        for mount in missing {
            let node = Node::make(mount, &self.location)?;
            self.legacy.push(node);
        }
        self.enforce(&work, limits, false)?;
        self.legacy.iter().skip(before).try_for_each(|node| self.move_all_into(node))
    }

    /// Kills what is left and removes the group, with the groups that its processes made below it.
    pub fn remove(mut self) -> Result<()> {
        self.owned = false;
        self.remove_everywhere()
    }

    /// Leaves the group in place.
    pub fn keep(mut self) {
        self.owned = false;
    }

    /// The unified directory goes last: killing works through it.
    fn remove_everywhere(&self) -> Result<()> {
        let mut left: Vec<(&Node, Errno)> = Vec::new();
        for node in self.legacy.iter().chain(&self.unified) {
            left.extend(node.remove().err().map(|errno| (node, errno)));
        }
        let deadline = Instant::now() + REMOVE_LIMIT;
        let mut pause = Duration::from_micros(250);
        while let Some((node, errno)) = left.first() {
            if *errno != Errno::BUSY && *errno != Errno::NOTEMPTY {
                return Err(Error::Group {
                    attempt: "remove",
                    path: node.dir.path().to_owned(),
                    errno: *errno,
                });
            }
            if Instant::now() > deadline {
                return Err(Error::timeout(&node.dir, "empty", REMOVE_LIMIT));
            }
            self.kill_below(&left)?;
            left = left
                .into_iter()
                .filter_map(|(node, _)| {
                    let removed = node.dir.remove_children().and_then(|()| node.remove());
                    removed.err().map(|errno| (node, errno))
                })
                .collect();
            if !left.is_empty() {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Kills what keeps directories from being removed: all of the group where it is whole, and whatever was moved
    /// out of the unified group but is still in another.
    fn kill_below(&self, left: &[(&Node, Errno)]) -> Result<()> {
        if left.iter().any(|(node, _)| node.controllers.is_empty()) {
            self.kill_all()?;
        }
        let legacy = left.iter().map(|(node, _)| node).filter(|node| !node.controllers.is_empty());
        legacy.into_iter().try_for_each(|node| crate::control::kill_each(&node.dir))
    }
}

/// Whether there must be a group in the version 1 hierarchy of `controller`; see the head of this file. `alone` is
/// without a unified hierarchy of much use.
fn needs_legacy(controller: Controller, work: &Work, alone: bool) -> bool {
    match controller {
        Controller::Memory | Controller::Pids | Controller::Cpu => true,
        Controller::Cpuacct | Controller::Freezer => alone,
        Controller::Blkio
        | Controller::Cpuset
        | Controller::Devices
        | Controller::Hugetlb
        | Controller::NetCls
        | Controller::NetPrio
        | Controller::Rdma => work.is_about(controller),
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if self.owned
            && let Err(error) = self.remove_everywhere()
        {
            tracing::warn!(group = %self.path.display(), error = &error as &dyn std::error::Error, "left behind");
        }
    }
}

impl Hierarchy {
    /// Removes the group at `path` and those above it, as far as they hold neither processes nor groups. Containers
    /// share the groups above theirs, so [`Cgroup::remove`] leaves them: this is for tidying up.
    pub fn remove_empty(&self, path: &Path) -> Result<()> {
        let location = locate(self, path)?;
        self.legacy.iter().chain(&self.unified).for_each(|mount| remove_empty(mount, &location));
        Ok(())
    }
}

/// Moves a process into one group, with all its threads.
pub(crate) fn join_node(node: &Node, pid: Pid) -> Result<()> {
    const FILE: &str = "cgroup.procs";
    let written = node.dir.write(FILE, &pid.as_raw_nonzero().to_string());
    written.map_err(|errno| node.dir.failed("move a process into", FILE, errno))
}

/// From a plan's path to one that holds in every hierarchy.
///
/// A relative path starts at version 2's delegated group. In version 1, where our own group differs from hierarchy
/// to hierarchy, it starts at the root: one path must be enough to find the group again.
pub(crate) fn locate(hierarchy: &Hierarchy, path: &Path) -> Result<GroupPath> {
    let parsed = GroupPath::parse(path)?;
    match (&hierarchy.unified, hierarchy.legacy.is_empty()) {
        (None, true) => Err(Error::NotMounted { path: path.to_owned() }),
        (Some(mount), true) if !parsed.absolute => Ok(parsed.below(&base_of_relative_paths(mount)?)),
        _ => Ok(parsed),
    }
}
