//! Thirty-two starts at once: how near to what the cores allow.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::engines::Engine;
use crate::lab::{Lab, SMALL};
use crate::measure::busy;
use crate::report::{Table, milliseconds};

const COUNT: u32 = 32;
const RUN: [&str; 6] = ["run", "--rm", "--network", "none", SMALL, "true"];

pub(crate) fn run(lab: &mut Lab, _rounds: usize) -> Result<Table> {
    let engine = &lab.skiff;
    engine.time(&RUN)?;

    // One after the other, enough of them for the kernel's coarse account of processor time.
    let before = busy()?;
    let start = Instant::now();
    for _ in 0..COUNT * 4 {
        engine.time(&RUN)?;
    }
    let alone = start.elapsed() / (COUNT * 4);
    let processor = busy()?.saturating_sub(before) / (COUNT * 4);

    let rounds = 5;
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let starts: Vec<_> = (0..COUNT).map(|_| scope.spawn(|| engine.time(&RUN))).collect();
            starts.into_iter().try_for_each(|start| match start.join() {
                Ok(result) => result.map(drop),
                Err(_) => Err(anyhow::anyhow!("a start panicked")),
            })
        })?;
        best = best.min(start.elapsed() / COUNT);
    }

    let cores = u32::try_from(std::thread::available_parallelism()?.get())?;
    let allowed = processor / cores;
    let mut table = Table::new("32 starts in parallel", &["", "per start"]);
    table.row(["one after the other".to_owned(), milliseconds(alone)]);
    table.row(["processor time of one start, all cores added".to_owned(), milliseconds(processor)]);
    table.row([format!("what {cores} cores allow"), milliseconds(allowed)]);
    table.row(["32 in parallel".to_owned(), milliseconds(best)]);
    let ratio = best.as_secs_f64() / allowed.as_secs_f64();
    table.goal("32 starts in parallel, beside what the cores allow", 1.2, ratio, "×");
    Ok(table)
}
