//! A specification that was checked: its version has what it says, and what it says makes sense.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use crate::document::{Device, Document, Edits};
use crate::{Error, name};

/// Released versions that are read, in order. Nothing of the two before these was ever in use.
const VERSIONS: [&str; 8] = ["0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];
/// All annotations of a file or of a device, with their keys.
const ANNOTATIONS: usize = 256 << 10;

/// One file.
#[derive(Debug)]
pub(crate) struct Spec {
    /// `vendor/class`.
    pub(crate) kind: String,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) edits: Edits,
    pub(crate) devices: Vec<Entry>,
}

/// A device of it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) edits: Edits,
}

impl Spec {
    /// Reads and checks a file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let document = Document::parse(text)?;
        let version = &document.cdi_version.0;
        let version = version.strip_prefix('v').unwrap_or(version);
        let known = VERSIONS.iter().position(|known| *known == version);
        let known = known.ok_or_else(|| Error::Version { version: clipped(version) })?;
        for (what, least) in needs(&document) {
            if VERSIONS.iter().position(|other| *other == least) > Some(known) {
                return Err(Error::TooOld { what, least, version: version.to_owned() });
            }
        }
        let kind = document.kind.0;
        name::check_kind(&kind).map_err(|source| Error::Kind { kind: clipped(&kind), source })?;
        let annotations = annotations(document.annotations)?;
        check(&document.container_edits)?;
        let devices = document.devices.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = devices.iter().find(|device| !names.insert(&device.name)) {
            return Err(Error::Twice { name: twice.name.clone() });
        }
        if devices.is_empty() {
            return Err(Error::NoDevices);
        }
        Ok(Self { kind, annotations, edits: document.container_edits, devices })
    }
}

fn entry(device: Device) -> Result<Entry, Error> {
    let name = device.name.0;
    name::check_device(&name).map_err(|source| Error::DeviceName { name: clipped(&name), source })?;
    let annotations = annotations(device.annotations)?;
    if device.container_edits.is_empty() {
        return Err(Error::Nothing { name });
    }
    check(&device.container_edits)?;
    Ok(Entry { name, annotations, edits: device.container_edits })
}

/// What a file uses that earlier versions did not have, with the version that has it.
fn needs(document: &Document) -> Vec<(&'static str, &'static str)> {
    let mut needs = Vec::new();
    let devices = &document.devices;
    let starts_with_digit = |device: &Device| device.name.0.starts_with(|first: char| first.is_ascii_digit());
    if devices.iter().any(starts_with_digit) {
        needs.push(("a device name that begins with a digit", "0.5.0"));
    }
    if document.kind.0.split_once('/').is_some_and(|(_, class)| class.contains('.')) {
        needs.push(("a class with a dot", "0.6.0"));
    }
    if !document.annotations.is_empty() || devices.iter().any(|device| !device.annotations.is_empty()) {
        needs.push(("annotations", "0.6.0"));
    }
    let all = devices.iter().map(|device| &device.container_edits).chain([&document.container_edits]);
    for edits in all {
        if edits.mounts.iter().any(|mount| mount.kind.is_some()) {
            needs.push(("type of a mount", "0.4.0"));
        }
        if edits.device_nodes.iter().any(|node| node.host_path.is_some()) {
            needs.push(("hostPath of a device node", "0.5.0"));
        }
        if edits.intel_rdt.is_some() {
            needs.push(("intelRdt", "0.7.0"));
        }
        if !edits.additional_gids.is_empty() {
            needs.push(("additionalGids", "0.7.0"));
        }
        if edits.intel_rdt.as_ref().is_some_and(|rdt| !rdt.schemata.is_empty() || rdt.enable_monitoring) {
            needs.push(("schemata and enableMonitoring of intelRdt", "1.1.0"));
        }
        if !edits.net_devices.is_empty() {
            needs.push(("netDevices", "1.1.0"));
        }
    }
    needs
}

fn check(edits: &Edits) -> Result<(), Error> {
    edits.env.iter().try_for_each(|entry| check_env("env", entry))?;
    for node in &edits.device_nodes {
        check_inside("path of a device node", &node.path)?;
        if let Some(host) = &node.host_path {
            check_absolute("hostPath of a device node", host)?;
        }
        let kinds = ["b", "c", "u", "p"];
        if let Some(kind) = node.kind.as_deref().filter(|kind| !kinds.contains(kind)) {
            return invalid("type of a device node", kind, "must be b, c, u or p");
        }
        if let Some(text) = &node.permissions
            && text != "none"
            && !text.bytes().all(|byte| b"rwm".contains(&byte))
        {
            return invalid("permissions of a device node", text, "must be of r, w and m, or none");
        }
    }
    for mount in &edits.mounts {
        check_inside("containerPath of a mount", &mount.container_path)?;
        if mount.host_path.is_empty() || mount.host_path.contains('\0') {
            return invalid("hostPath of a mount", &mount.host_path, "must be a path");
        }
    }
    for hook in &edits.hooks {
        check_absolute("path of a hook", &hook.path)?;
        hook.env.iter().try_for_each(|entry| check_env("env of a hook", entry))?;
        if hook.timeout == Some(0) {
            return invalid("timeout of a hook", "0", "must be above zero");
        }
        if let Some(word) = hook.args.iter().find(|word| word.contains('\0')) {
            return invalid("args of a hook", word, "must not hold a zero byte");
        }
    }
    for device in &edits.net_devices {
        if device.host_interface_name.is_empty() || device.name.is_empty() {
            return invalid("hostInterfaceName and name of a net device", "", "must be there");
        }
    }
    let id = edits.intel_rdt.as_ref().and_then(|rdt| rdt.clos_id.as_deref());
    match id.filter(|id| *id != "/") {
        Some(id) if id.len() >= 4096 || id == "." || id == ".." || id.contains(['/', '\n', '\0']) => {
            invalid("closID", id, "must be the name of a file")
        }
        _ => Ok(()),
    }
}

fn check_env(field: &'static str, entry: &str) -> Result<(), Error> {
    match entry.find('=') {
        None | Some(0) => invalid(field, entry, "must be NAME=value"),
        Some(_) if entry.contains('\0') => invalid(field, entry, "must not hold a zero byte"),
        Some(_) => Ok(()),
    }
}

fn check_absolute(field: &'static str, path: &str) -> Result<(), Error> {
    match path.starts_with('/') && !path.contains('\0') {
        true => Ok(()),
        false => invalid(field, path, "must be an absolute path"),
    }
}

/// A place in the container: it is looked up below its root.
fn check_inside(field: &'static str, path: &str) -> Result<(), Error> {
    check_absolute(field, path)?;
    if Path::new(path).components().any(|part| part == Component::ParentDir) {
        return invalid(field, path, "must not hold \"..\"");
    }
    if Path::new(path) == Path::new("/") {
        return invalid(field, path, "must not be the root");
    }
    Ok(())
}

fn invalid<T>(field: &'static str, value: &str, why: &'static str) -> Result<T, Error> {
    Err(Error::Invalid { field, value: clipped(value), why })
}

/// As much of a text as an error shows.
fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Annotations have keys as those of Kubernetes: a name of up to 63 characters, behind an optional domain and a slash.
fn annotations(written: BTreeMap<String, crate::document::Text>) -> Result<BTreeMap<String, String>, Error> {
    let mut size = 0;
    let mut checked = BTreeMap::new();
    for (key, value) in written {
        size += key.len() + value.0.len();
        let wrong = |why| Error::Annotation { key: clipped(&key), why };
        let (domain, name) = key.rsplit_once('/').map_or((None, key.as_str()), |(a, b)| (Some(a), b));
        if !is_word(name, 63, |byte| matches!(byte, b'-' | b'_' | b'.')) {
            return Err(wrong("its name must be of letters, digits, '-', '_' and '.', at most 63"));
        }
        let is_label = |label: &str| is_word(label, 63, |byte| byte == b'-');
        if domain.is_some_and(|domain| domain.len() > 253 || !domain.split('.').all(is_label)) {
            return Err(wrong("what stands before the slash must be a domain"));
        }
        if size > ANNOTATIONS {
            return Err(wrong("more than 256 KiB of annotations"));
        }
        checked.insert(key, value.0);
    }
    Ok(checked)
}

fn is_word(text: &str, longest: usize, between: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= longest
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || between(*byte))
}
