//! The container in which the scripts of packages run.
//!
//! It ends with whoever made it, however that ends: its first program waits for the end of its input, a pipe whose other end is
//! here alone. So a caller that is killed takes the scripts along, and the container's monitor removes what there was. What
//! such a caller leaves is the image that the container was made from, which has no name: `image prune` removes it, and so does
//! the next bootstrap, which knows it by its label.

use std::collections::VecDeque;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use linux::thread::spawn_scoped;
use monitor::{AttachStdio, ExecStdio, Running};
use oci::{ContainerId, Timestamp};
use rustix::fs::OFlags;

use super::error::BootstrapError as Failure;
use super::sources::Plan;
use super::tree::{Clash, Tree};
use crate::request::{
    AttachStreams, BindRecursion, Create, Exec, HostOptions, List, MountRequest, MountSource, NetworkMode,
    ProcessOptions, Pull, Remove, RemoveImage,
};
use crate::{Engine, Result};

/// The label of what only serves to make an image.
const LABEL: &str = "dev.skiff.bootstrap";
/// Bytes of what the scripts said last that an error repeats.
const SAID: usize = 4096;

/// See the head of the file.
pub(super) struct Room<'e> {
    engine: &'e Engine,
    id: ContainerId,
    /// Dropping it ends the container.
    hold: Option<Hold>,
}

/// The caller's end of a room.
struct Hold {
    _running: Running,
    _input: PipeWriter,
}

/// What is the same for all scripts of a room.
pub(super) struct Furniture<'p> {
    /// The package files, and where they are seen.
    pub(super) files: (&'p Path, &'p str),
    pub(super) plan: &'p Plan,
    /// What scripts that ask for the time are told.
    pub(super) made: Timestamp,
}

/// An instruction that marks an image as one of ours.
pub(super) fn mark() -> String {
    format!("LABEL {LABEL}=unfinished")
}

impl<'e> Room<'e> {
    pub(super) fn open(engine: &'e Engine, image: &str, furniture: &Furniture<'_>) -> Result<Room<'e>> {
        let (theirs, ours) = std::io::pipe().map_err(Failure::Stream)?;
        let flags = rustix::fs::fcntl_getfl(&theirs).map_err(|error| Failure::Stream(error.into()))?;
        rustix::fs::fcntl_setfl(&theirs, flags | OFlags::NONBLOCK)
            .map_err(|error| Failure::Stream(error.into()))?;
        let stdio = AttachStdio { stdin: Some(theirs.into()), ..AttachStdio::default() };
        let started = engine.run(&request(image, furniture), Some(stdio))?;
        let hold = Hold { _running: started.running, _input: ours };
        Ok(Room { engine, id: started.id, hold: Some(hold) })
    }

    /// Runs a script of the shell to its end, or fails with the last it said.
    pub(super) fn run(&mut self, script: &str, limit: Duration) -> Result<()> {
        let (said, output) = std::io::pipe().map_err(Failure::Stream)?;
        let errors = output.try_clone().map_err(Failure::Stream)?;
        let stdio =
            ExecStdio { stdout: Some(output.into()), stderr: Some(errors.into()), ..ExecStdio::default() };
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        let request = Exec { command, ..Exec::default() };
        let mut executed = self.engine.exec(self.id.as_str(), &request, stdio)?;
        let reading = linux::thread::spawn("read what a script says", move || last_of(said))?;
        let (sender, receiver) = channel();
        // It ends with the container, if the script does not.
        linux::thread::spawn("wait for a script", move || drop(sender.send(executed.handle.wait())))?;
        let ended = receiver.recv_timeout(limit);
        if let Ok(Ok(0)) = ended {
            return Ok(());
        }
        // Whatever the script has left running may hold the pipe open.
        self.remove()?;
        let said = reading.join().unwrap_or_default();
        Err(match ended {
            Ok(Ok(code)) => Failure::Scripts { code, said }.into(),
            Err(RecvTimeoutError::Timeout) => Failure::SlowScripts { limit, said }.into(),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Failure::RoomGone { said }.into(),
        })
    }

    /// All its files.
    pub(super) fn files(&self, plan: &Plan) -> Result<Tree> {
        let engine = self.engine;
        let id = self.id.as_str();
        let mut tree = Tree::new(&engine.config.root.join("tmp"), &plan.architecture)?;
        let (mut reader, writer) = std::io::pipe().map_err(Failure::Stream)?;
        std::thread::scope(|scope| {
            let exporting =
                spawn_scoped(scope, "read the new system", move || engine.export(id, writer.as_fd()))?;
            let added = tree.add("the configured system", &mut reader, &|_| Clash::Replace);
            // A writer that nobody reads any more must not wait for ever.
            drop(reader);
            let exported = exporting.join();
            added?;
            exported.unwrap_or_else(|_| Err(Failure::Stream(std::io::ErrorKind::Other.into()).into()))
        })?;
        Ok(tree)
    }

    /// Ends it, with all that is in it.
    pub(super) fn close(mut self) -> Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        // Its monitor would wait for us to hear of the end.
        self.hold = None;
        let request = Remove { force: true, volumes: true, link: false };
        match self.engine.remove(self.id.as_str(), &request) {
            // Its monitor may be faster.
            Err(crate::Error::NoSuchContainer { .. } | crate::Error::RemovedMeanwhile { .. }) => Ok(()),
            removed => removed,
        }
    }
}

impl Engine {
    /// Removes what bootstraps have left that were killed. No other one may be at work.
    pub(super) fn remove_unfinished(&self) -> Result<()> {
        let images = self.images()?;
        let unfinished =
            images.iter().filter(|image| image.labels.contains_key(LABEL) && image.tags.is_empty());
        for image in unfinished {
            for container in self.list(&List { all: true, last: None })? {
                if container.image_id == image.id && container.labels.contains_key(LABEL) {
                    self.remove(container.id.as_str(), &Remove { force: true, volumes: true, link: false })?;
                }
            }
            self.remove_image(&image.id, &RemoveImage { force: true, ..RemoveImage::default() })?;
        }
        Ok(())
    }
}

fn request(image: &str, furniture: &Furniture<'_>) -> Create {
    let Furniture { files: (source, target), plan, made } = furniture;
    let environment = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        "LC_ALL=C",
        "DEBIAN_FRONTEND=noninteractive",
        "DEBCONF_NONINTERACTIVE_SEEN=true",
        "DEBCONF_NOWARNINGS=yes",
        &format!("SOURCE_DATE_EPOCH={}", made.seconds()),
    ];
    Create {
        image: image.to_owned(),
        pull: Pull::Never,
        process: ProcessOptions {
            command: ["/bin/sh", "-c", "read end"].map(str::to_owned).to_vec(),
            env: environment.map(str::to_owned).to_vec(),
            hostname: Some("bootstrap".to_owned()),
            labels: [(LABEL.to_owned(), plan.described())].into(),
            open_stdin: true,
            stdin_once: true,
            attach: AttachStreams { stdin: true, ..AttachStreams::default() },
            ..ProcessOptions::default()
        },
        host: HostOptions {
            auto_remove: true,
            network_mode: NetworkMode::None,
            mounts: vec![MountRequest {
                source: MountSource::Bind {
                    path: source.display().to_string(),
                    create: false,
                    propagation: None,
                    recursion: BindRecursion::default(),
                },
                target: (*target).to_owned(),
                readonly: true,
                text: None,
            }],
            ..HostOptions::default()
        },
        ..Create::default()
    }
}

/// The last of what comes through a pipe.
fn last_of(mut pipe: PipeReader) -> String {
    let (mut last, mut buffer) = (VecDeque::new(), [0; 4096]);
    while let Ok(read @ 1..) = pipe.read(&mut buffer) {
        last.extend(&buffer[..read]);
        last.drain(..last.len().saturating_sub(SAID));
    }
    String::from_utf8_lossy(last.make_contiguous()).trim_end().to_owned()
}
