//! What is mounted below a container's root: Docker's defaults, its three files of `/etc`, and the user's mounts.

use std::path::{Component, Path, PathBuf};

use runtime::plan::{
    AccessTime, IdMaps, Mount, MountAttributes, MountIdMap, MountKind, Namespace, Namespaces, Propagation,
};

use super::Surroundings;
use crate::request::{BindRecursion, HostOptions, IpcMode, MountRequest, MountSource, TmpfsOptions};
use crate::spec::ContainerSpec;
use crate::{Error, Result};

/// Bytes of `/dev/shm` unless told otherwise.
pub(crate) const DEFAULT_SHM: u64 = 64 << 20;

/// mount_setattr(2): the read-only flag, for everything below a bound directory.
const ATTR_RDONLY: u64 = 1;

const TMPFS_FLAGS: [&str; 18] = [
    "rw",
    "ro",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "atime",
    "noatime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "diratime",
    "nodiratime",
    "sync",
    "async",
];
const TMPFS_KEYS: [&str; 9] =
    ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge", "noswap"];

/// Checks the user's mounts: targets absolute, different, and not the root; sources absolute; options known.
pub(crate) fn check(mounts: &[MountRequest]) -> Result<()> {
    let mut targets: Vec<PathBuf> = Vec::new();
    for mount in mounts {
        let invalid =
            |reason: &'static str| Err(Error::InvalidMount { target: mount.target.clone(), reason });
        if !mount.target.starts_with('/') || mount.target.contains('\0') {
            return invalid("mount path must be absolute");
        }
        let Some(target) = clean(&mount.target) else { return invalid("mount path must not hold \"..\"") };
        if target == Path::new("/") {
            return invalid("destination can't be '/'");
        }
        if targets.contains(&target) {
            return Err(Error::DuplicateMount { target: mount.target.clone() });
        }
        targets.push(target);
        match &mount.source {
            MountSource::Bind { path, .. } if !path.starts_with('/') || path.contains('\0') => {
                return invalid("the source of a bind mount must be an absolute path");
            }
            MountSource::Bind { propagation: Some(name), .. } if propagation(name).is_none() => {
                return invalid("invalid propagation mode");
            }
            MountSource::Bind { .. } => {}
            MountSource::Tmpfs(options) => tmpfs_flags(&mount.target, options).map(drop)?,
        }
    }
    Ok(())
}

/// An absolute path without `.`, `//` and a slash at its end; missing when it climbs.
fn clean(path: &str) -> Option<PathBuf> {
    let mut cleaned = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(cleaned)
}

/// Whether a user's target is that of a mount.
pub(super) fn is_target(text: &str, target: &Path) -> bool {
    clean(text).is_some_and(|path| path == target)
}

/// The most volumes that an image may declare.
const VOLUMES_LIMIT: usize = 256;

/// A volume of a container's own, as its image declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Volume {
    /// Its directory's name below `containers/<id>/volumes`.
    pub(crate) name: String,
    /// Absolute.
    pub(crate) target: PathBuf,
}

/// The volumes of a container: what its image declares, but for paths where the user mounts something.
pub(crate) fn volumes(spec: &ContainerSpec) -> Vec<Volume> {
    let users: Vec<PathBuf> = spec.host.mounts.iter().filter_map(|mount| clean(&mount.target)).collect();
    let mut volumes: Vec<Volume> = Vec::new();
    for (number, path) in spec.process.volumes.iter().enumerate() {
        // As Docker: what an image says is taken from the root.
        let Some(target) = clean(path) else { continue };
        if !users.contains(&target) && volumes.iter().all(|volume| volume.target != target) {
            volumes.push(Volume { name: number.to_string(), target });
        }
    }
    volumes
}

/// Paths at which the start of a container may make something: to mount on, and the mark of a container.
pub(crate) fn mount_points(spec: &ContainerSpec) -> Vec<String> {
    const ALWAYS: [&str; 7] =
        ["/.dockerenv", "/dev", "/proc", "/sys", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
    let mut points: Vec<String> = ALWAYS.map(str::to_owned).into();
    points.extend(spec.host.mounts.iter().map(|mount| mount.target.clone()));
    points.extend(spec.process.volumes.iter().cloned());
    points
}

/// Checks what an image declares.
pub(crate) fn check_volumes(volumes: &[String]) -> Result<()> {
    let invalid = |target: &str, reason| Err(Error::InvalidMount { target: target.to_owned(), reason });
    for path in volumes {
        match clean(path) {
            None => return invalid(path, "a VOLUME of the image must not hold \"..\""),
            Some(target) if target == Path::new("/") => {
                return invalid(path, "a VOLUME of the image can't be '/'");
            }
            Some(_) => {}
        }
    }
    match volumes.get(VOLUMES_LIMIT) {
        Some(path) => invalid(path, "the image declares more than 256 VOLUMEs"),
        None => Ok(()),
    }
}

/// What the mounts of a container follow from.
pub(super) struct Setting<'a> {
    pub(super) host: &'a HostOptions,
    pub(super) volumes: &'a [Volume],
    pub(super) namespaces: &'a Namespaces,
    pub(super) maps: &'a IdMaps,
    pub(super) around: &'a Surroundings,
    /// `/sys/fs/cgroup` may be written.
    pub(super) writable_cgroups: bool,
    /// Without root no mount can be id-mapped, and none needs it: root inside is the caller.
    pub(super) rootless: bool,
    /// The host has its message queues mounted.
    pub(super) host_mqueue: bool,
}

impl Setting<'_> {
    /// For what has the host's ids on disk and the container's inside.
    pub(super) fn id_map(&self) -> MountIdMap {
        if self.maps.uid.is_empty() || self.rootless { MountIdMap::None } else { MountIdMap::Container }
    }

    /// Whether a namespace is the host's although the container has ids of its own: then the kernel mounts no new
    /// view of it for the container, and the host's is bound.
    fn is_hosts(&self, namespace: &Namespace) -> bool {
        !self.maps.uid.is_empty() && *namespace == Namespace::Inherit
    }
}

/// All mounts of a container, those that hide others last.
pub(super) fn mounts(setting: &Setting<'_>) -> Result<Vec<Mount>> {
    let id_map = setting.id_map();
    let requests = &setting.host.mounts;
    let mut user =
        requests.iter().map(|request| of_request(request, &id_map)).collect::<Result<Vec<Mount>>>()?;
    user.extend(setting.volumes.iter().map(|volume| Mount {
        target: volume.target.clone(),
        kind: MountKind::Volume { source: setting.around.volumes.join(&volume.name), fill: false },
        attributes: MountAttributes::default(),
        propagation: Some(Propagation::RecursivePrivate),
        id_map: id_map.clone(),
    }));
    // Parents before what is mounted inside them; the sort keeps the order of equals.
    user.sort_by_key(|mount| mount.target.components().count());
    let mut all = default(setting);
    all.extend(ipc(setting));
    all.extend(files(setting.around, setting.host.readonly_root));
    all.retain(|mount| !user.iter().any(|own| mount.target.starts_with(&own.target)));
    all.extend(user);
    Ok(all)
}

const SAFE: MountAttributes = MountAttributes {
    readonly: false,
    nosuid: true,
    nodev: true,
    noexec: true,
    nosymfollow: false,
    access_time: AccessTime::Relative,
    nodiratime: false,
    recursive_set: 0,
    recursive_clear: 0,
};

/// `/proc`, `/dev` and `/sys`.
fn default(setting: &Setting<'_>) -> Vec<Mount> {
    let Setting { host, namespaces, .. } = setting;
    let readonly = MountAttributes { readonly: !host.privileged, ..SAFE };
    let dev = MountAttributes { nosuid: true, access_time: AccessTime::Strict, ..MountAttributes::default() };
    let pts = MountAttributes { nosuid: true, noexec: true, ..MountAttributes::default() };
    let cgroups = MountAttributes { readonly: !host.privileged && !setting.writable_cgroups, ..SAFE };
    vec![
        if setting.is_hosts(&namespaces.pid) {
            bind("/proc", "/proc", true, SAFE)
        } else {
            new("/proc", "proc", "proc", &[], SAFE)
        },
        new("/dev", "tmpfs", "tmpfs", &["mode=755", "size=65536k"], dev),
        new("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"], pts),
        if setting.is_hosts(&namespaces.network) {
            bind("/sys", "/sys", true, MountAttributes { recursive_set: ATTR_RDONLY, ..readonly })
        } else {
            new("/sys", "sysfs", "sysfs", &[], readonly)
        },
        Mount {
            target: "/sys/fs/cgroup".into(),
            kind: MountKind::Cgroup,
            attributes: cgroups,
            propagation: None,
            id_map: MountIdMap::None,
        },
    ]
}

/// `/dev/mqueue` and `/dev/shm`.
fn ipc(setting: &Setting<'_>) -> Vec<Mount> {
    let Setting { host, around, .. } = setting;
    let mqueue = match (setting.is_hosts(&setting.namespaces.ipc), setting.host_mqueue) {
        (true, true) => Some(bind("/dev/mqueue", "/dev/mqueue", false, SAFE)),
        (true, false) => None,
        (false, _) => Some(new("/dev/mqueue", "mqueue", "mqueue", &[], SAFE)),
    };
    let size = format!("size={}", host.shm_size.filter(|size| *size > 0).unwrap_or(DEFAULT_SHM));
    let shared = |source: &Path| Mount {
        kind: MountKind::Bind { source: source.to_owned(), recursive: false },
        id_map: setting.id_map(),
        ..bind("", "/dev/shm", false, SAFE)
    };
    let shm = match (&host.ipc_mode, &around.joined.ipc) {
        (IpcMode::None, _) => None,
        (IpcMode::Host, _) => Some(bind("/dev/shm", "/dev/shm", false, SAFE)),
        (IpcMode::Container(_), Some(peer)) => Some(shared(&peer.shm)),
        (IpcMode::Shareable, _) => Some(shared(&around.shm)),
        (IpcMode::Private | IpcMode::Container(_), _) => {
            Some(new("/dev/shm", "tmpfs", "shm", &["mode=1777", &size], SAFE))
        }
    };
    mqueue.into_iter().chain(shm).collect()
}

/// `/etc/resolv.conf`, `/etc/hostname` and `/etc/hosts`: they belong on the host to the container's root.
fn files(around: &Surroundings, readonly: bool) -> Vec<Mount> {
    let names = ["resolv.conf", "hostname", "hosts"];
    names
        .iter()
        .map(|name| Mount {
            target: Path::new("/etc").join(name),
            kind: MountKind::Bind { source: around.files.join(name), recursive: false },
            attributes: MountAttributes { readonly, nosuid: true, nodev: true, ..MountAttributes::default() },
            propagation: Some(Propagation::RecursivePrivate),
            id_map: MountIdMap::None,
        })
        .collect()
}

fn new(target: &str, fstype: &str, source: &str, options: &[&str], attributes: MountAttributes) -> Mount {
    Mount {
        target: target.into(),
        kind: MountKind::New {
            fstype: fstype.to_owned(),
            source: source.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            copy_up: false,
        },
        attributes,
        propagation: None,
        id_map: MountIdMap::None,
    }
}

fn bind(source: &str, target: &str, recursive: bool, attributes: MountAttributes) -> Mount {
    Mount {
        target: target.into(),
        kind: MountKind::Bind { source: source.into(), recursive },
        attributes,
        propagation: Some(Propagation::RecursivePrivate),
        id_map: MountIdMap::None,
    }
}

fn of_request(request: &MountRequest, id_map: &MountIdMap) -> Result<Mount> {
    let invalid = |reason| Error::InvalidMount { target: request.target.clone(), reason };
    let target = clean(&request.target).ok_or_else(|| invalid("mount path must not hold \"..\""))?;
    match &request.source {
        MountSource::Bind { path, propagation: name, recursion, .. } => {
            // As Docker: read-only is read-only all the way down, unless asked otherwise.
            let deep =
                request.readonly && !matches!(recursion, BindRecursion::Writable | BindRecursion::Disabled);
            Ok(Mount {
                target,
                kind: MountKind::Bind {
                    source: path.into(),
                    recursive: *recursion != BindRecursion::Disabled,
                },
                attributes: MountAttributes {
                    readonly: request.readonly,
                    recursive_set: if deep { ATTR_RDONLY } else { 0 },
                    ..MountAttributes::default()
                },
                propagation: Some(match name {
                    None => Propagation::RecursivePrivate,
                    Some(name) => propagation(name).ok_or_else(|| invalid("invalid propagation mode"))?,
                }),
                id_map: id_map.clone(),
            })
        }
        MountSource::Tmpfs(options) => tmpfs(target, request, options),
    }
}

fn tmpfs(target: PathBuf, request: &MountRequest, options: &TmpfsOptions) -> Result<Mount> {
    let (attributes, mut data) = tmpfs_flags(&request.target, options)?;
    data.extend(options.size.map(|size| format!("size={size}")));
    data.extend(options.mode.map(|mode| format!("mode={mode:o}")));
    if !data.iter().any(|option| option.starts_with("mode=")) {
        data.push("mode=1777".to_owned());
    }
    Ok(Mount {
        target,
        kind: MountKind::New {
            fstype: "tmpfs".to_owned(),
            source: "tmpfs".to_owned(),
            options: data,
            copy_up: true,
        },
        attributes: MountAttributes { readonly: attributes.readonly || request.readonly, ..attributes },
        propagation: None,
        id_map: MountIdMap::None,
    })
}

/// Options of `--tmpfs` become flags, which begin at Docker's `noexec,nosuid,nodev`, and the file system's own.
fn tmpfs_flags(target: &str, options: &TmpfsOptions) -> Result<(MountAttributes, Vec<String>)> {
    let mut flags = MountAttributes { nosuid: true, nodev: true, noexec: true, ..MountAttributes::default() };
    let mut data = Vec::new();
    for option in &options.options {
        let key = option.split_once('=').map_or(option.as_str(), |(key, _)| key);
        if option.contains('\0') || !(TMPFS_FLAGS.contains(&option.as_str()) || TMPFS_KEYS.contains(&key)) {
            return Err(Error::InvalidTmpfs { target: target.to_owned(), option: option.clone() });
        }
        match option.as_str() {
            "ro" => flags.readonly = true,
            "rw" => flags.readonly = false,
            "exec" => flags.noexec = false,
            "noexec" => flags.noexec = true,
            "suid" => flags.nosuid = false,
            "nosuid" => flags.nosuid = true,
            "dev" => flags.nodev = false,
            "nodev" => flags.nodev = true,
            "noatime" => flags.access_time = AccessTime::Never,
            "strictatime" | "atime" => flags.access_time = AccessTime::Strict,
            "nodiratime" => flags.nodiratime = true,
            "relatime" => flags.access_time = AccessTime::Relative,
            // Memory has nothing to write through to, and the rest says what is so anyway.
            "norelatime" | "nostrictatime" | "diratime" | "sync" | "async" => {}
            _ => data.push(option.clone()),
        }
    }
    Ok((flags, data))
}

fn propagation(name: &str) -> Option<Propagation> {
    Some(match name {
        "private" => Propagation::Private,
        "rprivate" => Propagation::RecursivePrivate,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::RecursiveShared,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::RecursiveSlave,
        _ => return None,
    })
}

/// Paths of the kernel's file systems that a container does not get as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// There is nothing to be seen at these.
    pub masked: Vec<PathBuf>,
    /// At these nothing can be written.
    pub readonly: Vec<PathBuf>,
}

impl Hidden {
    /// Those that Docker hides, on a host with so many CPUs that tell of their thermal state.
    pub(super) fn by_default(thermal_cpus: u32) -> Hidden {
        let masked = [
            "/proc/acpi",
            "/proc/asound",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/sys/devices/virtual/powercap",
            "/sys/firmware",
        ];
        let thermal =
            (0..thermal_cpus).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle").into());
        let readonly = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
        Hidden {
            masked: masked.iter().map(PathBuf::from).chain(thermal).collect(),
            readonly: readonly.iter().map(PathBuf::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(texts: &[&str], tmpfs: &[&str]) -> String {
        let mounts: Result<Vec<MountRequest>> = texts
            .iter()
            .map(|text| MountRequest::parse_volume(text))
            .chain(tmpfs.iter().map(|text| MountRequest::parse_tmpfs(text)))
            .collect();
        mounts
            .and_then(|mounts| check(&mounts))
            .map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn targets_are_absolute_different_and_not_the_root() {
        assert_eq!(outcome(&["/a:/b", "/a:/c"], &["/d"]), "fine");
        assert_eq!(outcome(&["/a:b"], &[]), "invalid mount b: mount path must be absolute");
        assert_eq!(outcome(&["/a:/"], &[]), "invalid mount /: destination can't be '/'");
        assert_eq!(outcome(&["/a:/./"], &[]), "invalid mount /./: destination can't be '/'");
        assert_eq!(
            outcome(&["/a:/b/../../c"], &[]),
            "invalid mount /b/../../c: mount path must not hold \"..\""
        );
        assert_eq!(outcome(&["/a:/b", "/c:/b/"], &[]), "Duplicate mount point: /b/");
        assert_eq!(outcome(&["/a:/b"], &["//b"]), "Duplicate mount point: //b");
    }

    #[test]
    fn options_of_a_tmpfs_are_known_ones() {
        assert_eq!(outcome(&[], &["/t:exec,size=1m,mode=700,uid=7,nr_inodes=1k"]), "fine");
        assert_eq!(outcome(&[], &["/t:bogus"]), "invalid tmpfs option for /t: bogus");
        assert_eq!(outcome(&[], &["/t:context=x"]), "invalid tmpfs option for /t: context=x");
    }
}
