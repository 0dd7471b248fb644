//! Repositories of git: a commit's files as a layer.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use build::{Key, Record, Source, Step};
use dockerfile::lower::GitSource;
use git::{Entry, EntryKind, Git, Limits, Request, Revision, Serves, Ssh};
use image::LayerWriter;
use image::tar::{self, Body, Member, Time};
use rustix::fs::{Mode, OFlags};

use crate::Result;
use crate::build::BuildError;
use crate::build::session::Session;
use crate::build::tree::Tree;
use crate::images::failed;

const ACTION: &str = "make a layer of a repository";

/// The agent that answers for the caller to servers of git.
const AGENT: &str = "default";

/// Who has named a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::build) enum NamedBy {
    /// A Dockerfile.
    Dockerfile,
    /// Whoever wants the build, as one of its contexts.
    Caller,
}

/// What a repository is at present.
pub(in crate::build) fn find(session: &Session<'_>, source: &GitSource, by: NamedBy) -> Result<Source<Tree>> {
    let (request, refused) = (request(source), refused(source));
    let revision = with(session, by, |git| revision(session, source, git, &request)).map_err(&refused)?;
    let flags = format!("{} {} {}", source.keep_git_dir, source.submodules, source.commit_times);
    let directory = source.subdirectory.as_deref().unwrap_or_default();
    // Not who we are there.
    let remote = git::identity(&source.remote, source.keep_git_dir).map_err(refused)?;
    let identity = Key::of("git", [&remote, &revision.key(source.keep_git_dir), directory, &flags]);
    Ok(Source::There { identity: identity.digest().clone() })
}

/// When the commit of a repository was made, in seconds since 1970.
pub(in crate::build) fn committed(session: &Session<'_>, source: &GitSource, by: NamedBy) -> Result<i64> {
    let (request, refused) = (request(source), refused(source));
    with(session, by, |git| {
        let revision = revision(session, source, git, &request)?;
        if let Some(time) = session.found.committed(&revision) {
            return Ok(time);
        }
        let time = git.committed(&request, &revision)?;
        session.found.put_committed(&revision, time);
        Ok(time)
    })
    .map_err(refused)
}

/// What it was when it was looked up; from now on it is that for this build.
fn revision(
    session: &Session<'_>,
    source: &GitSource,
    git: &Git<'_>,
    request: &Request,
) -> git::Result<Revision> {
    if let Some(known) = session.found.revision(source) {
        return Ok(known);
    }
    let revision = git.resolve(request)?;
    session.found.put_revision(source, &revision);
    Ok(revision)
}

/// Fetches a repository.
pub(in crate::build) fn fetch(
    session: &Session<'_>,
    source: &GitSource,
    by: NamedBy,
    step: &Step<'_>,
) -> Result<Record> {
    let (request, refused) = (request(source), refused(source));
    with(session, by, |git| {
        let revision = revision(session, source, git, &request).map_err(&refused)?;
        let mut checkout = git.fetch(&request, &revision).map_err(&refused)?;
        let mut layer = session.draft.layer().map_err(failed(ACTION))?;
        // That of the commit, as a checkout has none that would be the same twice.
        let committed = checkout.committed();
        session.found.put_committed(&revision, committed);
        let mtime = Time { secs: session.epoch().map_or(committed, |epoch| committed.min(epoch)), nanos: 0 };
        let mut files = 0;
        let visited = checkout.visit(|entry| {
            if step.cancel.is_cancelled() {
                return Err(Stop::Cancelled);
            }
            files += 1;
            if files % 1000 == 0 {
                step.progress("files", files, None);
            }
            write(entry, mtime, &mut layer).map_err(Stop::Write)
        });
        let path = layer.path().to_owned();
        let unwritten = |source| crate::Error::System { action: ACTION, path: path.clone(), source };
        match visited {
            Ok(()) => {}
            Err(Stop::Git(error)) => return Err(refused(error)),
            Err(Stop::Write(error)) => return Err(unwritten(error)),
            Err(Stop::Cancelled) => return Err(BuildError::Cancelled.into()),
        }
        layer.write_all(&tar::END).map_err(unwritten)?;
        let made = layer.finish().map_err(failed(ACTION))?;
        Ok(Record { layer: made.diff_id, size: made.size })
    })
}

/// Why a checkout is not written to its end.
enum Stop {
    Git(git::Error),
    Write(io::Error),
    Cancelled,
}

impl From<git::Error> for Stop {
    fn from(error: git::Error) -> Self {
        Self::Git(error)
    }
}

fn write(entry: Entry<'_>, mtime: Time, layer: &mut LayerWriter<'_, '_>) -> io::Result<()> {
    let body = match &entry.kind {
        EntryKind::Directory => Body::Directory,
        EntryKind::File { size, .. } => Body::File(*size),
        EntryKind::Link { target } => Body::Symlink(target),
    };
    let mode = entry.mode & 0o7777;
    let mut header = Vec::new();
    tar::write_member(
        &Member { path: entry.path, body, mode, uid: 0, gid: 0, mtime, xattrs: &[] },
        &mut header,
    );
    layer.write_all(&header)?;
    if let EntryKind::File { size, content } = entry.kind {
        let copied = io::copy(content, layer)?;
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        layer.write_all(&vec![0; tar::padding(size)])?;
    }
    Ok(())
}

fn request(source: &GitSource) -> Request {
    Request {
        remote: source.remote.clone(),
        reference: source.reference.clone(),
        subdirectory: source.subdirectory.clone(),
        checksum: source.checksum.clone(),
        keep_git_dir: source.keep_git_dir,
        submodules: source.submodules,
        fetch_by_commit: source.fetch_by_commit,
    }
}

fn refused(_: &GitSource) -> impl Fn(git::Error) -> crate::Error + use<> {
    |source| {
        let is_cancelled = matches!(source.root(), git::Error::Cancelled);
        if is_cancelled { BuildError::Cancelled } else { BuildError::Git(Box::new(source)) }.into()
    }
}

/// Has `work` done with the session's client and secrets; what is large lies below the session's folder.
fn with<T>(session: &Session<'_>, by: NamedBy, work: impl FnOnce(&Git<'_>) -> T) -> T {
    let spool = || {
        let folder = session.engine.config.root.join("tmp");
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file: OwnedFd = rustix::fs::open(&folder, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(file.into())
    };
    let secret = |name: &str| {
        let secret = session.request.secrets.get(name)?;
        String::from_utf8(secret.value().to_vec()).ok()
    };
    let is_cancelled = || session.cancel.is_cancelled();
    let (ssh, agent) = (&session.request.ssh, session.request.agents.get(AGENT));
    let serves = match (agent, by) {
        // Whoever gives an agent to a build gives it to all that the build names, as to BuildKit's.
        (Some(_), _) => Serves::All,
        (None, NamedBy::Caller) if ssh.serves_contexts => Serves::Named,
        (None, NamedBy::Caller | NamedBy::Dockerfile) => Serves::Nothing,
    };
    work(&Git {
        client: session.client,
        spool: &spool,
        secret: &secret,
        ssh: Ssh { program: &ssh.program, agent: agent.map(PathBuf::as_path), serves },
        is_cancelled: &is_cancelled,
        limits: Limits::default(),
    })
}
