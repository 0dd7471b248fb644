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

/// Whether the kernel is 6.15 or later.
fn attaches_to_what_is_detached() -> bool {
    let system = rustix::system::uname();
    let mut numbers =
        system.release().to_str().unwrap().split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 15)
}

/// A tree with file systems below that take an id map, and ones that take none, all the way to the whole host.
#[test]
fn what_takes_no_id_map_is_bound_as_it_is() {
    if !is_alone("what_takes_no_id_map_is_bound_as_it_is") {
        return;
    }
    let skiff = Skiff::with_busybox();
    let tree = skiff.folder().join("tree with a blank");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("own"), "").unwrap();
    let disk = Disk::mount(tree.join("disk"));
    std::fs::write(disk.path.join("file"), "").unwrap();
    let kernel = tree.join("disk/kernel");
    std::fs::create_dir(&kernel).unwrap();
    rustix::mount::mount("proc", &kernel, "proc", MountFlags::empty(), None).unwrap();

    let bind = format!("{}:/tree", tree.display());
    let look = "cd /tree; stat -c '%n %u' own disk/file; test -d disk/kernel/1 && echo shown; \
                stat -c %u disk/kernel/uptime; (echo x >disk/made) 2>/dev/null && echo written; \
                (echo 1 >disk/kernel/sys/vm/drop_caches) 2>/dev/null || echo refused";
    let found = skiff.ok(&["run", "--rm", "-v", &bind, "busybox", "sh", "-c", look]);
    if attaches_to_what_is_detached() {
        assert_eq!(found, "own 0\ndisk/file 0\nshown\n65534\nwritten\nrefused\n");
        let owner = std::os::unix::fs::MetadataExt::uid(&disk.path.join("made").metadata().unwrap());
        assert_eq!(owner, 0, "what root makes in a mapped mount is the host's root's");
    } else {
        assert_eq!(found, "own 0\ndisk/file 65534\nshown\n65534\nrefused\n");
    }
    // As the named directory, too, where it is the kernel's own.
    for (source, shows) in [("/proc", "uptime"), ("/sys", "kernel"), ("/dev", "null"), ("/", "proc/uptime")] {
        let bind = format!("{source}:/host:ro");
        let words = [
            "run",
            "--rm",
            "-v",
            &bind,
            "busybox",
            "sh",
            "-c",
            &format!("test -e /host/{shows} && echo there"),
        ];
        assert_eq!(skiff.ok(&words), "there\n", "{source}");
    }
    // Copies mount what the container mounts.
    skiff.ok(&["create", "--name", "box", "-v", &bind, "busybox"]);
    skiff.ok(&["cp", "box:/tree/own", "copy"]);
    skiff.ok(&["rm", "box"]);

    rustix::mount::unmount(&kernel, UnmountFlags::empty()).unwrap();
    assert!(disk.release(), "a container still has it");
}
