//! `skiff oci`: the command line that engines expect of an OCI runtime, as runc has shaped it.
//!
//! ```text
//! create ──► <root>/<id>/{state.json, gate} ──► init waits at the gate ──start──► runs ──delete──► gone
//! ```
//!
//! Nothing stays behind between two commands but the container's folder, its init and its control group. What
//! must hold:
//! - Whoever changes a container holds the lock on its folder; `state.json` is replaced whole.
//! - `state.json` is written before anything else is made and says all that must be cleaned up: a command killed at
//!   any point leaves something that `delete --force` removes.
//! - A process is known by its number *and* its start time, so that another one of that number is left alone.
//! - This program has one thread: the runtime clones it.

mod args;
mod container;
mod document;
mod error;
mod exec;
mod features;
mod launch;
mod lifecycle;
mod log;
mod notify;
mod report;
mod session;
mod signals;
mod update;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use args::{Command, Flag, Parsed};
use error::{Error, Result};
use log::Log;

/// What every command knows.
struct Global {
    /// The folder of all containers' folders.
    root: PathBuf,
    systemd_cgroup: bool,
    /// Where no control group may be made, none is.
    rootless: bool,
    log: Log,
}

const GLOBAL: &[Flag] = &[
    Flag::switch("debug", "log what is done, not only what fails"),
    Flag::value("log", "PATH", "write the log here instead of to standard error"),
    Flag::value("log-format", "text|json", "form of the log (default text)"),
    Flag::value("root", "PATH", "folder of the containers' states (default /run/skiff-oci)"),
    Flag::value("criu", "PATH", "accepted and not used"),
    Flag::switch("systemd-cgroup", "refused: control groups are made directly"),
    Flag::value("rootless", "true|false|auto", "run without control groups where none may be made"),
    Flag::switch("help", "print this").short('h'),
    Flag::switch("version", "print the version").short('v'),
];

const COMMANDS: &[Command] = &[
    launch::CREATE,
    launch::RUN,
    lifecycle::START,
    lifecycle::STATE,
    lifecycle::KILL,
    lifecycle::DELETE,
    exec::EXEC,
    report::PS,
    lifecycle::PAUSE,
    lifecycle::RESUME,
    update::UPDATE,
    report::LIST,
    document::SPEC,
    features::FEATURES,
    report::EVENTS,
    document::CHECKPOINT,
    document::RESTORE,
];

/// Whether a program of this name is an OCI runtime: then the word `oci` is implied.
pub(crate) fn is_implied_by(program: &str) -> bool {
    let name = Path::new(program).file_name().and_then(|name| name.to_str());
    matches!(name, Some("skiff-oci" | "runc"))
}

/// Runs the OCI command line with the words after its name.
pub(crate) fn main(words: Vec<OsString>) -> ExitCode {
    let mut log = Log::default();
    match run(words, &mut log) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let status = error.status();
            log.fail(&error);
            ExitCode::from(status)
        }
    }
}

fn run(words: Vec<OsString>, log: &mut Log) -> Result<u8> {
    let words = args::utf8(words)?;
    let (global, rest) = args::parse_leading(GLOBAL, &words)?;
    *log = Log::open(global.value("log"), global.value("log-format"), global.on("debug"))?;
    if global.on("version") {
        return print(&version());
    }
    let Some((name, rest)) = rest.split_first() else { return print(&help()) };
    if global.on("help") || name == "help" {
        return print(&help());
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err(Error::usage(format!("there is no command {name:?}; `skiff oci --help` lists them")));
    };
    let parsed = args::parse_command(command, rest)?;
    if parsed.on("help") {
        return print(&args::help(command));
    }
    let global = Global {
        root: root(&global)?,
        systemd_cgroup: global.on("systemd-cgroup"),
        rootless: rootless(&global)?,
        log: log.clone(),
    };
    if matches!(name.as_str(), "create" | "run" | "exec") {
        // What goes into a container must not lead back to a program that could be overwritten (CVE-2019-5736).
        runtime::protect_own_program(std::env::args_os(), std::env::vars_os())?;
    }
    global.log.debug(&format!("{name} {}", rest.join(" ")));
    (command.run)(&global, &parsed)
}

fn print(text: &str) -> Result<u8> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|source| Error::System { attempt: "write to standard output".into(), source })?;
    Ok(0)
}

fn version() -> String {
    format!("skiff-oci version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), oci::runtime::SPEC_VERSION)
}

fn help() -> String {
    let mut text = String::from("Usage: skiff oci [OPTIONS] COMMAND [ARG...]\n\nOCI runtime\n\nCommands:\n");
    for command in COMMANDS {
        text.push_str(&format!("  {:<11} {}\n", command.name, command.about));
    }
    text.push_str("\nOptions:\n");
    text.push_str(&args::help_of_flags(GLOBAL));
    text
}

#[allow(
    clippy::disallowed_methods,
    reason = "the command line reads the environment for everything below it"
)]
fn root(global: &Parsed) -> Result<PathBuf> {
    let root = match global.value("root") {
        Some(root) => PathBuf::from(root),
        None => match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(folder) if !rustix::process::geteuid().is_root() => PathBuf::from(folder).join("skiff-oci"),
            Some(_) | None => PathBuf::from("/run/skiff-oci"),
        },
    };
    absolute(&root)
}

fn rootless(global: &Parsed) -> Result<bool> {
    match global.value("rootless") {
        None | Some("auto") => Ok(!rustix::process::geteuid().is_root() || in_user_namespace()),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(Error::usage(format!("--rootless is {other:?}; it may be true, false or auto"))),
    }
}

/// The first user namespace maps every id onto itself.
fn in_user_namespace() -> bool {
    let map = linux::file::read_to_string(Path::new("/proc/self/uid_map")).unwrap_or_default();
    map.split_ascii_whitespace().ne(["0", "0", "4294967295"])
}

/// Paths in the state must mean the same to a later command that runs elsewhere.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|source| Error::System { attempt: format!("make {} absolute", path.display()), source })
}

#[cfg(test)]
mod tests;
