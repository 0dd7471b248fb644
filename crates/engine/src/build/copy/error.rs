//! Why files of a build cannot be read or copied.

use std::io;

use crate::Kind;

/// What is wrong. Where scripts look for BuildKit's words, they are these.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum CopyError {
    #[error("failed to compute cache key: failed to calculate checksum of ref {reference}")]
    Checksum {
        reference: String,
        #[source]
        source: Box<CopyError>,
    },
    #[error("{path:?}: not found")]
    NotFound { path: String },
    #[error("read the context {name}")]
    Context {
        name: String,
        #[source]
        source: linux::file::Error,
    },
    #[error("{action} {path} in {name}")]
    Read {
        action: &'static str,
        path: String,
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("{path} changed while it was read: build again when nobody writes to the context")]
    Changed { path: String },
    #[error("{path} is a socket, which cannot be copied")]
    Socket { path: String },
    #[error("{path} is not a regular file")]
    NoFile { path: String },
    #[error("{path} is larger than {limit} bytes")]
    LargeFile { path: String, limit: u64 },
    #[error("{path}: too many levels of symbolic links")]
    Links { path: String },
    #[error("{message}")]
    Pattern { message: String },
    #[error("cannot copy to non-directory: {path}")]
    ToNonDirectory { path: String },
    #[error("cannot replace to directory {path} with file")]
    OverDirectory { path: String },
    #[error("mkdir {path}: not a directory")]
    Mkdir { path: String },
    #[error("{message}")]
    Owner { message: String },
    #[error("invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777")]
    Mode { mode: String },
    #[error("{path} cannot be part of a layer: {reason}")]
    Name { path: String, reason: &'static str },
    #[error("more than {limit} files in one layer")]
    ManyFiles { limit: u64 },
    #[error("unpack {path}")]
    Archive {
        path: String,
        #[source]
        source: Box<image::Error>,
    },
    #[error("the context from standard input is neither a tar nor a Dockerfile")]
    Stream,
}

impl CopyError {
    /// What kind of failure it is.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Checksum { source, .. } => source.kind(),
            Self::Read { source, .. } if source.kind() != io::ErrorKind::PermissionDenied => Kind::Internal,
            Self::Changed { .. } => Kind::Conflict,
            Self::NotFound { .. }
            | Self::Context { .. }
            | Self::Read { .. }
            | Self::Socket { .. }
            | Self::NoFile { .. }
            | Self::LargeFile { .. }
            | Self::Links { .. }
            | Self::Pattern { .. }
            | Self::ToNonDirectory { .. }
            | Self::OverDirectory { .. }
            | Self::Mkdir { .. }
            | Self::Owner { .. }
            | Self::Mode { .. }
            | Self::Name { .. }
            | Self::ManyFiles { .. }
            | Self::Archive { .. }
            | Self::Stream => Kind::Invalid,
        }
    }
}

impl From<CopyError> for crate::Error {
    fn from(source: CopyError) -> Self {
        crate::build::BuildError::from(source).into()
    }
}
