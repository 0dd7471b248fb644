//! Side-by-side benchmarks: Skiff and Debian's engines, interleaved in one run, as medians and ratios.
//!
//! ```text
//! cargo xtask bench [--rounds N] [--markdown FILE] [SCENARIO…]
//! ```
//!
//! Machines are shared and noisy, so contestants take turns within every round: what slows one slows all. A
//! figure is the median of its rounds; a ratio compares medians of the same run. Nothing here gates a test.
#![allow(clippy::disallowed_methods, reason = "a developer's tool, not part of the product")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to a terminal")]

mod bundle;
mod engines;
mod floor;
mod http;
mod image;
mod lab;
mod layout;
mod measure;
mod report;
mod scenarios;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::lab::Lab;
use crate::report::Report;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    rounds: usize,
    markdown: Option<PathBuf>,
    scenarios: Vec<String>,
}

fn options() -> Result<Options> {
    let mut options = Options { rounds: 30, markdown: None, scenarios: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => {
                options.rounds = arguments.next().context("--rounds takes a number")?.parse()?;
            }
            "--markdown" => {
                options.markdown = Some(arguments.next().context("--markdown takes a file")?.into());
            }
            name if scenarios::ALL.iter().any(|scenario| scenario.name == name) => {
                options.scenarios.push(argument);
            }
            other => {
                let known: Vec<&str> = scenarios::ALL.iter().map(|scenario| scenario.name).collect();
                bail!("unknown argument {other}; the scenarios are {}", known.join(", "));
            }
        }
    }
    Ok(options)
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--floor", arguments)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return floor::Floor::serve(arguments);
    }
    let options = options()?;
    let mut lab = Lab::set_up()?;
    let report = compare(&mut lab, &options);
    lab.tear_down()?;
    let report = report?;
    if let Some(file) = options.markdown {
        std::fs::write(&file, report.markdown()?).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn compare(lab: &mut Lab, options: &Options) -> Result<Report> {
    let mut report = Report::default();
    for scenario in scenarios::ALL {
        let wanted =
            options.scenarios.is_empty() || options.scenarios.iter().any(|name| name == scenario.name);
        if !wanted {
            continue;
        }
        eprintln!("== {}", scenario.name);
        let table = (scenario.run)(lab, options.rounds).with_context(|| scenario.name.to_owned())?;
        println!("{table}");
        report.add(table);
    }
    Ok(report)
}
