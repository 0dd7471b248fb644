//! The variant `distroless`: the packages that are named, what they need at run time, and nothing that only administers.
//!
//! No maintainer script runs. What scripts of the usual packages would have made, and a program needs, is made here:
//!
//! - `/etc/passwd`, `/etc/group` with `root`, `nobody` and `nonroot` (65532), `/etc/nsswitch.conf`, and homes;
//! - `/etc/ssl/certs/ca-certificates.crt`, all certificates of the package `ca-certificates` one behind the other;
//! - `/tmp`, `/var/tmp`, `/run`, and the links `/var/run` and `/var/lock`.
//!
//! `base-files` always comes along, for `/etc/os-release`, by which scanners know what they look at. Not made are
//! the cache of the dynamic loader (it searches Debian's folders without), alternatives (`/etc/alternatives`), and users that a
//! package's script would add: who needs those takes the variant that runs scripts.
//!
//! Dependencies that only scripts have are left out ([`is_for_scripts`]), unless they are asked for by name. What is installed is
//! said where the images of the distroless project say it and scanners look for it: a paragraph of `dpkg`'s status a package
//! in `/var/lib/dpkg/status.d/`, with the sums of its files beside it.

use debian::parse_relations;
use oci::Timestamp;

use super::error::BootstrapError as Failure;
use super::package::Opened;
use super::tree::{Clash, Tree};
use super::{Chosen, sbom};

/// What a package may depend on so that its scripts work, whoever the package is.
const FOR_SCRIPTS: [&str; 12] = [
    "adduser",
    "base-passwd",
    "cdebconf",
    "debconf",
    "debconf-2.0",
    "dpkg",
    "init-system-helpers",
    "install-info",
    "login",
    "passwd",
    "sysvinit-utils",
    "ucf",
];
/// What certain packages depend on for theirs.
const OF_PACKAGES: [(&str, &str); 2] = [("base-files", "awk"), ("ca-certificates", "openssl")];

const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n\
                      nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nstaff:x:50:\nnobody:x:65534:\nnonroot:x:65532:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
                        protocols: files\nservices: files\nethers: files\nrpc: files\n";
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const CERTIFICATE_LIMIT: u64 = 1 << 20;

/// Whether `package` depends on `needed` only so that its scripts work.
pub(super) fn is_for_scripts(package: &str, needed: &str) -> bool {
    FOR_SCRIPTS.contains(&needed) || OF_PACKAGES.contains(&(package, needed))
}

/// What to select: what is named, and what says which system it is.
pub(super) fn wanted(packages: &[String]) -> Vec<String> {
    let named = packages.iter().any(|name| name.split('=').next() == Some("base-files"));
    let base = (!named).then(|| "base-files".to_owned());
    base.into_iter().chain(packages.iter().cloned()).collect()
}

/// Makes the tree; the instructions for the image's configuration.
pub(super) fn lay_out(
    tree: &mut Tree,
    chosen: &[Chosen<'_>],
    made: Timestamp,
) -> Result<Vec<String>, Failure> {
    // What belongs to everybody is as `base-files` says.
    let (base, others): (Vec<_>, Vec<_>) = chosen.iter().partition(|one| one.package.name == "base-files");
    for one in base.into_iter().chain(others) {
        let opened = Opened::new(one)?;
        let clash = |there: &str| clash(chosen, there, one);
        opened.unpack(one.package.name, tree, &clash)?;
        record(tree, one, &opened)?;
    }
    for (path, mode) in [
        ("tmp", 0o1777),
        ("var/tmp", 0o1777),
        ("run", 0o755),
        ("root", 0o700),
        ("home", 0o755),
        ("etc", 0o755),
        ("var/lib/dpkg/status.d", 0o755),
    ] {
        tree.directory(path, mode);
    }
    tree.owned_directory("home/nonroot", 0o700, 65532);
    tree.symlink("var/run", "/run");
    tree.symlink("var/lock", "/run/lock");
    tree.directory("run/lock", 0o1777);
    for (path, content) in [("etc/passwd", PASSWD), ("etc/group", GROUP), ("etc/nsswitch.conf", NSSWITCH)] {
        if !tree.contains(path) {
            tree.file(path, 0o644, content.as_bytes())?;
        }
    }
    let has_certificates = certificates(tree)?;
    tree.file(sbom::PATH, 0o644, &sbom::document(chosen, made))?;
    let mut changes = vec![
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "WORKDIR /".to_owned(),
        format!("LABEL {}=/{}", sbom::LABEL, sbom::PATH),
    ];
    if has_certificates {
        changes.push(format!("ENV SSL_CERT_FILE=/{BUNDLE}"));
    }
    Ok(changes)
}

/// What dpkg would have noted, in a file of its own.
fn record(tree: &mut Tree, one: &Chosen<'_>, opened: &Opened) -> Result<(), Failure> {
    let control = opened.control()?;
    let name = one.package.name;
    let unusable =
        |reason: &str| Failure::Contents { package: one.package.full_name(), reason: reason.to_owned() };
    let text = control.get("control").ok_or_else(|| unusable("it has no control file"))?;
    let text = std::str::from_utf8(text).map_err(|_| unusable("its control file is not UTF-8"))?;
    let stanza = debian::control::single(text)
        .map_err(|source| unusable(&format!("its control file cannot be read: {source}")))?;
    // What the index says was decided on; the file must not be another's.
    if stanza.get("Package") != Some(name) || stanza.get("Version") != Some(one.package.version.as_str()) {
        return Err(unusable("its control file names another package"));
    }
    let mut status = String::new();
    for (field, value) in stanza.fields() {
        status.push_str(&format!("{field}: {value}\n"));
        if field == "Package" {
            status.push_str("Status: install ok installed\n");
        }
    }
    tree.file(&format!("var/lib/dpkg/status.d/{name}"), 0o644, status.as_bytes())?;
    if let Some(sums) = control.get("md5sums") {
        tree.file(&format!("var/lib/dpkg/status.d/{name}.md5sums"), 0o644, sums)?;
    }
    Ok(())
}

/// All certificates as one file, where the package has been chosen.
fn certificates(tree: &mut Tree) -> Result<bool, Failure> {
    const FOLDER: &str = "usr/share/ca-certificates/mozilla";
    let names: Vec<String> = tree.list(FOLDER).into_iter().filter(|name| name.ends_with(".crt")).collect();
    let mut bundle = Vec::new();
    for name in &names {
        bundle.extend(tree.content(&format!("{FOLDER}/{name}"), CERTIFICATE_LIMIT).unwrap_or_default());
        if bundle.last().is_some_and(|byte| *byte != b'\n') {
            bundle.push(b'\n');
        }
    }
    if !names.is_empty() {
        tree.file(BUNDLE, 0o644, &bundle)?;
    }
    Ok(!names.is_empty())
}

/// A package may overwrite files of those that it replaces.
fn clash(chosen: &[Chosen<'_>], there: &str, new: &Chosen<'_>) -> Clash {
    let old = chosen.iter().find(|one| one.package.name == there);
    match old {
        Some(old) if replaces(new, old) => Clash::Replace,
        Some(old) if replaces(old, new) => Clash::Keep,
        _ => Clash::Refuse,
    }
}

fn replaces(one: &Chosen<'_>, other: &Chosen<'_>) -> bool {
    let relations =
        parse_relations("Replaces", one.package.stanza.get("Replaces").unwrap_or("")).unwrap_or_default();
    relations
        .iter()
        .flatten()
        .any(|relation| relation.name == other.package.name && relation.admits(Some(&other.package.version)))
}
