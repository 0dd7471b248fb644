//! The distribution's Podman with `skiff oci` as its runtime.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod oci;

use std::process::Command;

use oci::{Done, Lab, require, run, wait_until};

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

    fn run(&self, words: &[&str]) -> Done {
        let mut command = Command::new("podman");
        command.args(["--root", &self.lab.text("root"), "--runroot", &self.lab.text("runroot")]);
        command.args(["--tmpdir", &self.lab.text("tmp"), "--storage-driver", "overlay"]);
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
        command.args(["--runtime", &self.lab.text("runtime")]);
        run(command.args(words))
    }

    fn ok(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert_eq!(done.code, 0, "{words:?}: {done:?}");
        done.out
    }

    /// `podman run` with the options, the image and the words.
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
    let done = podman.run_container(&["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 5"]);
    assert_eq!((done.code, done.out.as_str()), (5, "out\n"), "{done:?}");
    assert!(done.err.contains("err"), "{done:?}");
    assert_eq!(podman.run_container(&["--rm"], &["no-such-program"]).code, 127);
    assert_eq!(podman.run_container(&["--rm"], &["/etc"]).code, 126);
    let host = podman.run_container(&["--rm", "--network", "host"], &["cat", "/proc/net/dev"]);
    assert_eq!(host.code, 0, "{host:?}");
    let done = podman.run_container(&["--rm", "--tty"], &["sh", "-c", "tty"]);
    assert_eq!((done.code, done.out.trim()), (0, "/dev/pts/0"), "{done:?}");
}

#[test]
fn podman_confines_as_it_was_told() {
    let podman = Podman::new("podman-confine");
    let options = [
        "--rm",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "CHOWN",
        "--user",
        "7:8",
        "--memory",
        "32m",
        "--pids-limit",
        "33",
        "--security-opt",
        "no-new-privileges",
        "--tmpfs",
        "/t:size=1m",
        "--hostname",
        "pod",
        "--env",
        "A=B",
    ];
    let script = "id -u; id -g; hostname; echo $A; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; \
        touch /x 2>/dev/null || echo read-only; grep ' /t ' /proc/self/mountinfo | grep -c size=1024k; \
        mount -t tmpfs x /t 2>/dev/null || echo refused";
    let done = podman.run_container(&options, &["sh", "-c", script]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (0, "7\n8\npod\nB\nCapBnd:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t2\nread-only\n1\nrefused\n"),
        "{done:?}"
    );
}

#[test]
fn podman_leads_a_container_through_its_life() {
    let podman = Podman::new("podman-life");
    let script = "echo begun; trap 'echo bye; exit 9' TERM; while :; do sleep 0.05; done";
    let done = podman.run_container(&["--detach", "--name", "c"], &["sh", "-c", script]);
    assert_eq!(done.code, 0, "{done:?}");
    wait_until("it has begun", || podman.ok(&["logs", "c"]) == "begun\n");
    assert_eq!(podman.run(&["exec", "c", "sh", "-c", "cat /proc/1/comm; exit 4"]).code, 4);
    assert_eq!(
        podman.ok(&["exec", "--user", "3", "--workdir", "/tmp", "c", "sh", "-c", "id -u; pwd"]),
        "3\n/tmp\n"
    );
    assert!(podman.ok(&["exec", "--tty", "c", "tty"]).starts_with("/dev/pts/"));
    let status = || podman.ok(&["inspect", "c", "--format", "{{.State.Status}}"]);
    podman.ok(&["pause", "c"]);
    assert_eq!(status(), "paused\n");
    podman.ok(&["unpause", "c"]);
    assert_eq!(status(), "running\n");
    podman.ok(&["update", "--memory", "64m", "c"]);
    assert!(podman.ok(&["top", "c", "pid", "comm"]).contains("sh"));
    podman.ok(&["stop", "--time", "10", "c"]);
    assert_eq!(podman.ok(&["inspect", "c", "--format", "{{.State.ExitCode}}"]), "9\n");
    assert_eq!(podman.ok(&["logs", "c"]), "begun\nbye\n");
    podman.ok(&["start", "c"]);
    podman.ok(&["kill", "c"]);
    assert_eq!(podman.ok(&["wait", "c"]), "137\n");
    podman.ok(&["rm", "c"]);
    assert_eq!(podman.ok(&["ps", "--all", "--quiet"]), "");
}
