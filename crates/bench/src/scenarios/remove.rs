//! Removing a container that has ended.

use anyhow::Result;

use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const NAME: &str = "bench-rm";

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let contestants = lab.engines().map(|engine| {
        Contestant::new(&format!("{} rm", engine.name()), move || {
            engine.output(&["run", "--name", NAME, "--network", "none", SMALL, "touch", "/written"])?;
            engine.time(&["rm", NAME])
        })
    });
    let times = in_turns(contestants.into(), rounds)?;
    let mut table = Table::of_times("`rm` of a container that has written", &times);
    table.goal_beside_peers(&times);
    Ok(table)
}
