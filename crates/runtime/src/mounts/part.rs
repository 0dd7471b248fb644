//! Parts of file systems that belong to nobody else: of an image's, and files whose content stands in the plan.
//!
//! ```text
//! image's file system, detached ─► looked up below its root ─► clone of that part ─► attached at the target
//! new tmpfs, detached ─► file written ──────────────────────►┘
//! ```
//!
//! What the image says of links leads nowhere outside of it. Nothing is attached that is not wanted: but kernels before 6.15
//! clone no part of a detached mount, so there the whole lies over the container's root, out of sight of path lookups,
//! for the moment in which its part is cloned ([`part_while_attached`]).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, openat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags, open_tree, unmount};

use super::{apply_attributes, attach_at, new_instance};
use crate::below::{Links, find};
use crate::error::failed;
use crate::plan::{IdMaps, Mount, MountKind};
use crate::root::{Layers, Owner, assemble};
use crate::{InitFailure, Step};

/// The name of the only file of its tmpfs.
const NAME: &str = "content";

/// The whole of the image's file system of which a mount shows a part; `None` for other kinds.
pub(crate) fn make(
    mount: &Mount,
    owner: Owner<'_>,
    layers: &mut Layers,
) -> Result<Option<OwnedFd>, InitFailure> {
    let MountKind::Image { source, .. } = &mount.kind else { return Ok(None) };
    let assembled = assemble(source, None, owner)?;
    layers.add(assembled.layers);
    Ok(Some(assembled.root))
}

/// The part of `whole` that a mount shows, ready to be attached. `root` is the container's.
pub(crate) fn of_image(
    mount: &Mount,
    whole: OwnedFd,
    path: &Path,
    root: BorrowedFd<'_>,
) -> Result<OwnedFd, InitFailure> {
    let at = || format!("{} on {}", path.display(), mount.target.display());
    let part = part(whole, path, root).map_err(|errno| failed(Step::Mount, at())(errno))?;
    finish(part, mount)
}

/// A new file with the content that the plan has for it, ready to be attached.
pub(crate) fn file(mount: &Mount, maps: &IdMaps, root: BorrowedFd<'_>) -> Result<OwnedFd, InitFailure> {
    let MountKind::File { content, mode, uid, gid } = &mount.kind else {
        return Err(failed(Step::Mount, mount.target.display())(Errno::INVAL));
    };
    let at = failed(Step::Mount, format!("the file for {}", mount.target.display()));
    let options = ["mode=700".to_owned()];
    let whole = new_instance("tmpfs", "tmpfs", &options, maps, 0).map_err(|(_, errno)| at(errno))?;
    let made =
        write(&whole, content.bytes(), *mode, (*uid, *gid)).and_then(|()| part(whole, Path::new(NAME), root));
    let made = made.map_err(failed(Step::Mount, format!("the file for {}", mount.target.display())))?;
    finish(made, mount)
}

fn write(folder: &OwnedFd, content: &[u8], mode: u32, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(folder, NAME, flags, Mode::RUSR | Mode::WUSR)?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
        rest = &rest[written..];
    }
    if (uid, gid) != (0, 0) {
        fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    fchmod(&file, Mode::from_raw_mode(mode))
}

fn finish(part: OwnedFd, mount: &Mount) -> Result<OwnedFd, InitFailure> {
    apply_attributes(&part, mount)
        .map_err(|errno| InitFailure::new(Step::Mount, mount.target.display(), errno, "its mount flags"))?;
    Ok(part)
}

/// A detached clone of what lies at `path` of the detached mount `whole`.
fn part(whole: OwnedFd, path: &Path, root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    if path == Path::new("/") {
        return Ok(whole);
    }
    let found = find(&whole, path, Links::Follow)?;
    match clone(&found) {
        Err(Errno::INVAL) => part_while_attached(&whole, &found, root),
        result => result,
    }
}

/// The same by kernels before 6.15: `whole` lies over `root` meanwhile.
fn part_while_attached(whole: &OwnedFd, found: &OwnedFd, root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    attach_at(whole, root)?;
    let cloned = clone(found);
    let place = format!("/proc/self/fd/{}", whole.as_raw_fd());
    // A mount that stays there would be seen: then there is no container.
    unmount(place, UnmountFlags::DETACH)?;
    cloned
}

fn clone(found: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(found.as_fd(), "", flags)
}

#[cfg(test)]
mod tests {
    use linux::process::{NEW_NS, unshare_namespaces};
    use rustix::fs::{AtFlags, statat};
    use rustix::mount::{MountPropagationFlags, mount_change};

    use super::*;
    use crate::plan::IdMaps;

    /// A detached tmpfs with `folder/file`, and a link to the folder.
    fn tree() -> OwnedFd {
        let whole = new_instance("tmpfs", "tmpfs", &[], &IdMaps::default(), 0).unwrap();
        rustix::fs::mkdirat(&whole, "folder", Mode::RWXU).unwrap();
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&whole, "folder/file", flags, Mode::RWXU).unwrap();
        rustix::io::write(&file, b"content").unwrap();
        rustix::fs::symlinkat("/../folder", &whole, "link").unwrap();
        whole
    }

    fn content(part: &OwnedFd) -> Vec<u8> {
        let file = openat(part, "file", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let mut bytes = [0; 16];
        let length = rustix::io::read(&file, &mut bytes).unwrap();
        bytes[..length].to_vec()
    }

    #[test]
    fn a_part_is_the_same_by_kernels_that_need_it_attached_and_none_of_it_stays() {
        assert!(rustix::process::geteuid().is_root(), "this test needs root: it mounts");
        // In a mount namespace of this thread's own, whose mounts travel nowhere.
        let tested = std::thread::spawn(|| {
            unshare_namespaces(NEW_NS).unwrap();
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
            let root = new_instance("tmpfs", "tmpfs", &[], &IdMaps::default(), 0).unwrap();
            rustix::fs::mkdirat(&root, "own", Mode::RWXU).unwrap();
            // As the container's root: it is attached where nobody looks.
            let place = rustix::fs::open("/sys", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            attach_at(&root, &place).unwrap();
            for path in ["/folder", "/link", "folder/../link/."] {
                let whole = tree();
                let found = find(&whole, Path::new(path), Links::Follow).unwrap();
                let old = part_while_attached(&whole, &found, root.as_fd()).unwrap();
                assert_eq!(content(&old), b"content", "{path}");
                assert_eq!(
                    content(&part(tree(), Path::new(path), root.as_fd()).unwrap()),
                    b"content",
                    "{path}"
                );
                // What lay over the root is gone: the root has what it had.
                let root = find(&root, Path::new("/"), Links::Follow).unwrap();
                assert!(statat(&root, "own", AtFlags::empty()).is_ok(), "{path}");
                assert_eq!(statat(&root, "folder", AtFlags::empty()).unwrap_err(), Errno::NOENT, "{path}");
            }
            for path in ["/nothing", "/link/../../nothing"] {
                assert_eq!(part(tree(), Path::new(path), root.as_fd()).unwrap_err(), Errno::NOENT, "{path}");
            }
        });
        tested.join().unwrap();
    }
}
