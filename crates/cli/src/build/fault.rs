//! What can be wrong with a build before the engine hears of it, in the words of Docker where it has any.

/// Why there is nothing to ask the engine for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("please specify build context (e.g. \".\" for the current directory)")]
    NoContext,
    #[error("unable to prepare context: path {path:?} not found")]
    ContextMissing { path: String },
    #[error("invalid argument: can't use stdin for both build context and dockerfile")]
    StdinTwice,
    #[error("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")]
    TwoDockerfiles,
    #[error("stdin is a terminal: redirect a Dockerfile or a tar to it")]
    StdinTerminal,
    #[error("stdin is empty: it has neither a Dockerfile nor a tar")]
    StdinEmpty,
    #[error("failed to read dockerfile: open {name}: no such file or directory")]
    NoDockerfile { name: String },
    #[error("--call reads the Dockerfile of a directory or of stdin, not one in {what}: name it by -f")]
    CallNeedsFile { what: &'static str },
    #[error("{0}")]
    Dockerfile(#[from] Box<dockerfile::source::Diagnostic>),
    #[error("failed to read the ignore file {name}: {reason}")]
    IgnoreFile { name: String, reason: String },
    #[error("local and tar exporters are incompatible with image ID file")]
    IdOfNoImage,
    #[error("tag is needed when pushing to registry")]
    PushWithoutTag,
    #[error("dest file is required for {kind} exporter. refusing to write to console")]
    OutputToTerminal { kind: String },
    #[error("progress={progress} and quiet cannot be used together")]
    QuietProgress { progress: String },
    #[error("invalid progress mode {progress}: auto, plain, tty, rawjson, quiet or none")]
    Progress { progress: String },
    #[error("failed to get console: stderr is no terminal, which --progress=tty needs")]
    NoConsole,
    #[error("read the bake files")]
    Bake(#[source] bake::Error),
    #[error("couldn't find a bake definition: name one by -f")]
    NoBakeFile,
    #[error("{url} has no bake file {name}")]
    NoRemoteBakeFile { name: String, url: String },
    #[error("target {target}: {reason}")]
    Target { target: String, reason: String },
    #[error("additional privileges requested by {targets}: {wanted}; pass {flags} to allow them")]
    NotAllowed { targets: String, wanted: String, flags: String },
    #[error(
        "cannot evaluate {files}: this builder knows no build policies (Rego), and does not build as if there were none; --policy disabled=true does"
    )]
    Policy { files: String },
    #[error("only one target can have its output on stdout")]
    StdoutForSeveral,
    #[error("{variable}: {value:?}: {reason}")]
    Variable { variable: &'static str, value: String, reason: &'static str },
}
