//! The container's own part of the control group hierarchies, at `/sys/fs/cgroup`.
//!
//! With a cgroup namespace of its own the container gets new mounts, whose root is its group: one cgroup2
//! on a unified host; on version 1 and hybrid hosts a tmpfs with one mount for each version 1 hierarchy. Without such a
//! namespace it is shown the host's mounts, read as the host has them.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use linux::mount::{MountChange, change_mount};
use rustix::fs::{Mode, OFlags, mkdirat, openat, statfs, symlinkat};
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

const CGROUP2_MAGIC: i64 = 0x6367_7270;
const HOST: &str = "/sys/fs/cgroup";

/// Mounts and attaches them; init is in its group and its namespaces.
pub(crate) fn mount(root: BorrowedFd<'_>, plan: &LaunchPlan, mount: &Mount) -> Result<(), InitFailure> {
    let at = |errno| failed(Step::Mount, format!("cgroup on {}", mount.target.display()))(errno);
    let bits = attribute_bits(&mount.attributes);
    let unified = statfs(HOST).is_ok_and(|fs| fs.f_type == CGROUP2_MAGIC);
    if plan.namespaces.cgroup == Namespace::Inherit {
        let clone = clone_tree(Path::new(HOST), true).map_err(at)?;
        change_mount(&clone, MountChange { set: bits, ..MountChange::default() }, true).map_err(at)?;
        return attach(root, &clone, mount);
    }
    if unified {
        let made = instance("cgroup2", &[], bits).map_err(at)?;
        return attach(root, &made, mount);
    }
    let folder = tmpfs().map_err(at)?;
    attach(root, &folder, mount)?;
    for (name, options) in hierarchies().map_err(at)? {
        one_hierarchy(&folder, &name, &options, bits)
            .map_err(failed(Step::Mount, format!("cgroup {name} on {}", mount.target.display())))?;
    }
    change_mount(&folder, MountChange { set: bits, ..MountChange::default() }, false).map_err(at)
}

/// The version 1 hierarchies this process is in: the name of each as the host's folder has it, and its mount options.
fn hierarchies() -> Result<Vec<(String, Vec<String>)>, Errno> {
    let text = linux::file::read_to_string(Path::new("/proc/self/cgroup")).map_err(|_| Errno::IO)?;
    let line = |line: &str| {
        let controllers = line.split(':').nth(1).filter(|controllers| !controllers.is_empty())?;
        match controllers.strip_prefix("name=") {
            Some(name) => Some((name.to_owned(), vec!["none".to_owned(), controllers.to_owned()])),
            None => Some((controllers.to_owned(), controllers.split(',').map(str::to_owned).collect())),
        }
    };
    Ok(text.lines().filter_map(line).collect())
}

fn one_hierarchy(folder: &OwnedFd, name: &str, options: &[String], bits: u64) -> Result<(), Errno> {
    let made = instance("cgroup", options, bits)?;
    mkdirat(folder, name, Mode::from_raw_mode(0o755))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    attach_at(&made, openat(folder, name, flags, Mode::empty())?)?;
    if let [_, _, ..] = options
        && options[0] != "none"
    {
        // Mounted together (`cpu,cpuacct`): each controller is found by its own name too.
        for controller in options {
            symlinkat(name, folder, controller.as_str())?;
        }
    }
    Ok(())
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
    #[test]
    fn every_version_1_hierarchy_of_this_host_is_found() {
        let found = super::hierarchies().unwrap();
        assert!(found.iter().all(|(name, options)| !name.is_empty() && !options.is_empty()), "{found:?}");
    }
}
