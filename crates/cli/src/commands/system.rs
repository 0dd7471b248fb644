//! Commands about Skiff itself, and `inspect`.

use super::container::ONE_FORMAT;
use super::{later, verb, watch};
use crate::flags::{Arguments, Entry, Group, Section, Verb, list, switch, value};

/// `skiff system`.
pub(crate) static SYSTEM: Group = Group { path: "system", about: "Manage Skiff", entries: ENTRIES };

static ENTRIES: &[Entry] = &[
    verb("events", Section::Plain, &watch::EVENTS),
    verb("info", Section::Plain, &INFO),
    verb("df", Section::Plain, &DISK_FREE),
    later("dial-stdio", "the API server"),
    verb("prune", Section::Plain, &PRUNE),
    verb("resume", Section::Plain, &RESUME),
    verb("shutdown", Section::Plain, &SHUTDOWN),
];

/// `skiff system df`.
pub(crate) static DISK_FREE: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Show how much lies on disk, and how much of it could go",
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        value("format", "string", super::container::LIST_FORMAT),
        switch("verbose", "Show every image, container and volume").short('v'),
    ]],
    run: crate::usage::disk_free,
};

/// `skiff system prune`.
pub(crate) static PRUNE: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Remove stopped containers and images without a name",
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        switch("all", "Also images that have a name and no container, and packages kept for others")
            .short('a'),
        list("filter", "filter", "Only those with label=…, label!=… or until=…"),
        switch("force", "Do not ask").short('f'),
        switch("volumes", "Also anonymous volumes; those of a container always go with it"),
    ]],
    run: crate::usage::prune,
};

/// `skiff system resume`.
pub(crate) static RESUME: Verb = Verb {
    usage: "",
    about: "Start the containers whose restart policy wants them to run, as after a boot",
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[],
    run: crate::container::boot::resume,
};

/// `skiff system shutdown`.
pub(crate) static SHUTDOWN: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Stop all running containers, to be resumed after the next boot",
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        value("timeout", "int", "Seconds until SIGKILL at most; else each container's own").short('t')
    ]],
    run: crate::container::boot::shut_down,
};

/// `skiff version`.
pub(crate) static VERSION: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Show the versions of Skiff and its parts",
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[value("format", "string", ONE_FORMAT).short('f')]],
    run: crate::system::version,
};

/// `skiff info`.
pub(crate) static INFO: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Show what is here: containers, images, and what this machine can do",
    aliases: &["system info", "info"],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[value("format", "string", ONE_FORMAT).short('f')]],
    run: crate::info::run,
};

/// `skiff inspect`.
pub(crate) static INSPECT: Verb = Verb {
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Print all that is known about containers and images",
    aliases: &[],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value("format", "string", ONE_FORMAT).short('f'),
        switch("size", "Show how much containers have written").short('s'),
        value("type", "string", "Only things of this kind: container or image"),
    ]],
    run: crate::inspect::any,
};
