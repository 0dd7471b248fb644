//! COPY, ADD and WORKDIR: layers of files that others have, made without a mount.
//!
//! ```text
//! select ─► what is taken ─► key: its digest, the content of files hashed by all processors (content)
//!                │
//!                └─► layout over the merged tree of the base ─► write: one tar, sorted, straight into the store (perform)
//! ```
//!
//! A file is read twice, for its digest and into the layer, the second time from the page cache; nothing is synced but the
//! layer.

mod archive;
mod error;
mod key;
mod layout;
mod mode;
mod owner;
mod select;
#[cfg(test)]
mod tests;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use build::{Record, Step};
use dockerfile::ignore::Matcher;
use dockerfile::lower::{CopyOp, Selection};
use image::LoadedLayer;
use image::tar::{Body, END, Member, Time, padding, write_member};
use oci::{DiffId, Digest};

pub use error::CopyError;
pub(super) use key::Digests;

use self::key::Fields;
use self::layout::{Layout, Rules};
use self::mode::Change;
use self::select::{Entry, Picked};
use super::session::Session;
use super::tree::Tree;
use super::view::{Kind, View};
use crate::Result;
use crate::images::failed;

/// The longest user file that is read.
const USERS_LIMIT: u64 = 1 << 20;

/// Layers that were made of parts of contexts in a session, by what is in them.
#[derive(Debug, Default)]
pub(super) struct Parts(Mutex<Vec<(Digest, LoadedLayer)>>);

/// The digest of all that a copy gets from its inputs, the first of which is its base.
pub(super) fn content(
    session: &Session<'_>,
    op: &CopyOp,
    inputs: &[Tree],
    step: &Step<'_>,
) -> Result<Digest> {
    let taken = taken_of(session, (op, &select::select(session, op, inputs)?), step)?;
    Ok(content_upon(inputs.first(), &taken))
}

/// The same, of what it takes.
pub(super) fn content_upon(base: Option<&Tree>, taken: &Digest) -> Digest {
    let mut fields = Fields::new("copy 3");
    fields.add(base.map(Tree::chain).map_or_else(String::new, |chain| chain.to_string()).as_bytes());
    fields.add(taken.as_str().as_bytes());
    fields.finish()
}

/// The digest of what a copy takes of some of its inputs.
pub(super) fn taken(
    session: &Session<'_>,
    op: &CopyOp,
    given: &[Option<Tree>],
    step: &Step<'_>,
) -> Result<Digest> {
    let is_given = |selection: &&Selection| given.get(selection.input).is_some_and(Option::is_some);
    let selections = op.selections.iter().filter(is_given).cloned().collect();
    let op = CopyOp { selections, ..op.clone() };
    let inputs: Vec<Tree> = given.iter().map(|tree| tree.clone().unwrap_or_else(Tree::empty)).collect();
    taken_of(session, (&op, &select::select(session, &op, &inputs)?), step)
}

fn taken_of(session: &Session<'_>, (op, all): (&CopyOp, &[Picked]), step: &Step<'_>) -> Result<Digest> {
    key::hash(session, all, step)?;
    let mut fields = Fields::new("taken 1");
    fields.add(op.destination.as_bytes());
    for text in [&op.owner, &op.mode] {
        fields.add(text.as_deref().unwrap_or_default().as_bytes());
    }
    fields.add(session.epoch().map_or_else(String::new, |epoch| epoch.to_string()).as_bytes());
    for picked in all {
        key::add(&mut fields, session, picked)?;
    }
    Ok(fields.finish())
}

/// Makes the layer of a copy.
pub(super) fn perform(
    session: &Session<'_>,
    op: &CopyOp,
    inputs: &[Tree],
    step: &Step<'_>,
) -> Result<Record> {
    let all = select::select(session, op, inputs)?;
    perform_with(session, (op, &all), inputs, step)
}

fn perform_with(
    session: &Session<'_>,
    (op, all): (&CopyOp, &[Picked]),
    inputs: &[Tree],
    step: &Step<'_>,
) -> Result<Record> {
    // Known from the key, unless nobody asked for it.
    key::hash(session, all, step)?;
    let base = base(session, inputs)?;
    let owner = op.owner.as_deref().map(|spec| resolve_owner(spec, &base)).transpose()?;
    let mode = op.mode.as_deref().map(Change::parse).transpose()?;
    let mut layout = Layout::new(base, Rules { owner, mode, epoch: session.epoch() });
    for picked in all {
        match archive::open(session, picked, step)? {
            Some(archive) => layout.unpack(&archive, &op.destination)?,
            None => layout.add(picked, &op.destination)?,
        }
    }
    write::write(session, &layout, step)
}

/// Makes a directory and those above it, as far as the base lacks them.
pub(super) fn make_directory(
    session: &Session<'_>,
    path: &str,
    owner: Option<&str>,
    inputs: &[Tree],
    step: &Step<'_>,
) -> Result<Record> {
    let base = base(session, inputs)?;
    let owner = owner.map(|spec| resolve_owner(spec, &base)).transpose()?;
    let mut layout = Layout::new(base, Rules { owner, mode: None, epoch: session.epoch() });
    let path = layout.resolve(path.as_bytes())?;
    layout.make_directories(&path, mode::MADE)?;
    write::write(session, &layout, step)
}

/// Makes the layer of a document, which is all that is in it.
pub(super) fn inline(session: &Session<'_>, name: &str, content: &str, mode: u32) -> Result<Record> {
    use std::io::Write as _;
    const ACTION: &str = "write a document";
    let mtime = Time { secs: session.epoch().unwrap_or(0), nanos: 0 };
    let (path, body) = (name.trim_start_matches('/').as_bytes(), Body::File(content.len() as u64));
    let mut tar = Vec::new();
    write_member(&Member { path, body, mode, uid: 0, gid: 0, mtime, xattrs: &[] }, &mut tar);
    tar.extend_from_slice(content.as_bytes());
    tar.resize(tar.len() + padding(content.len() as u64), 0);
    tar.extend_from_slice(&END);
    let mut layer = session.draft.layer().map_err(failed(ACTION))?;
    let place = layer.path().to_owned();
    layer.write_all(&tar).map_err(|source| {
        failed(ACTION)(linux::file::Error { action: "write", path: place, source }.into())
    })?;
    let layer = layer.hand_in().map_err(failed(ACTION))?;
    Ok(Record { layer: layer.diff_id, size: layer.size })
}

/// A tree of layers that has, at the same path, what a tree has at a path, links on the way followed. A tree of layers is its
/// own; of a caller's files this makes a layer, the same for all that have the same content.
pub(super) fn as_layer(session: &Session<'_>, tree: &Tree, path: &str, step: &Step<'_>) -> Result<Tree> {
    if matches!(tree, Tree::Layers(_)) {
        return Ok(tree.clone());
    }
    let op = part(path);
    let inputs = [Tree::empty(), tree.clone()];
    let all = select_whole(session, &op, &inputs)?;
    let digest = taken_of(session, (&op, &all), step)?;
    let known = || {
        let parts = session.parts.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().find(|(known, _)| *known == digest).map(|(_, layer)| layer.clone())
    };
    if let Some(layer) = known() {
        return Ok(Tree::empty().with(layer));
    }
    let Record { layer, size } = perform_with(session, (&op, &all), &inputs, step)?;
    let layer = LoadedLayer { diff_id: layer, size, blob: None };
    session.parts.0.lock().unwrap_or_else(PoisonError::into_inner).push((digest, layer.clone()));
    Ok(Tree::empty().with(layer))
}

/// A layer that has at `/data`, and nothing else, what a tree has at a path, links on the way and at its end followed.
pub(super) fn as_data(session: &Session<'_>, tree: &Tree, path: &str, step: &Step<'_>) -> Result<DiffId> {
    let (op, inputs) = data(session, tree, path)?;
    Ok(perform(session, &op, &inputs, step)?.layer)
}

/// The digest of what [`as_data`] has, whatever the path to it is.
pub(super) fn data_content(
    session: &Session<'_>,
    tree: &Tree,
    path: &str,
    step: &Step<'_>,
) -> Result<Digest> {
    let (op, inputs) = data(session, tree, path)?;
    content(session, &op, &inputs, step)
}

fn data(session: &Session<'_>, tree: &Tree, path: &str) -> Result<(CopyOp, [Tree; 2])> {
    let found = session.view(tree)?.resolve(path.as_bytes(), true)?;
    let found = found.ok_or_else(|| CopyError::NotFound { path: path.to_owned() })?;
    let path = String::from_utf8_lossy(&found.path).into_owned();
    let selection = Selection { input: 1, path, parents: None, unpack: false, local: false };
    let op = CopyOp { selections: vec![selection], destination: "/data".to_owned(), ..part("/") };
    Ok((op, [Tree::empty(), tree.clone()]))
}

/// A tree of layers without what an ignore file leaves out: itself, if that is nothing.
pub(super) fn without(
    session: &Session<'_>,
    tree: &Tree,
    ignored: &Matcher,
    step: &Step<'_>,
) -> Result<Tree> {
    let pattern = |(text, exception): (&str, bool)| format!("{}{text}", if exception { "!" } else { "" });
    let mut op = CopyOp { destination: "/".to_owned(), ..part("/") };
    let inputs = [Tree::empty(), tree.clone()];
    let count = |all: Vec<Picked>| all.iter().map(|picked| picked.entries.len()).sum::<usize>();
    let all = count(select::select(session, &op, &inputs)?);
    op.exclude = ignored.patterns().map(pattern).collect();
    if count(select::select(session, &op, &inputs)?) == all {
        return Ok(tree.clone());
    }
    let Record { layer, size } = perform(session, &op, &inputs, step)?;
    Ok(Tree::empty().with(LoadedLayer { diff_id: layer, size, blob: None }))
}

/// A folder of a tree of layers as a tree of its own; none if there is no such folder.
pub(super) fn folder(
    session: &Session<'_>,
    tree: &Tree,
    path: &str,
    step: &Step<'_>,
) -> Result<Option<Tree>> {
    let found = session.view(tree)?.resolve(path.as_bytes(), true)?;
    let Some(found) = found.filter(|found| found.node.kind == Kind::Directory) else { return Ok(None) };
    if found.path.is_empty() || found.path == b"/" {
        return Ok(Some(tree.clone()));
    }
    let op = CopyOp { destination: "/".to_owned(), ..part(path) };
    let inputs = [Tree::empty(), tree.clone()];
    let Record { layer, size } = perform(session, &op, &inputs, step)?;
    Ok(Some(Tree::empty().with(LoadedLayer { diff_id: layer, size, blob: None })))
}

/// The digest of what a tree has at a path, which is there: of a caller's files their content, of layers what names them.
pub(super) fn part_content(
    session: &Session<'_>,
    tree: &Tree,
    path: &str,
    step: &Step<'_>,
) -> Result<Digest> {
    let (op, inputs) = (part(path), [Tree::empty(), tree.clone()]);
    let all = select_whole(session, &op, &inputs)?;
    taken_of(session, (&op, &all), step)
}

/// As [`select::select`], but a directory stands for itself too: it is shown with its own mode.
fn select_whole(session: &Session<'_>, op: &CopyOp, inputs: &[Tree]) -> Result<Vec<Picked>> {
    let mut all = select::select(session, op, inputs)?;
    for picked in all.iter_mut().filter(|picked| picked.root.node.kind == Kind::Directory) {
        picked.contents = false;
        picked.entries.insert(0, Entry { path: Vec::new(), node: picked.root.node.clone() });
    }
    Ok(all)
}

/// What is at a path, copied to the same path.
fn part(path: &str) -> CopyOp {
    let path = dockerfile::ignore::clean(&format!("/{path}"));
    let selection = Selection { input: 1, path: path.clone(), parents: None, unpack: false, local: true };
    CopyOp { selections: vec![selection], destination: path, owner: None, mode: None, exclude: Vec::new() }
}

/// The merged tree of what a step stands on.
fn base(session: &Session<'_>, inputs: &[Tree]) -> Result<Arc<image::View>> {
    inputs.first().map_or_else(|| Ok(Arc::default()), |base| session.merged(base))
}

fn resolve_owner(spec: &str, base: &Arc<image::View>) -> Result<owner::Ids> {
    let view = View::Layers(base.clone());
    owner::resolve(spec, |path| view.read(path, USERS_LIMIT))
}
