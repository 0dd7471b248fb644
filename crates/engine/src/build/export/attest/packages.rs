//! Packages that are installed in a file tree, as their managers have written them down there.
//!
//! | manager | where |
//! |---|---|
//! | dpkg | `var/lib/dpkg/status`, `var/lib/dpkg/status.d/*` |
//! | apk | `lib/apk/db/installed`, `usr/lib/apk/db/installed` |
//! | Python | `*.dist-info/METADATA`, `*.egg-info/PKG-INFO` |
//! | npm | `node_modules/**/package.json` |
//!
//! rpm's database is one of SQLite, Berkeley DB or its own, and Go's programs name their modules in a section of theirs: neither is
//! read. All of it is hostile: files are read up to a bound, what is not understood is passed over.

use image::files::{Merged, Regular};
use serde_json::Value;

use super::encoded;

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    pub(super) purl: String,
    /// The file that says so.
    pub(super) found: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) supplier: Option<String>,
}

/// The largest database that is read, and the largest file of one package.
const DATABASE: u64 = 64 << 20;
const FILE: u64 = 1 << 20;
/// The most packages that are listed.
const COUNT: usize = 100_000;
/// The longest name or version.
const LENGTH: usize = 512;

/// Which distribution it is, for package URLs.
#[derive(Default)]
struct System {
    id: String,
    version: String,
}

/// All packages, sorted.
pub(super) fn packages(merged: &Merged) -> image::Result<Vec<Package>> {
    let mut found = Vec::new();
    let mut system = System::default();
    merged.files(&mut |path, file| {
        let Ok(path) = std::str::from_utf8(path) else { return Ok(()) };
        if found.len() < COUNT {
            look(path, file, &mut found, &mut system)?;
        }
        Ok(())
    })?;
    for package in &mut found {
        // Which distribution it is may be known only after its packages were read.
        for (mark, text) in [("{os}", &system.id), ("{version}", &system.version)] {
            package.purl = package.purl.replace(mark, &encoded(text));
        }
    }
    found.sort();
    found.dedup();
    found.truncate(COUNT);
    Ok(found)
}

fn look(path: &str, file: Regular<'_>, found: &mut Vec<Package>, system: &mut System) -> image::Result<()> {
    let text = |limit: u64| file.read(limit).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    match path {
        "etc/os-release" | "usr/lib/os-release" => {
            let text = text(FILE)?;
            let value = |key: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
                line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
            };
            let (id, version) = (value("ID"), value("VERSION_ID"));
            if !id.is_empty() {
                *system = System { id, version };
            }
        }
        "var/lib/dpkg/status" => dpkg(&text(DATABASE)?, path, found),
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" => apk(&text(DATABASE)?, path, found),
        _ if path.starts_with("var/lib/dpkg/status.d/") && !path.ends_with(".md5sums") => {
            dpkg(&text(FILE)?, path, found);
        }
        _ if path.ends_with(".dist-info/METADATA") || path.ends_with(".egg-info/PKG-INFO") => {
            found.extend(python(&text(FILE)?, path));
        }
        _ if path.ends_with("/package.json") && path.contains("node_modules/") => {
            found.extend(npm(&file.read(FILE)?, path));
        }
        _ => {}
    }
    Ok(())
}

fn package(purl: String, found: &str, name: &str, version: &str) -> Option<Package> {
    let is_fine = |text: &str| !text.is_empty() && text.len() <= LENGTH && !text.contains(char::is_control);
    let (name, version) = (name.to_owned(), version.to_owned());
    (is_fine(&name) && is_fine(&version)).then(|| Package {
        purl,
        found: format!("/{found}"),
        name,
        version,
        license: None,
        supplier: None,
    })
}

/// Paragraphs of `Key: value`, with lines that go on after a space.
fn dpkg(text: &str, path: &str, found: &mut Vec<Package>) {
    for stanza in text.split("\n\n") {
        let field = |key: &str| {
            let line = stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.unwrap_or_default().trim()
        };
        let (name, version, architecture) = (field("Package"), field("Version"), field("Architecture"));
        // Those of distroless images say nothing of a state.
        let status = field("Status");
        if !status.is_empty() && !status.ends_with(" installed") {
            continue;
        }
        let source = field("Source");
        let upstream = match source.split_once(" (") {
            _ if source.is_empty() => String::new(),
            Some((name, version)) => {
                format!("&upstream={}%40{}", encoded(name), encoded(version.trim_end_matches(')')))
            }
            None => format!("&upstream={}", encoded(source)),
        };
        let purl = format!(
            "pkg:deb/{{os}}/{}@{}?arch={}{upstream}&distro={{os}}-{{version}}",
            encoded(name),
            encoded(version),
            encoded(architecture)
        );
        found.extend(package(purl, path, name, version));
    }
}

/// Paragraphs of one letter, a colon and a value.
fn apk(text: &str, path: &str, found: &mut Vec<Package>) {
    for stanza in text.split("\n\n") {
        let field = |key: &str| {
            stanza.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or_default()
        };
        let (name, version) = (field("P"), field("V"));
        let purl = format!(
            "pkg:apk/{{os}}/{}@{}?arch={}&distro={{os}}-{{version}}",
            encoded(name),
            encoded(version),
            encoded(field("A"))
        );
        let license = license(field("L"));
        found.extend(package(purl, path, name, version).map(|package| Package { license, ..package }));
    }
}

/// The head of a message.
fn python(text: &str, path: &str) -> Option<Package> {
    let head = text.split("\n\n").next().unwrap_or_default();
    let field = |key: &str| {
        head.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or_default().trim()
    };
    let (name, version) = (field("Name"), field("Version"));
    // Names are compared so (PEP 503).
    let plain = name.to_ascii_lowercase().replace(['_', '.'], "-");
    let purl = format!("pkg:pypi/{}@{}", encoded(&plain), encoded(version));
    let license = license(field("License-Expression"));
    package(purl, path, name, version).map(|package| Package { license, ..package })
}

fn npm(content: &[u8], path: &str) -> Option<Package> {
    let value: Value = serde_json::from_slice(content).ok()?;
    let (name, version) = (value.get("name")?.as_str()?, value.get("version")?.as_str()?);
    // A package lies where it is called so; anything else is a part of one.
    if !path.ends_with(&format!("node_modules/{name}/package.json")) {
        return None;
    }
    let parts: Vec<String> = name.split('/').map(encoded).collect();
    let purl = format!("pkg:npm/{}@{}", parts.join("/"), encoded(version));
    let license = value.get("license").and_then(Value::as_str).and_then(license);
    package(purl, path, name, version).map(|package| Package { license, ..package })
}

/// An expression of SPDX's; what cannot be one is left out.
fn license(text: &str) -> Option<String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-.+() ".contains(letter);
    (!text.is_empty() && text.len() <= LENGTH && text.chars().all(is_plain)).then(|| text.to_owned())
}
