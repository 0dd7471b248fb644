//! Programs around a container's life (OCI runtime specification, config.md, "POSIX-platform Hooks").

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Programs run around the container's life, with the state document on standard input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are the specification's")]
pub struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
    /// What the state document says beyond id, status and process.
    pub state: HookState,
}

/// The part of the state document (runtime specification, runtime.md, "State") that does not change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HookState {
    /// `ociVersion`; empty stands for the version this crate implements.
    pub oci_version: String,
    /// The container.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: String,
    /// `annotations`.
    pub annotations: Vec<(String, String)>,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute.
    pub path: PathBuf,
    /// `argv`, with the name in front; empty means the path alone.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<String>,
    /// Killed after so many seconds.
    pub timeout_secs: Option<u32>,
}
