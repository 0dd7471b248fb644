//! A writable layer that cannot grow beyond a size (`--storage-opt size=`).
//!
//! ```text
//! upper/ work/     in a project of their own, where the file system counts those and refuses what is beyond the limit
//! layer.ext4       else: a sparse file with a file system of that size, in whose root upper/ and work/ are
//! ```
//!
//! Which of the two it is follows from what is there: the file, or the directories. Who has the host's user namespace
//! for its own could take its files out of any project, so its layer lies in a file always. The file belongs to root
//! and lies in a folder that nobody else can walk: nobody but the kernel, and this crate once, writes to what the
//! kernel is to mount.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ext4::Format;
use linux::file::{self, Named};
use oci::ContainerId;
use runtime::plan::{Writable, WritableLimit};

use crate::create::random;
use crate::request::HostOptions;
use crate::{Engine, Error, Result, plan};

const DISK: &str = "layer.ext4";
/// The disk until it is whole.
const HALF_DONE: &str = "layer.ext4.new";
/// As they are in a layer without a limit. In front of them nobody walks.
const DIRECTORIES: [(&str, u16); 2] = [("upper", 0o755), ("work", 0o700)];
const ROOT_MODE: u16 = 0o700;

/// The writable layer in a container's directory; `volatile` when it goes with the container's end.
pub(crate) fn writable(directory: &Path, host: &HostOptions, volatile: bool) -> Result<Writable> {
    let kind = |bytes| disk(directory).map_or(WritableLimit::Project(bytes), WritableLimit::Disk);
    let limit = plan::quota(host)?.map(kind);
    Ok(Writable { upper: directory.join("upper"), work: directory.join("work"), volatile, limit })
}

/// The disk that a container's writable layer lies in, where it has one of its own.
pub(crate) fn disk(directory: &Path) -> Option<PathBuf> {
    let disk = directory.join(DISK);
    disk.exists().then_some(disk)
}

impl Engine {
    /// Whether a container has a writable layer yet.
    pub(crate) fn has_layer(&self, id: &ContainerId) -> bool {
        let directory = self.directory(id);
        directory.join("upper").exists() || disk(&directory).is_some()
    }

    /// The upper directory of a container whose writable layer lies in a file, as nobody can find it by its path.
    pub fn layer_in_file(&self, id: &ContainerId) -> Result<Option<std::os::fd::OwnedFd>> {
        let Some(disk) = disk(&self.directory(id)) else { return Ok(None) };
        let (upper, work) = ("upper".into(), "work".into());
        let writable = Writable { upper, work, volatile: false, limit: Some(WritableLimit::Disk(disk)) };
        runtime::open_writable(&writable)
            .map_err(|source| Error::Layers { action: "open the writable layer", source })
    }

    /// Makes the writable layer of a container that may write `bytes`, unless it is there.
    pub(crate) fn make_limited(
        &self,
        id: &ContainerId,
        directory: &Path,
        host: &HostOptions,
        bytes: u64,
    ) -> Result<()> {
        let failed = |source| Error::File { action: "make the limited writable layer", source };
        let is_there = |name| directory.join(name).exists();
        // Of each, what is made last.
        if is_there(DISK) || is_there("work") {
            return Ok(());
        }
        let maps_ids = plan::needs_range(host, self.facts());
        if maps_ids && runtime::project::limit(directory, bytes, project_of(id)).map_err(failed)? {
            return Ok(());
        }
        tracing::debug!(container = %id, bytes, "its writable layer lies in a file");
        make_disk(directory, bytes, !host.auto_remove, random()?).map_err(failed)
    }
}

/// A number for a container that hardly another has. Small ones are those of the host's administrator.
fn project_of(id: &ContainerId) -> u32 {
    let digits = id.as_str().get(..8).unwrap_or_default();
    u32::from_str_radix(digits, 16).unwrap_or(0)
}

fn make_disk(directory: &Path, bytes: u64, is_kept: bool, uuid: [u8; 16]) -> file::Result<()> {
    let created = u32::try_from(state::now().seconds()).unwrap_or(u32::MAX);
    let layout =
        ext4::format(&Format { bytes, uuid, created, root_mode: ROOT_MODE, directories: &DIRECTORIES });
    let path = directory.join(HALF_DONE);
    // Somebody was killed here before us.
    file::remove_if_exists(&path)?;
    let written = || {
        let disk = file::create_new(&path, 0o600)?;
        disk.set_len(layout.length).named("give its size to", &path)?;
        for (offset, bytes) in &layout.pieces {
            disk.write_all_at(bytes, *offset).named("write", &path)?;
        }
        if is_kept {
            disk.sync_all().named("sync", &path)?;
        }
        file::rename(&path, &directory.join(DISK))?;
        if is_kept { file::sync_dir(directory) } else { Ok(()) }
    };
    let made = written();
    if made.is_err() {
        // The first error is the one to tell.
        drop(file::remove_if_exists(&path));
    }
    made
}
