//! From an address to verified indexes.

use std::io::Read;
use std::path::Path;

use debian::openpgp::Keyring;
use debian::{IndexFile, Release, hex};
use oci::{Digest, Timestamp};

use super::error::BootstrapError as Failure;
use super::fetch::Fetcher;
use super::sources::{Plan, Source};

/// That of Debian's main archive has 150 KB.
const RELEASE_LIMIT: u64 = 16 << 20;
const SIGNATURE_LIMIT: u64 = 1 << 20;
const KEYRING_LIMIT: u64 = 16 << 20;
/// That of Debian's main archive has 50 MB, uncompressed.
const INDEX_LIMIT: u64 = 512 << 20;
/// A clock may be behind that of the archive by so many seconds.
const SKEW: i64 = 300;

/// An index of packages.
pub(super) struct Index {
    pub(super) url: String,
    pub(super) text: String,
}

/// What there is in a suite.
pub(super) struct Suite {
    pub(super) date: i64,
    pub(super) indexes: Vec<Index>,
}

/// Reads the keys that are trusted.
pub(super) fn keyring(path: &Path) -> Result<Keyring, Failure> {
    let bytes = linux::file::read_bounded(path, KEYRING_LIMIT)
        .map_err(|source| Failure::NoKeyring { path: path.to_owned(), source })?;
    Keyring::parse(&bytes).map_err(|source| Failure::Keyring { path: path.to_owned(), source })
}

/// Reads the indexes of a suite.
pub(super) fn read(
    fetcher: &Fetcher<'_>,
    source: &Source,
    plan: &Plan,
    keyring: &Keyring,
    now: i64,
) -> Result<Suite, Failure> {
    let folder = format!("{}/dists/{}", source.url, source.suite);
    let (url, text) = release(fetcher, &folder, keyring, now)?;
    let release = Release::parse(&text).map_err(|source| Failure::Index { url: url.clone(), source })?;
    check(&release, source, plan, &url, now)?;
    let mut indexes = Vec::new();
    for component in &source.components {
        let of = |architecture: &str| format!("{component}/binary-{architecture}/Packages");
        let own = index(fetcher, &folder, &release, &of(&plan.architecture))?;
        indexes.push(own.ok_or_else(|| Failure::NoIndex {
            url: url.clone(),
            component: component.clone(),
            architecture: plan.architecture.clone(),
        })?);
        if release.splits_all {
            indexes.extend(index(fetcher, &folder, &release, &of("all"))?);
        }
    }
    Ok(Suite { date: release.date, indexes })
}

/// The verified text of a Release file, signed within or beside.
fn release(
    fetcher: &Fetcher<'_>,
    folder: &str,
    keyring: &Keyring,
    now: i64,
) -> Result<(String, String), Failure> {
    let url = format!("{folder}/InRelease");
    let distrust = |url: &str| {
        let url = url.to_owned();
        move |source| Failure::Signature { url, source }
    };
    if let Some(bytes) = fetcher.read(&url, RELEASE_LIMIT)? {
        let (text, _) = keyring.verify_clear_signed(&bytes, now).map_err(distrust(&url))?;
        return Ok((url, text));
    }
    let (plain, detached) = (format!("{folder}/Release"), format!("{folder}/Release.gpg"));
    let bytes = fetcher.read(&plain, RELEASE_LIMIT)?.ok_or(Failure::NotThere { url })?;
    let signature = fetcher
        .read(&detached, SIGNATURE_LIMIT)?
        .ok_or_else(|| Failure::NotThere { url: detached.clone() })?;
    keyring.verify_detached(&bytes, &signature, now).map_err(distrust(&detached))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| broken(&plain, std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    Ok((plain, text))
}

fn broken(url: &str, source: std::io::Error) -> Failure {
    Failure::Read { url: url.to_owned(), source }
}

/// A good signature does not say that this is what was asked for, nor that it still holds.
fn check(release: &Release, source: &Source, plan: &Plan, url: &str, now: i64) -> Result<(), Failure> {
    let at = |seconds| Timestamp::new(seconds, 0).unwrap_or(Timestamp::EPOCH);
    if source.suite != release.suite && source.suite != release.codename {
        let found = if release.codename.is_empty() { &release.suite } else { &release.codename };
        return Err(Failure::OtherSuite {
            url: url.to_owned(),
            wanted: source.suite.clone(),
            found: found.chars().take(80).collect(),
        });
    }
    if release.date > now + SKEW {
        return Err(Failure::FromTheFuture { url: url.to_owned(), date: at(release.date) });
    }
    match release.valid_until {
        Some(until) if until < now && !plan.allow_expired => {
            Err(Failure::Expired { url: url.to_owned(), until: at(until) })
        }
        _ => Ok(()),
    }
}

/// An index, if the Release file lists it: compressed where there is a choice, by its sum where that is offered.
fn index(
    fetcher: &Fetcher<'_>,
    folder: &str,
    release: &Release,
    path: &str,
) -> Result<Option<Index>, Failure> {
    let plain = release.file(path);
    let found = [".xz", ".gz", ""].iter().find_map(|ending| {
        let path = format!("{path}{ending}");
        release.file(&path).map(|listed| (path, listed))
    });
    let Some((path, listed)) = found else { return Ok(None) };
    let mut url = format!("{folder}/{path}");
    let mut bytes = None;
    if release.by_hash {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let by_hash = format!("{folder}/{parent}/by-hash/SHA256/{}", hex(&listed.sha256));
        bytes = fetcher.read(&by_hash, listed.size)?;
        url = if bytes.is_some() { by_hash } else { url };
    }
    let bytes = match bytes {
        Some(bytes) => bytes,
        None => fetcher.read(&url, listed.size)?.ok_or_else(|| Failure::NotThere { url: url.clone() })?,
    };
    verify(&url, &bytes, listed)?;
    let limit = plain.map_or(INDEX_LIMIT, |plain| plain.size.min(INDEX_LIMIT));
    let mut compressed = &bytes[..];
    let opened = image::decompressed(&url, &mut compressed)
        .map_err(|source| Failure::Unpack { package: url.clone(), source })?;
    let mut text = String::new();
    // One more than may be, so that too much is noticed.
    opened.take(limit + 1).read_to_string(&mut text).map_err(|source| broken(&url, source))?;
    if text.len() as u64 > limit {
        return Err(Failure::TooLong { url, limit });
    }
    if let Some(plain) = plain {
        verify(&url, text.as_bytes(), plain)?;
    }
    Ok(Some(Index { url, text }))
}

fn verify(url: &str, bytes: &[u8], expected: IndexFile) -> Result<(), Failure> {
    let (wanted, got) = (Digest::from_sha256(expected.sha256), Digest::of(bytes));
    if wanted == got && bytes.len() as u64 == expected.size {
        return Ok(());
    }
    Err(mismatch(url, (&wanted, expected.size), (&got, bytes.len() as u64)))
}

/// Names both sides.
pub(super) fn mismatch(url: &str, expected: (&Digest, u64), got: (&Digest, u64)) -> Failure {
    let shown = |(digest, size): (&Digest, u64)| format!("{digest} ({size} bytes)");
    Failure::Mismatch { url: url.to_owned(), expected: shown(expected), got: shown(got) }
}
