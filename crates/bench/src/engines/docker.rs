//! Debian's Docker, with a daemon of our own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Engine;
use crate::measure::output;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// dockerd on folders and a socket of its own, and the command line that talks to it.
pub(crate) struct Docker {
    folder: PathBuf,
    run: PathBuf,
    daemon: Child,
}

impl Docker {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let folder = folder.join("docker");
        std::fs::create_dir_all(&folder)?;
        let run = super::run_folder("docker")?;
        let log = std::fs::File::create(folder.join("log"))?;
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(folder.join("root"))
            .arg("--exec-root")
            .arg(&run)
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", folder.join("socket").display()))
            .args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--storage-driver=overlay2"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start dockerd")?;
        let docker = Self { folder, run, daemon };
        let start = Instant::now();
        while docker.output(&["version"]).is_err() {
            if start.elapsed() > PATIENCE {
                bail!("dockerd does not answer; see {}", docker.folder.join("log").display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(docker)
    }

    /// The command line of the containerd that it has started, in a namespace of this bench.
    pub(crate) fn containerd(&self) -> Command {
        let mut command = Command::new("ctr");
        command
            .arg("--address")
            .arg(self.run.join("containerd/containerd.sock"))
            .args(["--namespace", "bench"]);
        command
    }

    /// The OCI specification that dockerd makes for a default container of `image`.
    pub(crate) fn specification(&self, image: &str) -> Result<Value> {
        let id = self.output(&["run", "-d", "--network", "none", image, "sleep", "1000"])?;
        let file = self.run.join("containerd/daemon/io.containerd.runtime.v2.task/moby").join(&id);
        let text = std::fs::read(file.join("config.json"))?;
        self.output(&["rm", "-f", &id])?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// The same daemon, asked for builds by the client of its own age, which has BuildKit's in it.
    pub(crate) fn with_buildkit(&self) -> impl Engine + use<> {
        BuildKit { socket: self.folder.join("socket") }
    }

    pub(crate) fn stop(mut self) -> Result<()> {
        output(Command::new("kill").arg(self.daemon.id().to_string()))?;
        self.daemon.wait()?;
        Ok(())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Reached with a live daemon only when the lab could not be set up or a scenario failed.
        if self.daemon.try_wait().is_ok_and(|status| status.is_none()) {
            drop(output(Command::new("kill").arg(self.daemon.id().to_string())));
            drop(self.daemon.wait());
        }
    }
}

impl Engine for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.folder.join("socket").display()));
        command
    }
}

/// See [`Docker::with_buildkit`].
struct BuildKit {
    socket: PathBuf,
}

impl Engine for BuildKit {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.env("DOCKER_BUILDKIT", "1");
        command.arg("--host").arg(format!("unix://{}", self.socket.display()));
        command
    }
}
