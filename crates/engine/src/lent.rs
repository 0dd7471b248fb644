//! Files of ids that are lent to an ordinary user: unpacked, given away and removed by a process of their own (`monitor::lent`).
//!
//! Without lent ids (no lines in `/etc/subuid` and `/etc/subgid`, or no `newuidmap` and `newgidmap`) a container has
//! one id, root's, which is the caller; then every file of an image is the caller's, and there is nothing to do here.

use std::io;
use std::path::{Path, PathBuf};

use image::Stop;
use image::snapshots::{self, Privilege, RootFs, Snapshots, Trees};
use image::store::Remover;
use linux::file::{self, Named as _};
use monitor::lent::{Fill, Own, Unpack};
use oci::{DiffId, Digest};
use runtime::plan::{IdMap, IdMaps};
use rustix::fs::{AtFlags, CWD, Gid, Uid};

use crate::images::failed;
use crate::{Engine, Error, Result, host, plan};

impl Engine {
    /// Unpacks what is missing of an image's layers.
    pub(crate) fn trees(&self, image: &Digest, layers: &[DiffId]) -> Result<RootFs> {
        const ACTION: &str = "prepare the root file system";
        let Some(maps) = self.facts().rootless.as_ref().and_then(plan::lent_for_files) else {
            return Privilege::of_this_process()
                .and_then(|privilege| Trees::new(privilege).prepare(&self.store, image, layers))
                .map_err(failed(ACTION));
        };
        let ids = name_of(&maps);
        let trees = Trees::in_user_namespace(ids.clone());
        if !trees.is_ready(&self.store, layers).map_err(failed(ACTION))? {
            let root = self.store.root().to_owned();
            let what = Unpack { root, image: image.clone(), layers: layers.to_vec(), ids };
            monitor::lent::unpack(&self.config.monitor, maps, what)
                .map_err(|source| Error::Lent { action: ACTION, source })?;
        }
        Ok(trees.root(&self.store, layers))
    }

    /// Unpacks one layer into the new directory `scratch`, with the owners that containers see, and renames what is called
    /// `member` there to `target`. All of it is beside each other, where nobody else is. What is to stop leaves what it has made.
    pub(crate) fn unpack_member(
        &self,
        (layer, tar): (&DiffId, &Path),
        scratch: &Path,
        (member, target): (&str, &Path),
        stop: &Stop<'_>,
    ) -> Result<()> {
        const ACTION: &str = "unpack a layer";
        let Some(maps) = self.facts().rootless.as_ref().and_then(plan::lent_for_files) else {
            Privilege::of_this_process()
                .and_then(|privilege| snapshots::unpack_alone(tar, layer, scratch, privilege, stop))
                .map_err(failed(ACTION))?;
            return file::rename(&scratch.join(member), target)
                .map_err(|source| Error::File { action: ACTION, source });
        };
        let what = Fill {
            layer: layer.clone(),
            tar: tar.to_owned(),
            scratch: scratch.to_owned(),
            member: member.to_owned(),
            target: target.to_owned(),
        };
        monitor::lent::fill(&self.config.monitor, maps, what, stop)
            .map_err(|source| Error::Lent { action: ACTION, source })
    }

    /// Gives a file of ours the owner that containers see, and its permission bits. Without lent ids all files are the caller's.
    pub(crate) fn give(&self, path: &Path, (uid, gid): (u32, u32), mode: u32) -> Result<()> {
        let rootless = self.facts().rootless.as_ref();
        if let Some(maps) = rootless.and_then(plan::lent_for_files).filter(|_| (uid, gid) != (0, 0)) {
            let what = Own { path: path.to_owned(), owner: (uid, gid), mode };
            return monitor::lent::own(&self.config.monitor, maps, what)
                .map_err(|source| Error::Lent { action: "give a file its owner", source });
        }
        let give = || {
            if rootless.is_none() {
                let (uid, gid, flags) = (Uid::from_raw(uid), Gid::from_raw(gid), AtFlags::SYMLINK_NOFOLLOW);
                rustix::fs::chownat(CWD, path, Some(uid), Some(gid), flags).named("change owner of", path)?;
            }
            file::set_mode(path, mode)
        };
        give().map_err(|source| Error::File { action: "give a file its owner", source })
    }

    /// Bytes that a tree has on disk, without what lies at `but`, also where ids own it that are lent to this user. What nobody may read counts
    /// as nothing.
    pub(crate) fn allotted(&self, path: &Path, but: &[&Path]) -> u64 {
        let own = file::allotted(path, but);
        let lent =
            self.facts().rootless.as_ref().filter(|user| !user.uids.is_empty() || !user.gids.is_empty());
        let Some(user) = lent.filter(|_| own.is_partial) else { return own.bytes };
        let measured = monitor::lent::measure(&self.config.monitor, plan::lent(user), path, but);
        measured
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "measured in part"))
            .unwrap_or(own.bytes)
    }

    /// Removes trees in which a container's ids may have files. One that is not there is no error.
    pub(crate) fn remove_trees(&self, trees: &[PathBuf]) -> file::Result<()> {
        remover(&self.config.monitor).remove(trees)
    }
}

/// Removes trees, by the monitor `program` where this process's own rights do not suffice.
pub(crate) fn remover(program: &Path) -> Remover {
    // With root they always do.
    if rustix::process::geteuid().is_root() {
        return Remover::default();
    }
    let program = program.to_owned();
    Remover::new(move |trees| {
        // Looked up when it is needed, which it seldom is.
        let user = host::rootless().filter(|user| !user.uids.is_empty() || !user.gids.is_empty());
        let Some(maps) = user.as_ref().map(plan::lent) else {
            let why = match runtime::helpers_exist() {
                true => {
                    "it holds files of ids that are not lent to this user; see /etc/subuid and /etc/subgid"
                }
                false => {
                    "it holds files of ids that were lent to this user, and newuidmap or newgidmap is missing"
                }
            };
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        };
        monitor::lent::remove(&program, maps, trees.to_vec()).map_err(io::Error::other)
    })
}

/// A name for the owners that files have on disk: trees of other ids are other trees.
fn name_of(maps: &IdMaps) -> String {
    let lines = |maps: &[IdMap]| -> String {
        maps.iter().map(|map| format!("{} {} {}\n", map.inside, map.outside, map.count)).collect()
    };
    let digest = Digest::of(format!("{}\n{}", lines(&maps.uid), lines(&maps.gid)).as_bytes());
    digest.encoded().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Rootless;

    #[test]
    fn other_ids_have_another_name() {
        let user = Rootless { uid: 1000, gid: 1000, uids: vec![(5, 9)], gids: vec![(5, 9)] };
        let more = Rootless { gids: vec![(5, 9), (20, 1)], ..user.clone() };
        let name = |user: &Rootless| name_of(&plan::lent_for_files(user).unwrap());
        assert_eq!(name(&user), name(&user.clone()));
        assert_ne!(name(&user), name(&more));
        assert!(name(&user).len() == 16 && name(&user).bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
