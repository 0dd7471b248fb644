//! The Dockerfile and the ignore file that a call is about.

use std::path::{Path, PathBuf};

use dockerfile::ignore::{self, Matcher};
use engine::request::{BuildContext, DockerfileSource};

use super::super::fault::Fault;
use super::super::place::{DOCKERFILE_LIMIT, Place};
use crate::error::{Error, Result};

/// The most bytes of an ignore file.
const IGNORE_LIMIT: u64 = 16 << 20;

/// A Dockerfile and what goes with it.
pub(super) struct Text {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) ignored: Option<Matcher>,
}

/// Reads the Dockerfile; messages call it what the caller does.
pub(super) fn read(place: &Place, given: Option<&str>) -> Result<Text> {
    let folder = match &place.context {
        BuildContext::Directory(folder) => Some(folder.as_path()),
        BuildContext::Empty | BuildContext::Stream(_) | BuildContext::Remote(_) => None,
    };
    let (name, path, bytes) = match (&place.dockerfile, folder) {
        (DockerfileSource::Text(bytes), _) => ("Dockerfile".to_owned(), None, bytes.clone()),
        (DockerfileSource::File(path), _) => {
            let name = given.map_or_else(|| path.display().to_string(), str::to_owned);
            let bytes = bytes_of(path, &name)?;
            (name, Some(path.clone()), bytes)
        }
        (DockerfileSource::Default, Some(folder)) => {
            let (name, path, bytes) = first_of(folder)?;
            (name.to_owned(), Some(path), bytes)
        }
        (DockerfileSource::InContext(file), Some(folder)) => {
            let path = folder.join(file);
            let bytes = bytes_of(&path, file)?;
            (file.clone(), Some(path), bytes)
        }
        (DockerfileSource::Default | DockerfileSource::InContext(_), None) => {
            let what = match place.context {
                BuildContext::Stream(_) => "an archive",
                BuildContext::Remote(_) | BuildContext::Directory(_) | BuildContext::Empty => "a repository",
            };
            return Err(Fault::CallNeedsFile { what }.into());
        }
    };
    let own = path.map(|path| {
        let mut name = path.into_os_string();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    let shared = folder.map(|folder| folder.join(".dockerignore"));
    Ok(Text { name, bytes, ignored: ignored([own, shared].into_iter().flatten())? })
}

fn bytes_of(path: &Path, name: &str) -> Result<Vec<u8>> {
    linux::file::read_bounded(path, DOCKERFILE_LIMIT).map_err(|error| match error.is_missing() {
        true => Fault::NoDockerfile { name: name.to_owned() }.into(),
        false => Error::File(error),
    })
}

/// The Dockerfile of a folder.
fn first_of(folder: &Path) -> Result<(&'static str, PathBuf, Vec<u8>)> {
    for name in ["Dockerfile", "dockerfile", "Containerfile"] {
        let path = folder.join(name);
        match bytes_of(&path, name) {
            Err(Error::Build(Fault::NoDockerfile { .. })) => {}
            found => return found.map(|bytes| (name, path, bytes)),
        }
    }
    Err(Fault::NoDockerfile { name: "Dockerfile".to_owned() }.into())
}

/// The patterns of the first of these files that is there.
fn ignored(mut files: impl Iterator<Item = PathBuf>) -> Result<Option<Matcher>> {
    let found = files.find_map(|path| match linux::file::read_bounded(&path, IGNORE_LIMIT) {
        Err(error) if error.is_missing() => None,
        read => Some((path, read)),
    });
    let Some((path, read)) = found else { return Ok(None) };
    let matcher = Matcher::new(ignore::read(&read?));
    let matcher = matcher
        .map_err(|error| Fault::IgnoreFile { name: path.display().to_string(), reason: error.to_string() })?;
    Ok(Some(matcher))
}
