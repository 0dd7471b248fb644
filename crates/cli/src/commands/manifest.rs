//! Commands about lists of manifests.

use super::verb;
use crate::flags::{Arguments, Entry, Flag, Group, Section, Verb, list, switch, value};
use crate::image::manifest;

/// `skiff manifest`.
pub(crate) static MANIFEST: Group =
    Group { path: "manifest", about: "Make lists of manifests for several platforms", entries: ENTRIES };

static ENTRIES: &[Entry] = &[
    verb("annotate", Section::Plain, &ANNOTATE),
    verb("create", Section::Plain, &CREATE),
    verb("inspect", Section::Plain, &INSPECT),
    verb("push", Section::Plain, &PUSH),
    verb("rm", Section::Plain, &REMOVE),
];

const INSECURE: Flag = switch("insecure", "Talk to a registry that cannot prove who it is, or by plain http");

static ANNOTATE: Verb = Verb {
    usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
    about: "Say what a manifest of a list runs on",
    aliases: &[],
    arguments: Arguments::Exactly(2),
    interspersed: true,
    flags: &[&[
        value("arch", "string", "Architecture"),
        value("os", "string", "Operating system"),
        list("os-features", "strings", "Feature that the operating system must have"),
        value("os-version", "string", "Version of the operating system"),
        value("variant", "string", "Variant of the architecture"),
    ]],
    run: manifest::annotate,
};

static CREATE: Verb = Verb {
    usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
    about: "Begin a list of manifests, to be annotated and pushed",
    aliases: &[],
    arguments: Arguments::AtLeast(2),
    interspersed: true,
    flags: &[&[switch("amend", "Add to a list that has been begun").short('a'), INSECURE]],
    run: manifest::create,
};

static INSPECT: Verb = Verb {
    usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    about: "Print a manifest or a list of manifests, from here or from its registry",
    aliases: &[],
    arguments: Arguments::Between(1, 2),
    interspersed: true,
    flags: &[&[
        value(
            "format",
            "string",
            "Go template over what a registry has: .Name, .Manifest, .Image, .SBOM, .Provenance",
        )
        .short('f'),
        INSECURE,
        switch("verbose", "Also print platforms, and the manifests of a list").short('v'),
    ]],
    run: manifest::inspect,
};

static PUSH: Verb = Verb {
    usage: "[OPTIONS] MANIFEST_LIST",
    about: "Put a list into its registry, with what its manifests need there",
    aliases: &[],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[INSECURE, switch("purge", "Forget the list here after that").short('p')]],
    run: manifest::push,
};

static REMOVE: Verb = Verb {
    usage: "MANIFEST_LIST [MANIFEST_LIST...]",
    about: "Give up lists that have been begun",
    aliases: &[],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[],
    run: manifest::remove,
};
