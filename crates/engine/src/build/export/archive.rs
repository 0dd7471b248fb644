//! Images into archives: what `docker load` takes, and OCI layouts.

use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use image::{Content, Outgoing};
use linux::file;
use linux::file::Named as _;
use linux::partial::Partial;
use oci::{Descriptor, Platform, Reference};
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde_json::json;

use super::Export;
use super::describe::{Described, Image, Way};
use super::options::{Format, ImageOptions, Target};
use crate::build::BuildError;
use crate::images::failed;
use crate::info::Built;
use crate::{Error, Result};

impl Export<'_> {
    /// Writes the images of all platforms into an archive.
    pub(super) fn archive(
        &self,
        format: Format,
        target: &Target,
        options: &ImageOptions,
        built: &mut Built,
    ) -> Result<()> {
        let name = match format {
            Format::Docker => "exporting to docker image format",
            Format::Oci => "exporting to oci image format",
        };
        self.progress.internal(name, |part| {
            let way = if format == Format::Docker { Way::Docker } else { Way::Archive };
            let described = self.describe(options, way, part)?;
            let layout = self.layout(format, &described, &options.names)?;
            part.progress("sending tarball", 0, None, false);
            let store = &self.session.engine.store;
            match target {
                Target::Directory(path) => {
                    let directory = directory(path)?;
                    layout.write_directory(store, &directory).map_err(failed("write the layout"))?;
                }
                Target::Stream | Target::File(_) => self.write(target, &mut |out| {
                    layout.write_tar(store, out).map_err(failed("write the archive"))
                })?,
            }
            part.progress("sending tarball", 0, None, true);
            // What is in the store counts, if it is there, too.
            if built.descriptor.is_none() {
                self.note(&described, &options.names, built);
            }
            Ok(())
        })
    }

    /// Has something written to where it belongs. A file is replaced when it is whole.
    pub(super) fn write(
        &self,
        target: &Target,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        match target {
            Target::Stream => {
                let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::from(self.stream()?));
                write(&mut out)?;
                out.flush()
                    .map_err(|source| image::Error::Write { source })
                    .map_err(failed("write the output"))
            }
            Target::File(path) | Target::Directory(path) => {
                let partial = begin(path)?;
                let mut out = BufWriter::with_capacity(1 << 20, &partial.file);
                write(&mut out)?;
                out.flush().named("write", path).map_err(file_failed)?;
                drop(out);
                partial.finish().map_err(file_failed)
            }
        }
    }

    /// The caller's stream.
    pub(super) fn stream(&self) -> Result<OwnedFd> {
        let missing =
            || BuildError::Output { output: "-".to_owned(), reason: "there is no stream".to_owned() };
        let stream = self.session.request.output.as_ref().ok_or_else(missing)?;
        stream.try_clone().map_err(|source| Error::System {
            action: "write to",
            path: "the standard output".into(),
            source,
        })
    }

    fn layout(&self, format: Format, described: &Described, names: &[Reference]) -> Result<Outgoing> {
        let mut layout = Outgoing::default();
        for image in &described.images {
            layout.document(&image.id, image.config.clone());
            layout.document(&image.manifest.digest, image.bytes.clone());
            for (entry, content) in blobs(image)? {
                layout.blobs.insert(entry.digest, (entry.size, content));
            }
        }
        for (digest, document) in described.attested.iter().flat_map(|one| &one.documents) {
            layout.document(digest, document.clone());
        }
        if let Some((descriptor, bytes)) = &described.index {
            layout.document(&descriptor.digest, bytes.clone());
        }
        let Some(top) = described.top() else { return Ok(layout) };
        let created =
            described.images.iter().find_map(|image| self.products.get(image.product)?.config.created);
        layout.index = entries(top, names, created);
        if format == Format::Docker {
            layout.docker = Some(self.manifest_json(described, names)?);
        }
        Ok(layout)
    }

    /// `manifest.json`: one image, for it knows no platforms.
    fn manifest_json(&self, described: &Described, names: &[Reference]) -> Result<Vec<u8>> {
        let host = Platform::host();
        let runs = |image: &&Image| image.manifest.platform.as_ref().is_some_and(|found| host.runs(found));
        let Some(image) = described.images.iter().find(runs).or(described.images.first()) else {
            return Ok(b"[]".to_vec());
        };
        let path = |digest: &oci::Digest| format!("blobs/{}/{}", digest.algorithm_name(), digest.encoded());
        let layers: Vec<String> = blobs(image)?.iter().map(|(entry, _)| path(&entry.digest)).collect();
        let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
        let item = json!([{ "Config": path(&image.id), "RepoTags": tags, "Layers": layers }]);
        Ok(item.to_string().into_bytes())
    }
}

/// The layers of an image as they are in an archive.
fn blobs(image: &Image) -> Result<Vec<(Descriptor, Content)>> {
    let manifest = oci::Manifest::parse(&image.bytes).map_err(|source| image::Error::Document {
        entry: "the manifest of the new image".to_owned(),
        source,
    });
    let manifest = manifest.map_err(failed("write the archive"))?;
    let with_content = manifest.layers.into_iter().zip(&image.contents);
    Ok(with_content.filter_map(|(entry, content)| Some((entry, content.clone()?))).collect())
}

/// What `index.json` says: an entry a name, or one without.
fn entries(top: &Descriptor, names: &[Reference], created: Option<oci::Timestamp>) -> Vec<Descriptor> {
    let mut top = top.clone();
    if let Some(created) = created {
        top.annotations.insert("org.opencontainers.image.created".to_owned(), created.to_string());
    }
    if names.is_empty() {
        return vec![top];
    }
    let named = |name: &Reference| {
        let mut entry = top.clone();
        entry.annotations.insert("io.containerd.image.name".to_owned(), name.to_string());
        if let Some(tag) = name.tag() {
            entry.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag.to_owned());
        }
        entry
    };
    names.iter().map(named).collect()
}

/// Begins a file that is to take its place when it is whole.
pub(super) fn begin(path: &Path) -> Result<Partial> {
    if rustix::fs::stat(path).is_ok_and(|found| {
        rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Directory
    }) {
        let reason = format!("destination {} is a directory; it is to be a file", path.display());
        return Err(BuildError::Output { output: "dest".to_owned(), reason }.into());
    }
    Partial::create(path).map_err(file_failed)
}

/// A directory of the caller's, made where it is missing, with those above it.
pub(in crate::build) fn directory(path: &Path) -> Result<OwnedFd> {
    file::create_dirs(path, 0o755).map_err(file_failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).named("open", path).map_err(file_failed)
}

/// A file of the caller's fails.
pub(super) fn file_failed(source: file::Error) -> Error {
    Error::File { action: "write the output", source }
}
