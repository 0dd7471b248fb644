//! What an idle container costs beside its own process.

use std::fs;

use anyhow::{Result, bail};

use crate::engines::Engine;
use crate::lab::{Lab, SMALL};
use crate::report::Table;

const COUNT: usize = 20;

pub(crate) fn run(lab: &mut Lab, _rounds: usize) -> Result<Table> {
    let mut table = Table::new(
        "Memory of the supervisor of an idle container",
        &["", "PSS, mean of 20", "private, mean of 20"],
    );
    let mut reached = Vec::new();
    let engines: [(&dyn Engine, &str); 3] =
        [(&lab.skiff, "skiff-monitor"), (&lab.podman, "conmon"), (&lab.docker, "containerd-shim-runc-v2")];
    for (engine, supervisor) in engines {
        let names: Vec<String> = (0..COUNT).map(|number| format!("bench-memory-{number}")).collect();
        for name in &names {
            engine.output(&["run", "-d", "--name", name, "--network", "none", SMALL, "sleep", "1000"])?;
        }
        let (pss, private) = supervisors(supervisor)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        engine.output(&[&["rm", "-f"], names.as_slice()].concat())?;
        table.row([supervisor.to_owned(), mebibytes(pss), mebibytes(private)]);
        reached.push(pss);
    }
    table.note("Docker has a daemon and containerd beside its shims.".to_owned());
    if let [ours, conmon, ..] = reached.as_slice() {
        table.goal("memory (PSS) of a monitor, beside conmon's", 1.0, ours / conmon, "×");
    }
    Ok(table)
}

/// Proportional and private memory in KiB of the processes that run `program`, mean.
fn supervisors(program: &str) -> Result<(f64, f64)> {
    let (pss, private, count) = all_supervisors(program)?;
    if count == 0.0 {
        bail!("no {program} is running");
    }
    Ok((pss / count, private / count))
}

/// The same in all, and how many there are.
pub(crate) fn all_supervisors(program: &str) -> Result<(f64, f64, f64)> {
    let (mut pss, mut private, mut count) = (0.0, 0.0, 0.0);
    for entry in fs::read_dir("/proc")?.flatten() {
        // The link to its program tells nothing of one that was executed from a mount of its own.
        let Ok(arguments) = fs::read(entry.path().join("cmdline")) else { continue };
        let name = arguments.split(|byte| *byte == 0).next().unwrap_or_default();
        if name.rsplit(|byte| *byte == b'/').next() != Some(program.as_bytes()) {
            continue;
        }
        let Ok(rollup) = fs::read_to_string(entry.path().join("smaps_rollup")) else { continue };
        let field = |name: &str| -> f64 {
            let line = rollup.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0.0)
        };
        pss += field("Pss:");
        private += field("Private_Clean:") + field("Private_Dirty:");
        count += 1.0;
    }
    Ok((pss, private, count))
}

pub(crate) fn mebibytes(kib: f64) -> String {
    format!("{:.2} MiB", kib / 1024.0)
}
