//! `linux`: namespaces, id maps, devices, sysctls, control group and seccomp.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use cgroup::{DeviceKind as RuleKind, DeviceRule};
use oci::runtime as spec;
use oci::runtime::Spec;

use super::error::{Result, SpecError, invalid, missing, unsupported};
use super::{mounts, no_nul, resources};
use crate::plan::{
    DEFAULT_DEVICES, Device, DeviceKind, IdMap, IdMaps, Namespace, Namespaces, Propagation, SeccompFilter,
    TimeOffsets,
};
use crate::seccomp::{self, Abi, Profile};

/// Refuses what is not built, by name.
pub(super) fn refuse_unsupported(linux: &spec::Linux) -> Result<()> {
    if !linux.net_devices.is_empty() {
        return unsupported("linux.netDevices", "moving network devices is not built");
    }
    if linux.intel_rdt.is_some() {
        return unsupported("linux.intelRdt", "resctrl is not used");
    }
    if !linux.mount_label.is_empty() {
        return unsupported("linux.mountLabel", "mounts are not labelled");
    }
    Ok(())
}

pub(super) fn namespaces(linux: &spec::Linux) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    for namespace in &linux.namespaces {
        let field = "linux.namespaces";
        let slot = match namespace.kind.as_str() {
            "user" => &mut namespaces.user,
            "mount" => &mut namespaces.mount,
            "pid" => &mut namespaces.pid,
            "network" => &mut namespaces.network,
            "ipc" => &mut namespaces.ipc,
            "uts" => &mut namespaces.uts,
            "cgroup" => &mut namespaces.cgroup,
            "time" => &mut namespaces.time,
            other => return invalid(field, other, "is no kind of namespace"),
        };
        if *slot != Namespace::Inherit {
            return invalid(field, &namespace.kind, "is there twice");
        }
        no_nul(field, &namespace.path)?;
        *slot = match namespace.path.as_str() {
            "" => Namespace::New,
            path if path.starts_with('/') => Namespace::Join(PathBuf::from(path)),
            path => return invalid(field, path, "must be absolute"),
        };
    }
    match namespaces.mount {
        Namespace::New => Ok(namespaces),
        Namespace::Inherit => unsupported(
            "linux.namespaces without a new mount namespace",
            "the root file system is made in it",
        ),
        // runc pivots in the joined namespace: whoever lives there gets the container's root for their own, the paths of
        // rootfs and mounts are looked up where they can rename them, and in the host's own the host's root is gone.
        Namespace::Join(_) => unsupported(
            "linux.namespaces: joining a mount namespace",
            "the change of root would change it for whoever lives there, too",
        ),
    }
}

/// Settings that live in a namespace need that namespace to be the container's own.
pub(super) fn check_dependent(spec: &Spec, linux: &spec::Linux, namespaces: &Namespaces) -> Result<()> {
    let private_uts = namespaces.uts != Namespace::Inherit;
    if !private_uts && !spec.hostname.is_empty() {
        return invalid("hostname", &spec.hostname, "needs a uts namespace");
    }
    if !private_uts && !spec.domainname.is_empty() {
        return invalid("domainname", &spec.domainname, "needs a uts namespace");
    }
    if namespaces.user == Namespace::Inherit
        && !(linux.uid_mappings.is_empty() && linux.gid_mappings.is_empty())
    {
        return unsupported("linux.uidMappings or linux.gidMappings", "there is no user namespace");
    }
    Ok(())
}

/// Maps of a new user namespace; one that is joined has its own.
pub(super) fn id_maps(linux: &spec::Linux, namespaces: &Namespaces) -> Result<IdMaps> {
    if namespaces.user != Namespace::New {
        return Ok(IdMaps::default());
    }
    if linux.uid_mappings.is_empty() {
        return missing("linux.uidMappings (for the new user namespace)");
    }
    if linux.gid_mappings.is_empty() {
        return missing("linux.gidMappings (for the new user namespace)");
    }
    Ok(IdMaps {
        uid: id_map("linux.uidMappings", &linux.uid_mappings)?,
        gid: id_map("linux.gidMappings", &linux.gid_mappings)?,
    })
}

/// Lines of an id map, none empty, no two of them with an id in common (user_namespaces(7)).
pub(super) fn id_map(field: &str, mappings: &[spec::IdMapping]) -> Result<Vec<IdMap>> {
    let mut lines: Vec<IdMap> = Vec::new();
    for mapping in mappings {
        let line = mounts::line(mapping);
        let text = format!("{} {} {}", line.inside, line.outside, line.count);
        if line.count == 0 {
            return invalid(field, text, "maps no ids");
        }
        if line.inside.checked_add(line.count).is_none() || line.outside.checked_add(line.count).is_none() {
            return invalid(field, text, "goes beyond the last id");
        }
        let overlaps = |a: u32, b: u32, other: &IdMap| a < b + other.count && b < a + line.count;
        if lines.iter().any(|other| {
            overlaps(line.inside, other.inside, other) || overlaps(line.outside, other.outside, other)
        }) {
            return invalid(field, text, "overlaps another mapping");
        }
        lines.push(line);
    }
    Ok(lines)
}

pub(super) fn devices(documents: &[spec::Device]) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        devices.push(device(index, document)?);
    }
    for (path, major, minor) in DEFAULT_DEVICES {
        if !devices.iter().any(|device: &Device| device.path == Path::new(path)) {
            devices.push(Device {
                path: path.into(),
                kind: DeviceKind::Char,
                major,
                minor,
                mode: 0o666,
                uid: 0,
                gid: 0,
                source: path.into(),
            });
        }
    }
    Ok(devices)
}

fn device(index: usize, document: &spec::Device) -> Result<Device> {
    let field = |name: &str| format!("linux.devices[{index}].{name}");
    let path = paths(&field("path"), std::slice::from_ref(&document.path))?.remove(0);
    let kind = match document.kind.as_str() {
        "c" | "u" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        "p" => DeviceKind::Fifo,
        _ => return invalid(field("type"), &document.kind, "must be c, b, u or p"),
    };
    let number = |name: &str, value: Option<i64>| match (value, kind) {
        (None, DeviceKind::Fifo) => Ok(0),
        (None, DeviceKind::Char | DeviceKind::Block) => missing(field(name)),
        (Some(value), _) => {
            u32::try_from(value).or_else(|_| invalid(field(name), value, "is no device number"))
        }
    };
    Ok(Device {
        kind,
        major: number("major", document.major)?,
        minor: number("minor", document.minor)?,
        // Some engines leave the file type in.
        mode: document.file_mode.unwrap_or(0o666) & 0o7777,
        uid: document.uid.unwrap_or(0),
        gid: document.gid.unwrap_or(0),
        source: path.clone(),
        path,
    })
}

/// Absolute paths inside the container.
pub(super) fn paths(field: &str, paths: &[String]) -> Result<Vec<PathBuf>> {
    for path in paths {
        no_nul(field, path)?;
        if !path.starts_with('/') {
            return invalid(field, path, "must be absolute");
        }
    }
    Ok(paths.iter().map(PathBuf::from).collect())
}

/// Kernel parameters, each of which must lie in a namespace of the container's own: any other would be the host's.
pub(super) fn sysctls(
    sysctls: &BTreeMap<String, String>,
    namespaces: &Namespaces,
) -> Result<Vec<(String, String)>> {
    let private = |namespace: &Namespace| *namespace != Namespace::Inherit;
    let mut planned = Vec::new();
    for (name, value) in sysctls {
        let field = "linux.sysctl";
        let dotted = dotted(name);
        no_nul(field, &dotted)?;
        if dotted.split('.').any(|part| part.is_empty() || part.starts_with('/')) {
            return invalid(field, name, "is no kernel parameter");
        }
        let (owned, why) = if dotted.starts_with("net.") {
            (private(&namespaces.network), "needs a network namespace")
        } else if dotted.starts_with("fs.mqueue.") || IPC_SYSCTLS.contains(&dotted.as_str()) {
            (private(&namespaces.ipc), "needs an ipc namespace")
        } else if dotted == "kernel.domainname" {
            (private(&namespaces.uts), "needs a uts namespace")
        } else if dotted == "kernel.hostname" {
            (false, "conflicts with the field hostname")
        } else if dotted.starts_with("user.") {
            (private(&namespaces.user), "needs a user namespace")
        } else {
            (false, "is the host's, not in any namespace")
        };
        if !owned {
            return invalid(field, name, why);
        }
        planned.push((dotted, value.clone()));
    }
    Ok(planned)
}

/// Parameters of `kernel.` that belong to an ipc namespace (ipc_namespaces(7)).
const IPC_SYSCTLS: [&str; 11] = [
    "kernel.auto_msgmni",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg_next_id",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// sysctl(8): where the first separator is a slash, dots are part of a name and stand as slashes in the other form.
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('/') => name
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_owned(),
    }
}

pub(super) fn time_offsets(linux: &spec::Linux, namespaces: &Namespaces) -> Result<Option<TimeOffsets>> {
    if linux.time_offsets.is_empty() {
        return Ok(None);
    }
    if namespaces.time != Namespace::New {
        return unsupported("linux.timeOffsets", "there is no new time namespace");
    }
    let mut offsets = TimeOffsets::default();
    for (clock, offset) in &linux.time_offsets {
        let slot = match clock.as_str() {
            "monotonic" => &mut offsets.monotonic,
            "boottime" => &mut offsets.boottime,
            _ => return invalid("linux.timeOffsets", clock, "is no clock of a time namespace"),
        };
        if offset.nanosecs >= 1_000_000_000 {
            return invalid("linux.timeOffsets", offset.nanosecs, "nanoseconds make no more than a second");
        }
        *slot = (offset.secs, offset.nanosecs);
    }
    Ok(Some(offsets))
}

pub(super) fn propagation(name: &str) -> Result<Propagation> {
    Ok(match name {
        "" | "private" => Propagation::Private,
        "rprivate" => Propagation::RecursivePrivate,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::RecursiveSlave,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::RecursiveShared,
        "unbindable" => Propagation::Unbindable,
        "runbindable" => Propagation::RecursiveUnbindable,
        _ => return invalid("linux.rootfsPropagation", name, "is no kind of mount propagation"),
    })
}

pub(super) fn personality(personality: Option<&spec::Personality>) -> Result<Option<u32>> {
    let Some(personality) = personality else { return Ok(None) };
    if !personality.flags.is_empty() {
        return unsupported("linux.personality.flags", "the specification defines none");
    }
    match personality.domain.as_str() {
        "LINUX" => Ok(Some(0)),
        "LINUX32" => Ok(Some(8)),
        other => invalid("linux.personality.domain", other, "must be LINUX or LINUX32"),
    }
}

pub(super) fn seccomp(
    document: Option<&spec::Seccomp>,
    capabilities: u64,
    kernel: (u32, u32),
) -> Result<Option<SeccompFilter>> {
    let Some(document) = document else { return Ok(None) };
    let context = seccomp::Context { arch: Abi::NATIVE, capabilities, kernel };
    Profile::from_spec(document)
        .and_then(|profile| seccomp::filter(&profile, &context))
        .map(Some)
        .map_err(|source| SpecError::Seccomp { source })
}

/// The control group: where, and its limits with the rules for the default devices.
pub(super) fn cgroup(linux: &spec::Linux, id: &str, warnings: &mut Vec<String>) -> Result<cgroup::Plan> {
    let field = "linux.cgroupsPath";
    let path = match linux.cgroups_path.as_str() {
        "" => PathBuf::from("/").join(id),
        path => PathBuf::from(path),
    };
    no_nul(field, &linux.cgroups_path)?;
    if cgroup::SystemdPath::parse(&path).is_some() {
        return unsupported(
            format!("{field} {:?}", linux.cgroups_path),
            "groups are made directly, not by systemd",
        );
    }
    if path.components().any(|component| component == Component::ParentDir) {
        return invalid(field, path.display(), "must not contain `..`");
    }
    if path == Path::new("/") {
        return invalid(field, path.display(), "is the root of all groups");
    }
    let resources = linux.resources.clone().unwrap_or_default();
    let mut limits = resources::limits(&resources, warnings)?;
    let mut rules = match limits.devices.is_empty() {
        // Where nothing is said, only the default devices are there.
        true => vec![rule(false, None, None, None, true)],
        false => std::mem::take(&mut limits.devices),
    };
    rules.extend(default_rules());
    limits.devices = rules;
    Ok(cgroup::Plan { path, limits })
}

/// Making any node, which gives access to nothing, and access to what every container has.
fn default_rules() -> Vec<DeviceRule> {
    let mknod = |kind| DeviceRule { read: false, write: false, ..rule(true, Some(kind), None, None, true) };
    let mut rules = vec![mknod(RuleKind::Char), mknod(RuleKind::Block)];
    let access = |major, minor| rule(true, Some(RuleKind::Char), Some(major), minor, true);
    rules.extend(DEFAULT_DEVICES.map(|(_, major, minor)| access(major, Some(minor))));
    // Pseudo-terminals and their multiplexer.
    rules.push(access(136, None));
    rules.push(access(5, Some(2)));
    rules
}

fn rule(
    allow: bool,
    kind: Option<RuleKind>,
    major: Option<u32>,
    minor: Option<u32>,
    all: bool,
) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, read: all, write: all, mknod: all }
}
