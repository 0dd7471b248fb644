//! What a container has written, over its image: for `diff`, `commit` and `export`.
//!
//! It is read where it lies, beside a running container, never through a mount of the container's: what is bound or mounted
//! in it is not part of it. Root reads it in this process, as the ids on disk are those that the container sees; for an
//! ordinary user, whose containers' files belong to lent ids, a process in a user namespace does ([`monitor::lent`]).

use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use image::files::{self, Change, Item, Marks, MountPoints, Stack, Times};
use linux::thread::Refused;
use monitor::lent::{Form, ReadLayer};
use runtime::plan::{IdMaps, RootSource};

use crate::container::Container;
use crate::images::failed;
use crate::quota::writable;
use crate::{Engine, Error, Result, plan};

const ACTION: &str = "read the writable layer";

/// A container's writable layer and its image's layers.
pub(crate) struct WritableLayer<'a> {
    engine: &'a Engine,
    source: RootSource,
    mount_points: Vec<String>,
    times: Times,
    /// The ids that its files belong to, where they are not the host's.
    lent: Option<IdMaps>,
}

impl Engine {
    /// The layers of a container, whether it runs or not.
    pub(crate) fn writable_layer(&self, found: &Container) -> Result<WritableLayer<'_>> {
        let layers = self.image_config(&found.head.image)?.rootfs.diff_ids;
        let writable = writable(&self.directory(found.id()), &found.spec.host, false)?;
        let source = self.root_source(&found.head.image, &layers, writable)?;
        Ok(self.layer_over(source, plan::mount_points(&found.spec), Times::Exact))
    }

    /// The writable layer of a root file system, of which what was made to mount something on is no part.
    pub(crate) fn layer_over(
        &self,
        source: RootSource,
        mount_points: Vec<String>,
        times: Times,
    ) -> WritableLayer<'_> {
        let lent = self.facts().rootless.as_ref().map(plan::lent);
        WritableLayer { engine: self, source, mount_points, times, lent }
    }
}

impl Engine {
    /// Packs a directory as `data/`, with the owners that containers see, sorted, with the times of its files.
    pub(crate) fn pack_data(&self, directory: &Path, out: OwnedFd) -> Result<()> {
        const ACTION: &str = "pack a directory";
        if let Some(user) = &self.facts().rootless {
            let (layers, mount_points) = (vec![directory.to_owned()], Vec::new());
            let what = ReadLayer { layers, mount_points, form: Form::Data };
            let lent = |source| Error::Lent { action: ACTION, source };
            let working =
                monitor::lent::read(&self.config.monitor, plan::lent(user), what, out).map_err(lent)?;
            return working.finish().map_err(lent);
        }
        let stack = Stack::open([directory], Marks::Trusted).map_err(failed(ACTION))?;
        files::pack(Item::Directory(&stack), b"data", out.as_fd()).map(drop).map_err(failed(ACTION))
    }
}

impl WritableLayer<'_> {
    /// What changed, by path.
    pub(crate) fn changes(self) -> Result<Vec<Change>> {
        if self.lent.is_none() {
            return files::changes(self.stack()?, &self.points()).map_err(failed(ACTION));
        }
        let (mut reader, writer) = pipe()?;
        let working = self.work(Form::Changes, writer.into())?;
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        finish(working)?;
        read.map_err(stream_failed)?;
        Ok(monitor::lent::read_changes(&bytes))
    }

    /// Writes everything that the container has as a tar.
    pub(crate) fn export(self, out: BorrowedFd<'_>) -> Result<()> {
        if self.lent.is_none() {
            return files::export(&self.stack()?, out).map(drop).map_err(failed(ACTION));
        }
        let out = out.try_clone_to_owned().map_err(stream_failed)?;
        finish(self.work(Form::Whole, out)?)
    }

    /// Has `take` read what changed as the tar of a layer.
    pub(crate) fn tar<T>(self, take: impl FnOnce(&mut PipeReader) -> Result<T>) -> Result<T> {
        let (mut reader, writer) = pipe()?;
        if self.lent.is_some() {
            let form = match self.times {
                Times::Exact => Form::Layer,
                Times::Seconds { latest } => Form::Step(latest),
            };
            let working = self.work(form, writer.into())?;
            let taken = take(&mut reader);
            // A writer that nobody reads any more must not wait for ever.
            drop(reader);
            return match (taken, finish(working)) {
                (Ok(_), Err(error)) => Err(error),
                (taken, _) => taken,
            };
        }
        let (stack, points, times) = (self.stack()?, self.points(), self.times);
        std::thread::scope(|scope| {
            let pack = move || files::layer(stack, &points, times, writer.as_fd());
            let packer = std::thread::Builder::new().stack_size(files::STACK);
            let packer = packer.spawn_scoped(scope, pack).map_err(Refused::to("read the writable layer"))?;
            let taken = take(&mut reader);
            drop(reader);
            let packed = packer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            match (taken, packed) {
                // What was read without an end is no news.
                (Ok(_), Err(error)) => Err(failed(ACTION)(error)),
                (Err(_), Err(error)) if !is_hung_up(&error) => Err(failed(ACTION)(error)),
                (taken, _) => taken,
            }
        })
    }

    fn stack(&self) -> Result<Stack> {
        let layers =
            runtime::open_layers(&self.source).map_err(|source| Error::Layers { action: ACTION, source })?;
        Stack::new(layers, Marks::Trusted).map_err(failed(ACTION))
    }

    fn points(&self) -> MountPoints {
        MountPoints::new(self.mount_points.iter().cloned())
    }

    fn work(self, form: Form, out: OwnedFd) -> Result<monitor::lent::Working> {
        let (layers, writable) = match self.source {
            RootSource::Trees { layers, writable } => (layers, writable),
            RootSource::Directory(path) => (vec![path], None),
            RootSource::Erofs { .. } => (Vec::new(), None),
        };
        let upper = writable.map(|writable| writable.upper).filter(|upper| upper.exists());
        let layers: Vec<PathBuf> = upper.into_iter().chain(layers).collect();
        let what = ReadLayer { layers, mount_points: self.mount_points, form };
        monitor::lent::read(&self.engine.config.monitor, self.lent.unwrap_or_default(), what, out)
            .map_err(|source| Error::Lent { action: ACTION, source })
    }
}

/// Whether writing failed because nobody reads any more.
fn is_hung_up(error: &image::Error) -> bool {
    matches!(error, image::Error::Write { source } if source.kind() == std::io::ErrorKind::BrokenPipe)
}

fn finish(working: monitor::lent::Working) -> Result<()> {
    working.finish().map_err(|source| Error::Lent { action: ACTION, source })
}

fn pipe() -> Result<(PipeReader, std::io::PipeWriter)> {
    std::io::pipe().map_err(stream_failed)
}

fn stream_failed(source: std::io::Error) -> Error {
    Error::System { action: ACTION, path: "pipe(2)".into(), source }
}
