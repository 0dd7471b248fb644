//! All specifications of a host, and what names mean there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::document::Edits;
use crate::spec::Spec;
use crate::{Error, NameError, name};

/// Says of a device that it is one of a group, which builds may ask for by the group's name (BuildKit).
const CLASS: &str = "org.mobyproject.buildkit.device.class";
/// Says that every build may have a device (BuildKit).
const AUTO_ALLOW: &str = "org.mobyproject.buildkit.device.autoallow";

/// A file that may be a specification.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it lies, for errors.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
    /// Of files that name the same device, the highest counts.
    pub precedence: usize,
}

/// A file whose devices are not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CDI specification {}", path.display())]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: Error,
}

/// Names that no specification has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unresolvable CDI devices {}{}", names.join(", "), conflicts(.conflicting))]
pub struct Unresolvable {
    /// As they were asked for.
    pub names: Vec<String>,
    /// Files of the same precedence that give one of them.
    pub conflicting: Vec<PathBuf>,
}

fn conflicts(files: &[PathBuf]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!(" (given by several: {})", files.join(", "))
}

/// Why what a build asks for is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum FindError {
    #[error("invalid device {name:?}")]
    Name {
        name: String,
        #[source]
        source: NameError,
    },
    #[error("required device {name:?} is not registered")]
    NotThere { name: String },
}

/// A device: its specification, and its place there.
type Place = (usize, usize);

/// Devices by their names.
#[derive(Debug, Default)]
pub struct Registry {
    specs: Vec<(File, Spec)>,
    devices: BTreeMap<String, Place>,
    conflicts: BTreeMap<String, BTreeSet<PathBuf>>,
    faults: Vec<Fault>,
}

impl Registry {
    /// Reads all files. What is wrong with one is no matter for the others.
    pub fn new(files: impl IntoIterator<Item = File>) -> Self {
        let mut registry = Self::default();
        for mut file in files {
            match Spec::parse(&std::mem::take(&mut file.text)) {
                Ok(spec) => registry.specs.push((file, spec)),
                Err(source) => registry.faults.push(Fault { path: file.path, source }),
            }
        }
        for at in 0..registry.specs.len() {
            registry.enter(at);
        }
        for name in registry.conflicts.keys() {
            registry.devices.remove(name);
        }
        registry
    }

    fn enter(&mut self, at: usize) {
        let Some((file, spec)) = self.specs.get(at) else { return };
        for (device, entry) in spec.devices.iter().enumerate() {
            let name = format!("{}={}", spec.kind, entry.name);
            let before = self.devices.get(&name).and_then(|(spec, _)| self.specs.get(*spec));
            let order = before.map(|(other, _)| file.precedence.cmp(&other.precedence));
            match order {
                Some(std::cmp::Ordering::Less) => continue,
                Some(std::cmp::Ordering::Equal) => {
                    let other = before.map(|(other, _)| other.path.clone());
                    let several = self.conflicts.entry(name).or_default();
                    several.extend(other.into_iter().chain([file.path.clone()]));
                    continue;
                }
                // Whatever was the matter with lower ones.
                Some(std::cmp::Ordering::Greater) => drop(self.conflicts.remove(&name)),
                None => {}
            }
            self.devices.insert(name, (at, device));
        }
    }

    /// The names of all devices, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.devices.keys().map(String::as_str)
    }

    /// What is wrong with files.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What the devices of these names change, in their order.
    pub fn edits<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Edits, Unresolvable> {
        let mut edits = Edits::default();
        let mut specs = BTreeSet::new();
        let mut missing = Unresolvable { names: Vec::new(), conflicting: Vec::new() };
        for name in names {
            let place = self.devices.get(name);
            let found = place.and_then(|(spec, device)| {
                let (_, spec_found) = self.specs.get(*spec)?;
                Some((*spec, spec_found, spec_found.devices.get(*device)?))
            });
            let Some((at, spec, entry)) = found else {
                missing.names.push(name.to_owned());
                missing.conflicting.extend(self.conflicts.get(name).into_iter().flatten().cloned());
                continue;
            };
            if specs.insert(at) {
                edits.append(&spec.edits);
            }
            edits.append(&entry.edits);
        }
        if missing.names.is_empty() { Ok(edits) } else { Err(missing) }
    }

    /// The devices that a build means by `wanted`, as BuildKit has it: `vendor/class` is the first of its kind, `vendor/class=*`
    /// are all, and a name that no device has may be that of a group of devices. None of what is not required is no error.
    pub fn find(&self, wanted: &str, is_required: bool) -> Result<Vec<&str>, FindError> {
        let (kind, name) = wanted.split_once('=').unwrap_or((wanted, ""));
        name::check_kind(kind).map_err(|source| FindError::Name { name: clipped(wanted), source })?;
        let prefix = format!("{kind}=");
        let mut of_kind = self.names().filter(|device| device.starts_with(&prefix));
        let found: Vec<&str> = match name {
            "" => of_kind.next().into_iter().collect(),
            "*" => of_kind.collect(),
            _ => match self.devices.get_key_value(wanted) {
                Some((device, _)) => vec![device],
                None => of_kind.filter(|device| self.annotation(device, CLASS) == Some(name)).collect(),
            },
        };
        if found.is_empty() && is_required {
            return Err(FindError::NotThere { name: clipped(wanted) });
        }
        Ok(found)
    }

    /// Whether a device says of itself that every build may have it.
    pub fn is_auto_allowed(&self, name: &str) -> bool {
        let says = self.annotation(name, AUTO_ALLOW);
        matches!(says, Some("1" | "t" | "T" | "true" | "True" | "TRUE"))
    }

    /// An annotation of a device, or of its file.
    fn annotation(&self, name: &str, key: &str) -> Option<&str> {
        let (spec, device) = self.devices.get(name)?;
        let (_, spec) = self.specs.get(*spec)?;
        let own = spec.devices.get(*device)?.annotations.get(key);
        own.or_else(|| spec.annotations.get(key)).map(String::as_str)
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests;
