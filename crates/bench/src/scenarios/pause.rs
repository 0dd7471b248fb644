//! Freezing a running container, and thawing it.

use anyhow::Result;

use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const NAME: &str = "bench-pause";

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let engines = lab.engines();
    for engine in engines {
        engine.output(&["run", "-d", "--name", NAME, "--network", "none", SMALL, "sleep", "1000"])?;
    }
    let contestants = engines.map(|engine| {
        Contestant::new(&format!("{} pause, unpause", engine.name()), move || {
            Ok(engine.time(&["pause", NAME])? + engine.time(&["unpause", NAME])?)
        })
    });
    let times = in_turns(contestants.into(), rounds)?;
    for engine in engines {
        engine.output(&["rm", "-f", NAME])?;
    }
    let mut table = Table::of_times("`pause` and `unpause`", &times);
    table.goal_beside_peers(&times);
    Ok(table)
}
