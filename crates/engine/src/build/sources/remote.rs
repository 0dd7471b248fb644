//! A main context from elsewhere: a repository, a tar, or a Dockerfile alone. A folder of a tar is named as one of a repository is:
//! `https://host/source.tar.gz#:folder`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use build::{Cancel, Record, Source, Step};
use dockerfile::lower::{GitSource, file_name, is_git, parse_git};
use dockerfile::source::FILE_LIMIT;
use image::LoadedLayer;
use image::files::Merged;
use linux::file::{self, Named as _};
use registry_client::Client;

use super::{NamedBy, web};
use crate::build::BuildError;
use crate::build::context::{self, Received};
use crate::build::progress::{Part, Progress};
use crate::build::session::Session;
use crate::build::tree::Tree;
use crate::images::failed;
use crate::request::{Build, CallersSsh, Secret};
use crate::{Engine, Result};

/// What the addresses of repositories may begin with that name no scheme.
const GITHUB: &str = "github.com/";

/// Fetches a context.
pub(in crate::build) fn remote(
    session: &Session<'_>,
    url: &str,
    progress: &Progress<'_>,
) -> Result<Received> {
    let name = format!("[internal] load remote build context {}", web::shown(url));
    progress.internal(&name, |part| match is_repository(url) {
        true => repository(session, url),
        false => archive(session, url, part),
    })
}

/// Files elsewhere, of which some are read before anything is built.
#[derive(Debug, Default)]
pub struct ReadRemote<'a> {
    /// A repository, an archive, or the one file.
    pub url: &'a str,
    /// The paths that are wanted of a folder.
    pub names: &'a [&'a str],
    /// The most bytes of one.
    pub limit: u64,
    /// Secrets by which repositories and servers know the caller, as builds have them.
    pub secrets: BTreeMap<String, Secret>,
    /// How repositories are reached over ssh.
    pub ssh: CallersSsh,
}

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RemoteFiles {
    /// Whether the address is that of a folder, not of a file alone.
    pub is_folder: bool,
    /// Those that are there, in the order in which they were asked for.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Engine {
    /// Reads files of a repository, of an archive of the web, or one file of the web.
    ///
    /// # Errors
    /// If they cannot be fetched, or are too large.
    pub fn read_remote(
        &self,
        client: &Client,
        wanted: &ReadRemote<'_>,
        cancel: &Cancel,
    ) -> Result<RemoteFiles> {
        let (secrets, ssh) = (wanted.secrets.clone(), wanted.ssh.clone());
        let request = Build { secrets, ssh, ..Build::default() };
        let session = Session::new(self, client, &request, cancel)?;
        let tree = match remote(&session, wanted.url, &Progress::new(&|_| {}))? {
            Received::Dockerfile(text) => {
                let files = vec![(file_name(wanted.url), text)];
                return Ok(RemoteFiles { is_folder: false, files });
            }
            Received::Tree(tree) => tree,
        };
        let view = session.view(&tree)?;
        let mut files = Vec::new();
        for name in wanted.names {
            files.extend(view.read(name, wanted.limit)?.map(|bytes| ((*name).to_owned(), bytes)));
        }
        Ok(RemoteFiles { is_folder: true, files })
    }
}

/// The address of a file of the web, and the folder that is wanted of what is in it.
pub(in crate::build) fn parted(url: &str) -> (&str, Option<&str>) {
    match url.split_once("#:") {
        Some((address, folder)) if !is_repository(url) => (address, Some(folder)),
        Some(_) | None => (url, None),
    }
}

/// What a context with a name is at present, a repository, a folder of an archive, or a file of the web.
pub(in crate::build) fn named(session: &Session<'_>, url: &str) -> Result<Source<Tree>> {
    match is_repository(url) {
        true => super::git(session, &parsed(url, None)?, NamedBy::Caller),
        false if parted(url).1.is_some() => {
            let silent = Progress::new(&|_| {});
            match silent.internal("", |part| archive(session, url, part))? {
                Received::Tree(tree) => Ok(Source::Here { identity: Some(tree.chain()), tree }),
                Received::Dockerfile(_) => Err(no_folder(url)),
            }
        }
        false => super::http(session, url, None),
    }
}

/// Fetches a context with a name. A file is alone in it, whatever it holds.
pub(in crate::build) fn fetch_named(session: &Session<'_>, url: &str, step: &Step<'_>) -> Result<Record> {
    match is_repository(url) {
        true => super::fetch_git(session, &parsed(url, None)?, NamedBy::Caller, step),
        false => super::fetch_http(session, url, &file_name(url), None, step),
    }
}

/// The time of a context, in seconds since 1970, if it has one.
pub(in crate::build) fn time_of_context(
    session: &Session<'_>,
    url: &str,
    part: &Part<'_>,
) -> Result<Option<i64>> {
    match is_repository(url) {
        true => super::committed(session, &parsed(url, None)?, NamedBy::Caller).map(Some),
        false => modified(session, url, part),
    }
}

/// When a file of the web was changed, as its server says; else, if it is an archive, when the last file in it was.
pub(in crate::build) fn modified(session: &Session<'_>, url: &str, part: &Part<'_>) -> Result<Option<i64>> {
    if let Some(seconds) = web::modified(session, url)? {
        return Ok(Some(seconds));
    }
    let Received::Tree(tree) = file(session, url, part)? else { return Ok(None) };
    let action = "look up the times of an archive";
    let merged = Merged::open(&session.engine.store, &tree.diff_ids()).map_err(failed(action))?;
    let mut newest = None;
    let visited = merged.files(&mut |_, file| {
        newest = newest.max(Some(file.modified));
        Ok(())
    });
    visited.map_err(failed(action))?;
    Ok(newest)
}

/// Whether an address that a caller gives as a context is that of a repository.
fn is_repository(url: &str) -> bool {
    url.starts_with(GITHUB) || is_git(url)
}

fn parsed(url: &str, keep: Option<bool>) -> Result<GitSource> {
    // Without a scheme it is no file of the caller's, as it would be in a Dockerfile.
    let url = if url.starts_with(GITHUB) { format!("https://{url}") } else { url.to_owned() };
    parse_git(&url, keep, None).map_err(|message| BuildError::ContextAddress { message }.into())
}

fn repository(session: &Session<'_>, url: &str) -> Result<Received> {
    let keep = session.request.arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    let keep = keep.map(|text| matches!(text.as_str(), "1" | "true"));
    let source = parsed(url, keep)?;
    let silent = |_: build::Event<'_>| {};
    let step = Step::new(0, session.cancel, &silent);
    let made = super::fetch_git(session, &source, NamedBy::Caller, &step)?;
    let layer = LoadedLayer { diff_id: made.layer, size: made.size, blob: None };
    Ok(Received::Tree(Tree::empty().with(layer)))
}

/// A file of the web, or the folder of an archive that its address names.
fn archive(session: &Session<'_>, url: &str, part: &Part<'_>) -> Result<Received> {
    let (address, folder) = parted(url);
    let received = file(session, address, part)?;
    match (folder, received) {
        (None, received) => Ok(received),
        (Some(folder), Received::Tree(tree)) => {
            let step = Step::new(0, session.cancel, &|_| {});
            let folder = super::super::copy::folder(session, &tree, folder, &step)?;
            folder.map(Received::Tree).ok_or_else(|| no_folder(url))
        }
        (Some(_), Received::Dockerfile(_)) => Err(no_folder(url)),
    }
}

fn no_folder(url: &str) -> crate::Error {
    let (address, folder) = parted(url);
    let message =
        format!("{} is no archive with a folder {:?}", web::shown(address), folder.unwrap_or_default());
    BuildError::ContextAddress { message }.into()
}

fn file(session: &Session<'_>, url: &str, part: &Part<'_>) -> Result<Received> {
    let mut reader = web::open(session, url, None)?;
    let path = session.draft.fresh("context");
    let failed = |source| crate::Error::File { action: "keep a remote context", source };
    let mut spool = file::create_new(&path, 0o600).map_err(failed)?;
    let (total, mut received, mut buffer) = (reader.about().size, 0, vec![0; 256 << 10]);
    loop {
        if session.cancel.is_cancelled() {
            return Err(BuildError::Cancelled.into());
        }
        let read = reader.read(&mut buffer);
        let read = read.map_err(|source| BuildError::Download { url: web::shown(url), source })?;
        if read == 0 {
            break;
        }
        spool.write_all(&buffer[..read]).named("write", &path).map_err(failed)?;
        received += read as u64;
        part.progress("transferring context:", received, total, false);
    }
    session.found.put_digest(url, reader.digest());
    drop(spool);
    let spooled = file::open(&path).map_err(failed)?;
    drop(file::remove_if_exists(&path));
    context::receive(session, spooled.into(), FILE_LIMIT as u64, session.cancel, &|_| {})
}
