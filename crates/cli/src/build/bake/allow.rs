//! What the targets of a file ask for has to be allowed by who calls, for somebody else may have written it.
//!
//! | what | `--allow` |
//! |---|---|
//! | the host's network, privileges, a device | `network.host`, `security.insecure`, `device[=name]` |
//! | the caller's own agent | `ssh` |
//! | reading outside of this folder: caches, secrets, keys | `fs.read=path`, `fs=path` |
//! | writing outside of this folder: outputs, caches | `fs.write=path`, `fs=path` |
//!
//! Paths count where they lead by now, links followed. `BUILDX_BAKE_ENTITLEMENTS_FS=0` allows all paths and the agent. A file from
//! elsewhere may not use a folder as context that is not below this one, unless `BAKE_ALLOW_REMOTE_FS_ACCESS=1` says so.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use ::bake::{Entry, Plan, Target};
use rustix::fs::{Mode, OFlags};

use super::definition::{HERE, Remote};
use crate::build::fault::Fault;
use crate::build::place::is_remote;
use crate::context::absolute;
use crate::error::Result;
use crate::flags::Parsed;
use crate::flags::parse::parse_bool;
use crate::values::environment;

/// What is allowed.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    words: Vec<String>,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

/// Refuses what is not allowed.
pub(super) fn check(parsed: &Parsed, plan: &Plan, remote: Option<&Remote>, is_foreign: bool) -> Result<()> {
    let given = parsed.values("allow", |text| {
        text.split(',').filter(|one| !one.is_empty()).map(known).collect::<std::result::Result<Vec<_>, _>>()
    })?;
    let mut allowed = Allowed::of(given.into_iter().flatten())?;
    let here = real(&absolute(".")?);
    allowed.read.push(here.clone());
    allowed.write.push(here.clone());
    let limits_paths = flag("BUILDX_BAKE_ENTITLEMENTS_FS")?.unwrap_or(true);
    let limits_contexts = is_foreign && !flag("BAKE_ALLOW_REMOTE_FS_ACCESS")?.unwrap_or(false);
    let (mut missing, mut who) = (BTreeSet::new(), BTreeSet::new());
    for (name, target) in &plan.targets {
        let mut wanted = words(target);
        if limits_paths {
            wanted.extend(paths(target, &allowed)?);
        }
        if limits_contexts {
            check_contexts(name, target, remote.is_some(), &here)?;
        }
        for wanted in wanted.into_iter().filter(|wanted| !allowed.has(wanted)) {
            who.insert(name.clone());
            missing.insert(wanted);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let list = |all: BTreeSet<String>, between: &str| all.into_iter().collect::<Vec<_>>().join(between);
    let flags = missing.iter().map(|one| format!("--allow={one}")).collect::<Vec<_>>().join(" ");
    Err(Fault::NotAllowed { targets: list(who, ", "), wanted: list(missing, ", "), flags }.into())
}

/// A word of `--allow`, if there is such.
pub(super) fn known(text: &str) -> std::result::Result<String, String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let is_fine = match key {
        "network.host" | "security.insecure" | "ssh" => !text.contains('='),
        "device" | "image" | "image.load" | "image.push" => true,
        "fs" | "fs.read" | "fs.write" => !value.is_empty(),
        _ => false,
    };
    if is_fine { Ok(text.to_owned()) } else { Err(format!("unknown entitlement {text:?}")) }
}

/// Whether a word of `--allow` is one that a build knows, too.
pub(super) fn is_of_builds(word: &str) -> bool {
    let key = word.split('=').next().unwrap_or_default();
    matches!(key, "network.host" | "security.insecure" | "device")
}

impl Allowed {
    fn of(words: impl Iterator<Item = String>) -> Result<Allowed> {
        let mut allowed = Allowed::default();
        for word in words {
            if let Some((key @ ("fs" | "fs.read" | "fs.write"), path)) = word.split_once('=') {
                let path = if path == "*" { PathBuf::from("/") } else { real(&absolute(path)?) };
                if key != "fs.write" {
                    allowed.read.push(path.clone());
                }
                if key != "fs.read" {
                    allowed.write.push(path);
                }
            }
            allowed.words.push(word);
        }
        Ok(allowed)
    }

    fn has(&self, wanted: &str) -> bool {
        self.words.iter().any(|given| given == wanted || wanted.starts_with(&format!("{given}=")))
    }
}

/// What a target asks for by words.
fn words(target: &Target) -> Vec<String> {
    let host = target.network.as_deref() == Some("host");
    target.entitlements.iter().cloned().chain(host.then(|| "network.host".to_owned())).collect()
}

/// What a target asks for that is not allowed, of the caller's files and agent.
fn paths(target: &Target, allowed: &Allowed) -> Result<Vec<String>> {
    let local = |entry: &&Entry| matches!(entry.kind.as_str(), "local" | "tar");
    let value = |key: &'static str| move |entry: &Entry| entry.attributes.get(key).cloned();
    let outputs = target.output.iter().filter_map(value("dest")).filter(|dest| dest != "-");
    let writes = outputs.chain(target.cache_to.iter().filter(local).filter_map(value("dest")));
    let caches = target.cache_from.iter().filter(local).filter_map(value("src"));
    let secrets = target.secret.iter().filter_map(|secret| secret.source.clone());
    let keys = target.ssh.iter().flat_map(|ssh| ssh.paths.clone());
    let mut wanted = Vec::new();
    for (kind, list, below) in [
        ("fs.write", writes.collect::<Vec<_>>(), &allowed.write),
        (
            "fs.read",
            caches.chain(secrets).chain(keys).filter(|path| !path.is_empty()).collect(),
            &allowed.read,
        ),
    ] {
        for path in list {
            let path = real(&absolute(path)?);
            if !below.iter().any(|allowed| path.starts_with(allowed)) {
                wanted.push(format!("{kind}={}", path.display()));
            }
        }
    }
    if target.ssh.iter().any(|ssh| ssh.paths.iter().all(String::is_empty)) {
        wanted.push("ssh".to_owned());
    }
    Ok(wanted)
}

/// Whether a path leads to what is below this folder.
pub(super) fn is_below_here(path: &str) -> Result<bool> {
    Ok(real(&absolute(path)?).starts_with(real(&absolute(".")?)))
}

/// Refuses folders of this machine that a file from elsewhere names and that are not below this one. Where its own folder is elsewhere,
/// only what is said to be here is.
fn check_contexts(name: &str, target: &Target, has_folder: bool, here: &Path) -> Result<()> {
    let is_here = |path: &&str| !has_folder || path.starts_with(HERE);
    let is_folder = |path: &&str| {
        path.starts_with(HERE) || !(path.contains("://") || path.starts_with("target:") || is_remote(path))
    };
    let contexts = target.contexts.values().map(String::as_str).filter(is_here).filter(is_folder);
    let main = Some(target.context.as_str()).filter(|_| target.is_here || !has_folder);
    let file = Some(target.dockerfile.as_str()).filter(is_here);
    let named = contexts.map(|path| path.strip_prefix(HERE).unwrap_or(path)).chain(main);
    // Relative to the context, unless it is said to be here.
    let file = file.map(|file| match file.strip_prefix(HERE) {
        Some(file) => PathBuf::from(file),
        None => Path::new(&target.context).join(file),
    });
    let file = file.and_then(|file| file.to_str().map(str::to_owned));
    for path in named.chain(file.as_deref()).filter(|path| !is_remote(path)) {
        if !real(&absolute(path)?).starts_with(here) {
            let reason = format!(
                "{path} is outside of this folder: a file from elsewhere may use it if BAKE_ALLOW_REMOTE_FS_ACCESS=1 is set"
            );
            return Err(Fault::Target { target: name.to_owned(), reason }.into());
        }
    }
    Ok(())
}

/// A variable that is true or false.
fn flag(variable: &'static str) -> Result<Option<bool>> {
    let Some(value) = environment::caller(variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let reason = "not a boolean (true or false)";
    Ok(Some(parse_bool(&value).ok_or(Fault::Variable { variable, value, reason })?))
}

/// Where a path leads: that of what is there, as the kernel tells it, and what is not there yet, below it.
fn real(path: &Path) -> PathBuf {
    let mut missing = Vec::new();
    for above in path.ancestors() {
        if let Some(found) = opened(above) {
            let mut found = found;
            for name in missing.into_iter().rev() {
                match name {
                    Component::ParentDir => drop(found.pop()),
                    Component::Normal(name) => found.push(name),
                    Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
                }
            }
            return found;
        }
        missing.extend(above.components().next_back());
    }
    path.to_owned()
}

fn opened(path: &Path) -> Option<PathBuf> {
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let link = format!("/proc/self/fd/{}", opened.as_raw_fd());
    let name = rustix::fs::readlink(link, Vec::new()).ok()?;
    Some(PathBuf::from(OsString::from_vec(name.into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_ones() {
        for text in
            ["network.host", "security.insecure", "device", "device=v/c=n", "ssh", "fs=/x", "fs.read=*"]
        {
            assert_eq!(known(text).unwrap(), text);
        }
        for text in ["all", "fs", "fs.write=", "network.host=x", ""] {
            assert!(known(text).is_err(), "{text}");
        }
        let allowed = Allowed::of(["device=a/b".to_owned(), "device".to_owned()].into_iter()).unwrap();
        assert!(allowed.has("device=c/d=e") && !allowed.has("network.host"));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "tests handle their own files")]
    fn a_path_is_where_its_links_lead() {
        let folder = testkit::Scratch::new();
        let base = real(&folder);
        std::fs::create_dir(folder.join("in")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.join("in/out")).unwrap();
        for (path, want) in [
            ("in/out/passwd", PathBuf::from("/etc/passwd")),
            ("in/out/none/x", PathBuf::from("/etc/none/x")),
            ("in/new/x", base.join("in/new/x")),
            ("in/new/../../../x", base.parent().unwrap().join("x")),
        ] {
            assert_eq!(real(&folder.join(path)), want, "{path}");
        }
    }
}
