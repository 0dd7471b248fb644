//! The image config (image-spec, config.md) with the members that Docker adds.
//!
//! What an image says is as untrusted as its bytes: [`ImageConfig::parse`] refuses values that no later code
//! could use safely (a NUL in a string that becomes an argument, a volume that climbs with `..`). Values that
//! are merely odd are carried, and are refused by whoever needs them. Unknown members are ignored; the
//! config's bytes are kept beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::CONFIG_LIMIT;
use crate::digest::DiffId;
use crate::error::{Error, Result, excerpt};
use crate::lenient::{null_default, optional_time, set, short_list};
use crate::platform::Platform;
use crate::timestamp::Timestamp;

/// The most layers an image may have.
const LAYER_LIMIT: usize = 1000;
/// The most steps of an image's history: one for each layer, and many that made none.
const HISTORY_LIMIT: usize = 8192;

/// An image: what it runs, on what platform, of which layers, and how it was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Processor architecture and operating system.
    #[serde(flatten)]
    pub platform: Platform,
    /// When the image was made.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_time")]
    pub created: Option<Timestamp>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub author: String,
    /// Docker's note on a committed or imported image.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub comment: String,
    /// Defaults for containers.
    #[serde(default, deserialize_with = "null_default")]
    pub config: ContainerConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// How each layer came about, and what was done without making one; base first.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "short_list::<_, _, HISTORY_LIMIT>"
    )]
    pub history: Vec<History>,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed layers, base first.
    #[serde(default, deserialize_with = "null_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// What a container made from the image gets unless it is told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `user[:group]`, names or numbers; empty for root.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub user: String,
    /// Ports the program listens on; see [`ExposedPort`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", with = "set")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments, or the program where there is no entrypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths at which a container gets volumes of its own.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", with = "set")]
    pub volumes: BTreeSet<String>,
    /// The first working directory; empty for `/`.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub working_dir: String,
    /// Free-form notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end, by name or number; empty for SIGTERM.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub stop_signal: String,
    /// How to tell whether the container is healthy (Docker).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds on top of the image (Docker).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub on_build: Vec<String>,
    /// The shell of instructions in shell form (Docker).
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub shell: Vec<String>,
}

/// A health check (Docker). Zero means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// Empty to inherit; `["NONE"]`, `["CMD", args…]` or `["CMD-SHELL", command]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub test: Vec<String>,
    /// Nanoseconds between two checks.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_default")]
    pub interval: i64,
    /// Nanoseconds after which a check has failed.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_default")]
    pub timeout: i64,
    /// Nanoseconds from the start during which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_default")]
    pub start_period: i64,
    /// Nanoseconds between two checks during the start period.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_default")]
    pub start_interval: i64,
    /// Failures in a row after which the container is unhealthy.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_default")]
    pub retries: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

/// One step by which an image was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_time")]
    pub created: Option<Timestamp>,
    /// By what command.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub created_by: String,
    /// By whom.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub author: String,
    /// A note.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub comment: String,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_default")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Parses a config of which the bytes have been verified.
    ///
    /// # Errors
    /// If it is too large, not JSON, or holds a value that must not be used.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let size = bytes.len() as u64;
        if size > CONFIG_LIMIT {
            return Err(Error::TooLarge { kind: KIND, size, limit: CONFIG_LIMIT });
        }
        let config: Self =
            serde_json::from_slice(bytes).map_err(|source| Error::Json { kind: KIND, source })?;
        config.check()?;
        Ok(config)
    }

    /// The bytes that stand for this config. Equal configs have equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Every map has string keys and nothing else can fail, so there is no error to report.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Refuses values that no later code could use safely.
    fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Document { kind: KIND, reason });
        if self.rootfs.kind != "layers" {
            return refuse(format!("rootfs.type is {:?}, expected \"layers\"", excerpt(&self.rootfs.kind)));
        }
        if self.rootfs.diff_ids.len() > LAYER_LIMIT {
            return refuse(format!("it has {} layers, more than {LAYER_LIMIT}", self.rootfs.diff_ids.len()));
        }
        self.config.check()
    }
}

const KIND: &str = "image config";

impl ContainerConfig {
    fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Document { kind: KIND, reason });
        let scalars =
            [("User", &self.user), ("WorkingDir", &self.working_dir), ("StopSignal", &self.stop_signal)];
        let lists = [
            ("Env", self.env.as_slice()),
            ("Entrypoint", self.entrypoint.as_deref().unwrap_or_default()),
            ("Cmd", self.cmd.as_deref().unwrap_or_default()),
            ("OnBuild", &self.on_build),
            ("Shell", &self.shell),
            ("Healthcheck.Test", self.healthcheck.as_ref().map_or(&[][..], |check| &check.test)),
        ];
        let of_lists =
            lists.into_iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let of_labels = self.labels.iter().flat_map(|(key, value)| [("Labels", key), ("Labels", value)]);
        let of_sets = self
            .volumes
            .iter()
            .map(|path| ("Volumes", path))
            .chain(self.exposed_ports.iter().map(|port| ("ExposedPorts", port)));
        for (name, value) in scalars.into_iter().chain(of_lists).chain(of_labels).chain(of_sets) {
            if value.contains('\0') {
                return refuse(format!("{name} {:?} holds a NUL", excerpt(value)));
            }
        }
        if let Some(entry) = self.env.iter().find(|entry| entry.is_empty() || entry.starts_with('=')) {
            return refuse(format!("Env {:?} has no name", excerpt(entry)));
        }
        if self.user.len() > 256 || self.user.contains(['\n', '/']) {
            return refuse(format!("User {:?} is not USER[:GROUP]", excerpt(&self.user)));
        }
        let climbs = |path: &&String| path.split('/').any(|part| part == "..");
        if let Some(path) = self.volumes.iter().find(climbs) {
            return refuse(format!("Volumes {:?} holds \"..\"", excerpt(path)));
        }
        Ok(())
    }

    /// The exposed ports, parsed.
    ///
    /// # Errors
    /// [`Error::ExposedPort`] for the first that is none.
    pub fn ports(&self) -> Result<Vec<ExposedPort>> {
        self.exposed_ports.iter().map(|text| text.parse()).collect()
    }
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// `PORT[-PORT][/tcp|udp|sctp]`: one port or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExposedPort {
    /// The first port, never 0.
    pub first: u16,
    /// The last port, not below the first.
    pub last: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl FromStr for ExposedPort {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten().filter(|port| *port != 0)
        };
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            "sctp" => Some(Protocol::Sctp),
            _ => None,
        };
        match (port(first), port(last), protocol) {
            (Some(first), Some(last), Some(protocol)) if first <= last => Ok(Self { first, last, protocol }),
            _ => Err(Error::ExposedPort { text: excerpt(text) }),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl fmt::Display for ExposedPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}/{}", self.first, self.protocol)
        } else {
            write!(formatter, "{}-{}/{}", self.first, self.last, self.protocol)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(config: &str) -> Result<ImageConfig> {
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{config},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
        );
        ImageConfig::parse(text.as_bytes())
    }

    #[test]
    fn what_docker_writes_is_read() {
        let layer = crate::Digest::of(b"layer");
        let text = format!(
            r#"{{"architecture":"arm64","variant":"v8","os":"linux","created":"2024-05-06T07:08:09.1Z","docker_version":"20.10.1",
            "container":"abc","container_config":{{"Hostname":"x"}},"author":null,
            "config":{{"Hostname":"","Domainname":"","AttachStdin":false,"User":"1000:1000","ExposedPorts":{{"80/tcp":{{}},"53/udp":null}},
              "Env":["PATH=/bin","EMPTY="],"Cmd":null,"Entrypoint":["/a"],"Image":"sha256:x","Volumes":null,"WorkingDir":"/w",
              "OnBuild":null,"Labels":{{"a":"b"}},"StopSignal":"SIGINT","Shell":["/bin/sh","-c"],"ArgsEscaped":true,
              "Healthcheck":{{"Test":["CMD-SHELL","true"],"Interval":30000000000,"Retries":3}}}},
            "rootfs":{{"type":"layers","diff_ids":["{layer}"]}},
            "history":[{{"created":"2024-05-06T07:08:09Z","created_by":"ADD x"}},{{"created":"","empty_layer":true,"comment":"c"}}]}}"#
        );
        let image = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(image.platform.to_string(), "linux/arm64/v8");
        assert_eq!(image.created.unwrap().to_string(), "2024-05-06T07:08:09.1Z");
        assert_eq!(
            image.config.ports().unwrap().iter().map(ExposedPort::to_string).collect::<Vec<_>>(),
            ["53/udp", "80/tcp"]
        );
        assert_eq!(
            (image.config.cmd.as_deref(), image.config.entrypoint.as_deref()),
            (None, Some(&["/a".to_owned()][..]))
        );
        assert_eq!(image.config.healthcheck.as_ref().unwrap().interval, 30_000_000_000);
        assert_eq!(image.rootfs.diff_ids[0].digest(), &layer);
        assert!(image.history[1].empty_layer && image.history[1].created.is_none());
        let again = ImageConfig::parse(&image.to_bytes()).unwrap();
        assert_eq!(again, image);
    }

    #[test]
    fn what_is_written_is_stable() {
        let mut image = ImageConfig { platform: "linux/amd64".parse().unwrap(), ..ImageConfig::default() };
        image.config.cmd = Some(vec!["/bin/sh".to_owned()]);
        image.config.exposed_ports.insert("80/tcp".to_owned());
        expect_test::expect![[
            r#"{"architecture":"amd64","os":"linux","config":{"ExposedPorts":{"80/tcp":{}},"Cmd":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":[]}}"#
        ]]
        .assert_eq(&String::from_utf8(image.to_bytes()).unwrap());
    }

    #[test]
    fn an_image_may_say_next_to_nothing() {
        for config in ["null", "{}", r#"{"Unknown":[1,2,{}]}"#, r#"{"Labels":null,"Env":null}"#] {
            assert_eq!(parse(config).unwrap().config, ContainerConfig::default(), "{config}");
        }
        assert!(
            ImageConfig::parse(br#"{"rootfs":{"type":"layers","diff_ids":null},"history":null}"#).is_ok()
        );
    }

    #[test]
    fn values_that_cannot_be_used_safely_are_refused() {
        for bad in [
            r#"{"Env":["A=\u0000"]}"#,
            r#"{"Env":["=x"]}"#,
            r#"{"Env":[""]}"#,
            r#"{"Cmd":["a\u0000b"]}"#,
            r#"{"User":"a\nb"}"#,
            r#"{"User":"../x"}"#,
            r#"{"Volumes":{"/a/../../etc":{}}}"#,
            r#"{"Volumes":{"\u0000":{}}}"#,
            r#"{"Labels":{"a":1}}"#,
            r#"{"WorkingDir":"\u0000"}"#,
            r#"{"Entrypoint":"sh"}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for bad in [
            r#"{"os":"linux"}"#,
            r#"{"rootfs":{"type":"xfs","diff_ids":[]}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":["sha256:zz"]}}"#,
            r#"{"created":"yesterday","rootfs":{"type":"layers","diff_ids":[]}}"#,
        ] {
            assert!(ImageConfig::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let layers = vec![format!("\"{}\"", crate::Digest::of(b"")); 1025].join(",");
        assert!(
            ImageConfig::parse(
                format!(r#"{{"rootfs":{{"type":"layers","diff_ids":[{layers}]}}}}"#).as_bytes()
            )
            .is_err()
        );
    }

    #[test]
    fn ports_are_numbers_with_a_protocol() {
        for (text, shown) in
            [("80", "80/tcp"), ("53/UDP", "53/udp"), ("1-65535/sctp", "1-65535/sctp"), ("7-7", "7/tcp")]
        {
            assert_eq!(text.parse::<ExposedPort>().unwrap().to_string(), shown);
        }
        for bad in ["", "0", "65536", "80/", "80/icmp", "9-8", "-1", "+80", "8 0", "a"] {
            assert!(bad.parse::<ExposedPort>().is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(bytes: Vec<u8>, port in "\\PC{0,12}") {
            drop(ImageConfig::parse(&bytes));
            drop(port.parse::<ExposedPort>());
        }
    }
}
