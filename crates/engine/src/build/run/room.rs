//! The container of one program: made, run, and its changes taken.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use build::{Step, Stream};
use dockerfile::lower::RunOp;
use image::snapshots::RootFs;
use image::{Live, LoadedLayer};
use linux::file;
use monitor::{AheadPlan, DriftMode, Exit, MonitorPlan, RestartPolicy, Running, StopPlan, Waiting};
use oci::{ContainerId, Digest, ImageConfig};
use runtime::plan::{RootSource, Writable};
use state::IdPool;

use super::error::RunError;
use super::follow::Pipes;
use super::request::{self, refused};
use super::{emulator, layer, mounts, remains, words};
use crate::build::BuildError;
use crate::build::removals::Removals;
use crate::build::session::Session;
use crate::build::tree::Tree;
use crate::plan::{self, ImageFacts, Joined, Surroundings};
use crate::request::Create;
use crate::spec::ContainerSpec;
use crate::{Engine, Result, Snapshotter, files};

/// A container that is about to run, runs, or has ended. Dropping it removes its files.
pub(super) struct Room<'e> {
    engine: &'e Engine,
    id: ContainerId,
    run_dir: PathBuf,
    files: Files,
    /// The layers that it runs in.
    base: Tree,
    root: RootSource,
    mount_points: Vec<String>,
    /// What is to be launched; none once it was.
    pending: Option<(Waiting, MonitorPlan)>,
    /// What lasts as long as the program: locks of caches, listeners for agents.
    held: Option<mounts::Held>,
}

/// `upper/`, `work/` and `etc/` in a directory of the session's.
struct Files {
    removals: Arc<Removals>,
    directory: PathBuf,
}

impl Drop for Files {
    fn drop(&mut self) {
        self.removals.remove(std::mem::take(&mut self.directory));
    }
}

impl<'e> Room<'e> {
    /// Makes all that is needed to launch the program. Its monitor works meanwhile.
    pub(super) fn prepare(
        session: &Session<'e>,
        op: &RunOp,
        inputs: &[Tree],
        step: &Step<'_>,
    ) -> Result<Room<'e>> {
        let engine = session.engine;
        let id = ContainerId::from_bytes(crate::create::random()?);
        let run_dir = engine.build_run_directory(&id)?;
        let devices = super::devices::granted(session, op)?;
        let create = request::create(session.request, op, &devices);
        let monitor = start_monitor(engine, &id, &run_dir, &create)?;
        let spec = spec(engine, &id, &create, step)?;
        let files = Files::make(session)?;
        let base = inputs.first().cloned().unwrap_or_else(Tree::empty);
        let root = root(session, &base, Some(files.writable()), true)?;
        let around = Surroundings {
            root: root.clone(),
            id_base: plan::needs_range(&spec.host, engine.facts()).then_some(IdPool::BUILDS),
            devices: engine.look_up_devices(&spec.host)?,
            named: crate::cdi::edits(session.devices(), &devices)?,
            seccomp: engine.seccomp(&spec)?,
            files: files.directory.join("etc"),
            volumes: files.directory.join("volumes"),
            shm: files.directory.join("shm"),
            limits: engine.supported_limits(&spec.host)?,
            joined: Joined::default(),
        };
        let mut launch = plan::launch(id.as_str(), &spec, engine.facts(), &around)?;
        // The name of the host stands in /etc/hosts alone: the other file may be the image's.
        launch.mounts.retain(|mount| mount.target != Path::new("/etc/hostname"));
        launch.process.env = request::environment(op);
        around.named.set_variables(&mut launch.process.env);
        launch.ends_with_supervisor = true;
        files.write_etc(session, op, plan::root_outside(&launch.id_maps))?;
        let mut mount_points = plan::mount_points(&spec);
        mount_points.extend(around.named.mount_points());
        let held = mounts::add(session, (op, inputs), step, (&id, &files.directory), &mut launch)?;
        mount_points.extend(held.targets.iter().cloned());
        let directory = files.directory.clone();
        let plan = monitor_plan(engine, launch, &id, (&run_dir, directory));
        let (pending, held) = (Some((monitor, plan)), Some(held));
        Ok(Room { engine, id, run_dir, files, base, root, mount_points, pending, held })
    }

    /// Runs the program to its end. Any end but a good one is an error.
    pub(super) fn run(&mut self, session: &Session<'_>, op: &RunOp, step: &Step<'_>) -> Result<()> {
        let Some((monitor, plan)) = self.pending.take() else { return Ok(()) };
        if step.cancel.is_cancelled() {
            return Err(BuildError::Cancelled.into());
        }
        let (pipes, stdio) = Pipes::new(session.request.limits.output).map_err(refused)?;
        let launched = monitor.launch(&plan, Some(stdio)).and_then(monitor::Starting::wait_running);
        drop(plan);
        let exit = match launched {
            Ok(running) => self.follow(pipes, running, op, step)?,
            Err(source) => {
                let missing = emulator::missing(session, op, &self.base, &source);
                return Err(missing.map_or_else(|| self.lost(op, source), refused));
            }
        };
        if let Some(held) = self.held.take() {
            held.release(session);
        }
        if step.cancel.is_cancelled() {
            return Err(BuildError::Cancelled.into());
        }
        match exit.code {
            0 => Ok(()),
            code => Err(refused(RunError::Failed {
                words: words(op),
                code,
                out_of_memory: exit.oom_killed && code == 137,
            })),
        }
    }

    fn follow(&self, pipes: Pipes, running: Running, op: &RunOp, step: &Step<'_>) -> Result<Exit> {
        pipes.follow(running, step).map_err(|source| self.lost(op, source))
    }

    /// What has become of a program whose monitor says no more, or could not start it. If it died, nothing is left running.
    fn lost(&self, op: &RunOp, source: monitor::Error) -> crate::Error {
        if !matches!(source, monitor::Error::Gone) {
            return refused(RunError::Start { words: words(op), source });
        }
        match remains::end_lost(&self.run_dir, &remains::planned_group(&self.id)) {
            Ok(()) => refused(RunError::Lost { words: words(op) }),
            Err(source) => refused(RunError::Monitor { action: "end a program without a monitor", source }),
        }
    }

    /// What the program has changed.
    pub(super) fn layer(self, session: &Session<'_>) -> Result<LoadedLayer> {
        let Room { engine, files, root, mount_points, .. } = self;
        let stored = layer::store(session, engine, root, mount_points);
        drop(files);
        stored
    }
}

/// Starts a monitor, and has it make what follows from the request alone.
fn start_monitor(engine: &Engine, id: &ContainerId, run_dir: &Path, create: &Create) -> Result<Waiting> {
    let start = || {
        let monitor = monitor::prepare(&engine.config.monitor, id.as_str())?;
        if let Some((namespaces, cgroup)) = plan::ahead(id.as_str(), &create.host, engine.facts()) {
            let trace = engine.config.trace.clone();
            monitor.prepare(AheadPlan { run_dir: run_dir.to_owned(), namespaces, cgroup, trace })?;
        }
        Ok(monitor)
    };
    start().map_err(|source| refused(RunError::Monitor { action: "start a monitor", source }))
}

/// The request, checked as that of any container. What of it will not be in force is said before the program says anything.
fn spec(engine: &Engine, id: &ContainerId, create: &Create, step: &Step<'_>) -> Result<ContainerSpec> {
    let config = ImageConfig::default();
    let nothing = Digest::of(&[]);
    let image = ImageFacts { name: "", id: &nothing, config: &config };
    let (spec, mut warnings) = plan::spec(create, &image, id, engine.facts())?;
    warnings.extend(engine.limit_warnings(&spec.host)?);
    for warning in warnings {
        step.output(Stream::Stderr, format!("WARNING: {warning}\n").as_bytes());
    }
    Ok(spec)
}

/// A file system of layers, which stay as long as the session does. That of a whole container may have what containers have
/// something mounted on.
pub(super) fn root(
    session: &Session<'_>,
    tree: &Tree,
    writable: Option<Writable>,
    is_whole: bool,
) -> Result<RootSource> {
    let (engine, layers) = (session.engine, tree.diff_ids());
    let failed = crate::images::failed;
    match engine.snapshotter()? {
        Snapshotter::Erofs => {
            let index =
                session.draft.index(&layers, is_whole).map_err(failed("prepare the root file system"))?;
            let devices = layers.iter().map(|layer| session.draft.layer_path(layer)).collect();
            Ok(RootSource::Erofs { index, devices, writable })
        }
        Snapshotter::Trees => {
            // They are unpacked from where everybody finds them.
            session.draft.publish_own(&layers).map_err(failed("store the layer of a step"))?;
            let mut wanted = Live::default();
            wanted.stack(&layers);
            session.draft.keep(&wanted).map_err(failed("keep the layers of a build"))?;
            let layers = match engine.trees(&tree.chain(), &layers)? {
                RootFs::Trees { layers } if !layers.is_empty() => layers,
                // An overlay needs something below.
                RootFs::Trees { .. } | RootFs::Erofs { .. } => vec![empty(session)?],
            };
            Ok(RootSource::Trees { layers, writable })
        }
    }
}

fn empty(session: &Session<'_>) -> Result<PathBuf> {
    let path = session.draft.fresh("empty");
    make(&path, 0o755)?;
    Ok(path)
}

/// Makes a directory with a mode that does not depend on the caller's mask.
pub(super) fn make(path: &Path, mode: u32) -> Result<()> {
    let made = file::create_dir(path, mode).and_then(|_| file::set_mode(path, mode));
    made.map_err(|source| {
        refused(RunError::File { action: "make a directory for a program of a build", source })
    })
}

impl Files {
    fn make(session: &Session<'_>) -> Result<Files> {
        let directory = session.draft.fresh("step");
        make(&directory, 0o700)?;
        let files = Files { removals: Arc::clone(&session.removals), directory };
        for (name, mode) in [("upper", 0o755), ("work", 0o700), ("etc", 0o700)] {
            make(&files.directory.join(name), mode)?;
        }
        Ok(files)
    }

    fn writable(&self) -> Writable {
        writable(&self.directory)
    }

    /// Its `/etc/hosts` and `/etc/resolv.conf`, for what its root is outside.
    fn write_etc(&self, session: &Session<'_>, op: &RunOp, owner: (u32, u32)) -> Result<()> {
        let hosts = request::hosts(session.request).map_err(refused)?;
        let has_network = request::has_network(session.request, op);
        let resolv = has_network.then(|| files::copied("/etc/resolv.conf")).flatten().unwrap_or_default();
        let folder = self.directory.join("etc");
        let write = |name, content: &[u8]| files::write_for(&folder.join(name), content, owner);
        write("hosts", hosts.as_bytes())
            .and_then(|()| write("resolv.conf", &resolv))
            .map_err(|source| refused(RunError::File { action: "write a file of a program's /etc", source }))
    }
}

/// A writable layer in a directory that has `upper/` and `work/`. Nobody wants it after a loss of power.
pub(super) fn writable(directory: &Path) -> Writable {
    Writable { upper: directory.join("upper"), work: directory.join("work"), volatile: true, limit: None }
}

fn monitor_plan(
    engine: &Engine,
    launch: runtime::LaunchPlan,
    id: &ContainerId,
    (run_dir, container_dir): (&Path, PathBuf),
) -> MonitorPlan {
    MonitorPlan {
        id: id.to_string(),
        launch,
        run_dir: run_dir.to_owned(),
        container_dir,
        shm_dir: None,
        database: None,
        event_log: None,
        event_attributes: Vec::new(),
        log: None,
        drift: DriftMode::None,
        open_stdin: false,
        stdin_once: false,
        stop: StopPlan::default(),
        health: None,
        restart: RestartPolicy::No,
        peers: Vec::new(),
        auto_remove: true,
        ends_with_caller: true,
        trace: engine.config.trace.clone(),
    }
}
