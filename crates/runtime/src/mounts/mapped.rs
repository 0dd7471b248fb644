//! Id maps of bind mounts with other mounts below: `-v /:/host` brings `proc`, `sysfs` and whatever else hangs there.
//!
//! The kernel maps all mounts of a tree or none, and many file systems take no map. So where all at once is refused, the
//! tree is put together anew of its mounts, each mapped by itself, and one that takes no map keeps the host's ids: the
//! container, whose root is nobody there, gets what everybody gets.
//! What was asked for by name must take the map, for else its owners would be others than the user expects. The
//! exception are file systems that the kernel fills, where nobody keeps files.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use linux::mount::{ATTR_IDMAP, MountChange, change_mount};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, open, openat, openat2, readlinkat, statx,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::{SLAVE, attach_at};
use crate::pivot::unescape;

/// File systems that hold the kernel's own files.
const KERNELS: &[&[u8]] = &[
    b"autofs",
    b"binfmt_misc",
    b"bpf",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"devpts",
    b"devtmpfs",
    b"efivarfs",
    b"fusectl",
    b"mqueue",
    b"proc",
    b"pstore",
    b"securityfs",
    b"selinuxfs",
    b"sysfs",
    b"tracefs",
];

/// Gives `clone`, a detached clone of the tree at `source`, the id map of a user namespace; or makes another one of the
/// same tree, mount by mount.
pub(super) fn map(
    clone: OwnedFd,
    namespace: BorrowedFd<'_>,
    source: &Path,
    recursive: bool,
) -> Result<OwnedFd, Errno> {
    match change(clone.as_fd(), namespace, recursive) {
        Ok(()) => return Ok(clone),
        Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    let tree = Tree::open(source)?;
    let top = if recursive { tree.part(Path::new(""))? } else { clone.try_clone().map_err(io_errno)? };
    tree.map_top(&top, namespace)?;
    for point in if recursive { tree.points_below() } else { Vec::new() } {
        // One that has gone meanwhile is not part of the tree any more.
        let Ok(part) = tree.part(&point) else { continue };
        match change(part.as_fd(), namespace, false) {
            // It takes no map, has one already, or belongs to another user namespace.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        let Ok(target) = find(&top, &point) else { continue };
        match attach_at(&part, &target) {
            Ok(()) => {}
            // A kernel before 6.15 attaches nothing to what is itself not attached: all below keep the host's ids.
            Err(Errno::INVAL) => {
                tree.map_top(&clone, namespace)?;
                return Ok(clone);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(top)
}

/// What is to be bound.
struct Tree {
    source: OwnedFd,
    table: Vec<u8>,
}

impl Tree {
    fn open(source: &Path) -> Result<Tree, Errno> {
        let source = open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let file =
            openat(CWD, "/proc/thread-self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut table = Vec::new();
        std::fs::File::from(file).read_to_end(&mut table).map_err(io_errno)?;
        Ok(Tree { source, table })
    }

    /// A clone of the one mount at `point`, which follows the host's.
    fn part(&self, point: &Path) -> Result<OwnedFd, Errno> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let part = match point.as_os_str().is_empty() {
            true => open_tree(&self.source, "", flags)?,
            false => open_tree(find(&self.source, point)?, "", flags)?,
        };
        change_mount(&part, MountChange { propagation: SLAVE, ..MountChange::default() }, false)?;
        Ok(part)
    }

    /// Maps what was asked for by name, if it is not the kernel's own.
    fn map_top(&self, top: &OwnedFd, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
        match change(top.as_fd(), namespace, false) {
            Err(Errno::INVAL) => {
                let id = statx(&self.source, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id;
                let own = kind(&self.table, id).is_some_and(|kind| KERNELS.contains(&kind));
                own.then_some(()).ok_or(Errno::INVAL)
            }
            result => result,
        }
    }

    /// Where there are mounts below, nearer ones first.
    fn points_below(&self) -> Vec<PathBuf> {
        let way = format!("/proc/thread-self/fd/{}", self.source.as_raw_fd());
        let Ok(place) = readlinkat(CWD, way, Vec::new()) else { return Vec::new() };
        points_below(&self.table, Path::new(OsStr::from_bytes(place.as_bytes())))
    }
}

/// Finds what lies below `root`, whose owner may have put links in the way: none is followed.
fn find(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags, Mode::empty(), resolve)
}

fn io_errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn change(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>, recursive: bool) -> Result<(), Errno> {
    let change = MountChange { set: ATTR_IDMAP, user_namespace: Some(namespace), ..MountChange::default() };
    change_mount(mount, change, recursive)
}

/// The file system of the mount `id` (proc(5)).
fn kind(table: &[u8], id: u64) -> Option<&[u8]> {
    let id = id.to_string();
    table.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        (fields.next() == Some(id.as_bytes())).then(|| {
            fields.find(|field| *field == b"-")?;
            fields.next()
        })?
    })
}

/// Where there are mounts below `place`, seen from there, nearer ones first and each once.
fn points_below(table: &[u8], place: &Path) -> Vec<PathBuf> {
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let point = unescape(line.split(|byte| *byte == b' ').nth(4)?);
        let below = point.strip_prefix(place).ok()?;
        (!below.as_os_str().is_empty()).then(|| below.to_owned())
    });
    let mut points: Vec<PathBuf> = points.collect();
    points.sort_by_cached_key(|point| (point.components().count(), point.clone()));
    points.dedup();
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"20 1 8:1 / / rw shared:1 - ext4 /dev/vda rw\n\
        21 20 0:5 / /proc rw shared:2 master:1 - proc proc rw\n\
        22 20 0:7 / /srv/a\\040b rw - xfs /dev/vdb rw\n\
        23 22 0:8 / /srv/a\\040b/c rw - tmpfs none rw\n\
        24 20 0:9 / /srv/ab rw - tmpfs none rw\n\
        a line that makes no sense\n";

    #[test]
    fn mounts_below_a_path_are_seen_from_there() {
        let below = |place: &str| points_below(TABLE, Path::new(place));
        assert_eq!(below("/"), ["proc", "srv/a b", "srv/ab", "srv/a b/c"].map(PathBuf::from));
        assert_eq!(below("/srv/a b"), ["c"].map(PathBuf::from));
        assert_eq!(below("/srv/a"), Vec::<PathBuf>::new());
    }

    #[test]
    fn file_systems_are_found_by_the_number_of_their_mount() {
        assert_eq!(kind(TABLE, 21), Some(&b"proc"[..]));
        assert_eq!(kind(TABLE, 22), Some(&b"xfs"[..]));
        assert_eq!(kind(TABLE, 2), None);
    }
}
