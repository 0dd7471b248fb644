//! What the engine tells about containers, images and itself: complete typed values, rendered by front ends.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use monitor::{HealthReport, HealthState, Probe};
use oci::{ContainerId, ContainerName, Descriptor, Digest, Platform, Reference, Timestamp};

pub use crate::plan::Hidden;
use crate::spec::ContainerSpec;

/// A container that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// Its name, given or made up.
    pub name: ContainerName,
    /// What was asked for and is not in force, one sentence each.
    pub warnings: Vec<String>,
}

/// Docker's seven states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are Docker's")]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl Status {
    /// Docker's word: `created`, `running`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Removing => "removing",
            Status::Exited => "exited",
            Status::Dead => "dead",
        }
    }

    /// Whether it is being removed, or its removal has failed.
    pub fn is_leaving(self) -> bool {
        matches!(self, Status::Removing | Status::Dead)
    }

    /// Whether it has processes.
    pub fn is_running(self) -> bool {
        matches!(self, Status::Running | Status::Paused | Status::Restarting)
    }
}

/// What a container is doing, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerState {
    /// Docker's state.
    pub status: Status,
    /// Its first process as the host numbers it; 0 unless running.
    pub pid: i32,
    /// Of the last run; 0 before the first one.
    pub exit_code: i32,
    /// Whether the kernel killed one of its processes for lack of memory.
    pub oom_killed: bool,
    /// Why it could not be started; empty when it could.
    pub error: String,
    /// Of the last run.
    pub started_at: Option<Timestamp>,
    /// Of the last run that ended.
    pub finished_at: Option<Timestamp>,
    /// How often its restart policy has started it since a user did.
    pub restarts: u32,
    /// Lines that its log has lost since it was started; known while it is alive.
    pub log_lines_lost: u64,
    /// How it is, while it runs and where that is checked.
    pub health: Option<HealthState>,
}

/// Everything about one container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerInfo {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// When it was made.
    pub created: Timestamp,
    /// What it is doing.
    pub state: ContainerState,
    /// The last results of its health checks; missing where there are none, and before its first start.
    pub health: Option<HealthReport>,
    /// How it was configured.
    pub spec: ContainerSpec,
    /// First host id of its range, when it has ids of its own from the pool.
    pub id_base: Option<u32>,
    /// `erofs` or `trees`.
    pub snapshotter: &'static str,
    /// Volumes of its own.
    pub volumes: Vec<VolumeMount>,
    /// Its directory on disk.
    pub directory: PathBuf,
    /// The disk that its writable layer lies in, where it has one of its own.
    pub disk: Option<PathBuf>,
    /// What of the kernel's file systems it does not get.
    pub hidden: Hidden,
    /// Its log; missing with the driver `none`.
    pub log_path: Option<PathBuf>,
    /// `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf` as files on the host, there while it runs.
    pub hostname_path: PathBuf,
    /// See `hostname_path`.
    pub hosts_path: PathBuf,
    /// See `hostname_path`.
    pub resolv_conf_path: PathBuf,
}

/// A volume that is a container's own and goes with it: the image declares it, and it began with the image's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// On the host; there from the first start on.
    pub source: PathBuf,
    /// Inside.
    pub target: PathBuf,
}

/// One line of `skiff ps`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSummary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The image as the user named it.
    pub image: String,
    /// `sha256:…` of the image.
    pub image_id: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// What it is doing.
    pub state: ContainerState,
    /// The image's and its own.
    pub labels: BTreeMap<String, String>,
    /// Sources of its bind mounts.
    pub mounts: Vec<String>,
    /// Where its own volumes are mounted.
    pub volumes: Vec<String>,
    /// `none`, `host`, …
    pub network: String,
}

/// One image of `skiff images`.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSummary {
    /// `sha256:…` of the configuration.
    pub id: String,
    /// Familiar references (`busybox:latest`); empty for a dangling one.
    pub tags: Vec<String>,
    /// `repository@sha256:…`.
    pub repo_digests: Vec<String>,
    /// What a tag's registry calls what the tag stands for, by the familiar reference, as far as that is known.
    pub tag_digests: BTreeMap<String, String>,
    /// As its configuration says.
    pub created: Option<Timestamp>,
    /// Bytes of its layers, uncompressed.
    pub size: u64,
    /// Labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// How many containers use it.
    pub containers: u64,
    /// Familiar references that lead to it by an index, and stand for an image for another platform.
    pub through: Vec<String>,
    /// Whether a container uses it, or an image for another platform of the same name.
    pub in_use: bool,
    /// When it came here, or when the last container of it was removed, to the hour, if that was later.
    pub last_used: Timestamp,
}

impl ImageSummary {
    /// Whether no tag leads to it.
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty() && self.through.is_empty()
    }

    /// Whether it is only there for another platform than its names stand for: it goes with them.
    pub fn is_platform(&self) -> bool {
        self.tags.is_empty() && !self.through.is_empty()
    }
}

/// An image with the platforms that its names lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageTree {
    /// Familiar references; empty for one without.
    pub names: Vec<String>,
    /// `sha256:…` of what the names stand for.
    pub id: String,
    /// Bytes of the layers that are here, uncompressed.
    pub size: u64,
    /// Bytes of what is here as registries send it.
    pub content_size: u64,
    /// Whether a container uses one of its images.
    pub in_use: bool,
    /// In the order of the index.
    pub platforms: Vec<ImagePlatform>,
}

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlatform {
    /// `linux/amd64`, …
    pub platform: String,
    /// `sha256:…` of the image, or of its manifest where it is not here.
    pub id: String,
    /// Whether it is here.
    pub is_here: bool,
    /// Bytes of its layers, uncompressed.
    pub size: u64,
    /// Bytes of it as registries send it.
    pub content_size: u64,
    /// Whether a container uses it.
    pub in_use: bool,
}

/// One step of an image's history, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's id for the newest step, else missing.
    pub id: Option<String>,
    /// When.
    pub created: Option<Timestamp>,
    /// The instruction.
    pub created_by: String,
    /// Bytes it added.
    pub size: u64,
    /// What its maker said.
    pub comment: String,
    /// Tags of the image, for the newest step.
    pub tags: Vec<String>,
}

/// What a removal of images did, in the order it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRemoval {
    /// A name is gone.
    Untagged(String),
    /// `sha256:…` of an image or a layer that is gone.
    Deleted(String),
}

/// What `image prune` removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// In order.
    pub removed: Vec<ImageRemoval>,
    /// Bytes freed.
    pub reclaimed: u64,
}

/// An image that was loaded or imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedImage {
    /// `sha256:…`.
    pub id: String,
    /// Familiar references it has from now on; empty when the archive names none.
    pub tags: Vec<String>,
    /// References that another image had before, with that image's id.
    pub moved: Vec<(String, String)>,
}

/// An image that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// `sha256:…`.
    pub id: String,
    /// Its name, spelled out.
    pub reference: String,
    /// Its name, as people type it.
    pub familiar: String,
    /// What the registry calls it.
    pub digest: String,
    /// Whether it was not here under this name before.
    pub is_new: bool,
}

/// What came out of a build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Built {
    /// What no other build is called.
    pub reference: String,
    /// One for each platform, in the order in which they were asked for; none where no output makes images.
    pub images: Vec<BuiltImage>,
    /// What the names lead to: the manifest of the one image, or an index. With several outputs that of the last one that has
    /// names here or in a registry, else of the first.
    pub descriptor: Option<Descriptor>,
    /// The names, spelled out.
    pub names: Vec<Reference>,
    /// What is attested of how each image was made, by platform (`linux/amd64`): the predicate, as JSON.
    pub provenance: BTreeMap<String, serde_json::Value>,
}

/// An image that was built.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltImage {
    /// What it runs on.
    pub platform: Platform,
    /// The digest of its config.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Descriptor,
}

impl Built {
    /// What `--iidfile` holds: the id of the one image, else the digest of the index; none where there is no image.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        match self.images.as_slice() {
            [image] => Some(image.id.to_string()),
            _ => self.descriptor.as_ref().map(|descriptor| descriptor.digest.to_string()),
        }
    }

    /// What `--metadata-file` holds, by buildx's keys.
    #[must_use]
    pub fn metadata(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut metadata = serde_json::Map::new();
        if !self.reference.is_empty() {
            // buildx names a builder and a machine before it.
            metadata
                .insert("buildx.build.ref".to_owned(), format!("default/default/{}", self.reference).into());
        }
        match self.provenance.len() {
            0 => {}
            1 => metadata.extend(
                self.provenance.values().map(|one| ("buildx.build.provenance".to_owned(), one.clone())),
            ),
            _ => metadata.extend(
                self.provenance
                    .iter()
                    .map(|(platform, one)| (format!("buildx.build.provenance/{platform}"), one.clone())),
            ),
        }
        if let [image] = self.images.as_slice() {
            metadata.insert("containerimage.config.digest".to_owned(), image.id.to_string().into());
        }
        if let Some(descriptor) = &self.descriptor {
            metadata.insert("containerimage.digest".to_owned(), descriptor.digest.to_string().into());
            // It holds nothing but text and numbers.
            let json = serde_json::to_value(descriptor).unwrap_or_default();
            metadata.insert("containerimage.descriptor".to_owned(), json);
        }
        if !self.names.is_empty() {
            let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
            metadata.insert("image.name".to_owned(), names.join(",").into());
        }
        metadata
    }
}

/// An image that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its name, spelled out.
    pub reference: String,
    /// What the registry calls it.
    pub digest: String,
}

/// What `image verify` found about one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The name that was asked for; of all images each has its first, or its id.
    pub name: String,
    /// Each fault in one sentence; empty when all is well.
    pub faults: Vec<String>,
}

/// What `image repair` has done for one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// As in [`Verified`].
    pub name: String,
    /// Each fault that is mended, in one sentence.
    pub mended: Vec<String>,
    /// Faults that are left.
    pub left: Vec<Unrepaired>,
}

/// A fault that could not be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrepaired {
    /// The fault in one sentence.
    pub fault: String,
    /// Each place where what is good was looked for, and why it was not had there. Empty where no place is known.
    pub tried: Vec<String>,
}

/// `skiff version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Of Skiff.
    pub version: &'static str,
    /// Of the kernel (`uname -r`).
    pub kernel: String,
    /// As Docker names it: `amd64`, …
    pub architecture: String,
    /// Version of the database's schema.
    pub schema: i64,
    /// Version of SQLite.
    pub sqlite: String,
}

/// `skiff info`.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Host and program.
    pub version: Version,
    /// Tells this root on this machine from all others: a UUID made of both, the same at every call. Empty where the
    /// machine has no id (`machine-id(5)`).
    pub id: String,
    /// Host name.
    pub name: String,
    /// How many containers there are.
    pub containers: u64,
    /// Of these, running.
    pub running: u64,
    /// Of these, paused.
    pub paused: u64,
    /// Of these, neither.
    pub stopped: u64,
    /// How many images there are.
    pub images: u64,
    /// `erofs` or `trees`.
    pub snapshotter: &'static str,
    /// File system of the root as Docker names it (`extfs`), or its magic number.
    pub backing_filesystem: String,
    /// Log drivers that there are, sorted.
    pub log_drivers: &'static [&'static str],
    /// Where everything lies.
    pub root: PathBuf,
    /// Where running things lie.
    pub run: PathBuf,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Which limits can be set; none where no group can be made.
    pub limits: cgroup::Capabilities,
    /// Whether containers get control groups at all.
    pub has_cgroups: bool,
    /// Whether this host passes IPv4 packets on.
    pub ipv4_forwarding: bool,
    /// Without root.
    pub rootless: bool,
    /// CPUs that may be used.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// `PRETTY_NAME` of os-release.
    pub operating_system: String,
    /// `VERSION_ID` of os-release; empty where there is none.
    pub os_version: String,
    /// `linux`.
    pub os_type: &'static str,
    /// As the kernel names it: `x86_64`, …
    pub machine: String,
    /// What is not as it could be, one sentence each.
    pub warnings: Vec<String>,
}

/// One line of a container's log, or a piece of one that was too long.
#[derive(Clone, Debug)]
pub struct LogLine<'a> {
    /// When it was written.
    pub time: LogTime<'a>,
    /// Written to standard error, else to standard output.
    pub stderr: bool,
    /// With its line feed, if it had one.
    pub text: &'a [u8],
    pub(crate) attributes: LogAttributes<'a>,
}

/// When a line was written, as its log says it: taken apart only where somebody wants to know.
#[derive(Clone, Copy, Debug)]
pub enum LogTime<'a> {
    /// RFC 3339.
    Text(&'a str),
    /// Since 1970.
    Nanoseconds(i64),
    /// Known already.
    At(Timestamp),
}

/// What was logged beside a line, where it stands.
#[derive(Clone, Debug)]
pub(crate) enum LogAttributes<'a> {
    None,
    Json(&'a [u8]),
    Local(&'a [u8]),
    Owned(Vec<(String, String)>),
}

impl LogLine<'_> {
    /// Labels, variables and the tag that its driver was told to log.
    pub fn attributes(&self) -> Vec<(String, String)> {
        match &self.attributes {
            LogAttributes::None => Vec::new(),
            LogAttributes::Json(text) => crate::logs::json_attributes(text),
            LogAttributes::Local(entry) => crate::logs::local_attributes(entry),
            LogAttributes::Owned(attributes) => attributes.clone(),
        }
    }
}

impl LogTime<'_> {
    /// None where the log says something that is no time.
    pub fn timestamp(&self) -> Option<Timestamp> {
        match *self {
            LogTime::Text(text) => text.parse().ok(),
            LogTime::At(time) => Some(time),
            LogTime::Nanoseconds(count) => {
                let below = u32::try_from(count.rem_euclid(1_000_000_000)).ok()?;
                Timestamp::new(count.div_euclid(1_000_000_000), below)
            }
        }
    }

    /// Appends it in UTC with nine digits of a second, so that lines stand below each other.
    pub fn append_fixed(&self, into: &mut Vec<u8>) {
        if let LogTime::Text(text) = self
            && let Some(short) = text.strip_suffix('Z')
            && text.is_ascii()
            && (21..=29).contains(&short.len())
            && short.as_bytes()[19] == b'.'
        {
            into.extend_from_slice(short.as_bytes());
            into.extend_from_slice(&b"000000000"[..29 - short.len()]);
            into.push(b'Z');
            return;
        }
        let time = self.timestamp().unwrap_or(Timestamp::ZERO);
        let whole = Timestamp::new(time.seconds(), 0).unwrap_or(time).to_string();
        into.extend_from_slice(whole.trim_end_matches('Z').as_bytes());
        into.extend_from_slice(format!(".{:09}Z", time.nanoseconds()).as_bytes());
    }
}

/// Everything about one image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInfo {
    /// Names, size, …
    pub summary: ImageSummary,
    /// Its configuration as the document it is, byte for byte.
    pub config: Vec<u8>,
    /// Layers, lowest first: diff ids.
    pub layers: Vec<String>,
    /// `linux`.
    pub os: String,
    /// `amd64`, …
    pub architecture: String,
    /// `v8`, …
    pub variant: Option<String>,
    /// What is attested of it and is here: how it was made, what is in it.
    pub attestations: Vec<Attestation>,
}

/// A statement about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// What kind of predicate it has, by its address: `https://slsa.dev/provenance/v1`.
    pub predicate_type: String,
    /// The statement, which is a document of the store.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
}
