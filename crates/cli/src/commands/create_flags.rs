//! Flags of `run`, `create` and `update`, and those limits that `build` has too.

use crate::flags::{Flag, list, switch, value};

const NETWORKS: &str = "networks";
const REALTIME: &str = "limits of realtime tasks";
const WINDOWS: &str = "is about Windows containers";
const KERNEL_MEMORY: &str = "WARNING: --kernel-memory is deprecated and has no effect: the kernel counts its own memory to the limit of --memory";

/// Limits of whatever runs: of containers, and of the programs of builds.
pub(crate) const RESOURCES: &[Flag] = &[
    value("cpu-period", "int", "Period of the CPU limit in microseconds"),
    value("cpu-quota", "int", "CPU time per period in microseconds"),
    value("cpu-shares", "int", "Relative weight of CPU time (1024 is normal)").short('c'),
    value("cpus", "decimal", "How many CPUs' worth of time (1.5)"),
    value("cpuset-cpus", "string", "CPUs to run on (0-3, 0,1)"),
    value("cpuset-mems", "string", "Memory nodes to use (0-3, 0,1)"),
    value("memory", "bytes", "Limit of memory").short('m'),
    value("memory-swap", "bytes", "Limit of memory and swap together; -1 for no limit"),
    value("pids-limit", "int", "Limit of processes and threads; -1 for no limit"),
];

/// Limits beyond that, with which a container is made and which can be changed.
pub(crate) const LIMITS: &[Flag] = &[
    value("blkio-weight", "uint16", "Relative weight of block I/O, 10 to 1000; 0 leaves it to the kernel"),
    value("cpu-rt-period", "int", "Period of the realtime CPU limit in microseconds").later(REALTIME),
    value("cpu-rt-runtime", "int", "Realtime CPU time per period in microseconds").later(REALTIME),
    value("kernel-memory", "bytes", "Limit of kernel memory").ignored().notice(KERNEL_MEMORY),
    value("memory-reservation", "bytes", "Soft limit of memory"),
];

/// What `run` and `create` take beyond that.
pub(crate) const CREATE: &[Flag] = &[
    list("add-host", "list", "Add a line to /etc/hosts (name:ip)").later(NETWORKS),
    list("annotation", "map", "Add an annotation for the OCI runtime")
        .later("OCI runtimes other than Skiff's own"),
    list("attach", "list", "Attach to stdin, stdout or stderr").short('a'),
    list("blkio-weight-device", "list", "Relative weight of block I/O on a device (path:weight)"),
    list("cap-add", "list", "Give a capability"),
    list("cap-drop", "list", "Take a capability away"),
    value("cgroup-parent", "string", "Control group under which the container's is made"),
    value("cgroupns", "string", "Control group namespace: private (default) or host"),
    value("cidfile", "string", "Write the container's id to a new file"),
    value("cpu-count", "int", "CPUs").never(WINDOWS),
    value("cpu-percent", "int", "Per cent of the CPUs").never(WINDOWS),
    list(
        "device",
        "list",
        "Give a device of the host (host[:container][:rwm]), or one by its CDI name (vendor.com/class=name)",
    ),
    list("device-cgroup-rule", "list", "Add a rule on device access (c 10:200 rwm)"),
    list("device-read-bps", "list", "Limit reading from a device, in bytes per second (path:rate)"),
    list("device-read-iops", "list", "Limit reading from a device, in operations per second (path:rate)"),
    list("device-write-bps", "list", "Limit writing to a device, in bytes per second (path:rate)"),
    list("device-write-iops", "list", "Limit writing to a device, in operations per second (path:rate)"),
    switch("disable-content-trust", "Skip the verification of the image").ignored(),
    list("dns", "list", "Name server").later(NETWORKS),
    list("dns-opt", "list", "Resolver option").later(NETWORKS),
    list("dns-option", "list", "Resolver option").later(NETWORKS),
    list("dns-search", "list", "Domain to search").later(NETWORKS),
    value("domainname", "string", "NIS domain name"),
    value("drift", "string", "Programs that are not part of the image: none, report or block")
        .default("\"none\""),
    value("entrypoint", "string", "Program to run instead of the image's; empty for none"),
    list("env", "list", "Set a variable (NAME=value), or pass the caller's (NAME)").short('e'),
    list("env-file", "list", "Read variables from a file, one a line"),
    list("expose", "list", "Mark a port as one the container listens on").later(NETWORKS),
    list("gpus", "gpu-request", "Give GPUs")
        .never("asks for what has a name here: --device nvidia.com/gpu=all"),
    list("group-add", "list", "Join a further group, by name or number"),
    value("health-cmd", "string", "Command that checks health"),
    value("health-interval", "duration", "Time between two checks"),
    value("health-retries", "int", "Failures in a row that count as unhealthy"),
    value("health-start-interval", "duration", "Time between checks at first"),
    value("health-start-period", "duration", "Time in which failures do not count"),
    value("health-timeout", "duration", "Longest time of one check"),
    value("hostname", "string", "Host name inside; the container's short id by default").short('h'),
    switch("init", "Run a first process that forwards signals and reaps orphans"),
    switch("interactive", "Keep stdin open, and send the caller's").short('i'),
    value("io-maxbandwidth", "bytes", "Limit of the system drive").never(WINDOWS),
    value("io-maxiops", "uint", "Limit of the system drive").never(WINDOWS),
    value("ip", "ip", "IPv4 address").later(NETWORKS),
    value("ip6", "ip", "IPv6 address").later(NETWORKS),
    value("ipc", "string", "IPC namespace: private, shareable, none, host or container:NAME"),
    value("isolation", "string", "Isolation technology").never(WINDOWS),
    list("label", "list", "Set a label (key=value)").short('l'),
    list("label-file", "list", "Read labels from a file, one a line"),
    list("link", "list", "Link to another container").later(NETWORKS),
    list("link-local-ip", "list", "Link-local address").later(NETWORKS),
    value("log-driver", "string", "How output is logged: json-file, local, journald, syslog or none"),
    list("log-opt", "list", "Option of the log driver (max-size=16m, tag={{.Name}})"),
    value("mac-address", "string", "Hardware address").later(NETWORKS),
    value("memory-swappiness", "int", "Readiness to swap, 0 to 100; -1 leaves it to the kernel"),
    list("mount", "mount", "Mount something (type=bind|tmpfs, source=…, target=…, readonly, …)"),
    value("name", "string", "Name of the container; one is made up by default"),
    list("net", "network", "Network").alias("network"),
    list("net-alias", "list", "Name on the network").later(NETWORKS),
    list("network", "network", "Network: none, host or container:NAME"),
    list("network-alias", "list", "Name on the network").later(NETWORKS),
    switch("no-healthcheck", "Leave out the image's health check"),
    value("on-unhealthy", "string", "What to do when it is unhealthy: none, restart, stop or kill")
        .default("\"none\""),
    switch("oom-kill-disable", "Let processes wait instead of being killed when memory runs out"),
    value("oom-score-adj", "int", "How readily the kernel kills it when memory runs out (-1000 to 1000)"),
    value("pid", "string", "Process id namespace: host or container:NAME"),
    value("platform", "string", "Platform of the image (os[/arch[/variant]])"),
    switch("privileged", "Give every capability and device, and lift most confinement"),
    list("publish", "list", "Make a port reachable from the host").short('p').later(NETWORKS),
    switch("publish-all", "Make every exposed port reachable").short('P').later(NETWORKS),
    value("pull", "string", "When to fetch the image: always, missing or never").default("\"missing\""),
    switch("quiet", "Show no progress while fetching the image").short('q'),
    switch("read-only", "Mount the root file system read-only"),
    value("restart", "string", "What follows its end: no, always, unless-stopped or on-failure[:retries]")
        .default("\"no\""),
    switch("rm", "Remove the container when it exits"),
    value("runtime", "string", "OCI runtime").later("OCI runtimes other than Skiff's own"),
    list(
        "security-opt",
        "list",
        "no-new-privileges[=true|false], seccomp=FILE|unconfined|builtin, systempaths=unconfined",
    ),
    value("shm-size", "bytes", "Size of /dev/shm (64m by default)"),
    value("stop-signal", "string", "Signal that asks the container to stop"),
    value("stop-timeout", "int", "Seconds from that signal to SIGKILL; -1 waits for ever"),
    list("storage-opt", "list", "Limit of what the container writes (size=10G)"),
    list("sysctl", "map", "Set a kernel parameter of the container's namespaces (name=value)"),
    list("tmpfs", "list", "Mount an empty tmpfs (path[:options])"),
    switch("tty", "Give it a terminal").short('t'),
    list("ulimit", "ulimit", "Set a resource limit (nofile=1024:2048)"),
    switch("use-api-socket", "Bind the API's socket").later("the API server"),
    value("user", "string", "User to run as (name|uid[:group|gid])").short('u'),
    value("userns", "string", "User namespace: private (default) or host"),
    value("uts", "string", "Host name namespace: host"),
    list("volume", "list", "Bind a path of the host ([source:]target[:options])").short('v'),
    value("volume-driver", "string", "Volume driver").later("volumes"),
    list("volumes-from", "list", "Mount what another container mounts").later("volumes"),
    value("workdir", "string", "Working directory inside").short('w'),
];

/// What `run` takes beyond that.
pub(crate) const RUN: &[Flag] = &[
    switch("detach", "Leave it running and print its id").short('d'),
    value("detach-keys", "string", "Keys that leave it running (\"ctrl-p,ctrl-q\" by default)"),
    switch("sig-proxy", "Pass signals on to the container").default("true"),
];

/// What `update` takes beyond the limits.
pub(crate) const UPDATE: &[Flag] =
    &[value("restart", "string", "What follows its end: no, always, unless-stopped or on-failure[:retries]")];
