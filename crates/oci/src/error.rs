//! What can be wrong with a value from outside.

/// The result of parsing.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a value was refused. Quoted input is cut to a printable length.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A digest that breaks the grammar or lies about its algorithm.
    #[error("digest {text:?}: {reason}")]
    Digest {
        /// The refused text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Content that does not have the digest it was named by.
    #[error("content has digest {found}, expected {expected}")]
    DigestMismatch {
        /// The name.
        expected: String,
        /// The truth.
        found: String,
    },
    /// An image reference.
    #[error("image reference {text:?}: {reason}")]
    Reference {
        /// The refused text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A platform.
    #[error("platform {text:?}: {reason}")]
    Platform {
        /// The refused text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A point in time.
    #[error("time {text:?}: not an RFC 3339 time")]
    Timestamp {
        /// The refused text.
        text: String,
    },
    /// A container name.
    #[error("container name {text:?}: {reason}")]
    ContainerName {
        /// The refused text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A container id.
    #[error("container id {text:?}: expected 64 lowercase hexadecimal digits")]
    ContainerId {
        /// The refused text.
        text: String,
    },
    /// An exposed port.
    #[error("exposed port {text:?}: expected PORT[-PORT][/tcp|udp|sctp]")]
    ExposedPort {
        /// The refused text.
        text: String,
    },
    /// A document that is not well-formed JSON of its kind.
    #[error("decode {kind}")]
    Json {
        /// Which document: `image manifest`, `image config`, ...
        kind: &'static str,
        /// Where and why decoding stopped.
        #[source]
        source: serde_json::Error,
    },
    /// A document that is larger than its kind may be.
    #[error("{kind} of {size} bytes is larger than {limit} bytes")]
    TooLarge {
        /// Which document.
        kind: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A well-formed document that must not be used.
    #[error("{kind}: {reason}")]
    Document {
        /// Which document.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// The beginning of `text`, short enough to be quoted in an error.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 120;
    if text.chars().count() <= LIMIT {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(LIMIT).collect();
    cut.push('…');
    cut
}
