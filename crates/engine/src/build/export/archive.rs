//! Images into archives: what `docker load` takes, and OCI layouts.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use build::Cancel;
use image::{Content, Outgoing};
use linux::file;
use linux::file::Named as _;
use linux::partial::Partial;
use oci::{Descriptor, Platform, Reference};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use serde_json::json;

use super::Export;
use super::describe::{Described, Image, Way};
use super::options::{Format, ImageOptions, Target};
use crate::build::BuildError;
use crate::build::session::Session;
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
                    let stop = || self.session.cancel.is_cancelled();
                    layout
                        .write_directory(store, &directory, &stop)
                        .map_err(|source| at_output(path, failed("write the layout")(source)))?;
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
                let outlet = Outlet { out: File::from(self.stream()?), cancel: self.session.cancel };
                let mut out = BufWriter::with_capacity(1 << 20, outlet);
                write(&mut out)?;
                out.flush()
                    .map_err(|source| image::Error::Write { source })
                    .map_err(failed("write the output"))
            }
            Target::File(path) | Target::Directory(path) => {
                let partial = begin(path)?;
                let outlet = Outlet { out: &partial.file, cancel: self.session.cancel };
                let mut out = BufWriter::with_capacity(1 << 20, outlet);
                write(&mut out).map_err(|error| at_output(path, error))?;
                out.flush().named("write", path).map_err(file_failed)?;
                drop(out);
                partial.finish().map_err(file_failed)
            }
        }
    }

    /// The caller's stream. Of a pipe it is one of our own that does not block, for whoever reads it may have stopped.
    pub(super) fn stream(&self) -> Result<OwnedFd> {
        let missing =
            || BuildError::Output { output: "-".to_owned(), reason: "there is no stream".to_owned() };
        let stream = self.session.request.output.as_ref().ok_or_else(missing)?;
        let stream = stream.try_clone().map_err(|source| Error::System {
            action: "write to",
            path: "the standard output".into(),
            source,
        })?;
        let is_pipe =
            fstat(&stream).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo);
        // The flag of the caller's own would be that of all who share it.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let again =
            || openat(CWD, format!("/proc/self/fd/{}", stream.as_raw_fd()), flags, Mode::empty()).ok();
        Ok(is_pipe.then(again).flatten().unwrap_or(stream))
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

/// Takes nothing more once the build is cancelled, and waits no longer than that for whoever reads.
struct Outlet<'c, W> {
    out: W,
    cancel: &'c Cancel,
}

impl<W: Write + AsFd> Write for Outlet<'_, W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        /// Between two looks at whether the build was cancelled.
        const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        loop {
            if self.cancel.is_cancelled() {
                return Err(io::Error::other(BuildError::Cancelled));
            }
            match self.out.write(content) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
            let mut watched = [PollFd::new(&self.out, PollFlags::OUT)];
            match poll(&mut watched, Some(&TURN)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
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
    if rustix::fs::stat(path).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
    {
        let reason = format!("destination {} is a directory; it is to be a file", path.display());
        return Err(BuildError::Output { output: "dest".to_owned(), reason }.into());
    }
    Partial::create(path).map_err(file_failed)
}

/// Writes a layout as a tar, which takes the place of what is there when it is whole.
pub(in crate::build) fn write_layout(session: &Session<'_>, path: &Path, layout: &Outgoing) -> Result<()> {
    let partial = begin(path)?;
    let outlet = Outlet { out: &partial.file, cancel: session.cancel };
    let mut out = BufWriter::with_capacity(1 << 20, outlet);
    let written = layout.write_tar(&session.engine.store, &mut out);
    written.map_err(|source| at_output(path, failed("write the archive")(source)))?;
    out.flush().named("write", path).map_err(file_failed)?;
    drop(out);
    partial.finish().map_err(file_failed)
}

/// A directory of the caller's, made where it is missing, with those above it.
pub(in crate::build) fn directory(path: &Path) -> Result<OwnedFd> {
    file::create_dirs(path, 0o755).map_err(file_failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).named("open", path).map_err(file_failed)
}

/// The failure of an output that was to be at `path`, with that path if writing it is what failed.
pub(in crate::build) fn at_output(path: &Path, error: Error) -> Error {
    let at = |action, path, source| file_failed(file::Error { action, path, source });
    let Error::Image { action, source } = error else { return error };
    if let image::Error::Write { source } = source {
        return at("write", path.to_owned(), source);
    }
    if let image::Error::Files { action: doing, path: inner, source } = source {
        // What is read is the store's.
        return match doing {
            "read" => {
                Error::Image { action, source: image::Error::Files { action: doing, path: inner, source } }
            }
            doing => at(doing, path.join(inner), source),
        };
    }
    Error::Image { action, source }
}

/// A file of the caller's fails.
pub(super) fn file_failed(source: file::Error) -> Error {
    Error::File { action: "write the output", source }
}
