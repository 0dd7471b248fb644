//! Files of ids that are lent to an ordinary user: unpacked and removed by a process of their own (`monitor::lent`).
//!
//! Without lent ids (no lines in `/etc/subuid` and `/etc/subgid`, or no `newuidmap` and `newgidmap`) a container has
//! one id, root's, which is the caller; then every file of an image is the caller's, and there is nothing to do here.

use std::io;
use std::path::{Path, PathBuf};

use image::snapshots::{Privilege, RootFs, Snapshots, Trees};
use image::store::Remover;
use linux::file;
use monitor::lent::Unpack;
use oci::{DiffId, Digest};
use runtime::plan::{IdMap, IdMaps};

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
