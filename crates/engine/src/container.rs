//! Finding a container and telling what it is doing.
//!
//! A container's facts have several owners; [`Engine::observe`] brings them together. Whoever finds one whose
//! monitor died kills what is left of it and records the exit, so that no container looks alive that is not.

use oci::{ContainerId, Timestamp};
use state::{Asked, ContainerHead, ContainerRecord, ExitRecord, Lookup};

use monitor::{Exit, Observed};

use crate::info::{ContainerState, Status};
use crate::spec::{ContainerSpec, Summary};
use crate::{Engine, Error, Result};

/// A container, found by what a user called it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) head: ContainerHead,
    pub(crate) spec: ContainerSpec,
    pub(crate) state: ContainerState,
}

impl Container {
    pub(crate) fn id(&self) -> &ContainerId {
        &self.head.id
    }

    /// Refuses to go on with a container that has no processes.
    pub(crate) fn must_run(&self) -> Result<()> {
        if self.state.status.is_running() {
            return Ok(());
        }
        Err(Error::NotRunning { id: self.head.id.clone() })
    }

    /// Refuses to go on with a container whose files are being removed. `action`: what its user wants to do.
    pub(crate) fn must_stay(&self, action: &'static str) -> Result<()> {
        let state = match self.state.status {
            Status::Removing => "being removed",
            Status::Dead => "Dead",
            Status::Created | Status::Running | Status::Paused | Status::Restarting | Status::Exited => {
                return Ok(());
            }
        };
        Err(Error::Removed { action, id: self.head.id.clone(), state })
    }
}

impl Engine {
    /// The record of the container that `name` stands for.
    pub(crate) fn record(&self, name: &str) -> Result<ContainerRecord> {
        match self.state().find_container(name)? {
            Lookup::Found(record) => Ok(record),
            Lookup::Missing => Err(Error::NoSuchContainer { name: name.to_owned() }),
            Lookup::Ambiguous => Err(Error::AmbiguousPrefix { prefix: name.to_owned() }),
        }
    }

    /// The container that `name` stands for, and what it is doing.
    pub(crate) fn container(&self, name: &str) -> Result<Container> {
        let record = self.record(name)?;
        let spec = parse_spec(&record)?;
        let (head, state) = self.observe(record.head)?;
        if self.is_leftover(spec.host.auto_remove, &head, &state) {
            self.discard(&head.id)?;
            return Err(Error::NoSuchContainer { name: name.to_owned() });
        }
        Ok(Container { head, spec, state })
    }

    /// Whether a container should have been removed at its exit, and nobody is left who would.
    pub(crate) fn is_leftover(
        &self,
        auto_remove: bool,
        head: &ContainerHead,
        state: &ContainerState,
    ) -> bool {
        // One that is being restarted is between two runs.
        let kept = head.exit.as_ref().is_none_or(|exit| exit.asked == Asked::Restart);
        let ended = auto_remove && !kept && !state.status.is_running();
        ended && !self.run_directory(&head.id).exists()
    }

    /// What a container is doing. Reaps and records it when it is lost. One that has just been removed is missing.
    pub(crate) fn observe(&self, head: ContainerHead) -> Result<(ContainerHead, ContainerState)> {
        let mut head = head;
        // A monitor may come or go between two looks; each turn sees a later state of it.
        for _ in 0..8 {
            let directory = self.run_directory(&head.id);
            let failed = |source| Error::Monitor { action: "observe", id: head.id.clone(), source };
            // In this order: who sees a free lock sees the last status, and after that the last exit.
            let held = monitor::status::lock_held(&directory).map_err(failed)?;
            let status = monitor::status::read(&directory).map_err(failed)?;
            // The last run's end, which we have, is all that there is of one that is under way.
            let under_way = held && status.as_ref().is_some_and(|status| status.exit.is_none());
            if !under_way && (held || status.is_some() || head.exit.is_none()) {
                head.exit = self.state().exit(&head.id)?;
            }
            let recorded = head.exit.as_ref().map(Exit::from);
            if head.removing && !held && self.state().is_being_removed(&head.id)?.is_none() {
                return Err(Error::NoSuchContainer { name: head.id.to_string() });
            }
            let observed = monitor::observe(head.removing, held, status.as_ref(), recorded.as_ref());
            if !matches!(observed, Observed::Lost | Observed::Exited { unrecorded: true, .. }) {
                let state = state_of(&observed, status.as_ref(), head.exit.as_ref());
                return Ok((head, state));
            }
            if let Some(exit) = self.reap(&head.id)? {
                let state = ended(&exit);
                head.exit = Some(exit);
                return Ok((head, state));
            }
        }
        Err(Error::Monitor { action: "observe", id: head.id, source: monitor::Error::Gone })
    }

    /// Kills what is left of a container without a monitor, and records how it ended or that it was lost. Where there is no
    /// room for that it is told, and the run directory keeps it: to look takes no space, and a removal needs no record.
    fn reap(&self, id: &ContainerId) -> Result<Option<ExitRecord>> {
        let failed = |source| Error::Monitor { action: "clean up after", id: id.clone(), source };
        // The status names the group; a monitor that died before it wrote one left the planned name.
        let planned = std::path::Path::new("/skiff").join(id.as_str());
        let Some(reaped) = monitor::reap_lost(&self.run_directory(id), Some(&planned)).map_err(failed)?
        else {
            return Ok(None);
        };
        let exit = ExitRecord::from(reaped.exit());
        match self.state().record_exit(id, &exit) {
            Err(state::Error::Full { .. } | state::Error::ReadOnly { .. }) => return Ok(Some(exit)),
            recorded => recorded?,
        }
        if reaped.exit().lost {
            tracing::warn!(container = %id, "its monitor died; what was left of it was killed");
            self.lost_event(id)?;
        }
        reaped.recorded().map_err(failed)?;
        Ok(None)
    }
}

impl Engine {
    /// Tells of the end of a container whose monitor did not live to do so.
    fn lost_event(&self, id: &ContainerId) -> Result<()> {
        let Some(record) = self.state().container(id)? else { return Ok(()) };
        let spec = parse_spec(&record)?;
        let more = [("execDuration", "0"), ("exitCode", "255")];
        self.container_event_with("die", id, record.head.name.as_str(), &spec, &more);
        Ok(())
    }
}

/// The engine's document in a record.
pub(crate) fn parse_spec(record: &ContainerRecord) -> Result<ContainerSpec> {
    serde_json::from_str(&record.spec).map_err(|source| Error::Record { id: record.head.id.clone(), source })
}

/// The engine's small document in a listing.
pub(crate) fn parse_summary(head: &ContainerHead) -> Result<Summary> {
    serde_json::from_str(&head.summary).map_err(|source| Error::Record { id: head.id.clone(), source })
}

fn state_of(
    observed: &Observed,
    status: Option<&monitor::status::Status>,
    exit: Option<&ExitRecord>,
) -> ContainerState {
    let running = |kind| ContainerState {
        status: kind,
        pid: status.and_then(|status| status.init).map_or(0, |init| init.pid),
        exit_code: 0,
        oom_killed: status.is_some_and(|status| status.oom_killed),
        error: String::new(),
        started_at: status.and_then(|status| status.started_at_ns).map(state::timestamp),
        finished_at: finished_before(status, exit),
        restarts: status.map_or(0, |status| status.restarts),
        log_lines_lost: status.map_or(0, |status| status.log_lines_lost),
        health: status.and_then(|status| status.health),
    };
    match observed {
        Observed::Running => running(Status::Running),
        Observed::Paused => running(Status::Paused),
        Observed::Restarting => resting(status),
        Observed::Exited { exit, .. } => ended(&ExitRecord::from(exit)),
        Observed::Created | Observed::Starting | Observed::Lost => at_rest(exit),
        Observed::Removing => ContainerState { status: Status::Removing, ..at_rest(exit) },
        Observed::Dead => ContainerState { status: Status::Dead, ..at_rest(exit) },
    }
}

/// When the run before the one that is on has ended. A row may stand there for the case that this one is lost.
fn finished_before(status: Option<&monitor::status::Status>, exit: Option<&ExitRecord>) -> Option<Timestamp> {
    if let Some(last) = status.and_then(|status| status.last.as_ref()) {
        return Some(state::timestamp(last.finished_at_ns));
    }
    let began = status.and_then(|status| status.started_at_ns).map(state::timestamp);
    exit.filter(|exit| !exit.lost || exit.started != began).map(|exit| exit.finished)
}

/// Docker says of one that rests between two runs how the last one ended.
fn resting(status: Option<&monitor::status::Status>) -> ContainerState {
    let last = status.and_then(|status| status.last.as_ref());
    ContainerState {
        status: Status::Restarting,
        pid: 0,
        exit_code: last.map_or(0, |last| last.code),
        oom_killed: last.is_some_and(|last| last.oom_killed),
        error: last.and_then(|last| last.error.clone()).unwrap_or_default(),
        started_at: last.and_then(|last| last.started_at_ns).map(state::timestamp),
        finished_at: last.map(|last| state::timestamp(last.finished_at_ns)),
        restarts: status.map_or(0, |status| status.restarts),
        log_lines_lost: status.map_or(0, |status| status.log_lines_lost),
        health: None,
    }
}

/// A container that never ran its program is as it was made, with the reason kept: Docker's view of a failed start.
fn ended(exit: &ExitRecord) -> ContainerState {
    ContainerState {
        status: if exit.started.is_none() && !exit.lost { Status::Created } else { Status::Exited },
        pid: 0,
        exit_code: exit.code,
        oom_killed: exit.oom_killed,
        error: exit.error.clone().unwrap_or_default(),
        started_at: exit.started,
        finished_at: exit.started.map(|_| exit.finished),
        restarts: exit.restarts,
        log_lines_lost: exit.log_lines_lost,
        health: None,
    }
}

/// What a container without a monitor is doing.
pub(crate) fn at_rest(exit: Option<&ExitRecord>) -> ContainerState {
    let never = || ContainerState {
        status: Status::Created,
        pid: 0,
        exit_code: 0,
        oom_killed: false,
        error: String::new(),
        started_at: None,
        finished_at: None,
        restarts: 0,
        log_lines_lost: 0,
        health: None,
    };
    exit.map_or_else(never, ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(started: Option<i64>, lost: bool) -> ExitRecord {
        ExitRecord {
            code: 127,
            signal: None,
            oom_killed: false,
            started: started.map(state::timestamp),
            finished: state::timestamp(9),
            lost,
            error: Some("no such file".to_owned()),
            asked: Asked::Nobody,
            restarts: 0,
            log_lines_lost: 0,
        }
    }

    #[test]
    fn a_program_that_never_began_leaves_the_container_created_with_the_reason() {
        let state = ended(&exit(None, false));
        assert_eq!(
            (state.status, state.exit_code, state.error.as_str()),
            (Status::Created, 127, "no such file")
        );
        assert_eq!((state.started_at, state.finished_at), (None, None));
    }

    #[test]
    fn what_ran_or_was_lost_has_exited() {
        assert_eq!(ended(&exit(Some(1), false)).status, Status::Exited);
        assert_eq!(ended(&exit(None, true)).status, Status::Exited);
    }
}
