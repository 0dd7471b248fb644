//! A main context from elsewhere: a repository, a tar, or a Dockerfile alone.

use std::io::{Read as _, Write as _};

use build::Step;
use dockerfile::lower::{is_git, parse_git};
use dockerfile::source::FILE_LIMIT;
use image::LoadedLayer;
use linux::file::{self, Named as _};

use super::web;
use crate::Result;
use crate::build::BuildError;
use crate::build::context::{self, Received};
use crate::build::progress::{Part, Progress};
use crate::build::session::Session;
use crate::build::tree::Tree;

const HOSTED: &str = "github.com/";

/// Fetches a context.
pub(in crate::build) fn remote(
    session: &Session<'_>,
    url: &str,
    progress: &Progress<'_>,
) -> Result<Received> {
    let name = format!("[internal] load remote build context {}", web::shown(url));
    // The one host that needs no scheme, as in `docker build github.com/who/what`.
    let hosted = url.starts_with(HOSTED).then(|| format!("https://{url}"));
    progress.internal(&name, |part| match (&hosted, is_git(url)) {
        (Some(url), _) => repository(session, url),
        (None, true) => repository(session, url),
        (None, false) => file(session, url, part),
    })
}

fn repository(session: &Session<'_>, url: &str) -> Result<Received> {
    let keep = session.request.arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    let keep = keep.map(|text| matches!(text.as_str(), "1" | "true"));
    let source = parse_git(url, keep, None).map_err(|message| BuildError::ContextAddress { message })?;
    let silent = |_: build::Event<'_>| {};
    let made = super::fetch_git(session, &source, &Step::new(0, session.cancel, &silent))?;
    let layer = LoadedLayer { diff_id: made.layer, size: made.size, blob: None };
    Ok(Received::Tree(Tree::empty().with(layer)))
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
        part.progress("transferring context", received, total, false);
    }
    drop(spool);
    let spooled = file::open(&path).map_err(failed)?;
    drop(file::remove_if_exists(&path));
    context::receive(session, spooled.into(), FILE_LIMIT as u64, session.cancel, &|_| {})
}
