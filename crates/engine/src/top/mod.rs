//! `top`: the processes of a container, as `ps` would show them.
//!
//! Docker runs the host's `ps` and keeps the lines of the container's processes. There is no such program to rely on here,
//! and none is needed: the kernel tells all of it in `/proc`.
//!
//! ```text
//! ps options ──options::parse──► columns ─┐
//! control group ──► process numbers ──────┴─ Process::read ──► a cell for each column
//! ```
//!
//! The numbers are those of the host, and so are the names of users and groups: what an operator sees with `ps` there.

mod calendar;
mod columns;
mod options;
mod process;

use std::collections::BTreeSet;
use std::path::Path;

use cgroup::{Cgroup, Hierarchy};
use linux::file;
use oci::Timestamp;

use crate::container::Container;
use crate::info::Status;
use crate::{Engine, Error, Result};

use columns::{Column, World};
use process::Process;

/// Where the caller's clock stands against UTC, in seconds, at a time of so many seconds since 1970: the engine reads no
/// environment.
pub type ClockOffset<'a> = &'a dyn Fn(Timestamp) -> i64;

/// A table of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Of the columns.
    pub titles: Vec<String>,
    /// A cell for each title, ordered by the number of the process.
    pub processes: Vec<Vec<String>>,
}

impl Engine {
    /// The processes of a running container. `options` are those of `ps`; without any, `-ef`.
    pub fn top(&self, name: &str, options: &[String], offset: ClockOffset<'_>) -> Result<Top> {
        let columns = options::parse(options)?;
        let found = self.container(name)?;
        found.must_run()?;
        if found.state.status == Status::Restarting {
            return Err(Error::NotRunning { id: found.head.id });
        }
        let world = World::look(offset);
        // One that has ended meanwhile has nothing to show.
        let processes = self.processes(&found)?.into_iter().filter_map(Process::read);
        let cells = |process: Process| columns.iter().map(|column| column.cell(&process, &world)).collect();
        let table = Top {
            titles: columns.iter().map(|column: &Column| column.title.clone()).collect(),
            processes: processes.map(cells).collect(),
        };
        self.container_event("top", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(table)
    }

    /// The numbers of all processes of a running container, ascending.
    pub(crate) fn processes(&self, found: &Container) -> Result<Vec<i32>> {
        let failed = |source| Error::Monitor { action: "observe", id: found.id().clone(), source };
        let status = monitor::status::read(&self.run_directory(found.id())).map_err(failed)?;
        let Some(group) = status.and_then(|status| status.cgroup) else {
            return Ok(relatives(found.state.pid));
        };
        let listed = Hierarchy::detect().and_then(|hierarchy| Cgroup::open(&hierarchy, &group)?.pids());
        match listed {
            Ok(pids) => Ok(pids.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect()),
            Err(cgroup::Error::Missing { .. }) => Err(Error::NotRunning { id: found.id().clone() }),
            Err(source) => Err(Error::Cgroup { action: "list the processes of the container", source }),
        }
    }
}

/// Without a control group: whatever shares the pid namespace of the first process, where that is not ours too, and
/// whatever descends from it.
fn relatives(first: i32) -> Vec<i32> {
    let namespace = |pid: &str| rustix::fs::readlink(format!("/proc/{pid}/ns/pid"), Vec::new()).ok();
    let wanted = namespace(&first.to_string()).filter(|wanted| namespace("self").as_ref() != Some(wanted));
    let mut all: Vec<(i32, i32)> = Vec::new();
    let mut found = BTreeSet::from([first]);
    for pid in numbers() {
        if wanted.is_some() && namespace(&pid.to_string()) == wanted {
            found.insert(pid);
        }
        all.extend(process::parent(pid).map(|parent| (pid, parent)));
    }
    // Children may have lower numbers than their parents.
    loop {
        let before = found.len();
        found.extend(
            all.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect::<Vec<_>>(),
        );
        if found.len() == before {
            return found.into_iter().collect();
        }
    }
}

/// Of every process that can be seen.
fn numbers() -> Vec<i32> {
    let Ok(proc) = rustix::fs::open(
        "/proc",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    ) else {
        return Vec::new();
    };
    let Ok(entries) = rustix::fs::Dir::new(proc) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok()).collect()
}

/// A small file of `/proc`; None when its process is gone, or hides it.
fn read(path: &str) -> Option<String> {
    // Names of programs are bytes, and arguments too.
    file::read(Path::new(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
