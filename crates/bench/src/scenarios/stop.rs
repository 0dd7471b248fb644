//! Stopping a container that is willing.

use anyhow::Result;

use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const NAME: &str = "bench-stop";
/// Ends at once when told to; `ready` tells that the handler is in place.
const WILLING: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done";

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let contestants = lab.engines().map(|engine| {
        Contestant::new(&format!("{} stop", engine.name()), move || {
            engine.output(&["run", "-d", "--name", NAME, "--network", "none", SMALL, "sh", "-c", WILLING])?;
            while engine.output(&["logs", NAME])? != "ready" {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let time = engine.time(&["stop", NAME])?;
            engine.output(&["rm", "-f", NAME])?;
            Ok(time)
        })
    });
    let times = in_turns(contestants.into(), rounds.min(15))?;
    let mut table = Table::of_times("`stop` of a willing container", &times);
    table.goal_beside(&times, "docker", 0.15);
    table.goal_beside(&times, "podman", 1.0);
    Ok(table)
}
