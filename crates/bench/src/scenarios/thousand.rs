//! A thousand running containers: does the last start as fast as the first?

use std::time::Duration;

use anyhow::Result;

use crate::engines::Engine;
use crate::lab::{Lab, SMALL};
use crate::measure::Times;
use crate::report::{Table, milliseconds};

const COUNT: usize = 1000;
/// How many starts make one figure.
const SAMPLE: usize = 25;

pub(crate) fn run(lab: &mut Lab, _rounds: usize) -> Result<Table> {
    let engine = lab.skiff.empty("thousand");
    let rootfs = lab.folder().join("rootfs.tar");
    engine.import(&rootfs, SMALL)?;
    let mut times = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        times.push(engine.time(&["run", "-d", "--network", "none", SMALL, "sleep", "100000"])?);
    }
    engine.remove_all()?;

    let at = |from: usize| -> Duration {
        Times::new(times.iter().skip(from).take(SAMPLE).copied().collect()).median()
    };
    let mut table = Table::new("1,000 running containers", &["container", "median start of 25"]);
    for from in [0, 100, 250, 500, 750, COUNT - SAMPLE] {
        table.row([format!("{} to {}", from + 1, from + SAMPLE), milliseconds(at(from))]);
    }
    let ratio = at(COUNT - SAMPLE).as_secs_f64() / at(0).as_secs_f64();
    table.goal("start of the last of 1,000 containers, beside the first", 1.1, ratio, "×");
    Ok(table)
}
