//! The container's own part of the control group hierarchies, at `/sys/fs/cgroup`.
//!
//! With a cgroup namespace of its own the container sees its group as the root: one cgroup2 mount on a unified
//! host; on version 1 and hybrid hosts a tmpfs with its group of each version 1 hierarchy. That is a clone of the host's
//! mount from the group on, six times as fast as a new mount, which is made where the host's is not in its usual place.
//! Without a namespace of its own it is shown the host's mounts.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use linux::mount::{MountChange, change_mount};
use rustix::fs::{Mode, OFlags, fstatfs, mkdirat, openat, statfs, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use super::bind::clone_tree;
use super::{attach, attach_at, attribute_bits};
use crate::error::failed;
use crate::plan::{Mount, Namespace};
use crate::{InitFailure, LaunchPlan, Step};

const CGROUP_MAGIC: i64 = 0x0027_e0eb;
const CGROUP2_MAGIC: i64 = 0x6367_7270;
const HOST: &str = "/sys/fs/cgroup";

/// A process's group in one version 1 hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// The hierarchy as the host's folder has it: its controllers, or its name.
    name: String,
    /// What to mount it with.
    options: Vec<String>,
    /// Absolute, as seen from this process's cgroup namespace.
    path: String,
}

/// The groups this process is in, to be asked while it still sees them from outside.
pub(crate) fn own_groups() -> Result<Vec<Group>, InitFailure> {
    let text = linux::file::read_to_string(Path::new("/proc/self/cgroup"))
        .map_err(|error| InitFailure::because(Step::Cgroup, "of this process", error.to_string()))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<Group> {
    let group = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let controllers = fields.nth(1).filter(|controllers| !controllers.is_empty())?;
        let path = fields.next()?.to_owned();
        Some(match controllers.strip_prefix("name=") {
            Some(name) => Group {
                name: name.to_owned(),
                options: vec!["none".to_owned(), controllers.to_owned()],
                path,
            },
            None => Group {
                name: controllers.to_owned(),
                options: controllers.split(',').map(str::to_owned).collect(),
                path,
            },
        })
    };
    text.lines().filter_map(group).collect()
}

/// Mounts and attaches them; init is in its group and its namespaces.
pub(crate) fn mount(
    root: BorrowedFd<'_>,
    plan: &LaunchPlan,
    mount: &Mount,
    groups: &[Group],
) -> Result<(), InitFailure> {
    let at = |errno| failed(Step::Mount, format!("cgroup on {}", mount.target.display()))(errno);
    let bits = attribute_bits(&mount.attributes);
    if plan.namespaces.cgroup == Namespace::Inherit {
        let clone = clone_tree(Path::new(HOST), true).map_err(at)?;
        change_mount(&clone, MountChange { set: bits, ..MountChange::default() }, true).map_err(at)?;
        return attach(root, &clone, mount);
    }
    if statfs(HOST).is_ok_and(|fs| fs.f_type == CGROUP2_MAGIC) {
        let made = instance("cgroup2", &[], bits).map_err(at)?;
        return attach(root, &made, mount);
    }
    let folder = tmpfs().map_err(at)?;
    attach(root, &folder, mount)?;
    for group in groups {
        one_hierarchy(&folder, group, bits)
            .map_err(failed(Step::Mount, format!("cgroup {} on {}", group.name, mount.target.display())))?;
    }
    change_mount(&folder, MountChange { set: bits, ..MountChange::default() }, false).map_err(at)
}

fn one_hierarchy(folder: &OwnedFd, group: &Group, bits: u64) -> Result<(), Errno> {
    let made = match part_of_host(group) {
        Some(part) => {
            change_mount(&part, MountChange { set: bits, ..MountChange::default() }, false)?;
            part
        }
        None => instance("cgroup", &group.options, bits)?,
    };
    mkdirat(folder, group.name.as_str(), Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    attach_at(&made, openat(folder, group.name.as_str(), flags, Mode::empty())?)?;
    if group.options.len() > 1 && group.options[0] != "none" {
        // Mounted together (`cpu,cpuacct`): each controller is found by its own name too.
        for controller in &group.options {
            symlinkat(group.name.as_str(), folder, controller.as_str())?;
        }
    }
    Ok(())
}

/// A clone of the host's mount of the group's hierarchy, from the group on.
fn part_of_host(group: &Group) -> Option<OwnedFd> {
    let path = Path::new(HOST).join(&group.name).join(group.path.trim_start_matches('/'));
    let part = clone_tree(&path, false).ok()?;
    (fstatfs(&part).ok()?.f_type == CGROUP_MAGIC).then_some(part)
}

fn instance(fstype: &str, options: &[String], bits: u64) -> Result<OwnedFd, Errno> {
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "cgroup")?;
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None => fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(bits).unwrap_or(0));
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn tmpfs() -> Result<OwnedFd, Errno> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "tmpfs")?;
    fsconfig_set_string(&context, "mode", "0755")?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::{Group, parse};

    #[test]
    fn version_1_hierarchies_are_told_from_version_2() {
        let text = "5:cpu,cpuacct:/a\n3:name=systemd:/b:c\n2:memory:/\n0::/unified\n";
        let group = |name: &str, options: &[&str], path: &str| Group {
            name: name.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            path: path.to_owned(),
        };
        assert_eq!(
            parse(text),
            [
                group("cpu,cpuacct", &["cpu", "cpuacct"], "/a"),
                group("systemd", &["none", "name=systemd"], "/b:c"),
                group("memory", &["memory"], "/"),
            ]
        );
    }
}
