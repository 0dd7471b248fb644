//! `start`, `state`, `kill`, `delete`, `pause` and `resume`.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use linux::file;
use linux::process::{kill as send_signal, pidfd_signal};
use oci::runtime::Status;
use runtime::hooks;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::args::{Command, Flag, Parsed};
use super::container::{self, Folder, Record};
use super::error::{Error, Result};
use super::notify::{Manager, Notify};
use super::{Global, print, signals};

pub(super) const START: Command = Command {
    name: "start",
    about: "Let a created container run its program",
    usage: "ID",
    flags: &[],
    arguments: (1, 1),
    flags_lead: false,
    run: start,
};

pub(super) const STATE: Command = Command {
    name: "state",
    about: "Print the state of a container",
    usage: "ID",
    flags: &[],
    arguments: (1, 1),
    flags_lead: false,
    run: state,
};

pub(super) const KILL: Command = Command {
    name: "kill",
    about: "Send a signal to a container's first process",
    usage: "[OPTIONS] ID [SIGNAL]",
    flags: &[Flag::switch("all", "send it to every process of the container").short('a')],
    arguments: (1, 2),
    flags_lead: false,
    run: kill,
};

pub(super) const DELETE: Command = Command {
    name: "delete",
    about: "Remove a container that has ended",
    usage: "[OPTIONS] ID",
    flags: &[Flag::switch("force", "kill it first if it runs; none of that name is fine").short('f')],
    arguments: (1, 1),
    flags_lead: false,
    run: delete,
};

pub(super) const PAUSE: Command = Command {
    name: "pause",
    about: "Stop all processes of a container where they stand",
    usage: "ID",
    flags: &[],
    arguments: (1, 1),
    flags_lead: false,
    run: pause,
};

pub(super) const RESUME: Command = Command {
    name: "resume",
    about: "Let the processes of a paused container go on",
    usage: "ID",
    flags: &[],
    arguments: (1, 1),
    flags_lead: false,
    run: resume,
};

const KILL_SIGNAL: i32 = 9;
/// How long a killed process may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(10);

fn start(global: &Global, parsed: &Parsed) -> Result<u8> {
    let id = parsed.id();
    let folder = Folder::open(global, id)?;
    let record = folder.read(id)?;
    let status = record.status(&folder.path)?;
    if status != Status::Created {
        return Err(Error::WrongState { verb: "start", id: id.to_owned(), status });
    }
    let notify = match Manager::of_caller(global) {
        Some(manager) => Notify::listen(&folder, manager)?,
        None => None,
    };
    runtime::release_at(&folder.gate())?;
    file::remove_if_exists(&folder.gate())?;
    let plan = &record.plan;
    let pid = record.init.and_then(container::Init::pid);
    let poststart = hooks::run("poststart", &plan.hooks.poststart, &plan.hooks.state, "running", pid);
    if let Err(error) = poststart {
        // The container is stopped; its engine deletes it (runtime.md, "Lifecycle").
        end(&record)?;
        return Err(error.into());
    }
    // From here on others may change the container.
    drop(folder);
    if let (Some(notify), Some(init)) = (notify, record.init) {
        notify.wait(init)?;
    }
    Ok(0)
}

fn state(global: &Global, parsed: &Parsed) -> Result<u8> {
    let record = container::load(global, parsed.id())?;
    let document = document(global, &record)?;
    print(&format!("{document:#}\n"))
}

/// The state document, with what runc adds to it.
pub(super) fn document(global: &Global, record: &Record) -> Result<Value> {
    let status = record.status(&global.root.join(&record.id))?;
    let pid = record.init.filter(|_| status != Status::Stopped).map_or(0, |init| init.pid);
    let mut document = json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "pid": pid,
        "status": status.as_str(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "owner": record.owner,
    });
    if !record.annotations.is_empty() {
        document["annotations"] = json!(record.annotations);
    }
    Ok(document)
}

fn kill(global: &Global, parsed: &Parsed) -> Result<u8> {
    let id = parsed.id();
    let text = parsed.arguments.get(1).map_or("TERM", String::as_str);
    let Some(number) = signals::parse(text) else {
        return Err(Error::usage(format!("there is no signal {text:?}")));
    };
    let record = container::load(global, id)?;
    if parsed.on("all") {
        return kill_all(&record, number);
    }
    let init = record.init.map(container::Init::open).transpose()?.flatten();
    let sent = match &init {
        Some(pidfd) => pidfd_signal(pidfd.as_fd(), number),
        None => Err(Errno::SRCH),
    };
    match sent {
        Ok(()) => {}
        Err(Errno::SRCH) => {
            let status = record.status(&global.root.join(id))?;
            return Err(Error::NotRunning { id: id.to_owned(), status });
        }
        Err(errno) => return Err(Error::system(format!("signal container {id:?}"))(errno)),
    }
    // A paused process takes no signal, not even this one, until it goes on (version 1).
    if number == KILL_SIGNAL
        && let Some(group) = record.open_cgroup()?
        && group.state()? != cgroup::State::Thawed
    {
        group.thaw()?;
    }
    Ok(0)
}

/// Every process of the control group; none is fine.
fn kill_all(record: &Record, number: i32) -> Result<u8> {
    let Some(group) = record.open_cgroup()? else { return Ok(0) };
    if number == KILL_SIGNAL {
        group.kill_all()?;
        return Ok(0);
    }
    for pid in group.pids()? {
        match send_signal(pid, number) {
            // Ended meanwhile.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(Error::system(format!("signal process {}", pid.as_raw_pid()))(errno)),
        }
    }
    Ok(0)
}

fn delete(global: &Global, parsed: &Parsed) -> Result<u8> {
    match delete_container(global, parsed.id(), parsed.on("force")) {
        Err(Error::Missing { .. }) if parsed.on("force") => Ok(0),
        result => result.map(|()| 0),
    }
}

/// Removes a container: what is left of its processes, its control group, its folder.
pub(super) fn delete_container(global: &Global, id: &str, force: bool) -> Result<()> {
    let folder = Folder::open(global, id)?;
    let record = match folder.read(id) {
        Ok(record) => record,
        // Made, but killed before it could write anything, or broken: there is nothing else to clean up.
        Err(Error::Missing { .. } | Error::Json { .. }) if force => return folder.remove(),
        Err(error) => return Err(error),
    };
    let status = record.status(&folder.path)?;
    match status {
        Status::Stopped | Status::Created => {}
        Status::Creating | Status::Running | Status::Paused if force => {}
        Status::Creating | Status::Running | Status::Paused => {
            return Err(Error::WrongState { verb: "delete", id: id.to_owned(), status });
        }
    }
    end(&record)?;
    if let Some(group) = record.open_cgroup()? {
        group.remove()?;
    }
    let plan = &record.plan;
    let poststop = hooks::run("poststop", &plan.hooks.poststop, &plan.hooks.state, "stopped", None);
    if let Err(error) = poststop {
        global.log.warn(&Error::from(error).chain());
    }
    folder.remove()
}

/// Kills what is left of a container and waits for init's end.
fn end(record: &Record) -> Result<()> {
    let init = record.init.map(container::Init::open).transpose()?.flatten();
    if let Some(pidfd) = &init {
        match pidfd_signal(pidfd.as_fd(), KILL_SIGNAL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(Error::system("kill the container's first process")(errno)),
        }
    }
    if let Some(group) = record.open_cgroup()? {
        group.kill_all()?;
        if group.state()? != cgroup::State::Thawed {
            group.thaw()?;
        }
    }
    match &init {
        Some(pidfd) => wait_for_end(pidfd.as_fd(), record),
        None => Ok(()),
    }
}

fn wait_for_end(pidfd: BorrowedFd<'_>, record: &Record) -> Result<()> {
    let limit = Timespec { tv_sec: i64::try_from(KILL_LIMIT.as_secs()).unwrap_or(10), tv_nsec: 0 };
    let attempt = || format!("wait for the end of container {:?}", record.id);
    loop {
        match poll(&mut [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)], Some(&limit)) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(Error::system(attempt())(Errno::TIMEDOUT)),
            Ok(_) => return Ok(()),
            Err(errno) => return Err(Error::system(attempt())(errno)),
        }
    }
}

fn pause(global: &Global, parsed: &Parsed) -> Result<u8> {
    let id = parsed.id();
    let folder = Folder::open(global, id)?;
    let record = folder.read(id)?;
    match record.status(&folder.path)? {
        Status::Running | Status::Created => record.require_cgroup()?.freeze()?,
        status @ (Status::Creating | Status::Paused | Status::Stopped) => {
            return Err(Error::WrongState { verb: "pause", id: id.to_owned(), status });
        }
    }
    Ok(0)
}

fn resume(global: &Global, parsed: &Parsed) -> Result<u8> {
    let id = parsed.id();
    let folder = Folder::open(global, id)?;
    let record = folder.read(id)?;
    match record.status(&folder.path)? {
        Status::Paused => record.require_cgroup()?.thaw()?,
        status @ (Status::Creating | Status::Created | Status::Running | Status::Stopped) => {
            return Err(Error::WrongState { verb: "resume", id: id.to_owned(), status });
        }
    }
    Ok(0)
}
