//! `spec`, a bundle's first `config.json`; and the commands that are refused.

use std::collections::BTreeMap;
use std::path::Path;

use linux::file;
use oci::runtime::{
    Capabilities, DeviceRule, IdMapping, Linux, Mount, Namespace, Process, Resources, Rlimit, Root,
    SPEC_VERSION, Spec,
};

use super::Global;
use super::args::{Command, Flag, Parsed};
use super::error::{Error, Result};
use super::launch::BUNDLE;

pub(super) const SPEC: Command = Command {
    name: "spec",
    about: "Write a config.json to start from",
    usage: "[OPTIONS]",
    flags: &[BUNDLE, Flag::switch("rootless", "for an ordinary user: with a user namespace")],
    arguments: (0, 0),
    flags_lead: false,
    run: spec,
};

pub(super) const CHECKPOINT: Command = Command {
    name: "checkpoint",
    about: "Refused: processes are not frozen to disk",
    usage: "[OPTIONS] ID",
    flags: &[],
    arguments: (0, usize::MAX),
    flags_lead: true,
    run: |_, _| refuse("checkpoint"),
};

pub(super) const RESTORE: Command = Command {
    name: "restore",
    about: "Refused: processes are not brought back from disk",
    usage: "[OPTIONS] ID",
    flags: &[],
    arguments: (0, usize::MAX),
    flags_lead: true,
    run: |_, _| refuse("restore"),
};

fn refuse(command: &str) -> Result<u8> {
    Err(Error::Unsupported { what: command.to_owned(), why: "it needs CRIU, which is not used" })
}

fn spec(_global: &Global, parsed: &Parsed) -> Result<u8> {
    let path = Path::new(parsed.value("bundle").unwrap_or(".")).join("config.json");
    if path.exists() {
        return Err(Error::usage(format!("{} exists; remove it first", path.display())));
    }
    let spec = if parsed.on("rootless") { rootless(template()) } else { template() };
    let text =
        serde_json::to_vec_pretty(&spec).map_err(|source| Error::Json { path: path.clone(), source })?;
    file::write(&path, &text)?;
    Ok(0)
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// A shell in a root file system that is only read, with three capabilities.
fn template() -> Spec {
    let capabilities = words("CAP_AUDIT_WRITE CAP_KILL CAP_NET_BIND_SERVICE");
    Spec {
        oci_version: SPEC_VERSION.into(),
        process: Some(Process {
            terminal: true,
            args: words("sh"),
            env: words("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=xterm"),
            cwd: "/".into(),
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                effective: capabilities.clone(),
                permitted: capabilities,
                ..Capabilities::default()
            }),
            rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".into(), hard: 1024, soft: 1024 }],
            no_new_privileges: true,
            ..Process::default()
        }),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        hostname: "skiff".into(),
        mounts: mounts(),
        linux: Some(Linux {
            resources: Some(Resources {
                devices: vec![DeviceRule { allow: false, access: "rwm".into(), ..DeviceRule::default() }],
                ..Resources::default()
            }),
            namespaces: ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(namespace).into(),
            masked_paths: words(
                "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats
                /proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap",
            ),
            readonly_paths: words("/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"),
            ..Linux::default()
        }),
        ..Spec::default()
    }
}

fn namespace(kind: &str) -> Namespace {
    Namespace { kind: kind.into(), path: String::new() }
}

fn mounts() -> Vec<Mount> {
    let table = [
        ("/proc", "proc", "proc", ""),
        ("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
        ("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
        ("/dev/shm", "tmpfs", "shm", "nosuid noexec nodev mode=1777 size=65536k"),
        ("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
        ("/sys", "sysfs", "sysfs", "nosuid noexec nodev ro"),
        ("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid noexec nodev relatime ro"),
    ];
    let mount = |(destination, kind, source, options): (&str, &str, &str, &str)| Mount {
        destination: destination.into(),
        kind: kind.into(),
        source: source.into(),
        options: words(options),
        ..Mount::default()
    };
    table.map(mount).into()
}

/// What an ordinary user may have: ids of his own, the host's network, no mounts that only root may make.
fn rootless(mut spec: Spec) -> Spec {
    let map = |id: u32| vec![IdMapping { container_id: 0, host_id: id, size: 1 }];
    if let Some(linux) = &mut spec.linux {
        linux.namespaces.retain(|namespace| namespace.kind != "network");
        linux.namespaces.push(namespace("user"));
        linux.uid_mappings = map(rustix::process::geteuid().as_raw());
        linux.gid_mappings = map(rustix::process::getegid().as_raw());
        linux.resources = None;
    }
    spec.mounts.retain(|mount| mount.destination != "/sys/fs/cgroup");
    for mount in &mut spec.mounts {
        match mount.destination.as_str() {
            // The one group that is mapped is root's.
            "/dev/pts" => mount.options.retain(|option| option != "gid=5"),
            // A new sysfs belongs to whoever owns the network namespace.
            "/sys" => {
                (mount.kind, mount.source) = ("none".into(), "/sys".into());
                mount.options = words("rbind nosuid noexec nodev ro");
            }
            _ => {}
        }
    }
    spec.annotations = BTreeMap::new();
    spec
}
