//! `ps`: every container in a line, without reading what a line does not show.

use std::collections::BTreeSet;

use state::ContainerHead;

use crate::info::{ContainerState, ContainerSummary, Status};
use crate::remove::Seen;
use crate::request::List;
use crate::{Engine, Error, Result, container};

impl Engine {
    /// Containers, newest first.
    pub fn list(&self, request: &List) -> Result<Vec<ContainerSummary>> {
        let everything = request.all || request.last.is_some();
        // In this order: what is there now and has no record after this is garbage, and what has no run directory
        // now does not run, whatever begins meanwhile.
        let seen = Seen {
            on_disk: if everything { self.directories()? } else { Vec::new() },
            running: self.run_directories()?.into_iter().collect::<BTreeSet<_>>(),
        };
        let heads = self.state().containers()?;
        if everything {
            self.sweep(&seen, &heads.iter().map(|head| &head.id).collect());
        }
        let mut listed = Vec::new();
        for head in heads {
            if request.last.is_some_and(|last| listed.len() >= last) {
                break;
            }
            let observed = if seen.running.contains(&head.id) || head.removing {
                self.observe(head)
            } else {
                let state = container::at_rest(head.exit.as_ref());
                Ok((head, state))
            };
            let (head, state) = match observed {
                Err(Error::NoSuchContainer { .. }) => continue,
                observed => observed?,
            };
            if everything && state.status == Status::Dead && self.is_removed_at_last(&head.id) {
                continue;
            }
            if everything || state.status.is_running() {
                listed.extend(self.summarize(head, state)?);
            }
        }
        Ok(listed)
    }

    fn summarize(&self, head: ContainerHead, state: ContainerState) -> Result<Option<ContainerSummary>> {
        let summary = container::parse_summary(&head)?;
        if self.is_leftover(summary.auto_remove, &head, &state) {
            self.discard(&head.id)?;
            return Ok(None);
        }
        Ok(Some(ContainerSummary {
            image: summary.image,
            image_id: head.image.to_string(),
            command: summary.command,
            created: head.created,
            state,
            labels: summary.labels,
            mounts: summary.mounts,
            volumes: summary.volumes,
            network: summary.network,
            id: head.id,
            name: head.name,
        }))
    }
}
