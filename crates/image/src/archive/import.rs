//! Makes an image of one root file system.

use std::io::{BufReader, Read};

use oci::{History, ImageConfig, Platform, RootFs, Timestamp};

use super::contents::ingest_into;
use super::load::{stage_image, stage_layer};
use super::{Loaded, change};
use crate::error::{Error, Result};
use crate::ingest::Expected;
use crate::store::{Staged, Store};

/// What the image is to be, apart from its files.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Dockerfile instructions that change the config, in order: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK,
    /// LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR.
    pub changes: Vec<String>,
    /// What the history says; Docker's default is `Imported from SOURCE`, where standard input is `-`.
    pub message: String,
    /// What it runs on; by default the host's.
    pub platform: Option<Platform>,
    /// When it was made.
    pub created: Timestamp,
    /// What the tar is called in errors.
    pub name: String,
}

/// Imports a tar, compressed or not, as an image of one layer without a name.
///
/// # Errors
/// If a change is not understood, or the tar cannot be read or is not whole. The store is then as it was.
pub fn import(store: &Store, tar: &mut (dyn Read + Send), options: &ImportOptions) -> Result<Loaded> {
    let mut config = ImageConfig {
        platform: options.platform.clone().unwrap_or_else(Platform::host),
        created: Some(options.created),
        comment: options.message.clone(),
        history: vec![History {
            created: Some(options.created),
            comment: options.message.clone(),
            ..History::default()
        }],
        ..ImageConfig::default()
    };
    // Before anything is read: a slip in an option should not cost a long wait.
    for text in &options.changes {
        change::apply(&mut config.config, text)?;
    }
    let mut staged = Staged::new(store)?;
    let mut tar = BufReader::with_capacity(64 << 10, tar);
    let (ingested, path) = ingest_into(&options.name, &mut tar, Expected::default(), &staged)?;
    if !ingested.terminated {
        // No digest tells how long it should have been.
        let reason = match ingested.size {
            0 => "it is empty",
            _ => "it has no end mark (two blocks of zeros), so it may be truncated",
        };
        return Err(Error::Entry { entry: options.name.clone(), reason: reason.to_owned() });
    }
    let layer = stage_layer(&ingested, path.as_ref(), None, &mut staged);
    config.rootfs = RootFs { diff_ids: vec![layer.diff_id.clone()], ..RootFs::default() };
    let bytes = config.to_bytes();
    // What the options brought in is checked like what an archive says.
    let config = ImageConfig::parse(&bytes)
        .map_err(|source| Error::Document { entry: "the config of the new image".to_owned(), source })?;
    let image = stage_image(&bytes, config, None, vec![layer], &mut staged)?;
    Ok(Loaded { images: vec![image], hold: staged.publish()? })
}
