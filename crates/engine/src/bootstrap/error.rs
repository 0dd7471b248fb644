//! What can go wrong while an image is made from packages.

use std::io;
use std::path::PathBuf;

use debian::openpgp::SignatureError;
use debian::{Unresolved, deb};

use crate::Kind;

/// Why no image was made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum BootstrapError {
    #[error(
        "{system:?} is no system that can be made: wanted is debian:SUITE or ubuntu:SUITE, or --mirror and --keyring"
    )]
    UnknownSystem { system: String },
    #[error("{text:?} is no source: wanted is \"URL SUITE [COMPONENT…]\"")]
    Source { text: String },
    #[error("{url} is no address of an archive: wanted is http://, https:// or file:///")]
    Address { url: String },
    #[error("there are no packages for {platform}")]
    Platform { platform: String },
    #[error(
        "{seconds} seconds since 1970 lie in the future, or no time is meant: the image must be older than its making"
    )]
    FutureEpoch { seconds: i64 },
    #[error("the scripts of packages for {platform} do not run on this host; --variant distroless runs none")]
    ForeignScripts { platform: String },
    #[error("the scripts of packages ended with code {code}; the last they said:\n{said}")]
    Scripts { code: i32, said: String },
    #[error(
        "the scripts of packages have not ended within {} s, see --timeout; the last they said:\n{said}", limit.as_secs()
    )]
    SlowScripts { limit: std::time::Duration, said: String },
    #[error("the container of the packages' scripts was ended by somebody else; the last they said:\n{said}")]
    RoomGone { said: String },
    #[error("read the keyring {path}; install the package that has it, or name one by --keyring")]
    NoKeyring {
        path: PathBuf,
        #[source]
        source: linux::file::Error,
    },
    #[error("use the keyring {path}")]
    Keyring {
        path: PathBuf,
        #[source]
        source: SignatureError,
    },
    #[error("fetch {url}")]
    Fetch {
        url: String,
        #[source]
        source: Box<registry_client::Error>,
    },
    #[error("read {url}")]
    Read {
        url: String,
        #[source]
        source: io::Error,
    },
    #[error("{url} is not there")]
    NotThere { url: String },
    #[error("{url} answers with status {status}")]
    Status { url: String, status: u16 },
    #[error("{url} is longer than {limit} bytes")]
    TooLong { url: String, limit: u64 },
    #[error("trust {url}")]
    Signature {
        url: String,
        #[source]
        source: SignatureError,
    },
    #[error("understand {url}")]
    Index {
        url: String,
        #[source]
        source: debian::Error,
    },
    #[error("{url} is the Release file of {found}, not of {wanted}")]
    OtherSuite { url: String, wanted: String, found: String },
    #[error(
        "{url} was valid until {until}; --allow-expired takes it nevertheless, as one does with a snapshot"
    )]
    Expired { url: String, until: oci::Timestamp },
    #[error("{url} is from the future ({date}), or the clock of this host is behind")]
    FromTheFuture { url: String, date: oci::Timestamp },
    #[error("{url} lists no index of {component} for {architecture}")]
    NoIndex { url: String, component: String, architecture: String },
    #[error("{url} does not match what is signed: expected {expected}, got {got}")]
    Mismatch { url: String, expected: String, got: String },
    #[error("select packages")]
    Unresolved(#[source] Unresolved),
    #[error("read the package file of {package}")]
    PackageFile {
        package: String,
        #[source]
        source: deb::ReadError,
    },
    #[error("unpack {package}")]
    Unpack {
        package: String,
        #[source]
        source: image::Error,
    },
    #[error("unpack {package}")]
    Tar {
        package: String,
        #[source]
        source: image::tar::Error,
    },
    #[error("the package file of {package} cannot be used: {reason}")]
    Contents { package: String, reason: String },
    #[error("both {first} and {second} have the file {path}, and neither says that it replaces the other")]
    Clash { first: String, second: String, path: String },
    #[error("pass on the files of packages")]
    Stream(#[source] io::Error),
    #[error("keep package files")]
    File(#[source] linux::file::Error),
}

impl BootstrapError {
    /// What kind of failure it is.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            BootstrapError::UnknownSystem { .. }
            | BootstrapError::Source { .. }
            | BootstrapError::Address { .. }
            | BootstrapError::Platform { .. }
            | BootstrapError::ForeignScripts { .. }
            | BootstrapError::FutureEpoch { .. }
            | BootstrapError::Keyring { .. }
            | BootstrapError::Unresolved(_) => Kind::Invalid,
            BootstrapError::NoKeyring { .. }
            | BootstrapError::NotThere { .. }
            | BootstrapError::NoIndex { .. } => Kind::NotFound,
            BootstrapError::Signature { .. }
            | BootstrapError::OtherSuite { .. }
            | BootstrapError::Expired { .. }
            | BootstrapError::FromTheFuture { .. } => Kind::Unauthorized,
            BootstrapError::Fetch { .. } | BootstrapError::Read { .. } | BootstrapError::Status { .. } => {
                Kind::Unavailable
            }
            BootstrapError::TooLong { .. }
            | BootstrapError::Index { .. }
            | BootstrapError::Mismatch { .. }
            | BootstrapError::PackageFile { .. }
            | BootstrapError::Unpack { .. }
            | BootstrapError::Tar { .. }
            | BootstrapError::Contents { .. }
            | BootstrapError::Clash { .. }
            | BootstrapError::Scripts { .. }
            | BootstrapError::SlowScripts { .. }
            | BootstrapError::RoomGone { .. }
            | BootstrapError::Stream(_)
            | BootstrapError::File(_) => Kind::Internal,
        }
    }
}
