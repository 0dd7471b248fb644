//! Developer commands, run as `cargo xtask COMMAND`.
#![allow(clippy::disallowed_methods, reason = "a developer's tool, not part of the product")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to a terminal")]

mod leaks;
mod vm;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask COMMAND

  leaks save FILE    note the processes, mounts, control groups and files of this host
  leaks check FILE   fail if any of Skiff's has come since
  vm [PROGRAM [TEST]]
                     tests on Debian's own kernel in a virtual machine, with cgroup version 2 alone
  bench [ARGS]       side-by-side benchmarks with Debian's engines (release build)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["leaks", "save", file] => leaks::save(file.as_ref()),
        ["leaks", "check", file] => leaks::check(file.as_ref()),
        ["vm"] => vm::run("", None),
        ["vm", program] => vm::run(program, None),
        ["vm", program, filter] => vm::run(program, Some(filter)),
        ["bench", rest @ ..] => bench(rest),
        _ => bail!("unknown command\n{USAGE}"),
    }
}

fn bench(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = std::process::Command::new(&cargo)
        .args(["build", "--release", "--package", "skiff", "--package", "monitor", "--package", "bench"])
        .status()?;
    if !built.success() {
        bail!("the release build failed");
    }
    let run = std::process::Command::new(&cargo)
        .args(["run", "--quiet", "--release", "--package", "bench", "--"])
        .args(arguments)
        .status()?;
    if !run.success() {
        bail!("the benchmark failed");
    }
    Ok(())
}
