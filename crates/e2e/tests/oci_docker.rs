//! The distribution's Docker, with the containerd that it starts, and `skiff oci` as one of its runtimes.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod oci;

use oci::Done;
use oci::dockerd::Dockerd;
use oci::peer::{Peer, confines, leads_a_container_through_its_life, runs_to_the_end};

/// A Docker daemon whose runtime is Skiff.
struct Docker(Dockerd);

impl Docker {
    fn new(name: &str) -> Self {
        let docker = Self(Dockerd::start(name, |lab| {
            vec![format!("--add-runtime=skiff={}", lab.runtime.display()), "--default-runtime=skiff".into()]
        }));
        docker.ok(&["import", &docker.0.lab.text("rootfs.tar"), "busybox"]);
        docker
    }
}

impl Peer for Docker {
    fn run(&self, words: &[&str]) -> Done {
        self.0.run(words)
    }

    fn run_container(&self, options: &[&str], words: &[&str]) -> Done {
        self.run(&[&["run", "--network", "none"], options, &["busybox"], words].concat())
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
