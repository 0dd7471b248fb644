//! Commands about the cache of builds, which stand in the groups of the commands that build.

use crate::builder;
use crate::flags::{Arguments, Flag, Verb, list, switch, value};

const FILTER: Flag = list(
    "filter",
    "filter",
    "Only those with id=…, parent=…, description=…, type=…, inuse, mutable, shared, private, until=… or unused-for=…; \
     also with != and ~=",
);
const BUILDER_FLAG: Flag = value("builder", "string", "Builder instance").ignored();

/// `skiff builder du`.
pub(crate) static DISK_USAGE: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Show what builds have left, and how much of it could go",
    aliases: &["builder du", "buildx du"],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        BUILDER_FLAG,
        FILTER,
        value("format", "string", super::container::LIST_FORMAT),
        switch("verbose", "Show all that is known of each"),
    ]],
    run: builder::disk_usage,
};

const PRUNE_FLAGS: &[Flag] = &[
    switch("all", "Also what images share, and what the builder made for itself").short('a'),
    BUILDER_FLAG,
    FILTER,
    switch("force", "Do not ask").short('f'),
    value("keep-storage", "bytes", "").alias("reserved-space"),
    value("max-used-space", "bytes", "Only as much as goes beyond this size"),
    value("min-free-space", "bytes", "Only until so much of the disk is free"),
    value("reserved-space", "bytes", "Leave so much in any case"),
    value("timeout", "duration", "").ignored(),
    switch("verbose", "Show all that is known of what is removed"),
];

const ABOUT: &str = "Remove what builds have left";

/// `skiff builder prune`.
pub(crate) static PRUNE: Verb = Verb {
    usage: "[OPTIONS]",
    about: ABOUT,
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[PRUNE_FLAGS],
    run: builder::prune,
};

/// `skiff buildx prune`, which says what it did as buildx does.
pub(crate) static PRUNE_X: Verb = Verb {
    usage: "[OPTIONS]",
    about: ABOUT,
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[PRUNE_FLAGS],
    run: builder::prune_x,
};
