//! The table of all commands.

mod build;
mod builder;
mod container;
mod craft;
mod create_flags;
mod files;
mod image;
mod manifest;
mod registry;
mod system;
mod watch;

use crate::flags::{Entry, Flag, Group, Section, Target, Verb, switch, value};

pub(crate) use build::{BAKE, BUILD, BUILDER, BUILDX};
pub(crate) use container::CONTAINER;
pub(crate) use image::IMAGE;
pub(crate) use manifest::MANIFEST;
pub(crate) use registry::REGISTRY;
pub(crate) use system::SYSTEM;

/// Flags before the command.
pub(crate) static GLOBAL: &[Flag] = &[
    value("config", "string", "Folder of the client configuration (DOCKER_CONFIG)"),
    value("context", "string", "Endpoint to talk to")
        .short('c')
        .never("is about a remote engine; Skiff's runs here"),
    switch("debug", "Print every decision to stderr").short('D'),
    value("host", "list", "Socket of the API server").short('H').later("the API server"),
    value("log-level", "string", "What to print to stderr: debug, info, warn, error or fatal")
        .short('l')
        .default("\"warn\""),
    value("root", "string", "Folder of images and containers (SKIFF_ROOT)"),
    value("run", "string", "Folder of what is running (SKIFF_RUN)"),
    value("snapshotter", "string", "How root file systems are made: erofs or trees; probed by default"),
    switch("tls", "Use TLS").later("the API server"),
    value("tlscacert", "string", "Certificates to trust").later("the API server"),
    value("tlscert", "string", "Certificate").later("the API server"),
    value("tlskey", "string", "Key of the certificate").later("the API server"),
    switch("tlsverify", "Verify the server").later("the API server"),
    switch("version", "Print the version").short('v'),
];

/// Everything that may follow `skiff`.
pub(crate) static TOP: Group =
    Group { path: "", about: "Containers from images, without a daemon", entries: TOP_ENTRIES };

static TOP_ENTRIES: &[Entry] = &[
    verb("run", Section::Common, &container::RUN),
    verb("exec", Section::Common, &container::EXEC),
    verb("ps", Section::Common, &container::LIST),
    verb("build", Section::Common, &BUILD),
    verb("pull", Section::Common, &image::PULL),
    verb("push", Section::Common, &image::PUSH),
    verb("images", Section::Common, &image::LIST),
    verb("version", Section::Common, &system::VERSION),
    verb("info", Section::Common, &system::INFO),
    group("builder", &BUILDER),
    Entry { name: "buildx", section: Section::Hidden, target: Target::Group(&BUILDX) },
    group("container", &CONTAINER),
    group("image", &IMAGE),
    group("manifest", &MANIFEST),
    group("registry", &REGISTRY),
    group("system", &SYSTEM),
    verb("attach", Section::Plain, &container::ATTACH),
    verb("bake", Section::Plain, &BAKE),
    verb("commit", Section::Plain, &files::COMMIT),
    verb("completion", Section::Plain, &craft::COMPLETION),
    verb("cp", Section::Plain, &files::COPY),
    verb("create", Section::Plain, &container::CREATE),
    verb("diff", Section::Plain, &files::DIFF),
    verb("events", Section::Plain, &watch::EVENTS),
    verb("export", Section::Plain, &files::EXPORT),
    verb("history", Section::Plain, &image::HISTORY),
    verb("import", Section::Plain, &image::IMPORT),
    verb("inspect", Section::Plain, &system::INSPECT),
    verb("kill", Section::Plain, &container::KILL),
    verb("load", Section::Plain, &image::LOAD),
    verb("login", Section::Plain, &image::LOGIN),
    verb("logout", Section::Plain, &image::LOGOUT),
    verb("logs", Section::Plain, &container::LOGS),
    verb("pause", Section::Plain, &container::PAUSE),
    verb("port", Section::Plain, &watch::PORT),
    verb("rename", Section::Plain, &watch::RENAME),
    verb("restart", Section::Plain, &container::RESTART),
    verb("rm", Section::Plain, &container::REMOVE),
    verb("rmi", Section::Plain, &image::REMOVE),
    verb("save", Section::Plain, &image::SAVE),
    verb("search", Section::Plain, &image::SEARCH),
    verb("start", Section::Plain, &container::START),
    verb("stats", Section::Plain, &watch::STATS),
    verb("stop", Section::Plain, &container::STOP),
    verb("tag", Section::Plain, &image::TAG),
    verb("top", Section::Plain, &watch::TOP),
    verb("unpause", Section::Plain, &container::UNPAUSE),
    verb("update", Section::Plain, &container::UPDATE),
    verb("wait", Section::Plain, &container::WAIT),
    verb("__complete", Section::Hidden, &craft::COMPLETE),
    verb("man", Section::Hidden, &craft::MAN),
    later("checkpoint", "checkpoints"),
    later("compose", "the API server"),
    later("context", "the API server"),
    later("network", "networks"),
    later("plugin", "the API server"),
    later("volume", "volumes"),
];

/// A verb under a name.
const fn verb(name: &'static str, section: Section, verb: &'static Verb) -> Entry {
    Entry { name, section, target: Target::Verb(verb) }
}

/// A management command.
const fn group(name: &'static str, group: &'static Group) -> Entry {
    Entry { name, section: Section::Management, target: Target::Group(group) }
}

/// A command that comes later.
const fn later(name: &'static str, with: &'static str) -> Entry {
    Entry { name, section: Section::Hidden, target: Target::Later(with) }
}
