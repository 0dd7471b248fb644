//! `--device`: what the named nodes of the host are.

use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::plan::DeviceNode;
use crate::request::{DeviceRate, DeviceRequest, HostOptions, Resources};
use crate::{Engine, Error, Result};

/// Directories below `/dev` that a privileged container has for itself, or that hold no devices.
const OWN: [&str; 6] = ["pts", "shm", "fd", "mqueue", "hugepages", ".udev"];
/// As deep as any `/dev` is.
const DEPTH: usize = 8;

impl Engine {
    /// The nodes a container gets: those asked for, or all of the host's.
    pub(crate) fn look_up_devices(&self, host: &HostOptions) -> Result<Vec<DeviceNode>> {
        let mut nodes = Vec::new();
        if host.privileged {
            list(Path::new("/dev"), Path::new("/dev"), "rwm", DEPTH, &mut nodes)?;
        }
        for request in &host.devices {
            let found = look_up(request)?;
            nodes.retain(|node| found.iter().all(|other| other.path != node.path));
            nodes.extend(found);
        }
        Ok(nodes)
    }
}

/// Puts the limits on single devices, as the host numbers these, into `limits`.
pub(crate) fn limit_block_io(resources: &Resources, limits: &mut cgroup::BlockIo) -> Result<()> {
    let numbers = |rates: &[DeviceRate]| rates.iter().map(block_device).collect::<Result<Vec<_>>>();
    let weights = numbers(&resources.blkio_weight_device)?;
    let weight = |(major, minor, weight): (u32, u32, u64)| Some((major, minor, u16::try_from(weight).ok()?));
    limits.weight_device = weights.into_iter().filter_map(weight).collect();
    limits.read_bps = numbers(&resources.device_read_bps)?;
    limits.write_bps = numbers(&resources.device_write_bps)?;
    limits.read_iops = numbers(&resources.device_read_iops)?;
    limits.write_iops = numbers(&resources.device_write_iops)?;
    Ok(())
}

fn block_device(rate: &DeviceRate) -> Result<(u32, u32, u64)> {
    match node(Path::new(&rate.path), Path::new(&rate.path), "")? {
        Some(node) if node.block => Ok((node.major, node.minor, rate.rate)),
        Some(_) | None => Err(Error::NotABlockDevice { path: rate.path.clone() }),
    }
}

fn look_up(request: &DeviceRequest) -> Result<Vec<DeviceNode>> {
    let source = Path::new(&request.host);
    let target = Path::new(&request.container);
    if target.components().any(|part| matches!(part, std::path::Component::ParentDir)) {
        return Err(Error::InvalidDevice { text: request.container.clone() });
    }
    if let Some(node) = node(source, target, &request.permissions)? {
        return Ok(vec![node]);
    }
    let mut nodes = Vec::new();
    if source.is_dir() {
        list(source, target, &request.permissions, DEPTH, &mut nodes)?;
    }
    if nodes.is_empty() { Err(Error::NotADevice { path: request.host.clone() }) } else { Ok(nodes) }
}

/// The node at `source`, if it is one. Links lead on: `/dev/disk/by-id/…` are links.
fn node(source: &Path, target: &Path, permissions: &str) -> Result<Option<DeviceNode>> {
    let found = match rustix::fs::stat(source) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => {
            return Err(Error::NoSuchDevice { path: source.display().to_string() });
        }
        Err(errno) => return Err(system("examine", source, errno)),
    };
    let kind = FileType::from_raw_mode(found.st_mode);
    if !is_device(kind) {
        return Ok(None);
    }
    Ok(Some(DeviceNode {
        path: target.to_owned(),
        source: source.to_owned(),
        block: kind == FileType::BlockDevice,
        major: rustix::fs::major(found.st_rdev),
        minor: rustix::fs::minor(found.st_rdev),
        mode: found.st_mode & 0o7777,
        uid: found.st_uid,
        gid: found.st_gid,
        permissions: permissions.to_owned(),
    }))
}

/// Every node in a directory and below it. What comes and goes meanwhile is passed over.
fn list(
    source: &Path,
    target: &Path,
    permissions: &str,
    depth: usize,
    nodes: &mut Vec<DeviceNode>,
) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        rustix::fs::open(source, flags, Mode::empty()).map_err(|errno| system("open", source, errno))?;
    let entries = Dir::read_from(&directory).map_err(|errno| system("list", source, errno))?;
    for entry in entries {
        let entry = entry.map_err(|errno| system("list", source, errno))?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." {
            continue;
        }
        let (below, inside): (PathBuf, PathBuf) = (source.join(name), target.join(name));
        let kind = entry.file_type();
        if kind == FileType::Directory && depth > 0 && !OWN.contains(&name) {
            list(&below, &inside, permissions, depth - 1, nodes)?;
        } else if is_device(kind) && name != "console" {
            nodes.extend(node(&below, &inside, permissions).unwrap_or_default());
        }
    }
    Ok(())
}

fn is_device(kind: FileType) -> bool {
    matches!(kind, FileType::BlockDevice | FileType::CharacterDevice)
}

fn system(action: &'static str, path: &Path, errno: Errno) -> Error {
    Error::System { action, path: path.to_owned(), source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> Result<Vec<DeviceNode>> {
        look_up(&DeviceRequest::parse(text).unwrap())
    }

    #[test]
    fn a_node_is_what_the_host_says_it_is() {
        let nodes = outcome("/dev/zero:/dev/nil:r").unwrap();
        assert_eq!((nodes.len(), nodes[0].major, nodes[0].minor, nodes[0].block), (1, 1, 5, false));
        assert_eq!((nodes[0].path.to_str(), nodes[0].permissions.as_str()), (Some("/dev/nil"), "r"));
    }

    #[test]
    fn what_is_missing_or_no_device_is_named() {
        assert_eq!(
            outcome("/dev/no-such").unwrap_err().to_string(),
            "error gathering device information while adding custom device \"/dev/no-such\": no such file or directory"
        );
        assert_eq!(outcome("/etc/passwd").unwrap_err().to_string(), "/etc/passwd is not a device node");
        assert!(outcome("/dev/null:/dev/../etc/x").is_err());
    }
}
