//! Loop devices: a file as a block device, for as long as somebody has it mounted.
//!
//! A file must never be two block devices at once: two file systems would each believe to be alone with it. So whoever
//! attaches one locks it first ([`crate::lock::lock_for_file`]) and gives the device the very descriptor that holds the
//! lock: the kernel keeps that open, and with it the lock, until the device lets go of the file. No process has to live
//! for it, and none that dies leaves it behind.
//!
//! ```text
//! attach: open ─► lock ─┬─ ours ──► LOOP_CONFIGURE (autoclear) ─► mounted ─► last user gone ─► detached, lock gone
//!                       └─ taken ─► find the device by its file ─► open: it cannot be detached now ─► mounted once more
//! ```

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, makedev, mknodat, openat};
use rustix::io::{Errno, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::lock;

const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LOOP_GET_STATUS64: libc::Ioctl = 0x4c05;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
const LOOP_MAJOR: u32 = 7;
/// How many free devices others may take before us.
const ATTEMPTS: usize = 64;

/// `struct loop_info64`
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const NO_INFO: LoopInfo = LoopInfo {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    sizelimit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

/// A device that has a file, held open: it keeps that file at least as long as this lives.
#[derive(Debug)]
pub struct LoopDevice {
    device: OwnedFd,
}

impl LoopDevice {
    /// The device of `file`: the one that it is, or a free one; None when somebody is just about to attach or detach it.
    /// `direct` goes past the page cache, where the file system below can.
    pub fn of(path: &Path, direct: bool) -> Result<Option<LoopDevice>> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(CWD, path, flags, Mode::empty())?;
        if lock::lock_for_file(&file)? {
            return attach(file.as_fd(), direct).map(Some);
        }
        find(file.as_fd(), path)
    }

    /// A path that leads to it as long as this lives.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.device.as_raw_fd()))
    }

    /// Whether it is the device of a file.
    fn has(&self, file: BorrowedFd<'_>) -> Result<bool> {
        let found = fstat(file)?;
        let mut info = NO_INFO;
        // SAFETY: the call fills one `loop_info64`, which is what `info` is laid out as, and which lives across it.
        let result =
            unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_GET_STATUS64, std::ptr::from_mut(&mut info)) };
        match checked(result) {
            Ok(_) => Ok(info.inode == found.st_ino && info.device == found.st_dev),
            // It has just been detached.
            Err(Errno::NXIO) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

fn open_device(number: u32, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    match openat(CWD, format!("/dev/loop{number}"), flags, Mode::empty()) {
        // Where nobody fills `/dev`, as in a container, it has the devices of the past.
        Err(Errno::NOENT) => open_unnamed(number, flags),
        opened => opened,
    }
}

/// Opens a device by its number alone: by a name on a file system that nobody else sees.
fn open_unnamed(number: u32, flags: OFlags) -> Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let place = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    mknodat(&place, "loop", FileType::BlockDevice, Mode::RUSR | Mode::WUSR, makedev(LOOP_MAJOR, number))?;
    openat(&place, "loop", flags, Mode::empty())
}

fn attach(file: BorrowedFd<'_>, direct: bool) -> Result<LoopDevice> {
    let control = openat(CWD, "/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    for _ in 0..ATTEMPTS {
        // SAFETY: no memory is passed.
        let free = checked(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
        let number = free.unsigned_abs();
        let device = open_device(number, OFlags::RDWR)?;
        match configure(device.as_fd(), file, direct) {
            Ok(()) => return Ok(LoopDevice { device }),
            // Somebody else was faster.
            Err(Errno::BUSY) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::BUSY)
}

fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>, direct: bool) -> Result<()> {
    let direct = if direct { LO_FLAGS_DIRECT_IO } else { 0 };
    let config = LoopConfig {
        fd: file.as_raw_fd().unsigned_abs(),
        block_size: 4096,
        info: LoopInfo { flags: LO_FLAGS_AUTOCLEAR | direct, ..NO_INFO },
        reserved: [0; 8],
    };
    const { assert!(size_of::<LoopConfig>() == 304) };
    // SAFETY: the call reads one `loop_config`, which is what `config` is laid out as, and which lives across it.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, std::ptr::from_ref(&config)) };
    checked(result).map(drop)
}

/// The device that a file is, if it is one.
fn find(file: BorrowedFd<'_>, path: &Path) -> Result<Option<LoopDevice>> {
    let name = path.file_name().unwrap_or_default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for entry in Dir::new(openat(CWD, "/sys/block", flags, Mode::empty())?)? {
        let entry = entry?;
        let number = entry.file_name().to_str().ok().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        let Some(number) = number else { continue };
        // One without a file has no such entry. Its path may have been renamed since, but not the name at its end.
        let Ok(backing) = crate::file::read(Path::new(&format!("/sys/block/loop{number}/loop/backing_file")))
        else {
            continue;
        };
        if !backing.trim_ascii_end().ends_with(name.as_encoded_bytes()) {
            continue;
        }
        let device = match open_device(number, OFlags::RDONLY) {
            Ok(device) => LoopDevice { device },
            // It is just being detached, or removed.
            Err(Errno::NXIO | Errno::NODEV) => continue,
            Err(errno) => return Err(errno),
        };
        if device.has(file)? {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

fn checked(result: i32) -> Result<i32> {
    if result < 0 {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_file_is_one_device_until_the_last_user_lets_go() {
        assert!(rustix::process::geteuid().is_root(), "this test makes a loop device and needs root");
        let path = std::env::temp_dir().join(format!("skiff-test-{}-loop", std::process::id()));
        let file = crate::file::create_new(&path, 0o600).unwrap();
        file.set_len(1 << 20).unwrap();
        let first = LoopDevice::of(&path, true).unwrap().unwrap();
        assert!(lock::is_locked(&file).unwrap());
        let again = LoopDevice::of(&path, true).unwrap().unwrap();
        let device = |of: &LoopDevice| fstat(&of.device).unwrap().st_rdev;
        assert_eq!(device(&again), device(&first));
        // Whatever `/dev` has.
        let number = rustix::fs::minor(device(&first));
        let unnamed = open_unnamed(number, OFlags::RDONLY | OFlags::CLOEXEC).unwrap();
        assert!(LoopDevice { device: unnamed }.has(file.as_fd()).unwrap());
        drop(first);
        // The lock is the device's, and no process's.
        assert!(lock::is_locked(&file).unwrap());
        assert_eq!(device(&LoopDevice::of(&path, false).unwrap().unwrap()), device(&again));
        drop(again);
        let give_up = Instant::now() + Duration::from_secs(5);
        while lock::is_locked(&file).unwrap() {
            assert!(Instant::now() < give_up, "the device keeps its file");
            std::thread::sleep(Duration::from_millis(1));
        }
        crate::file::remove(&path).unwrap();
        assert_eq!(LoopDevice::of(&path, true).unwrap_err(), Errno::NOENT);
    }
}
