//! Commands that watch: processes, use, events, and what a container is called and reached by.

use super::container::{LIST_FORMAT, ONE_FORMAT};
use crate::container;
use crate::flags::{Arguments, Verb, list, switch, value};

/// `skiff top`.
pub(crate) static TOP: Verb = Verb {
    usage: "CONTAINER [ps OPTIONS]",
    about: "Show the processes of a running container",
    aliases: &["container top", "top"],
    arguments: Arguments::AtLeast(1),
    interspersed: false,
    flags: &[],
    run: container::top::run,
};

/// `skiff rename`.
pub(crate) static RENAME: Verb = Verb {
    usage: "CONTAINER NEW_NAME",
    about: "Give a container another name",
    aliases: &["container rename", "rename"],
    arguments: Arguments::Exactly(2),
    interspersed: true,
    flags: &[],
    run: container::rename::run,
};

/// `skiff port`.
pub(crate) static PORT: Verb = Verb {
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List which ports of a container are published, and where",
    aliases: &["container port", "port"],
    arguments: Arguments::Between(1, 2),
    interspersed: true,
    flags: &[],
    run: container::port::run,
};

/// `skiff stats`.
pub(crate) static STATS: Verb = Verb {
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Show what containers use, twice a second",
    aliases: &["container stats", "stats"],
    arguments: Arguments::AtLeast(0),
    interspersed: true,
    flags: &[&[
        switch("all", "Show those that do not run too").short('a'),
        value("format", "string", LIST_FORMAT),
        switch(
            "no-stream",
            "Show one table and end. A share of the CPU is a difference of two looks: they are 0.2 s apart",
        ),
        switch("no-trunc", "Shorten nothing"),
    ]],
    run: container::stats::run,
};

/// `skiff events`.
pub(crate) static EVENTS: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Show what happens, as it happens",
    aliases: &["system events", "events"],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        list(
            "filter",
            "filter",
            "Only those for which it holds (event=die, container=…, label=…, type=…, …)",
        )
        .short('f'),
        value("format", "string", ONE_FORMAT),
        value(
            "since",
            "string",
            "Also what has happened since a time (2013-01-02T13:23:37Z), or an age (42m)",
        ),
        value("until", "string", "End at a time (2013-01-02T13:23:37Z), or an age (42m)"),
    ]],
    run: crate::events::run,
};
