//! File systems as a tar, or in a directory.
//!
//! A directory gets what the tar has, through a pipe, as the caller's own files: without set-user-id bits, which would be the
//! caller's rights then, and without devices where the caller may make none.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread::scope;

use image::files::{Flattener, Owner, Place, Rules, prune, unpack};
use image::tar::Time;
use linux::thread::spawn_scoped;

use super::Export;
use super::archive::{at_output, begin, directory, file_failed};
use super::options::{Target, TreeOptions};
use crate::images::failed;
use crate::{Error, Result};

const WRITE: &str = "write the files";

impl Export<'_> {
    /// Writes the file systems of all platforms as one tar.
    pub(super) fn tar(&self, target: &Target, options: &TreeOptions) -> Result<()> {
        self.progress.internal("exporting to client tarball", |part| {
            part.progress("sending tarball", 0, None, false);
            let stop = || self.session.cancel.is_cancelled();
            let flatten = |out: BorrowedFd<'_>| {
                let mut flattener = Flattener::new(out).stopping(&stop).with_time(self.time());
                self.flatten(&mut flattener, options)?;
                flattener.finish().map(drop).map_err(failed(WRITE))
            };
            match target {
                Target::Stream => flatten(self.stream()?.as_fd())?,
                Target::File(path) | Target::Directory(path) => {
                    let partial = begin(path)?;
                    flatten(partial.file.as_fd()).map_err(|error| at_output(path, error))?;
                    partial.finish().map_err(file_failed)?;
                }
            }
            part.progress("sending tarball", 0, None, true);
            Ok(())
        })
    }

    /// Writes the file systems of all platforms into a directory.
    pub(super) fn local(&self, path: &Path, deletes: bool, options: &TreeOptions) -> Result<()> {
        self.progress.internal("exporting to client directory", |part| {
            part.progress("copying files", 0, None, false);
            let target = directory(path)?;
            let (reader, writer) = std::io::pipe().map_err(pipe_failed)?;
            let may_make_devices =
                rustix::process::geteuid().is_root() && linux::process::in_initial_user_namespace();
            let stop = || self.session.cancel.is_cancelled();
            let (bytes, names) = scope(|scope| {
                let stop = &stop;
                let packed = spawn_scoped(scope, "read the layers", move || {
                    let mut flattener = Flattener::new(writer.as_fd()).stopping(stop).with_time(self.time());
                    if deletes {
                        flattener = flattener.with_names();
                    }
                    if !may_make_devices {
                        flattener = flattener.without_devices();
                    }
                    self.flatten(&mut flattener, options)?;
                    flattener.finish().map_err(failed(WRITE))
                });
                let packed = packed?;
                let rules = Rules {
                    owner: Owner::Creator,
                    follows_links: false,
                    keeps_privileges: false,
                    replaces: true,
                    whole: true,
                };
                let place = Place::Into(
                    rustix::io::fcntl_dupfd_cloexec(&target, 0).map_err(|errno| pipe_failed(errno.into()))?,
                );
                let unpacked = unpack(reader.as_fd(), &place, rules).map_err(failed(WRITE));
                // Whoever still writes is told that nobody reads.
                drop(reader);
                let packed = packed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                match (unpacked, packed) {
                    (Ok(bytes), Ok(names)) => Ok((bytes, names)),
                    // That the other side has gone is what came of the first failure.
                    (Err(error), Err(other)) if is_cut_off(&error) => Err(other),
                    (Err(error), _) | (Ok(_), Err(error)) => Err(error),
                }
            })
            .map_err(|error| at_output(path, error))?;
            if deletes {
                prune(&target, &names).map_err(failed(WRITE))?;
            }
            part.progress("copying files", bytes, Some(bytes), true);
            Ok(())
        })
    }

    /// The time of all files, if there is one for all.
    fn time(&self) -> Option<Time> {
        let epoch = self.session.timestamp()?;
        Some(Time { secs: epoch.seconds(), nanos: epoch.nanoseconds() })
    }

    fn flatten(&self, flattener: &mut Flattener<'_>, options: &TreeOptions) -> Result<()> {
        let is_split = self.is_split(options);
        for product in &self.products {
            let prefix =
                if is_split { product.platform.to_string().replace('/', "_") } else { String::new() };
            if is_split {
                flattener.directory(prefix.as_bytes()).map_err(failed(WRITE))?;
            }
            let layers = product.tree.diff_ids();
            let store = &self.session.engine.store;
            flattener.layers(store, &layers, prefix.as_bytes()).map_err(failed(WRITE))?;
            for (name, content) in self.attested_files(product)? {
                let name = match options.splits {
                    // Those of several platforms would have one name.
                    Some(false) => {
                        let platform = product.platform.to_string().replace('/', "_");
                        let (stem, end) = name.rsplit_once('.').unwrap_or((&name, "json"));
                        format!("{stem}.{platform}.{end}")
                    }
                    Some(true) | None => name,
                };
                let name = format!("{}{name}", options.attestation_prefix);
                let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                flattener.file(path.as_bytes(), &content).map_err(failed(WRITE))?;
            }
        }
        Ok(())
    }
}

fn pipe_failed(source: std::io::Error) -> Error {
    Error::System { action: "write to", path: "a pipe".into(), source }
}

/// Whether an archive was refused because it has no end.
fn is_cut_off(error: &Error) -> bool {
    matches!(error, Error::Image { source: image::Error::Entry { .. } | image::Error::Archive { .. }, .. })
        || matches!(error, Error::Image { source, .. } if source.errno() == Some(rustix::io::Errno::PIPE))
}
