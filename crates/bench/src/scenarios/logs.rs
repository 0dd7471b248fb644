//! Reading a long log.

use anyhow::Result;

use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const NAME: &str = "bench-logs";
/// Prints a gigabyte in lines of a hundred bytes.
const PRINT: &str = "yes 'It was on a dreary night of November that I beheld the accomplishment of my toils, \
    with an anxiety.' | head -c 1000000000";
/// No engine is to drop or to rotate anything.
const UNBOUNDED: [&str; 4] = ["--log-driver", "json-file", "--log-opt", "max-size=4g"];

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let engines = lab.engines();
    for engine in engines {
        let make = ["run", "-d", "--name", NAME, "--network", "none"];
        engine.output(&[&make[..], &UNBOUNDED, &[SMALL, "sh", "-c", PRINT]].concat())?;
        engine.output(&["wait", NAME])?;
    }
    let contestants = engines.map(|engine| {
        Contestant::new(&format!("{} logs", engine.name()), move || engine.time(&["logs", NAME]))
    });
    let times = in_turns(contestants.into(), rounds.min(3))?;
    for engine in engines {
        engine.output(&["rm", "-f", NAME])?;
    }
    let mut table = Table::of_times("`logs` of 1 GB", &times);
    table.goal_beside_peers(&times);
    Ok(table)
}
