//! The variant `minbase`: all essential packages, those of priority required, `apt`, and what is named; configured.
//!
//! ```text
//! files of the core, unpacked by us ─► image without a name ─► container: no network, package files mounted read-only
//!     dpkg --install the few that the others' scripts need (base-passwd first, as debootstrap does)
//!     dpkg --unpack the core, dpkg --configure -a
//!     dpkg --unpack the others by what they pre-depend on, dpkg --configure -a
//! ─► all its files ─► what depends on this run taken away ─► the image
//! ```
//!
//! So what runs is the release's own dpkg with the packages' own scripts, confined as any container is, and dpkg keeps its own
//! records: `dpkg -l`, `apt` and scanners find what they know. That it was us who unpacked the core first changes nothing: dpkg
//! unpacks it again.
//!
//! **Equal digests.** Taken away is what depends on time or host: logs, caches of the loader and of debconf's former state, backups
//! (`passwd-`), the machine's id, what lies in `/run`, `/tmp` and `/dev`. Days in `/etc/shadow` are those of the archive, which
//! `SOURCE_DATE_EPOCH` tells the scripts, too. A package whose script makes a key, or writes the time into a file of its own, gives
//! another digest each time: no such package is in the core.
//!
//! **For layers.** What the image's users install goes into layers: apt keeps nothing that it can fetch again, dpkg does not wait for
//! the disk, and no script starts a service. The files have the names that the images of the field give them, by which Dockerfiles
//! take them away.
//!
//! The container and its image go when this ends, whatever the outcome: see [`room`].

use std::path::Path;
use std::time::Duration;

use debian::{Package, Selection, Universe, hex};
use oci::Timestamp;

use super::error::BootstrapError as Failure;
use super::package::Opened;
use super::room::{Furniture, Room};
use super::sources::Plan;
use super::tree::{Clash, Tree};
use super::{Chosen, room, sbom};
use crate::request::RemoveImage;
use crate::{Engine, Result};

/// Where the package files are mounted.
const FILES: &str = "/var/cache/bootstrap";
/// What the scripts of the others need, in this order (debootstrap's).
const FIRST: [&str; 7] = ["base-passwd", "base-files", "dpkg", "libc6", "perl-base", "mawk", "debconf"];
/// The root is merged from the beginning, so nothing is needed that would merge it (as debootstrap decides).
pub(super) const PREFERRED: [&str; 1] = ["usr-is-merged"];

/// Files and folders that depend on this run.
const TRANSIENT: [&str; 25] = [
    "var/cache/bootstrap",
    ".dockerenv",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/.pwd.lock",
    "var/cache/ldconfig/aux-cache",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/debconf/passwords.dat-old",
    "var/lib/dpkg/available",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/log/dpkg.log",
    "var/log/alternatives.log",
];
/// Folders that are there for what comes and goes.
const EMPTIED: [&str; 7] = ["dev", "proc", "sys", "run", "tmp", "var/tmp", "var/log/apt"];
/// What of these is seen from within depends on how the root was put together.
const MOUNTED_OVER: [&str; 3] = ["dev", "proc", "sys"];
const SHADOW_LIMIT: u64 = 1 << 20;
/// Whoever would start a service is told not to: in a container there is one program, which the image names.
const POLICY: (&str, &[u8]) = ("usr/sbin/policy-rc.d", b"#!/bin/sh\nexit 101\n");
/// What is different where packages are installed into layers. Files of packages and indexes made from lists would stay in them;
/// the file has the name that Dockerfiles remove when they keep both in a cache. A layer that is not finished is thrown away, so
/// nothing is gained by waiting for the disk after each file.
const FOR_LAYERS: [(&str, &[u8]); 4] = [
    (
        "etc/apt/apt.conf.d/docker-clean",
        b"APT::Keep-Downloaded-Packages \"false\";\n\
          Binary::apt::APT::Keep-Downloaded-Packages \"false\";\n\
          Dir::Cache::pkgcache \"\";\n\
          Dir::Cache::srcpkgcache \"\";\n",
    ),
    ("etc/apt/apt.conf.d/docker-no-languages", b"Acquire::Languages \"none\";\n"),
    ("etc/apt/apt.conf.d/docker-autoremove-suggests", b"APT::AutoRemove::SuggestsImportant \"false\";\n"),
    ("etc/dpkg/dpkg.cfg.d/docker-apt-speedup", b"force-unsafe-io\n"),
];

/// What is installed, in which order.
pub(super) struct Parts<'s, 'u> {
    core: Vec<&'s Chosen<'u>>,
    /// In stages.
    others: Vec<Vec<&'s Chosen<'u>>>,
}

impl<'s, 'u> Parts<'s, 'u> {
    pub(super) fn new(
        selection: &Selection,
        universe: &Universe<'_>,
        chosen: &'s [Chosen<'u>],
    ) -> Parts<'s, 'u> {
        let is = |one: &Chosen<'_>, at: usize| one.package.name == universe.packages()[at].name;
        let in_core = |one: &Chosen<'_>| selection.core.iter().any(|at| is(one, *at));
        let others = selection.stages.iter().map(|stage| {
            let of_stage = |one: &&Chosen<'_>| !in_core(one) && stage.iter().any(|at| is(one, *at));
            chosen.iter().filter(of_stage).collect::<Vec<_>>()
        });
        let others = others.filter(|stage| !stage.is_empty()).collect();
        Parts { core: chosen.iter().filter(|one| in_core(one)).collect(), others }
    }
}

/// The files of the core, with which dpkg can run.
pub(super) fn lay_out(tree: &mut Tree, parts: &Parts<'_, '_>) -> std::result::Result<(), Failure> {
    let (base, others): (Vec<_>, Vec<_>) =
        parts.core.iter().partition(|one| one.package.name == "base-files");
    for one in base.into_iter().chain(others) {
        // Dpkg decides whose a file is, when it unpacks them again.
        Opened::new(one)?.unpack(one.package.name, tree, &|_| Clash::Replace)?;
    }
    tree.directory("var/lib/dpkg/info", 0o755);
    tree.directory("var/lib/dpkg/updates", 0o755);
    tree.directory(FILES.trim_start_matches('/'), 0o755);
    tree.directory("tmp", 0o1777);
    tree.directory("root", 0o700);
    tree.symlink("etc/localtime", "/usr/share/zoneinfo/UTC");
    // Scripts ask the installed dpkg what it can, before it is.
    let dpkg = parts.core.iter().find(|one| one.package.name == "dpkg").map(|one| one.package);
    let feigned = dpkg.map_or_else(String::new, |dpkg: &Package<'_>| {
        format!(
            "Package: dpkg\nStatus: install ok installed\nMaintainer: unknown\nArchitecture: {}\nVersion: {}\n\
             Description: not yet installed\n\n",
            dpkg.architecture, dpkg.version
        )
    });
    tree.file("var/lib/dpkg/status", 0o644, feigned.as_bytes())?;
    tree.file("var/lib/dpkg/available", 0o644, b"")?;
    tree.file("var/lib/dpkg/info/dpkg.list", 0o644, b"")?;
    tree.file(POLICY.0, 0o755, POLICY.1)?;
    Ok(())
}

/// What the container runs. All names in it are digests.
fn script(parts: &Parts<'_, '_>) -> String {
    let file = |one: &&Chosen<'_>| format!("{FILES}/{}.deb", hex(&one.package.sha256));
    let files = |all: &[&Chosen<'_>]| all.iter().map(file).collect::<Vec<_>>().join(" ");
    // By its path: a shell may have a command of that name within.
    let mut script = "set -e\nd='/usr/bin/dpkg --force-unsafe-io --force-confold'\n".to_owned();
    for name in FIRST {
        for one in parts.core.iter().filter(|one| one.package.name == name) {
            script += &format!("$d --force-depends --install {}\n", file(one));
        }
    }
    script += &format!("$d --force-depends --unpack {}\n", files(&parts.core));
    script += "$d --force-depends --force-configure-any --configure -a\n";
    for stage in &parts.others {
        // What a stage must find configured is in those before it: dpkg is told to look away, and then to finish.
        script += &format!("$d --force-depends --unpack {}\n", files(stage));
        script += "$d --force-depends --configure -a\n";
    }
    script + "$d --configure -a\na=$(/usr/bin/dpkg --audit)\nif [ -n \"$a\" ]; then echo \"$a\"; exit 1; fi\n"
}

impl Engine {
    /// What packages are after their scripts have run.
    pub(super) fn configured(
        &self,
        tree: &Tree,
        parts: &Parts<'_, '_>,
        (files, limit): (&Path, Duration),
        plan: &Plan,
        made: Timestamp,
    ) -> Result<Tree> {
        let image = self.import_tree(tree, plan, &[room::mark()], made, None)?;
        let configured =
            self.configure(&image.id, parts, &Furniture { files: (files, FILES), plan, made }, limit);
        let removed = self.remove_image(&image.id, &RemoveImage { force: true, ..RemoveImage::default() });
        let configured = configured?;
        removed?;
        Ok(configured)
    }

    fn configure(
        &self,
        image: &str,
        parts: &Parts<'_, '_>,
        furniture: &Furniture<'_>,
        limit: Duration,
    ) -> Result<Tree> {
        let mut room = Room::open(self, image, furniture)?;
        let configured = room.run(&script(parts), limit).and_then(|()| room.files(furniture.plan));
        let closed = room.close();
        let configured = configured?;
        closed?;
        Ok(configured)
    }
}

/// Takes away what depends on this run; the instructions for the image's configuration.
pub(super) fn tidy(
    tree: &mut Tree,
    plan: &Plan,
    chosen: &[Chosen<'_>],
    made: Timestamp,
) -> std::result::Result<Vec<String>, Failure> {
    for path in TRANSIENT {
        tree.remove(path);
    }
    for folder in EMPTIED {
        for name in tree.list(folder) {
            tree.remove(&format!("{folder}/{name}"));
        }
    }
    for path in MOUNTED_OVER {
        tree.remove(path);
        tree.directory(path, 0o755);
    }
    tree.directory("run/lock", 0o1777);
    // Empty: whoever boots it is given one of their own.
    tree.rewrite("etc/machine-id", b"")?;
    if let Some(shadow) = tree.content("etc/shadow", SHADOW_LIMIT) {
        tree.rewrite("etc/shadow", &days_clamped(&shadow, made.seconds() / 86_400))?;
    }
    for (path, content) in FOR_LAYERS {
        tree.file(path, 0o644, content)?;
    }
    if let Some(text) = sources_text(plan) {
        tree.file("etc/apt/sources.list.d/bootstrap.sources", 0o644, text.as_bytes())?;
    }
    tree.file(sbom::PATH, 0o644, &sbom::document(chosen, made))?;
    let shell = if chosen.iter().any(|one| one.package.name == "bash") { "bash" } else { "sh" };
    Ok(vec![
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("CMD [\"{shell}\"]"),
        format!("LABEL {}=/{}", sbom::LABEL, sbom::PATH),
    ])
}

/// The third field of a line of shadow(5): the day on which the password was changed.
fn days_clamped(shadow: &[u8], latest: i64) -> Vec<u8> {
    let text = String::from_utf8_lossy(shadow);
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut fields: Vec<&str> = line.split(':').collect();
        let day = latest.to_string();
        if let Some(field) = fields.get_mut(2)
            && field.parse::<i64>().is_ok_and(|found| found > latest)
        {
            *field = &day;
        }
        out.push_str(&fields.join(":"));
        out.push('\n');
    }
    out.into_bytes()
}

/// What apt is told, where there is something that can be reached from a container.
fn sources_text(plan: &Plan) -> Option<String> {
    let mut text = String::new();
    for source in plan.sources.iter().filter(|source| !source.url.starts_with("file:")) {
        text += &format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n",
            source.url,
            source.suite,
            source.components.join(" ")
        );
        // The package that has the distribution's keys belongs to the core; keys of the user's are theirs to bring.
        if plan.keyring.starts_with("/usr/share/keyrings") {
            text += &format!("Signed-By: {}\n", plan.keyring.display());
        }
        text.push('\n');
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_shadow_are_not_later_than_the_archive() {
        let shadow = b"root:*:20700:0:99999:7:::\nold:!:100::::::\nodd\n";
        assert_eq!(days_clamped(shadow, 20_600), b"root:*:20600:0:99999:7:::\nold:!:100::::::\nodd\n");
    }
}
