//! A build, as a front end parsed it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

pub use git::SshProgram;
use oci::Timestamp;

use super::{Pull, Ulimit, parse_bool};

/// Images to build of one Dockerfile (`skiff build`).
#[derive(Debug, Default)]
pub struct Build {
    /// The main context.
    pub context: BuildContext,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// `--build-context`: contexts by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// `--target`; the last stage if none.
    pub target: Option<String>,
    /// `--build-arg`.
    pub arguments: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--annotation`, as written: `[type:]key=value`.
    pub annotations: Vec<String>,
    /// `--platform`, each as `os[/architecture[/variant]]`; the host's if none.
    pub platforms: Vec<String>,
    /// `-t`: names of the image.
    pub tags: Vec<String>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--no-cache-filter`: stages that are made anew.
    pub no_cache_filter: BTreeSet<String>,
    /// `--cache-from`, `--cache-to`: key-value pairs of each.
    pub cache_from: Vec<Fields>,
    /// See `cache_from`.
    pub cache_to: Vec<Fields>,
    /// `--cache-mounts-from`, `--cache-mounts-to`: key-value pairs of each.
    pub cache_mounts_from: Vec<Fields>,
    /// See `cache_mounts_from`.
    pub cache_mounts_to: Vec<Fields>,
    /// `-o`: key-value pairs of each; the image store if there is none.
    pub outputs: Vec<Fields>,
    /// Where an output goes that says `dest=-`.
    pub output: Option<OwnedFd>,
    /// `--pull`.
    pub pull: Pull,
    /// `--secret`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`: sockets of agents, by id.
    pub agents: BTreeMap<String, PathBuf>,
    /// How repositories are reached over ssh. The agent `default` serves those that anybody names; without it this serves those of
    /// contexts that the caller has named.
    pub ssh: CallersSsh,
    /// `--network` of programs that ask for none of their own.
    pub network: BuildNetwork,
    /// `--add-host`, each `name:address`.
    pub extra_hosts: Vec<String>,
    /// `--allow`: what a Dockerfile may ask for beyond the usual.
    pub entitlements: BTreeSet<Entitlement>,
    /// Limits of each program.
    pub limits: BuildLimits,
    /// `--attest`, `--provenance`, `--sbom`, as the front end merged them: key-value pairs by type.
    pub attestations: BTreeMap<String, Fields>,
    /// Whether the result tells how it was made (`--metadata-file`).
    pub tells_provenance: bool,
    /// What the caller says of the context's commit and where it came from; nobody checks it.
    pub vcs: BTreeMap<String, String>,
    /// Times in what is made are no later than this, and times of what is not a file are this. None: as `--build-arg
    /// SOURCE_DATE_EPOCH`, or times are left out where they can be.
    pub source_date_epoch: Option<Timestamp>,
    /// Programs that run at once; 32 if none, whatever the number of processors, for most programs of builds wait.
    pub parallel: Option<usize>,
    /// Whether the checks that a Dockerfile fails end the build (`--lint=error`).
    pub strict: bool,
}

impl Build {
    /// The latest time in what is made: as it is asked for, else by the argument that Dockerfiles know it by.
    pub(crate) fn epoch(&self) -> Option<Timestamp> {
        self.source_date_epoch.or_else(|| Self::time_of(self.arguments.get(EPOCH)?))
    }

    /// Seconds since 1970.
    pub(crate) fn time_of(text: &str) -> Option<Timestamp> {
        Timestamp::new(text.trim().parse().ok()?, 0)
    }

    /// What programs are told that their host is called, if the builder's own name is not to be that.
    pub(crate) fn hostname(&self) -> Option<&str> {
        self.arguments.get("BUILDKIT_SANDBOX_HOSTNAME").map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Whether what is made is one of several platforms' even where there is one: an index, and folders by platform
    /// (`BUILDKIT_MULTI_PLATFORM`). `None` where the number of platforms decides.
    ///
    /// # Errors
    /// The text, if it says neither.
    pub(crate) fn multi_platform(&self) -> Result<Option<bool>, &str> {
        match self.arguments.get("BUILDKIT_MULTI_PLATFORM").filter(|text| !text.is_empty()) {
            Some(text) => parse_bool(text).map(Some).ok_or(text),
            None => Ok(None),
        }
    }

    /// Whether an argument asks for what `--cache-to type=inline` does.
    pub(crate) fn wants_inline_cache(&self) -> bool {
        self.arguments.get("BUILDKIT_INLINE_CACHE").is_some_and(|text| parse_bool(text) == Some(true))
    }
}

/// Seconds since 1970 (reproducible-builds.org, SOURCE_DATE_EPOCH).
pub(crate) const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Key-value pairs of a flag: `type=local,dest=out`.
pub type Fields = Vec<(String, String)>;

/// The caller's own ssh, with his keys and his configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallersSsh {
    /// What leads to servers.
    pub program: SshProgram,
    /// Whether it is the caller himself who has named the contexts, not a file of somebody else's.
    pub serves_contexts: bool,
}

/// The files that a build may use.
#[derive(Debug, Default)]
pub enum BuildContext {
    /// None.
    #[default]
    Empty,
    /// A directory.
    Directory(PathBuf),
    /// A tar, compressed or not, or a Dockerfile alone.
    Stream(OwnedFd),
    /// A repository, with `#ref:subdirectory`, or the URL of a tar or a Dockerfile.
    Remote(String),
}

/// Where the Dockerfile is.
#[derive(Debug, Default)]
pub enum DockerfileSource {
    /// `Dockerfile` of the context (or `dockerfile`, or `Containerfile`), or another path below its root.
    #[default]
    Default,
    /// A path in the context.
    InContext(String),
    /// A file of the caller, outside of the context; its name decides the name of the ignore file.
    File(PathBuf),
    /// A text.
    Text(Vec<u8>),
}

/// A context by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory.
    Directory(PathBuf),
    /// An image: `docker-image://…`.
    Image(String),
    /// An image in an OCI layout: `oci-layout://…`.
    Layout {
        /// The layout.
        directory: PathBuf,
        /// Which of its entries: `tag`, `@digest` or both; the usual one if none.
        entry: Option<String>,
    },
    /// A repository or a URL.
    Remote(String),
    /// What another build of the same command makes, by its name ([`crate::Engine::build_together`]): `target:…` of a bake file.
    Made(String),
}

/// A secret. Its value is read when a build begins, and shown nowhere.
#[derive(Clone)]
#[allow(dead_code, reason = "the runs that read it come next")]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// With this value.
    #[must_use]
    pub fn new(value: &[u8]) -> Self {
        Self(value.into())
    }

    /// The value.
    #[allow(dead_code, reason = "the runs that read it come next")]
    pub(crate) fn value(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The network of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildNetwork {
    /// The one that programs of builds have.
    #[default]
    Default,
    /// Its loopback alone.
    None,
    /// The host's.
    Host,
}

/// What a Dockerfile may ask for beyond the usual.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `network.host`.
    NetworkHost,
    /// `security.insecure`.
    SecurityInsecure,
    /// `device[=name]`.
    Device(String),
}

/// Limits of each program of a build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildLimits {
    /// `--memory`, in bytes.
    pub memory: Option<u64>,
    /// `--memory-swap`, in bytes; -1 for none.
    pub memory_swap: Option<i64>,
    /// `--cpus`, in billionths.
    pub nano_cpus: Option<u64>,
    /// `--cpu-shares`.
    pub cpu_shares: Option<u64>,
    /// `--cpu-period`, `--cpu-quota`, in microseconds.
    pub cpu_period: Option<u64>,
    /// See `cpu_period`.
    pub cpu_quota: Option<i64>,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`.
    pub pids: Option<i64>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--shm-size`, in bytes.
    pub shm_size: Option<u64>,
    /// `--cgroup-parent`.
    pub cgroup_parent: Option<String>,
    /// How much of what it says is passed on.
    pub output: OutputLimits,
}

/// How much of each stream of a program is passed on. What is beyond it is left out, but for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Bytes in all.
    pub size: Option<u64>,
    /// Bytes for each second that it has run.
    pub speed: Option<u64>,
}

impl Default for OutputLimits {
    /// As much in all as with BuildKit, as fast as it comes.
    fn default() -> OutputLimits {
        OutputLimits { size: Some(2 << 20), speed: None }
    }
}
