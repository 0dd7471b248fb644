//! One more process in a running container.

use anyhow::Result;

use crate::engines::Engine;
use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

const NAME: &str = "bench-exec";

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    lab.set_bundle_program(&["sleep", "1000"])?;
    let lab = &*lab;
    let engines: [&dyn Engine; 3] = [&lab.skiff, &lab.podman, &lab.docker];
    for engine in engines {
        engine.output(&["run", "-d", "--name", NAME, "--network", "none", SMALL, "sleep", "1000"])?;
    }
    lab.crun.run_detached(NAME)?;
    let exec = ["exec", NAME, "true"];
    let times = in_turns(
        vec![
            Contestant::new("skiff exec", || lab.skiff.time(&exec)),
            Contestant::new("crun exec", || lab.crun.exec(NAME, "true")),
            Contestant::new("podman exec", || lab.podman.time(&exec)),
            Contestant::new("docker exec", || lab.docker.time(&exec)),
        ],
        rounds,
    )?;
    lab.crun.delete(NAME)?;
    for engine in engines {
        engine.output(&["rm", "-f", NAME])?;
    }
    let mut table = Table::of_times("`exec CONTAINER true`", &times);
    table.goal_beside(&times, "crun", 0.6);
    table.goal_beside(&times, "docker", 0.06);
    Ok(table)
}
