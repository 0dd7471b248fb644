//! The distribution's Docker, with the containerd that it starts.

#![allow(clippy::print_stdout, reason = "the log of a daemon whose test fails")]

use std::process::{Child, Command, Stdio};

use super::{Done, Lab, require, run, wait_until};

/// A Docker daemon with folders, socket and parent control group of its own. Its containers go with it.
pub(crate) struct Dockerd {
    pub(crate) lab: Lab,
    daemon: Child,
}

impl Dockerd {
    /// Starts it in a lab named `name`, with `options` beside those that keep it to itself, and waits until it answers.
    pub(crate) fn start(name: &str, options: impl FnOnce(&Lab) -> Vec<String>) -> Self {
        require("dockerd", "docker.io");
        require("docker", "docker.io");
        let lab = Lab::new(name);
        let mut daemon = Command::new("dockerd");
        daemon.args(["--data-root", &lab.text("data"), "--exec-root", &lab.text("exec")]);
        daemon.args(["--pidfile", &lab.text("pid"), "--host", &host(&lab)]);
        daemon.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--storage-driver=overlay2"]);
        daemon.arg(format!("--cgroup-parent=/{}", lab.name)).args(options(&lab));
        let log = std::fs::File::create(lab.path("log")).unwrap();
        daemon.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let docker = Self { daemon: daemon.spawn().unwrap(), lab };
        wait_until("dockerd answers", || docker.run(&["version"]).code == 0);
        docker
    }

    /// What its clients name as its host.
    pub(crate) fn host(&self) -> String {
        host(&self.lab)
    }

    /// Runs its command line, with nothing of the caller's configuration.
    pub(crate) fn run(&self, words: &[&str]) -> Done {
        let mut command = Command::new("docker");
        command.env("DOCKER_CONFIG", self.lab.path("config"));
        run(command.arg("--host").arg(self.host()).args(words))
    }
}

fn host(lab: &Lab) -> String {
    format!("unix://{}", lab.text("sock"))
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        for id in self.run(&["ps", "--all", "--quiet"]).out.lines() {
            self.run(&["rm", "--force", "--volumes", id]);
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
