//! Where the time of one `run` goes: the marks of `SKIFF_TRACE`, one line a step; and below it the kernel's floor.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::engines::Engine;
use crate::floor::Floor;
use crate::lab::{Lab, SMALL};
use crate::measure::{Times, monotonic, time};
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
    let floor = add_floor(&mut table, &floor_of(lab)?.measure(rounds.max(10))?);
    table.note(format!(
        "Monitor, supervisor (a part of it) and init work beside the command on two cores; a step is told when it is \
         done, whoever waited for it. Tracing itself costs a little. The floor is the bare system calls of such a \
         container, without a command, image lookup, record, log or supervisor: {} from its first group to its clean-up; \
         the whole command takes {:.2} × that.",
        milliseconds(floor),
        whole.as_secs_f64() / floor.as_secs_f64(),
    ));
    Ok(table)
}

/// The kernel's floor, with the image and the filter of the runs above.
fn floor_of(lab: &Lab) -> Result<Floor> {
    let first = |folder: &Path, suffix: &str| -> Result<PathBuf> {
        let entries = std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let mut wanted = paths.filter(|path| path.to_string_lossy().ends_with(suffix));
        wanted.next().with_context(|| format!("nothing in {}", folder.display()))
    };
    let root = lab.skiff.root();
    Ok(Floor {
        index: first(&root.join("images"), ".erofs")?,
        layer: first(&root.join("layers"), ".tar")?,
        filter: first(&lab.skiff.run_folder().join("seccomp"), "")?,
        folder: lab.folder().to_owned(),
    })
}

/// Adds the floor's steps; returns how long the whole took.
fn add_floor(table: &mut Table, rounds: &[Vec<(String, u64)>]) -> Duration {
    let Some(first) = rounds.first() else { return Duration::ZERO };
    let mut before = Duration::ZERO;
    for (at, (step, _)) in first.iter().enumerate().skip(1) {
        let since_begin = |round: &Vec<(String, u64)>| {
            Some(Duration::from_nanos(round.get(at)?.1.saturating_sub(round.first()?.1)))
        };
        let median = Times::new(rounds.iter().filter_map(since_begin).collect()).median();
        table.row([
            format!("*floor:* {step}"),
            milliseconds(median),
            milliseconds(median.saturating_sub(before)),
        ]);
        before = median;
    }
    before
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
