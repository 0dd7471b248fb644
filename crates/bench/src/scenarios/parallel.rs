//! Thirty-two starts at once: how near to what the cores allow.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::engines::{Engine, Skiff};
use crate::lab::{Lab, SMALL};
use crate::measure::busy;
use crate::report::{Table, milliseconds};

const COUNT: u32 = 32;
const ROUNDS: usize = 5;
const RUN: [&str; 6] = ["run", "--rm", "--network", "none", SMALL, "true"];

pub(crate) fn run(lab: &mut Lab, _rounds: usize) -> Result<Table> {
    let engine = &lab.skiff;
    engine.time(&RUN)?;

    // Turns about: what else the machine does comes and goes, and both kinds of a round are to meet the same.
    let cores = u32::try_from(std::thread::available_parallelism()?.get())?;
    let mut rounds = (0..ROUNDS).map(|_| round(engine)).collect::<Result<Vec<_>>>()?;
    rounds.sort_by(|one, other| one.beside(cores).total_cmp(&other.beside(cores)));
    let Round { alone, processor, parallel } = rounds[ROUNDS / 2];
    let ratio = rounds[ROUNDS / 2].beside(cores);

    let mut table = Table::new("32 starts in parallel", &["", "per start"]);
    table.row(["one after the other".to_owned(), milliseconds(alone)]);
    table.row(["processor time of one start, all cores added".to_owned(), milliseconds(processor)]);
    table.row([format!("what {cores} cores allow"), milliseconds(processor / cores)]);
    table.row(["32 in parallel".to_owned(), milliseconds(parallel)]);
    table.goal("32 starts in parallel, beside what the cores allow", 1.2, ratio, "×");
    Ok(table)
}

/// What one start took in each of the ways, within one round.
#[derive(Clone, Copy)]
struct Round {
    alone: Duration,
    processor: Duration,
    parallel: Duration,
}

impl Round {
    /// Starts in parallel beside what so many cores allow.
    fn beside(&self, cores: u32) -> f64 {
        self.parallel.as_secs_f64() / (self.processor / cores).as_secs_f64()
    }
}

fn round(engine: &Skiff) -> Result<Round> {
    // One after the other, enough of them for the kernel's coarse account of processor time.
    let before = busy()?;
    let start = Instant::now();
    for _ in 0..COUNT * 2 {
        engine.time(&RUN)?;
    }
    let alone = start.elapsed() / (COUNT * 2);
    let processor = busy()?.saturating_sub(before) / (COUNT * 2);

    let start = Instant::now();
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..COUNT).map(|_| scope.spawn(|| engine.time(&RUN))).collect();
        starts.into_iter().try_for_each(|start| match start.join() {
            Ok(result) => result.map(drop),
            Err(_) => Err(anyhow::anyhow!("a start panicked")),
        })
    })?;
    Ok(Round { alone, processor, parallel: start.elapsed() / COUNT })
}
