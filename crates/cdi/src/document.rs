//! The fields of a specification, as they are written.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::{Error, tree};

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Document {
    #[serde(default)]
    pub(crate) cdi_version: Text,
    #[serde(default)]
    pub(crate) kind: Text,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(crate) annotations: BTreeMap<String, Text>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(crate) devices: Vec<Device>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(crate) container_edits: Edits,
}

/// A device of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Device {
    #[serde(default)]
    pub(crate) name: Text,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(crate) annotations: BTreeMap<String, Text>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(crate) container_edits: Edits,
}

/// What is changed of a container, in the order of the specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Edits {
    /// `NAME=value`, each in the place of an earlier one of its name.
    #[serde(default, deserialize_with = "texts")]
    pub env: Vec<String>,
    /// Nodes, each in the place of what has its path.
    #[serde(default, deserialize_with = "or_nothing")]
    pub device_nodes: Vec<DeviceNode>,
    /// Network interfaces of the host that move into the container.
    #[serde(default, deserialize_with = "or_nothing")]
    pub net_devices: Vec<NetDevice>,
    /// Mounts, each in the place of what has its target.
    #[serde(default, deserialize_with = "or_nothing")]
    pub mounts: Vec<Mount>,
    /// Programs around the container's life.
    #[serde(default, deserialize_with = "or_nothing")]
    pub hooks: Vec<Hook>,
    /// Groups of the program's; 0 is none.
    #[serde(default, rename = "additionalGids", deserialize_with = "or_nothing")]
    pub additional_gids: Vec<u32>,
    /// Class of the processor's cache and memory bandwidth.
    #[serde(default)]
    pub intel_rdt: Option<IntelRdt>,
}

/// A device node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeviceNode {
    /// Absolute, inside the container.
    #[serde(default, deserialize_with = "text")]
    pub path: String,
    /// On the host; missing is the same path.
    #[serde(default, deserialize_with = "some_text")]
    pub host_path: Option<String>,
    /// `b`, `c`, `u` or `p`; missing is what the host's node is.
    #[serde(default, rename = "type", deserialize_with = "some_text")]
    pub kind: Option<String>,
    /// Numbers; missing or 0 are those of the host's node.
    #[serde(default, deserialize_with = "or_nothing")]
    pub major: u32,
    /// See `major`.
    #[serde(default, deserialize_with = "or_nothing")]
    pub minor: u32,
    /// Permission bits.
    #[serde(default)]
    pub file_mode: Option<u32>,
    /// Some of `rwm`, or `none`; missing is all.
    #[serde(default, deserialize_with = "some_text")]
    pub permissions: Option<String>,
    /// Owner inside; missing is who runs the program.
    #[serde(default)]
    pub uid: Option<u32>,
    /// Group inside.
    #[serde(default)]
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mount {
    /// What is mounted.
    #[serde(default, deserialize_with = "text")]
    pub host_path: String,
    /// Absolute, inside the container.
    #[serde(default, deserialize_with = "text")]
    pub container_path: String,
    /// The file system's name; missing for a bind mount.
    #[serde(default, rename = "type", deserialize_with = "some_text")]
    pub kind: Option<String>,
    /// As in the runtime specification.
    #[serde(default, deserialize_with = "texts")]
    pub options: Vec<String>,
}

/// A program around the container's life.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Hook {
    /// When it is run.
    pub hook_name: HookKind,
    /// Absolute, on the host.
    #[serde(default, deserialize_with = "text")]
    pub path: String,
    /// `argv`, with the name in front.
    #[serde(default, deserialize_with = "texts")]
    pub args: Vec<String>,
    /// The whole environment.
    #[serde(default, deserialize_with = "texts")]
    pub env: Vec<String>,
    /// Killed after so many seconds.
    #[serde(default)]
    pub timeout: Option<u32>,
}

/// When a hook is run (runtime specification, config.md, "POSIX-platform Hooks").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum HookKind {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

/// A network interface of the host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NetDevice {
    /// Its name on the host.
    #[serde(default, deserialize_with = "text")]
    pub host_interface_name: String,
    /// Its name inside.
    #[serde(default, deserialize_with = "text")]
    pub name: String,
}

/// `linux.intelRdt` of the runtime specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[allow(missing_docs, reason = "the field names are the specification's")]
pub struct IntelRdt {
    #[serde(default, rename = "closID", deserialize_with = "some_text")]
    pub clos_id: Option<String>,
    #[serde(default, rename = "l3CacheSchema", deserialize_with = "some_text")]
    pub l3_cache_schema: Option<String>,
    #[serde(default, deserialize_with = "some_text")]
    pub mem_bw_schema: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    pub schemata: Vec<String>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub enable_monitoring: bool,
    /// Of versions before 1.1.0.
    #[serde(default, rename = "enableCMT", deserialize_with = "or_nothing")]
    pub enable_cmt: bool,
    /// Of versions before 1.1.0.
    #[serde(default, rename = "enableMBM", deserialize_with = "or_nothing")]
    pub enable_mbm: bool,
}

impl Edits {
    /// Whether they change nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Others, after these.
    pub(crate) fn append(&mut self, others: &Self) {
        self.env.extend(others.env.iter().cloned());
        self.device_nodes.extend(others.device_nodes.iter().cloned());
        self.net_devices.extend(others.net_devices.iter().cloned());
        self.mounts.extend(others.mounts.iter().cloned());
        self.hooks.extend(others.hooks.iter().cloned());
        self.additional_gids.extend(&others.additional_gids);
        if others.intel_rdt.is_some() {
            self.intel_rdt.clone_from(&others.intel_rdt);
        }
    }
}

impl Document {
    /// Reads JSON or YAML.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        // All JSON is YAML but for its escapes and its tabs. What fails as JSON may be YAML that begins alike.
        if text.trim_start().starts_with('{')
            && let Ok(document) = serde_json::from_str(text)
        {
            return Ok(document);
        }
        let tree = tree::parse(text)?;
        if !tree.is_object() {
            let what = if tree.is_null() { "empty" } else { "no map" };
            return Err(Error::Shape(format!("the file is {what}")));
        }
        serde_json::from_value(tree).map_err(|error| Error::Shape(error.to_string()))
    }
}

/// Text, or a scalar that was written without quotes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<Text, E> {
                Ok(Text(truth.to_string()))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Text, E> {
                Ok(Text(number.to_string()))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<Text, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Text::deserialize(deserializer).map(|text| text.0)
}

/// An empty one is none, as one that is missing.
fn some_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Text::deserialize(deserializer).map(|text| Some(text.0).filter(|text| !text.is_empty()))
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Option::<Vec<Text>>::deserialize(deserializer)?;
    Ok(texts.unwrap_or_default().into_iter().map(|text| text.0).collect())
}

/// `null` is what a missing field is.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
