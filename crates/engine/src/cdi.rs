//! Devices by name (CDI): the specifications of this host, and what they come to for a container.
//!
//! ```text
//! folders, lowest precedence first ─► files ─► cdi::Registry ─► edits ─► what the host's nodes are ─► plan::DeviceEdits
//! ```
//!
//! Files are read when a device is asked for by name, and not before: nobody else waits for them. Whoever may write to these folders decides
//! what a container gets of the host, and which programs run beside it, as the caller: they are the caller's and root's alone.

use std::fmt;
use std::path::{Path, PathBuf};

use linux::file;
use runtime::bundle::SpecError;
use runtime::plan::{Device, DeviceKind, Hook, Hooks};
use rustix::fs::{Dir, FileType, Mode, OFlags};

use crate::plan::DeviceEdits;
use crate::request::HostOptions;
use crate::{Engine, Result};

/// Generated specifications have some hundred mounts.
const FILE_LIMIT: u64 = 4 << 20;
/// Files of one folder.
const FILES: usize = 1024;

/// Why a container cannot have the devices that it asks for by name.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum DeviceError {
    #[error("CDI device injection failed")]
    Unresolvable {
        #[source]
        source: Missing,
    },
    #[error("CDI device injection failed: {path}: {why}")]
    Node { path: String, why: &'static str },
    #[error("CDI device injection failed: examine {}", path.display())]
    Examine {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("CDI device injection failed: mount on {target}: {why}")]
    Mount { target: String, why: String },
    #[error("CDI device injection failed: {what} is not supported")]
    Unsupported { what: &'static str },
}

/// Names that nothing has, and what else is wrong: it may be why.
#[derive(Debug, thiserror::Error)]
#[error("{unresolvable}{}", Faults(.faults))]
pub struct Missing {
    unresolvable: cdi::Unresolvable,
    faults: Vec<String>,
}

struct Faults<'a>(&'a [String]);

impl fmt::Display for Faults<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| write!(f, "; not taken: {fault}"))
    }
}

impl Engine {
    /// All devices that have names here.
    pub(crate) fn named_devices(&self) -> cdi::Registry {
        let folders = self.config.cdi_folders.iter().enumerate();
        cdi::Registry::new(folders.flat_map(|(precedence, folder)| files(folder, precedence)))
    }

    /// What the devices that a container has by name change of it.
    pub(crate) fn device_edits(&self, host: &HostOptions) -> Result<DeviceEdits> {
        if host.named_devices.is_empty() {
            return Ok(DeviceEdits::default());
        }
        Ok(edits(&self.named_devices(), &host.named_devices)?)
    }
}

/// What these devices of a registry change of a container.
pub(crate) fn edits(
    registry: &cdi::Registry,
    names: &[String],
) -> std::result::Result<DeviceEdits, DeviceError> {
    let found = registry.edits(names.iter().map(String::as_str)).map_err(|unresolvable| {
        let faults = registry.faults().iter().map(|fault| linux::chain(fault)).collect();
        DeviceError::Unresolvable { source: Missing { unresolvable, faults } }
    })?;
    if found.intel_rdt.is_some() {
        return Err(DeviceError::Unsupported { what: "intelRdt" });
    }
    if !found.net_devices.is_empty() {
        return Err(DeviceError::Unsupported { what: "netDevices" });
    }
    Ok(DeviceEdits {
        env: found.env,
        devices: found.device_nodes.iter().map(node).collect::<std::result::Result<_, _>>()?,
        mounts: found.mounts.iter().map(mount).collect::<std::result::Result<_, _>>()?,
        hooks: hooks(found.hooks),
        groups: found.additional_gids.into_iter().filter(|group| *group != 0).collect(),
    })
}

/// The specifications of a folder, in the order of their names. One that is not there, or that this user may not read, has none.
fn files(folder: &Path, precedence: usize) -> Vec<cdi::File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let entries = rustix::fs::open(folder, flags, Mode::empty()).and_then(Dir::read_from);
    let Ok(entries) = entries else { return Vec::new() };
    let is_named = |name: &str| name.ends_with(".json") || name.ends_with(".yaml");
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    let mut names: Vec<String> = names.filter(|name| is_named(name)).take(FILES).collect();
    names.sort();
    let read = |name: String| {
        let path = folder.join(name);
        let text = read(&path).inspect_err(|error| {
            tracing::warn!(error = linux::chain(error), "a CDI specification cannot be read")
        });
        Some(cdi::File { text: text.ok()?, path, precedence })
    };
    names.into_iter().filter_map(read).collect()
}

/// Text of a regular file. Nothing else is opened: a pipe would be waited for.
fn read(path: &Path) -> file::Result<String> {
    use file::Named as _;
    let stat = rustix::fs::stat(path).named("examine", path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no file"))
            .named("read", path);
    }
    let bytes = file::read_bounded(path, FILE_LIMIT)?;
    let text = String::from_utf8(bytes);
    text.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error)).named("read", path)
}

/// A node, with what its specification does not say as the host's has it; and what may be done with it.
fn node(wanted: &cdi::DeviceNode) -> std::result::Result<crate::plan::NamedNode, DeviceError> {
    let source = PathBuf::from(wanted.host_path.as_ref().unwrap_or(&wanted.path));
    let kind = match wanted.kind.as_deref() {
        None => None,
        Some("b") => Some(DeviceKind::Block),
        Some("p") => Some(DeviceKind::Fifo),
        Some(_) => Some(DeviceKind::Char),
    };
    let (kind, major, minor) = match kind {
        Some(DeviceKind::Fifo) => (DeviceKind::Fifo, 0, 0),
        Some(kind) if wanted.major != 0 => (kind, wanted.major, wanted.minor),
        kind => {
            let found = look_up(&source)?;
            if kind.is_some_and(|kind| kind != found.0) {
                let path = source.display().to_string();
                return Err(DeviceError::Node { path, why: "it is of another type on the host" });
            }
            found
        }
    };
    let device = Device {
        path: PathBuf::from(&wanted.path),
        kind,
        major,
        minor,
        mode: wanted.file_mode.unwrap_or(0o666) & 0o7777,
        uid: wanted.uid.unwrap_or_default(),
        gid: wanted.gid.unwrap_or_default(),
        source,
    };
    let permissions = match wanted.permissions.as_deref() {
        None => "rwm",
        Some("none") => "",
        Some(text) => text,
    };
    Ok(crate::plan::NamedNode {
        device,
        permissions: permissions.to_owned(),
        has_uid: wanted.uid.is_some(),
        has_gid: wanted.gid.is_some(),
    })
}

fn look_up(path: &Path) -> std::result::Result<(DeviceKind, u32, u32), DeviceError> {
    let failed =
        |errno: rustix::io::Errno| DeviceError::Examine { path: path.to_owned(), source: errno.into() };
    let found = rustix::fs::stat(path).map_err(failed)?;
    let kind = match FileType::from_raw_mode(found.st_mode) {
        FileType::BlockDevice => DeviceKind::Block,
        FileType::CharacterDevice => DeviceKind::Char,
        FileType::Fifo => return Ok((DeviceKind::Fifo, 0, 0)),
        FileType::RegularFile
        | FileType::Directory
        | FileType::Symlink
        | FileType::Socket
        | FileType::Unknown => {
            return Err(DeviceError::Node { path: path.display().to_string(), why: "not a device node" });
        }
    };
    Ok((kind, rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev)))
}

/// A mount by the words of the runtime specification; one without a type is a bind mount.
fn mount(wanted: &cdi::Mount) -> std::result::Result<runtime::plan::Mount, DeviceError> {
    let document = oci::runtime::Mount {
        destination: wanted.container_path.clone(),
        kind: wanted.kind.clone().unwrap_or_else(|| "bind".to_owned()),
        source: wanted.host_path.clone(),
        options: wanted.options.clone(),
        ..oci::runtime::Mount::default()
    };
    let failed = |why: String| DeviceError::Mount { target: wanted.container_path.clone(), why };
    let mount = runtime::bundle::mount(&document).map_err(|error| failed(words(&error)))?;
    if matches!(&mount.kind, runtime::plan::MountKind::Bind { source, .. } if !source.is_absolute()) {
        return Err(failed("the source of a bind mount must be an absolute path".to_owned()));
    }
    Ok(mount)
}

/// What is wrong with a mount, without the file of which it is no part.
fn words(error: &SpecError) -> String {
    match error {
        SpecError::Invalid { value, why, .. } => format!("{value:?} {why}"),
        SpecError::Unsupported { field, why } => {
            let option = field.split_once(' ').map_or(field.as_str(), |(_, option)| option);
            format!("{option} {why}")
        }
        SpecError::Missing { field } => format!("{field} is required"),
        SpecError::Read { .. } | SpecError::Json { .. } | SpecError::Seccomp { .. } => error.to_string(),
    }
}

fn hooks(wanted: Vec<cdi::Hook>) -> Hooks {
    let mut hooks = Hooks::default();
    for hook in wanted {
        let list = match hook.hook_name {
            cdi::HookKind::Prestart => &mut hooks.prestart,
            cdi::HookKind::CreateRuntime => &mut hooks.create_runtime,
            cdi::HookKind::CreateContainer => &mut hooks.create_container,
            cdi::HookKind::StartContainer => &mut hooks.start_container,
            cdi::HookKind::Poststart => &mut hooks.poststart,
            cdi::HookKind::Poststop => &mut hooks.poststop,
        };
        let (path, timeout_secs) = (hook.path.into(), hook.timeout);
        list.push(Hook { path, args: hook.args, env: hook.env, timeout_secs });
    }
    hooks
}

#[cfg(test)]
#[path = "cdi/tests.rs"]
mod tests;
