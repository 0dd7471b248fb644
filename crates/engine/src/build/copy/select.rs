//! What a copy takes: each source with all that is below it, patterns expanded, exclusions left out.

use dockerfile::ignore::{Matcher, Parents, has_wildcards};
use dockerfile::lower::{CopyOp, Selection};

use super::CopyError;
use crate::Result;
use crate::build::BuildError;
use crate::build::session::Session;
use crate::build::tree::Tree;
use crate::build::view::{At, Found, Kind, Node, View, join};

/// A source.
pub(super) struct Picked {
    pub(super) view: View,
    /// Its own name, which it keeps in a directory.
    pub(super) name: Vec<u8>,
    /// It, after links.
    pub(super) root: Found,
    /// A directory stands for what is in it.
    pub(super) contents: bool,
    /// An archive is unpacked.
    pub(super) unpack: bool,
    /// What is taken, each directory before what is in it.
    pub(super) entries: Vec<Entry>,
}

/// A file of a source.
pub(super) struct Entry {
    /// Relative to the source; empty for itself.
    pub(super) path: Vec<u8>,
    pub(super) node: Node,
}

/// All sources of a copy.
pub(super) fn select(session: &Session<'_>, op: &CopyOp, inputs: &[Tree]) -> Result<Vec<Picked>> {
    let exclude = Matcher::new(&op.exclude);
    let exclude = exclude.map_err(|error| CopyError::Pattern { message: error.to_string() })?;
    let mut all = Vec::new();
    for selection in &op.selections {
        let Some(tree) = inputs.get(selection.input) else { continue };
        let view = session.view(tree)?;
        let one = if selection.parents.is_some() {
            below(&view, selection, &exclude)
        } else {
            sources(&view, selection, &exclude)
        };
        all.extend(one.map_err(|error| named(error, tree))?);
    }
    Ok(all)
}

/// Says where something was looked for that is not there.
fn named(error: crate::Error, tree: &Tree) -> crate::Error {
    let crate::Error::Build(source) = error else { return error };
    let BuildError::Copy(CopyError::NotFound { path }) = *source else { return crate::Error::Build(source) };
    let reference = match tree {
        Tree::Files(files) => files.name().to_owned(),
        Tree::Layers(_) => tree.chain().short().to_owned(),
    };
    CopyError::Checksum { reference, source: Box::new(CopyError::NotFound { path }) }.into()
}

fn sources(view: &View, selection: &Selection, exclude: &Matcher) -> Result<Vec<Picked>> {
    let found = if selection.local {
        view.expand(&selection.path)?
    } else {
        let name = selection.path.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
        let found = view.resolve(selection.path.as_bytes(), false)?;
        vec![(name, found.ok_or_else(|| CopyError::NotFound { path: selection.path.clone() })?)]
    };
    let mut all = Vec::new();
    for (name, root) in found {
        let (contents, unpack) = (selection.local, selection.unpack);
        let mut entries = Vec::new();
        if root.node.kind == Kind::Directory {
            if !contents {
                entries.push(Entry { path: Vec::new(), node: root.node.clone() });
            }
            Walk { view, exclude, wanted: None, pending: Vec::new(), entries: &mut entries }
                .all(&root.node)?;
        } else if root.node.kind == Kind::Socket {
            return Err(CopyError::Socket { path: String::from_utf8_lossy(&root.path).into_owned() }.into());
        } else if !exclude.is_match(&name) {
            entries.push(Entry { path: Vec::new(), node: root.node.clone() });
        } else {
            continue;
        }
        all.push(Picked { view: view.clone(), name, root, contents, unpack, entries });
    }
    Ok(all)
}

/// With `--parents`: what a pattern matches below a directory, with the directories on the way.
fn below(view: &View, selection: &Selection, exclude: &Matcher) -> Result<Vec<Picked>> {
    let pattern = selection.parents.as_deref().unwrap_or_default();
    let wanted = Matcher::new([pattern]);
    let wanted = wanted.map_err(|error| CopyError::Pattern { message: error.to_string() })?;
    let wanted = Some(&wanted).filter(|wanted| !wanted.is_empty());
    let mut all = Vec::new();
    for (name, root) in view.expand(&selection.path)? {
        if !has_wildcards(&selection.path) && !has_wildcards(pattern) {
            let path = join(&root.path, pattern.as_bytes());
            let missing = || CopyError::NotFound { path: format!("/{}", String::from_utf8_lossy(&path)) };
            view.resolve(&path, false)?.ok_or_else(missing)?;
        }
        let mut entries = Vec::new();
        if root.node.kind == Kind::Directory {
            Walk { view, exclude, wanted, pending: Vec::new(), entries: &mut entries }.all(&root.node)?;
        }
        let unpack = false;
        all.push(Picked { view: view.clone(), name, root, contents: true, unpack, entries });
    }
    Ok(all)
}

/// A walk through a directory.
struct Walk<'w> {
    view: &'w View,
    exclude: &'w Matcher,
    wanted: Option<&'w Matcher>,
    /// Directories on the way that are not taken for themselves.
    pending: Vec<Option<Entry>>,
    entries: &'w mut Vec<Entry>,
}

impl Walk<'_> {
    fn all(mut self, root: &Node) -> Result<()> {
        if let (View::Files(files), At::Found(item)) = (self.view, &root.at)
            && self.exclude.is_empty()
            && self.wanted.is_none()
        {
            // Nothing of it is left out.
            files.look_ahead(item);
        }
        self.directory(root, &[], &Parents::default(), &Parents::default())
    }

    fn directory(
        &mut self,
        directory: &Node,
        path: &[u8],
        excluded: &Parents,
        wanted: &Parents,
    ) -> Result<()> {
        for (name, node) in self.view.children(directory)?.iter() {
            let path = join(path, name);
            let is_directory = node.kind == Kind::Directory;
            let (is_excluded, excluded) = walk(Some(self.exclude), &path, excluded).unwrap_or_default();
            if is_excluded && (!is_directory || self.exclude.prunes(&path, true)) {
                continue;
            }
            let (is_wanted, now_wanted) =
                walk(self.wanted, &path, wanted).unwrap_or_else(|| (true, Parents::default()));
            let taken = is_wanted && !is_excluded;
            if taken {
                self.entries.extend(self.pending.iter_mut().filter_map(Option::take));
            }
            if !is_directory {
                if taken {
                    self.entries.push(Entry { path, node });
                }
                continue;
            }
            if taken {
                self.entries.push(Entry { path: path.clone(), node: node.clone() });
            }
            if self.wanted.is_none_or(|wanted| is_wanted || wanted.may_match_below(&path)) {
                if taken {
                    self.directory(&node, &path, &excluded, &now_wanted)?;
                } else {
                    self.pending.push(Some(Entry { path: path.clone(), node: node.clone() }));
                    self.directory(&node, &path, &excluded, &now_wanted)?;
                    self.pending.pop();
                }
            }
        }
        Ok(())
    }
}

/// What patterns say of a path; nothing if there are none.
fn walk(matcher: Option<&Matcher>, path: &[u8], parents: &Parents) -> Option<(bool, Parents)> {
    matcher.filter(|matcher| !matcher.is_empty()).map(|matcher| matcher.walk(path, parents))
}
