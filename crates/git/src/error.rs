//! What can go wrong between a repository and its files.

use std::io;

/// The outcome of an attempt on a repository.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an attempt failed. Quoted text of a stranger's is cut to a printable length.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What follows is of one repository.
    #[error("fetch {remote}")]
    Fetch {
        /// The repository, without credentials.
        remote: String,
        /// What went wrong.
        #[source]
        source: Box<Error>,
    },
    /// What follows is of a submodule.
    #[error("submodule {path:?}")]
    Submodule {
        /// Its path in the repository above it.
        path: String,
        /// What went wrong.
        #[source]
        source: Box<Error>,
    },
    /// A repository that is not fetched from.
    #[error("repository {remote:?}: {reason}")]
    Remote {
        /// As it is named, without credentials.
        remote: String,
        /// Why not.
        reason: &'static str,
    },
    /// Something that should be the name of an object.
    #[error("{text:?} is no object's name: 40 or 64 hexadecimal digits")]
    Id {
        /// What it is.
        text: String,
    },
    /// The server cannot be asked, or does not let us.
    #[error("{doing}{}", if *wants_credential { "; a private repository needs the secret GIT_AUTH_TOKEN or GIT_AUTH_HEADER" } else { "" })]
    Http {
        /// What we were doing.
        doing: &'static str,
        /// Whether it may be that a secret is missing.
        wants_credential: bool,
        /// Why it failed.
        #[source]
        source: Box<registry_client::Error>,
    },
    /// What is reached by the user's keys alone, for whoever may not use them.
    #[error(
        "{} uses your keys of ssh only if the build is given your agent, by --ssh default",
        if *is_submodule { "a submodule" } else { "what a Dockerfile or a bake file names" }
    )]
    Keys {
        /// Whether it is a submodule.
        is_submodule: bool,
    },
    /// The program that leads to servers cannot be started.
    #[error("start {program}, which leads to servers of ssh")]
    Program {
        /// It.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It does not lead there, or what is there fails.
    #[error("ssh to {server} {end}: {said}{advice}")]
    Ssh {
        /// Where to.
        server: String,
        /// How it ended.
        end: String,
        /// What it said.
        said: String,
        /// What may help.
        advice: &'static str,
    },
    /// A server of git's own protocol is not reached, or hangs up at once.
    #[error("connect to {server}")]
    Connect {
        /// It.
        server: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The other end says nothing.
    #[error("{server} has said nothing for {seconds} s")]
    Silent {
        /// It.
        server: String,
        /// For so long.
        seconds: u64,
    },
    /// The conversation broke off.
    #[error("read the server's answer")]
    Transfer {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Whoever answers is no server of git's, or one that only gives files.
    #[error(
        "there is no repository, or its server speaks git's dumb protocol alone, by which no commit can be asked for: the answer is {kind:?}"
    )]
    Dumb {
        /// The media type of its answer.
        kind: String,
    },
    /// The server speaks neither version 2 nor version 0 of the protocol.
    #[error("the server speaks no version of git's protocol that is known")]
    Version,
    /// The server says what it may not say.
    #[error("the server's answer makes no sense: {reason}")]
    Protocol {
        /// What is wrong with it.
        reason: String,
    },
    /// The server says no.
    #[error("the server refuses: {said}")]
    Refused {
        /// What it says.
        said: String,
    },
    /// There is no such reference.
    #[error("it has no branch, tag or other reference {reference:?}")]
    NoReference {
        /// What was asked for.
        reference: String,
    },
    /// It is empty, or does not say which branch is its own.
    #[error("it has no default branch")]
    NoDefault,
    /// Several commits begin so.
    #[error("{reference:?} is the beginning of several commits' names")]
    Ambiguous {
        /// What was asked for.
        reference: String,
    },
    /// It is not the commit that it must be.
    #[error("the commit must be {wanted}, but it is {found}")]
    Checksum {
        /// What was wanted.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// Something that can be no checksum.
    #[error("checksum {text:?} is no commit's name, nor the beginning of one")]
    BadChecksum {
        /// What it is.
        text: String,
    },
    /// A pack that is damaged, or was made to do harm.
    #[error("the pack is damaged: {reason}")]
    Pack {
        /// What is wrong with it.
        reason: String,
    },
    /// Content that was made to have the same name as other content.
    #[error("an object is one of two that were made to have the same SHA-1")]
    Collision,
    /// An object that is no good.
    #[error("object {id}: {reason}")]
    Object {
        /// Its name.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A path that no checkout may have.
    #[error("path {path:?}: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file `.gitmodules` that makes no sense.
    #[error(".gitmodules, line {line}: {reason}")]
    Modules {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The directory that was asked for is not there.
    #[error("the commit has no directory {path:?}: {reason}")]
    NoDirectory {
        /// What was asked for.
        path: String,
        /// Why not.
        reason: &'static str,
    },
    /// Whoever asked for it wants it no more.
    #[error("it was cancelled")]
    Cancelled,
    /// More than there may be.
    #[error("it has more than {limit} {what}")]
    Limit {
        /// The limit.
        limit: u64,
        /// Of what.
        what: &'static str,
    },
    /// Files of our own.
    #[error("{doing} in a temporary file")]
    Spool {
        /// What we were doing.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// What went wrong, whichever repository it was.
    #[must_use]
    pub fn root(&self) -> &Self {
        let mut error = self;
        while let Self::Fetch { source, .. } | Self::Submodule { source, .. } = error {
            error = source;
        }
        error
    }

    pub(crate) fn protocol(reason: impl Into<String>) -> Self {
        Self::Protocol { reason: reason.into() }
    }

    pub(crate) fn pack(reason: impl Into<String>) -> Self {
        Self::Pack { reason: reason.into() }
    }

    /// An error that has come through an interface for reading: one of ours stays what it is.
    pub(crate) fn of_reading(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => Self::Transfer { source },
        }
    }

    /// What broke a conversation off, if something did after which another may go well.
    pub(crate) fn cut(&self) -> Option<&registry_client::Error> {
        let Self::Transfer { source } = self else { return None };
        source.get_ref()?.downcast_ref()
    }
}

/// Text of a stranger's, printable and short.
pub(crate) fn excerpt(text: &[u8]) -> String {
    const LIMIT: usize = 300;
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * LIMIT)]);
    let shown: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match shown.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}
