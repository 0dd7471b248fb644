//! Which kind a failure is of, and which exit code Docker gives it: all that a front end needs to know of one besides its words.

use std::io::ErrorKind;

use super::Error;

/// What kind of failure it is: closed, so that every front end can map it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No such container, image, …
    NotFound,
    /// The state does not allow it, or a name is taken.
    Conflict,
    /// The request is wrong in itself.
    Invalid,
    /// The caller may not do it.
    Unauthorized,
    /// Not now: locked, full, gone.
    Unavailable,
    /// Not in this version, or not on this host.
    Unsupported,
    /// Everything else.
    Internal,
}

impl Error {
    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::NoSuchContainer { .. }
            | Error::NoSuchPath { .. }
            | Error::NoLocalPath { .. }
            | Error::NoOutputDirectory { .. }
            | Error::NoSuchDirectory
            | Error::NoSuchImage { .. }
            | Error::NotTagged { .. }
            | Error::NoSuchTag { .. }
            | Error::ImageNotHere { .. }
            | Error::NoMatchingManifest { .. }
            | Error::NoSuchList { .. }
            | Error::NoSuchManifest { .. }
            | Error::NotInList { .. }
            | Error::NoSuchNetwork { .. } => Kind::NotFound,
            Error::NameTaken { .. }
            | Error::RunFolderTaken { .. }
            | Error::RootTaken { .. }
            | Error::ContainerRunning { .. }
            | Error::DefaultLink
            | Error::RemovalInProgress { .. }
            | Error::RemovedToStart
            | Error::RemovedToUpdate { .. }
            | Error::RemovedToRead
            | Error::Removed { .. }
            | Error::KillNotRunning { .. }
            | Error::NotRunning { .. }
            | Error::Paused { .. }
            | Error::Restarting { .. }
            | Error::AlreadyPaused { .. }
            | Error::NotPaused { .. }
            | Error::JoinNotRunning { .. }
            | Error::IpcNotShareable { .. }
            | Error::JoinsSeveral
            | Error::CircularJoin { .. }
            | Error::ConflictingUpdate { .. }
            | Error::RemovedMeanwhile { .. }
            | Error::TagInUse { .. }
            | Error::ListExists
            | Error::SeveralTags { .. }
            | Error::ImageRunning { .. }
            | Error::ImageUsed { .. } => Kind::Conflict,
            Error::NetworkUnsupported { .. }
            | Error::VolumeUnsupported { .. }
            | Error::SecurityOptionUnsupported { .. }
            | Error::DriftNeedsRoot
            | Error::QuotaNeedsRoot
            | Error::NoLog => Kind::Unsupported,
            Error::State(source) => of_state(source),
            Error::Bootstrap(source) => source.kind(),
            Error::Build(source) => source.kind(),
            Error::Registry { source, .. } => of_registry(source),
            Error::Start { source, .. } | Error::Monitor { source, .. } | Error::Copy { source, .. } => {
                of_monitor(source)
            }
            Error::File { source, .. } => of_io(source.kind()),
            Error::System { source, .. } => of_io(source.kind()),
            Error::Thread(_) => Kind::Unavailable,
            Error::Image { .. }
            | Error::Layers { .. }
            | Error::Lent { .. }
            | Error::ImageConfig { .. }
            | Error::Cgroup { .. }
            | Error::WriteList { .. }
            | Error::Record { .. } => Kind::Internal,
            Error::AmbiguousPrefix { .. }
            | Error::AllOfOneTag
            | Error::AllOfOnePlatform
            | Error::PushOfDigest
            | Error::UnknownPlatform { .. }
            | Error::NoPlatform { .. }
            | Error::BadManifest { .. }
            | Error::BadStatement { .. }
            | Error::NotAnImage { .. }
            | Error::IndexTooDeep { .. }
            | Error::TooManyPlatforms { .. }
            | Error::NotADirectory { .. }
            | Error::CannotCopyDirectory
            | Error::MustBeDirectory { .. }
            | Error::MustBeDirectoryOrFile { .. }
            | Error::NoSuchDevice { .. }
            | Error::InvalidMode { .. }
            | Error::InvalidSize { .. }
            | Error::InvalidCpus { .. }
            | Error::InvalidVolume { .. }
            | Error::InvalidDevice { .. }
            | Error::InvalidDeviceRule { .. }
            | Error::InvalidDeviceRate { .. }
            | Error::NotADevice { .. }
            | Error::NamedDevice(_)
            | Error::NotABlockDevice { .. }
            | Error::InvalidUlimit { .. }
            | Error::InvalidSecurityOption { .. }
            | Error::UnknownCapability { .. }
            | Error::InvalidLimit { .. }
            | Error::InvalidSysctl { .. }
            | Error::InvalidMount { .. }
            | Error::DuplicateMount { .. }
            | Error::InvalidTmpfs { .. }
            | Error::NoBindSource { .. }
            | Error::InvalidSignal { .. }
            | Error::InvalidUser { .. }
            | Error::InvalidWorkdir { .. }
            | Error::InvalidVariable { .. }
            | Error::HoldsNul { .. }
            | Error::InvalidHostname { .. }
            | Error::Conflicting { .. }
            | Error::InvalidOomScore { .. }
            | Error::InvalidStopTimeout
            | Error::UnknownStorageOption { .. }
            | Error::QuotaSize { .. }
            | Error::InvalidRestartPolicy { .. }
            | Error::InvalidHealthcheck { .. }
            | Error::InvalidCgroupParent { .. }
            | Error::Logging { .. }
            | Error::NoCommand
            | Error::InvalidPlatform { .. }
            | Error::WrongPlatform { .. }
            | Error::InvalidReference { .. }
            | Error::TagWithDigest { .. }
            | Error::InvalidName { .. }
            | Error::EmptyName
            | Error::SameName
            | Error::ProcessColumn { .. }
            | Error::ProcessOption { .. }
            | Error::InvalidSeccomp(_) => Kind::Invalid,
        }
    }

    /// Docker's exit code of a program that could not be started: 126, 127 or 128; missing when that is not what
    /// failed.
    pub fn exit_code(&self) -> Option<i32> {
        if let Error::Start { source, .. } | Error::Monitor { source, .. } = self {
            source.exit_code()
        } else {
            None
        }
    }
}

fn of_state(error: &state::Error) -> Kind {
    match error {
        state::Error::Locked { .. } | state::Error::Full { .. } | state::Error::NoRange { .. } => {
            Kind::Unavailable
        }
        state::Error::ReadOnly { .. } => Kind::Unauthorized,
        state::Error::Newer { .. } => Kind::Unsupported,
        state::Error::NameTaken { .. } => Kind::Conflict,
        state::Error::NoImage { .. } => Kind::NotFound,
        state::Error::Open { .. }
        | state::Error::Damaged { .. }
        | state::Error::Statement { .. }
        | state::Error::Malformed { .. }
        | state::Error::File { .. } => Kind::Internal,
    }
}

fn of_registry(error: &registry_client::Error) -> Kind {
    use registry_client::Error as Of;
    if matches!(error, Of::NotFound { .. }) {
        Kind::NotFound
    } else if matches!(error, Of::Unauthorized { .. }) {
        Kind::Unauthorized
    } else if matches!(
        error,
        Of::Connect { .. } | Of::Exchange { .. } | Of::RateLimit { .. } | Of::Status { .. }
    ) {
        Kind::Unavailable
    } else {
        Kind::Internal
    }
}

fn of_monitor(error: &monitor::Error) -> Kind {
    let refused = matches!(
        error,
        monitor::Error::AlreadyRunning | monitor::Error::NotRunning | monitor::Error::Refused(_)
    );
    if refused {
        Kind::Conflict
    } else if matches!(error, monitor::Error::Gone) {
        Kind::Unavailable
    } else if error.exit_code().is_some_and(|code| code != 128) {
        Kind::Invalid
    } else {
        Kind::Internal
    }
}

fn of_io(kind: ErrorKind) -> Kind {
    if kind == ErrorKind::PermissionDenied {
        Kind::Unauthorized
    } else if kind == ErrorKind::StorageFull {
        Kind::Unavailable
    } else if kind == ErrorKind::NotFound {
        Kind::NotFound
    } else {
        Kind::Internal
    }
}
