//! Mounts of RUN: as written, and as they are once their variables are replaced.

use super::Text;
use crate::source::Span;

/// `--mount=…` as written. Its values may hold variables, even the type's, so that what it is, is known only where
/// those are; see [`crate::parse::resolve_mount`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// Its fields in order: names in lower case, values if there is a `=`, and the field as written.
    pub fields: Vec<(String, Option<String>, String)>,
    /// `from`, in which variables are not allowed.
    pub from: Option<String>,
    /// The flag's place.
    pub span: Span,
}

impl MountFlag {
    /// `from` with its place.
    #[must_use]
    pub fn from_text(&self) -> Option<Text> {
        self.from.as_ref().map(|from| Text::new(from.clone(), self.span))
    }
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where; relative to the working directory. Empty for secrets and agents at their default places.
    pub target: String,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// What.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image. What is written is lost with the RUN.
    Bind {
        /// Whose; none for the context.
        from: Option<String>,
        /// Which of its directories or files.
        source: String,
    },
    /// A directory that is kept for later builds.
    Cache {
        /// Its name; the target's path if none is given.
        id: String,
        /// With what it begins; nothing if none.
        from: Option<String>,
        /// Which directory of that.
        source: String,
        /// What several RUNs do that want it at once.
        sharing: Sharing,
        /// Whose it is when it is made: 0755 root by default.
        identity: Identity,
    },
    /// Memory.
    Tmpfs {
        /// The most bytes.
        size: Option<u64>,
    },
    /// A secret, as a file, a variable or both.
    Secret {
        /// Its name.
        id: String,
        /// Whether it is a file; else a variable alone.
        file: bool,
        /// The variable.
        env: Option<String>,
        /// Whether its absence is an error.
        required: bool,
        /// The file's: 0400 root by default.
        identity: Identity,
    },
    /// The socket of an agent.
    Ssh {
        /// Its name.
        id: String,
        /// Whether its absence is an error.
        required: bool,
        /// The socket's: 0600 root by default.
        identity: Identity,
    },
}

/// Mode and owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Permission bits.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What several RUNs do that want one cache at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Use it together.
    #[default]
    Shared,
    /// Each gets one of its own.
    Private,
    /// One waits for the other.
    Locked,
}
