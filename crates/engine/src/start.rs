//! `start` and `run`: a recorded container is planned and handed to a monitor of its own.

use std::path::Path;
use std::time::Duration;

use linux::file;
use monitor::{
    AheadPlan, AttachStdio, Ended, Exit, HealthPlan, LogPlan, MonitorPlan, PeerPlan, Running, StopPlan,
    Waiting,
};
use oci::{ContainerId, ContainerName, DiffId, Digest};
use runtime::plan::{IdMap, IdMaps};
use state::Asked;

use crate::container::Container;
use crate::info::Status;
use crate::plan::{self, HostFacts, Joined, Peer, Surroundings};
use crate::quota::writable;
use crate::request::{Create, Exec, HostOptions, IpcMode, NetworkMode, PidMode};
use crate::spec::ContainerSpec;
use crate::{Config, Engine, Error, Result};

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// What was asked for and is not in force, one sentence each.
    pub warnings: Vec<String>,
    /// The caller's hold on it; dropping it leaves the container running.
    pub running: Running,
}

/// A container to be: it has an id, and a monitor that starts up and makes what it can while the engine opens and plans.
/// Dropping it ends the monitor.
#[derive(Debug)]
#[must_use]
pub struct Launcher {
    id: ContainerId,
    monitor: Waiting,
    facts: HostFacts,
}

impl Launcher {
    /// Starts a monitor for [`Engine::run_with`] and the same request.
    pub fn new(config: &Config, request: &Create) -> Result<Launcher> {
        let id = ContainerId::from_bytes(crate::create::random()?);
        let start = || {
            let monitor = monitor::prepare(&config.monitor, id.as_str())?;
            let facts = crate::host::facts();
            if let Some((namespaces, cgroup)) = plan::ahead(id.as_str(), &request.host, &facts) {
                let run_dir = config.run.join(id.as_str());
                monitor.prepare(AheadPlan { run_dir, namespaces, cgroup, trace: config.trace.clone() })?;
            }
            Ok((monitor, facts))
        };
        match start() {
            Ok((monitor, facts)) => Ok(Launcher { id, monitor, facts }),
            Err(source) => Err(Error::Start { id, source }),
        }
    }
}

/// A container about to be started.
struct Start<'a> {
    id: &'a ContainerId,
    name: &'a ContainerName,
    spec: &'a ContainerSpec,
    id_base: Option<u32>,
    image: &'a Digest,
    layers: Vec<DiffId>,
}

impl Engine {
    /// Makes a container and starts it; returns once its program is running.
    ///
    /// `stdio` (from [`AttachStdio::from_caller`]) is connected before the program begins. A container that cannot
    /// be started stays, with the reason in its record, unless it was to be removed at its end.
    pub fn run(&self, request: &Create, stdio: Option<AttachStdio>) -> Result<Started> {
        self.run_with(Launcher::new(&self.config, request)?, request, stdio)
    }

    /// Like [`Engine::run`], with a monitor that was started before.
    pub fn run_with(
        &self,
        launcher: Launcher,
        request: &Create,
        stdio: Option<AttachStdio>,
    ) -> Result<Started> {
        let Launcher { id, monitor, facts } = launcher;
        // Looked up a moment ago; the host is still the same if they are there already.
        let _same = self.facts.set(facts);
        let made = self.make(id, request)?;
        let layers = made.image.rootfs.diff_ids;
        let image = parse_digest(&made.spec)?;
        let start = Start {
            id: &made.id,
            name: &made.name,
            spec: &made.spec,
            id_base: made.id_base,
            image: &image,
            layers,
        };
        let running = self.launch(&start, monitor, stdio)?;
        Ok(Started { id: made.id, name: made.name, warnings: made.warnings, running })
    }

    /// Starts a container; None when it runs already.
    pub fn start(&self, name: &str, stdio: Option<AttachStdio>) -> Result<Option<Started>> {
        let found = self.container(name)?;
        if found.state.status == Status::Paused {
            return Err(Error::Paused { name: found.head.name.to_string(), action: "start" });
        }
        if found.state.status.is_leaving() {
            return Err(Error::RemovedToStart);
        }
        if !self.is_vacant(found.id())? {
            return Ok(None);
        }
        let layers = self.image_config(&found.head.image)?.rootfs.diff_ids;
        let start = Start {
            id: &found.head.id,
            name: &found.head.name,
            spec: &found.spec,
            id_base: found.head.id_base,
            image: &found.head.image,
            layers,
        };
        let monitor = monitor::prepare(&self.config.monitor, start.id.as_str())
            .map_err(|source| Error::Start { id: start.id.clone(), source })?;
        match self.launch(&start, monitor, stdio) {
            Ok(running) => {
                let (id, name) = (found.head.id, found.head.name);
                Ok(Some(Started { id, name, warnings: Vec::new(), running }))
            }
            Err(Error::Start { source: monitor::Error::AlreadyRunning, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// After a session: how the container ended. One with `--rm` has no record any more when this returns; its monitor
    /// removes the files.
    pub fn ended(&self, id: &ContainerId, ended: Ended) -> Result<Exit> {
        let Some(record) = self.state().container(id)? else { return Ok(ended.forgotten()) };
        let spec = crate::container::parse_spec(&record)?;
        // One that is being restarted is not removed meanwhile.
        if !spec.host.auto_remove || ended.exit().asked == Asked::Restart {
            return Ok(ended.exit().clone());
        }
        if self.state().remove_container(id)? {
            self.container_event("destroy", id, record.head.name.as_str(), &spec);
        }
        Ok(ended.forgotten())
    }

    fn launch(&self, start: &Start<'_>, monitor: Waiting, stdio: Option<AttachStdio>) -> Result<Running> {
        if stdio.is_some() {
            self.container_event("attach", start.id, start.name.as_str(), start.spec);
        }
        let started = self.try_launch(start, monitor, stdio);
        match &started {
            // Its monitor has told of the start; somebody else's is none of ours.
            Ok(_) | Err(Error::Start { source: monitor::Error::AlreadyRunning, .. }) => {}
            // As at its end: who asked for `--rm` does not want to clean up after a failure either.
            Err(_) if start.spec.host.auto_remove => {
                if let Err(error) = self.discard(start.id) {
                    tracing::warn!(container = %start.id, %error, "could not be removed after it failed to start");
                }
            }
            // What it stumbled over was taken away under it, and it may have made some of that anew.
            Err(_) if matches!(self.state().has_container(start.id), Ok(false)) => {
                self.remove_files(start.id)?;
                return Err(Error::RemovedMeanwhile { id: start.id.clone() });
            }
            Err(_) => {}
        }
        started
    }

    fn try_launch(&self, start: &Start<'_>, monitor: Waiting, stdio: Option<AttachStdio>) -> Result<Running> {
        let failed = |source| Error::Start { id: start.id.clone(), source };
        let plan = self.monitor_plan(start)?;
        let running = monitor.launch(&plan, stdio).map_err(failed)?;
        let mut running = running.wait_running().map_err(failed)?;
        // Somebody may have removed the record meanwhile; nobody would ever find the container again.
        if !self.state().has_container(start.id)? {
            match running.connection.signal(9) {
                // It may have ended by itself.
                Ok(_) | Err(monitor::Error::NotRunning | monitor::Error::Refused(_)) => {}
                Err(error) => return Err(failed(error)),
            }
            drop(running.wait_exit().map_err(failed)?.removed());
            self.remove_files(start.id)?;
            return Err(Error::RemovedMeanwhile { id: start.id.clone() });
        }
        Ok(running)
    }

    /// Waits until nobody has the container for something that does not last: the monitor of a run that has ended, a copy
    /// of its files, an observer. False when it runs, or is being started.
    pub(crate) fn is_vacant(&self, id: &ContainerId) -> Result<bool> {
        let failed = |source| Error::Monitor { action: "observe", id: id.clone(), source };
        let directory = self.run_directory(id);
        while monitor::status::lock_held(&directory).map_err(failed)? {
            if monitor::status::is_supervised(&directory).map_err(failed)? {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(true)
    }

    fn monitor_plan(&self, start: &Start<'_>) -> Result<MonitorPlan> {
        let (id, spec) = (start.id, start.spec);
        let (joined, peers) = self.joined(&spec.host)?;
        let devices = self.look_up_devices(&spec.host)?;
        let named = self.device_edits(&spec.host)?;
        let directory = self.prepare(id, spec)?;
        let around = Surroundings {
            root: self.root_source(
                start.image,
                &start.layers,
                writable(&directory, &spec.host, spec.host.auto_remove)?,
            )?,
            id_base: start.id_base,
            devices,
            named,
            seccomp: self.seccomp(spec)?,
            files: self.etc_directory(id, &spec.host)?,
            volumes: directory.join("volumes"),
            shm: self.shm_directory(id),
            limits: self.supported_limits(&spec.host)?,
            joined,
        };
        let launch = plan::launch(id.as_str(), spec, self.facts(), &around)?;
        if !matches!(spec.host.network_mode, NetworkMode::Container(_)) {
            self.write_etc(id, spec, plan::root_outside(&launch.id_maps))?;
        }
        let health = self.health_plan(spec)?;
        // A later one of the same key wins: labels cannot pretend to be another container.
        let mut attributes: Vec<_> =
            spec.process.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        attributes.push(("image".to_owned(), spec.image.clone()));
        attributes.push(("name".to_owned(), start.name.to_string()));
        Ok(MonitorPlan {
            id: id.to_string(),
            launch,
            run_dir: self.run_directory(id),
            log: self.log_plan(start, &directory)?,
            drift: spec.host.drift,
            shm_dir: (spec.host.ipc_mode == IpcMode::Shareable).then(|| self.shm_directory(id)),
            container_dir: directory,
            database: Some(self.config.root.join("state.db")),
            event_log: Some(self.config.run.join("events.log")),
            event_attributes: attributes,
            open_stdin: spec.process.open_stdin,
            stdin_once: spec.process.stdin_once,
            stop: StopPlan {
                signal: spec.process.stop_signal,
                timeout_secs: spec.process.stop_timeout.unwrap_or(10),
                is_chosen: spec.process.stop_signal_name.as_deref().is_some_and(|name| !name.is_empty()),
            },
            health,
            restart: spec.host.restart,
            peers,
            auto_remove: spec.host.auto_remove,
            ends_with_caller: false,
            trace: self.config.trace.clone(),
        })
    }

    fn log_plan(&self, start: &Start<'_>, directory: &Path) -> Result<Option<LogPlan>> {
        let subject = plan::Subject {
            id: start.id.as_str(),
            name: start.name.as_str(),
            hostname: &self.facts().hostname,
            spec: start.spec,
            directory,
        };
        plan::log_plan(&subject).map_err(|source| Error::Logging { source })
    }

    /// How its health is checked: by a program like those of `exec`.
    fn health_plan(&self, spec: &ContainerSpec) -> Result<Option<HealthPlan>> {
        let Some((check, command)) = spec.process.health.as_ref().zip(plan::health_command(&spec.process))
        else {
            return Ok(None);
        };
        let request = Exec { command, ..Exec::default() };
        Ok(Some(HealthPlan {
            process: plan::exec(spec, &request, self.facts(), self.seccomp(spec)?)?,
            command: request.command.join(" "),
            schedule: plan::health_schedule(check),
            on_unhealthy: spec.host.on_unhealthy,
        }))
    }

    /// Whose `/etc/hosts` and the like a container sees: its own, or those of the container whose network it joins.
    fn etc_directory(&self, id: &ContainerId, host: &HostOptions) -> Result<std::path::PathBuf> {
        match &host.network_mode {
            NetworkMode::Container(name) => Ok(self.run_directory(&self.record(name)?.head.id)),
            NetworkMode::Default | NetworkMode::None | NetworkMode::Host => Ok(self.run_directory(id)),
        }
    }

    /// The containers whose namespaces are joined.
    fn joined(&self, host: &HostOptions) -> Result<(Joined, Vec<PeerPlan>)> {
        let mut joined = Joined::default();
        let mut peers = Vec::new();
        let mut find = |kind, name: &str| {
            let (peer, found) = self.peer(kind, name)?;
            peers.push(PeerPlan { run_dir: self.run_directory(found.id()), pid: peer.pid });
            Ok::<_, Error>((peer, found.spec.host))
        };
        if let PidMode::Container(name) = &host.pid_mode {
            joined.pid = Some(find("pid", name)?.0);
        }
        if let IpcMode::Container(name) = &host.ipc_mode {
            let (peer, options) = find("ipc", name)?;
            plan::may_join_ipc(name, &options)?;
            joined.ipc = Some(peer);
        }
        if let NetworkMode::Container(name) = &host.network_mode {
            joined.network = Some(find("network", name)?.0);
        }
        Ok((joined, peers))
    }

    fn peer(&self, kind: &'static str, name: &str) -> Result<(Peer, Container)> {
        let found = self.container(name)?;
        if !found.state.status.is_running() || found.state.pid <= 0 {
            return Err(Error::JoinNotRunning { kind, name: name.to_owned() });
        }
        let pid = found.state.pid;
        let maps = IdMaps { uid: id_map(pid, "uid_map")?, gid: id_map(pid, "gid_map")? };
        Ok((Peer { pid, maps, shm: self.shm_directory(found.id()) }, found))
    }
}

/// The map of a process's user namespace; empty when it is ours.
fn id_map(pid: i32, which: &str) -> Result<Vec<IdMap>> {
    let path = format!("/proc/{pid}/{which}");
    let text = file::read_to_string(Path::new(&path))
        .map_err(|source| Error::File { action: "read the ids of the container to join", source })?;
    let lines = text.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let map = IdMap {
            inside: numbers.next()?.ok()?,
            outside: numbers.next()?.ok()?,
            count: numbers.next()?.ok()?,
        };
        Some(map)
    });
    let maps: Vec<IdMap> = lines.collect();
    let whole = [IdMap { inside: 0, outside: 0, count: u32::MAX }];
    Ok(if maps == whole { Vec::new() } else { maps })
}

fn parse_digest(spec: &ContainerSpec) -> Result<Digest> {
    spec.image_id.parse().map_err(|source| Error::ImageConfig { id: spec.image_id.clone(), source })
}
