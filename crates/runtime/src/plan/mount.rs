//! What is mounted below the root, and device nodes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{IdMaps, RootSource};

/// One mount below the root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute, inside the container; resolved below the root, made when missing.
    pub target: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// Per-mount flags.
    pub attributes: MountAttributes,
    /// Propagation set after mounting.
    pub propagation: Option<Propagation>,
    /// Id-maps the mount: with the container's maps, or with maps of its own.
    pub id_map: MountIdMap,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MountKind {
    /// A new instance of a file system (`proc`, `sysfs`, `tmpfs`, `devpts`, `mqueue`, …).
    New {
        /// The kernel's name of the file system.
        fstype: String,
        /// Shown in mountinfo.
        source: String,
        /// `key=value` or bare flags of the file system itself.
        options: Vec<String>,
        /// For tmpfs: starts with what the root has at the target.
        copy_up: bool,
    },
    /// A file or directory of the caller's.
    Bind {
        /// Absolute, on the host.
        source: PathBuf,
        /// With everything mounted below it.
        recursive: bool,
    },
    /// A directory that is the container's own.
    Volume {
        /// Absolute, on the host; a directory that nothing else uses.
        source: PathBuf,
        /// It is empty, and starts with what the root has at the target, before anything is mounted there.
        fill: bool,
    },
    /// A file or directory of an image's file system, which is mounted for this alone, with its ids as the root's.
    Image {
        /// Where the file system comes from.
        source: RootSource,
        /// Absolute, from its root; links do not lead out of it.
        path: PathBuf,
    },
    /// A file in memory.
    File {
        /// What is in it.
        content: Content,
        /// Permission bits.
        mode: u32,
        /// Owner inside.
        uid: u32,
        /// Group inside.
        gid: u32,
    },
    /// The container's own part of the cgroup hierarchies.
    Cgroup,
}

/// What a file holds that is nobody else's business: it is shown nowhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(Vec<u8>);

impl Content {
    /// These bytes.
    pub fn new(bytes: &[u8]) -> Content {
        Content(bytes.to_vec())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Content")
    }
}

/// Per-mount flags; `recursive` extends them to everything below a bind mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the field names are those of mount(8)")]
pub struct MountAttributes {
    pub readonly: bool,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
    pub nosymfollow: bool,
    pub access_time: AccessTime,
    pub nodiratime: bool,
    /// Flags set with the `r` forms (`rro`, `rnosuid`, …), as mount_setattr(2) bits to set and to clear.
    pub recursive_set: u64,
    /// See `recursive_set`.
    pub recursive_clear: u64,
}

/// When reading updates a time stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of mount(8)")]
pub enum AccessTime {
    #[default]
    Relative,
    Never,
    Strict,
}

/// How mount events travel between peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of mount(8)")]
pub enum Propagation {
    #[default]
    Private,
    RecursivePrivate,
    Slave,
    RecursiveSlave,
    Shared,
    RecursiveShared,
    Unbindable,
    RecursiveUnbindable,
}

/// Whether and how a mount is id-mapped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum MountIdMap {
    /// Ids as they are on disk.
    #[default]
    None,
    /// The container's own maps: id 0 on disk is id 0 inside.
    Container,
    /// Maps of the mount's own (OCI `mounts[].uidMappings`).
    Own {
        /// The maps; inside is the id on disk.
        maps: IdMaps,
        /// Also everything below (`ridmap`).
        recursive: bool,
    },
}

/// Character devices that every container has: path, major and minor number (runtime specification, config-linux.md, "Default
/// Devices"). `/dev/console` and `/dev/ptmx` come with the terminal and with devpts.
pub const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// A device node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Absolute, inside the container.
    pub path: PathBuf,
    /// Character, block or fifo.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// The host's node, bound where a node cannot be made.
    pub source: PathBuf,
}

/// Kind of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of mknod(1)")]
pub enum DeviceKind {
    Char,
    Block,
    Fifo,
}
