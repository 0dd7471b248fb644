//! What is compared. Each scenario is one file and gives one table.

mod build;
mod burst;
mod commit;
mod copy;
mod exec;
mod load;
mod logs;
mod memory;
mod parallel;
mod pause;
mod ps;
mod pull;
mod push;
mod registry;
mod remove;
mod run;
mod stats;
mod steps;
mod stop;
mod thousand;

use anyhow::Result;

use crate::lab::Lab;
use crate::report::Table;

/// One comparison, by the name it is asked for.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Lab, usize) -> Result<Table>,
}

/// In the order they are run.
pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "run", run: run::run },
    Scenario { name: "steps", run: steps::run },
    Scenario { name: "exec", run: exec::run },
    Scenario { name: "stop", run: stop::run },
    Scenario { name: "pause", run: pause::run },
    Scenario { name: "rm", run: remove::run },
    Scenario { name: "burst", run: burst::run },
    Scenario { name: "parallel", run: parallel::run },
    Scenario { name: "thousand", run: thousand::run },
    Scenario { name: "memory", run: memory::run },
    Scenario { name: "ps", run: ps::run },
    Scenario { name: "load", run: load::run },
    Scenario { name: "pull", run: pull::run },
    Scenario { name: "push", run: push::run },
    Scenario { name: "registry", run: registry::run },
    Scenario { name: "build", run: build::run },
    Scenario { name: "build-files", run: build::files },
    Scenario { name: "logs", run: logs::run },
    Scenario { name: "cp", run: copy::run },
    Scenario { name: "commit", run: commit::run },
    Scenario { name: "stats", run: stats::run },
];
