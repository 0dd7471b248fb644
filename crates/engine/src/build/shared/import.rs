//! Reads caches, and fetches of them what is wanted.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use image::LoadedLayer;
use oci::{Descriptor, Digest, Document as OciDocument, Index, Manifest, Reference};
use registry_client::Repository;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::Imported;
use super::document::{ANNOTATION, CONFIG, Document, Layer};
use super::options::Place;
use crate::build::BuildError;
use crate::build::session::Session;
use crate::images::failed;
use crate::{Error, Result};

/// Where the layers of a cache are.
pub(super) enum Source {
    Registry(Box<Repository>),
    Directory(PathBuf),
}

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Reads what a cache says.
pub(super) fn import(session: &Session<'_>, place: &Place) -> Result<Imported> {
    match place {
        Place::Registry(reference) => {
            let refused = |source| refused(reference, source);
            let repository = session.client.repository(reference).map_err(refused)?;
            let fetched = repository.manifest(reference).map_err(refused)?;
            let read = |blob: &Descriptor| repository.small_blob(blob, oci::CONFIG_LIMIT).map_err(refused);
            let manifest = |entry: &Descriptor| {
                let fetched = repository.manifest_of_index(entry).map_err(refused)?;
                Ok(fetched.document)
            };
            let (bytes, blobs) = document(fetched.document, &read, &manifest)?;
            Document::read(&bytes, &blobs, Source::Registry(Box::new(repository)))
        }
        Place::Local { directory, tag, digest } => {
            let source = Source::Directory(directory.clone());
            let index = source.small("index.json", oci::MANIFEST_LIMIT)?;
            let index = Index::parse(&index).map_err(|error| bad(error.to_string()))?;
            let is_it = |entry: &&Descriptor| match digest {
                Some(digest) => entry.digest == *digest,
                None => entry.annotations.get(REF_NAME) == Some(tag),
            };
            let entry =
                index.manifests.iter().find(is_it).ok_or_else(|| bad(format!("there is no {place}")))?;
            let read = |blob: &Descriptor| {
                let bytes = source.small(&path(&blob.digest), oci::CONFIG_LIMIT)?;
                blob.verify(&bytes).map_err(|error| bad(error.to_string()))?;
                Ok(bytes)
            };
            let manifest = |entry: &Descriptor| {
                OciDocument::parse(&read(entry)?, &entry.media_type).map_err(|error| bad(error.to_string()))
            };
            let (bytes, blobs) = document(manifest(entry)?, &read, &manifest)?;
            Document::read(&bytes, &blobs, source)
        }
        Place::Inline => Err(bad("there is no image yet".to_owned())),
    }
}

type ReadBlob<'a> = dyn Fn(&Descriptor) -> Result<Vec<u8>> + 'a;
type ReadManifest<'a> = dyn Fn(&Descriptor) -> Result<OciDocument> + 'a;

/// The document of a cache, and the blobs that its manifest names.
fn document(
    top: OciDocument,
    read: &ReadBlob<'_>,
    manifest: &ReadManifest<'_>,
) -> Result<(Vec<u8>, Vec<Descriptor>)> {
    match top {
        OciDocument::Manifest(manifest) => of_manifest(&manifest, read),
        OciDocument::Index(index) => {
            if let Some(config) = index.manifests.iter().find(|entry| entry.media_type.as_str() == CONFIG) {
                return Ok((read(config)?, index.manifests.clone()));
            }
            // An image for several platforms: that of this host.
            let host = oci::Platform::host();
            let entry = index.select(&host).ok_or_else(|| bad("it has nothing for this host".to_owned()))?;
            match manifest(entry)? {
                OciDocument::Manifest(manifest) => of_manifest(&manifest, read),
                OciDocument::Index(_) => Err(bad("an index leads to an index".to_owned())),
            }
        }
    }
}

fn of_manifest(manifest: &Manifest, read: &ReadBlob<'_>) -> Result<(Vec<u8>, Vec<Descriptor>)> {
    if manifest.config.media_type.as_str() == CONFIG {
        return Ok((read(&manifest.config)?, manifest.layers.clone()));
    }
    match manifest.annotations.get(ANNOTATION) {
        Some(text) => Ok((text.clone().into_bytes(), manifest.layers.clone())),
        None => Err(bad("it is no cache, and no image with one".to_owned())),
    }
}

fn bad(reason: String) -> Error {
    BuildError::CacheDocument { reason }.into()
}

pub(super) fn refused(reference: &Reference, source: registry_client::Error) -> Error {
    Error::Registry { action: "use the cache", name: reference.familiar(), source: Box::new(source) }
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm_name(), digest.encoded())
}

impl Source {
    /// Fetches a layer into the store.
    pub(super) fn bring(&self, session: &Session<'_>, layer: &Layer) -> Result<LoadedLayer> {
        let mut blob: Box<dyn Read + Send> = match self {
            Source::Registry(repository) => {
                let blob = repository.blob(&layer.blob);
                let name = layer.blob.digest.to_string();
                Box::new(blob.map_err(|source| Error::Registry {
                    action: "fetch",
                    name,
                    source: Box::new(source),
                })?)
            }
            Source::Directory(_) => Box::new(self.open(&path(&layer.blob.digest))?),
        };
        let name = layer.diff_id.to_string();
        let tar = image::decompressed(&name, &mut *blob).map_err(failed("fetch a layer of a cache"))?;
        let mut writer = session.draft.layer().map_err(failed("store a layer of a cache"))?;
        let read = |source| image::Error::Read { entry: name.clone(), source };
        // Not a byte more than was said.
        let copied = io::copy(&mut tar.take(layer.size.saturating_add(1)), &mut writer);
        let copied = copied.map_err(read).map_err(failed("fetch a layer of a cache"))?;
        if copied != layer.size {
            return Err(bad(format!("the layer {name} is not as long as was said")));
        }
        writer.flush().map_err(read).map_err(failed("store a layer of a cache"))?;
        let stored = writer.finish().map_err(failed("store a layer of a cache"))?;
        if stored.diff_id != layer.diff_id {
            return Err(bad(format!("the layer {name} has the digest {}", stored.diff_id)));
        }
        Ok(stored)
    }

    /// A small file of a layout.
    fn small(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.open(name)?.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|source| Error::System { action: "read", path: name.into(), source })?;
        if bytes.len() as u64 > limit {
            return Err(bad(format!("{name} is larger than {limit} bytes")));
        }
        Ok(bytes)
    }

    /// A file of a layout; no link leads out of it, and nothing but a file is waited for.
    fn open(&self, name: &str) -> Result<File> {
        let Source::Directory(directory) = self else { return Err(bad("it is in a registry".to_owned())) };
        let failed = |errno: rustix::io::Errno| Error::System {
            action: "open",
            path: directory.join(name),
            source: errno.into(),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = openat(CWD, directory, flags, Mode::empty()).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(File::from(openat2(&base, name, flags, Mode::empty(), resolve).map_err(failed)?))
    }
}
