//! The distribution's Docker, with the containerd that it starts, and `skiff oci` as one of its runtimes.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests handle their own files"
)]

mod oci;

use std::process::{Child, Command, Stdio};

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

    fn run(&self, words: &[&str]) -> Done {
        let mut command = Command::new("docker");
        // Nothing of the caller's configuration.
        command.env("DOCKER_CONFIG", self.lab.path("config"));
        run(command.arg("--host").arg(format!("unix://{}", self.lab.text("sock"))).args(words))
    }

    fn ok(&self, words: &[&str]) -> String {
        let done = self.run(words);
        assert_eq!(done.code, 0, "{words:?}: {done:?}");
        done.out
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
    let done = docker.run_container(&["--rm"], &["sh", "-c", "echo out; echo err >&2; exit 6"]);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (6, "out\n", "err\n"), "{done:?}");
    let missing = docker.run_container(&["--rm"], &["no-such-program"]);
    assert!(missing.code == 127 && missing.err.contains("executable file not found"), "{missing:?}");
    let done = docker.run_container(&["--rm", "--tty"], &["tty"]);
    assert_eq!((done.code, done.out.trim()), (0, "/dev/pts/0"), "{done:?}");
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
        "dock",
        "--ulimit",
        "nofile=99:99",
    ];
    let script = "id -u; id -g; hostname; ulimit -n; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; \
        touch /x 2>/dev/null || echo read-only; grep ' /t ' /proc/self/mountinfo | grep -c size=1024k";
    let done = docker.run_container(&options, &["sh", "-c", script]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (0, "7\n8\ndock\n99\nCapBnd:\t0000000000000001\nNoNewPrivs:\t1\nSeccomp:\t2\nread-only\n1\n"),
        "{done:?}"
    );
    let done = docker.run_container(
        &["--rm", "--privileged"],
        &["sh", "-c", "mkdir /m; mount -t tmpfs x /m && echo mounted"],
    );
    assert_eq!(done.out, "mounted\n", "{done:?}");
}

#[test]
fn docker_leads_a_container_through_its_life() {
    let docker = Docker::new("docker-life");
    let script = "echo begun; trap 'echo bye; exit 9' TERM; while :; do sleep 0.05; done";
    let done = docker.run_container(&["--detach", "--name", "box", "--memory", "64m"], &["sh", "-c", script]);
    assert_eq!(done.code, 0, "{done:?}");
    wait_until("it has begun", || docker.ok(&["logs", "box"]) == "begun\n");
    assert_eq!(docker.run(&["exec", "box", "sh", "-c", "exit 4"]).code, 4);
    assert_eq!(
        docker.ok(&["exec", "--user", "3", "--workdir", "/tmp", "box", "sh", "-c", "id -u; pwd"]),
        "3\n/tmp\n"
    );
    assert!(docker.run(&["exec", "box", "no-such-program"]).code != 0);
    let status = || docker.ok(&["inspect", "box", "--format", "{{.State.Status}}"]);
    docker.ok(&["pause", "box"]);
    assert_eq!(status(), "paused\n");
    docker.ok(&["unpause", "box"]);
    assert_eq!(status(), "running\n");
    docker.ok(&["update", "--memory", "70m", "--memory-swap", "140m", "box"]);
    assert!(docker.ok(&["top", "box"]).contains("sh -c"));
    docker.ok(&["stop", "--time", "10", "box"]);
    assert_eq!(docker.ok(&["inspect", "box", "--format", "{{.State.ExitCode}}"]), "9\n");
    assert_eq!(docker.ok(&["logs", "box"]), "begun\nbye\n");
    docker.ok(&["start", "box"]);
    docker.ok(&["restart", "--time", "1", "box"]);
    docker.ok(&["kill", "box"]);
    assert_eq!(docker.ok(&["wait", "box"]), "137\n");
    docker.ok(&["rm", "box"]);
    assert_eq!(docker.ok(&["ps", "--all", "--quiet"]), "");
}
