//! Commands about the files of containers.

use crate::container::files;
use crate::flags::{Arguments, Verb, list, switch, value};

/// `skiff diff`.
pub(crate) static DIFF: Verb = Verb {
    usage: "[OPTIONS] CONTAINER",
    about: "Show what changed in a container's file system since it was made",
    aliases: &["container diff", "diff"],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[value("format", "string", super::container::LIST_FORMAT)]],
    run: files::diff,
};

/// `skiff cp`.
pub(crate) static COPY: Verb = Verb {
    usage: "[OPTIONS] CONTAINER:SRC_PATH|SRC_PATH|- DEST_PATH|CONTAINER:DEST_PATH|-",
    about: "Copy files between a container and here; - is a tar",
    aliases: &["container cp", "cp"],
    arguments: Arguments::Exactly(2),
    interspersed: true,
    flags: &[&[
        switch("archive", "Keep owners (and set-user-id bits)").short('a'),
        switch("follow-link", "Follow a symbolic link at the end of the source").short('L'),
        switch("quiet", "Do not say how much was copied").short('q'),
    ]],
    run: crate::container::copy::run,
};

/// `skiff export`.
pub(crate) static EXPORT: Verb = Verb {
    usage: "[OPTIONS] CONTAINER",
    about: "Write a container's file system as a tar",
    aliases: &["container export", "export"],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[value("output", "string", "Write to a file, instead of stdout").short('o')]],
    run: files::export,
};

/// `skiff commit`.
pub(crate) static COMMIT: Verb = Verb {
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Make an image of what a container has become",
    aliases: &["container commit", "commit"],
    arguments: Arguments::Between(1, 2),
    interspersed: true,
    flags: &[&[
        value("author", "string", "Who made it (\"Jane Doe <jane@example.org>\")").short('a'),
        list("change", "list", "Dockerfile instruction to apply to the image's configuration").short('c'),
        value("message", "string", "A note on what was done").short('m'),
        switch("no-pause", "Do not freeze the container meanwhile"),
        switch("pause", "Freeze the container meanwhile").short('p').alias("pause").notice(
            "Flag --pause has been deprecated: containers are frozen meanwhile, unless --no-pause is given",
        ),
    ]],
    run: files::commit,
};
