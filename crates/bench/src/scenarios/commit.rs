//! Making an image of a container that has written 500 MB.

use anyhow::Result;

use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const NAME: &str = "bench-commit";
const IMAGE: &str = "localhost/committed:bench";
const WRITE: &str = "for i in $(seq 100); do head -c 5000000 /dev/urandom > /file-$i; done";

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let engines = lab.engines();
    for engine in engines {
        engine.output(&["run", "--name", NAME, "--network", "none", SMALL, "sh", "-c", WRITE])?;
    }
    let contestants = engines.map(|engine| {
        Contestant::new(&format!("{} commit", engine.name()), move || {
            let time = engine.time(&["commit", NAME, IMAGE])?;
            engine.output(&["rmi", IMAGE])?;
            Ok(time)
        })
    });
    let times = in_turns(contestants.into(), rounds.min(5))?;
    for engine in engines {
        engine.output(&["rm", "-f", NAME])?;
    }
    let mut table = Table::of_times("`commit` of 500 MB", &times);
    table.goal_beside_peers(&times);
    Ok(table)
}
