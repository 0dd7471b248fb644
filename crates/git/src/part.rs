//! One repository of a checkout: the one that was asked for, or a submodule. Its pack is here; files are read from it by name.

use std::collections::BTreeMap;

use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::id::ObjectId;
use crate::modules::{self, Module};
use crate::object::{self, Commit, Mode, TreeEntry};
use crate::pack::{Kind, Pack};
use crate::remote::Remote;
use crate::wire::{Server, Wanted};
use crate::{Git, Spool};

/// How many tags may be tags of each other.
const TAGS_LIMIT: u64 = 16;
/// The longest target of a link.
const LINK_LIMIT: u64 = 4095;

/// A repository with one commit in it.
pub(crate) struct Part {
    pub(crate) remote: Remote,
    pub(crate) pack: Pack,
    /// Commits whose parents are not here.
    pub(crate) shallow: Vec<ObjectId>,
    /// What was asked for: the commit, or a tag of it.
    pub(crate) id: ObjectId,
    pub(crate) commit_id: ObjectId,
    pub(crate) commit: Commit,
    /// The reference that led there.
    pub(crate) reference: Option<String>,
    /// Where its files lie in the checkout, …
    pub(crate) at: Vec<u8>,
    /// … and which of its directories lies there.
    pub(crate) inside: Vec<u8>,
    /// How many repositories it lies in.
    pub(crate) depth: u64,
    /// The repository that it lies in, and its name there.
    pub(crate) parent: Option<(usize, Vec<u8>)>,
    /// The repositories in it, by their paths.
    pub(crate) children: BTreeMap<Vec<u8>, Option<usize>>,
    modules: Option<Vec<Module>>,
}

impl Part {
    /// Fetches an object and the commit that it is, or is a tag of.
    pub(crate) fn fetch(
        git: &Git<'_>,
        remote: &Remote,
        credential: Option<&registry_client::web::Authorization>,
        want: &ObjectId,
        budget: &mut Budget,
    ) -> Result<Self> {
        Self::fetch_some(git, remote, credential, (want, Wanted::Files), budget)
    }

    /// The same without the files, where the server can leave them out.
    pub(crate) fn of_commit(
        git: &Git<'_>,
        remote: &Remote,
        credential: Option<&registry_client::web::Authorization>,
        want: &ObjectId,
        budget: &mut Budget,
    ) -> Result<Self> {
        Self::fetch_some(git, remote, credential, (want, Wanted::Commit), budget)
    }

    fn fetch_some(
        git: &Git<'_>,
        remote: &Remote,
        credential: Option<&registry_client::web::Authorization>,
        (want, wanted): (&ObjectId, Wanted),
        budget: &mut Budget,
    ) -> Result<Self> {
        let mut failed = 0;
        let (mut pack, shallow) = loop {
            let before = budget.clone();
            let file = (git.spool)().map_err(|source| Error::Spool { doing: "keep a pack", source })?;
            let fetched = Server::connect(git, remote, credential)
                .and_then(|server| server.fetch((want, wanted), file, budget));
            match fetched {
                Ok(fetched) => break (fetched.pack, fetched.shallow),
                Err(error) => {
                    failed += 1;
                    *budget = before;
                    if !error.cut().is_some_and(|why| git.client.waits_after(why, failed)) {
                        return Err(error);
                    }
                }
            }
        };
        pack.resolve(git, budget)?;
        let commit_id = peel(&mut pack, want, git.spool)?;
        let bytes = pack.bytes(&commit_id, Kind::Commit, git.spool)?;
        let commit = object::commit(&commit_id, &bytes)?;
        Ok(Self {
            remote: remote.clone(),
            pack,
            shallow,
            id: *want,
            commit_id,
            commit,
            reference: None,
            at: Vec::new(),
            inside: Vec::new(),
            depth: 0,
            parent: None,
            children: BTreeMap::new(),
            modules: None,
        })
    }

    /// The entries of a tree, each of which is counted.
    pub(crate) fn tree(
        &mut self,
        id: &ObjectId,
        spool: &Spool<'_>,
        budget: &mut Budget,
    ) -> Result<Vec<TreeEntry>> {
        let bytes = self.pack.bytes(id, Kind::Tree, spool)?;
        let entries = object::tree(id, &bytes)?;
        budget.take_entries(entries.len() as u64)?;
        Ok(entries)
    }

    /// Where a link leads.
    pub(crate) fn link(&mut self, id: &ObjectId, spool: &Spool<'_>) -> Result<Vec<u8>> {
        let wrong = |reason: &str| Error::Object { id: id.to_string(), reason: reason.to_owned() };
        let (_, size) = self.pack.expect(id, Kind::Blob)?;
        if size > LINK_LIMIT {
            return Err(wrong("it is a link whose target is longer than 4095 bytes"));
        }
        let target = self.pack.bytes(id, Kind::Blob, spool)?;
        match target.is_empty() || target.contains(&0) {
            true => Err(wrong("it is a link to what no path can be")),
            false => Ok(target.to_vec()),
        }
    }

    /// What `.gitmodules` says of the submodule at a path; `None` where there is nothing to say.
    pub(crate) fn module(
        &mut self,
        path: &[u8],
        spool: &Spool<'_>,
        budget: &mut Budget,
    ) -> Result<Option<Module>> {
        if self.modules.is_none() {
            let entries = self.tree(&self.commit.tree.clone(), spool, budget)?;
            let file = entries.iter().find(|entry| entry.name == b".gitmodules");
            let file = file.filter(|entry| matches!(entry.mode, Mode::File | Mode::Executable));
            self.modules = Some(match file {
                None => Vec::new(),
                Some(entry) => {
                    let (_, size) = self.pack.expect(&entry.id, Kind::Blob)?;
                    if size > modules::SIZE_LIMIT {
                        let limit = modules::SIZE_LIMIT;
                        return Err(Error::Limit { limit, what: "bytes in .gitmodules" });
                    }
                    modules::parse(&self.pack.bytes(&entry.id, Kind::Blob, spool)?)?
                }
            });
        }
        Ok(self.modules.iter().flatten().find(|module| module.path == path).cloned())
    }
}

/// The commit that an object is, or is a tag of.
fn peel(pack: &mut Pack, want: &ObjectId, spool: &Spool<'_>) -> Result<ObjectId> {
    let mut id = *want;
    for _ in 0..TAGS_LIMIT {
        if !matches!(pack.find(&id), Some((_, Kind::Tag, _))) {
            pack.expect(&id, Kind::Commit)?;
            return Ok(id);
        }
        id = object::tagged(&id, &pack.bytes(&id, Kind::Tag, spool)?)?.0;
    }
    Err(Error::Limit { limit: TAGS_LIMIT, what: "tags of each other" })
}
