//! `cargo xtask vm`: runs tests on another kernel, with control groups of version 2 alone.
//!
//! 1. Debian's own kernel package is fetched and unpacked below `target/vm`, once (`kernel`).
//! 2. Test executables are built; they are static, so that they run wherever a kernel does.
//! 3. A ramdisk is written: static busybox, the kernel modules that are needed, the tests, and a script (`ramdisk`).
//! 4. QEMU boots it, with an empty disk, under KVM where that works and emulated elsewhere (`machine`).
//! 5. The script runs every test and says so on the serial port; the last line has the outcome.
//!
//! **To add a test**, add a line to [`TESTS`].

mod cpio;
mod kernel;
mod machine;
mod ramdisk;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Where a test executable comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The unit tests of a package's library.
    Library,
    /// One file of a package's `tests` folder, by its name without `.rs`.
    #[allow(dead_code, reason = "the next to come are the container tests")]
    File(&'static str),
}

/// One test executable to run in the machine.
#[derive(Clone, Copy, Debug)]
struct Test {
    package: &'static str,
    source: Source,
    /// What the test's name must contain; empty is all.
    filter: &'static str,
}

/// What runs in the machine, in this order, each with one thread. Programs that a test starts are those of
/// [`BINARIES`], which stand at the same path as here.
const TESTS: &[Test] = &[Test { package: "cgroup", source: Source::Library, filter: "" }];

/// Packages whose programs the tests start.
const BINARIES: &[&str] = &[];

/// All of it, from the boot on.
const TIME_LIMIT: Duration = Duration::from_secs(480);

/// Builds, boots, runs. `filter` narrows the tests to those whose name contains it.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    let start = Instant::now();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/vm");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    install_packages()?;
    let kernel = kernel::fetch(&folder)?;
    println!("vm: kernel {}", kernel.version);

    let mut content = ramdisk::Content::default();
    for test in TESTS {
        let executable = build_test(test)?;
        content.tests.push(ramdisk::Run {
            name: format!("{} {}", test.package, test.filter).trim().to_owned(),
            executable,
            filter: filter.unwrap_or(test.filter).to_owned(),
        });
    }
    content.binaries = build_binaries()?;
    let machine = machine::Machine::prepare(&folder, &kernel)?;
    let ramdisk = folder.join("ramdisk.cpio");
    ramdisk::write(&ramdisk, &kernel, &content)?;
    println!("vm: booting {}", machine.accelerator());
    let outcome = machine.run(&ramdisk, TIME_LIMIT)?;
    let seconds = start.elapsed().as_secs();
    match outcome {
        0 => println!(
            "vm: all tests passed on kernel {} with cgroup version 2, in {seconds} s",
            kernel.version
        ),
        failed => bail!(
            "{failed} of {} test programs failed in the virtual machine, after {seconds} s",
            TESTS.len()
        ),
    }
    Ok(())
}

fn install_packages() -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/install-packages");
    succeed(Command::new(script).arg("vm"))
}

/// Runs a command to its end; its failure is ours.
fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}

/// The output of a command that must succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {command:?}"))
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds one test executable and tells where it is.
fn build_test(test: &Test) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--quiet", "--message-format=json", "--package", test.package]);
    match test.source {
        Source::Library => command.arg("--lib"),
        Source::File(name) => command.args(["--test", name]),
    };
    let messages = output(&mut command)?;
    executables(&messages).pop().with_context(|| format!("cargo built no test for {test:?}"))
}

fn build_binaries() -> Result<Vec<PathBuf>> {
    if BINARIES.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = cargo();
    command.args(["build", "--quiet", "--bins", "--message-format=json"]);
    BINARIES.iter().for_each(|package| {
        command.args(["--package", package]);
    });
    Ok(executables(&output(&mut command)?))
}

/// The executables that cargo's messages name.
fn executables(messages: &str) -> Vec<PathBuf> {
    let message = |line: &str| serde_json::from_str::<Value>(line).ok();
    let executable = |message: Value| message.get("executable").and_then(Value::as_str).map(PathBuf::from);
    messages.lines().filter_map(message).filter_map(executable).collect()
}
