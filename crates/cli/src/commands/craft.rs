//! Commands for shells and for whoever packages Skiff.

use crate::craft;
use crate::flags::{Arguments, Verb};

/// `skiff completion`.
pub(crate) static COMPLETION: Verb = Verb {
    usage: "SHELL",
    about: "Print the completion script of a shell: bash, zsh or fish",
    aliases: &[],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[],
    run: craft::completion,
};

/// `skiff __complete`, which those scripts call.
pub(crate) static COMPLETE: Verb = Verb {
    usage: "[WORD...]",
    about: "",
    aliases: &[],
    arguments: Arguments::AtLeast(0),
    interspersed: false,
    flags: &[],
    run: craft::complete,
};

/// `skiff man`.
pub(crate) static MAN: Verb = Verb {
    usage: "DIR",
    about: "Write the man pages of all commands into a folder",
    aliases: &[],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[],
    run: craft::man,
};
