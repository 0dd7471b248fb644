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
    File(&'static str),
}

/// One test executable to run in the machine, with one thread. Programs of the same package go along, at the path
/// where the test looks for them.
#[derive(Clone, Copy, Debug)]
struct Test {
    package: &'static str,
    source: Source,
    /// What the test executable is given: a part of the tests' names, or `--skip` and a part of those that another kernel
    /// than ours cannot pass, with the reason beside it.
    arguments: &'static [&'static str],
}

/// What runs in the machine, in this order: what depends on the kernel or on the version of control groups.
const TESTS: &[Test] = &[
    Test { package: "cgroup", source: Source::Library, arguments: &[] },
    Test { package: "runtime", source: Source::File("world"), arguments: &[] },
    Test { package: "runtime", source: Source::File("processes"), arguments: &[] },
    Test { package: "runtime", source: Source::File("settings"), arguments: &[] },
    // Debian 12 has EROFS, but not from files: which is why the containers below stand on unpacked trees.
    Test { package: "runtime", source: Source::File("roots"), arguments: &["--skip", "an_erofs_index"] },
    Test { package: "runtime", source: Source::File("rootless"), arguments: &[] },
    Test { package: "runtime", source: Source::File("faults"), arguments: &[] },
    Test {
        package: "image",
        source: Source::File("snapshots"),
        arguments: &["trees_work_in_a_user_namespace", "trees_are_told_apart", "a_tree_loses_its_name"],
    },
    Test { package: "monitor", source: Source::File("life"), arguments: &[] },
    Test { package: "monitor", source: Source::File("ahead"), arguments: &[] },
    // As above: that kernel has but one of the two snapshotters.
    Test {
        package: "engine",
        source: Source::File("worlds"),
        arguments: &["--skip", "both_snapshotters_show_the_same"],
    },
    Test { package: "engine", source: Source::File("rootless"), arguments: &[] },
    Test { package: "e2e", source: Source::File("cli_run"), arguments: &[] },
    Test { package: "e2e", source: Source::File("cli_isolation"), arguments: &[] },
    Test { package: "e2e", source: Source::File("cli_terminal"), arguments: &[] },
    Test { package: "e2e", source: Source::File("cli_rootless"), arguments: &[] },
    Test { package: "e2e", source: Source::File("cli_rootless_files"), arguments: &[] },
    // Parts of trees are mounted in another way before 6.15, and limits of steps have other names in version 2.
    Test {
        package: "e2e",
        source: Source::File("cli_build_mounts"),
        arguments: &["--skip", "swaps_for_a_link"],
    },
    Test { package: "e2e", source: Source::File("cli_build_limits"), arguments: &[] },
    // The steps that are skipped take minutes where the processor is emulated.
    Test {
        package: "e2e",
        source: Source::File("cli_quota"),
        arguments: &["--skip", "killed_at_any_step", "--skip", "killed_while"],
    },
    // Nowhere else: the kernels that the other tests run on need not know project quotas.
    Test { package: "e2e", source: Source::File("quota_project"), arguments: &[] },
];

/// Packages whose programs every test may start, at the path where they are built.
const BINARIES: &[&str] = &["skiff", "monitor"];

/// This system's programs that the tests start, beside busybox; their libraries go along.
const PROGRAMS: &[&str] = &[
    "tar",
    "bash",
    "touch",
    "truncate",
    "setsid",
    "setpriv",
    "setfattr",
    "unshare",
    "strace",
    "newuidmap",
    "newgidmap",
    "useradd",
    "usermod",
    "userdel",
    "mkfs.ext4",
    "mkfs.xfs",
    "e2fsck",
];

/// All of it, from the boot on.
const TIME_LIMIT: Duration = Duration::from_secs(1500);

/// Builds, boots, runs. `program` narrows the list to those whose package and file contain it, `filter` the tests in
/// them to those whose name contains it.
pub(crate) fn run(program: &str, filter: Option<&str>) -> Result<()> {
    let start = Instant::now();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/vm");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    install_packages()?;
    let kernel = kernel::fetch(&folder)?;
    println!("vm: kernel {}", kernel.version);

    let mut content = ramdisk::Content { programs: PROGRAMS, ..ramdisk::Content::default() };
    let mut binaries = cargo();
    binaries.args(["build", "--quiet", "--bins", "--message-format=json"]);
    for package in BINARIES {
        binaries.args(["--package", package]);
    }
    content.binaries = executables(&mut binaries)?.into_iter().map(|(path, _)| path).collect();
    for test in TESTS.iter().filter(|test| test.to_string().contains(program)) {
        let built = build(test)?;
        let mut arguments: Vec<&str> = test.arguments.to_vec();
        arguments.extend(filter);
        content.tests.push(ramdisk::Run {
            name: test.to_string(),
            executable: built.test,
            arguments: arguments.join(" "),
        });
        content.binaries.extend(built.binaries);
    }
    if content.tests.is_empty() {
        bail!("no test program is called {program:?}");
    }
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
        failed => bail!("{failed} test programs failed in the virtual machine, after {seconds} s"),
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

impl std::fmt::Display for Test {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.source {
            Source::Library => text.write_str(self.package),
            Source::File(name) => write!(text, "{} {name}", self.package),
        }
    }
}

/// What cargo made of a [`Test`].
struct Built {
    test: PathBuf,
    binaries: Vec<PathBuf>,
}

fn build(test: &Test) -> Result<Built> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--quiet", "--message-format=json", "--package", test.package]);
    match test.source {
        Source::Library => command.arg("--lib"),
        Source::File(name) => command.args(["--test", name]),
    };
    let (tests, binaries): (Vec<_>, Vec<_>) =
        executables(&mut command)?.into_iter().partition(|(_, is_test)| *is_test);
    let (executable, _) =
        tests.into_iter().next().with_context(|| format!("cargo built no test for {test}"))?;
    Ok(Built { test: executable, binaries: binaries.into_iter().map(|(path, _)| path).collect() })
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The executables that cargo's messages name, each with whether it is a test.
fn executables(command: &mut Command) -> Result<Vec<(PathBuf, bool)>> {
    let messages = output(command)?;
    let executable = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message.get("executable")?.as_str()?.into();
        Some((path, message.pointer("/profile/test").and_then(Value::as_bool) == Some(true)))
    };
    Ok(messages.lines().filter_map(executable).collect())
}
