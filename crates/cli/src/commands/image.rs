//! Commands about images.

use super::container::{LIST_FORMAT, ONE_FORMAT};
use super::verb;
use crate::flags::{Arguments, Entry, Group, Section, Verb, list, switch, value};
use crate::image;

/// `skiff image`.
pub(crate) static IMAGE: Group = Group { path: "image", about: "Manage images", entries: ENTRIES };

static ENTRIES: &[Entry] = &[
    verb("bootstrap", Section::Plain, &BOOTSTRAP),
    verb("build", Section::Plain, &super::build::BUILD),
    verb("copy", Section::Plain, &COPY),
    verb("history", Section::Plain, &HISTORY),
    verb("import", Section::Plain, &IMPORT),
    verb("inspect", Section::Plain, &INSPECT),
    verb("load", Section::Plain, &LOAD),
    verb("ls", Section::Plain, &LIST),
    verb("list", Section::Hidden, &LIST),
    verb("prune", Section::Plain, &PRUNE),
    verb("pull", Section::Plain, &PULL),
    verb("push", Section::Plain, &PUSH),
    verb("referrers", Section::Plain, &REFERRERS),
    verb("repair", Section::Plain, &REPAIR),
    verb("rm", Section::Plain, &REMOVE),
    verb("remove", Section::Hidden, &REMOVE),
    verb("save", Section::Plain, &SAVE),
    verb("tag", Section::Plain, &TAG),
    verb("tags", Section::Plain, &TAGS),
    verb("verify", Section::Plain, &VERIFY),
];

/// `skiff images`.
pub(crate) static LIST: Verb = Verb {
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    aliases: &["image ls", "image list", "images"],
    arguments: Arguments::AtMost(1),
    interspersed: true,
    flags: &[&[
        switch("all", "Show images without a name too").short('a'),
        switch("digests", "Show digests"),
        list("filter", "filter", "Only those for which it holds (dangling=true, reference=…, label=…, …)")
            .short('f'),
        value("format", "string", LIST_FORMAT),
        switch("no-trunc", "Shorten nothing"),
        switch("quiet", "Only ids").short('q'),
        switch("tree", "Show platforms below their image"),
    ]],
    run: image::list::run,
};

/// `skiff image inspect`.
pub(crate) static INSPECT: Verb = Verb {
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Print all that is known about images",
    aliases: &[],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value("format", "string", ONE_FORMAT).short('f'),
        value(
            "platform",
            "string",
            "Of an image for several platforms, the one to show (os[/arch[/variant]])",
        ),
    ]],
    run: crate::inspect::images,
};

/// `skiff history`.
pub(crate) static HISTORY: Verb = Verb {
    usage: "[OPTIONS] IMAGE",
    about: "Show how an image came to be",
    aliases: &["image history", "history"],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[
        value("format", "string", LIST_FORMAT),
        switch("human", "Show sizes and times rounded").short('H').default("true"),
        switch("no-trunc", "Shorten nothing"),
        value(
            "platform",
            "string",
            "Of an image for several platforms, the one to show (os[/arch[/variant]])",
        ),
        switch("quiet", "Only ids").short('q'),
    ]],
    run: image::history::run,
};

/// `skiff load`.
pub(crate) static LOAD: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Load images from an archive or from stdin",
    aliases: &["image load", "load"],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        switch("all-platforms", "Of an image for several platforms, load all"),
        value("input", "string", "Archive, or folder with an OCI layout, instead of stdin").short('i'),
        list("platform", "strings", "Of an image for several platforms, those to load (os[/arch[/variant]])"),
        switch("quiet", "Print less").short('q'),
    ]],
    run: image::archive::load,
};

/// `skiff save`.
pub(crate) static SAVE: Verb = Verb {
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Write images to an archive or to stdout",
    aliases: &["image save", "save"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value("output", "string", "File to write instead of stdout").short('o'),
        list("platform", "strings", "Save only the image for this platform (os[/arch[/variant]])"),
    ]],
    run: image::archive::save,
};

/// `skiff import`.
pub(crate) static IMPORT: Verb = Verb {
    usage: "[OPTIONS] file|- [REPOSITORY[:TAG]]",
    about: "Make an image from a tar of a root file system",
    aliases: &["image import", "import"],
    arguments: Arguments::Between(1, 2),
    interspersed: true,
    flags: &[&[
        list("change", "list", "Apply an instruction of a Dockerfile (CMD, ENV, USER, …)").short('c'),
        value("message", "string", "Comment of the image").short('m'),
        value("platform", "string", "Platform of the image (os[/arch[/variant]])"),
    ]],
    run: image::archive::import,
};

/// `skiff pull`.
pub(crate) static PULL: Verb = Verb {
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Fetch an image from a registry",
    aliases: &["image pull", "pull"],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[
        switch("all-platforms", "Of an image for several platforms, fetch all"),
        switch("all-tags", "Fetch every tag of the repository").short('a'),
        switch("disable-content-trust", "Skip the verification of signatures").ignored(),
        value(
            "platform",
            "string",
            "Of an image for several platforms, the one to fetch (os[/arch[/variant]])",
        ),
        value("progress", "string", "How to show how far it is: auto, plain or json").default("\"auto\""),
        switch("quiet", "Print the name alone").short('q'),
    ]],
    run: image::pull::run,
};

/// `skiff image copy`.
static COPY: Verb = Verb {
    usage: "[OPTIONS] SOURCE[:TAG|@DIGEST] TARGET[:TAG]",
    about: "Copy an image from one registry to another, or within one, without storing it here",
    aliases: &[],
    arguments: Arguments::Exactly(2),
    interspersed: true,
    flags: &[&[
        switch("all-tags", "Copy every tag of the repository").short('a'),
        value("platform", "string", "Copy only the image for this platform (os[/arch[/variant]])"),
        value("progress", "string", "How to show how far it is: auto, plain or json").default("\"auto\""),
        switch("quiet", "Print the name alone").short('q'),
        switch("referrers", "Copy also what refers to it, such as signatures and bills of material"),
    ]],
    run: image::copy::run,
};

/// `skiff push`.
pub(crate) static PUSH: Verb = Verb {
    usage: "[OPTIONS] NAME[:TAG]",
    about: "Send an image to a registry",
    aliases: &["image push", "push"],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[
        switch("all-tags", "Send every tag of the repository").short('a'),
        switch("disable-content-trust", "Skip the signing of images").ignored(),
        value("platform", "string", "Of an image for several platforms, the one to send"),
        value("progress", "string", "How to show how far it is: auto, plain or json").default("\"auto\""),
        switch("quiet", "Print the name alone").short('q'),
    ]],
    run: image::push::run,
};

/// `skiff image referrers`.
static REFERRERS: Verb = Verb {
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "List what refers to an image, such as signatures and bills of material",
    aliases: &[],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[
        value("artifact-type", "string", "Only those of this type"),
        value("format", "string", LIST_FORMAT),
        switch("local", "Documents kept with an image here, instead of what its registry has"),
        switch("quiet", "Only digests").short('q'),
    ]],
    run: image::referrers::run,
};

/// `skiff rmi`.
pub(crate) static REMOVE: Verb = Verb {
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove images",
    aliases: &["image rm", "image remove", "rmi"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[
        switch("force", "Also when stopped containers use it or it has several names").short('f'),
        switch("no-prune", "Keep parents that have no name").ignored(),
        list("platform", "strings", "Remove only the image for this platform (os[/arch[/variant]])"),
    ]],
    run: image::remove::run,
};

/// `skiff image prune`.
pub(crate) static PRUNE: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Remove images that have no name, or with --all those that no container uses",
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        switch("all", "Remove every image that no container uses").short('a'),
        switch("auto", "Do not ask: remove what gc.toml says, if the disk is fuller than it says"),
        list("filter", "filter", "Only those with label=…, label!=…, until=… or dangling=…"),
        switch("force", "Do not ask").short('f'),
        value(
            "keep",
            "int",
            "Remove every image that no container uses but so many of each repository, the newest",
        ),
        value("until", "string", "Only those made before this: a time, or how long ago (24h)"),
    ]],
    run: image::remove::prune,
};

/// `skiff tag`.
pub(crate) static TAG: Verb = Verb {
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Give an image another name",
    aliases: &["image tag", "tag"],
    arguments: Arguments::Exactly(2),
    interspersed: true,
    flags: &[],
    run: image::remove::tag,
};

/// `skiff image verify`.
pub(crate) static VERIFY: Verb = Verb {
    usage: "[IMAGE...]",
    about: "Read everything that belongs to images, all by default, and compare it with its digests",
    aliases: &[],
    arguments: Arguments::AtLeast(0),
    interspersed: true,
    flags: &[],
    run: image::remove::verify,
};

/// `skiff image repair`.
static REPAIR: Verb = Verb {
    usage: "[OPTIONS] [IMAGE...]",
    about: "Fetch again what is damaged or missing of images, all by default, from where they came",
    aliases: &[],
    arguments: Arguments::AtLeast(0),
    interspersed: true,
    flags: &[&[
        value("progress", "string", "How to show how far it is: auto, plain or json").default("\"auto\""),
        switch("quiet", "Show no progress").short('q'),
    ]],
    run: image::repair::run,
};

/// `skiff image bootstrap`.
static BOOTSTRAP: Verb = Verb {
    usage: "[OPTIONS] SYSTEM:SUITE [PACKAGE[=VERSION]...]",
    about: "Make a reproducible image straight from an archive of Debian or Ubuntu",
    aliases: &[],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[
        switch("allow-expired", "Take an archive past the time for which it was signed, such as a snapshot"),
        list("component", "string", "Parts of the archive (default main)"),
        value("keyring", "file", "Keys to trust, instead of the distribution's below /usr/share/keyrings"),
        value("mirror", "url", "Archive to read (http, https or file), instead of the distribution's own"),
        value("platform", "string", "Platform of the image (os[/arch[/variant]])"),
        switch("quiet", "Print only the id").short('q'),
        list("source", "string", "Read a further suite as well: \"URL SUITE [COMPONENT...]\""),
        value("tag", "string", "Name of the image, instead of SYSTEM:SUITE").short('t'),
        value("timeout", "duration", "Longest time that the scripts of packages may take").default("1h"),
        value(
            "variant",
            "string",
            "What comes along: minbase, a minimal system with apt, or distroless, only what the packages need",
        )
        .default("minbase"),
    ]],
    run: image::bootstrap::run,
};

/// `skiff image tags`.
pub(crate) static TAGS: Verb = Verb {
    usage: "NAME",
    about: "List the tags that a repository has in its registry",
    aliases: &[],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[],
    run: image::login::tags,
};

/// `skiff search`.
pub(crate) static SEARCH: Verb = Verb {
    usage: "[OPTIONS] TERM",
    about: "Look for images in Docker Hub, or in the registry that stands before the term",
    aliases: &[],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[
        list("filter", "filter", "Only those for which it holds (is-official=true, stars=3)").short('f'),
        value("format", "string", LIST_FORMAT),
        value("limit", "int", "How many to ask for, 100 at most (default 25)"),
        switch("no-trunc", "Shorten nothing"),
    ]],
    run: image::search::run,
};

/// `skiff login`.
pub(crate) static LOGIN: Verb = Verb {
    usage: "[OPTIONS] [SERVER]",
    about: "Keep a name and a password for a registry, Docker's by default",
    aliases: &[],
    arguments: Arguments::AtMost(1),
    interspersed: true,
    flags: &[&[
        value("password", "string", "Password or token, which others can see here").short('p'),
        switch("password-stdin", "Read the password from stdin"),
        value("username", "string", "Name").short('u'),
    ]],
    run: image::login::login,
};

/// `skiff logout`.
pub(crate) static LOGOUT: Verb = Verb {
    usage: "[SERVER]",
    about: "Forget the name and the password for a registry, Docker's by default",
    aliases: &[],
    arguments: Arguments::AtMost(1),
    interspersed: true,
    flags: &[],
    run: image::login::logout,
};
