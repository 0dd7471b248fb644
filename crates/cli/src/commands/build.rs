//! Commands that build images.

use super::create_flags::RESOURCES;
use super::{builder, verb};
use crate::build;
use crate::flags::{Arguments, Flag, Group, Section, Verb, list, switch, value};

/// `skiff builder`.
pub(crate) static BUILDER: Group = Group {
    path: "builder",
    about: "Build images, and manage what builds keep",
    entries: &[
        verb("build", Section::Plain, &BUILD),
        verb("du", Section::Plain, &builder::DISK_USAGE),
        verb("prune", Section::Plain, &builder::PRUNE),
    ],
};

/// `skiff buildx`: what scripts that name Docker's plug-in expect.
pub(crate) static BUILDX: Group = Group {
    path: "buildx",
    about: "Build images, by the names that Docker's plug-in has for it",
    entries: &[
        verb("bake", Section::Plain, &BAKE),
        verb("f", Section::Hidden, &BAKE),
        verb("build", Section::Plain, &BUILD),
        verb("b", Section::Hidden, &BUILD),
        verb("du", Section::Plain, &builder::DISK_USAGE),
        verb("prune", Section::Plain, &builder::PRUNE_X),
    ],
};

const ISOLATION: &str = "WARNING: --isolation has no effect: what a build runs is isolated as containers are";
const SECURITY: &str = "WARNING: --security-opt has no effect: a Dockerfile asks for more by RUN --security=insecure, with --allow security.insecure";
const SQUASH: &str =
    "WARNING: --squash has no effect: copy what is wanted into a last stage of the Dockerfile";
const BUILDER_NAME: &str = "WARNING: --builder has no effect: there is one builder, the one that is built in";

/// `skiff build`.
pub(crate) static BUILD: Verb = Verb {
    usage: "[OPTIONS] PATH | URL | -",
    about: "Build an image from a Dockerfile",
    aliases: &["build", "builder build", "buildx b", "buildx build", "image build"],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[FILES, RESULTS, RUNS, RESOURCES, LEGACY],
    run: build::run,
};

/// `skiff bake`.
pub(crate) static BAKE: Verb = Verb {
    usage: "[OPTIONS] [URL] [TARGET...]",
    about: "Build the targets of bake files (HCL, JSON, Compose); also as skiff build bake",
    aliases: &["bake", "buildx bake", "buildx f"],
    arguments: Arguments::AtLeast(0),
    interspersed: true,
    flags: &[&[
        list(
            "allow",
            "list",
            "Allow what targets ask for (network.host, security.insecure, device, ssh, fs.read=path …)",
        ),
        value("builder", "string", "Builder").ignored().notice(BUILDER_NAME),
        value("call", "string", "What to do with the Dockerfiles: build, check, outline or targets"),
        switch("check", "Check the Dockerfiles without building them"),
        list("file", "list", "Bake file, instead of those of this folder; - for stdin").short('f'),
        value(
            "list",
            "string",
            "List what can be built, or what it depends on: targets or variables[,format=json]",
        ),
        switch("load", "Keep the images here"),
        value("metadata-file", "string", "Write what is known of the results to a file, as JSON"),
        switch("no-cache", "Make everything anew"),
        value("parallel", "int", "How many programs run at once, of all targets together").default("32"),
        list("policy", "list", "Shorthand of --set *.policy+=… (disabled=true: build without)"),
        switch("print", "Print the targets as JSON, without building them"),
        value("progress", "string", "How to show how far it is: auto, plain, tty, rawjson, quiet or none")
            .default("\"auto\""),
        value("provenance", "string", "Shorthand of --set *.attest=type=provenance"),
        switch("pull", "Ask registries for newer base images"),
        switch("push", "Send the images to their registries"),
        switch("quiet", "Print the images' ids alone").short('q'),
        value("sbom", "string", "Shorthand of --set *.attest=type=sbom"),
        list("set", "list", "Change a target (target.key=value)"),
        list("var", "list", "Set a variable (name=value)"),
        list("variable", "list", "").alias("var"),
    ]],
    run: build::bake::run,
};

/// What is built, of what.
const FILES: &[Flag] = &[
    list("build-arg", "list", "Set an argument (NAME=value), or pass the caller's variable (NAME)"),
    list("build-context", "list", "Further files by name (name=path, docker-image://…, oci-layout://…, URL)"),
    value("call", "string", "What to do with the Dockerfile: build, check, outline or targets[,format=json]")
        .default("\"build\""),
    value("print", "string", "").alias("call"),
    switch("check", "Check the Dockerfile without building it"),
    value("file", "string", "Dockerfile, instead of the one in PATH; - for stdin").short('f'),
    value("format", "string", "How to print what --check and --call find: text, json or sarif")
        .default("\"text\""),
    value(
        "lint",
        "string",
        "What follows if the checks find something: warn, error (the build fails) or off",
    )
    .default("\"warn\""),
    list("no-cache-filter", "list", "Stages that are made anew"),
    switch("no-cache", "Make everything anew"),
    switch("debug", "Show all that is known about what the checks find").short('D'),
    list("policy", "list", "Build policies, which are not evaluated here (disabled=true: build without)"),
    list("platform", "list", "Platforms to build for (os[/arch[/variant]])"),
    switch("pull", "Ask registries for newer base images"),
    list("secret", "list", "Secret that RUN may mount (id=name[,src=path|,env=NAME])"),
    list("ssh", "list", "Agent that RUN may mount (default|id[=socket])"),
    value("target", "string", "Stage to build, instead of the last"),
];

/// What becomes of the result.
const RESULTS: &[Flag] = &[
    list("annotation", "list", "Add an annotation ([type:]key=value)"),
    list("attest", "list", "What to attest (type=sbom|provenance[,…])"),
    list("cache-from", "list", "Cache of earlier builds (name, or type=registry|local|tar,…)"),
    list(
        "cache-mounts-from",
        "list",
        "Where to fill empty cache mounts from (name, or type=registry|local|tar,…)",
    ),
    list("cache-mounts-to", "list", "Where to keep cache mounts (name, or type=registry|local|tar,…)"),
    list("cache-to", "list", "Where to keep the cache (name, or type=registry|local|tar|inline,…)"),
    value("iidfile", "string", "Write the image's id to a file"),
    list("label", "list", "Set a label (key=value)"),
    switch("load", "Keep the image here; the default unless --output says otherwise"),
    list(
        "output",
        "list",
        "Where the result goes (path, -, or type=image, local, tar, oci, docker or registry)",
    )
    .short('o'),
    value("metadata-file", "string", "Write what is known of the result to a file, as JSON"),
    value(
        "progress",
        "string",
        "How to show how far it is: auto, plain, tty, rawjson, quiet or none (BUILDKIT_PROGRESS)",
    )
    .default("\"auto\""),
    value("provenance", "string", "Shorthand of --attest type=provenance (true, false, mode=max)"),
    switch("push", "Send the image to its registry"),
    switch("quiet", "Print the image's id alone").short('q'),
    value("sbom", "string", "Shorthand of --attest type=sbom (true, false)"),
    list("tag", "list", "Name of the image (name[:tag])").short('t'),
    switch("timings", "Say at the end where the time went; the default on a terminal"),
];

/// How programs run, beside what limits them.
const RUNS: &[Flag] = &[
    list("add-host", "list", "Add a line to /etc/hosts (name:ip)"),
    list("allow", "list", "Allow what a Dockerfile asks for (network.host, security.insecure, device)"),
    value("cgroup-parent", "string", "Control group under which those of RUN are made"),
    value("network", "string", "Network of RUN: default, none or host").default("\"default\""),
    value("parallel", "int", "How many programs run at once").default("32"),
    list(
        "resource",
        "list",
        "Limits in one flag (memory=1g,cpu-quota=50000; also memory-swap, cpu-shares, cpu-period, cpuset-cpus, cpuset-mems)",
    ),
    value("shm-size", "bytes", "Size of /dev/shm"),
    list("ulimit", "ulimit", "Set a resource limit (nofile=1024:2048)"),
];

/// What earlier builders had, and scripts still say.
const LEGACY: &[Flag] = &[
    value("builder", "string", "Builder").ignored().notice(BUILDER_NAME),
    switch("compress", "Compress the context").ignored(),
    switch("disable-content-trust", "Skip the verification of signatures").ignored(),
    switch("force-rm", "Remove intermediate containers").ignored(),
    value("isolation", "string", "Isolation technology").ignored().notice(ISOLATION),
    switch("rm", "Remove intermediate containers").ignored(),
    list("security-opt", "list", "Security options").ignored().notice(SECURITY),
    switch("squash", "Squash layers").ignored().notice(SQUASH),
];
