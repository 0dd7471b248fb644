//! Reads an image again, all of it, and tells what is not as its names say.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use linux::chain;
use linux::file::{self, Named as _};
use oci::{DiffId, Digest, Hasher, ImageConfig};

use super::{Store, derive, size_of};
use crate::error::{Error, Result};
use crate::index::Ahead;

/// What is wrong with a stored image; `Display` is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A document is not there.
    DocumentMissing(Digest),
    /// A document is not what it is named by.
    DocumentDamaged(Digest),
    /// The config is intact but not acceptable; why.
    ConfigRefused(Digest, String),
    /// A layer is not there.
    LayerMissing(DiffId),
    /// A layer is not what it is named by.
    LayerDamaged {
        /// Its name.
        layer: DiffId,
        /// The digest of what is there.
        found: Digest,
    },
    /// The merged index is not what the layers give. It is derived: without it, it is made anew.
    IndexDiffers(Digest),
    /// No merged index can be made of the layers; why.
    IndexRefused(Digest, String),
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DocumentMissing(digest) => write!(out, "document {digest} is missing"),
            Self::DocumentDamaged(digest) => write!(out, "document {digest} does not have that digest"),
            Self::ConfigRefused(digest, why) => write!(out, "config {digest} is not acceptable: {why}"),
            Self::LayerMissing(layer) => write!(out, "layer {layer} is missing"),
            Self::LayerDamaged { layer, found } => {
                write!(out, "layer {layer} is damaged: its digest is {found}")
            }
            Self::IndexDiffers(image) => {
                write!(out, "the index of image {image} is not what its layers give")
            }
            Self::IndexRefused(image, why) => write!(out, "no index of image {image} can be made: {why}"),
        }
    }
}

/// Hashes the documents and layers of an image again and rebuilds its index; what differs is found. Nothing
/// is changed.
///
/// # Errors
/// If something cannot be read for another reason than that it is missing.
pub fn verify(store: &Store, image: &Digest, manifest: Option<&Digest>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if let Some(manifest) = manifest {
        document(store, manifest, &mut findings)?;
    }
    let Some(bytes) = document(store, image, &mut findings)? else { return Ok(findings) };
    let config = match ImageConfig::parse(&bytes) {
        Ok(config) => config,
        Err(error) => {
            findings.push(Finding::ConfigRefused(image.clone(), chain(&error)));
            return Ok(findings);
        }
    };
    let before = findings.len();
    let mut seen = std::collections::BTreeSet::new();
    for layer in config.rootfs.diff_ids.iter().filter(|layer| seen.insert((*layer).clone())) {
        findings.extend(check_layer(store, layer)?);
    }
    if findings.len() == before {
        findings.extend(check_index(store, image, &config.rootfs.diff_ids)?);
    }
    Ok(findings)
}

fn document(store: &Store, digest: &Digest, findings: &mut Vec<Finding>) -> Result<Option<Vec<u8>>> {
    match store.blob(digest) {
        Ok(content) => return Ok(Some(content)),
        Err(Error::NotStored { .. }) => findings.push(Finding::DocumentMissing(digest.clone())),
        Err(Error::Damaged { .. }) => findings.push(Finding::DocumentDamaged(digest.clone())),
        Err(Error::File(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
            findings.push(Finding::DocumentDamaged(digest.clone()));
        }
        Err(error) => return Err(error),
    }
    Ok(None)
}

fn check_layer(store: &Store, layer: &DiffId) -> Result<Option<Finding>> {
    let path = store.layer_path(layer);
    let file = match file::open(&path) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Ok(Some(Finding::LayerMissing(layer.clone()))),
        Err(error) => return Err(error.into()),
    };
    let hasher = layer.digest().hasher().unwrap_or_else(Hasher::sha256);
    let found = hash(file, hasher, &path)?;
    Ok((found != *layer.digest()).then(|| Finding::LayerDamaged { layer: layer.clone(), found }))
}

fn hash(mut file: File, mut hasher: Hasher, path: &Path) -> Result<Digest> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).named("read", path).map_err(Error::from),
        }
    }
}

fn check_index(store: &Store, image: &Digest, layers: &[DiffId]) -> Result<Option<Finding>> {
    let path = store.index_path(image);
    // Missing is no fault: it is made when it is needed. That it can be made is checked all the same.
    let stored = match size_of(&path)? {
        Some(_) => Some(hash(file::open(&path)?, Hasher::sha256(), &path)?),
        None => None,
    };
    let mut made = HashWriter(Hasher::sha256());
    let built = derive::open_all(store, layers)
        .and_then(|tars| derive::build(Ahead::default(), (layers, &tars), &mut made));
    if let Err(error) = built {
        return Ok(Some(Finding::IndexRefused(image.clone(), chain(&error))));
    }
    let made = made.0.finish();
    Ok(stored.filter(|stored| *stored != made).map(|_| Finding::IndexDiffers(image.clone())))
}

/// Only hashes what is written.
struct HashWriter(Hasher);

impl Write for HashWriter {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.0.update(content);
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
