//! A writable layer on a disk of its own: a file with an ext4 file system, which is full when the layer may not grow.
//!
//! Every mount of it is detached, like every other that goes into a root, and so goes with the container's own mount
//! namespace, or with the process that reads the layer; the loop device goes with the last mount. Who comes while it
//! is mounted shares the device ([`linux::loopback`]) and with it the file system: readers see what the container has
//! written a moment ago.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use linux::loopback::LoopDevice;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use crate::{InitFailure, Step};

/// How long somebody may take to attach the file, or to detach it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Mounts the disk to be written to; `volatile` when nobody wants it after a loss of power.
pub(crate) fn mount(file: &Path, volatile: bool) -> Result<OwnedFd, InitFailure> {
    let at = |errno| explained(file, errno);
    let device = device_of(file, !volatile).map_err(at)?;
    attach(&device, volatile, MountAttrFlags::empty()).map_err(at)
}

/// Mounts the disk to be read, if there is one yet. Its journal is replayed all the same.
pub(crate) fn mount_to_read(file: &Path) -> Result<Option<OwnedFd>, InitFailure> {
    let device = match device_of(file, true) {
        Err(Errno::NOENT) => return Ok(None),
        found => found.map_err(|errno| explained(file, errno))?,
    };
    let mount = attach(&device, false, MountAttrFlags::MOUNT_ATTR_RDONLY);
    mount.map(Some).map_err(|errno| explained(file, errno))
}

fn explained(file: &Path, errno: Errno) -> InitFailure {
    let why = match errno {
        Errno::NOENT | Errno::NXIO | Errno::NODEV => {
            "is there /dev/loop-control, and the kernel's loop driver?"
        }
        Errno::BUSY => "somebody else has attached the file to a loop device",
        _ => "",
    };
    InitFailure::new(Step::Root, format!("the disk of the writable layer, {}", file.display()), errno, why)
}

fn device_of(file: &Path, direct: bool) -> Result<LoopDevice, Errno> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match LoopDevice::of(file, direct)? {
            Some(device) => return Ok(device),
            None if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(1)),
            None => return Err(Errno::BUSY),
        }
    }
}

/// Mounts a device, which lets go of its file after that mount. Where it is mounted already, the options are those of the
/// first.
fn attach(device: &LoopDevice, volatile: bool, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    let context = fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", device.path())?;
    // What is removed in it goes back to the file system that holds the file.
    fsconfig_set_flag(&context, "discard")?;
    if volatile {
        fsconfig_set_flag(&context, "nobarrier")?;
    }
    fsconfig_create(&context)?;
    let attributes = attributes | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
