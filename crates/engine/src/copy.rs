//! `cp`: files between the caller and a container, whether that runs or not.
//!
//! A worker in the container's namespaces packs or unpacks ([`monitor::visit`]); this process does the other half with the
//! caller's own rights. Between them is a pipe.

use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use image::files::{
    CopyPath, Item, Located, Marks, Owner, Place, Present, Refused, Rules, Source, Stack, Where, locate,
    pack, place, unpack,
};
use monitor::visit::{self, Copied, Refusal, Task, Visit, Way};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::container::Container;
use crate::images::failed;
use crate::plan::{self, Joined, Surroundings};
use crate::quota::writable;
use crate::request::{CopyIn, CopyOut, Near};
use crate::{Engine, Error, Result};

/// What the one root of an archive between the two sides is called; the receiving side gives it its name.
const ROOT: &[u8] = b"copy";
const READ: &str = "read what is to be copied";
const WRITE: &str = "write the copy";

impl Engine {
    /// Copies into a container; returns the bytes of the archive that went there.
    pub fn copy_in(&self, name: &str, request: CopyIn<'_>) -> Result<u64> {
        let found = self.container(name)?;
        let target = CopyPath::new(request.target.as_bytes());
        let from = match request.source {
            Near::Path(path) => Some(Local::find(path, request.follow)?),
            Near::Stream(_) => None,
        };
        let (reader, writer) = pipe()?;
        let task = Task::Unpack {
            path: target.path,
            is_directory: target.is_directory,
            source: from.as_ref().map_or(Copied::Tar, |from| copied(&from.source)),
            keep_owners: request.archive,
        };
        let mut visit = self.visit(&found, task, reader)?;
        let at = Spot { container: name, path: request.target };
        self.begun(&mut visit, &at)?;
        let sent = match (&from, request.source) {
            (Some(from), _) => from.pack(writer.as_fd()),
            (None, Near::Stream(stream)) => send_plain(stream, &writer),
            (None, Near::Path(_)) => Ok(0),
        };
        drop(writer);
        let received = visit.finish().map_err(|source| copy_failed(&found, source));
        let bytes = match (sent, received) {
            (Ok(bytes), Ok(())) => bytes,
            // Whoever stopped first knows why.
            (Err(error), Err(_)) if !is_hung_up(&error) => return Err(error),
            (_, Err(error)) | (Err(error), Ok(())) => return Err(error),
        };
        self.container_event("extract-to-dir", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(bytes)
    }

    /// Copies out of a container; returns the bytes of the archive that came, none where the caller has it.
    pub fn copy_out(&self, name: &str, request: CopyOut<'_>) -> Result<u64> {
        let found = self.container(name)?;
        let source = CopyPath::new(request.source.as_bytes());
        let is_stream = matches!(request.target, Near::Stream(_));
        let task = Task::Pack {
            path: source.path.clone(),
            is_directory: source.is_directory,
            follow: request.follow,
            name: if is_stream { source.name().to_vec() } else { ROOT.to_vec() },
        };
        let at = Spot { container: name, path: request.source };
        let bytes = match request.target {
            Near::Stream(out) => {
                let out = out.try_clone_to_owned().map_err(stream_failed)?;
                let mut visit = self.visit(&found, task, out)?;
                self.begun(&mut visit, &at)?;
                visit.finish().map_err(|source| copy_failed(&found, source))?;
                0
            }
            Near::Path(path) => {
                let (reader, writer) = pipe()?;
                let mut visit = self.visit(&found, task, writer)?;
                let is_directory = self.begun(&mut visit, &at)?;
                let source = match (is_directory, source.is_contents) {
                    (true, true) => Source::Contents,
                    (true, false) => Source::Directory(source.name().to_vec()),
                    (false, _) => Source::File(source.name().to_vec()),
                };
                let received = receive(reader, &source, path, request.archive);
                let sent = visit.finish().map_err(|source| copy_failed(&found, source));
                match (received, sent) {
                    (Ok(bytes), Ok(())) => bytes,
                    (Err(Error::Image { source, .. }), Err(error)) if is_cut_off(&source) => {
                        return Err(error);
                    }
                    (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
                }
            }
        };
        self.container_event("archive-path", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(bytes)
    }

    fn visit(&self, found: &Container, task: Task, stream: OwnedFd) -> Result<Visit> {
        let way = self.way(found)?;
        visit::begin(&self.config.monitor, way, task, stream).map_err(|source| copy_failed(found, source))
    }

    /// Waits until the worker has begun; tells whether what it has found is a directory.
    fn begun(&self, visit: &mut Visit, at: &Spot<'_>) -> Result<bool> {
        let begun =
            visit.found().map_err(|source| Error::Copy { container: at.container.to_owned(), source })?;
        begun.map(|found| found.is_directory).map_err(|refusal| at.refused(refusal))
    }

    /// How to come to a container's files.
    fn way(&self, found: &Container) -> Result<Way> {
        found.must_stay("copy files of")?;
        let (id, spec) = (found.id(), &found.spec);
        let run_dir = self.run_directory(id);
        if found.state.status.is_running() {
            let status = monitor::status::read(&run_dir).map_err(|source| Error::Monitor {
                action: "find",
                id: id.clone(),
                source,
            })?;
            if let Some(init) = status.and_then(|status| status.init) {
                return Ok(Way::Running(init));
            }
        }
        let container_dir = self.prepare(id, spec)?;
        let layers = self.image_config(&found.head.image)?.rootfs.diff_ids;
        let around = Surroundings {
            named: plan::DeviceEdits::default(),
            root: self.root_source(
                &found.head.image,
                &layers,
                writable(&container_dir, &spec.host, spec.host.auto_remove)?,
            )?,
            id_base: found.head.id_base,
            devices: Vec::new(),
            seccomp: None,
            files: run_dir.clone(),
            volumes: container_dir.join("volumes"),
            shm: self.shm_directory(id),
            limits: None,
            joined: Joined::default(),
        };
        let launch = Box::new(plan::visit(id.as_str(), spec, self.facts(), &around)?);
        Ok(Way::Stopped { launch, run_dir, container_dir })
    }
}

/// A path of a container, for errors.
struct Spot<'a> {
    container: &'a str,
    path: &'a str,
}

impl Spot<'_> {
    fn refused(&self, refusal: Refusal) -> Error {
        let (container, path) = (self.container.to_owned(), self.path.to_owned());
        match refusal {
            Refusal::Missing => Error::NoSuchPath { container, path },
            Refusal::NotADirectory => Error::NotADirectory { path },
            Refusal::CannotCopyDirectory => Error::CannotCopyDirectory,
            Refusal::NoSuchDirectory => Error::NoSuchDirectory,
            Refusal::MustBeDirectory => Error::MustBeDirectory { place: format!("{container}:{path}") },
            Refusal::MustBeDirectoryOrFile => {
                Error::MustBeDirectoryOrFile { place: format!("{container}:{path}") }
            }
        }
    }
}

/// Something of the caller's that is to be copied.
struct Local {
    source: Source,
    found: Located,
}

impl Local {
    fn find(path: &str, follow: bool) -> Result<Self> {
        let asked = CopyPath::new(path.as_bytes());
        let root = host_root()?;
        let found = locate(root.as_fd(), &asked.path, follow || asked.is_directory);
        let missing = || Error::NoLocalPath { path: path.to_owned() };
        let found = found.map_err(|error| match error.errno() {
            Some(Errno::NOENT) => missing(),
            _ => failed(READ)(error),
        })?;
        let name = asked.name().to_vec();
        let source = match (found.present(), asked.is_contents) {
            (Present::Nothing, _) => return Err(missing()),
            (Present::Directory, true) => Source::Contents,
            (Present::Directory, false) => Source::Directory(name),
            (Present::File | Present::Other, _) if asked.is_directory => {
                return Err(Error::NotADirectory { path: path.to_owned() });
            }
            (Present::File | Present::Other, _) => Source::File(name),
        };
        Ok(Self { source, found })
    }

    fn pack(&self, out: BorrowedFd<'_>) -> Result<u64> {
        let packed = match self.found.present() {
            Present::Directory => {
                let directory = self.found.directory().map_err(failed(READ))?;
                let stack = Stack::new(vec![directory], Marks::None).map_err(failed(READ))?;
                pack(Item::Directory(&stack), ROOT, out)
            }
            Present::File | Present::Other | Present::Nothing => {
                let parent = self.found.parent.try_clone().map_err(stream_failed)?;
                let stack = Stack::new(vec![parent], Marks::None).map_err(failed(READ))?;
                pack(Item::Other { parent: &stack, name: &self.found.name }, ROOT, out)
            }
        };
        packed.map(|packed| packed.bytes).map_err(failed(READ))
    }
}

/// Unpacks what comes out of a container at a path of the caller's.
fn receive(reader: OwnedFd, source: &Source, path: &str, archive: bool) -> Result<u64> {
    let asked = CopyPath::new(path.as_bytes());
    let root = host_root()?;
    let found = locate(root.as_fd(), &asked.path, true).map_err(|error| match error.errno() {
        Some(Errno::NOENT | Errno::NOTDIR) => {
            let parent = path.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
            Error::NoOutputDirectory { path: if parent.is_empty() { "/".into() } else { parent.to_owned() } }
        }
        _ => failed(WRITE)(error),
    })?;
    let target = match place(source, found.present(), asked.is_directory) {
        Ok(Where::Into) => Place::Contents(found.directory().map_err(failed(WRITE))?),
        Ok(Where::Under(name)) => Place::As { parent: found.directory().map_err(failed(WRITE))?, name },
        Ok(Where::As) => Place::As { parent: found.parent, name: found.name },
        Err(refused) => {
            return Err(match refused {
                Refused::CannotCopyDirectory => Error::CannotCopyDirectory,
                Refused::NoSuchDirectory => Error::NoSuchDirectory,
                Refused::NotADirectory => Error::NotADirectory { path: path.to_owned() },
                Refused::MustBeDirectory => Error::MustBeDirectory { place: path.to_owned() },
                Refused::MustBeDirectoryOrFile => Error::MustBeDirectoryOrFile { place: path.to_owned() },
            });
        }
    };
    // What a container says is its root's is the caller's here, unless asked for; and a program that gives away root's
    // rights inside must not give away the caller's.
    let owner = if archive { Owner::Kept } else { Owner::Creator };
    let rules =
        Rules { owner, follows_links: false, keeps_privileges: archive, replaces: false, whole: false };
    unpack(reader.as_fd(), &target, rules).map_err(failed(WRITE))
}

/// Passes an archive on, decompressed.
fn send_plain(stream: BorrowedFd<'_>, writer: &OwnedFd) -> Result<u64> {
    let mut stream = File::from(stream.try_clone_to_owned().map_err(stream_failed)?);
    let mut plain = image::decompressed("-", &mut stream).map_err(failed(READ))?;
    let mut writer = File::from(writer.try_clone().map_err(stream_failed)?);
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        match plain.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => {
                let written = writer.write_all(&buffer[..count]);
                written.map_err(|source| failed(READ)(image::Error::Write { source }))?;
                bytes += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(stream_failed(error)),
        }
    }
}

fn copied(source: &Source) -> Copied {
    match source {
        Source::Directory(name) => Copied::Directory(name.clone()),
        Source::Contents => Copied::Contents,
        Source::File(name) => Copied::File(name.clone()),
        Source::Tar => Copied::Tar,
    }
}

fn host_root() -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, "/", flags, Mode::empty()).map_err(|errno| stream_failed(errno.into()))
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = std::io::pipe().map_err(stream_failed)?;
    Ok((reader.into(), writer.into()))
}

fn stream_failed(source: std::io::Error) -> Error {
    Error::System { action: "copy", path: "-".into(), source }
}

fn copy_failed(found: &Container, source: monitor::Error) -> Error {
    Error::Copy { container: found.head.name.to_string(), source }
}

/// Whether writing failed because the other side has stopped.
fn is_hung_up(error: &Error) -> bool {
    matches!(error, Error::Image { source: image::Error::Write { source }, .. } if source.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Whether reading failed because the other side has stopped.
fn is_cut_off(error: &image::Error) -> bool {
    matches!(error, image::Error::Entry { .. } | image::Error::Archive { .. })
        || error.errno() == Some(Errno::PIPE)
}
