//! Makes an image of one root file system.

use std::io::{BufReader, Read};

use oci::{Descriptor, Digest, History, ImageConfig, Platform, RootFs, Timestamp};

use super::contents::ingest_into;
use super::load::{stage_image, stage_layer};
use super::{Loaded, LoadedImage, change};
use crate::error::{Error, Result};
use crate::ingest::Expected;
use crate::store::{Live, Staged, Store};

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
    /// Documents about the image: what they are, but for digest and size, and their bytes.
    pub attached: Vec<(Descriptor, Vec<u8>)>,
}

/// Imports a tar, compressed or not, as an image of one layer without a name.
///
/// # Errors
/// If a change is not understood, a document is larger than documents may be, or the tar cannot be read or is not whole. The store
/// is then as it was.
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
    let attached = options.attached.iter().map(described).collect::<Result<Vec<_>>>()?;
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
    let mut wanted = Live::default();
    attached.iter().for_each(|one| wanted.document(&one.digest));
    staged.lease(&wanted)?;
    for (one, (_, content)) in attached.iter().zip(&options.attached) {
        staged.add_document(&one.digest, content)?;
    }
    let image = LoadedImage { attached, ..image };
    Ok(Loaded { images: vec![image], hold: staged.publish()? })
}

/// What a document is, with the digest and the size that its bytes give.
fn described((descriptor, content): &(Descriptor, Vec<u8>)) -> Result<Descriptor> {
    let size = content.len() as u64;
    if size > oci::CONFIG_LIMIT {
        let reason = format!("it has {size} bytes, more than the {} that are stored", oci::CONFIG_LIMIT);
        return Err(Error::Entry { entry: descriptor.media_type.to_string(), reason });
    }
    Ok(Descriptor { digest: Digest::of(content), size, ..descriptor.clone() })
}
