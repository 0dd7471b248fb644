//! The place where engines are compared: folders, images, and every engine started once.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::engines::{Docker, Engine, Podman, Runtime, Skiff};
use crate::{bundle, image};

/// Name of the small image in every engine.
pub(crate) const SMALL: &str = "localhost/bench:latest";

/// Everything that scenarios use. Each engine has data folders of its own, which go with the lab.
pub(crate) struct Lab {
    folder: PathBuf,
    /// Control groups of other engines that were there before.
    groups: Vec<PathBuf>,
    /// Downloads that outlive a run.
    cache: PathBuf,
    /// dockerd's specification of a default container.
    specification: Value,
    /// What bare runtimes run.
    bundle: PathBuf,
    pub(crate) skiff: Skiff,
    pub(crate) podman: Podman,
    pub(crate) docker: Docker,
    pub(crate) crun: Runtime,
    pub(crate) runc: Runtime,
}

impl Lab {
    pub(crate) fn set_up() -> Result<Self> {
        let folder = PathBuf::from(format!("/var/tmp/skiff-bench-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        let groups = engine_groups()?;
        let binaries = std::env::current_exe()?.parent().context("no folder of programs")?.to_owned();
        let cache = binaries.join("../../bench");
        std::fs::create_dir_all(&cache)?;

        let rootfs = image::busybox_rootfs(&folder.join("rootfs.tar"))?;
        let skiff = Skiff::new(&binaries, &folder)?;
        let podman = Podman::new(&folder)?;
        let docker = Docker::start(&folder)?;
        skiff.import(&rootfs, SMALL)?;
        podman.import(&rootfs, SMALL)?;
        docker.import(&rootfs, SMALL)?;
        let specification = docker.specification(SMALL)?;
        let bundle = bundle::prepare(&folder.join("bundle"), &rootfs, &specification)?;
        let crun = Runtime::new("crun", &bundle)?;
        let runc = Runtime::new("runc", &bundle)?;
        Ok(Self { folder, groups, cache, specification, bundle, skiff, podman, docker, crun, runc })
    }

    /// Those that have Docker's commands, ours first.
    pub(crate) fn engines(&self) -> [&dyn Engine; 3] {
        [&self.skiff, &self.podman, &self.docker]
    }

    /// Gives the bare runtimes' bundle another program.
    pub(crate) fn set_bundle_program(&self, args: &[&str]) -> Result<()> {
        bundle::write_spec(&self.bundle, &self.specification, args)
    }

    /// A file that the next run finds again, such as a root file system from the distribution.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// A place for a scenario's own files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the control groups in which other engines keep theirs, unless they were there before.
    fn remove_groups(before: &[PathBuf]) -> Result<()> {
        for group in engine_groups()?.iter().filter(|group| !before.contains(group)) {
            remove_group(group);
        }
        Ok(())
    }

    /// Stops the engines and removes everything they made.
    pub(crate) fn tear_down(self) -> Result<()> {
        let Self { folder, skiff, podman, docker, groups, .. } = self;
        skiff.remove_all()?;
        podman.remove_all()?;
        docker.stop()?;
        Self::remove_groups(&groups)?;
        for folder in [folder, crate::engines::run_root()] {
            std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        Ok(())
    }
}

/// `docker` and `libpod_parent` in every hierarchy of version 1, and in the hybrid's version 2.
fn engine_groups() -> Result<Vec<PathBuf>> {
    let mut groups = Vec::new();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")? {
        let hierarchy = hierarchy?.path();
        groups.extend(["docker", "libpod_parent"].map(|name| hierarchy.join(name)));
    }
    groups.retain(|group| group.is_dir());
    Ok(groups)
}

/// Removes a control group and those in it. One with a process in it stays: it is somebody's.
fn remove_group(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    drop(std::fs::remove_dir(group));
}
