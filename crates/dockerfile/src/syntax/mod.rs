//! What a Dockerfile says, as types that cannot hold an instruction that is none.
//!
//! Values are as written, without quotes of JSON and flags, with variables in them; [`crate::expand`] replaces
//! those. Each value knows its place.

mod mount;

pub use mount::{Identity, Mount, MountFlag, MountKind, Sharing};

use crate::source::{Span, Spanned};

/// Text from the file.
pub type Text = Spanned<String>;

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// `\` or `` ` ``.
    pub escape: char,
    /// The directives at its top.
    pub directives: Vec<Directive>,
    /// The ARG instructions before the first stage.
    pub arguments: Vec<Instruction<Vec<Argument>>>,
    /// The stages; at least one.
    pub stages: Vec<Stage>,
    /// Instructions in which a continuation is followed by an empty line, and the last such line.
    pub empty_continuations: Vec<Span>,
}

impl Dockerfile {
    /// A directive by its name.
    #[must_use]
    pub fn directive(&self, name: DirectiveName) -> Option<&Directive> {
        self.directives.iter().find(|directive| directive.name == name)
    }
}

/// The directives there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectiveName {
    /// `# syntax=`: which frontend reads the file. Skiff's own does, whatever it names.
    Syntax,
    /// `# escape=`.
    Escape,
    /// `# check=`.
    Check,
}

/// A line `# name=value` at the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Which.
    pub name: DirectiveName,
    /// What it says.
    pub value: Text,
}

/// An instruction with what is around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction<T = Kind> {
    /// Its name as written: `RUN`, `run`, `Run`.
    pub keyword: Text,
    /// All of it, continuation lines and heredocs included.
    pub span: Span,
    /// The comments right above it, without `#`; an empty line or comment separates.
    pub comments: Vec<String>,
    /// The instruction in one line, as histories and progress show it.
    pub code: String,
    /// What it says.
    pub kind: T,
}

/// A stage: FROM and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// FROM.
    pub from: Instruction<From>,
    /// What follows, up to the next.
    pub instructions: Vec<Instruction>,
}

/// FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// Image, stage or `scratch`.
    pub base: Text,
    /// The stage's name in lower case.
    pub name: Option<Text>,
    /// The name as written.
    pub written_name: Option<Text>,
    /// The word before the name as written: `AS`, `as`.
    pub as_keyword: Option<Text>,
    /// `--platform`.
    pub platform: Option<Text>,
}

/// The instructions of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named as the instruction that it is")]
pub enum Kind {
    Add(Add),
    Arg(Vec<Argument>),
    Cmd(CommandLine),
    Copy(Copy),
    Entrypoint(CommandLine),
    Env(Vec<Pair>),
    Expose(Vec<Text>),
    Healthcheck(Healthcheck),
    Label(Vec<Pair>),
    Maintainer(Text),
    Onbuild(Onbuild),
    Run(Run),
    Shell(Vec<String>),
    Stopsignal(Text),
    User(Text),
    Volume(Vec<Text>),
    Workdir(Text),
}

impl Kind {
    /// The instruction's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// A name and perhaps a value, of ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: Text,
    /// The default, still quoted.
    pub default: Option<Text>,
}

/// A name and a value, of ENV and LABEL; both still quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: Text,
    /// The value.
    pub value: Text,
    /// Whether it is written the old way, with a blank between the two.
    pub legacy: bool,
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// A JSON array: the arguments as they are.
    Exec(Vec<String>),
    /// Anything else: a text for the shell.
    Shell(Text),
}

/// A document within the file: the lines after the instruction up to one that consists of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// Its name, without quotes.
    pub name: String,
    /// Whether variables in it are replaced: unless the name is quoted.
    pub expand: bool,
    /// `<<-`: whether tabs at the beginning of lines are dropped.
    pub chomp: bool,
    /// The number before `<<`.
    pub descriptor: u32,
    /// Its lines as written.
    pub content: String,
    /// Where they stand.
    pub span: Span,
}

impl Heredoc {
    /// Its lines, without the tabs that are to be dropped.
    #[must_use]
    pub fn body(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// What ADD and COPY have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Paths, patterns, and URLs of ADD.
    pub paths: Vec<Text>,
    /// Files whose content stands in the Dockerfile.
    pub inline: Vec<Heredoc>,
    /// Where to.
    pub destination: Text,
    /// `--chown`.
    pub chown: Option<Text>,
    /// `--chmod`.
    pub chmod: Option<Text>,
    /// `--link`.
    pub link: bool,
    /// `--exclude`, each.
    pub excludes: Vec<Text>,
}

/// ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// What, where to and how.
    pub transfer: Transfer,
    /// `--keep-git-dir`, if given.
    pub keep_git_dir: Option<bool>,
    /// `--checksum`.
    pub checksum: Option<Text>,
    /// `--unpack`, if given.
    pub unpack: Option<bool>,
}

/// COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What, where to and how.
    pub transfer: Transfer,
    /// `--from`: a stage by name or number, a context, an image.
    pub from: Option<Text>,
    /// `--parents`.
    pub parents: bool,
}

/// ONBUILD. What it triggers is parsed where it is used, for it may come from an image as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onbuild {
    /// The instruction, in one line, its heredocs below it.
    pub expression: String,
}

/// RUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is executed.
    pub command: CommandLine,
    /// Documents that the text refers to.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, each, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// `--device`, each.
    pub devices: Vec<Device>,
}

/// Which network a RUN has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// What the build has.
    #[default]
    Default,
    /// None.
    None,
    /// The host's; needs to be allowed.
    Host,
}

/// What a RUN may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// What containers may.
    #[default]
    Sandbox,
    /// Everything; needs to be allowed.
    Insecure,
}

/// `--device`: a device by its CDI name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The name.
    pub name: String,
    /// Whether its absence is an error.
    pub required: bool,
}

/// HEALTHCHECK. Times are nanoseconds; zero stands for the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`: no check, not even the base image's.
    None,
    /// `CMD`.
    Command {
        /// What is executed.
        command: CommandLine,
        /// `--interval`.
        interval: i64,
        /// `--timeout`.
        timeout: i64,
        /// `--start-period`.
        start_period: i64,
        /// `--start-interval`.
        start_interval: i64,
        /// `--retries`.
        retries: i64,
    },
}
