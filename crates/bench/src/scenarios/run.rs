//! A container from nothing to its exit: the whole command.

use anyhow::Result;

use crate::engines::Engine;
use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const RUN: [&str; 6] = ["run", "--rm", "--network", "none", SMALL, "true"];

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    lab.set_bundle_program(&["true"])?;
    let lab = &*lab;
    let times = in_turns(
        vec![
            Contestant::new("skiff run --rm", || lab.skiff.time(&RUN)),
            Contestant::new("crun run (bare)", || lab.crun.run("bench-run")),
            Contestant::new("runc run (bare)", || lab.runc.run("bench-run")),
            Contestant::new("podman run --rm", || lab.podman.time(&RUN)),
            Contestant::new("docker run --rm", || lab.docker.time(&RUN)),
        ],
        rounds,
    )?;
    let mut table = Table::of_times("`run --rm --network none IMAGE true`", &times);
    table.note(
        "The bare runtimes run a prepared bundle: no image, no record, no log, no supervisor.".to_owned(),
    );
    for (peer, wanted) in [("crun", 0.6), ("podman", 0.06), ("docker", 0.03)] {
        table.goal_beside(&times, peer, wanted);
    }
    Ok(table)
}
