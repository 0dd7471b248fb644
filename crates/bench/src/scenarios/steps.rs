//! Where the time of one `run` goes: the marks of `SKIFF_TRACE`, one line a step.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::engines::Engine;
use crate::lab::{Lab, SMALL};
use crate::measure::{Times, time};
use crate::report::{Table, milliseconds};

const RUN: [&str; 6] = ["run", "--rm", "--network", "none", SMALL, "true"];

pub(crate) fn run(lab: &mut Lab, rounds: usize) -> Result<Table> {
    let trace = lab.folder().join("trace");
    let mut steps: Vec<String> = Vec::new();
    let mut times: HashMap<String, Vec<Duration>> = HashMap::new();
    let mut whole = Vec::new();
    for _ in 0..rounds.max(10) {
        let begun = monotonic();
        let start = Instant::now();
        time(lab.skiff.command().env("SKIFF_TRACE", &trace).args(RUN))?;
        whole.push(start.elapsed());
        for (step, at) in marks(&trace)? {
            if !steps.contains(&step) {
                steps.push(step.clone());
            }
            times.entry(step).or_default().push(Duration::from_nanos(at.saturating_sub(begun)));
        }
        std::fs::remove_file(&trace)?;
    }
    if steps.is_empty() {
        bail!("no marks: does this build trace?");
    }
    let mut rows: Vec<(Duration, String)> = steps
        .into_iter()
        .map(|step| (Times::new(times.remove(&step).unwrap_or_default()).median(), step))
        .collect();
    rows.sort();
    let mut table =
        Table::new("Steps of one `run --rm`", &["step done", "after the start", "since the line above"]);
    let mut before = Duration::ZERO;
    for (at, step) in rows {
        table.row([step, milliseconds(at), milliseconds(at.saturating_sub(before))]);
        before = at;
    }
    let whole = Times::new(whole).median();
    table.row(["command ended".to_owned(), milliseconds(whole), milliseconds(whole.saturating_sub(before))]);
    table.note(
        "Supervisor and init work side by side on two cores. Tracing itself costs a little.".to_owned(),
    );
    Ok(table)
}

/// `<monotonic nanoseconds> <who> <step>` lines as step and time; a step that recurs is counted once, the last time.
fn marks(file: &Path) -> Result<Vec<(String, u64)>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let mut marks = Vec::new();
    for line in text.lines() {
        let (at, step) = line.split_once(' ').with_context(|| format!("a mark without a step: {line}"))?;
        marks.push((step.to_owned(), at.parse()?));
    }
    Ok(marks)
}

fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
