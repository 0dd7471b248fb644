//! What a container is, as kept in the database: the request, merged with its image, checked, and final.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan;
use crate::request::{AttachStreams, Healthcheck, HostOptions, MountRequest, MountSource};

/// One container's configuration. The engine alone reads and writes this document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The image as the user named it.
    pub image: String,
    /// `sha256:…` of the image's configuration.
    pub image_id: String,
    /// `os/architecture[/variant]` of the image.
    pub platform: String,
    /// The program: what Docker calls `Config`.
    pub process: ProcessSpec,
    /// The world around it, as asked for, with defaults filled in: what Docker calls `HostConfig`.
    pub host: HostOptions,
}

/// The program of a container, merged from request and image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// In front of the command; empty when there is none.
    pub entrypoint: Vec<String>,
    /// Program or arguments.
    pub command: Vec<String>,
    /// `NAME=value`, without those that are added at start (`HOSTNAME`, `HOME`, `TERM`).
    pub env: Vec<String>,
    /// As written; empty is root.
    pub user: String,
    /// Absolute; empty is `/`.
    pub workdir: String,
    /// Host name.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// The image's and its own.
    pub labels: BTreeMap<String, String>,
    /// A terminal of its own.
    pub tty: bool,
    /// Standard input stays open.
    pub open_stdin: bool,
    /// Standard input closes with its first client.
    pub stdin_once: bool,
    /// What `run` attached.
    pub attach: AttachStreams,
    /// Number.
    pub stop_signal: i32,
    /// As written by the user or the image, for `inspect`.
    pub stop_signal_name: Option<String>,
    /// Seconds; -1 waits for ever.
    pub stop_timeout: Option<i32>,
    /// How health is checked, merged; missing where it is not.
    pub health: Option<Healthcheck>,
    /// The image's shell for commands in shell form; empty is `/bin/sh -c`.
    #[serde(default)]
    pub shell: Vec<String>,
    /// `VOLUME`s of the image: checked paths. Each is a directory of the container's own, unless the user mounts something
    /// there.
    pub volumes: Vec<String>,
    /// `EXPOSE`d ports of the image (`80/tcp`).
    pub exposed_ports: Vec<String>,
}

impl ProcessSpec {
    /// Program and arguments.
    pub fn args(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.command).cloned().collect()
    }
}

/// What a listing shows of a container: kept beside its configuration, so that a thousand of them are listed
/// without reading a thousand configurations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) mounts: Vec<String>,
    /// Where its own volumes are mounted.
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
    pub(crate) network: String,
    pub(crate) auto_remove: bool,
}

impl Summary {
    /// Of a configuration.
    pub(crate) fn of(spec: &ContainerSpec) -> Summary {
        let source = |mount: &MountRequest| match &mount.source {
            MountSource::Bind { path, .. } => Some(path.clone()),
            MountSource::Tmpfs(_) => None,
        };
        Summary {
            image: spec.image.clone(),
            command: spec.process.args(),
            labels: spec.process.labels.clone(),
            mounts: spec.host.mounts.iter().filter_map(source).collect(),
            volumes: plan::volumes(spec)
                .into_iter()
                .map(|volume| volume.target.display().to_string())
                .collect(),
            network: spec.host.network_mode.to_string(),
            auto_remove: spec.host.auto_remove,
        }
    }
}
