//! Bare OCI runtimes on a prepared bundle.
//!
//! crun refuses a hybrid host whose version 2 mount has a controller. Its commands therefore start from a thread with
//! a mount namespace of its own, in which that mount is out of sight; starting them costs the same as
//! from any other thread. runc is started from there too.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::measure::{output, time};

type Job = Box<dyn FnOnce() + Send>;

/// crun or runc.
pub(crate) struct Runtime {
    program: &'static str,
    bundle: PathBuf,
    state: PathBuf,
    starter: Sender<Job>,
}

impl Runtime {
    pub(crate) fn new(program: &'static str, bundle: &Path, folder: &Path) -> Result<Self> {
        let (starter, jobs) = channel();
        let (ready, prepared) = channel();
        std::thread::spawn(move || start_apart(&jobs, &ready));
        prepared.recv()??;
        let state = folder.join(format!("{program}-state"));
        Ok(Self { program, bundle: bundle.to_owned(), state, starter })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.arg("--root").arg(&self.state);
        command
    }

    /// Has `job` done by the thread that hides the version 2 mount.
    fn apart<T: Send + 'static>(&self, job: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (answer, answered) = channel();
        let job: Job = Box::new(move || drop(answer.send(job())));
        self.starter.send(job).ok().context("the starting thread is gone")?;
        answered.recv()?
    }

    /// `run` of the bundle's program to its end.
    pub(crate) fn run(&self, name: &str) -> Result<Duration> {
        let mut command = self.command();
        command.arg("run").arg("--bundle").arg(&self.bundle).arg(name);
        self.apart(move || time(&mut command))
    }

    /// `run --detach` of the bundle's program, which stays until [`Self::delete`].
    pub(crate) fn run_detached(&self, name: &str) -> Result<()> {
        // The container keeps its parent's output open: it must not be a pipe that somebody waits for.
        let mut command = self.command();
        command.arg("run").arg("--detach").arg("--bundle").arg(&self.bundle).arg(name);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.apart(move || {
            let status = command.status()?;
            ensure!(status.success(), "{command:?}: {status}");
            Ok(())
        })
    }

    pub(crate) fn exec(&self, name: &str, program: &str) -> Result<Duration> {
        let mut command = self.command();
        command.arg("exec").arg(name).arg(program);
        self.apart(move || time(&mut command))
    }

    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let mut command = self.command();
        command.arg("delete").arg("--force").arg(name);
        self.apart(move || output(&mut command).map(drop))
    }
}

fn start_apart(jobs: &Receiver<Job>, ready: &Sender<Result<()>>) {
    let prepared = hide_version_2();
    let failed = prepared.is_err();
    if ready.send(prepared).is_err() || failed {
        return;
    }
    while let Ok(job) = jobs.recv() {
        job();
    }
}

/// Gives this thread a mount namespace without the version 2 mount of a hybrid host.
fn hide_version_2() -> Result<()> {
    const NEW_MOUNT_NAMESPACE: u64 = 0x0002_0000;
    let unified = Path::new("/sys/fs/cgroup/unified");
    linux::process::unshare_namespaces(NEW_MOUNT_NAMESPACE).context("make a mount namespace")?;
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).context("make mounts private")?;
    if unified.exists() {
        rustix::mount::unmount(unified, rustix::mount::UnmountFlags::DETACH)
            .context("hide the version 2 mount")?;
    }
    Ok(())
}
