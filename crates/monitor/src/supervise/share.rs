//! One mount of an image for all its containers, and so one copy of what they read from it in memory: every mount of
//! an index has a page cache of its own.
//!
//! A monitor that had to mount an index offers that mount to those that start later. A symbolic link beside the run
//! directories says where it is: `images/<name of the index>` → `<pid>:<descriptor>:<mount id>`. Nobody is asked, so
//! nobody is waited for. The kernel gives no mount id out twice before a reboot, so a link that outlived its monitor is
//! found out, whoever has the pid and the descriptor by then.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use runtime::plan::RootSource;
use rustix::fs::{AtFlags, CWD, StatxFlags, readlinkat, rename, statx, symlink, unlink};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::plan::MonitorPlan;

/// Beside the run directories of containers, whose names are 64 digits.
const FOLDER: &str = "images";
/// `STATX_MNT_ID_UNIQUE` of `linux/stat.h`, since 6.8.
const UNIQUE_MOUNT_ID: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The offer of this monitor's mount; taken back when dropped.
#[derive(Debug)]
pub(crate) struct Offer {
    link: PathBuf,
    target: String,
}

/// A mount of the image of `plan` that another monitor offers.
pub(crate) fn find(plan: &MonitorPlan) -> Option<OwnedFd> {
    let target = readlinkat(CWD, link(plan)?, Vec::new()).ok()?;
    let place = Place::parse(target.to_str().ok()?)?;
    let monitor = pidfd_open(Pid::from_raw(place.pid)?, PidfdFlags::empty()).ok()?;
    let mount = pidfd_getfd(&monitor, place.descriptor, PidfdGetfdFlags::empty()).ok()?;
    (mount_id(mount.as_fd()).ok()? == place.mount_id).then_some(mount)
}

/// Offers `image`, the mount that this monitor has made for `plan`. Without it, others use more memory, that is all.
pub(crate) fn offer(plan: &MonitorPlan, image: BorrowedFd<'_>) -> Option<Offer> {
    let link = link(plan)?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let place = Place { pid, descriptor: image.as_raw_fd(), mount_id: mount_id(image).ok()? };
    linux::file::create_dir(link.parent()?, 0o700).ok()?;
    let target = place.to_string();
    // Given its name at once, whoever else is doing the same.
    let unnamed = link.with_extension(pid.to_string());
    symlink(&target, &unnamed).ok()?;
    if rename(&unnamed, &link).is_err() {
        let _ = unlink(&unnamed);
        return None;
    }
    Some(Offer { link, target })
}

impl Drop for Offer {
    fn drop(&mut self) {
        // Someone else's that comes in between is lost, and offered again by the next to mount.
        if readlinkat(CWD, &self.link, Vec::new())
            .is_ok_and(|found| found.as_bytes() == self.target.as_bytes())
        {
            let _ = unlink(&self.link);
        }
    }
}

/// Where a mount is held.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    pid: i32,
    descriptor: i32,
    mount_id: u64,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let place = Self {
            pid: parts.next()?.parse().ok()?,
            descriptor: parts.next()?.parse().ok()?,
            mount_id: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(place)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.pid, self.descriptor, self.mount_id)
    }
}

/// Where the mount of the image of `plan` is noted, if it is mounted from an index.
fn link(plan: &MonitorPlan) -> Option<PathBuf> {
    let RootSource::Erofs { index, .. } = &plan.launch.root.source else { return None };
    Some(plan.run_dir.parent()?.join(FOLDER).join(Path::new(index.file_name()?)))
}

/// The id of a mount by its root, never given to another until the next boot.
fn mount_id(mount: BorrowedFd<'_>) -> Result<u64, Errno> {
    let found = statx(mount, "", AtFlags::EMPTY_PATH, UNIQUE_MOUNT_ID)?;
    // An older kernel answers with an id that it reuses.
    if found.stx_mask & UNIQUE_MOUNT_ID.bits() == 0 { Err(Errno::NOSYS) } else { Ok(found.stx_mnt_id) }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = Place { pid: 4711, descriptor: 12, mount_id: 0x8000_0001_2345 };
        assert_eq!(Place::parse(&place.to_string()), Some(place));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in ["", "1", "1:2", "1:2:3:4", "1:2:x", "a:2:3", "99999999999:1:1"] {
            assert_eq!(Place::parse(text), None, "{text:?}");
        }
    }
}
