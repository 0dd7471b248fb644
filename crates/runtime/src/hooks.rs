//! Programs run around a container's life (OCI runtime specification, config.md, "POSIX-platform Hooks").
//!
//! `prestart` and `createRuntime` run from [`crate::clone_init`], `createContainer` and `startContainer` in init;
//! `poststart` and `poststop` are the caller's to run, with [`run`].

use rustix::process::Pid;

use crate::plan::{Hook, HookState};
use crate::{Error, Result};

/// Runs `hooks` in order; the first that fails ends the row.
pub fn run(
    kind: &'static str,
    hooks: &[Hook],
    state: &HookState,
    status: &str,
    pid: Option<Pid>,
) -> Result<()> {
    let _ = (state, status, pid);
    match hooks.first() {
        None => Ok(()),
        Some(hook) => Err(Error::Hook { kind, path: hook.path.clone(), why: "not built yet".into() }),
    }
}
