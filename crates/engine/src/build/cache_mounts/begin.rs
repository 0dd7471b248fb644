//! What a cache begins as: what was kept of it elsewhere ([`crate::build::carried`]), else nothing, or a copy of a part of another tree.
//!
//! ```text
//! part of the tree ─► a layer with it at /data ─► data.tree/data ─► data.new, its owner and mode ─► data
//! ```
//!
//! A copy is made once, and is the cache's own from then on. Its directory has owner and mode of what it is a copy of, unless the
//! step asks for others. It is whole or absent, also after a loss of power.

use std::path::{Path, PathBuf};

use build::Step;
use dockerfile::syntax::Identity;
use linux::file;

use super::{Seed, Wish, data, failed};
use crate::Result;
use crate::build::BuildError;
use crate::build::copy;
use crate::build::run::{RunError, refused};
use crate::build::session::Session;

/// What a step gets that asks for nothing.
const USUAL: Identity = Identity { mode: 0o755, uid: 0, gid: 0 };

/// Makes what a cache begins as. Its lock is the caller's alone. What fails leaves nothing, unless there was something before.
pub(super) fn make(session: &Session<'_>, folder: &Path, wish: &Wish<'_>, step: &Step<'_>) -> Result<()> {
    let half_done = [folder.join("data.tree"), folder.join("data.new")];
    make_by_way_of(session, folder, &half_done, wish, step).inspect_err(|_| {
        let left = if data(folder).exists() { &half_done[..] } else { &[folder.to_owned()] };
        // What is left all the same is removed by whoever opens it next.
        if let Err(error) = session.engine.remove_trees(left) {
            tracing::warn!(%error, "what was begun of a cache mount is left");
        }
    })
}

fn make_by_way_of(
    session: &Session<'_>,
    folder: &Path,
    [unpacked, half_done]: &[PathBuf; 2],
    wish: &Wish<'_>,
    step: &Step<'_>,
) -> Result<()> {
    let engine = session.engine;
    // What is there is what a dead process has begun.
    engine.remove_trees(&[unpacked.clone(), half_done.clone()]).map_err(failed)?;
    let Identity { mode, uid, gid } = wish.identity;
    let key = wish.key();
    // What others kept of it has its owner and its mode.
    if session.carried().fill(session, key.digest().encoded(), (unpacked, half_done), step)? {
        file::rename(half_done, &data(folder)).map_err(failed)?;
        return engine.remove_trees(std::slice::from_ref(unpacked)).map_err(failed);
    }
    match wish.seed {
        None => {
            file::create_dir(half_done, 0o700).map_err(failed)?;
        }
        Some(Seed { tree, .. }) => {
            let layer = copy::as_data(session, tree, wish.source, step)?;
            // Nothing will name it: it goes with the draft.
            let tar = session.draft.layer_path(&layer);
            let stop = || step.cancel.is_cancelled();
            let filled = engine.unpack_member((&layer, &tar), unpacked, ("data", half_done), &stop);
            filled.map_err(|error| if stop() { BuildError::Cancelled.into() } else { error })?;
            if !std::fs::symlink_metadata(half_done).is_ok_and(|made| made.is_dir()) {
                let path = wish.source.to_owned();
                return Err(refused(RunError::CacheSource { path }));
            }
        }
    }
    if wish.seed.is_none() || wish.identity != USUAL {
        engine.give(half_done, (uid, gid), mode & 0o7777)?;
    }
    file::rename(half_done, &data(folder)).map_err(failed)?;
    engine.remove_trees(std::slice::from_ref(unpacked)).map_err(failed)
}
