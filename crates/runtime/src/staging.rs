//! Overlays on kernels that take neither descriptors nor detached mounts as layers (before 6.13).
//!
//! The layers are attached on a tmpfs in a mount namespace that a short-lived child makes for this alone; the child
//! sends the finished overlay back as a detached mount and ends. Nobody else ever sees the layers attached.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use linux::process::{Clone, Cloned, NEW_NS, clone, exit_now, unshare_namespaces};
use rustix::fs::{CWD, Mode, mkdir};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change, move_mount,
    open_tree,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::error::failed;
use crate::link::{Link, Report};
use crate::root::WritableMount;
use crate::{InitFailure, Step};

/// Makes the overlay of `lower` (uppermost first) and `writable` .
pub(crate) fn overlay(
    lower: &[OwnedFd],
    writable: Option<&WritableMount<'_>>,
    userxattr: bool,
) -> Result<OwnedFd, InitFailure> {
    let at = |errno| failed(Step::Root, "overlay, in a mount namespace of its own")(errno);
    let (near, far) = Link::pair().map_err(at)?;
    match clone(Clone::default()).map_err(at)? {
        Cloned::Child => {
            drop(near);
            let sent = match build(lower, writable, userxattr) {
                Ok(overlay) => far.send(&Report::Mounted, &[overlay.as_fd()]),
                Err(errno) => far.send(&Report::Failed(at(errno)), &[]),
            };
            exit_now(u8::from(sent.is_err()))
        }
        Cloned::Parent { pidfd, .. } => {
            drop(far);
            let answer = near.receive::<Report>().map_err(at);
            waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).map_err(at)?;
            match answer? {
                Some((Report::Mounted, mut descriptors)) if descriptors.len() == 1 => {
                    Ok(descriptors.remove(0))
                }
                Some((Report::Failed(failure), _)) => Err(failure),
                _ => Err(at(Errno::PIPE)),
            }
        }
    }
}

fn build(lower: &[OwnedFd], writable: Option<&WritableMount<'_>>, userxattr: bool) -> Result<OwnedFd, Errno> {
    unshare_namespaces(NEW_NS)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    // Any directory will do to be covered; this one every system has.
    mount("tmpfs", "/proc", "tmpfs", MountFlags::empty(), None)?;
    rustix::process::chdir("/proc")?;
    let mut names = Vec::with_capacity(lower.len());
    for (number, layer) in lower.iter().enumerate() {
        let name = format!("{number}");
        attach(layer, &name)?;
        names.push(name);
    }
    let mut options = format!("lowerdir={}", names.join(":"));
    if let Some(WritableMount { folder, upper, work, volatile }) = writable {
        attach(folder, "writable")?;
        options.push_str(&format!(
            ",upperdir=writable/{},workdir=writable/{}",
            upper.display(),
            work.display()
        ));
        if *volatile {
            options.push_str(",volatile");
        }
    }
    options.push_str(if userxattr { ",userxattr" } else { ",redirect_dir=nofollow" });
    mkdir("overlay", Mode::RWXU)?;
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    mount("overlay", "overlay", "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
    open_tree(CWD, "overlay", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

fn attach(detached: &OwnedFd, name: &str) -> Result<(), Errno> {
    mkdir(name, Mode::RWXU)?;
    move_mount(detached, "", CWD, Path::new(name), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
