//! What devices that a container has by name change of its plan: the last word on it, as the specification has it.

use std::path::Path;

use cgroup::DeviceRule;
use runtime::LaunchPlan;
use runtime::plan::{Device, DeviceKind, Hooks, Mount, MountIdMap, MountKind, Propagation, User};

/// The changes of all devices together, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DeviceEdits {
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
    pub(crate) devices: Vec<NamedNode>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) hooks: Hooks,
    /// Further groups of the program.
    pub(crate) groups: Vec<u32>,
}

/// A node, and what may be done with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedNode {
    pub(crate) device: Device,
    /// Some of `rwm`.
    pub(crate) permissions: String,
    /// Whether its owner is said; else it is who runs the program.
    pub(crate) has_uid: bool,
    /// The same of its group.
    pub(crate) has_gid: bool,
}

impl DeviceEdits {
    /// Changes a plan. `id_map` is how files of the host are mapped for this container.
    pub(crate) fn apply(&self, plan: &mut LaunchPlan, id_map: &MountIdMap) {
        if *self == Self::default() {
            return;
        }
        self.set_variables(&mut plan.process.env);
        let owner = numbers(&plan.process.user);
        for node in &self.devices {
            let mut device = node.device.clone();
            device.uid = if node.has_uid { device.uid } else { owner.0 };
            device.gid = if node.has_gid { device.gid } else { owner.1 };
            if let (Some(group), Some(rule)) = (&mut plan.cgroup, rule(node)) {
                group.limits.devices.push(rule);
            }
            plan.devices.retain(|known| known.path != device.path);
            plan.devices.push(device);
        }
        for mount in &self.mounts {
            let mut mount = mount.clone();
            if matches!(mount.kind, MountKind::Bind { .. }) {
                if mount.id_map == MountIdMap::None {
                    mount.id_map = id_map.clone();
                }
                mount.propagation = mount.propagation.or(Some(Propagation::RecursivePrivate));
            }
            plan.mounts.retain(|known| known.target != mount.target);
            plan.mounts.push(mount);
        }
        if !self.mounts.is_empty() {
            // Parents before what is mounted inside them; the sort keeps the order of equals.
            plan.mounts.sort_by_key(|mount| mount.target.components().count());
        }
        let Hooks {
            prestart, create_runtime, create_container, start_container, poststart, poststop, ..
        } = self.hooks.clone();
        plan.hooks.state.id.clone_from(&plan.id);
        plan.hooks.prestart.extend(prestart);
        plan.hooks.create_runtime.extend(create_runtime);
        plan.hooks.create_container.extend(create_container);
        plan.hooks.start_container.extend(start_container);
        plan.hooks.poststart.extend(poststart);
        plan.hooks.poststop.extend(poststop);
        self.join(&mut plan.process.user);
    }

    /// Sets the variables, each in the place of one that has its name.
    pub(crate) fn set_variables(&self, env: &mut Vec<String>) {
        let name_of = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name).to_owned();
        for entry in &self.env {
            let name = name_of(entry);
            env.retain(|known| name_of(known) != name);
            env.push(entry.clone());
        }
    }

    /// Adds the groups to those that a program has.
    pub(crate) fn join(&self, user: &mut User) {
        match user {
            User::Ids { groups, .. } => {
                let new = self.groups.iter().copied().filter(|group| !groups.contains(group));
                let new: Vec<u32> = new.collect();
                groups.extend(new);
            }
            User::Named { extra_groups, .. } => {
                let new =
                    self.groups.iter().map(u32::to_string).filter(|group| !extra_groups.contains(group));
                let new: Vec<String> = new.collect();
                extra_groups.extend(new);
            }
        }
    }

    /// Where something is made in the root to be mounted on.
    pub(crate) fn mount_points(&self) -> impl Iterator<Item = String> {
        let nodes = self.devices.iter().map(|node| node.device.path.as_path());
        let mounts = self.mounts.iter().map(|mount| mount.target.as_path());
        nodes
            .chain(mounts)
            .filter(|path| !path.starts_with("/dev"))
            .filter_map(Path::to_str)
            .map(str::to_owned)
    }
}

fn rule(node: &NamedNode) -> Option<DeviceRule> {
    let kind = match node.device.kind {
        DeviceKind::Char => cgroup::DeviceKind::Char,
        DeviceKind::Block => cgroup::DeviceKind::Block,
        DeviceKind::Fifo => return None,
    };
    let may = |access| node.permissions.contains(access);
    let rule = DeviceRule {
        allow: true,
        kind: Some(kind),
        major: Some(node.device.major),
        minor: Some(node.device.minor),
        read: may('r'),
        write: may('w'),
        mknod: may('m'),
    };
    (rule.read || rule.write || rule.mknod).then_some(rule)
}

/// The ids of a user who is named by numbers; root's where only the image's files tell.
fn numbers(user: &User) -> (u32, u32) {
    match user {
        User::Ids { uid, gid, .. } => (*uid, *gid),
        User::Named { spec, .. } => {
            let (uid, gid) = spec.split_once(':').unwrap_or((spec, ""));
            (uid.parse().unwrap_or_default(), gid.parse().unwrap_or_default())
        }
    }
}

#[cfg(test)]
#[path = "named/tests.rs"]
mod tests;
