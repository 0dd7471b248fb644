//! Starts programs where crun accepts the host.
//!
//! crun refuses a hybrid host whose version 2 mount has a controller. It, and Podman that calls it, therefore start
//! from a thread with a mount namespace of its own, in which that mount is out of sight; starting them costs the
//! same as from any other thread.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result};

type Job = Box<dyn FnOnce() + Send>;

/// The thread, for as long as this lives.
pub(crate) struct Apart {
    starter: Sender<Job>,
}

impl Apart {
    pub(crate) fn new() -> Result<Self> {
        let (starter, jobs) = channel();
        let (ready, prepared) = channel();
        std::thread::spawn(move || start_apart(&jobs, &ready));
        prepared.recv()??;
        Ok(Self { starter })
    }

    /// Has `job` done by the thread that hides the version 2 mount.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = channel();
        let job: Job = Box::new(move || drop(answer.send(job())));
        self.starter.send(job).ok().context("the starting thread is gone")?;
        answered.recv()?
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
