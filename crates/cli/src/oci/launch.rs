//! `create` and `run`: a bundle becomes a container.

use std::path::{Path, PathBuf};

use cgroup::{Cgroup, Hierarchy};
use linux::file;
use oci::runtime::Spec;
use runtime::plan::RootSource;
use runtime::{ParkedInit, Running, Stdio, bundle, clone_init, hooks};

use super::args::{Command, Flag, Parsed};
use super::container::{Folder, Init, Record, check_id};
use super::error::{Error, Result};
use super::notify::{self, Manager, Notify};
use super::session::{self, Console};
use super::{Global, absolute, lifecycle};

pub(super) const BUNDLE: Flag =
    Flag::value("bundle", "PATH", "the bundle (default the working directory)").short('b');
pub(super) const CONSOLE_SOCKET: Flag =
    Flag::value("console-socket", "PATH", "send the terminal to this socket");
pub(super) const PID_FILE: Flag = Flag::value("pid-file", "PATH", "write the process id here");
const NO_PIVOT: Flag = Flag::switch("no-pivot", "do not use pivot_root, for a root on the initial ramdisk");
const NO_NEW_KEYRING: Flag = Flag::switch("no-new-keyring", "stay in the caller's session keyring");
pub(super) const PRESERVE_FDS: Flag = Flag::value("preserve-fds", "N", "pass descriptors 3 to N+2 on");

pub(super) const CREATE: Command = Command {
    name: "create",
    about: "Make a container that waits for `start`",
    usage: "[OPTIONS] ID",
    flags: &[BUNDLE, CONSOLE_SOCKET, PID_FILE, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS],
    arguments: (1, 1),
    flags_lead: false,
    run: create,
};

pub(super) const RUN: Command = Command {
    name: "run",
    about: "Make a container and start it",
    usage: "[OPTIONS] ID",
    flags: &[
        BUNDLE,
        CONSOLE_SOCKET,
        PID_FILE,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        Flag::switch("detach", "leave it running").short('d'),
        Flag::switch("keep", "do not delete it when it has ended"),
        Flag::switch("no-subreaper", "accepted: this program is none"),
    ],
    arguments: (1, 1),
    flags_lead: false,
    run,
};

/// A container between its first trace and its first process.
struct Prepared {
    folder: Folder,
    record: Record,
    cgroup: Option<Cgroup>,
}

impl Prepared {
    /// Removes every trace of a container that could not be started; its init is gone already.
    fn abandon(self, global: &Global) {
        let Self { folder, record, cgroup } = self;
        let plan = &record.plan;
        let mut failures = Vec::new();
        failures.extend(cgroup.and_then(|group| group.remove().err()).map(Error::from));
        let poststop = hooks::run("poststop", &plan.hooks.poststop, &plan.hooks.state, "stopped", None);
        failures.extend(poststop.err().map(Error::from));
        // Last: as long as it is there, `delete --force` knows what to clean up.
        failures.extend(folder.remove().err());
        failures.iter().for_each(|failure| global.log.warn(&failure.chain()));
    }
}

fn create(global: &Global, parsed: &Parsed) -> Result<u8> {
    let prepared = prepare(global, parsed, true)?;
    let created = park(&prepared, parsed, true).and_then(|(parked, console)| {
        let running = parked.release()?;
        console.finish()?;
        running.detach();
        Ok(())
    });
    match created {
        Ok(()) => {
            if let Some(group) = prepared.cgroup {
                group.keep();
            }
            Ok(0)
        }
        Err(error) => {
            prepared.abandon(global);
            Err(error)
        }
    }
}

fn run(global: &Global, parsed: &Parsed) -> Result<u8> {
    let detach = parsed.on("detach");
    let prepared = prepare(global, parsed, false)?;
    let (mut running, console, notify) = match start(global, &prepared, parsed, detach) {
        Ok(started) => started,
        Err(error) => {
            prepared.abandon(global);
            return Err(error);
        }
    };
    let Prepared { folder, record, cgroup } = prepared;
    // From here on the folder says all there is to clean up, and other commands may have the lock.
    if let Some(group) = cgroup {
        group.keep();
    }
    drop(folder);
    if detach {
        console.finish()?;
        let init = Init::of(running.pid());
        running.detach();
        if let Some(notify) = notify {
            notify.wait(init?)?;
        }
        return Ok(0);
    }
    let exit = session::attend(&mut running, console, notify)?;
    if !parsed.on("keep") {
        lifecycle::delete_container(global, &record.id, true)?;
    }
    Ok(exit.status())
}

fn start(
    global: &Global,
    prepared: &Prepared,
    parsed: &Parsed,
    detach: bool,
) -> Result<(Running, Console, Option<Notify>)> {
    let notify = match Manager::of_caller(global) {
        Some(manager) => Notify::listen(&prepared.folder, manager)?,
        None => None,
    };
    let (parked, console) = park(prepared, parsed, detach)?;
    let running = parked.release()?;
    let plan = &prepared.record.plan;
    hooks::run("poststart", &plan.hooks.poststart, &plan.hooks.state, "running", Some(running.pid()))?;
    Ok((running, console, notify))
}

/// Does what is to be done before the first process: the folder, its first record, the control group.
fn prepare(global: &Global, parsed: &Parsed, gate: bool) -> Result<Prepared> {
    check_id(parsed.id())?;
    let listen_fds = session::listen_fds();
    let preserve_fds = session::preserved(parsed, listen_fds)?;
    let bundle = absolute(Path::new(parsed.value("bundle").unwrap_or(".")))?;
    let spec = bundle::load(&bundle)?;
    let mut record = plan(global, parsed, &spec, bundle, preserve_fds)?;
    session::pass_listen_fds(&mut record.plan.process.env, listen_fds);
    session::check_console(parsed, record.plan.process.terminal.is_some(), gate || parsed.on("detach"))?;

    let folder = Folder::create(global, parsed.id())?;
    let mut prepared = Prepared { folder, record, cgroup: None };
    match fill(global, &mut prepared, gate) {
        Ok(()) => Ok(prepared),
        Err(error) => {
            prepared.abandon(global);
            Err(error)
        }
    }
}

fn fill(global: &Global, prepared: &mut Prepared, gate: bool) -> Result<()> {
    if gate {
        let path = prepared.folder.gate();
        make_gate(&path)?;
        prepared.record.plan.start_gate = Some(path);
    }
    if Manager::of_caller(global).is_some() {
        notify::prepare(&prepared.folder, &mut prepared.record.plan)?;
    }
    prepared.folder.write(&prepared.record)?;
    prepared.cgroup = make_cgroup(global, &mut prepared.record)?;
    Ok(())
}

/// What the command line and the bundle come to. Pure but for reading the kernel's version and the environment.
fn plan(global: &Global, parsed: &Parsed, spec: &Spec, bundle: PathBuf, preserve_fds: u32) -> Result<Record> {
    if global.systemd_cgroup {
        return Err(Error::Unsupported {
            what: "--systemd-cgroup".into(),
            why: "control groups are made directly; use the engine's cgroupfs driver",
        });
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let context = bundle::Context {
        id: parsed.id(),
        bundle: &bundle,
        kernel: runtime::seccomp::kernel_version(&release).unwrap_or((0, 0)),
        no_cgroup: false,
        no_pivot: parsed.on("no-pivot"),
        no_new_keyring: parsed.on("no-new-keyring"),
        preserve_fds,
    };
    let planned = bundle::plan(spec, &context)?;
    planned.warnings.iter().for_each(|warning| global.log.warn(warning));
    let plan = planned.plan;
    let owner = rustix::process::geteuid().as_raw();
    Ok(Record {
        oci_version: spec.oci_version.clone(),
        id: parsed.id().to_owned(),
        rootfs: match &plan.root.source {
            RootSource::Directory(path) => path.clone(),
            RootSource::Erofs { .. } | RootSource::Trees { .. } => PathBuf::new(),
        },
        bundle,
        created: super::log::now(),
        owner: if owner == 0 { "root".into() } else { owner.to_string() },
        annotations: spec.annotations.clone(),
        init: None,
        cgroup: plan.cgroup.as_ref().map(|group| group.path.clone()),
        plan,
    })
}

/// Root inside a user namespace is nobody here, yet must open it; the folder keeps all others out.
fn make_gate(path: &Path) -> Result<()> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let made = mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o622), 0);
    made.map_err(Error::system(format!("make {}", path.display())))?;
    Ok(file::set_mode(path, 0o622)?)
}

fn make_cgroup(global: &Global, record: &mut Record) -> Result<Option<Cgroup>> {
    let Some(plan) = &record.plan.cgroup else { return Ok(None) };
    let hierarchy = Hierarchy::detect()?;
    match Cgroup::create(&hierarchy, plan) {
        Ok(group) => {
            record.cgroup = Some(group.path().to_owned());
            Ok(Some(group))
        }
        Err(error) if error.is_not_delegated() && global.rootless && only_devices(&plan.limits) => {
            global.log.warn(&format!("no control group: {}", Error::from(error).chain()));
            record.cgroup = None;
            record.plan.cgroup = None;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether nothing is limited but devices, which an ordinary user cannot make anyway.
fn only_devices(limits: &cgroup::Limits) -> bool {
    let without = cgroup::Limits { devices: Vec::new(), ..limits.clone() };
    without == cgroup::Limits::default()
}

/// Clones init, up to the point where its program could run, and notes it down.
fn park(prepared: &Prepared, parsed: &Parsed, detach: bool) -> Result<(ParkedInit, Console)> {
    let plan = &prepared.record.plan;
    let mut parked = clone_init(plan, prepared.cgroup.as_ref(), Stdio::Inherit, None)?;
    let record = Record { init: Some(Init::of(parked.pid())?), ..prepared.record.clone() };
    prepared.folder.write(&record)?;
    let console = Console::new(parked.terminal()?, parsed.value("console-socket"), detach)?;
    session::write_pid_file(parsed, parked.pid())?;
    Ok((parked, console))
}
