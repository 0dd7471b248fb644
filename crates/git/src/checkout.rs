//! A commit's files, those of its submodules among them.
//!
//! Everything is fetched, and every name of a file looked at, before the caller sees the first file.

use std::collections::VecDeque;
use std::io::Read;

use crate::budget::Budget;
use crate::error::{Error, Result, excerpt};
use crate::gitdir;
use crate::id::ObjectId;
use crate::object::{Mode, TreeEntry};
use crate::part::Part;
use crate::remote::{Credential, Remote};
use crate::{Git, Request, Revision};

/// How many submodules may lie in each other.
const DEPTH_LIMIT: u64 = 16;
/// How many links are followed to a directory.
const LINKS_LIMIT: u64 = 40;
/// The longest path.
const PATH_LIMIT: usize = 4095;

/// One file, directory or link of a checkout.
pub struct Entry<'a> {
    /// Where it is, relative, with slashes between names: no name is `.` or `..`, none is empty.
    pub path: &'a [u8],
    /// Its permissions.
    pub mode: u32,
    /// What it is.
    pub kind: EntryKind<'a>,
}

/// What an entry is.
pub enum EntryKind<'a> {
    /// A directory; what lies in it follows.
    Directory,
    /// A file.
    File {
        /// How many bytes it has; so many are read, or reading fails.
        size: u64,
        /// Its content. Errors are this crate's, as [`std::io::Error::other`] has them.
        content: &'a mut dyn Read,
    },
    /// A symbolic link; it may lead anywhere.
    Link {
        /// Its target.
        target: &'a [u8],
    },
}

/// A commit's files, ready to be read.
pub struct Checkout<'g> {
    pub(crate) git: &'g Git<'g>,
    pub(crate) parts: Vec<Part>,
    /// Which repository and which of its directories is the root of it all.
    root: (usize, ObjectId),
    submodules: bool,
    keeps_git_dir: bool,
    credential: Option<Credential>,
    budget: Budget,
}

impl std::fmt::Debug for Checkout<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} and {} submodules", self.commit(), self.parts.len() - 1)
    }
}

impl<'g> Checkout<'g> {
    /// Fetches all that belongs to it.
    pub(crate) fn fetch(git: &'g Git<'g>, request: &Request, revision: &Revision) -> Result<Self> {
        let remote = Remote::parse(&request.remote)?;
        git.check_allowed(&remote, false)?;
        let credential = Credential::of_secrets(&remote, git.secret);
        let mut budget = Budget::new(git.limits, git.client);
        let mut part = {
            let authorization = crate::authorization(credential.as_ref(), &remote);
            Part::fetch(git, &remote, authorization, &revision.id, &mut budget)?
        };
        if ![part.commit_id, part.id].contains(&revision.commit) {
            return Err(Error::protocol("a tag is not one of the commit that it was said to be"));
        }
        crate::check(request.checksum.as_deref(), &[part.commit_id, part.id])?;
        part.reference = revision.reference.clone();
        let tree = part.commit.tree;
        let mut checkout = Self {
            git,
            parts: vec![part],
            root: (0, tree),
            submodules: request.submodules,
            keeps_git_dir: request.keep_git_dir,
            credential,
            budget,
        };
        checkout.locate(request.subdirectory.as_deref().unwrap_or_default())?;
        checkout.look_through()?;
        Ok(checkout)
    }

    /// The commit.
    #[must_use]
    pub fn commit(&self) -> ObjectId {
        self.parts[0].commit_id
    }

    /// When it was committed, in seconds since 1970.
    #[must_use]
    pub fn committed(&self) -> i64 {
        self.parts[0].commit.time
    }

    /// Shows each entry, directories before what lies in them, names in the order of git's trees. The root itself is not shown.
    ///
    /// # Errors
    /// What `visit` fails with; or if an object is no good.
    pub fn visit<E: From<Error>>(
        &mut self,
        mut visit: impl FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let git = self.git;
        // Entries were counted before; files are now.
        let mut budget = self.budget.clone();
        let mut counted = Budget::new(self.git.limits, self.git.client);
        let keeps = self.keeps_git_dir && self.root == (0, self.parts[0].commit.tree);
        if keeps {
            gitdir::visit(self, &mut counted, &mut visit)?;
        }
        let mut walk = Walk::new(self, self.root, &mut counted)?;
        while let Some((index, entry)) = walk.next(self, &mut counted)? {
            let path = walk.path.as_slice();
            let part = &mut self.parts[index];
            match entry.mode {
                Mode::Directory => visit(Entry { path, mode: 0o755, kind: EntryKind::Directory })?,
                Mode::Submodule => {
                    visit(Entry { path, mode: 0o755, kind: EntryKind::Directory })?;
                    if let Some(child) = walk.entered.filter(|_| keeps) {
                        gitdir::visit_link(self, child, &mut visit)?;
                    }
                }
                Mode::Link => {
                    let target = part.link(&entry.id, git.spool)?;
                    visit(Entry { path, mode: 0o777, kind: EntryKind::Link { target: &target } })?;
                }
                Mode::File | Mode::Executable => {
                    let (mut content, size) = part.pack.blob(&entry.id, git.spool)?;
                    budget.take_checkout(size)?;
                    let mode = if entry.mode == Mode::File { 0o644 } else { 0o755 };
                    visit(Entry { path, mode, kind: EntryKind::File { size, content: &mut content } })?;
                }
            }
        }
        Ok(())
    }

    /// Finds the directory that is asked for. Links on the way are followed as long as they stay in the repository.
    fn locate(&mut self, directory: &str) -> Result<()> {
        let refuse = |reason| Error::NoDirectory { path: excerpt(directory.as_bytes()), reason };
        let mut above = vec![(self.root, Vec::new())];
        let mut names: VecDeque<Vec<u8>> = split(directory.as_bytes());
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            let ((index, tree), path) = above.last().cloned().ok_or_else(|| refuse("there is none"))?;
            if name == b".." {
                above.pop();
                if above.is_empty() {
                    return Err(refuse("it leads out of the repository"));
                }
                continue;
            }
            let spool = self.git.spool;
            let part = &mut self.parts[index];
            // What is only passed by is no part of the checkout.
            let entries = part.tree(&tree, spool, &mut self.budget.clone())?;
            let entry = entries.into_iter().find(|entry| entry.name == name);
            let entry = entry.ok_or_else(|| refuse("nothing has that name"))?;
            let path = joined(&path, &name);
            match entry.mode {
                Mode::Directory => above.push(((index, entry.id), path)),
                Mode::File | Mode::Executable => return Err(refuse("it is a file")),
                Mode::Link => {
                    links += 1;
                    if links > LINKS_LIMIT {
                        return Err(refuse("too many links lead there"));
                    }
                    let target = part.link(&entry.id, spool)?;
                    if target.starts_with(b"/") {
                        return Err(refuse("a link leads out of the repository"));
                    }
                    for name in split(&target).into_iter().rev() {
                        names.push_front(name);
                    }
                }
                Mode::Submodule => match self.submodule(index, &path, &entry.id)? {
                    Some(child) => above.push(((child, self.parts[child].commit.tree), Vec::new())),
                    None => return Err(refuse("it is a submodule, which is not fetched")),
                },
            }
        }
        let (root, inside) = above.pop().ok_or_else(|| refuse("there is none"))?;
        self.root = root;
        self.parts[root.0].inside = inside;
        Ok(())
    }

    /// Walks over all there is, and fetches submodules.
    fn look_through(&mut self) -> Result<()> {
        let mut budget = self.budget.clone();
        let mut walk = Walk::new(self, self.root, &mut budget)?;
        while let Some((index, entry)) = walk.next(self, &mut budget)? {
            if entry.mode != Mode::Submodule || !self.submodules {
                continue;
            }
            let path = self.path_inside(index, &walk.path);
            // Packs are counted by the checkout, entries by the walk.
            if let Some(child) = self.submodule(index, &path, &entry.id)? {
                self.parts[child].at = walk.path.clone();
                if walk.entered.is_none() {
                    walk.enter(self, child, &mut budget)?;
                }
            }
        }
        Ok(())
    }

    /// The path of an entry in its own repository.
    pub(crate) fn path_inside(&self, index: usize, path: &[u8]) -> Vec<u8> {
        let part = &self.parts[index];
        let rest = path.get(part.at.len()..).unwrap_or_default();
        joined(&part.inside, rest.strip_prefix(b"/").unwrap_or(rest))
    }

    /// The repository at a path of another; `None` if it is not to be fetched.
    fn submodule(&mut self, index: usize, path: &[u8], id: &ObjectId) -> Result<Option<usize>> {
        if !self.submodules {
            return Ok(None);
        }
        if let Some(known) = self.parts[index].children.get(path) {
            return Ok(*known);
        }
        let found = self
            .fetch_submodule(index, path, id)
            .map_err(|source| Error::Submodule { path: excerpt(path), source: Box::new(source) })?;
        self.parts[index].children.insert(path.to_vec(), found);
        Ok(found)
    }

    fn fetch_submodule(&mut self, index: usize, path: &[u8], id: &ObjectId) -> Result<Option<usize>> {
        let parent = &mut self.parts[index];
        let module = parent.module(path, self.git.spool, &mut self.budget.clone())?;
        let module = module.filter(|module| !module.url.is_empty()).ok_or_else(|| Error::Path {
            path: excerpt(path),
            reason: ".gitmodules does not say where this submodule comes from",
        })?;
        if module.is_skipped {
            return Ok(None);
        }
        let depth = parent.depth + 1;
        if depth > DEPTH_LIMIT {
            return Err(Error::Limit { limit: DEPTH_LIMIT, what: "submodules in each other" });
        }
        self.budget.take_submodule()?;
        let is_relative = module.url.starts_with("./") || module.url.starts_with("../");
        let remote = if is_relative { parent.remote.join(&module.url)? } else { Remote::parse(&module.url)? };
        let at = |source| Error::Fetch { remote: remote.shown(), source: Box::new(source) };
        self.git.check_allowed(&remote, true).map_err(at)?;
        let authorization = crate::authorization(self.credential.as_ref(), &remote);
        let fetched = Part::fetch(self.git, &remote, authorization, id, &mut self.budget);
        let mut part = fetched.map_err(at)?;
        part.depth = depth;
        part.parent = Some((index, module.name));
        self.parts.push(part);
        Ok(Some(self.parts.len() - 1))
    }
}

/// The names of a path.
fn split(path: &[u8]) -> VecDeque<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.map(<[u8]>::to_vec).collect()
}

fn joined(path: &[u8], rest: &[u8]) -> Vec<u8> {
    match (path.is_empty(), rest.is_empty()) {
        (true, _) => rest.to_vec(),
        (_, true) => path.to_vec(),
        (false, false) => [path, b"/", rest].concat(),
    }
}

/// A walk over all entries, those of submodules that were fetched among them.
pub(crate) struct Walk {
    frames: Vec<Frame>,
    /// The path of the last entry.
    pub(crate) path: Vec<u8>,
    /// The repository that the last entry is the root of.
    pub(crate) entered: Option<usize>,
    /// Whether submodules are entered.
    is_deep: bool,
}

/// A directory in which a walk is.
struct Frame {
    part: usize,
    /// Those that are left, the next one last.
    left: Vec<TreeEntry>,
    /// How much of the path is the directory's.
    length: usize,
}

impl Walk {
    pub(crate) fn new(
        checkout: &mut Checkout<'_>,
        (part, tree): (usize, ObjectId),
        budget: &mut Budget,
    ) -> Result<Self> {
        let mut walk = Self { frames: Vec::new(), path: Vec::new(), entered: None, is_deep: true };
        walk.open(checkout, part, &tree, budget)?;
        Ok(walk)
    }

    /// One that stays in its repository.
    pub(crate) fn flat(checkout: &mut Checkout<'_>, part: usize, budget: &mut Budget) -> Result<Self> {
        let tree = checkout.parts[part].commit.tree;
        Ok(Self { is_deep: false, ..Self::new(checkout, (part, tree), budget)? })
    }

    fn open(
        &mut self,
        checkout: &mut Checkout<'_>,
        part: usize,
        tree: &ObjectId,
        budget: &mut Budget,
    ) -> Result<()> {
        let mut left = checkout.parts[part].tree(tree, checkout.git.spool, budget)?;
        left.reverse();
        self.frames.push(Frame { part, left, length: self.path.len() });
        Ok(())
    }

    /// Goes on in the repository whose root the last entry is.
    fn enter(&mut self, checkout: &mut Checkout<'_>, part: usize, budget: &mut Budget) -> Result<()> {
        let tree = checkout.parts[part].commit.tree;
        self.entered = Some(part);
        self.open(checkout, part, &tree, budget)
    }

    /// The next entry, and the repository that it is of.
    pub(crate) fn next(
        &mut self,
        checkout: &mut Checkout<'_>,
        budget: &mut Budget,
    ) -> Result<Option<(usize, TreeEntry)>> {
        self.entered = None;
        let (part, entry) = loop {
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            self.path.truncate(frame.length);
            match frame.left.pop() {
                Some(entry) => break (frame.part, entry),
                None => drop(self.frames.pop()),
            }
        };
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&entry.name);
        if self.path.len() > PATH_LIMIT {
            let path = excerpt(&self.path);
            return Err(Error::Path { path, reason: "it is longer than 4095 bytes" });
        }
        if entry.mode == Mode::Directory {
            self.open(checkout, part, &entry.id, budget)?;
        } else if entry.mode == Mode::Submodule && self.is_deep {
            let inside = checkout.path_inside(part, &self.path);
            if let Some(child) = checkout.parts[part].children.get(&inside).copied().flatten() {
                self.enter(checkout, child, budget)?;
            }
        }
        Ok(Some((part, entry)))
    }
}
