//! A small disk of a test's own, which can be full and can lose its power.

use std::path::PathBuf;
use std::process::Command;

use rustix::io::Errno;

use crate::Scratch;

/// A file system in a file, ext4 unless said otherwise. Dropping it unmounts it.
///
/// It is mounted so that nothing reaches the file by itself for a long time but what is synced: no writing before a
/// rename, no order between data and names, a commit every five minutes.
#[derive(Debug)]
pub struct Disk {
    folder: Scratch,
    megabytes: u32,
    options: &'static str,
}

const OPTIONS: &str = "loop,commit=300,data=writeback,noauto_da_alloc";

impl Disk {
    /// An empty one.
    pub fn new(megabytes: u32) -> Disk {
        Disk::made(megabytes, &[], OPTIONS)
    }

    /// One that counts and limits what projects have, which takes a kernel that can.
    pub fn with_project_quotas(megabytes: u32) -> Disk {
        Disk::made(megabytes, &["-O", "project,quota"], "loop,prjquota")
    }

    /// One of xfs, which counts and limits what projects have; at least 300 megabytes.
    pub fn xfs_with_project_quotas(megabytes: u32) -> Disk {
        Disk::formatted(megabytes, Command::new("mkfs.xfs").arg("-q"), "loop,prjquota")
    }

    /// One that counts what projects have, and limits nothing.
    pub fn with_projects_counted(megabytes: u32) -> Disk {
        Disk::made(megabytes, &["-O", "project,quota"], "loop")
    }

    fn made(megabytes: u32, features: &[&str], options: &'static str) -> Disk {
        let mut mkfs = Command::new("mkfs.ext4");
        mkfs.args(["-q", "-m", "0", "-b", "4096"]).args(features);
        Disk::formatted(megabytes, &mut mkfs, options)
    }

    fn formatted(megabytes: u32, mkfs: &mut Command, options: &'static str) -> Disk {
        let disk = Disk { folder: Scratch::new(), megabytes, options };
        let file = std::fs::File::create(disk.file()).expect("make a file for a disk");
        file.set_len(u64::from(megabytes) << 20).expect("give a disk its size");
        must(mkfs.arg(disk.file()));
        std::fs::create_dir(disk.path()).expect("make a mount point");
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.join("mounted")
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let path = self.filler();
        let mut size = u64::from(self.megabytes) << 20;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("make a file");
        let mut length = file.metadata().expect("examine a file").len();
        while size >= 1024 {
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), length, size) {
                Ok(()) => length += size,
                Err(_) => size /= 2,
            }
        }
    }

    /// Leaves so many megabytes free.
    pub fn leave(&self, megabytes: u32) {
        self.fill();
        let file = std::fs::OpenOptions::new().write(true).open(self.filler()).expect("open a file");
        let length = file.metadata().expect("examine a file").len();
        let left = length.checked_sub(u64::from(megabytes) << 20).expect("a disk that has so much room");
        file.set_len(left).expect("shorten a file");
    }

    /// Takes back what [`Disk::fill`] took.
    pub fn free(&self) {
        std::fs::remove_file(self.filler()).expect("remove a file");
    }

    /// Keeps what the file holds now: all that has reached the disk.
    pub fn cut_power(&self) {
        must(Command::new("cp").arg("--sparse=always").arg(self.file()).arg(self.file_after()));
    }

    /// Goes on with what the disk held when its power was cut. Nobody may use it any more.
    pub fn restore_power(&self) {
        self.unmount();
        std::fs::rename(self.file_after(), self.file()).expect("rename a disk's file");
        self.mount();
    }

    fn file(&self) -> PathBuf {
        self.folder.join("disk")
    }

    fn file_after(&self) -> PathBuf {
        self.folder.join("disk-after")
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    fn mount(&self) {
        must(Command::new("mount").args(["-o", self.options]).arg(self.file()).arg(self.path()));
    }

    /// What was killed may need a moment to let go of it.
    fn unmount(&self) {
        let mut patience = 100;
        while rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::empty()) == Err(Errno::BUSY)
            && patience > 0
        {
            patience -= 1;
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(patience > 0, "{} is in use", self.path().display());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::DETACH);
        } else {
            self.unmount();
        }
    }
}

/// Runs a program of the distribution's that has to succeed.
fn must(command: &mut Command) {
    let output = command.output().expect("start a program: install the packages of scripts/install-packages");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
