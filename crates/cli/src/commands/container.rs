//! Commands about containers.

use super::create_flags::{
    CREATE as CREATE_FLAGS, LIMITS, RESOURCES, RUN as RUN_FLAGS, UPDATE as UPDATE_FLAGS,
};
use super::{files, verb, watch};
use crate::container;
use crate::flags::{Arguments, Entry, Flag, Group, Section, Verb, list, switch, value};

/// `skiff container`.
pub(crate) static CONTAINER: Group =
    Group { path: "container", about: "Manage containers", entries: ENTRIES };

static ENTRIES: &[Entry] = &[
    verb("attach", Section::Plain, &ATTACH),
    verb("commit", Section::Plain, &files::COMMIT),
    verb("cp", Section::Plain, &files::COPY),
    verb("create", Section::Plain, &CREATE),
    verb("diff", Section::Plain, &files::DIFF),
    verb("exec", Section::Plain, &EXEC),
    verb("export", Section::Plain, &files::EXPORT),
    verb("inspect", Section::Plain, &INSPECT),
    verb("kill", Section::Plain, &KILL),
    verb("logs", Section::Plain, &LOGS),
    verb("ls", Section::Plain, &LIST),
    verb("list", Section::Hidden, &LIST),
    verb("ps", Section::Hidden, &LIST),
    verb("pause", Section::Plain, &PAUSE),
    verb("port", Section::Plain, &watch::PORT),
    verb("prune", Section::Plain, &PRUNE),
    verb("rename", Section::Plain, &watch::RENAME),
    verb("restart", Section::Plain, &RESTART),
    verb("rm", Section::Plain, &REMOVE),
    verb("remove", Section::Hidden, &REMOVE),
    verb("run", Section::Plain, &RUN),
    verb("start", Section::Plain, &START),
    verb("stats", Section::Plain, &watch::STATS),
    verb("stop", Section::Plain, &STOP),
    verb("top", Section::Plain, &watch::TOP),
    verb("unpause", Section::Plain, &UNPAUSE),
    verb("update", Section::Plain, &UPDATE),
    verb("wait", Section::Plain, &WAIT),
];

/// Help on `--format` of lists.
pub(crate) const LIST_FORMAT: &str = "Format the output with a template:\n\
    'table':          a table (default)\n\
    'table TEMPLATE': a table with columns of your own, separated by \\t\n\
    'json':           a JSON object a line\n\
    'raw':            key: value lines\n\
    'TEMPLATE':       a Go template, once for each entry";

/// Help on `--format` of single things.
pub(crate) const ONE_FORMAT: &str = "Format the output with a template:\n\
    'json':     JSON on one line\n\
    'TEMPLATE': a Go template";

const DETACH_KEYS: Flag =
    value("detach-keys", "string", "Keys that leave it running (\"ctrl-p,ctrl-q\" by default)");

/// `skiff run`.
pub(crate) static RUN: Verb = Verb {
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Make a container from an image and run it",
    aliases: &["container run", "run"],
    arguments: Arguments::AtLeast(1),
    interspersed: false,
    flags: &[RESOURCES, LIMITS, CREATE_FLAGS, RUN_FLAGS],
    run: container::run::run,
};

/// `skiff create`.
pub(crate) static CREATE: Verb = Verb {
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Make a container from an image without starting it",
    aliases: &["container create", "create"],
    arguments: Arguments::AtLeast(1),
    interspersed: false,
    flags: &[RESOURCES, LIMITS, CREATE_FLAGS],
    run: container::run::create,
};

/// `skiff start`.
pub(crate) static START: Verb = Verb {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start stopped containers",
    aliases: &["container start", "start"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[
        switch("attach", "Show its output, and pass signals on").short('a'),
        value("checkpoint", "string", "Restore from a checkpoint").later("checkpoints"),
        value("checkpoint-dir", "string", "Where checkpoints lie").later("checkpoints"),
        DETACH_KEYS,
        switch("interactive", "Send the caller's stdin").short('i'),
        switch("sig-proxy", "Pass signals on to the container").default("true"),
    ]],
    run: container::start::run,
};

/// `skiff attach`.
pub(crate) static ATTACH: Verb = Verb {
    usage: "[OPTIONS] CONTAINER",
    about: "Connect stdin, stdout and stderr to a running container",
    aliases: &["container attach", "attach"],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[
        DETACH_KEYS,
        switch("no-stdin", "Do not send the caller's stdin"),
        switch("sig-proxy", "Pass signals on to the container").default("true"),
    ]],
    run: container::start::attach,
};

/// `skiff exec`.
pub(crate) static EXEC: Verb = Verb {
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Run a command in a running container",
    aliases: &["container exec", "exec"],
    arguments: Arguments::AtLeast(2),
    interspersed: false,
    flags: &[&[
        switch("detach", "Do not wait for it").short('d'),
        DETACH_KEYS,
        list("env", "list", "Set a variable (NAME=value), or pass the caller's (NAME)").short('e'),
        list("env-file", "list", "Read variables from a file, one a line"),
        switch("interactive", "Send the caller's stdin").short('i'),
        switch("privileged", "Give the command every capability"),
        switch("tty", "Give it a terminal").short('t'),
        value("user", "string", "User to run as (name|uid[:group|gid])").short('u'),
        value("workdir", "string", "Working directory inside").short('w'),
    ]],
    run: container::exec::run,
};

/// `skiff stop`.
pub(crate) static STOP: Verb = Verb {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop running containers",
    aliases: &["container stop", "stop"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[STOP_FLAGS],
    run: container::stop::run,
};

const STOP_FLAGS: &[Flag] = &[
    value("signal", "string", "Signal that asks it to stop").short('s'),
    value("time", "int", "Seconds until SIGKILL")
        .alias("timeout")
        .notice("Flag --time has been deprecated, use --timeout instead"),
    value("timeout", "int", "Seconds until SIGKILL; -1 waits for ever").short('t'),
];

/// `skiff restart`.
pub(crate) static RESTART: Verb = Verb {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop containers that run, and start them",
    aliases: &["container restart", "restart"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[STOP_FLAGS],
    run: container::stop::restart,
};

/// `skiff pause`.
pub(crate) static PAUSE: Verb = Verb {
    usage: "CONTAINER [CONTAINER...]",
    about: "Freeze all processes of containers",
    aliases: &["container pause", "pause"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[],
    run: container::stop::pause,
};

/// `skiff unpause`.
pub(crate) static UNPAUSE: Verb = Verb {
    usage: "CONTAINER [CONTAINER...]",
    about: "Let frozen processes of containers go on",
    aliases: &["container unpause", "unpause"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[],
    run: container::stop::unpause,
};

/// `skiff update`.
pub(crate) static UPDATE: Verb = Verb {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Change limits and restart policy of containers, at once where they run",
    aliases: &["container update", "update"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[RESOURCES, LIMITS, UPDATE_FLAGS],
    run: container::update::run,
};

/// `skiff kill`.
pub(crate) static KILL: Verb = Verb {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Send running containers a signal, SIGKILL by default",
    aliases: &["container kill", "kill"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[value("signal", "string", "Signal to send").short('s').default("\"KILL\"")]],
    run: container::stop::kill,
};

/// `skiff wait`.
pub(crate) static WAIT: Verb = Verb {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Wait until containers stop and print their exit codes",
    aliases: &["container wait", "wait"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[value("condition", "string", "What to wait for: not-running, next-exit or removed")
        .default("not-running")]],
    run: container::stop::wait,
};

/// `skiff rm`.
pub(crate) static REMOVE: Verb = Verb {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove containers",
    aliases: &["container rm", "container remove", "rm"],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[
        switch("force", "Kill it first if it runs; a missing one is no error").short('f'),
        switch("link", "Remove the link of that name instead").short('l'),
        switch("volumes", "Also remove its anonymous volumes, which have no names yet and always go")
            .short('v'),
    ]],
    run: container::remove::run,
};

/// `skiff container prune`.
pub(crate) static PRUNE: Verb = Verb {
    usage: "[OPTIONS]",
    about: "Remove all stopped containers",
    aliases: &[],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        list("filter", "filter", "Only those with label=…, label!=… or until=…"),
        switch("force", "Do not ask").short('f'),
    ]],
    run: container::remove::prune,
};

/// `skiff ps`.
pub(crate) static LIST: Verb = Verb {
    usage: "[OPTIONS]",
    about: "List containers",
    aliases: &["container ls", "container list", "container ps", "ps"],
    arguments: Arguments::Exactly(0),
    interspersed: true,
    flags: &[&[
        switch("all", "Show stopped ones too").short('a'),
        list("filter", "filter", "Only those for which it holds (status=exited, name=…, label=…, …)")
            .short('f'),
        value("format", "string", LIST_FORMAT),
        value("last", "int", "The n that were made last, in every state").short('n').default("-1"),
        switch("latest", "The one that was made last, in every state").short('l'),
        switch("no-trunc", "Shorten nothing"),
        switch("quiet", "Only ids").short('q'),
        switch("size", "Show how much was written").short('s'),
    ]],
    run: container::list::run,
};

/// `skiff logs`.
pub(crate) static LOGS: Verb = Verb {
    usage: "[OPTIONS] CONTAINER",
    about: "Print what a container has written",
    aliases: &["container logs", "logs"],
    arguments: Arguments::Exactly(1),
    interspersed: true,
    flags: &[&[
        switch("details", "Show the attributes of each line"),
        switch("follow", "Go on as it writes").short('f'),
        value("since", "string", "From a time on (2013-01-02T13:23:37Z), or an age (42m)"),
        value("tail", "string", "How many lines from the end").short('n').default("\"all\""),
        switch("timestamps", "Show when each line was written").short('t'),
        value("until", "string", "Up to a time (2013-01-02T13:23:37Z), or an age (42m)"),
    ]],
    run: container::logs::run,
};

/// `skiff container inspect`.
pub(crate) static INSPECT: Verb = Verb {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Print all that is known about containers",
    aliases: &[],
    arguments: Arguments::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value("format", "string", ONE_FORMAT).short('f'),
        switch("size", "Show how much was written").short('s'),
    ]],
    run: crate::inspect::containers,
};
