//! Which files a build has: `PATH | URL | -`, `-f`, and standard input, which is at most one of the two.
//!
//! ```text
//! argument      -f           context               Dockerfile
//! a directory   -            the directory         standard input
//! a directory   none         the directory         Dockerfile in it
//! a directory   a path       the directory         the path, from the working directory
//! -             none         a tar on stdin        Dockerfile in it
//! -             none         nothing               what is on stdin, where that is no tar
//! -             a path       a tar on stdin        the path in it
//! a URL         -            the URL's             standard input
//! a URL         a path       the URL's             the path in it
//! ```

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use engine::request::{BuildContext, DockerfileSource};
use linux::signal;

use super::fault::Fault;
use crate::context::absolute;
use crate::error::{Error, Result};

/// The files of a build.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) context: BuildContext,
    pub(crate) dockerfile: DockerfileSource,
}

/// The most bytes of a Dockerfile.
pub(super) const DOCKERFILE_LIMIT: u64 = dockerfile::source::FILE_LIMIT as u64;

/// Finds out what `argument` and `-f` mean.
pub(crate) fn locate(argument: &str, file: Option<&str>) -> Result<Place> {
    let file = file.filter(|file| !file.is_empty());
    match (argument, file) {
        ("", _) => Err(Fault::NoContext.into()),
        ("-", Some("-")) => Err(Fault::StdinTwice.into()),
        ("-", file) => from_stdin(file),
        // A directory counts before a URL of the same name.
        (path, file) if Path::new(path).is_dir() => {
            let dockerfile = match file {
                None => DockerfileSource::Default,
                Some("-") => DockerfileSource::Text(stdin_text()?),
                Some(file) => DockerfileSource::File(absolute(file)?),
            };
            Ok(Place { context: BuildContext::Directory(absolute(path)?), dockerfile })
        }
        (url, file) if is_remote(url) => {
            let dockerfile = match file {
                None => DockerfileSource::Default,
                Some("-") => DockerfileSource::Text(stdin_text()?),
                Some(file) if Path::new(file).is_absolute() => DockerfileSource::File(PathBuf::from(file)),
                Some(file) => DockerfileSource::InContext(file.to_owned()),
            };
            Ok(Place { context: BuildContext::Remote(url.to_owned()), dockerfile })
        }
        (path, _) => Err(Fault::ContextMissing { path: path.to_owned() }.into()),
    }
}

/// `-`: an archive is the context, anything else is the Dockerfile of a build without one.
fn from_stdin(file: Option<&str>) -> Result<Place> {
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        return Err(Fault::StdinTerminal.into());
    }
    let mut stdin = stdin()?;
    let start = stdin.stream_position().ok();
    let mut head = Vec::new();
    Read::by_ref(&mut stdin).take(HEAD).read_to_end(&mut head).map_err(Error::Input)?;
    if head.is_empty() {
        return Err(Fault::StdinEmpty.into());
    }
    if is_archive(&head) {
        let dockerfile = match file {
            None => DockerfileSource::Default,
            Some(path) => DockerfileSource::InContext(path.to_owned()),
        };
        return Ok(Place { context: BuildContext::Stream(whole(stdin, start, head)?), dockerfile });
    }
    if file.is_some() {
        return Err(Fault::TwoDockerfiles.into());
    }
    stdin.take(DOCKERFILE_LIMIT).read_to_end(&mut head).map_err(Error::Input)?;
    Ok(Place { context: BuildContext::Empty, dockerfile: DockerfileSource::Text(head) })
}

/// Standard input without a buffer, so that nothing of it is lost to whoever goes on with it.
fn stdin() -> Result<File> {
    rustix::stdio::stdin().try_clone_to_owned().map(File::from).map_err(Error::Input)
}

/// So many bytes tell an archive.
const HEAD: u64 = 1024;

/// By the magic numbers of gzip, bzip2, xz and Zstandard, and tar's own.
fn is_archive(head: &[u8]) -> bool {
    const MAGIC: [&[u8]; 4] =
        [&[0x1f, 0x8b, 0x08], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0x00], &[0x28, 0xb5, 0x2f, 0xfd]];
    MAGIC.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar")
}

/// Standard input again as a whole, though its beginning was read. A file is wound back to where it stood; what cannot be is
/// passed on through a pipe, by a thread that ends with the program.
fn whole(mut stdin: File, start: Option<u64>, head: Vec<u8>) -> Result<OwnedFd> {
    if let Some(start) = start {
        stdin.seek(SeekFrom::Start(start)).map_err(Error::Input)?;
        return Ok(stdin.into());
    }
    let failed = |source| Error::System { attempt: "make a pipe for stdin", source };
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
    let passing = move || {
        // What is to end the build in good order must not end the program by way of this thread.
        signal::block(&super::execute::ENDING);
        let mut writer = File::from(writer);
        // Who stops reading has had enough.
        let _copied = writer.write_all(&head).and_then(|()| std::io::copy(&mut stdin, &mut writer));
    };
    linux::thread::spawn("pass on stdin", passing).map_err(|refused| Error::Input(refused.into()))?;
    Ok(reader)
}

/// The Dockerfile on standard input.
pub(super) fn stdin_text() -> Result<Vec<u8>> {
    let mut text = Vec::new();
    stdin()?.take(DOCKERFILE_LIMIT + 1).read_to_end(&mut text).map_err(Error::Input)?;
    Ok(text)
}

/// Whether a context is to be fetched: git in all its spellings, or a web address.
pub(crate) fn is_remote(text: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
    schemes.iter().any(|scheme| text.starts_with(scheme)) || is_scp_like(text)
}

/// `user@host:path`.
fn is_scp_like(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    rest.split_once(':').is_some_and(|(host, path)| plain(user) && plain(host) && !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_told_apart() {
        for url in [
            "https://github.com/a/b.git#main:sub",
            "http://host/x.tar.gz",
            "git@github.com:a/b",
            "me@host:a/b.git",
            "github.com/a/b",
            "ssh://git@host/a",
        ] {
            assert!(is_remote(url), "{url}");
        }
        for path in ["a", "./github.com/x", "user@host", "@:x", "a:b", "docker-image://x"] {
            assert!(!is_remote(path), "{path}");
        }
        let error = locate("/no/such/folder", None).unwrap_err();
        assert_eq!(error.to_string(), "unable to prepare context: path \"/no/such/folder\" not found");
        let error = locate("-", Some("-")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid argument: can't use stdin for both build context and dockerfile"
        );
    }

    #[test]
    fn archives_are_told_by_their_first_bytes() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for head in [&tar[..], b"\x1f\x8b\x08\0", b"BZh9", b"\x28\xb5\x2f\xfd"] {
            assert!(is_archive(head));
        }
        assert!(!is_archive(b"FROM scratch\n") && !is_archive(b""));
    }
}
