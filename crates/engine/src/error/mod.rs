//! What can go wrong in the engine, in words that scripts written for Docker understand.
//!
//! One enum for all verbs; what builds and `image bootstrap` fail with has its own, boxed in one variant each.

mod kind;

use std::path::PathBuf;

use oci::ContainerId;

pub use kind::Kind;

/// The outcome of a verb.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed verb. Where Docker's clients look for words in a message, the words are Docker's.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum Error {
    // What there is not.
    #[error("No such container: {name}")]
    NoSuchContainer { name: String },
    #[error("Could not find the file {path} in container {container}")]
    NoSuchPath { container: String, path: String },
    #[error("lstat {path}: no such file or directory")]
    NoLocalPath { path: String },
    #[error("invalid output path: directory \"{path}\" does not exist")]
    NoOutputDirectory { path: String },
    #[error("no such directory")]
    NoSuchDirectory,
    #[error("No such image: {name}")]
    NoSuchImage { name: String },
    #[error("Unable to find image '{name}' locally")]
    ImageNotHere { name: String },
    #[error("no matching manifest for {platform} in the manifest list entries of {name}")]
    NoMatchingManifest { platform: String, name: String },
    #[error("network {name} not found")]
    NoSuchNetwork { name: String },
    #[error("multiple IDs found with provided prefix: {prefix}")]
    AmbiguousPrefix { prefix: String },
    #[error(
        "error gathering device information while adding custom device \"{path}\": no such file or directory"
    )]
    NoSuchDevice { path: String },

    // What cannot be copied.
    #[error("{path}: not a directory")]
    NotADirectory { path: String },
    #[error("cannot copy directory")]
    CannotCopyDirectory,
    #[error("destination \"{place}\" must be a directory")]
    MustBeDirectory { place: String },
    #[error("destination \"{place}\" must be a directory or a regular file")]
    MustBeDirectoryOrFile { place: String },
    #[error("copy to or from container {container}")]
    Copy {
        container: String,
        #[source]
        source: monitor::Error,
    },

    // What there is no thread for.
    #[error(transparent)]
    Thread(#[from] linux::thread::Refused),

    // What cannot be made from packages.
    #[error("make an image from packages")]
    Bootstrap(#[source] Box<crate::BootstrapError>),

    // What cannot be built.
    #[error(transparent)]
    Build(Box<crate::build::BuildError>),

    // What the state does not allow.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{by}\". You have to remove (or \
         rename) that container to be able to reuse that name."
    )]
    NameTaken { name: String, by: ContainerId },
    #[error(
        "{} is where things run for the root {}: name another folder for this one (--run, SKIFF_RUN)",
        run.display(), root.display()
    )]
    RunFolderTaken { run: PathBuf, root: PathBuf },
    #[error(
        "the root {} is in use with the run folder {}: name that one (--run, SKIFF_RUN), or stop there first what runs",
        root.display(), run.display()
    )]
    RootTaken { root: PathBuf, run: PathBuf },
    #[error(
        "cannot remove container \"{name}\": container is {state}: stop the container before removing or force remove"
    )]
    ContainerRunning { name: String, state: &'static str },
    #[error("Conflict, cannot remove the default link name of the container")]
    DefaultLink,
    #[error("removal of container {name} is already in progress")]
    RemovalInProgress { name: String },
    #[error("container is marked for removal and cannot be started")]
    RemovedToStart,
    #[error("Cannot update container {id}: container is marked for removal and cannot be \"update\"")]
    RemovedToUpdate { id: ContainerId },
    #[error("can not get logs from container which is dead or marked for deletion")]
    RemovedToRead,
    #[error("You cannot {action} container {id} which is {state}")]
    Removed { action: &'static str, id: ContainerId, state: &'static str },
    #[error("cannot kill container: {name}: container {id} is not running")]
    KillNotRunning { name: String, id: ContainerId },
    #[error("container {id} is not running")]
    NotRunning { id: ContainerId },
    #[error("container {name} is paused, unpause the container before {action}")]
    Paused { name: String, action: &'static str },
    #[error("Container {id} is restarting, wait until the container is running")]
    Restarting { id: ContainerId },
    #[error("Container {id} is already paused")]
    AlreadyPaused { id: ContainerId },
    #[error("Container {id} is not paused")]
    NotPaused { id: ContainerId },
    #[error("cannot join the {kind} namespace of container {name}: it is not running")]
    JoinNotRunning { kind: &'static str, name: String },
    #[error("cannot join IPC of container {name}: its IPC mode is {mode}: start it with --ipc shareable")]
    IpcNotShareable { name: String, mode: String },
    #[error("cannot join namespaces of containers that have different user namespaces")]
    JoinsSeveral,
    #[error("container {name} joins the namespaces of one that, in the end, joins its own")]
    CircularJoin { name: String },
    #[error("{reason}")]
    ConflictingUpdate { reason: &'static str },
    #[error("container {id} was removed while it was started")]
    RemovedMeanwhile { id: ContainerId },
    #[error(
        "conflict: unable to remove repository reference \"{reference}\" (must force) - container {container} is \
         using its referenced image {image}"
    )]
    TagInUse { reference: String, container: String, image: String },
    #[error(
        "conflict: unable to delete {image} (must be forced) - image is referenced in multiple repositories"
    )]
    SeveralTags { image: String },
    #[error(
        "conflict: unable to delete {image} (cannot be forced) - image is being used by running container {container}"
    )]
    ImageRunning { image: String, container: String },
    #[error(
        "conflict: unable to delete {image} (must be forced) - image is being used by stopped container {container}"
    )]
    ImageUsed { image: String, container: String },

    // What is wrong in itself.
    #[error("{flag}: invalid mode: {text}")]
    InvalidMode { flag: &'static str, text: String },
    #[error("invalid size: {text}")]
    InvalidSize { text: String },
    #[error("invalid number of CPUs: {text}")]
    InvalidCpus { text: String },
    #[error("invalid volume specification: {text}: {reason}")]
    InvalidVolume { text: String, reason: &'static str },
    #[error("invalid device specification: {text}: want /host/path[:/container/path][:rwm]")]
    InvalidDevice { text: String },
    #[error("invalid device cgroup format '{text}': want a kind, numbers and access, such as c 10:200 rwm")]
    InvalidDeviceRule { text: String },
    #[error("bad format: {text}: {reason}")]
    InvalidDeviceRate { text: String, reason: &'static str },
    #[error("{path} is not a device node")]
    NotADevice { path: String },
    #[error(transparent)]
    NamedDevice(#[from] crate::DeviceError),
    #[error("{path} is not a block device")]
    NotABlockDevice { path: String },
    #[error("invalid ulimit {text}: {reason}")]
    InvalidUlimit { text: String, reason: &'static str },
    #[error("invalid --security-opt: {text}")]
    InvalidSecurityOption { text: String },
    #[error("invalid capability: {text:?}")]
    UnknownCapability { text: String },
    #[error("{reason}")]
    InvalidLimit { reason: String },
    #[error("sysctl '{name}' {reason}")]
    InvalidSysctl { name: String, reason: &'static str },
    #[error("invalid mount {target}: {reason}")]
    InvalidMount { target: String, reason: &'static str },
    #[error("Duplicate mount point: {target}")]
    DuplicateMount { target: String },
    #[error("invalid tmpfs option for {target}: {option}")]
    InvalidTmpfs { target: String, option: String },
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {path}")]
    NoBindSource { path: String },
    #[error("Invalid signal: {text}")]
    InvalidSignal { text: String },
    #[error("invalid user or group: {text}: want a name or a number below 2147483648")]
    InvalidUser { text: String },
    #[error("the working directory '{path}' is invalid, it needs to be an absolute path")]
    InvalidWorkdir { path: String },
    #[error("invalid environment variable: {text}")]
    InvalidVariable { text: String },
    #[error("{what} holds a NUL character: {text}")]
    HoldsNul { what: &'static str, text: String },
    #[error("invalid {what} format: {name}")]
    InvalidHostname { what: &'static str, name: String },
    #[error("conflicting options: {options}")]
    Conflicting { options: &'static str },
    #[error("Invalid value {value}, range for oom score adj is [-1000, 1000]")]
    InvalidOomScore { value: i32 },
    #[error("{reason}")]
    InvalidRestartPolicy { reason: String },
    #[error("{reason}")]
    InvalidHealthcheck { reason: String },
    #[error("invalid stop timeout: want seconds, or -1 to wait for ever")]
    InvalidStopTimeout,
    #[error("invalid cgroup parent {path}: want a path below the hierarchy's root, not a systemd slice")]
    InvalidCgroupParent { path: String },
    #[error("--drift needs root: the kernel lets nobody else ask before programs are executed")]
    DriftNeedsRoot,
    #[error("unknown storage option: {name}: only size is known")]
    UnknownStorageOption { name: String },
    #[error(
        "invalid size of the writable layer: {text}: want at least 1m and at most 15t, or 0 for no limit"
    )]
    QuotaSize { text: String },
    #[error(
        "--storage-opt size needs root: the kernel lets nobody else set a quota or mount a file system; without root, keep \
         what is written on a --tmpfs with a size, or --root on a file system of its own"
    )]
    QuotaNeedsRoot,
    #[error("invalid logging options")]
    Logging { source: crate::plan::LogError },
    #[error("no command specified")]
    NoCommand,
    #[error("invalid platform {text}")]
    InvalidPlatform {
        text: String,
        #[source]
        source: oci::Error,
    },
    #[error(
        "image with reference {image} was found but does not provide the specified platform ({wanted}): it is for {found}"
    )]
    WrongPlatform { image: String, wanted: String, found: String },
    #[error("invalid reference format: {text}")]
    InvalidReference {
        text: String,
        #[source]
        source: oci::Error,
    },
    #[error("refusing to create a tag with a digest reference: {text}")]
    TagWithDigest { text: String },
    #[error("Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    InvalidName { text: String },
    #[error("read the seccomp profile")]
    InvalidSeccomp(#[source] runtime::seccomp::ProfileError),

    #[error("Neither old nor new names may be empty")]
    EmptyName,
    #[error("Renaming a container with the same name as its current name")]
    SameName,
    #[error("ps: unknown column: {name}")]
    ProcessColumn { name: String },
    #[error("ps: {text} {reason}")]
    ProcessOption { text: String, reason: &'static str },

    // What this version or this host cannot do.
    #[error("network {name}: bridge networks come with a later version of Skiff; use none or host")]
    NetworkUnsupported { name: String },
    #[error(
        "{text}: named and anonymous volumes come with a later version of Skiff; bind a directory by its absolute path"
    )]
    VolumeUnsupported { text: String },
    #[error("--security-opt {text}: this host has no such security module")]
    SecurityOptionUnsupported { text: String },
    #[error("configured logging driver does not support reading")]
    NoLog,

    // What failed on the way.
    #[error("keep the state")]
    State(#[source] state::Error),
    #[error("{action}")]
    Image {
        action: &'static str,
        #[source]
        source: image::Error,
    },
    #[error("{action}")]
    Layers {
        action: &'static str,
        #[source]
        source: runtime::Error,
    },
    #[error("{action}")]
    Lent {
        action: &'static str,
        #[source]
        source: monitor::Error,
    },
    #[error("read the configuration of image {id}")]
    ImageConfig {
        id: String,
        #[source]
        source: oci::Error,
    },
    #[error("refusing to amend an existing manifest list with no --amend flag")]
    ListExists,
    #[error("No such manifest: {name}")]
    NoSuchList { name: String },
    #[error("no such manifest: {name}")]
    NoSuchManifest {
        name: String,
        #[source]
        source: Box<registry_client::Error>,
    },
    #[error("manifest for image {manifest} does not exist in {list}")]
    NotInList { manifest: String, list: String },
    #[error("manifest entry for image has unsupported os/arch combination: {platform}")]
    UnknownPlatform { platform: String },
    #[error(
        "manifest {manifest} must have an OS and Architecture to be pushed to a registry: give it them by 'manifest annotate'"
    )]
    NoPlatform { manifest: String },
    #[error("the manifest of {name}")]
    BadManifest {
        name: String,
        #[source]
        source: oci::Error,
    },
    #[error("the statement {digest} is none of in-toto's")]
    BadStatement { digest: String },
    #[error("write a manifest list")]
    WriteList {
        #[source]
        source: serde_json::Error,
    },
    #[error("--platform can't be used with --all-platforms")]
    AllOfOnePlatform,
    #[error(
        "{name}: it is made for more than {limit} platforms: fetch those that are needed with --platform"
    )]
    TooManyPlatforms { name: String, limit: usize },
    #[error("tag can't be used with --all-tags/-a")]
    AllOfOneTag,
    #[error("An image does not exist locally with the tag: {name}")]
    NotTagged { name: String },
    #[error("tag does not exist: {name}")]
    NoSuchTag { name: String },
    #[error("cannot push a digest reference")]
    PushOfDigest,
    #[error("{name} is not an image but {kind}")]
    NotAnImage { name: String, kind: String },
    #[error("{name}: indexes lie more than {limit} deep in each other")]
    IndexTooDeep { name: String, limit: usize },
    #[error("{action} {name}")]
    Registry {
        action: &'static str,
        name: String,
        #[source]
        source: Box<registry_client::Error>,
    },
    #[error("start container {id}")]
    Start {
        id: ContainerId,
        #[source]
        source: monitor::Error,
    },
    #[error("{action} container {id}")]
    Monitor {
        action: &'static str,
        id: ContainerId,
        #[source]
        source: monitor::Error,
    },
    #[error("{action}")]
    Cgroup {
        action: &'static str,
        #[source]
        source: cgroup::Error,
    },
    #[error("{action}")]
    File {
        action: &'static str,
        #[source]
        source: linux::file::Error,
    },
    #[error("read the record of container {id}")]
    Record {
        id: ContainerId,
        #[source]
        source: serde_json::Error,
    },
    #[error("{action} {}", path.display())]
    System {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl From<crate::build::BuildError> for Error {
    fn from(source: crate::build::BuildError) -> Error {
        Error::Build(Box::new(source))
    }
}

impl From<crate::BootstrapError> for Error {
    fn from(source: crate::BootstrapError) -> Error {
        Error::Bootstrap(Box::new(source))
    }
}

/// State errors that a user caused keep their own words; all others are failures of ours.
impl From<state::Error> for Error {
    fn from(source: state::Error) -> Error {
        if let state::Error::NameTaken { name, by } = source {
            return Error::NameTaken { name, by };
        }
        if let state::Error::NoImage { id } = source {
            return Error::NoSuchImage { name: id };
        }
        Error::State(source)
    }
}
