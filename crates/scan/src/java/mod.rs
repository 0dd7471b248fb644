//! Java archives, and those that lie in them.
//!
//! Who built one with Maven left `pom.properties`, of each artifact that was put into it; else its manifest names it; else it is called
//! `name-1.2.3.jar`. An archive in an archive is mostly stored as it is, and is read where it lies; one that is deflated is inflated
//! first, up to a bound.

mod zip;

use std::io;

use self::zip::{Archive, Entry};
use crate::languages::named;
use crate::package::{license, supplier};
use crate::{File, Kind, Package, Told};

const ENDINGS: [&str; 6] = [".jar", ".war", ".ear", ".par", ".jpi", ".hpi"];
/// How deep archives may lie in each other.
const DEPTH: usize = 3;
/// The most archives in one, however deep, and the bytes that are read and inflated for it.
const INNER: usize = 4096;
const BYTES: u64 = 256 << 20;
/// The largest document of an archive.
const DOCUMENT: u64 = 1 << 20;
/// The most packages of one archive.
const PACKAGES: usize = 20_000;

/// What may still be spent on one file.
struct Budget {
    archives: usize,
    bytes: u64,
}

impl Budget {
    fn spend(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

pub(crate) fn look(file: &File<'_>, name: &str) -> io::Result<Told> {
    if !is_archive(name) {
        return Ok(Told::Nothing);
    }
    let mut budget = Budget { archives: INNER, bytes: BYTES };
    let mut packages = Vec::new();
    let is_read = archive(file, name, 0, &mut budget, &mut packages)?;
    Ok(if is_read || !packages.is_empty() { Told::Packages(packages) } else { Told::Bad })
}

fn is_archive(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

/// Reads an archive; `false` if it is none.
fn archive(
    file: &File<'_>,
    name: &str,
    depth: usize,
    budget: &mut Budget,
    packages: &mut Vec<Package>,
) -> io::Result<bool> {
    let Some(archive) = Archive::open(file)? else { return Ok(false) };
    // Archives may lie over each other: what is read counts, not what is there.
    budget.spend(archive.list);
    let before = packages.len();
    let mut manifest = None;
    for entry in &archive.entries {
        if packages.len() >= PACKAGES {
            return Ok(true);
        }
        let path = entry.name.as_str();
        let is_manifest = path == "META-INF/MANIFEST.MF";
        let is_maven = path.starts_with("META-INF/maven/") && path.ends_with("/pom.properties");
        if !is_manifest && !is_maven {
            continue;
        }
        let document = archive.inflated(entry, DOCUMENT.min(budget.bytes))?;
        budget.spend(entry.size + document.as_ref().map_or(0, |document| document.len() as u64));
        match (is_manifest, document) {
            (true, document) => manifest = document,
            (false, document) => packages.extend(document.as_deref().and_then(of_maven)),
        }
    }
    // Of what it was made of, that of its own name is it.
    if packages.len() == before {
        packages.extend(of_manifest(manifest.as_deref().unwrap_or_default(), name));
    }
    if depth < DEPTH {
        for entry in archive.entries.iter().filter(|entry| is_archive(&entry.name)) {
            if budget.archives == 0 || budget.bytes == 0 || packages.len() >= PACKAGES {
                break;
            }
            budget.archives -= 1;
            inner(&archive, entry, depth + 1, budget, packages)?;
        }
    }
    Ok(true)
}

/// An archive in an archive.
fn inner(
    outer: &Archive<'_, '_>,
    entry: &Entry,
    depth: usize,
    budget: &mut Budget,
    packages: &mut Vec<Package>,
) -> io::Result<()> {
    let name = entry.name.rsplit('/').next().unwrap_or_default();
    let Some(start) = outer.start(entry)? else { return Ok(()) };
    if entry.is_stored {
        let read_at = |offset: u64, buffer: &mut [u8]| {
            let left = usize::try_from(entry.size.saturating_sub(offset)).unwrap_or(usize::MAX);
            let length = buffer.len().min(left);
            (outer.file.read_at)(start + offset, buffer.get_mut(..length).unwrap_or_default())
        };
        let file = File {
            path: outer.file.path,
            size: entry.size,
            is_executable: false,
            read_at: &read_at,
            log: None,
        };
        return archive(&file, name, depth, budget, packages).map(drop);
    }
    let Some(bytes) = outer.inflated(entry, budget.bytes)? else { return Ok(()) };
    budget.spend(bytes.len() as u64);
    let read_at = |offset: u64, buffer: &mut [u8]| {
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let length = buffer.len().min(rest.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    };
    let size = bytes.len() as u64;
    let file = File { path: outer.file.path, size, is_executable: false, read_at: &read_at, log: None };
    archive(&file, name, depth, budget, packages).map(drop)
}

/// `groupId`, `artifactId` and `version`, a line each.
fn of_maven(bytes: &[u8]) -> Option<Package> {
    let text = String::from_utf8_lossy(bytes);
    let value = |key: &str| {
        text.lines().find_map(|line| {
            Some(line.trim().strip_prefix(key)?.trim_start().strip_prefix(['=', ':'])?.trim())
        })
    };
    let (group, name, version) = (value("groupId")?, value("artifactId")?, value("version")?);
    Some(Package { namespace: Some(group.to_owned()), ..Package::new(Kind::Maven, name, version) })
}

/// What its manifest says, and its name where that says nothing.
fn of_manifest(bytes: &[u8], file: &str) -> Option<Package> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    // A line goes on where the next begins with a space; the first section is about all of it.
    let text = text.replace("\n ", "");
    let head = text.split("\n\n").next().unwrap_or_default();
    let value = |key: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.map(str::trim).filter(|value| !value.is_empty() && !value.contains("${"))
    };
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let (named, numbered) = named(stem).map_or((stem, None), |(name, version)| (name, Some(version)));
    let symbolic = value("Bundle-SymbolicName").map(|name| name.split(';').next().unwrap_or_default().trim());
    let version =
        [value("Implementation-Version"), numbered, value("Bundle-Version"), value("Specification-Version")];
    let version = version.into_iter().flatten().next()?;
    let group = [value("Implementation-Vendor-Id"), symbolic].into_iter().flatten().next();
    Some(Package {
        namespace: Some(group.unwrap_or(named).to_owned()),
        license: value("Bundle-License").and_then(license),
        supplier: value("Implementation-Vendor").and_then(supplier),
        ..Package::new(Kind::Maven, named, version)
    })
}
