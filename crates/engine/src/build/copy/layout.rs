//! What a layer is to hold: sources laid over a base, by BuildKit's rules. Nothing is read or written here but names.
//!
//! | source | destination | becomes |
//! |---|---|---|
//! | file | a directory, or with a slash at its end | a file in it, by the name of the source |
//! | file | anything else, or nothing | that |
//! | directory | a directory, or nothing | what is in it goes there, directories merged |
//! | directory | a file, a link | an error |
//! | file below a directory | a directory | an error |
//! | file below a directory | a file, a link | replaced |
//! | what an archive has | anything else | replaced |
//!
//! Links in the destination are followed within the tree; links that a copied directory would meet are not.
//!
//! Directories that are missing are made: root's or those of `--chown`, 0755 or what `--chmod` says in digits, which archives do not heed.
//!
//! A directory that the base has is no part of the layer unless the copy changes it: so a layer is the same on every base that
//! has the same directories.

use std::collections::BTreeMap;
use std::sync::Arc;

use image::tar::{Limits, Time};
use image::view::{ROOT, What};

use super::CopyError;
use super::mode::{Change, MADE};
use super::owner::Ids;
use super::select::Picked;
use crate::Result;
use crate::build::view::{At, Kind, Node, View, components, join};

/// Links on the way to one destination.
const LINK_LIMIT: usize = 40;
/// Members of a layer, as the reader of layers has it.
const MEMBERS: usize = 1_000_000;
/// The longest name of a file, in bytes.
const NAME: usize = 255;

/// See the head of the file.
pub(super) struct Layout {
    base: Arc<image::View>,
    /// What the layer has, by path relative to the root.
    pub(super) made: BTreeMap<Vec<u8>, Made>,
    /// How many sources there were.
    sources: usize,
    /// Something of the base is no directory any more, so that what it had below is gone.
    replaces: bool,
    rules: Rules,
}

/// How copies differ from what is copied.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Whose they are, instead of their owners'.
    pub(super) owner: Option<Ids>,
    pub(super) mode: Option<Change>,
    /// No time is later.
    pub(super) epoch: Option<i64>,
}

/// A member of the layer.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// Where it comes from, if it was not made for what is in it.
    pub(super) origin: Option<(View, Node)>,
    /// Which source that is: two of them have no file in common, though both have a name of it.
    pub(super) source: usize,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
}

/// What is at a path.
enum Look {
    Nothing,
    Directory,
    Link(Vec<u8>),
    Other,
}

impl Layout {
    pub(super) fn new(base: Arc<image::View>, rules: Rules) -> Self {
        Self { base, made: BTreeMap::new(), sources: 0, replaces: false, rules }
    }

    /// Lays a source over what is there.
    pub(super) fn add(&mut self, picked: &Picked, destination: &str) -> Result<()> {
        self.sources += 1;
        let directory = destination.ends_with('/');
        let parent = destination.rsplit_once('/').map_or("", |(parent, _)| parent);
        let ensured = self.resolve(if directory { destination } else { parent }.as_bytes())?;
        let mode = self.rules.mode.as_ref().map_or(MADE, Change::of_made);
        // Upon nothing it is not known which are missing: a layer of `--link` must not change those that are there in the end.
        let above = if self.base.children(ROOT).is_empty() { MADE } else { mode };
        self.make_directories(&ensured, above)?;
        let mut target = self.resolve(destination.as_bytes())?;
        let there = self.look(&target);
        let is_directory = picked.root.node.kind == Kind::Directory;
        let into = match there {
            Look::Directory => !(is_directory && picked.contents),
            Look::Nothing | Look::Link(_) | Look::Other => false,
        };
        // A tree that is copied whole (a repository) has no name of its own.
        if into {
            target = join(&target, &picked.name);
        }
        if is_directory && picked.contents && matches!(there, Look::Nothing) {
            self.make_directories(&target, mode)?;
        } else if let Some(at) = target.iter().rposition(|byte| *byte == b'/') {
            self.make_directories(&target[..at], above)?;
        }
        if is_directory && !matches!(self.look(&target), Look::Nothing | Look::Directory) {
            return Err(CopyError::ToNonDirectory { path: shown(&target) }.into());
        }
        for entry in &picked.entries {
            self.copy(&picked.view, &entry.node, join(&target, &entry.path), entry.path.is_empty())?;
        }
        Ok(())
    }

    fn copy(&mut self, view: &View, node: &Node, path: Vec<u8>, is_source: bool) -> Result<()> {
        let there = self.look(&path);
        if node.kind == Kind::Directory {
            match there {
                // That of the destination stays as it is.
                Look::Directory if is_source => return Ok(()),
                Look::Directory | Look::Nothing => {}
                Look::Link(_) | Look::Other => {
                    return Err(CopyError::ToNonDirectory { path: shown(&path) }.into());
                }
            }
        } else if matches!(there, Look::Directory) {
            return Err(CopyError::OverDirectory { path: shown(&path) }.into());
        }
        let made = self.made_of(view, node, true);
        self.put(path, made)
    }

    /// Lays what an archive has over what is there.
    pub(super) fn unpack(&mut self, view: &View, destination: &str) -> Result<()> {
        self.sources += 1;
        let target = self.resolve(destination.as_bytes())?;
        self.make_directories(&target, MADE)?;
        self.unpack_directory(view, &view.root(), &target)
    }

    fn unpack_directory(&mut self, view: &View, directory: &Node, target: &[u8]) -> Result<()> {
        for (name, node) in view.children(directory)?.iter() {
            let path = join(target, name);
            let there = self.look(&path);
            if node.kind != Kind::Directory {
                if matches!(there, Look::Directory) {
                    self.remove_below(&path);
                }
                let made = self.made_of(view, &node, false);
                self.put(path, made)?;
                continue;
            }
            let mut inner = path;
            match &there {
                // One that the archive has only because of what is in it.
                Look::Directory if is_implied(view, &node) => {}
                Look::Link(_) if is_implied(view, &node) => {
                    inner = self.resolve(&inner)?;
                    self.make_directories(&inner, MADE)?;
                }
                Look::Nothing | Look::Directory | Look::Link(_) | Look::Other => {
                    self.replaces |= !matches!(there, Look::Nothing | Look::Directory);
                    let made = self.made_of(view, &node, false);
                    self.put(inner.clone(), made)?;
                }
            }
            self.unpack_directory(view, &node, &inner)?;
        }
        Ok(())
    }

    /// What was laid below a path goes, and what the base has there is hidden.
    fn remove_below(&mut self, path: &[u8]) {
        self.replaces = true;
        let below = [path, b"/"].concat();
        let gone: Vec<Vec<u8>> = self
            .made
            .range(below.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&below))
            .cloned()
            .collect();
        for path in gone {
            self.made.remove(&path);
        }
    }

    fn made_of(&self, view: &View, node: &Node, changes_mode: bool) -> Made {
        let is_directory = node.kind == Kind::Directory;
        let change = self.rules.mode.as_ref().filter(|_| changes_mode && node.kind != Kind::Symlink);
        let mode = change.map_or(node.mode, |change| change.apply(node.mode, is_directory));
        let (uid, gid) = self.rules.owner.unwrap_or((node.uid, node.gid));
        let mtime = self.clamped(view.mtime(node));
        let (origin, source) = (Some((view.clone(), node.clone())), self.sources);
        Made { origin, source, kind: node.kind, mode, uid, gid, mtime }
    }

    fn clamped(&self, time: Time) -> Time {
        match self.rules.epoch {
            Some(epoch) if time.secs >= epoch => Time { secs: epoch, nanos: 0 },
            _ => time,
        }
    }

    fn put(&mut self, path: Vec<u8>, made: Made) -> Result<()> {
        // The root of the tree is none of a layer's members here.
        if !path.is_empty() {
            if let Some(reason) = unfit(&path) {
                return Err(CopyError::Name { path: shown(&path), reason }.into());
            }
            self.made.insert(path, made);
        }
        if self.made.len() > MEMBERS {
            return Err(CopyError::ManyFiles { limit: MEMBERS as u64 }.into());
        }
        Ok(())
    }

    /// Makes a directory and those above it, where they are missing, with these permission bits; tells whether any was.
    pub(super) fn make_directories(&mut self, path: &[u8], mode: u32) -> Result<bool> {
        let mut made_any = false;
        let mut here: Vec<u8> = Vec::new();
        for name in components(path) {
            here = join(&here, name);
            match self.look(&here) {
                Look::Directory => {}
                Look::Nothing => {
                    let (uid, gid) = self.rules.owner.unwrap_or_default();
                    let mtime = Time { secs: self.rules.epoch.unwrap_or(0), nanos: 0 };
                    let kind = Kind::Directory;
                    self.put(here.clone(), Made { origin: None, source: 0, kind, mode, uid, gid, mtime })?;
                    made_any = true;
                }
                Look::Link(_) | Look::Other => return Err(CopyError::Mkdir { path: shown(path) }.into()),
            }
        }
        Ok(made_any)
    }

    /// A path after all links on the way and the last one, as far as there is anything.
    pub(super) fn resolve(&self, path: &[u8]) -> Result<Vec<u8>> {
        let mut todo: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                done.pop();
                continue;
            }
            done.push(name);
            let Look::Link(target) = self.look(&done.join(&b'/')) else { continue };
            links += 1;
            if links > LINK_LIMIT {
                return Err(CopyError::Links { path: shown(path) }.into());
            }
            done.pop();
            if target.first() == Some(&b'/') {
                done.clear();
            }
            todo.extend(components(&target).rev().map(<[u8]>::to_vec));
        }
        Ok(done.join(&b'/'))
    }

    /// What is at a path, none of whose directories is a link.
    fn look(&self, path: &[u8]) -> Look {
        if path.is_empty() {
            return Look::Directory;
        }
        if let Some(made) = self.made.get(path) {
            return match (made.kind, &made.origin) {
                (Kind::Directory, _) => Look::Directory,
                (Kind::Symlink, Some((view, node))) => Look::Link(view.target(node).unwrap_or_default()),
                _ => Look::Other,
            };
        }
        if self.replaces && self.is_below_a_file(path) {
            return Look::Nothing;
        }
        let found = components(path).try_fold(ROOT, |directory, name| self.base.find(directory, name));
        match found.and_then(|node| self.base.named(node)).map(|named| named.what) {
            None => Look::Nothing,
            Some(What::Directory) => Look::Directory,
            Some(What::Symlink(target)) => Look::Link(target.to_owned()),
            Some(What::File(_) | What::CharDevice(_) | What::BlockDevice(_) | What::Fifo) => Look::Other,
        }
    }

    fn is_below_a_file(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut above = slashes.filter_map(|at| self.made.get(&path[..at]));
        above.any(|made| made.kind != Kind::Directory)
    }
}

/// Whether a directory of an archive has no entry of its own, as far as that can be told.
fn is_implied(view: &View, node: &Node) -> bool {
    let (View::Layers(view), At::Layered(number)) = (view, &node.at) else { return false };
    let Some(named) = view.named(*number) else { return false };
    (node.mode, node.uid, node.gid) == (0o755, 0, 0)
        && named.mtime == Time::default()
        && view.xattrs(&named).is_empty()
}

/// Why no layer may have a path, whose directories may be in one: whoever reads the layer would refuse it, or take it for a deletion.
fn unfit(path: &[u8]) -> Option<&'static str> {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let depth = path.iter().filter(|&&byte| byte == b'/').count() + 1;
    let limits = Limits::default();
    if name.starts_with(b".wh.") {
        Some("a name that begins with .wh. is a mark in a layer")
    } else if path.contains(&0) {
        Some("a name has a zero byte")
    } else if name.len() > NAME {
        Some("a name is longer than 255 bytes")
    } else if path.len() > limits.path_bytes || depth > limits.path_depth {
        Some("its path is too long")
    } else {
        None
    }
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path).trim_start_matches('/'))
}
