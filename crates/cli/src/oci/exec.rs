//! `exec`: a further process in a running container.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cgroup::{Below, Cgroup, Controller};
use linux::file;
use oci::runtime::{self as spec, Status, capability};
use runtime::plan::{ProcessPlan, User};
use runtime::{Stdio, Target, bundle};

use super::Global;
use super::args::{Command, Flag, Parsed};
use super::container::{Folder, Record};
use super::error::{Error, Result};
use super::launch::{CONSOLE_SOCKET, PID_FILE, PRESERVE_FDS};
use super::session::{self, Console};

pub(super) const EXEC: Command = Command {
    name: "exec",
    about: "Run a further process in a running container",
    usage: "[OPTIONS] ID COMMAND [ARG...], or --process PATH ID",
    flags: &[
        CONSOLE_SOCKET,
        PID_FILE,
        PRESERVE_FDS,
        Flag::value("cwd", "PATH", "working directory"),
        Flag::value("env", "NAME=VALUE", "add to the environment").short('e'),
        Flag::switch("tty", "give it a terminal").short('t'),
        Flag::value("user", "UID[:GID]", "who runs it").short('u'),
        Flag::value("additional-gids", "GID", "a further group").short('g'),
        Flag::value("process", "PATH", "read the process from this file").short('p'),
        Flag::switch("detach", "leave it running").short('d'),
        Flag::value("process-label", "LABEL", "SELinux label"),
        Flag::value("apparmor", "PROFILE", "AppArmor profile"),
        Flag::switch("no-new-privs", "set no_new_privs"),
        Flag::value("cap", "CAPABILITY", "add a capability").short('c'),
        Flag::switch("no-subreaper", "accepted: this program is none"),
        Flag::switch("ignore-paused", "start it in a paused container, where it waits"),
        Flag::value("cgroup", "[CONTROLLERS:]PATH", "join this group below the container's own"),
    ],
    arguments: (1, usize::MAX),
    flags_lead: true,
    run,
};

fn run(global: &Global, parsed: &Parsed) -> Result<u8> {
    exec(global, parsed).map_err(|error| Error::Exec(Box::new(error)))
}

fn exec(global: &Global, parsed: &Parsed) -> Result<u8> {
    let id = parsed.id();
    let preserve_fds = session::preserved(parsed, 0)?;
    let below = below(&parsed.values("cgroup").collect::<Vec<_>>())?;
    let folder = Folder::open(global, id)?;
    let record = folder.read(id)?;
    let status = record.status(&folder.path)?;
    match status {
        Status::Created | Status::Running => {}
        Status::Paused if parsed.on("ignore-paused") => {}
        Status::Paused => return Err(Error::WrongState { verb: "exec in", id: id.to_owned(), status }),
        Status::Creating | Status::Stopped => return Err(Error::NotRunning { id: id.to_owned(), status }),
    }
    let mut process = process(global, parsed, &record)?;
    process.preserve_fds = preserve_fds;
    session::check_console(parsed, process.terminal.is_some(), parsed.on("detach"))?;
    let group = match (record.open_cgroup()?, &below) {
        (Some(group), Some(below)) => Some(group.below(below)?),
        (None, Some(_)) => Some(record.require_cgroup()?),
        (group, None) => group,
    };
    start(&record, &process, parsed, group.as_ref(), folder)
}

/// `--cgroup`, as runc takes it: one path for every hierarchy, or a path for each of some version 1 controllers.
fn below(words: &[&str]) -> Result<Option<Below>> {
    let mut paths = Vec::new();
    for word in words {
        match word.split_once(':') {
            None if words.len() == 1 => return Ok(Some(Below::Everywhere(PathBuf::from(word)))),
            None => {
                return Err(Error::usage(format!(
                    "--cgroup {word:?} names no controller, beside another one that does: CONTROLLER:PATH"
                )));
            }
            Some((_, path)) if path.contains(':') => {
                return Err(Error::usage(format!("--cgroup {word:?} has more than one colon")));
            }
            Some((controllers, path)) => {
                for name in controllers.split(',') {
                    let controller = Controller::from_legacy_name(name).ok_or_else(|| {
                        Error::usage(format!("--cgroup {word:?}: there is no controller {name:?}"))
                    })?;
                    paths.push((controller, PathBuf::from(path)));
                }
            }
        }
    }
    Ok(if paths.is_empty() { None } else { Some(Below::Controllers(paths)) })
}

fn start(
    record: &Record,
    process: &ProcessPlan,
    parsed: &Parsed,
    group: Option<&Cgroup>,
    folder: Folder,
) -> Result<u8> {
    let detach = parsed.on("detach");
    let missing = || Error::NotRunning { id: record.id.clone(), status: Status::Stopped };
    let init = record.init.ok_or_else(missing)?;
    let pidfd = init.open()?.ok_or_else(missing)?;
    let target = Target {
        pidfd: pidfd.as_fd(),
        pid: init.pid().ok_or_else(missing)?,
        plan: &record.plan,
        cgroup: group,
    };
    let mut parked = runtime::begin_exec(target, process, Stdio::Inherit)?;
    // The process belongs to the container now. Others may change that, and must be able to: in a paused one it gets no
    // further until somebody resumes it.
    drop(folder);
    let master = parked.terminal()?;
    let console = Console::new(master, parsed.value("console-socket"), detach)?;
    let mut running = parked.release()?;
    session::write_pid_file(parsed, running.pid())?;
    if detach {
        console.finish()?;
        running.detach();
        return Ok(0);
    }
    Ok(session::attend(&mut running, console, None)?.status())
}

/// What to run: a document, or the container's own process with other words.
fn process(global: &Global, parsed: &Parsed, record: &Record) -> Result<ProcessPlan> {
    let own = &record.plan.process;
    let mut process = match parsed.value("process") {
        Some(path) => {
            let path = Path::new(path);
            let text = file::read_bounded(path, 16 << 20)?;
            let document: spec::Process = serde_json::from_slice(&text)
                .map_err(|source| Error::Json { path: path.to_owned(), source })?;
            let mut warnings = Vec::new();
            let process = bundle::process(&document, &mut warnings)?;
            warnings.iter().for_each(|warning| global.log.warn(warning));
            process
        }
        None => {
            let Some(args) = parsed.arguments.get(1..).filter(|args| !args.is_empty()) else {
                return Err(Error::usage("exec needs a command or --process".into()));
            };
            let mut process = ProcessPlan { args: args.to_vec(), terminal: None, ..own.clone() };
            // What was said to the first process alone.
            process.env.retain(|entry| !session::is_for_the_first_process(entry));
            process
        }
    };
    // The filter is the container's, whoever describes the process.
    process.seccomp.clone_from(&own.seccomp);
    process.reaper = false;
    apply_flags(parsed, &mut process)?;
    Ok(process)
}

fn apply_flags(parsed: &Parsed, process: &mut ProcessPlan) -> Result<()> {
    if let Some(cwd) = parsed.value("cwd") {
        if !cwd.starts_with('/') {
            return Err(Error::usage(format!("--cwd is {cwd:?}, which is not absolute")));
        }
        process.cwd = cwd.into();
    }
    process.env.extend(parsed.values("env").map(str::to_owned));
    if parsed.value("tty").is_some() {
        process.terminal = parsed.on("tty").then(|| process.terminal.unwrap_or_default());
    }
    if parsed.value("no-new-privs").is_some() {
        process.no_new_privileges = parsed.on("no-new-privs");
    }
    if let Some(label) = parsed.value("process-label") {
        process.selinux_label = Some(label.to_owned()).filter(|label| !label.is_empty());
    }
    if let Some(profile) = parsed.value("apparmor") {
        process.apparmor_profile = Some(profile.to_owned()).filter(|profile| !profile.is_empty());
    }
    for name in parsed.values("cap") {
        let Some(number) = capability(name) else {
            return Err(Error::usage(format!("--cap is {name:?}, which is no capability")));
        };
        let sets = &mut process.capabilities;
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            *set |= 1 << number;
        }
    }
    apply_user(parsed, process)
}

fn apply_user(parsed: &Parsed, process: &mut ProcessPlan) -> Result<()> {
    let number = |flag: &str, text: &str| {
        text.parse::<u32>().map_err(|_| Error::usage(format!("--{flag} is {text:?}, which is no number")))
    };
    let further: Vec<u32> =
        parsed.values("additional-gids").map(|gid| number("additional-gids", gid)).collect::<Result<_>>()?;
    let User::Ids { uid, gid, groups } = &mut process.user else { return Ok(()) };
    if let Some(user) = parsed.value("user") {
        match user.split_once(':') {
            Some((user, group)) => (*uid, *gid) = (number("user", user)?, number("user", group)?),
            None => *uid = number("user", user)?,
        }
    }
    groups.extend(further);
    Ok(())
}
