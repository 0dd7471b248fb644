//! The root file system as one detached mount.
//!
//! Whoever has the privileges assembles it: the supervisor when the container has a user namespace of its own and the
//! caller is root (only root outside may id-map a mount), else init. Either way the mounts that
//! go into an overlay stay detached, so that nothing appears in anyone's mount table.
//!
//! ```text
//!   EROFS index + layer tars ─► clone ─► id map ─┐
//!   upper and work ───────────► clone ─► id map ─┴► overlay ─► attached by init, in its own mount namespace
//! ```
//!
//! The mount of the index itself belongs to no container: others of the same image may clone it too, and then share
//! what of the image is in memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::mount::{ATTR_IDMAP, ATTR_NODEV, ATTR_RDONLY, MountChange, change_mount};
use linux::process::set_file_owner;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatVfsMountFlags, fstatvfs, openat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, open_tree,
};

use crate::error::failed;
use crate::mounts::SLAVE;
use crate::plan::{RootSource, Writable, WritableLimit};
use crate::project::Room;
use crate::{InitFailure, Step, credentials, disk, staging};

/// For whom a root is assembled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owner<'a> {
    /// Layers and writable layer are id-mapped into this user namespace.
    pub(crate) user_namespace: Option<BorrowedFd<'a>>,
    /// Id 0 of that namespace as the host numbers it, user and group: the overlay works in its name, as root's own ids
    /// do not exist on an id-mapped layer.
    pub(crate) ids: Option<(u32, u32)>,
    /// The caller is in a user namespace itself: overlayfs keeps its marks in `user.*` attributes.
    pub(crate) unprivileged: bool,
    /// Device nodes on it do not work: the container is in a user namespace and could not have made them.
    pub(crate) nodev: bool,
}

/// A root, and what it was made from.
#[derive(Debug)]
pub(crate) struct Assembled {
    /// The root; detached.
    pub(crate) root: OwnedFd,
    pub(crate) layers: Layers,
}

/// Detached mounts that went into a root, which needs them no more. To close one takes a grace period of the kernel,
/// which a start should not wait for.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// The image, as others may clone it.
    pub(crate) image: Option<OwnedFd>,
    spent: Vec<OwnedFd>,
}

impl Layers {
    /// Keeps those of another file system too.
    pub(crate) fn add(&mut self, other: Layers) {
        self.spent.extend(other.image.into_iter().chain(other.spent));
    }
}

/// Assembles the root. `image` is the mount of the same index that another container has made.
pub(crate) fn assemble(
    source: &RootSource,
    image: Option<OwnedFd>,
    owner: Owner<'_>,
) -> Result<Assembled, InitFailure> {
    let mut layers = Layers::default();
    let root = match source {
        // Everything mounted below comes along, as with a recursive bind. Its owner is what it is on disk.
        RootSource::Directory(path) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            let tree = open_tree(CWD, path, flags).map_err(failed(Step::Root, path.display()))?;
            // What init mounts on it must not travel to the directory's own peers on the host.
            let change = MountChange { propagation: SLAVE, ..MountChange::default() };
            change_mount(&tree, change, true).map_err(failed(Step::Root, path.display()))?;
            tree
        }
        RootSource::Erofs { index, devices, writable } => {
            let lower = erofs_layer(index, devices, image, owner, &mut layers)?;
            match writable {
                Some(writable) => overlay(vec![lower], writable, owner, &mut layers)?,
                None => lower,
            }
        }
        RootSource::Trees { layers: lower, writable } => trees(lower, writable.as_ref(), owner, &mut layers)?,
    };
    if owner.nodev {
        let change = MountChange { set: ATTR_NODEV, ..MountChange::default() };
        change_mount(&root, change, false).map_err(failed(Step::Root, "its nodev flag"))?;
    }
    Ok(Assembled { root, layers })
}

/// The image as a layer of this container: a clone, mapped to its ids, of the mount that is everybody's.
fn erofs_layer(
    index: &Path,
    devices: &[PathBuf],
    image: Option<OwnedFd>,
    owner: Owner<'_>,
    layers: &mut Layers,
) -> Result<OwnedFd, InitFailure> {
    let image = match image {
        Some(image) => image,
        None => erofs(index, devices).map_err(failed(Step::Root, index.display()))?,
    };
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let lower = match open_tree(&image, "", flags) {
        Ok(clone) => {
            layers.image = Some(image);
            clone
        }
        // Detached mounts can be cloned since 6.15.
        Err(_) => image,
    };
    id_map(&lower, owner, index)?;
    Ok(lower)
}

fn erofs(index: &Path, devices: &[PathBuf]) -> Result<OwnedFd, Errno> {
    let context = fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", index)?;
    for device in devices {
        fsconfig_set_string(&context, "device", device)?;
    }
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

fn trees(
    trees: &[PathBuf],
    writable: Option<&Writable>,
    owner: Owner<'_>,
    layers: &mut Layers,
) -> Result<OwnedFd, InitFailure> {
    let mut lower = Vec::with_capacity(trees.len());
    for layer in trees {
        let tree = clone_directory(layer).map_err(failed(Step::Root, layer.display()))?;
        id_map(&tree, owner, layer)?;
        lower.push(tree);
    }
    match writable {
        Some(writable) => overlay(lower, writable, owner, layers),
        // An overlay needs two layers; one alone is bound.
        None if lower.len() == 1 => {
            let tree = lower.swap_remove(0);
            let change = MountChange { set: ATTR_RDONLY, ..MountChange::default() };
            change_mount(&tree, change, false).map_err(failed(Step::Root, trees[0].display()))?;
            Ok(tree)
        }
        None => {
            let root = mount_overlay(&lower, None, owner)?;
            layers.spent.extend(lower);
            Ok(root)
        }
    }
}

fn overlay(
    lower: Vec<OwnedFd>,
    writable: &Writable,
    owner: Owner<'_>,
    layers: &mut Layers,
) -> Result<OwnedFd, InitFailure> {
    let Writable { upper, work, volatile, limit } = writable;
    let at = failed_at(upper);
    // The kernel wants upper and work on one mount, so the clone to be id-mapped is of the folder of both.
    let (Some((folder, upper_name)), Some((same, work_name))) =
        (crate::below::split(upper), crate::below::split(work))
    else {
        return Err(at(Errno::INVAL));
    };
    if folder != same {
        return Err(InitFailure::new(
            Step::Root,
            upper.display(),
            Errno::XDEV,
            "upper and work are not in one folder",
        ));
    }
    let folder_mount = match limit {
        Some(WritableLimit::Disk(file)) => disk::mount(file, *volatile)?,
        Some(WritableLimit::Project(_)) | None => clone_directory(folder).map_err(&at)?,
    };
    id_map(&folder_mount, owner, folder)?;
    let writable =
        WritableMount { folder: folder_mount, upper: upper_name, work: work_name, volatile: *volatile };
    let root = match limit {
        Some(WritableLimit::Project(bytes)) => {
            let room = Room::make(upper, *bytes)?;
            let root = mount_overlay(&lower, Some(&writable), owner)?;
            room.take_back()?;
            root
        }
        Some(WritableLimit::Disk(_)) | None => mount_overlay(&lower, Some(&writable), owner)?,
    };
    layers.spent.extend(lower);
    layers.spent.push(writable.folder);
    Ok(root)
}

/// A writable layer as a mount: the folder of its two directories, and their names there.
pub(crate) struct WritableMount<'a> {
    pub(crate) folder: OwnedFd,
    pub(crate) upper: &'a Path,
    pub(crate) work: &'a Path,
    pub(crate) volatile: bool,
}

impl WritableMount<'_> {
    /// Lets a volatile layer be mounted again. The kernel refuses as long as its own mark is there, for power may have
    /// been lost meanwhile; but then nobody would want the layer.
    fn forgive(&self) {
        if self.volatile {
            let mark = self.work.join("work/incompat/volatile");
            if unlinkat(&self.folder, mark.join("dirty"), AtFlags::empty()).is_ok() {
                let _ = unlinkat(&self.folder, mark, AtFlags::REMOVEDIR);
            }
        }
    }
}

fn failed_at(path: &Path) -> impl Fn(Errno) -> InitFailure {
    move |errno| failed(Step::Root, path.display())(errno)
}

fn mount_overlay(
    lower: &[OwnedFd],
    writable: Option<&WritableMount<'_>>,
    owner: Owner<'_>,
) -> Result<OwnedFd, InitFailure> {
    let at = |errno| failed(Step::Root, "overlay")(errno);
    let guard = owner.ids.map(|(uid, gid)| FileOwner::become_owner(uid, gid)).transpose()?;
    writable.inspect(|writable| writable.forgive());
    let overlay = match overlay_by_descriptors(lower, writable, owner) {
        // Layers by descriptor, and detached layers at all, came after 6.12. Before 6.5, overlayfs takes no descriptor of
        // any kind, and says so in another way.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => staging::overlay(lower, writable, owner.unprivileged)?,
        result => result.map_err(at)?,
    };
    drop(guard);
    // An overlay that cannot use its work directory is mounted all the same, read-only.
    if writable.is_some() && fstatvfs(&overlay).map_err(at)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(InitFailure::because(
            Step::Root,
            "overlay",
            "the kernel cannot write to its work directory",
        ));
    }
    Ok(overlay)
}

/// This thread makes files in another's name, with root's capabilities, until this is dropped.
pub(crate) struct FileOwner;

impl FileOwner {
    pub(crate) fn become_owner(uid: u32, gid: u32) -> Result<Self, InitFailure> {
        let at = failed(Step::Root, format!("an overlay in the name of {uid}:{gid}"));
        // First, so that a change half made is undone.
        let guard = Self;
        set_file_owner(uid, gid).map_err(at)?;
        credentials::raise_permitted()?;
        Ok(guard)
    }
}

impl Drop for FileOwner {
    fn drop(&mut self) {
        // Back to root's own, which root cannot be refused; the capabilities come back with them.
        let _ = set_file_owner(0, 0);
    }
}

fn overlay_by_descriptors(
    lower: &[OwnedFd],
    writable: Option<&WritableMount<'_>>,
    owner: Owner<'_>,
) -> Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    for layer in lower {
        fsconfig_set_fd(&context, "lowerdir+", layer.as_fd())?;
    }
    if let Some(writable) = writable {
        for (key, name) in [("upperdir", writable.upper), ("workdir", writable.work)] {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let directory = openat(&writable.folder, name, flags, Mode::empty())?;
            fsconfig_set_fd(&context, key, directory.as_fd())?;
        }
    }
    if owner.unprivileged {
        fsconfig_set_flag(&context, "userxattr")?;
    } else {
        // Whatever the kernel's default: a layer that says where else its files are could not be read by itself.
        fsconfig_set_string(&context, "redirect_dir", "nofollow")?;
    }
    if writable.is_some_and(|writable| writable.volatile) {
        fsconfig_set_flag(&context, "volatile")?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// The directories that a root file system is read from, uppermost first: the writable layer, if it was made yet, and the
/// image's. What the image has of them is mounted for this alone, attached nowhere.
pub fn open_layers(source: &RootSource) -> crate::Result<Vec<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open =
        |path: &Path| openat(CWD, path, flags, Mode::empty()).map_err(failed(Step::Root, path.display()));
    let (writable, image) = match source {
        RootSource::Directory(path) => (&None, vec![open(path)?]),
        RootSource::Erofs { index, devices, writable } => {
            let image = erofs(index, devices).map_err(failed(Step::Root, index.display()))?;
            (writable, vec![image])
        }
        RootSource::Trees { layers, writable } => {
            (writable, layers.iter().map(|layer| open(layer)).collect::<Result<_, _>>()?)
        }
    };
    let upper = writable.as_ref().map(open_writable).transpose()?.flatten();
    Ok(upper.into_iter().chain(image).collect())
}

/// The upper directory of a writable layer, if it was made yet: to be read, whether a container runs over it or not. One on a
/// disk of its own is mounted for this alone, attached nowhere, and goes with the last descriptor below it.
pub fn open_writable(writable: &Writable) -> crate::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = match &writable.limit {
        Some(WritableLimit::Disk(file)) => match disk::mount_to_read(file)? {
            Some(mount) => {
                openat(mount, writable.upper.file_name().unwrap_or_default(), flags, Mode::empty())
            }
            None => return Ok(None),
        },
        Some(WritableLimit::Project(_)) | None => openat(CWD, &writable.upper, flags, Mode::empty()),
    };
    match opened {
        Err(Errno::NOENT) => Ok(None),
        opened => Ok(Some(opened.map_err(failed(Step::Root, "the writable layer"))?)),
    }
}

/// A detached clone of the mount at `path`, with `path` as its root, that sends no mounts to its peers.
fn clone_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let tree = open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    change_mount(&tree, MountChange { propagation: SLAVE, ..MountChange::default() }, false)?;
    Ok(tree)
}

fn id_map(mount: &OwnedFd, owner: Owner<'_>, path: &Path) -> Result<(), InitFailure> {
    let Some(user_namespace) = owner.user_namespace else { return Ok(()) };
    let change =
        MountChange { set: ATTR_IDMAP, user_namespace: Some(user_namespace), ..MountChange::default() };
    change_mount(mount, change, false).map_err(|errno| {
        InitFailure::new(
            Step::Root,
            path.display(),
            errno,
            "its file system may not support id-mapped mounts",
        )
    })
}
