//! A thousand running containers: does the last start as fast as the first, and what do they cost?
//!
//! Between the steps of the curve only starts are made, so that a figure of one step carries no trace of the other
//! commands.

use std::time::Duration;

use anyhow::Result;

use crate::engines::{Engine, Skiff};
use crate::lab::{Lab, SMALL};
use crate::measure::Times;
use crate::report::{Table, milliseconds};
use crate::scenarios::memory;

/// How many starts make one figure.
const SAMPLE: usize = 25;
/// How many containers run at each step of the curve.
const STEPS: [usize; 6] = [SAMPLE, 125, 250, 500, 750, 1000];
/// A first process ignores the signal that asks it to end unless it handles it.
const RUN: [&str; 8] = ["run", "-d", "--network", "none", "--stop-signal", "KILL", SMALL, "sleep"];

pub(crate) fn run(lab: &mut Lab, _rounds: usize) -> Result<Table> {
    let engine = lab.skiff.empty("thousand");
    engine.import(&lab.folder().join("rootfs.tar"), SMALL)?;
    let steps = STEPS.iter().scan(0, |running, &count| Some(step(&engine, running, count)));
    let steps = steps.collect::<Result<Vec<Step>>>()?;
    let ids = engine.output(&["ps", "-q"])?;
    let stop = engine.time(&[vec!["stop"], ids.lines().collect()].concat())?;
    engine.remove_all()?;

    let mut table = Table::new(
        "1,000 running containers",
        &["running", "start, median of the last 25", "`ps`", "`stats --no-stream`", "memory of all monitors"],
    );
    for Step { count, start, list, stats, kib } in &steps {
        let [start, list, stats] = [start, list, stats].map(|&time| milliseconds(time));
        table.row([count.to_string(), start, list, stats, memory::mebibytes(*kib)]);
    }
    table.note(format!("All of them are stopped by one command in {}.", milliseconds(stop)));
    if let [first, .., last] = steps.as_slice() {
        let ratio = last.start.as_secs_f64() / first.start.as_secs_f64();
        table.goal("start of the last of 1,000 containers, beside the first", 1.1, ratio, "×");
    }
    Ok(table)
}

/// What is seen with so many containers running.
struct Step {
    count: usize,
    start: Duration,
    list: Duration,
    stats: Duration,
    kib: f64,
}

/// Goes on from `running` containers to `count`.
fn step(engine: &Skiff, running: &mut usize, count: usize) -> Result<Step> {
    let mut times = Vec::with_capacity(count - *running);
    for _ in *running..count {
        times.push(engine.time(&[&RUN[..], &["100000"]].concat())?);
    }
    *running = count;
    let last = times.split_off(times.len().saturating_sub(SAMPLE));
    let (kib, _, _) = memory::all_supervisors("skiff-monitor")?;
    let list = engine.time(&["ps"])?;
    let stats = engine.time(&["stats", "--no-stream"])?;
    Ok(Step { count, start: Times::new(last).median(), list, stats, kib })
}
