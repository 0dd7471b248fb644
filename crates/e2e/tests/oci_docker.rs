//! The distribution's Docker, with the containerd that it starts, and `skiff oci` as one of its runtimes.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests handle their own files"
)]

mod oci;

use std::process::{Child, Command, Stdio};

use oci::peer::{Peer, confines, leads_a_container_through_its_life, runs_to_the_end};
use oci::{Done, Lab, require, run, wait_until};

/// A Docker daemon with folders, socket and parent control group of its own.
struct Docker {
    lab: Lab,
    daemon: Child,
}

impl Docker {
    fn new(name: &str) -> Self {
        require("dockerd", "docker.io");
        require("docker", "docker.io");
        let lab = Lab::new(name);
        let mut daemon = Command::new("dockerd");
        daemon.args(["--data-root", &lab.text("data"), "--exec-root", &lab.text("exec")]);
        daemon.args(["--pidfile", &lab.text("pid"), "--host", &format!("unix://{}", lab.text("sock"))]);
        daemon.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--storage-driver=overlay2"]);
        daemon.arg(format!("--cgroup-parent=/{}", lab.name));
        daemon.arg(format!("--add-runtime=skiff={}", lab.runtime.display())).arg("--default-runtime=skiff");
        let log = std::fs::File::create(lab.path("log")).unwrap();
        daemon.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let docker = Self { daemon: daemon.spawn().unwrap(), lab };
        wait_until("dockerd answers", || docker.run(&["version"]).code == 0);
        docker.ok(&["import", &docker.lab.text("rootfs.tar"), "busybox"]);
        docker
    }
}

impl Peer for Docker {
    fn run(&self, words: &[&str]) -> Done {
        let mut command = Command::new("docker");
        // Nothing of the caller's configuration.
        command.env("DOCKER_CONFIG", self.lab.path("config"));
        run(command.arg("--host").arg(format!("unix://{}", self.lab.text("sock"))).args(words))
    }

    fn run_container(&self, options: &[&str], words: &[&str]) -> Done {
        self.run(&[&["run", "--network", "none"], options, &["busybox"], words].concat())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let ids = self.run(&["ps", "--all", "--quiet"]).out;
        for id in ids.lines() {
            self.run(&["rm", "--force", id]);
        }
        let pid = rustix::process::Pid::from_child(&self.daemon);
        // A daemon that has gone already is waited for all the same.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        drop(self.daemon.wait());
        self.lab.remove_groups_of_the_engine();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.lab.path("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            println!("{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

#[test]
fn docker_runs_and_confines_containers() {
    let docker = Docker::new("docker-run");
    assert_eq!(docker.ok(&["info", "--format", "{{.DefaultRuntime}}"]), "skiff\n");
    runs_to_the_end(&docker);
    let missing = docker.run_container(&["--rm"], &["no-such-program"]);
    assert!(missing.err.contains("executable file not found"), "{missing:?}");
    confines(&docker, &["--ulimit", "nofile=99:99"], "ulimit -n", "99\n");
    let script = "mkdir /m; mount -t tmpfs x /m && echo mounted";
    let done = docker.run_container(&["--rm", "--privileged"], &["sh", "-c", script]);
    assert_eq!(done.out, "mounted\n", "{done:?}");
}

#[test]
fn docker_leads_a_container_through_its_life() {
    let docker = Docker::new("docker-life");
    leads_a_container_through_its_life(&docker, &["--memory", "70m", "--memory-swap", "140m"]);
}
