//! Into the new root, out of the old one.
//!
//! The new root lies over `/` of this mount namespace, out of sight of path lookups, which begin in the old one below it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use linux::mount::{ATTR_RDONLY, MountChange, change_mount};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use rustix::process::{chdir, chroot, fchdir, pivot_root};

use crate::error::failed;
use crate::init::set_propagation;
use crate::{InitFailure, LaunchPlan, Step};

/// Makes the new root `/`, and lets go of the old one with everything on it.
pub(crate) fn enter(plan: &LaunchPlan, root: &OwnedFd) -> Result<(), InitFailure> {
    let at = failed(Step::Pivot, "the new root");
    fchdir(root).map_err(failed(Step::Pivot, "the new root"))?;
    if plan.no_pivot {
        // The initial ramdisk cannot be unmounted: it stays below, where no path leads. But as long as a whole `proc` or
        // `sysfs` is anywhere in this mount namespace, a user namespace may mount a new one, without any mask
        // (mount_namespaces(7), "Restrictions on mount namespaces").
        cover_kernel_files(root)?;
        chroot(".").map_err(at)?;
    } else {
        pivot_root(".", ".").map_err(at)?;
        // The old root now lies over the new one; the working directory is still the new one below it.
        mount_change(".", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)
            .map_err(failed(Step::Pivot, "out of the old root"))?;
        unmount(".", UnmountFlags::DETACH).map_err(failed(Step::Pivot, "out of the old root"))?;
    }
    chdir("/").map_err(failed(Step::Pivot, "/"))?;
    set_propagation(root, plan.root.propagation, Path::new("/"))?;
    if plan.root.readonly {
        let change = MountChange { set: ATTR_RDONLY, ..MountChange::default() };
        change_mount(root, change, false).map_err(failed(Step::ReadOnly, "/"))?;
    }
    Ok(())
}

/// Takes every whole `proc` and `sysfs` out of the old root.
fn cover_kernel_files(root: &OwnedFd) -> Result<(), InitFailure> {
    let subject = "the old root's /proc and /sys";
    let at = |errno| failed(Step::Pivot, subject)(errno);
    let own = statx(root, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map_err(at)?.stx_mnt_id;
    let mut table = Vec::new();
    let file = openat(CWD, "/proc/thread-self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(at)?;
    File::from(file)
        .read_to_end(&mut table)
        .map_err(|error| InitFailure::because(Step::Pivot, subject, error.to_string()))?;
    for path in kernel_files(&table, own) {
        cover(&path).map_err(failed(Step::Pivot, format!("out of {}", path.display())))?;
    }
    Ok(())
}

fn cover(path: &Path) -> Result<(), Errno> {
    match mount_change(path, MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM) {
        // It has gone with what it was mounted on.
        Err(Errno::NOENT) => return Ok(()),
        result => result?,
    }
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // In a user namespace the mounts that came with it are locked.
        Err(Errno::INVAL | Errno::PERM) => mount("tmpfs", path, "tmpfs", MountFlags::RDONLY, None),
        result => result,
    }
}

/// Where `proc` and `sysfs` are mounted whole in `mountinfo` (proc(5)), but for what hangs on the mount `own`.
fn kernel_files(mountinfo: &[u8], own: u64) -> Vec<PathBuf> {
    let mut parents = HashMap::new();
    let mut found = Vec::new();
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let number = |at: usize| std::str::from_utf8(fields.get(at)?).ok()?.parse::<u64>().ok();
        let (Some(id), Some(parent)) = (number(0), number(1)) else { continue };
        parents.insert(id, parent);
        let kind = fields.iter().position(|field| *field == b"-").and_then(|dash| fields.get(dash + 1));
        if let (Some(&b"/"), Some(point), Some(&(b"proc" | b"sysfs"))) = (fields.get(3), fields.get(4), kind)
        {
            found.push((id, unescape(point)));
        }
    }
    let hangs_on_own = |mut id: u64| {
        // No chain is longer than the table.
        for _ in 0..=parents.len() {
            match parents.get(&id) {
                _ if id == own => return true,
                Some(&parent) if parent != id => id = parent,
                _ => return false,
            }
        }
        false
    };
    found.into_iter().filter(|(id, _)| !hangs_on_own(*id)).map(|(_, point)| point).collect()
}

/// Blanks and the like stand as a backslash and three octal digits.
pub(crate) fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|digits| *first == b'\\' && digits.iter().all(|d| (b'0'..b'8').contains(d)));
        match digits {
            Some(digits) => {
                bytes.push(
                    digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
                );
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_kernel_file_systems_outside_the_new_root_are_found() {
        let table = b"20 1 8:1 / / rw - ext4 /dev/vda rw\n\
            21 20 0:5 / /proc rw shared:2 master:1 - proc proc rw\n\
            22 21 0:6 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw\n\
            23 20 0:7 / /sys rw - sysfs sysfs rw\n\
            24 20 0:5 /sys /srv/part rw - proc proc rw\n\
            25 20 0:5 / /srv/a\\040b\\134 rw - proc proc rw\n\
            30 20 8:1 /root / rw - ext4 /dev/vda rw\n\
            31 30 0:9 / /proc rw - proc proc rw\n\
            32 30 0:7 / /sys ro - sysfs sysfs rw\n\
            33 31 0:9 /sys /proc/sys ro - proc proc rw\n\
            a line that makes no sense\n";
        let found = kernel_files(table, 30);
        let expected = ["/proc", "/sys", "/srv/a b\\"].map(PathBuf::from);
        assert_eq!(found, expected);
    }
}
