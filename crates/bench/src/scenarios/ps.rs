//! Listing many stopped containers.

use anyhow::Result;

use crate::engines::Engine;
use crate::lab::{Lab, SMALL};
use crate::measure::{Contestant, in_turns};
use crate::report::Table;

/// Skiff lists ten times as many as the others: theirs take too long to make.
const OURS: usize = 1000;
const THEIRS: usize = 100;

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let skiff = lab.skiff.empty("ps");
    skiff.import(&lab.folder().join("rootfs.tar"), SMALL)?;
    let lab = &*lab;
    let engines: [(&dyn Engine, usize); 3] = [(&skiff, OURS), (&lab.podman, THEIRS), (&lab.docker, THEIRS)];
    for (engine, count) in engines {
        for _ in 0..count {
            engine.output(&["create", "--network", "none", SMALL, "true"])?;
        }
    }
    let list = ["ps", "-a"];
    let times = in_turns(
        vec![
            Contestant::new("skiff ps -a, 1000 containers", || skiff.time(&list)),
            Contestant::new("podman ps -a, 100 containers", || lab.podman.time(&list)),
            Contestant::new("docker ps -a, 100 containers", || lab.docker.time(&list)),
        ],
        rounds,
    )?;
    skiff.remove_all()?;
    lab.podman.output(&["rm", "-af"])?;
    let left = lab.docker.output(&["ps", "-aq"])?;
    lab.docker.output(&[vec!["rm", "-f"], left.lines().collect()].concat())?;
    let mut table = Table::of_times("`ps -a`", &times);
    if let Some((command, ours)) = times.first() {
        table.goal(&format!("`{command}`"), 20.0, ours.median().as_secs_f64() * 1000.0, "ms");
    }
    Ok(table)
}
