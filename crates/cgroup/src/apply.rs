//! Puts limits into force: decides which hierarchy holds each one, then writes it there.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::delegate::{self, Need};
use crate::device_program;
use crate::devices::LegacyAccess;
use crate::error::{Error, Result};
use crate::group::{Cgroup, join_node};
use crate::hierarchy::{Controller, Hierarchy};
use crate::node::Node;
use crate::setting::apply_all;
use crate::unified::Present;
use crate::{DeviceRule, Limits, inherit, legacy, unified};

/// Which controllers have something to do, by where they are.
#[derive(Debug, Default)]
pub(crate) struct Work {
    legacy: Vec<Controller>,
    unified: Vec<Controller>,
}

/// Controllers with limits.
const LIMITING: [Controller; 10] = [
    Controller::Memory,
    Controller::Cpu,
    Controller::Cpuset,
    Controller::Pids,
    Controller::Blkio,
    Controller::Hugetlb,
    Controller::NetCls,
    Controller::NetPrio,
    Controller::Rdma,
    Controller::Devices,
];

/// What version 2 alone counts without a limit.
const COUNTING: [&str; 4] = ["cpu", "memory", "pids", "io"];

impl Work {
    /// Refuses what neither version of this system can enforce, before anything is made.
    pub(crate) fn plan(hierarchy: &Hierarchy, limits: &Limits) -> Result<Self> {
        let mut work = Self::default();
        for controller in LIMITING {
            let Some(limit) = first_limit(controller, limits)? else { continue };
            if hierarchy.legacy_home(controller).is_some() {
                check_legacy(controller, limits)?;
                work.legacy.push(controller);
            } else if hierarchy.unified.is_some() {
                // What version 2 has not is refused here by name.
                unified::settings(controller, limits, &Present::unknown())?;
                work.unified.push(controller);
            } else {
                return Err(Error::Unenforceable {
                    limit: limit.to_owned(),
                    reason: format!("controller {} is not mounted", controller.legacy_name()),
                });
            }
        }
        if !limits.unified.is_empty() {
            unified::named(limits)?;
            if hierarchy.unified.is_none() {
                return Err(Error::Unenforceable {
                    limit: "unified".to_owned(),
                    reason: "there are no control groups of version 2".to_owned(),
                });
            }
        }
        Ok(work)
    }

    /// Whether this version 1 controller has something to do.
    pub(crate) fn is_about(&self, controller: Controller) -> bool {
        self.legacy.contains(&controller)
    }

    /// Version 2 controllers that must be there, or that should be there to count.
    fn needs(&self, hierarchy: &Hierarchy, limits: &Limits) -> Result<Vec<Need>> {
        let mut needs: Vec<Need> = Vec::new();
        let mut add = |controller: &str, limit| {
            if !needs.iter().any(|need| need.controller == controller) {
                needs.push(Need { controller: controller.to_owned(), limit });
            }
        };
        for controller in &self.unified {
            if let Some(name) = controller.unified_name() {
                add(name, first_limit(*controller, limits)?);
            }
        }
        unified::named_controllers(limits).for_each(|name| add(name, Some("unified")));
        if hierarchy.legacy.is_empty() {
            COUNTING.iter().for_each(|name| add(name, None));
        }
        Ok(needs)
    }
}

/// The first limit that needs `controller`, in the words of version 1, which knows them all.
fn first_limit(controller: Controller, limits: &Limits) -> Result<Option<&'static str>> {
    if controller == Controller::Devices {
        return Ok((!limits.devices.is_empty()).then_some("devices"));
    }
    Ok(legacy::settings(controller, limits)?.first().map(|setting| setting.limit))
}

fn check_legacy(controller: Controller, limits: &Limits) -> Result<()> {
    if controller == Controller::Devices {
        LegacyAccess::of(&limits.devices)?;
    }
    Ok(())
}

impl Cgroup {
    /// Writes every limit of `work`, after giving the groups what they need for it. A fresh group has no limits yet.
    pub(crate) fn enforce(&self, work: &Work, limits: &Limits, fresh: bool) -> Result<()> {
        if let (Some(mount), Some(node)) = (&self.hierarchy.unified, &self.unified) {
            let needs = work.needs(&self.hierarchy, limits)?;
            if !needs.is_empty() {
                delegate::provide(mount, &self.location, &node.dir, &needs)?;
            }
            self.enforce_unified(node, work, limits)?;
        }
        for controller in &work.legacy {
            let Some(node) = self.legacy_node(*controller) else { continue };
            match controller {
                Controller::Devices => set_legacy_devices(node, &limits.devices, fresh)?,
                Controller::Cpuset => inherit::fill_cpusets(&self.hierarchy, &self.location)?,
                Controller::Cpu => inherit::raise_realtime(&self.hierarchy, &self.location, limits)?,
                Controller::Blkio
                | Controller::Cpuacct
                | Controller::Freezer
                | Controller::Hugetlb
                | Controller::Memory
                | Controller::NetCls
                | Controller::NetPrio
                | Controller::Pids
                | Controller::Rdma => {}
            }
            apply_all(&legacy::settings(*controller, limits)?, &node.dir)?;
        }
        Ok(())
    }

    fn enforce_unified(&self, node: &Node, work: &Work, limits: &Limits) -> Result<()> {
        for controller in &work.unified {
            if *controller == Controller::Devices {
                set_device_program(node, &limits.devices)?;
            }
            let present = Present::read(&node.dir);
            apply_all(&unified::settings(*controller, limits, &present)?, &node.dir)?;
        }
        apply_all(&unified::named(limits)?, &node.dir)
    }

    /// The version 1 group that has `controller`.
    pub(crate) fn legacy_node(&self, controller: Controller) -> Option<&Node> {
        self.legacy.iter().find(|node| node.controllers.contains(&controller))
    }

    /// Moves every process of the group into `node`, which was made later than the others.
    pub(crate) fn move_all_into(&self, node: &Node) -> Result<()> {
        // A process that forks meanwhile leaves its child in the old group: until a round finds nobody new.
        let mut moved: HashSet<Pid> = HashSet::new();
        loop {
            let mut pids = self.pids()?;
            pids.retain(|pid| !moved.contains(pid));
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                match join_node(node, pid) {
                    Ok(()) | Err(Error::Group { errno: Errno::SRCH, .. }) => drop(moved.insert(pid)),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Refuses a memory limit below what is in use, if the limits ask for that.
    pub(crate) fn refuse_to_kill(&self, limits: &Limits) -> Result<()> {
        let Some(limit) = limits.memory.filter(|limit| *limit > 0 && limits.memory_check_before_update)
        else {
            return Ok(());
        };
        let used = self.memory_in_use()?;
        if i64::try_from(used).is_ok_and(|used| used <= limit) {
            return Ok(());
        }
        Err(Error::Invalid {
            limit: "memory.limit",
            value: limit.to_string(),
            reason: format!("is less than the {used} bytes in use, and memory.checkBeforeUpdate is set"),
        })
    }
}

/// `devices.list` is asked only for a group in use: what stays allowed there must not be taken away for a moment.
fn set_legacy_devices(node: &Node, rules: &[DeviceRule], fresh: bool) -> Result<()> {
    let present = if fresh {
        None
    } else {
        let list = node.dir.require("devices.list")?;
        Some(LegacyAccess::parse(&list).ok_or_else(|| node.dir.unreadable("devices.list", &list))?)
    };
    let writes = LegacyAccess::of(rules)?.writes(present.as_ref());
    for chunk in writes.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((file, _)) = chunk.first() else { continue };
        let set = node.dir.write_each(file, chunk.iter().map(|(_, value)| &**value));
        set.map_err(|(value, errno)| Error::Set {
            limit: "devices",
            file: node.dir.path().join(file),
            value: value.to_owned(),
            errno,
        })?;
    }
    Ok(())
}

/// Replaces our program on the group in one step, or attaches the first.
///
/// Only the host's root may load one. Others do without: in a user namespace no device node can be made, and what a user
/// without root may open is decided by permissions that a container cannot change.
fn set_device_program(node: &Node, rules: &[DeviceRule]) -> Result<()> {
    match replace_device_program(node, rules) {
        Err(Error::DeviceProgram { errno: Errno::PERM | Errno::ACCESS, .. }) if !is_host_root()? => {
            tracing::debug!(group = %node.dir.path().display(), "device rules are left to permissions");
            Ok(())
        }
        outcome => outcome,
    }
}

/// Whether we are root, and not in a user namespace of less than all ids.
fn is_host_root() -> Result<bool> {
    let map = linux::file::read_to_string(Path::new("/proc/self/uid_map")).map_err(Error::Detect)?;
    let all = ["0", "0", "4294967295"];
    Ok(rustix::process::geteuid().is_root() && map.split_whitespace().eq(all))
}

fn replace_device_program(node: &Node, rules: &[DeviceRule]) -> Result<()> {
    let failed =
        |attempt| move |errno| Error::DeviceProgram { attempt, path: node.dir.path().to_owned(), errno };
    let group = node.dir.as_fd();
    let program = linux::bpf::load_device_program(&device_program::assemble(rules), device_program::NAME)
        .map_err(failed("load"))?;
    let present =
        linux::bpf::attached_device_program(group, device_program::NAME).map_err(failed("look for"))?;
    let present = present.as_ref().map(AsFd::as_fd);
    linux::bpf::attach_device_program(group, program.as_fd(), present).map_err(failed("attach"))
}
