//! What can go wrong in a build.

use std::fmt;
use std::sync::Arc;

use dockerfile::source::{Diagnostic, Source, Span};

use crate::Kind;

/// Why nothing was built.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum BuildError {
    #[error("failed to read dockerfile: open {name}: no such file or directory")]
    NoDockerfile { name: String },
    #[error("failed to read dockerfile: {name} is larger than {limit} bytes")]
    LargeDockerfile { name: String, limit: u64 },
    #[error("{0}")]
    Dockerfile(Box<Faulty>),
    #[error("failed to parse platform {text:?}")]
    Platform {
        text: String,
        #[source]
        source: oci::Error,
    },
    #[error("failed to parse check options: {message}")]
    CheckOptions { message: String },
    #[error("{message}")]
    Violation { message: String },
    #[error("the checks of the Dockerfile found {count} things, and --lint=error was asked for")]
    Lint { count: usize },
    #[error("fetch {url}")]
    Fetch {
        url: String,
        #[source]
        source: Box<registry_client::Error>,
    },
    #[error("fetch {url}")]
    Download {
        url: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Copy(#[from] super::CopyError),
    #[error("{url} was changed between two questions; build again")]
    ChangedElsewhere { url: String },
    #[error("fetch a repository")]
    Git(#[source] Box<git::Error>),
    #[error("{message}")]
    ContextAddress { message: String },
    #[error("read the context")]
    Context {
        #[source]
        source: std::io::Error,
    },
    #[error(
        "invalid SOURCE_DATE_EPOCH: {text:?} is neither a number of seconds, nor \"context\", nor the name of a stage or a context"
    )]
    Epoch { text: String },
    #[error("there is no context {name:?}; {}", way_to(name))]
    NoContext { name: String },
    #[error("context {name:?} has nothing for {platform}")]
    ContextPlatform { name: String, platform: String },
    #[error("read the ignore file")]
    IgnoreFile {
        #[source]
        source: dockerfile::ignore::PatternError,
    },
    #[error("layer {layer} of {name} is gone: somebody removed it while the build relied on it; build again")]
    Lost { layer: oci::DiffId, name: String },
    #[error("{name}{}: failed to resolve source metadata for {reference}", meant(.near.as_deref()))]
    Base {
        name: String,
        reference: oci::Reference,
        near: Option<String>,
        #[source]
        source: Box<crate::Error>,
    },
    #[error("{name}")]
    Step {
        name: String,
        place: Option<Place>,
        #[source]
        source: Box<crate::Error>,
    },
    #[error("output {output}: {reason}")]
    Output { output: String, reason: String },
    #[error("the cache cannot be used: {reason}")]
    CacheDocument { reason: String },
    #[error("{place}: {reason}")]
    Artifact { place: String, reason: String },
    #[error("sbom generator {image}: {reason}")]
    Generator { image: String, reason: String },
    #[error("sbom generator {image} failed; without one, packages are listed by the builder itself")]
    GeneratorFailed {
        image: String,
        #[source]
        source: Box<crate::Error>,
    },
    #[error("annotation {text:?}: {reason}")]
    Annotation { text: String, reason: String },
    #[error(transparent)]
    Run(#[from] super::run::RunError),
    #[error("make a layer of {what}: there is none to be made")]
    NoLayer { what: String },
    #[error("build was cancelled")]
    Cancelled,
}

/// How a context is given.
fn way_to(name: &str) -> String {
    match name.strip_prefix("target:") {
        Some(target) => {
            format!("only `bake` has other targets, and builds {target:?} before those that name it")
        }
        None => format!(
            "give it by --build-context {name}=PATH, or an image, a layout or an address in that place"
        ),
    }
}

/// The stage that was perhaps meant by the name of an image.
fn meant(near: Option<&str>) -> String {
    near.map(|near| format!(" (did you mean the stage {near}?)")).unwrap_or_default()
}

/// A Dockerfile that cannot be built, with everything that is wrong in it.
#[derive(Debug)]
pub struct Faulty {
    /// What is wrong; never empty.
    pub errors: Vec<Diagnostic>,
    /// The text.
    pub source: Arc<Source>,
    /// Whether it is not even a Dockerfile.
    pub is_syntax: bool,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.errors.first() else { return Ok(()) };
        match first.span().filter(|_| self.is_syntax) {
            Some(span) => {
                let line = self.source.position(u32::try_from(span.range().start).unwrap_or(0)).line;
                write!(f, "dockerfile parse error on line {line}: {}", first.message)
            }
            None => f.write_str(&first.message),
        }
    }
}

impl Faulty {
    /// All of it, with the lines at fault.
    #[must_use]
    pub fn render(&self) -> String {
        self.errors.iter().map(|error| error.render(&self.source)).collect::<Vec<_>>().join("\n")
    }
}

/// Where in a Dockerfile a step stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// The text.
    pub source: Arc<Source>,
    /// The instruction.
    pub span: Span,
}

impl BuildError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoDockerfile { .. }
            | Self::LargeDockerfile { .. }
            | Self::Dockerfile(_)
            | Self::Platform { .. }
            | Self::ContextAddress { .. }
            | Self::NoContext { .. }
            | Self::ContextPlatform { .. }
            | Self::Epoch { .. }
            | Self::IgnoreFile { .. }
            | Self::CheckOptions { .. }
            | Self::Violation { .. }
            | Self::Output { .. }
            | Self::CacheDocument { .. }
            | Self::Artifact { .. }
            | Self::Annotation { .. }
            | Self::Generator { .. }
            | Self::Lint { .. } => Kind::Invalid,
            Self::Copy(source) => source.kind(),
            Self::Base { source, .. } | Self::Step { source, .. } | Self::GeneratorFailed { source, .. } => {
                source.kind()
            }
            Self::ChangedElsewhere { .. } | Self::Git(_) | Self::Context { .. } | Self::Lost { .. } => {
                Kind::Unavailable
            }
            Self::Fetch { .. } | Self::Download { .. } => Kind::Unavailable,
            Self::Run(source) => source.kind(),
            Self::NoLayer { .. } => Kind::Internal,
            Self::Cancelled => Kind::Unavailable,
        }
    }
}
