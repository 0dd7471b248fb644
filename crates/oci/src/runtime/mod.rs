//! The OCI runtime specification, Linux part: what a bundle's `config.json` holds, what a runtime
//! reports about a container (`State`) and about itself (`Features`).
//!
//! The types are the document and nothing more: public fields under the specification's names, absent
//! and `null` read alike, unknown fields ignored (config.md, "Extensibility"). Whether a value makes sense is
//! decided where a document becomes a launch plan. The sections of other platforms (`windows`, `solaris`,
//! `vm`, `freebsd`, `zos`) are not held; [`Spec::other_platforms`] names those that a document has.

mod features;
mod linux;
mod names;
mod process;
mod resources;
mod seccomp;
mod state;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

pub use features::*;
pub use linux::*;
pub use names::*;
pub use process::*;
pub use resources::*;
pub use seccomp::*;
pub use state::*;

/// The newest version of the specification whose Linux fields are held here.
pub const SPEC_VERSION: &str = "1.3.0";

/// A container's configuration: the whole of `config.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the field names are the specification's (config.md)")]
pub struct Spec {
    pub oci_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub hostname: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub domainname: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<Linux>,
    /// Names of sections of other platforms that the document holds.
    #[serde(skip)]
    pub other_platforms: Vec<&'static str>,
}

impl Spec {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong and at which line and column.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let mut spec: Self = serde_json::from_slice(text)?;
        spec.other_platforms = serde_json::from_slice::<OtherPlatforms>(text)?.names();
        Ok(spec)
    }
}

/// Only whether a section is there.
#[derive(Default, Deserialize)]
#[serde(default)]
struct OtherPlatforms {
    windows: Option<serde::de::IgnoredAny>,
    solaris: Option<serde::de::IgnoredAny>,
    vm: Option<serde::de::IgnoredAny>,
    freebsd: Option<serde::de::IgnoredAny>,
    zos: Option<serde::de::IgnoredAny>,
}

impl OtherPlatforms {
    fn names(&self) -> Vec<&'static str> {
        [
            ("windows", self.windows.is_some()),
            ("solaris", self.solaris.is_some()),
            ("vm", self.vm.is_some()),
            ("freebsd", self.freebsd.is_some()),
            ("zos", self.zos.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
    }
}

/// Where the root file system lies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the field names are the specification's (config.md, \"Root\")")]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: String,
    #[serde(skip_serializing_if = "is_false", deserialize_with = "null_is_default")]
    pub readonly: bool,
}

/// One mount, in the order of mounting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "the field names are the specification's (config.md, \"Mounts\")")]
pub struct Mount {
    pub destination: String,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub source: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub options: Vec<String>,
    #[serde(
        rename = "uidMappings",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub uid_mappings: Vec<IdMapping>,
    #[serde(
        rename = "gidMappings",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_default"
    )]
    pub gid_mappings: Vec<IdMapping>,
}

/// One line of an id map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the field names are the specification's (config-linux.md, \"User namespace mappings\")"
)]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: u32,
    #[serde(rename = "hostID")]
    pub host_id: u32,
    pub size: u32,
}

/// Programs to run around a container's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(
    missing_docs,
    reason = "the field names are the specification's (config.md, \"POSIX-platform Hooks\")"
)]
pub struct Hooks {
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub prestart: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub create_runtime: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub create_container: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub start_container: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub poststart: Vec<Hook>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub poststop: Vec<Hook>,
}

/// One hook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(
    missing_docs,
    reason = "the field names are the specification's (config.md, \"POSIX-platform Hooks\")"
)]
pub struct Hook {
    pub path: String,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// Go writes an absent list, map or string as `null` as often as it leaves it out.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests;
