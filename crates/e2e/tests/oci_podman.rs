//! The distribution's Podman with `skiff oci` as its runtime.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod oci;

use std::process::Command;

use oci::peer::{Peer, confines, leads_a_container_through_its_life, runs_to_the_end};
use oci::{Done, Lab, require, run};

/// A Podman with folders and a parent control group of its own.
struct Podman {
    lab: Lab,
}

/// Podman's own defaults raise hard limits, which takes a capability that not every machine gives to root.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

impl Podman {
    fn new(name: &str) -> Self {
        require("podman", "podman");
        let podman = Self { lab: Lab::new(name) };
        // Podman passes a runtime's own flags to some of its calls only: the root is set here, for all of them.
        let (program, state) = (podman.lab.runtime.display(), podman.lab.text("state"));
        let runtime = podman.lab.path("runtime");
        std::fs::write(&runtime, format!("#!/bin/sh\nexec {program} --root {state} \"$@\"\n")).unwrap();
        std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let archive = podman.lab.text("rootfs.tar");
        assert_eq!(podman.run(&["import", &archive, "localhost/busybox"]).code, 0);
        podman
    }
}

impl Peer for Podman {
    fn run(&self, words: &[&str]) -> Done {
        let mut command = Command::new("podman");
        command.args(["--root", &self.lab.text("root"), "--runroot", &self.lab.text("runroot")]);
        command.args(["--tmpdir", &self.lab.text("tmp"), "--storage-driver", "overlay"]);
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command.args(["--runtime", &self.lab.text("runtime")]);
        run(command.args(words))
    }

    fn run_container(&self, options: &[&str], words: &[&str]) -> Done {
        let parent = format!("/{}", self.lab.name);
        let network: &[&str] = if options.contains(&"--network") { &[] } else { &["--network", "none"] };
        let head = ["run", "--cgroup-parent", &parent];
        self.run(&[&head[..], &LIMITS, network, options, &["localhost/busybox"], words].concat())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.run(&["rm", "--all", "--force", "--time", "0"]);
        self.run(&["rmi", "--all", "--force"]);
        // Podman keeps its storage mounted once for itself.
        let storage = self.lab.path("root/overlay");
        run(Command::new("umount").arg(&storage));
        self.lab.remove_groups_of_the_engine();
    }
}

#[test]
fn podman_runs_a_container_to_its_end() {
    let podman = Podman::new("podman-run");
    runs_to_the_end(&podman);
    assert_eq!(podman.run_container(&["--rm"], &["/etc"]).code, 126);
    let host = podman.run_container(&["--rm", "--network", "host"], &["cat", "/proc/net/dev"]);
    assert_eq!(host.code, 0, "{host:?}");
}

#[test]
fn podman_confines_as_it_was_told() {
    let podman = Podman::new("podman-confine");
    let script = "echo $A; mount -t tmpfs x /t 2>/dev/null || echo refused";
    confines(&podman, &["--env", "A=B"], script, "B\nrefused\n");
}

#[test]
fn podman_leads_a_container_through_its_life() {
    let podman = Podman::new("podman-life");
    leads_a_container_through_its_life(&podman, &["--memory", "70m"]);
}

#[test]
fn podman_executes_on_a_terminal() {
    let podman = Podman::new("podman-exec");
    let started = podman.run_container(&["--detach", "--name", "c"], &["sleep", "1000"]);
    assert_eq!(started.code, 0, "{started:?}");
    assert_eq!(podman.run(&["exec", "c", "cat", "/proc/1/comm"]).out, "sleep\n");
    assert!(podman.ok(&["exec", "--tty", "c", "tty"]).starts_with("/dev/pts/"));
    assert!(podman.ok(&["top", "c", "pid", "comm"]).contains("sleep"));
    podman.ok(&["kill", "c"]);
    assert_eq!(podman.ok(&["wait", "c"]), "137\n");
    podman.ok(&["rm", "c"]);
}
