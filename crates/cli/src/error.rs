//! What can go wrong between a command line and the engine, and the exit codes of it.

use std::borrow::Cow;

use crate::build::Fault;
use crate::flags::Flag;
use template::TemplateError;

/// The outcome of a command's step.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a command fails. `Display` is what the user reads; the chain of sources is printed behind it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("unknown flag: --{name}")]
    UnknownFlag { name: String, nearest: Option<&'static str> },
    #[error("unknown shorthand flag: '{letter}' in -{letters}")]
    UnknownLetter { letter: char, letters: String },
    #[error("bad flag syntax: {word}")]
    FlagSyntax { word: String },
    #[error("flag needs an argument: {flag}")]
    MissingValue { flag: String },
    #[error("invalid argument {value:?} for \"{flag}\" flag: {reason}")]
    Value { flag: String, value: String, reason: Cow<'static, str> },
    #[error("--{flag} is not supported yet: it comes with {with}")]
    FlagLater { flag: &'static str, with: &'static str },
    #[error("--{flag} {why}")]
    FlagNever { flag: &'static str, why: &'static str },
    #[error("limit {limit} is outside the range of [1, {most}]")]
    SearchLimit { limit: i64, most: i64 },
    #[error("invalid repository name: repository name ({term}) should not have a scheme")]
    SearchScheme { term: String },
    #[error("the manifest is not JSON")]
    ManifestJson(#[source] serde_json::Error),
    #[error("conflicting options: {0}")]
    Conflict(&'static str),
    #[error("conflicting options: cannot specify both --attach and --detach")]
    AttachDetached,
    #[error("'skiff {path}' {complaint}")]
    ArgumentCount { path: String, usage: &'static str, complaint: String },
    #[error("unknown command: skiff {path}")]
    UnknownCommand { path: String, group: String, nearest: Option<&'static str> },
    #[error("skiff {path} is not supported yet: it comes with {with}")]
    CommandLater { path: String, with: &'static str },
    #[error("argument {number} is not UTF-8: {shown}")]
    NotUtf8 { number: usize, shown: String },
    #[error("no place for {what}: set {variable}, or give {flag}")]
    NoPlace { what: &'static str, variable: &'static str, flag: &'static str },
    #[error("SOURCE_DATE_EPOCH is {text:?}: wanted are seconds since 1970")]
    SourceDateEpoch { text: String },
    #[error("no skiff-monitor beside {executable}, and none in ../libexec/skiff")]
    NoMonitor { executable: String },
    #[error("cannot use {path}: {reason}")]
    Settings { path: String, reason: String },
    #[error("there is no {path}: it says when images go ({wanted} = …)")]
    NoSettings { path: String, wanted: &'static str },
    #[error("{path}: line {line}: {reason}")]
    Line { path: String, line: usize, reason: &'static str },
    #[error(
        "the file {path} exists already: another container may be using it; remove it or name another file"
    )]
    CidfileExists { path: String },
    #[error("the input device is not a TTY")]
    NoTerminal,
    #[error("cowardly refusing to save to a terminal: use -o, or redirect")]
    SaveToTerminal,
    #[error("cowardly refusing to export to a terminal: use -o, or redirect")]
    ExportToTerminal,
    #[error("{name} can not be empty")]
    EmptyCopy { name: &'static str },
    #[error("copying between containers is not supported")]
    CopyBetween,
    #[error("must specify at least one container source")]
    CopyNowhere,
    #[error("cowardly refusing to copy a tar to a terminal: redirect it")]
    CopyToTerminal,
    #[error("requested load from stdin, but stdin is empty")]
    LoadFromTerminal,
    #[error("{from} is a URL: import reads files and stdin; fetch it first")]
    ImportUrl { from: ImportSource },
    #[error("invalid filter '{name}'")]
    Filter { name: String },
    #[error("invalid filter '{name}={value}': {reason}")]
    FilterValue { name: &'static str, value: String, reason: &'static str },
    #[error("invalid value for {flag:?}: failed to parse value as time or duration: {value:?}")]
    PointInTime { flag: &'static str, value: String },
    #[error("No such object: {name}")]
    NoSuchObject { name: String },
    #[error("{name:?} is not a valid value for --type: container or image")]
    ObjectType { name: String },
    #[error("template parsing error")]
    Template(#[source] TemplateError),
    #[error("read the configuration of image {id}")]
    ImageConfig { id: String, source: oci::Error },
    #[error("failed to parse the template")]
    ListTemplateSyntax(#[source] TemplateError),
    #[error("failed to execute the template")]
    ListTemplate(#[source] TemplateError),
    #[error("You cannot {verb} a {state} container, {advice}")]
    State { verb: &'static str, state: &'static str, advice: &'static str },
    #[error("{name} was started by somebody else")]
    StartedElsewhere { name: String },
    #[error("you must provide one or more flags when using this command")]
    NothingToUpdate,
    #[error("You cannot start and attach multiple containers at once")]
    AttachMany,
    #[error("{key} of the client configuration: {value:?}: {reason}")]
    Configured { key: &'static str, value: String, reason: String },
    #[error("no completion for {name}: want bash, zsh or fish")]
    Shell { name: String },
    #[error("invalid port ({port})")]
    InvalidPort { port: String },
    #[error("No public port '{port}' published for {container}")]
    NotPublished { port: String, container: String },
    #[error("{attempt}")]
    System { attempt: &'static str, source: rustix::io::Errno },
    #[error("write the output")]
    Output(#[source] std::io::Error),
    #[error(transparent)]
    File(#[from] linux::file::Error),
    #[error(transparent)]
    Registry(#[from] registry_server::Error),
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    OfRegistry(Box<engine::registries::Error>),
    #[error("invalid reference {text:?}")]
    Reference { text: String, source: oci::Error },
    #[error("failed to parse platform {text:?}")]
    Platform { text: String, source: oci::Error },
    #[error(transparent)]
    Build(#[from] Fault),
    #[error("{text:?} is not a registry: want host[:port]")]
    NoRegistry { text: String },
    #[error("Must provide --username with --password-stdin")]
    UsernameNeeded,
    #[error("username and password must not be empty")]
    EmptyCredential,
    #[error("cannot perform an interactive login from a non TTY device: use --username and --password-stdin")]
    LoginWithoutTerminal,
    #[error("read from stdin")]
    Input(#[source] std::io::Error),
    #[error("set up a client of registries")]
    Registries(#[source] Box<engine::registries::Error>),
    #[error(transparent)]
    Monitor(#[from] monitor::Error),
    #[error(transparent)]
    Thread(#[from] linux::thread::Refused),
    #[error("nobody reads the output")]
    ReaderGone,
    /// Every failure was printed when it happened; only the exit code is left.
    #[error("some of what was asked failed")]
    Printed(u8),
}

/// What `import` was given, for an error about it.
#[derive(Debug)]
pub(crate) struct ImportSource(pub(crate) String);

impl std::fmt::Display for ImportSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error {
    /// A value that a flag does not take.
    pub(crate) fn value(flag: &Flag, value: &str, reason: impl Into<Cow<'static, str>>) -> Error {
        Error::Value { flag: flag.shown(), value: value.to_owned(), reason: reason.into() }
    }

    /// Whether the flags were wrong, which Docker answers with code 125 and the usage line.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Error::UnknownFlag { .. }
                | Error::UnknownLetter { .. }
                | Error::FlagSyntax { .. }
                | Error::MissingValue { .. }
                | Error::Value { .. }
        )
    }

    /// The exit code of a command that is not `run`-like.
    pub(crate) fn exit_code(&self) -> u8 {
        if let Error::Printed(code) = self {
            *code
        } else if matches!(self, Error::Template(TemplateError::Syntax { .. })) {
            64
        } else if self.is_usage() {
            125
        } else {
            1
        }
    }

    /// The exit code of `run` and `create`: what failed was Skiff's part (125), or the program could not be
    /// invoked (126) or found (127).
    pub(crate) fn run_exit_code(&self) -> u8 {
        match (self, self.launch_code()) {
            (Error::Printed(code), _) => *code,
            (_, Some(code @ (126 | 127))) => code,
            _ => 125,
        }
    }

    /// The exit code that a failed start carries.
    pub(crate) fn launch_code(&self) -> Option<u8> {
        let code = if let Error::Monitor(inner) = self {
            inner.exit_code()
        } else if let Error::Engine(inner) = self {
            inner.exit_code()
        } else {
            None
        };
        code.and_then(|code| u8::try_from(code).ok())
    }

    /// Writing output failed.
    pub(crate) fn output(error: std::io::Error) -> Error {
        if error.kind() == std::io::ErrorKind::BrokenPipe { Error::ReaderGone } else { Error::Output(error) }
    }

    /// The whole chain of causes on one line. What it tells of arguments has no credentials of addresses.
    pub(crate) fn chain(&self) -> String {
        oci::without_credentials(&linux::chain(self)).into_owned()
    }
}
