//! Files from elsewhere: addresses of the web, and repositories of git.
//!
//! Looking one up costs a question at most: what the server says of it at present (its `ETag`, the commit of a branch), or
//! nothing where a checksum says what it is. It is fetched when its files are wanted, and becomes a layer of its own.

mod git;
mod remote;
#[cfg(test)]
mod tests;
mod web;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ::git::Revision;
use dockerfile::lower::GitSource;
use oci::Digest;
use registry_client::web::Known;

/// What was said of sources when their keys were made. Whoever fetches one later gets that, or an error: else what somebody puts
/// in its place meanwhile would be kept under the key of what was there.
#[derive(Debug, Default)]
pub(super) struct Found {
    revisions: Mutex<Vec<(GitSource, Revision)>>,
    /// When the commits of repositories were made, by those that were fetched.
    commits: Mutex<BTreeMap<String, i64>>,
    files: Mutex<BTreeMap<String, Known>>,
    /// What each address stood for when its key was made.
    identities: Mutex<BTreeMap<String, Digest>>,
    /// What came of addresses that were downloaded.
    digests: Mutex<BTreeMap<String, Digest>>,
}

impl Found {
    fn put_revision(&self, source: &GitSource, revision: &Revision) {
        let mut revisions = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
        revisions.push((source.clone(), revision.clone()));
    }

    fn put_committed(&self, revision: &Revision, time: i64) {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.insert(revision.commit.to_string(), time);
    }

    /// When a commit was made, if it was fetched.
    fn committed(&self, revision: &Revision) -> Option<i64> {
        let commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.get(&revision.commit.to_string()).copied()
    }

    /// What a repository was when it was looked up.
    pub(super) fn revision(&self, source: &GitSource) -> Option<Revision> {
        let revisions = self.revisions.lock().unwrap_or_else(PoisonError::into_inner);
        revisions.iter().find(|(known, _)| known == source).map(|(_, revision)| revision.clone())
    }

    fn put_file(&self, url: &str, known: Known) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(url.to_owned(), known);
    }

    fn put_identity(&self, url: &str, identity: &Digest) {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        identities.insert(url.to_owned(), identity.clone());
    }

    /// By what a file of the web without a checksum is known in keys.
    pub(super) fn identity(&self, url: &str) -> Option<Digest> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }

    fn put_digest(&self, url: &str, digest: Option<&Digest>) {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.extend(digest.map(|digest| (url.to_owned(), digest.clone())));
    }

    /// The digest of a file that this build has downloaded.
    pub(super) fn digest(&self, url: &str) -> Option<Digest> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned()
    }

    /// Whether what comes is another version than the one that was looked up, as far as the server says.
    fn is_other(&self, url: &str, now: &Known) -> bool {
        // Compressed on the way, a file has a weak tag in place of its own.
        let tag = |known: &Known| known.etag.as_ref().map(|tag| tag.trim_start_matches("W/").to_owned());
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(then) = files.get(url).and_then(tag) else { return false };
        tag(now).is_some_and(|now| now != then)
    }
}

pub(super) use git::{NamedBy, committed, fetch as fetch_git, find as git};
pub use remote::{ReadRemote, RemoteFiles};
pub(super) use remote::{fetch_named, modified, named, parted, remote, time_of_context};
pub(super) use web::{fetch_http, http};
