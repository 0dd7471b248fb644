//! Where bake files come from: `-f`, this folder, `BUILDX_BAKE_FILE`, a repository or an archive of the web.
//!
//! | arguments begin with | `-f` | files |
//! |---|---|---|
//! | targets | none | those of `BUILDX_BAKE_FILE`, else the usual names of this folder |
//! | targets | names | these, here; `-` is standard input |
//! | a URL of a folder | none | the usual names in it |
//! | a URL of a folder | names | these, in it; those that begin with `cwd://`, here |
//! | a URL of a file | none | it |
//!
//! A second URL is what `BAKE_CMD_CONTEXT` says. Files that Compose files name are where these are; those that a file alone names, below this
//! folder.

use std::path::Path;

use ::bake::{FILES, File};
use build::Cancel;
use dockerfile::lower::{is_git, parse_git};
use engine::build::{ReadRemote, RemoteFiles};
use engine::request::Secret;

use super::allow;
use crate::build::fault::Fault;
use crate::build::{place, sources};
use crate::context::Context;
use crate::error::Result;
use crate::flags::Parsed;
use crate::image::registries;
use crate::values::environment;

/// The most bytes of a bake file.
const LIMIT: u64 = 4 << 20;
/// What is here, wherever the definition is.
pub(super) const HERE: &str = "cwd://";

/// Bake files, and what belongs to them.
pub(super) struct Definition {
    pub(super) files: Vec<File>,
    /// The text of `.env`, for Compose files that are here.
    pub(super) dotenv: Option<String>,
    /// The folder elsewhere that they are from.
    pub(super) remote: Option<Remote>,
    /// Whether somebody else has written them.
    pub(super) is_foreign: bool,
}

/// A folder elsewhere.
#[derive(Debug)]
pub(super) struct Remote {
    url: String,
}

/// The addresses at the beginning of the words, at most two, and the targets.
pub(super) fn addresses(words: &[String]) -> (&[String], &[String]) {
    let count = words.iter().take(2).take_while(|word| place::is_remote(word)).count();
    words.split_at(count)
}

impl Definition {
    /// Reads what is asked for.
    pub(super) fn read(context: &Context, parsed: &Parsed, addresses: &[String]) -> Result<Definition> {
        let named: Vec<&str> = parsed.list("file").collect();
        match addresses.first() {
            Some(url) => Self::of_remote(context, url, &named),
            None => Self::of_here(&named),
        }
    }

    fn of_here(named: &[&str]) -> Result<Definition> {
        let of_environment = if named.is_empty() { of_environment() } else { Vec::new() };
        let named = named.iter().copied().chain(of_environment.iter().map(String::as_str));
        let mut files = named.map(local).collect::<Result<Vec<_>>>()?;
        if files.is_empty() {
            let found = FILES.iter().filter(|name| Path::new(name).exists());
            files = found.map(|name| local(name)).collect::<Result<_>>()?;
        }
        if files.is_empty() {
            return Err(Fault::NoBakeFile.into());
        }
        let dotenv = dotenv(&files)?;
        Ok(Definition { files, dotenv, remote: None, is_foreign: false })
    }

    /// A file that a Compose file names; none if there is no such file.
    ///
    /// # Errors
    /// Why it is not to be had.
    pub(super) fn other(&self, context: &Context, path: &str) -> std::result::Result<Option<String>, String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if let Some(remote) = &self.remote {
            let found = fetched(context, &remote.url, &[path]);
            let found = found.map_err(|error| linux::chain(&error))?;
            return Ok(found.files.into_iter().next().map(|(_, bytes)| text(bytes)));
        }
        if self.is_foreign && !allow::is_below_here(path).map_err(|error| linux::chain(&error))? {
            return Err("a file from elsewhere may name files of this folder alone".to_owned());
        }
        match linux::file::read_bounded(Path::new(path), LIMIT) {
            Ok(bytes) => Ok(Some(text(bytes))),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.source.to_string()),
        }
    }

    fn of_remote(context: &Context, url: &str, named: &[&str]) -> Result<Definition> {
        let there: Vec<&str> = named.iter().copied().filter(|name| !name.starts_with(HERE)).collect();
        let names = if named.is_empty() { FILES.to_vec() } else { there.clone() };
        let found = fetched(context, url, &names)?;
        let text = |(name, bytes): (String, Vec<u8>)| File {
            name,
            content: String::from_utf8_lossy(&bytes).into_owned(),
        };
        let mut files_there = found.files.into_iter().map(text);
        if !found.is_folder {
            // A file alone is all there is of it: what its targets name is here.
            let mut files: Vec<File> = files_there.collect();
            for name in named {
                files.push(local(name.strip_prefix(HERE).unwrap_or(name))?);
            }
            return Ok(Definition { dotenv: dotenv(&files)?, files, remote: None, is_foreign: true });
        }
        let mut files = Vec::new();
        if named.is_empty() {
            files.extend(files_there);
        } else {
            for name in named {
                files.push(match name.strip_prefix(HERE) {
                    Some(name) => local(name)?,
                    None => {
                        let missing =
                            || Fault::NoRemoteBakeFile { name: (*name).to_owned(), url: url.to_owned() };
                        files_there.next().filter(|file| file.name == *name).ok_or_else(missing)?
                    }
                });
            }
        }
        if files.is_empty() {
            return Err(Fault::NoBakeFile.into());
        }
        Ok(Definition { files, dotenv: None, remote: Some(Remote { url: url.to_owned() }), is_foreign: true })
    }
}

/// Files of a repository, of an archive, or the one file.
fn fetched(context: &Context, url: &str, names: &[&str]) -> Result<RemoteFiles> {
    let secrets = [
        ("GIT_AUTH_TOKEN", "BUILDX_BAKE_GIT_AUTH_TOKEN"),
        ("GIT_AUTH_HEADER", "BUILDX_BAKE_GIT_AUTH_HEADER"),
    ]
    .into_iter()
    .filter_map(|(id, variable)| {
        Some((id.to_owned(), Secret::new(environment::caller(variable)?.as_bytes())))
    });
    let wanted = ReadRemote { url, names, limit: LIMIT, secrets: secrets.collect(), ssh: sources::ssh(true) };
    let client = registries::client(context)?;
    Ok(context.engine()?.read_remote(&client, &wanted, &Cancel::new())?)
}

/// The files that the environment names.
fn of_environment() -> Vec<String> {
    let separator = environment::caller("BUILDX_BAKE_PATH_SEPARATOR").filter(|text| !text.is_empty());
    let names = environment::caller("BUILDX_BAKE_FILE").unwrap_or_default();
    let names = names.split(separator.as_deref().unwrap_or(":"));
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn local(name: &str) -> Result<File> {
    let bytes = match name {
        "-" => place::stdin_text()?,
        name => linux::file::read_bounded(Path::new(name), LIMIT)?,
    };
    Ok(File { name: name.to_owned(), content: String::from_utf8_lossy(&bytes).into_owned() })
}

/// `.env` of this folder, where a Compose file might want it.
fn dotenv(files: &[File]) -> Result<Option<String>> {
    let is_compose = |file: &File| {
        let name = file.name.to_lowercase();
        !(name.ends_with(".hcl") || name.ends_with(".json"))
    };
    let path = Path::new(".env");
    if !files.iter().any(is_compose) || !path.is_file() {
        return Ok(None);
    }
    let bytes = linux::file::read_bounded(path, LIMIT)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

impl Remote {
    /// The address of a folder below it, by a path without `..`.
    pub(super) fn below(&self, path: &str) -> std::result::Result<String, String> {
        let path = path.trim_matches('/');
        if matches!(path, "" | ".") {
            return Ok(self.url.clone());
        }
        if path.split('/').any(|part| part == "..") {
            return Err(format!("context {path:?} leads out of {}", self.url));
        }
        // Of an archive a folder is named as of a repository, wherever a query stands.
        if !(is_git(&self.url) || self.url.starts_with("github.com/")) {
            let (address, above) = self.url.split_once("#:").unwrap_or((&self.url, ""));
            return Ok(format!("{address}#:{}", joined(above, path)));
        }
        // A query says things of its own, which stay as they are.
        if self.url.contains('?') {
            let source = parse_git(&self.url, None, None)?;
            let inner =
                source.subdirectory.map_or_else(|| path.to_owned(), |above| format!("{above}/{path}"));
            let kept = self.url.split('#').next().unwrap_or_default();
            let (remote, query) = kept.split_once('?').unwrap_or((kept, ""));
            let query = query.split('&').filter(|pair| !pair.starts_with("subdir="));
            let query: Vec<&str> = query.collect();
            return Ok(format!("{remote}?{}&subdir={inner}", query.join("&")));
        }
        let (remote, fragment) = self.url.split_once('#').unwrap_or((&self.url, ""));
        let (reference, above) = fragment.split_once(':').unwrap_or((fragment, ""));
        Ok(format!("{remote}#{reference}:{}", joined(above, path)))
    }

    /// The same for a context with a name, for which an archive is a file unless a folder of it is meant.
    pub(super) fn named(&self, path: &str) -> std::result::Result<String, String> {
        let address = self.below(path)?;
        let is_file = !(is_git(&address) || address.starts_with("github.com/") || address.contains("#:"));
        Ok(if is_file { format!("{address}#:") } else { address })
    }
}

/// A path below another.
fn joined(above: &str, path: &str) -> String {
    match above.trim_matches('/') {
        "" => path.to_owned(),
        above => format!("{above}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_a_repository_have_addresses() {
        for (url, path, want) in [
            ("https://h/a.git", ".", "https://h/a.git"),
            ("https://h/a.git", "sub/x", "https://h/a.git#:sub/x"),
            ("https://h/a.git#main", "/sub/", "https://h/a.git#main:sub"),
            ("https://h/a.git#main:top", "sub", "https://h/a.git#main:top/sub"),
            ("git@h:a.git#v1", "sub", "git@h:a.git#v1:sub"),
            ("https://h/a.git?ref=main&subdir=top", "sub", "https://h/a.git?ref=main&subdir=top/sub"),
            ("https://h/a.tar", ".", "https://h/a.tar"),
            ("https://h/a.tar", "sub/x/", "https://h/a.tar#:sub/x"),
            ("https://h/a.tar.gz?token=1#:top", "sub", "https://h/a.tar.gz?token=1#:top/sub"),
        ] {
            assert_eq!(Remote { url: url.to_owned() }.below(path).unwrap(), want, "{url} {path}");
        }
        for (url, path) in
            [("https://h/a.git", "../x"), ("https://h/a.tar", "../x"), ("https://h/a.git", "a/../../b")]
        {
            assert!(Remote { url: url.to_owned() }.below(path).is_err(), "{url} {path}");
        }
    }

    #[test]
    fn an_archive_that_has_a_name_is_a_folder() {
        for (url, path, want) in [
            ("https://h/a.tar", ".", "https://h/a.tar#:"),
            ("https://h/a.tar", "sub", "https://h/a.tar#:sub"),
            ("https://h/a.git", ".", "https://h/a.git"),
        ] {
            assert_eq!(Remote { url: url.to_owned() }.named(path).unwrap(), want, "{url} {path}");
        }
    }

    #[test]
    fn addresses_stand_before_targets() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (text, count) in [
            ("app", 0),
            ("https://h/a.git app", 1),
            ("https://h/a.git https://h/b.git app", 2),
            ("app https://h/a.git", 0),
        ] {
            assert_eq!(addresses(&words(text)).0.len(), count, "{text}");
        }
    }
}
