//! Where a copy goes: Docker's rules for what is copied to what, as a decision, and the lookup that it needs.
//!
//! | source | destination | goes |
//! |---|---|---|
//! | file | is not there | to that name; with a slash at its end: refused |
//! | file | a file | in its place |
//! | file, directory | a directory | into it, with its own name |
//! | directory | is not there | to that name |
//! | directory | a file | refused |
//! | what is in a directory (`/.`) | a directory | into it |
//! | a tar | a directory | into it; anything else is refused |

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, openat2, readlinkat, statat};
use rustix::io::Errno;

use super::at;
use super::stack::components;
use crate::error::Result;

/// An absolute path as a user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPath {
    /// Without `.`, `..`, double slashes and one at the end, but for `/` itself.
    pub path: Vec<u8>,
    /// It ended with `/` or `/.`, and so means a directory.
    pub is_directory: bool,
    /// It ended with `/.`: what is in the directory is meant.
    pub is_contents: bool,
}

impl CopyPath {
    /// Of what a user wrote; a relative path is taken from `/`. What climbs with `..` stays at `/`.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut names: Vec<&[u8]> = Vec::new();
        for name in components(text) {
            if name == b".." {
                names.pop();
            } else {
                names.push(name);
            }
        }
        let is_contents = text.ends_with(b"/.") || text == b".";
        let is_directory = is_contents || text.ends_with(b"/") || text.ends_with(b"/..") || names.is_empty();
        Self { path: [b"/", &names.join(&b'/')[..]].concat(), is_directory, is_contents }
    }

    /// The last name; `.` for the root and for what is in a directory.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        match components(&self.path).next_back() {
            Some(name) if !self.is_contents => name,
            Some(_) | None => b".",
        }
    }
}

/// What is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory of this name.
    Directory(Vec<u8>),
    /// What is in a directory.
    Contents,
    /// Something else, of this name.
    File(Vec<u8>),
    /// The members of a tar.
    Tar,
}

/// What is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// Nothing.
    Nothing,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A device, a pipe, a socket.
    Other,
}

/// Where the copy goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// Into the destination.
    Into,
    /// Into the destination, under this name.
    Under(Vec<u8>),
    /// To the destination's own name.
    As,
}

/// Why there is no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A directory onto a file.
    CannotCopyDirectory,
    /// A directory is named that is not there.
    NoSuchDirectory,
    /// A directory is named where something else is.
    NotADirectory,
    /// A tar has to go into a directory.
    MustBeDirectory,
    /// A device, a pipe or a socket is no destination.
    MustBeDirectoryOrFile,
}

/// Decides where `source` goes, given what is at the destination, and whether that was written as a directory.
///
/// # Errors
/// Why it goes nowhere.
pub fn place(source: &Source, present: Present, is_directory: bool) -> Result<Where, Refused> {
    match (source, present) {
        (Source::Tar | Source::Contents, Present::Directory) => Ok(Where::Into),
        (Source::Directory(name) | Source::File(name), Present::Directory) if name == b"." => {
            // The root has no name of its own.
            Ok(Where::Into)
        }
        (Source::Directory(name) | Source::File(name), Present::Directory) => Ok(Where::Under(name.clone())),
        (_, Present::Other) => Err(Refused::MustBeDirectoryOrFile),
        (Source::Tar, Present::File | Present::Nothing) => Err(Refused::MustBeDirectory),
        (Source::Directory(_) | Source::Contents, Present::File) => Err(Refused::CannotCopyDirectory),
        (Source::File(_), Present::File) if is_directory => Err(Refused::NotADirectory),
        (Source::File(_), Present::Nothing) if is_directory => Err(Refused::NoSuchDirectory),
        (Source::Directory(_) | Source::Contents | Source::File(_), _) => Ok(Where::As),
    }
}

/// A name in a directory, found below a root.
#[derive(Debug)]
pub struct Located {
    /// The directory (`O_PATH`).
    pub parent: OwnedFd,
    /// The name; `.` for the root.
    pub name: Vec<u8>,
    /// What it is; `None` if it is not there.
    pub stat: Option<Stat>,
}

impl Located {
    /// What is there.
    #[must_use]
    pub fn present(&self) -> Present {
        match self.stat.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            None => Present::Nothing,
            Some(FileType::Directory) => Present::Directory,
            Some(FileType::RegularFile) => Present::File,
            Some(_) => Present::Other,
        }
    }

    /// The directory that this is.
    ///
    /// # Errors
    /// If it is none (any more).
    pub fn directory(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.parent, self.name.as_slice(), flags, Mode::empty())
            .map_err(at("open", &self.name))
    }
}

/// Links that are followed at the end of a path, as many as the kernel would.
const LINKS: usize = 40;

/// Finds `path` below `root`, which is this process's own, and so leads nowhere else; with `follow`, a link at its end is followed too. That its
/// directory is not there is an error (`NotFound`, `NotADirectory`), that it is not there itself is none.
///
/// # Errors
/// If it cannot be looked up.
pub fn locate(root: BorrowedFd<'_>, path: &[u8], follow: bool) -> Result<Located> {
    let mut path = path.to_vec();
    for _ in 0..LINKS {
        let names: Vec<&[u8]> = components(&path).collect();
        let Some((name, parents)) = names.split_last() else {
            let parent = open_below(root, b".").map_err(at("open", b"/"))?;
            let stat = statat(&parent, c".", AtFlags::empty()).map_err(at("examine", b"/"))?;
            return Ok(Located { parent, name: b".".to_vec(), stat: Some(stat) });
        };
        let above = [b"./", &parents.join(&b'/')[..]].concat();
        let parent = open_below(root, &above).map_err(at("open", &path))?;
        let stat = if *name == b".." {
            statat(&parent, c"..", AtFlags::empty()).map(Some)
        } else {
            match statat(&parent, *name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(None),
                stat => stat.map(Some),
            }
        };
        let stat = stat.map_err(at("examine", &path))?;
        let is_link =
            stat.as_ref().is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if !(follow && is_link) {
            return Ok(Located { parent, name: name.to_vec(), stat });
        }
        let target = match readlinkat(&parent, *name, Vec::new()) {
            Ok(target) => target.into_bytes(),
            // It has been replaced meanwhile.
            Err(Errno::INVAL | Errno::NOENT) => continue,
            Err(errno) => return Err(at("read", &path)(errno)),
        };
        path = match target.first() {
            Some(b'/') => target,
            // Whatever stands before it is resolved by the kernel again, links and `..` included.
            _ => [&above[..], b"/", &target].concat(),
        };
    }
    Err(at("open", &path)(Errno::LOOP))
}

fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // EAGAIN: something was renamed while `..` was being resolved.
    for _ in 0..64 {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match openat2(root.as_fd(), path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_they_mean() {
        for (text, path, is_directory, is_contents, name) in [
            ("/a/b", "/a/b", false, false, "b"),
            ("a//b/", "/a/b", true, false, "b"),
            ("/a/./b/.", "/a/b", true, true, "."),
            ("/a/../../c", "/c", false, false, "c"),
            ("/", "/", true, false, "."),
            ("/a/..", "/", true, false, "."),
            (".", "/", true, true, "."),
        ] {
            let found = CopyPath::new(text.as_bytes());
            assert_eq!(found.path, path.as_bytes(), "{text}");
            assert_eq!((found.is_directory, found.is_contents), (is_directory, is_contents), "{text}");
            assert_eq!(found.name(), name.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_goes_where_is_as_in_docker() {
        let (file, directory) = (Source::File(b"f".to_vec()), Source::Directory(b"d".to_vec()));
        let under = |name: &[u8]| Ok(Where::Under(name.to_vec()));
        use Present::{Directory, File, Nothing, Other};
        for (source, present, slash, want) in [
            (&file, Nothing, false, Ok(Where::As)),
            (&file, Nothing, true, Err(Refused::NoSuchDirectory)),
            (&file, File, false, Ok(Where::As)),
            (&file, File, true, Err(Refused::NotADirectory)),
            (&file, Directory, false, under(b"f")),
            (&file, Other, false, Err(Refused::MustBeDirectoryOrFile)),
            (&directory, Nothing, false, Ok(Where::As)),
            (&directory, Nothing, true, Ok(Where::As)),
            (&directory, File, false, Err(Refused::CannotCopyDirectory)),
            (&directory, Directory, false, under(b"d")),
            (&Source::Contents, Nothing, false, Ok(Where::As)),
            (&Source::Contents, File, false, Err(Refused::CannotCopyDirectory)),
            (&Source::Contents, Directory, true, Ok(Where::Into)),
            (&Source::Tar, Directory, false, Ok(Where::Into)),
            (&Source::Tar, File, false, Err(Refused::MustBeDirectory)),
            (&Source::Tar, Nothing, false, Err(Refused::MustBeDirectory)),
        ] {
            assert_eq!(place(source, present, slash), want, "{source:?} to {present:?} {slash}");
        }
    }
}
