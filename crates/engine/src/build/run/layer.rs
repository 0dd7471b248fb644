//! The layer of what a program has changed.
//!
//! It is read where it lies, after the program's end, packed, hashed and written at the same time, as a commit is.

use std::io::{PipeReader, Read, Write};

use build::Cancel;
use image::LoadedLayer;
use image::files::Times;
use runtime::plan::RootSource;
use rustix::pipe::fcntl_setpipe_size;

use super::error::RunError;
use super::request::refused;
use crate::build::BuildError;
use crate::build::session::Session;
use crate::images::failed;
use crate::{Engine, Result};

const ACTION: &str = "store the layer of a step";
/// Bytes that packer and store may be apart, and that are moved at once.
const PORTION: usize = 256 << 10;

/// Stores what lies in the upper directory of `root` over its layers.
pub(super) fn store(
    session: &Session<'_>,
    engine: &Engine,
    root: RootSource,
    mount_points: Vec<String>,
) -> Result<LoadedLayer> {
    let times = Times::Seconds { latest: session.epoch() };
    let mut writer = session.draft.layer().map_err(failed(ACTION))?;
    engine.layer_over(root, mount_points, times).tar(|tar| copy(tar, &mut writer, session.cancel))?;
    writer.hand_in().map_err(failed(ACTION))
}

fn copy(tar: &mut PipeReader, writer: &mut impl Write, cancel: &Cancel) -> Result<()> {
    let failed = |source| refused(RunError::System { action: ACTION, path: "pipe(2)".into(), source });
    // A smaller pipe is slower, that is all.
    let _grown = fcntl_setpipe_size(&*tar, PORTION);
    let mut portion = vec![0; PORTION];
    loop {
        if cancel.is_cancelled() {
            return Err(BuildError::Cancelled.into());
        }
        match tar.read(&mut portion).map_err(failed)? {
            0 => return Ok(()),
            length => writer.write_all(&portion[..length]).map_err(failed)?,
        }
    }
}
