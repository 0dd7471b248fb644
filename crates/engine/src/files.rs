//! What of a container lies in the file system: its writable layer, and the three files of `/etc` that are its own.
//!
//! ```text
//! <root>/containers/<id>/          0700: nobody walks in
//!   upper/ work/                   the writable layer
//!   layer.ext4                     instead: a disk with the two, where the layer is limited and its file system keeps no count
//!   volumes/<n>/                   what its image declares as volumes, filled by the monitor before the first run
//!   log.json …                     the monitor's
//! <run>/<id>/                      0700, while it runs; the monitor removes it
//!   hostname hosts resolv.conf     bound below /etc
//!   status lock control.sock       the monitor's
//! ```
//!
//! All of it is made at the start, after the record; a directory without a record is garbage.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use linux::file::{self, Named};
use oci::ContainerId;
use rustix::fs::{Dir, FileType, Mode, OFlags};

use crate::request::{IpcMode, MountSource, NetworkMode};
use crate::spec::ContainerSpec;
use crate::{Engine, Error, Result, Snapshotter, plan};

/// Larger ones are not copied: they are not what they should be.
const ETC_LIMIT: u64 = 256 << 10;

impl Engine {
    /// `<root>/containers/<id>`.
    pub(crate) fn directory(&self, id: &ContainerId) -> PathBuf {
        self.config.root.join("containers").join(id.as_str())
    }

    /// `<run>/<id>`: there while a monitor is, or where one died.
    pub(crate) fn run_directory(&self, id: &ContainerId) -> PathBuf {
        self.config.run.join(id.as_str())
    }

    /// The `/dev/shm` of a container that others may join: memory, and reachable by its name.
    pub(crate) fn shm_directory(&self, id: &ContainerId) -> PathBuf {
        self.config.run.join(format!("shm-{id}"))
    }

    /// Makes what the start of a container needs and outlives its run. What is there stays as it is, down to the mode
    /// that the container may have given its root.
    pub(crate) fn prepare(&self, id: &ContainerId, spec: &ContainerSpec) -> Result<PathBuf> {
        let directory = self.directory(id);
        let failed = |source| Error::File { action: "make the container's directory", source };
        let work = directory.join("work");
        let made = file::create_dir(&directory, 0o700).map_err(failed)?;
        if let Some(bytes) = plan::quota(&spec.host)? {
            self.make_limited(id, &directory, &spec.host, bytes)?;
        // The last one made tells whether the one before us got to the end.
        } else if made || rustix::fs::access(&work, rustix::fs::Access::EXISTS).is_err() {
            let upper = directory.join("upper");
            file::create_dir(&upper, 0o755).map_err(failed)?;
            file::set_mode(&upper, 0o755).map_err(failed)?;
            if self.snapshotter()? == Snapshotter::Trees {
                make_mark(&upper.join(".dockerenv")).map_err(failed)?;
            }
            file::create_dir(&work, 0o700).map_err(failed)?;
        }
        if spec.host.ipc_mode == IpcMode::Shareable {
            make_open(&self.shm_directory(id), 0o1777)?;
        }
        for mount in &spec.host.mounts {
            if let MountSource::Bind { path, create: true, .. } = &mount.source
                && rustix::fs::access(path, rustix::fs::Access::EXISTS).is_err()
            {
                let failed = |source| Error::File { action: "make the source of a bind mount", source };
                file::create_dirs(Path::new(path), 0o755).map_err(failed)?;
            }
        }
        Ok(directory)
    }

    /// Makes the three files of `/etc`, anew at each start, as Docker makes them. They belong to `owner`: what the
    /// container's root is outside, so that no mount has to be id-mapped for them.
    pub(crate) fn write_etc(&self, id: &ContainerId, spec: &ContainerSpec, owner: (u32, u32)) -> Result<()> {
        let directory = self.run_directory(id);
        let (hostname, domainname) = (&spec.process.hostname, &spec.process.domainname);
        // Who shares the host's network finds there what the host finds.
        let shared = spec.host.network_mode == NetworkMode::Host;
        let hosts = shared.then(|| copied("/etc/hosts")).flatten();
        let hosts = hosts.unwrap_or_else(|| hosts_text(hostname, domainname).into_bytes());
        // Without a network nothing answers, and a program that reads the file must still find one.
        let resolv = shared.then(|| copied("/etc/resolv.conf")).flatten();
        let resolv = resolv.unwrap_or_else(|| b"# This container has no network.\n".to_vec());
        let hostname = format!("{hostname}\n").into_bytes();
        let files = [("hostname", hostname), ("hosts", hosts), ("resolv.conf", resolv)];
        let write = || {
            file::create_dir(&directory, 0o700)?;
            files.iter().try_for_each(|(name, content)| write_for(&directory.join(name), content, owner))
        };
        let written = match write() {
            // Who had it for a copy has just tidied up.
            Err(error) if error.is_missing() => write(),
            written => written,
        };
        written.map_err(|source| Error::File { action: "write a file of the container's /etc", source })
    }

    /// Removes what lies on disk of a container that has no record any more.
    pub(crate) fn remove_files(&self, id: &ContainerId) -> Result<()> {
        let failed = |source| Error::File { action: "remove the container's directory", source };
        runtime::project::release(&self.directory(id));
        self.remove_trees(&[self.directory(id), self.shm_directory(id)]).map_err(failed)
    }

    /// Ids of all containers of which something lies on disk.
    pub(crate) fn directories(&self) -> Result<Vec<ContainerId>> {
        list_ids(&self.config.root.join("containers"))
    }

    /// Ids of all containers that run, or whose monitor died.
    pub(crate) fn run_directories(&self) -> Result<Vec<ContainerId>> {
        list_ids(&self.config.run)
    }
}

/// The empty file by which programs know that they are in a container; an index has it already.
fn make_mark(path: &Path) -> file::Result<()> {
    match file::create_new(path, 0o755) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        // Not what the caller's mask has left of it.
        Ok(_) | Err(_) => file::set_mode(path, 0o755),
    }
}

/// Makes a directory whose mode is what the container sees, whatever the caller's mask.
fn make_open(path: &Path, mode: u32) -> Result<()> {
    let failed = |source| Error::File { action: "make the container's directory", source };
    if file::create_dir(path, mode).map_err(failed)? {
        file::set_mode(path, mode).map_err(failed)?;
    }
    Ok(())
}

/// Directories named by an id; the listing of a directory that is not there is empty.
pub(crate) fn list_ids(path: &Path) -> Result<Vec<ContainerId>> {
    let failed = |errno: rustix::io::Errno| Error::System {
        action: "list",
        path: path.to_owned(),
        source: errno.into(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(directory) => directory,
        Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(failed(errno)),
    };
    let mut ids = Vec::new();
    for entry in Dir::new(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type();
        if kind == FileType::Directory || kind == FileType::Unknown {
            ids.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<ContainerId>().ok()));
        }
    }
    Ok(ids)
}

/// The usual names of the loopback addresses; the container's own name resolves to one of them.
fn hosts_text(hostname: &str, domainname: &str) -> String {
    let full = if domainname.is_empty() { String::new() } else { format!("{hostname}.{domainname} ") };
    format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n127.0.1.1\t{full}{hostname}\n"
    )
}

/// A file of the host's, if it is there and of a size that such files have.
pub(crate) fn copied(path: &str) -> Option<Vec<u8>> {
    file::read_bounded(Path::new(path), ETC_LIMIT).ok()
}

/// Writes a file that everybody inside may read and `owner` may write, whatever the caller's mask.
pub(crate) fn write_for(path: &Path, content: &[u8], (uid, gid): (u32, u32)) -> file::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(0o644);
    let mut opened = File::from(rustix::fs::open(path, flags, mode).named("create", path)?);
    opened.write_all(content).named("write", path)?;
    rustix::fs::fchmod(&opened, mode).named("change mode of", path)?;
    if (uid, gid) != (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()) {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(&opened, Some(uid), Some(gid)).named("change owner of", path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_finds_its_own_name() {
        let text = hosts_text("web", "example.org");
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("127.0.1.1\tweb.example.org web\n"));
        assert!(hosts_text("web", "").ends_with("127.0.1.1\tweb\n"));
    }
}
