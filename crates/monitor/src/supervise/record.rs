//! What outlives the container: its exit in the database, its events, or its removal from both.

use std::path::{Path, PathBuf};

use oci::ContainerId;
use runtime::plan::{IdMaps, WritableLimit};
use state::{Event, EventLog, IndexShare, State};

use crate::exit::Exit;
use crate::plan::MonitorPlan;

/// Where the end of a container is written down.
#[derive(Debug)]
pub(crate) struct Records {
    id: String,
    database: Option<PathBuf>,
    /// Commands find the database's index in being while the container runs.
    _index: Option<IndexShare>,
    event_log: Option<PathBuf>,
    event_attributes: Vec<(String, String)>,
    container_dir: PathBuf,
    shm_dir: Option<PathBuf>,
    id_maps: IdMaps,
    /// Its writable layer has a limit that the file system keeps.
    is_counted: bool,
}

impl Records {
    pub(crate) fn new(plan: &MonitorPlan) -> Records {
        Records {
            id: plan.id.clone(),
            _index: plan.database.as_deref().and_then(State::share_index),
            database: plan.database.clone(),
            event_log: plan.event_log.clone(),
            event_attributes: plan.event_attributes.clone(),
            container_dir: plan.container_dir.clone(),
            shm_dir: plan.shm_dir.clone(),
            id_maps: plan.launch.id_maps.clone(),
            is_counted: plan
                .launch
                .root
                .source
                .writable()
                .is_some_and(|writable| matches!(writable.limit, Some(WritableLimit::Project(_)))),
        }
    }

    /// The database.
    pub(crate) fn database(&self) -> Option<&Path> {
        self.database.as_deref()
    }

    /// Appends an event. One that cannot be written is lost: the container matters more.
    pub(crate) fn event(&self, action: &str, further: &[(&str, &str)]) {
        let Some(path) = &self.event_log else { return };
        let own = self.event_attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let attributes: Vec<(&str, &str)> = own.chain(further.iter().copied()).collect();
        let event = Event::new("container", action, &self.id, &attributes);
        drop(EventLog::at(path).append(&event));
    }

    /// Events carry another name from now on. It stands behind the labels, one of which may be called so too.
    pub(crate) fn rename(&mut self, name: &str) {
        if let Some((_, value)) = self.event_attributes.iter_mut().rfind(|(key, _)| key == "name") {
            name.clone_into(value);
        }
    }

    /// Docker's `die`: the code and how many seconds the program ran.
    pub(crate) fn died(&self, exit: &Exit) {
        let ran_ns = exit.started_at_ns.map_or(0, |started| exit.finished_at_ns.saturating_sub(started));
        let seconds = (ran_ns.max(0) / 1_000_000_000).to_string();
        self.event("die", &[("execDuration", &seconds), ("exitCode", &exit.code.to_string())]);
    }

    /// The row of the run before.
    pub(crate) fn exit(&self) -> Option<Exit> {
        let (state, id) = self.open().ok()??;
        state.exit(&id).ok()?.as_ref().map(Exit::from)
    }

    /// Writes the exit's row.
    pub(crate) fn record(&self, exit: &Exit) -> state::Result<()> {
        let Some((state, id)) = self.open()? else { return Ok(()) };
        state.record_exit(&id, &exit.into())
    }

    /// Removes the container: first its row, so that nobody finds a container without its files.
    pub(crate) fn remove(&self) -> state::Result<()> {
        if let Some((state, id)) = self.open()?
            && state.remove_container(&id)?
        {
            self.event("destroy", &[]);
        }
        self.remove_files();
        Ok(())
    }

    /// Removes what lies on disk of a container without a record. What cannot be removed now belongs to nobody, and is
    /// found by the sweep for such files.
    pub(crate) fn remove_files(&self) {
        if self.is_counted {
            runtime::project::release(&self.container_dir);
        }
        drop(runtime::remove_tree(&self.container_dir, &self.id_maps));
        if let Some(shm) = &self.shm_dir {
            drop(linux::file::remove_tree(shm));
        }
    }

    fn open(&self) -> state::Result<Option<(State, ContainerId)>> {
        let (Some(path), Ok(id)) = (&self.database, self.id.parse()) else { return Ok(None) };
        Ok(Some((State::open_file(path)?, id)))
    }
}
