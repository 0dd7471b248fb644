//! What a runtime reports about a container (runtime.md, "State").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::null_is_default;

/// The state document: printed by `state`, read by hooks on their standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the field names are the specification's")]
pub struct State {
    pub oci_version: String,
    pub id: String,
    pub status: Status,
    /// 0 or absent once stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    pub bundle: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

/// Where a container is in its life; `paused` is an addition that runtimes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    /// The specification's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What goes with a seccomp notification descriptor (config-linux.md, "The Container Process State").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the field names are the specification's")]
pub struct ContainerProcessState {
    pub oci_version: String,
    /// Names of the descriptors sent along, in order: `seccompFd`.
    pub fds: Vec<String>,
    pub pid: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    pub state: State,
}
