//! Twenty containers, one after the other.

use std::time::Instant;

use anyhow::Result;

use crate::engines::Engine;
use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const COUNT: usize = 20;

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let lab = &*lab;
    let engines: [&dyn Engine; 3] = [&lab.skiff, &lab.podman, &lab.docker];
    let contestants = engines.map(|engine| {
        Contestant::new(&format!("{} run -d (20 ×)", engine.name()), move || {
            let names: Vec<String> = (0..COUNT).map(|number| format!("bench-burst-{number}")).collect();
            let start = Instant::now();
            for name in &names {
                engine.output(&["run", "-d", "--name", name, "--network", "none", SMALL, "sleep", "1000"])?;
            }
            let time = start.elapsed();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            engine.output(&[&["rm", "-f"], names.as_slice()].concat())?;
            Ok(time)
        })
    });
    let times = in_turns(contestants.into(), rounds.min(3))?;
    let mut table = Table::of_times("20 × `run -d`", &times);
    table.goal_beside(&times, "podman", 0.1);
    Ok(table)
}
