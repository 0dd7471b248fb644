//! `system resume` and `system shutdown`: what a host's start and its end are to containers.
//!
//! There is no daemon that could see either. `resume` starts what a restart policy says belongs running; `shutdown`
//! ends what runs, without that counting as its user's wish, so that the next `resume` brings it back. Who joins another
//! container's namespaces is started after it and ended before it.

use std::collections::BTreeMap;
use std::thread::Builder;
use std::time::Duration;

use oci::ContainerId;
use state::Asked;

use crate::container::Container;
use crate::plan::order::{self, Node};
use crate::request::{HostOptions, IpcMode, List, NetworkMode, PidMode, Stop};
use crate::{Engine, Error, Result};

/// So many are started at once.
const PARALLEL: usize = 8;

/// What became of one container.
#[derive(Debug)]
pub struct Handled {
    /// Its name.
    pub name: String,
    /// What went wrong, if something did.
    pub outcome: Result<()>,
}

impl Engine {
    /// Starts every container that its restart policy wants to run; what goes wrong with one stops no other.
    pub fn resume(&self) -> Result<Vec<Handled>> {
        let mut wanted = BTreeMap::new();
        for found in self.everything()? {
            if self.is_wanted(&found)? {
                wanted.insert(found.head.id.clone(), found);
            }
        }
        let mut handled = Vec::new();
        let nodes: Vec<_> = wanted.values().map(|found| self.node(found)).collect();
        let ranks = order::ranks(&nodes);
        for rank in ranks.ranks {
            let rank: Vec<&Container> = rank.iter().filter_map(|id| wanted.get(id)).collect();
            for some in rank.chunks(PARALLEL) {
                handled.extend(
                    self.at_once(some, |engine, found| engine.start(found.id().as_str(), None).map(|_| ())),
                );
            }
        }
        let circular = ranks.circular.iter().filter_map(|id| wanted.get(id));
        handled.extend(circular.map(|found| {
            let name = found.head.name.to_string();
            Handled { outcome: Err(Error::CircularJoin { name: name.clone() }), name }
        }));
        Ok(handled)
    }

    /// Ends every container that runs: each is given the time that it was made with, or `at_most` if that is less.
    pub fn shut_down(&self, at_most: Option<Duration>) -> Result<Vec<Handled>> {
        let mut running = BTreeMap::new();
        for found in self.everything()? {
            if found.state.status.is_running() {
                running.insert(found.head.id.clone(), found);
            }
        }
        let nodes: Vec<_> = running.values().map(|found| self.node(found)).collect();
        let ranks = order::ranks(&nodes);
        let mut handled = Vec::new();
        for rank in std::iter::once(ranks.circular).chain(ranks.ranks.into_iter().rev()) {
            // All are asked before one is waited for: their monitors look after the time.
            let asked: Vec<_> = rank
                .iter()
                .filter_map(|id| running.get(id))
                .map(|found| (found, self.begin_end(found, &patience(found, at_most), Asked::Nobody)))
                .collect();
            for (found, asked) in asked {
                let outcome = asked.and_then(|asked| match asked {
                    Some(connection) => {
                        drop(connection);
                        self.finish_end(found, None)
                    }
                    None => Ok(()),
                });
                handled.push(Handled { name: found.head.name.to_string(), outcome });
            }
        }
        Ok(handled)
    }

    /// Every container, the lost ones found out; newest last.
    fn everything(&self) -> Result<Vec<Container>> {
        let listed = self.list(&List { all: true, last: None })?;
        let mut all = Vec::with_capacity(listed.len());
        for one in listed.iter().rev() {
            match self.container(one.id.as_str()) {
                Ok(found) => all.push(found),
                Err(Error::NoSuchContainer { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// Whether a container belongs running and does not.
    fn is_wanted(&self, found: &Container) -> Result<bool> {
        let status = found.state.status;
        if status.is_running() || status.is_leaving() || self.is_starting(found)? {
            return Ok(false);
        }
        let Some(exit) = &found.head.exit else {
            // Nothing is on disk of one that never was started: this one was, and the host went down with it.
            if found.spec.host.auto_remove && self.directory(found.id()).exists() {
                self.discard(found.id())?;
            }
            return Ok(false);
        };
        // A policy takes effect once a start has succeeded.
        let has_run = exit.started.is_some();
        let stopped = exit.asked == Asked::User;
        Ok(has_run && found.spec.host.restart.resumes(stopped, exit.code, exit.restarts))
    }

    fn node(&self, found: &Container) -> Node<ContainerId> {
        let id_of = |name: &str| self.record(name).ok().map(|record| record.head.id);
        let after = joins(&found.spec.host).into_iter().filter_map(id_of).collect();
        Node { id: found.head.id.clone(), after }
    }

    fn at_once(
        &self,
        some: &[&Container],
        act: impl Fn(&Engine, &Container) -> Result<()> + Sync,
    ) -> Vec<Handled> {
        let one =
            |found: &Container| Handled { name: found.head.name.to_string(), outcome: act(self, found) };
        if let [found] = some {
            return vec![one(found)];
        }
        std::thread::scope(|scope| {
            let one = &one;
            let begin = |found| Builder::new().spawn_scoped(scope, move || one(found));
            let threads: Vec<_> = some.iter().map(|found| (found, begin(found))).collect();
            let done = threads.into_iter().map(|(found, thread)| match thread.map(|thread| thread.join()) {
                Ok(Ok(handled)) => handled,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // There is no thread to be had: its turn comes after the others'.
                Err(_) => one(found),
            });
            done.collect()
        })
    }
}

/// Names of the containers whose namespaces are joined.
fn joins(host: &HostOptions) -> Vec<&str> {
    let mut names = Vec::new();
    if let PidMode::Container(name) = &host.pid_mode {
        names.push(name.as_str());
    }
    if let IpcMode::Container(name) = &host.ipc_mode {
        names.push(name.as_str());
    }
    if let NetworkMode::Container(name) = &host.network_mode {
        names.push(name.as_str());
    }
    names
}

fn patience(found: &Container, at_most: Option<Duration>) -> Stop {
    let own = found.spec.process.stop_timeout.unwrap_or(10);
    let limit = at_most.map(|limit| i32::try_from(limit.as_secs()).unwrap_or(i32::MAX));
    let timeout_secs = match limit {
        Some(limit) if own < 0 || own > limit => limit,
        Some(_) | None => own,
    };
    Stop { signal: None, timeout_secs: Some(timeout_secs) }
}
