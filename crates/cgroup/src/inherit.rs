//! Version 1: what a new group must be given before it works, since it does not inherit it.
//!
//! A new cpuset has no CPUs and no memory nodes, and no process can enter it. A new group has no realtime
//! budget, and none below it can have one.

use std::path::{Path, PathBuf};

use crate::Limits;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::hierarchy::{Controller, Hierarchy, Mount};
use crate::path::GroupPath;

/// The group's own directory and those above it, the hierarchy's root first.
fn lineage(mount: &Mount, path: &GroupPath) -> Result<Vec<Dir>> {
    let failed = |below: &Path, errno| Error::Group { attempt: "open", path: mount.point.join(below), errno };
    let mut below = PathBuf::new();
    let root = Dir::open(&mount.point, &below).map_err(|errno| failed(&below, errno))?;
    let mut dirs = vec![root];
    for name in path.parents.iter().chain([&path.name]) {
        below.push(name);
        dirs.push(Dir::open(&mount.point, &below).map_err(|errno| failed(&below, errno))?);
    }
    Ok(dirs)
}

/// Gives every empty cpuset on the way down what its parent has.
pub(crate) fn fill_cpusets(hierarchy: &Hierarchy, path: &GroupPath) -> Result<()> {
    let Some(mount) = hierarchy.legacy_home(Controller::Cpuset) else { return Ok(()) };
    let dirs = lineage(mount, path)?;
    for (parent, child) in dirs.iter().zip(dirs.iter().skip(1)) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if child.require(file)?.trim().is_empty() {
                let inherited = parent.require(file)?;
                child.write(file, inherited.trim()).map_err(|errno| child.failed("write", file, errno))?;
            }
        }
    }
    Ok(())
}

/// Gives the groups above ours at least the realtime budget that ours is to have.
pub(crate) fn raise_realtime(hierarchy: &Hierarchy, path: &GroupPath, limits: &Limits) -> Result<()> {
    let Some(runtime) = limits.cpu_realtime_runtime.filter(|runtime| *runtime > 0) else { return Ok(()) };
    let Some(mount) = hierarchy.legacy_home(Controller::Cpu) else { return Ok(()) };
    let dirs = lineage(mount, path)?;
    let above = dirs.len().saturating_sub(1);
    for dir in dirs.iter().take(above).skip(1) {
        let set = |file: &'static str, value: String| {
            let limit = "cpu.realtimeRuntime";
            dir.write(file, &value).map_err(|errno| Error::Set {
                limit,
                file: dir.path().join(file),
                value,
                errno,
            })
        };
        let present = dir.require("cpu.rt_runtime_us")?;
        if present.trim().parse::<i64>().is_ok_and(|present| (0..runtime).contains(&present)) {
            if let Some(period) = limits.cpu_realtime_period {
                set("cpu.rt_period_us", period.to_string())?;
            }
            set("cpu.rt_runtime_us", runtime.to_string())?;
        }
    }
    Ok(())
}
