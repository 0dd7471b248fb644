//! What a hundred running containers use.

use anyhow::Result;

use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const COUNT: usize = 100;

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let names: Vec<String> = (0..COUNT).map(|number| format!("bench-stats-{number}")).collect();
    let engines = lab.engines();
    for engine in engines {
        for name in &names {
            engine.output(&["run", "-d", "--name", name, "--network", "none", SMALL, "sleep", "100000"])?;
        }
    }
    let contestants = engines.map(|engine| {
        Contestant::new(&format!("{} stats --no-stream", engine.name()), move || {
            engine.time(&["stats", "--no-stream"])
        })
    });
    let times = in_turns(contestants.into(), rounds.min(7))?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for engine in engines {
        engine.output(&[&["rm", "-f"], names.as_slice()].concat())?;
    }
    let mut table = Table::of_times("`stats --no-stream` of 100 containers", &times);
    table.goal_beside_peers(&times);
    Ok(table)
}
