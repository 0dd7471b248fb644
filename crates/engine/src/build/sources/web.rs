//! Files of the web.

use std::fs::File;
use std::io::{self, Read, Write};

use build::{Key, Record, Source, Step};
use image::tar::{self, Body, Member, Time};
use linux::file::{self, Named as _};
use oci::Digest;
use registry_client::web::{Address, Authorization, Download, DownloadReader, Downloaded};

use crate::Result;
use crate::build::BuildError;
use crate::build::session::Session;
use crate::build::tree::Tree;
use crate::images::failed;

/// The most bytes of a file from the web.
const LIMIT: u64 = 1 << 40;
/// Bytes that are moved at once.
const BUFFER: usize = 256 << 10;

/// Where a file is, and who we are there.
struct Place {
    address: Address,
    authorization: Option<Authorization>,
}

impl Place {
    fn new(session: &Session<'_>, url: &str) -> Result<Place> {
        let address: Address = url.parse().map_err(|source| fetch_failed(url, source))?;
        let secret = |name: &str| {
            let secret = session.request.secrets.get(name)?;
            String::from_utf8(secret.value().to_vec()).ok()
        };
        let authorization =
            address.authorization.clone().or_else(|| Authorization::of_secrets(&address.url, secret));
        Ok(Place { address, authorization })
    }
}

fn fetch_failed(url: &str, source: registry_client::Error) -> crate::Error {
    BuildError::Fetch { url: shown(url), source: Box::new(source) }.into()
}

/// An address without what may be secret in it: the user, and the query.
pub(super) fn shown(url: &str) -> String {
    url.parse::<Address>().map_or_else(|_| "the address".to_owned(), |address| address.url.shown())
}

/// What a file of the web is at present.
pub(in crate::build) fn http(
    session: &Session<'_>,
    url: &str,
    checksum: Option<&Digest>,
) -> Result<Source<Tree>> {
    if let Some(checksum) = checksum {
        return Ok(Source::There { identity: checksum.clone() });
    }
    let place = Place::new(session, url)?;
    let about = session.client.about(&place.address.url, place.authorization.as_ref());
    let about = about.map_err(|source| fetch_failed(url, source))?;
    let size = about.size.map(|size| size.to_string()).unwrap_or_default();
    let identity = match &about.known.etag {
        Some(etag) => Key::of("http", [url, etag, &size]),
        // Where the server does not say which version it is, it may be another one each time. A time says little: it has whole
        // seconds, and there are servers whose files all have the same one.
        None => Key::of("http once", [url, &session.nonce]),
    };
    session.found.put_file(url, about.known);
    session.found.put_identity(url, identity.digest());
    Ok(Source::There { identity: identity.digest().clone() })
}

/// When a file was changed, in seconds since 1970, if its server says so.
pub(super) fn modified(session: &Session<'_>, url: &str) -> Result<Option<i64>> {
    let place = Place::new(session, url)?;
    let about = session.client.about(&place.address.url, place.authorization.as_ref());
    let about = about.map_err(|source| fetch_failed(url, source))?;
    Ok(about.modified.and_then(|seconds| i64::try_from(seconds).ok()))
}

/// Begins to download a file.
pub(super) fn open(
    session: &Session<'_>,
    url: &str,
    checksum: Option<&Digest>,
) -> Result<Box<DownloadReader>> {
    let place = Place::new(session, url)?;
    let download = Download {
        url: &place.address.url,
        authorization: place.authorization.as_ref(),
        limit: LIMIT,
        checksum,
        known: &[],
    };
    match session.client.download(&download).map_err(|source| fetch_failed(url, source))? {
        Downloaded::New(reader) => Ok(reader),
        // Nothing was said to be known.
        Downloaded::Unchanged { .. } => Err(BuildError::NoLayer { what: shown(url) }.into()),
    }
}

/// Fetches a file of the web: alone in a layer, mode 0600.
pub(in crate::build) fn fetch_http(
    session: &Session<'_>,
    url: &str,
    name: &str,
    checksum: Option<&Digest>,
    step: &Step<'_>,
) -> Result<Record> {
    let mut reader = open(session, url, checksum)?;
    if session.found.is_other(url, &reader.about().known) {
        return Err(BuildError::ChangedElsewhere { url: shown(url) }.into());
    }
    let path = session.draft.fresh("download");
    let spool = file::create_new(&path, 0o600)
        .map_err(|source| crate::Error::File { action: "make a file for a download", source })?;
    let total = reader.about().size;
    let (mut received, mut buffer) = (0, vec![0; BUFFER]);
    loop {
        if step.cancel.is_cancelled() {
            return Err(BuildError::Cancelled.into());
        }
        let read = reader
            .read(&mut buffer)
            .map_err(|error| BuildError::Download { url: shown(url), source: error })?;
        if read == 0 {
            break;
        }
        (&spool)
            .write_all(&buffer[..read])
            .named("write", &path)
            .map_err(|source| crate::Error::File { action: "keep a download", source })?;
        received += read as u64;
        step.progress(name, received, total);
    }
    session.found.put_digest(url, reader.digest());
    let modified = reader.about().modified.and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0);
    layer_of_file(session, name, &path, received, modified)
}

/// A layer of one file.
fn layer_of_file(
    session: &Session<'_>,
    name: &str,
    path: &std::path::Path,
    size: u64,
    modified: i64,
) -> Result<Record> {
    const ACTION: &str = "make a layer of a download";
    let mut content = file::open(path).map_err(|source| crate::Error::File { action: ACTION, source })?;
    let member = Member {
        path: name.as_bytes(),
        body: Body::File(size),
        mode: 0o600,
        uid: 0,
        gid: 0,
        mtime: Time { secs: modified, nanos: 0 },
        xattrs: &[],
    };
    let mut layer = session.draft.layer().map_err(failed(ACTION))?;
    let mut header = Vec::new();
    tar::write_member(&member, &mut header);
    let write = |layer: &mut image::LayerWriter<'_, '_>, content: &mut File| -> io::Result<()> {
        layer.write_all(&header)?;
        io::copy(content, layer)?;
        layer.write_all(&vec![0; tar::padding(size)])?;
        layer.write_all(&tar::END)
    };
    write(&mut layer, &mut content).map_err(|source| crate::Error::System {
        action: ACTION,
        path: path.into(),
        source,
    })?;
    // It has its own copy now.
    drop(file::remove_if_exists(path));
    let made = layer.finish().map_err(failed(ACTION))?;
    Ok(Record { layer: made.diff_id, size: made.size })
}
