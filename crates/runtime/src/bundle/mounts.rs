//! `mounts`: types and options (config.md, "Linux mount options").

use std::path::{Component, Path, PathBuf};

use oci::runtime as spec;

use super::error::{Result, SpecError, invalid, missing, unsupported};
use super::no_nul;
use crate::plan::{AccessTime, IdMap, IdMaps, Mount, MountAttributes, MountIdMap, MountKind, Propagation};

// mount_setattr(2).
const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const ATIME: u64 = 0x70;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// What an option does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    /// Nothing: it asks for what is so anyway.
    None,
    /// Sets or clears one flag of this mount.
    Flag(Flag, bool),
    /// When reading updates time stamps.
    AccessTime(AccessTime),
    /// The same for everything below too: bits to set, bits to clear.
    Recursive(u64, u64),
    Propagation(Propagation),
    /// Bind, and whether with everything below.
    Bind(bool),
    /// A flag of the file system, of no consequence for a bind mount.
    FileSystem,
    CopyUp,
    /// Id map, and whether with everything below.
    IdMap(bool),
    Unsupported(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Flag {
    Readonly,
    Nosuid,
    Nodev,
    Noexec,
    Nosymfollow,
    Nodiratime,
}

/// Every option the specification names, in its order.
const OPTIONS: [(&str, Effect); 65] = [
    // Updates of time stamps are written back as the file system sees fit.
    ("async", Effect::FileSystem),
    ("atime", Effect::AccessTime(AccessTime::Relative)),
    ("bind", Effect::Bind(false)),
    ("defaults", Effect::None),
    ("dev", Effect::Flag(Flag::Nodev, false)),
    ("diratime", Effect::Flag(Flag::Nodiratime, false)),
    ("dirsync", Effect::FileSystem),
    ("exec", Effect::Flag(Flag::Noexec, false)),
    ("idmap", Effect::IdMap(false)),
    ("iversion", Effect::FileSystem),
    ("lazytime", Effect::FileSystem),
    ("loud", Effect::None),
    ("mand", Effect::Unsupported("Linux has had no mandatory locks since 5.15")),
    ("noatime", Effect::AccessTime(AccessTime::Never)),
    ("nodev", Effect::Flag(Flag::Nodev, true)),
    ("nodiratime", Effect::Flag(Flag::Nodiratime, true)),
    ("noexec", Effect::Flag(Flag::Noexec, true)),
    ("noiversion", Effect::None),
    ("nolazytime", Effect::FileSystem),
    ("nomand", Effect::None),
    ("norelatime", Effect::AccessTime(AccessTime::Strict)),
    ("nostrictatime", Effect::AccessTime(AccessTime::Relative)),
    ("nosuid", Effect::Flag(Flag::Nosuid, true)),
    ("nosymfollow", Effect::Flag(Flag::Nosymfollow, true)),
    ("private", Effect::Propagation(Propagation::Private)),
    ("ratime", Effect::Recursive(0, ATIME)),
    ("rbind", Effect::Bind(true)),
    ("rdev", Effect::Recursive(0, NODEV)),
    ("rdiratime", Effect::Recursive(0, NODIRATIME)),
    ("relatime", Effect::AccessTime(AccessTime::Relative)),
    ("remount", Effect::Unsupported("a mount is made with its options at once")),
    ("rexec", Effect::Recursive(0, NOEXEC)),
    ("ridmap", Effect::IdMap(true)),
    ("rnoatime", Effect::Recursive(NOATIME, ATIME)),
    ("rnodev", Effect::Recursive(NODEV, 0)),
    ("rnodiratime", Effect::Recursive(NODIRATIME, 0)),
    ("rnoexec", Effect::Recursive(NOEXEC, 0)),
    ("rnorelatime", Effect::Recursive(STRICTATIME, ATIME)),
    ("rnostrictatime", Effect::Recursive(0, ATIME)),
    ("rnosuid", Effect::Recursive(NOSUID, 0)),
    ("rnosymfollow", Effect::Recursive(NOSYMFOLLOW, 0)),
    ("ro", Effect::Flag(Flag::Readonly, true)),
    ("rprivate", Effect::Propagation(Propagation::RecursivePrivate)),
    ("rrelatime", Effect::Recursive(0, ATIME)),
    ("rro", Effect::Recursive(RDONLY, 0)),
    ("rrw", Effect::Recursive(0, RDONLY)),
    ("rshared", Effect::Propagation(Propagation::RecursiveShared)),
    ("rslave", Effect::Propagation(Propagation::RecursiveSlave)),
    ("rstrictatime", Effect::Recursive(STRICTATIME, ATIME)),
    ("rsuid", Effect::Recursive(0, NOSUID)),
    ("rsymfollow", Effect::Recursive(0, NOSYMFOLLOW)),
    ("runbindable", Effect::Propagation(Propagation::RecursiveUnbindable)),
    ("rw", Effect::Flag(Flag::Readonly, false)),
    ("shared", Effect::Propagation(Propagation::Shared)),
    ("silent", Effect::None),
    ("slave", Effect::Propagation(Propagation::Slave)),
    ("strictatime", Effect::AccessTime(AccessTime::Strict)),
    ("suid", Effect::Flag(Flag::Nosuid, false)),
    ("symfollow", Effect::Flag(Flag::Nosymfollow, false)),
    ("sync", Effect::FileSystem),
    ("tmpcopyup", Effect::CopyUp),
    ("unbindable", Effect::Propagation(Propagation::Unbindable)),
    // Hints for user space (fstab(5)).
    ("nofail", Effect::None),
    ("_netdev", Effect::None),
    ("noauto", Effect::None),
];

/// Every option that is honoured, for the features document.
pub const MOUNT_OPTIONS: [&str; 60] = honoured();

const fn honoured() -> [&'static str; 60] {
    let mut names = [""; 60];
    let (mut from, mut to) = (0, 0);
    // The last three are no options of the specification.
    while from < OPTIONS.len() - 3 {
        if !matches!(OPTIONS[from].1, Effect::Unsupported(_)) {
            names[to] = OPTIONS[from].0;
            to += 1;
        }
        from += 1;
    }
    assert!(to == names.len());
    names
}

/// What the options of one mount come to.
#[derive(Default)]
struct Options {
    attributes: MountAttributes,
    propagation: Option<Propagation>,
    bind: Option<bool>,
    copy_up: bool,
    /// Whether with everything below.
    id_map: Option<bool>,
    /// For the file system itself.
    file_system: Vec<String>,
    /// Known to no table: the file system's own.
    data: Vec<String>,
}

/// All mounts, in order.
pub(super) fn mounts(
    documents: &[spec::Mount],
    bundle: &Path,
    id_maps: &IdMaps,
    warnings: &mut Vec<String>,
) -> Result<Vec<Mount>> {
    let plan_mount = |(index, document)| mount(index, document, bundle, id_maps, warnings);
    documents.iter().enumerate().map(plan_mount).collect()
}

/// One mount that stands in no bundle; it has the container's id map if it asks for one without a map of its own.
pub fn single(document: &spec::Mount) -> Result<Mount> {
    let id = IdMap { inside: 0, outside: 0, count: 1 };
    let any = IdMaps { uid: vec![id], gid: vec![id] };
    mount(0, document, Path::new(""), &any, &mut Vec::new())
}

fn mount(
    index: usize,
    document: &spec::Mount,
    bundle: &Path,
    id_maps: &IdMaps,
    warnings: &mut Vec<String>,
) -> Result<Mount> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    for text in document.options.iter().chain([&document.source, &document.destination, &document.kind]) {
        no_nul(&field("*"), text)?;
    }
    let target = target(&field("destination"), &document.destination, warnings)?;
    let options = parse_options(&field("options"), &document.options)?;
    let id_map = id_map(index, document, &options, id_maps)?;
    let Options { attributes, propagation, .. } = options;
    let kind = kind(index, document, options, bundle)?;
    Ok(Mount { target, kind, attributes, propagation, id_map })
}

fn target(field: &str, destination: &str, warnings: &mut Vec<String>) -> Result<PathBuf> {
    if destination.is_empty() {
        return missing(field);
    }
    let path = Path::new(destination);
    if path.components().any(|component| component == Component::ParentDir) {
        return invalid(field, destination, "must not contain `..`");
    }
    if path.is_relative() {
        // Allowed by version 1.0 of the specification, deprecated since.
        warnings.push(format!("config.json: {field} {destination:?} is relative and taken from the root"));
    }
    Ok(Path::new("/").join(path))
}

fn kind(index: usize, document: &spec::Mount, options: Options, bundle: &Path) -> Result<MountKind> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    if options.bind.is_some() || document.kind == "bind" {
        if document.source.is_empty() {
            return missing(field("source"));
        }
        if let Some(option) = options.data.first() {
            return unsupported(format!("{} {option:?}", field("options")), "is no option of a bind mount");
        }
        if options.copy_up {
            return unsupported(field("options tmpcopyup"), "is for tmpfs alone");
        }
        // Type bind alone means a plain bind.
        return Ok(MountKind::Bind {
            source: bundle.join(&document.source),
            recursive: options.bind.unwrap_or(false),
        });
    }
    if options.copy_up && document.kind != "tmpfs" {
        return unsupported(field("options tmpcopyup"), "is for tmpfs alone");
    }
    match document.kind.as_str() {
        "" => missing(field("type")),
        "cgroup" | "cgroup2" => Ok(MountKind::Cgroup),
        fstype => Ok(MountKind::New {
            fstype: fstype.to_owned(),
            source: match document.source.is_empty() {
                true => fstype.to_owned(),
                false => document.source.clone(),
            },
            options: options.file_system.into_iter().chain(options.data).collect(),
            copy_up: options.copy_up,
        }),
    }
}

fn parse_options(field: &str, names: &[String]) -> Result<Options> {
    let mut options = Options::default();
    for name in names {
        let Some((_, effect)) = OPTIONS.iter().find(|(known, _)| known == name) else {
            // `x-…` and `comment=…` are notes for user space (mount(8)).
            if !name.is_empty() && !name.starts_with("x-") && !name.starts_with("comment=") {
                options.data.push(name.clone());
            }
            continue;
        };
        match *effect {
            Effect::None => {}
            Effect::Flag(flag, on) => {
                let attributes = &mut options.attributes;
                *match flag {
                    Flag::Readonly => &mut attributes.readonly,
                    Flag::Nosuid => &mut attributes.nosuid,
                    Flag::Nodev => &mut attributes.nodev,
                    Flag::Noexec => &mut attributes.noexec,
                    Flag::Nosymfollow => &mut attributes.nosymfollow,
                    Flag::Nodiratime => &mut attributes.nodiratime,
                } = on;
            }
            Effect::AccessTime(when) => options.attributes.access_time = when,
            Effect::Recursive(set, clear) => {
                // The later option of a contradicting pair wins.
                let attributes = &mut options.attributes;
                attributes.recursive_set = attributes.recursive_set & !clear | set;
                attributes.recursive_clear = attributes.recursive_clear & !(set & !ATIME) | clear;
            }
            Effect::Propagation(propagation) => options.propagation = Some(propagation),
            Effect::Bind(recursive) => options.bind = Some(recursive),
            Effect::FileSystem => options.file_system.push(name.clone()),
            Effect::CopyUp => options.copy_up = true,
            Effect::IdMap(recursive) => options.id_map = Some(recursive),
            Effect::Unsupported(why) => {
                return Err(SpecError::Unsupported { field: format!("{field} {name:?}"), why });
            }
        }
    }
    Ok(options)
}

/// A mount's own maps, or the container's, or none. Maps without the option mean the option.
fn id_map(index: usize, document: &spec::Mount, options: &Options, container: &IdMaps) -> Result<MountIdMap> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let own = (&document.uid_mappings, &document.gid_mappings);
    let recursive = match (options.id_map, own) {
        (None, (uid, gid)) if uid.is_empty() && gid.is_empty() => return Ok(MountIdMap::None),
        (recursive, _) => recursive.unwrap_or(false),
    };
    let (uid, gid) = own;
    if uid.is_empty() != gid.is_empty() {
        return missing(if uid.is_empty() { field("uidMappings") } else { field("gidMappings") });
    }
    if uid.is_empty() {
        return match (container.uid.is_empty(), recursive) {
            (true, _) => unsupported(
                field("options idmap"),
                "there is neither a map nor a user namespace to take it from",
            ),
            (false, false) => Ok(MountIdMap::Container),
            (false, true) => Ok(MountIdMap::Own { maps: container.clone(), recursive }),
        };
    }
    let maps = IdMaps {
        uid: super::linux::id_map(&field("uidMappings"), uid)?,
        gid: super::linux::id_map(&field("gidMappings"), gid)?,
    };
    Ok(MountIdMap::Own { maps, recursive })
}

/// Kept beside its use: an id map in the kernel's order.
pub(super) fn line(mapping: &spec::IdMapping) -> IdMap {
    IdMap { inside: mapping.container_id, outside: mapping.host_id, count: mapping.size }
}
