//! What containers mount of the host's, and when they let go of it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use testkit::{Output, Skiff};

/// A file system of the caller's, and a witness that tells when the kernel has given it up: a mount that is taken
/// off here lives on as long as a container has it.
struct Disk {
    path: PathBuf,
    witness: OwnedFd,
}

impl Disk {
    fn mount(path: PathBuf) -> Disk {
        std::fs::create_dir(&path).unwrap();
        rustix::mount::mount("tmpfs", &path, "tmpfs", MountFlags::empty(), None).unwrap();
        let witness = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&witness, &path, WatchFlags::CREATE).unwrap();
        Disk { path, witness }
    }

    /// Takes it off, and tells whether nobody has it any more.
    fn release(self) -> bool {
        rustix::mount::unmount(&self.path, UnmountFlags::empty()).unwrap();
        std::fs::remove_dir(&self.path).unwrap();
        let mut space = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.witness, &mut space);
        while let Ok(event) = events.next() {
            if event.events().contains(ReadFlags::UNMOUNT) {
                return true;
            }
        }
        false
    }
}

/// Runs the test of this name in a mount namespace of its own, where no other test's container copies its mounts
/// while it starts; true there.
fn is_alone(test: &str) -> bool {
    if std::env::var_os("SKIFF_TEST_ALONE").is_some() {
        return true;
    }
    let mut again = std::process::Command::new("unshare");
    again.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    let output = again.args(["--exact", "--nocapture", test]).env("SKIFF_TEST_ALONE", "1").output().unwrap();
    let output = Output::of(output);
    assert!(output.code == 0 && output.stdout.contains("1 passed"), "{output:#?}");
    false
}

fn volume(path: &Path) -> String {
    format!("{}:/disk", path.display())
}

#[test]
fn the_callers_file_system_is_free_when_the_end_is_told() {
    if !is_alone("the_callers_file_system_is_free_when_the_end_is_told") {
        return;
    }
    let skiff = Skiff::with_busybox();
    let disk = |number: u32| Disk::mount(skiff.folder().join(format!("disk{number}")));
    for round in 0..20 {
        // As the container's own program, and with others that end with it.
        for (number, script) in
            ["echo >/disk/x", "echo >/disk/x; cd /disk; sleep 1000 & sleep 0.02"].iter().enumerate()
        {
            let disk = disk(round * 2 + u32::try_from(number).unwrap());
            let volume = volume(&disk.path);
            for options in
                [&["run", "--rm", "-v", &volume][..], &["run", "--rm", "--read-only", "-v", &volume]]
            {
                let run = skiff.run(&[options, &["busybox", "sh", "-c", script]].concat());
                assert_eq!(run, Output { code: 0, stdout: String::new(), stderr: String::new() });
            }
            assert!(disk.path.join("x").exists(), "it was not mounted: the test shows nothing");
            assert!(disk.release(), "round {round}: {script}: somebody holds it");
        }
    }
    // Ended by somebody else.
    let disk = disk(99);
    skiff.ok(&["run", "-d", "--rm", "--name", "one", "-v", &volume(&disk.path), "busybox", "sleep", "1000"]);
    let waiter = skiff.start(&["wait", "one"]);
    std::thread::sleep(Duration::from_millis(50));
    skiff.ok(&["kill", "one"]);
    assert_eq!(Output::of(waiter.wait_with_output().unwrap()).stdout, "137\n");
    assert!(disk.release());
}

#[test]
fn a_witness_sees_a_file_system_that_is_held() {
    if !is_alone("a_witness_sees_a_file_system_that_is_held") {
        return;
    }
    let skiff = Skiff::with_busybox();
    let disk = Disk::mount(skiff.folder().join("disk"));
    skiff.ok(&["run", "-d", "--name", "holder", "-v", &volume(&disk.path), "busybox", "sleep", "1000"]);
    assert!(!disk.release());
}
