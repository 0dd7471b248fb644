//! A read-only client of git repositories: one commit's files, those of its submodules among them, without a git program.
//!
//! ```text
//! Request ──► Git::resolve ──► Revision ── what a name means now; to be known for a cache
//!                                 │
//!                                 ▼
//!             Git::fetch ──► Checkout ── everything was fetched, hashed and looked at
//!                               │
//!                               └─► visit: directories, files, links, in their order
//!
//! remote, place ── which repositories, which credentials   wire, advert, packet ── what is said to a server
//! line, ssh ── to whom, but by the web                 pack ── objects and deltas
//! object, modules ── commits, trees, .gitmodules
//! checkout, part ── repositories in each other         gitdir ── a directory .git for those who want it
//! ```
//!
//! ```ignore
//! let git = Git { client: &client, spool: &|| unnamed_file(), secret: &|name| secrets.get(name), ssh, is_cancelled: &|| false, limits: Limits::default() };
//! let revision = git.resolve(&request)?;
//! let mut checkout = git.fetch(&request, &revision)?;
//! checkout.visit(|entry| tar.append(entry))?;
//! ```
//!
//! Spoken are version 2 of the protocol, and version 0 to those who know no other, over `https://`, `http://`, `git://` and ssh ([`Error::Remote`] says
//! what of the rest and why). Nothing that a repository says is executed: no hooks, no filters, so that what `.gitattributes` would convert (LFS, line
//! ends, keywords) comes as it was committed. The user's own `ssh` is the only program that is started.
//!
//! What must hold:
//! - Files are touched through what the caller gives alone: packs and large objects lie in files without a name of his.
//! - Everything has a bound ([`Limits`]), which the error names; memory does not grow with the size of objects, and nothing recurses.
//! - No path leads anywhere but below the root of the checkout, and no two entries have the same.
//! - A credential is for the repository that is asked for, and for those of its submodules that it is for by name. The user's keys of ssh are
//!   for what the caller says ([`Serves`]).

mod advert;
mod budget;
mod checkout;
mod error;
mod gitdir;
mod id;
mod line;
mod modules;
mod object;
mod pack;
mod packet;
mod part;
mod place;
mod remote;
mod ssh;
mod wire;

use std::fs::File;
use std::io;

use registry_client::Client;
use registry_client::web::Authorization;

pub use budget::Limits;
pub use checkout::{Checkout, Entry, EntryKind};
pub use error::{Error, Result};
pub use id::{Format, ObjectId};
pub use ssh::{Serves, Ssh, SshProgram};

use advert::Reference;
use place::Place;
use remote::{Credential, Remote};
use wire::Server;

/// Gives an empty file, for reading and writing, that nobody else knows and that goes when it is closed.
pub type Spool<'a> = dyn Fn() -> io::Result<File> + 'a;

/// The shortest beginning of a commit's name that is looked for.
const SHORTEST: usize = 7;

/// What repositories are fetched with.
#[derive(Clone, Copy)]
pub struct Git<'a> {
    /// Connections, proxies, certificates, patience.
    pub client: &'a Client,
    /// Where large things go for as long as a checkout lives.
    pub spool: &'a Spool<'a>,
    /// Gives a secret of the build by its name: `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER` are asked for, with and without `.<host>`.
    pub secret: &'a dyn Fn(&str) -> Option<String>,
    /// How servers are reached over ssh.
    pub ssh: Ssh<'a>,
    /// Whether it is to end. Asked whenever a part of a pack has come, or an object was made of it.
    pub is_cancelled: &'a dyn Fn() -> bool,
    /// How much a repository may be.
    pub limits: Limits,
}

impl std::fmt::Debug for Git<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Git").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The repository: an address, in which a user and a password may stand.
    pub remote: String,
    /// A branch, a tag, another reference, a commit or the beginning of one's name; else the default branch.
    pub reference: Option<String>,
    /// The directory of it that becomes the root.
    pub subdirectory: Option<String>,
    /// The name, or the beginning of it, that the commit or the annotated tag must have.
    pub checksum: Option<String>,
    /// Whether `.git` is wanted, too; as in BuildKit only without a subdirectory.
    pub keep_git_dir: bool,
    /// Whether submodules are wanted.
    pub submodules: bool,
    /// Whether `checksum`, if it is a whole name, is fetched whatever the reference is now.
    pub fetch_by_commit: bool,
}

/// What a request means at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The reference in full; `None` for a commit.
    pub reference: Option<String>,
    /// What it leads to: a commit, or an annotated tag.
    pub id: ObjectId,
    /// The commit, as the server says; the fetch checks that.
    pub commit: ObjectId,
}

/// What an address names, whoever asks: for what is to be found again by others. Host and path, by whichever way that proves who answers; and
/// apart from these by any that does not, for a commit is as good as its hash, which for most repositories is SHA-1, so that no other
/// repository's files stand in for those of this one. With `.git`, whose configuration has the address, all of it that is not secret.
///
/// # Errors
/// If it is no address of a repository.
pub fn identity(remote: &str, keep_git_dir: bool) -> Result<String> {
    let remote = Remote::parse(remote)?;
    Ok(if keep_git_dir { remote.shown() } else { remote.place.identity() })
}

impl Revision {
    /// What decides over the files: the commit. With `.git` the reference and the tag decide, too.
    #[must_use]
    pub fn key(&self, keep_git_dir: bool) -> String {
        match keep_git_dir {
            true => format!("{} {} {}", self.commit, self.id, self.reference.as_deref().unwrap_or_default()),
            false => self.commit.to_string(),
        }
    }
}

impl Git<'_> {
    /// Whether it may go on.
    fn check_cancelled(&self) -> Result<()> {
        if (self.is_cancelled)() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// The same, and whether the client may.
    fn go_on(&self) -> Result<()> {
        if self.client.is_ended() { Err(Error::Cancelled) } else { self.check_cancelled() }
    }

    /// Whether a repository may be fetched at all.
    fn check_allowed(&self, remote: &Remote, is_submodule: bool) -> Result<()> {
        match (&remote.place, self.ssh.serves) {
            (Place::Web(_) | Place::Daemon(_), _) | (Place::Ssh(_), Serves::All) => Ok(()),
            (Place::Ssh(_), Serves::Named) if !is_submodule => Ok(()),
            (Place::Ssh(_), Serves::Named | Serves::Nothing) => Err(Error::Keys { is_submodule }),
        }
    }

    /// Finds what a request means. The name of a commit means itself, and nobody is asked.
    ///
    /// # Errors
    /// If there is no such reference, it is not what `checksum` says, or the server cannot be asked.
    pub fn resolve(&self, request: &Request) -> Result<Revision> {
        let remote = Remote::parse(&request.remote)?;
        let revision = self.resolve_at(&remote, request).map_err(|source| at(&remote, source))?;
        let ids = [revision.commit, revision.id];
        check(request.checksum.as_deref(), &ids).map_err(|source| at(&remote, source))?;
        Ok(revision)
    }

    /// Fetches what a request means, and all that belongs to it.
    ///
    /// # Errors
    /// If it cannot be had, is damaged, or is more or other than it may be.
    pub fn fetch(&self, request: &Request, revision: &Revision) -> Result<Checkout<'_>> {
        let remote = Remote::parse(&request.remote)?;
        Checkout::fetch(self, request, revision).map_err(|source| at(&remote, source))
    }

    /// When the commit of what a request means was made, in seconds since 1970. Its files are left where they are, if the server can do that.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn committed(&self, request: &Request, revision: &Revision) -> Result<i64> {
        let remote = Remote::parse(&request.remote)?;
        let fetch = || {
            self.check_allowed(&remote, false)?;
            let credential = Credential::of_secrets(&remote, self.secret);
            let authorization = authorization(credential.as_ref(), &remote);
            let mut budget = budget::Budget::new(self.limits, self.client);
            let part = part::Part::of_commit(self, &remote, authorization, &revision.id, &mut budget)?;
            match part.commit_id == revision.commit || part.id == revision.commit {
                true => Ok(part.commit.time),
                false => Err(Error::protocol("a tag is not one of the commit that it was said to be")),
            }
        };
        fetch().map_err(|source| at(&remote, source))
    }

    fn resolve_at(&self, remote: &Remote, request: &Request) -> Result<Revision> {
        let whole = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<ObjectId>().ok());
        if let Some(id) = whole(&request.reference) {
            return Ok(Revision { reference: None, id, commit: id });
        }
        if let Some(id) = whole(&request.checksum).filter(|_| request.fetch_by_commit) {
            return Ok(Revision { reference: None, id, commit: id });
        }
        self.check_allowed(remote, false)?;
        let credential = Credential::of_secrets(remote, self.secret);
        let server = Server::connect(self, remote, authorization(credential.as_ref(), remote))?;
        let Some(name) = request.reference.as_deref() else {
            let found = server.references(&["HEAD".to_owned()], |reference| reference.name == "HEAD")?;
            let head = found.into_iter().next().ok_or(Error::NoDefault)?;
            let reference = head.target.filter(|target| gitdir::is_reference(target));
            return Ok(Revision { reference, id: head.id, commit: head.peeled.unwrap_or(head.id) });
        };
        named(&server, name)
    }
}

/// The reference that is meant by a name: what it is in full, else a branch, else a tag.
fn named(server: &Server<'_>, name: &str) -> Result<Revision> {
    let missing = || Error::NoReference { reference: error::excerpt(name.as_bytes()) };
    let below = |folder: &str| format!("{folder}{}", name.strip_prefix(folder).unwrap_or(name));
    let candidates = [below("refs/"), below("refs/heads/"), below("refs/tags/")];
    if !candidates.iter().all(|candidate| gitdir::is_reference(candidate)) || name.len() > 1024 {
        return Err(missing());
    }
    let found = server.references(&candidates, |reference| candidates.contains(&reference.name))?;
    let best = candidates.iter().find_map(|name| found.iter().find(|reference| reference.name == *name));
    if let Some(reference) = best {
        return Ok(revision(reference));
    }
    let is_hex = name.len() >= SHORTEST && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        return Err(missing());
    }
    by_beginning(server, &name.to_ascii_lowercase())?.ok_or_else(missing)
}

/// The commit that some reference leads to whose name begins so. What is behind them the server does not tell.
fn by_beginning(server: &Server<'_>, name: &str) -> Result<Option<Revision>> {
    let commit = |reference: &Reference| reference.peeled.unwrap_or(reference.id);
    let begins = |reference: &Reference| commit(reference).to_string().starts_with(name);
    let mut found = server.references(&["refs/".to_owned()], begins)?;
    found.dedup_by_key(|reference| commit(reference));
    let Some(first) = found.first().map(commit) else { return Ok(None) };
    match found.iter().all(|reference| commit(reference) == first) {
        true => Ok(Some(Revision { reference: None, id: first, commit: first })),
        false => Err(Error::Ambiguous { reference: name.to_owned() }),
    }
}

fn revision(reference: &Reference) -> Revision {
    let commit = reference.peeled.unwrap_or(reference.id);
    Revision { reference: Some(reference.name.clone()), id: reference.id, commit }
}

/// Who we are at a repository.
fn authorization<'a>(credential: Option<&'a Credential>, remote: &'a Remote) -> Option<&'a Authorization> {
    credential.and_then(|credential| credential.at(&remote.place)).or(remote.authorization.as_ref())
}

/// A checksum must be the name, or the beginning of the name, of one of these.
fn check(checksum: Option<&str>, ids: &[ObjectId]) -> Result<()> {
    let Some(text) = checksum else { return Ok(()) };
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Error::BadChecksum { text: error::excerpt(text.as_bytes()) });
    }
    let wanted = text.to_ascii_lowercase();
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    if names.iter().any(|name| name.starts_with(&wanted)) {
        return Ok(());
    }
    let mut found = names;
    found.dedup();
    Err(Error::Checksum { wanted, found: found.join(", of the tag ") })
}

fn at(remote: &Remote, source: Error) -> Error {
    Error::Fetch { remote: remote.shown(), source: Box::new(source) }
}
