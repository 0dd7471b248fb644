//! An archive into a directory, as a copy puts it there.
//!
//! ```text
//! pipe, socket, file ─► input: blocks, data ─► parser ─► unpacker: one member after the other
//! ```
//!
//! The archive is not trusted: a name in it leads nowhere but below the directory, and unless the rules say otherwise no link
//! is followed on the way, one that the archive itself has made least of all. Data goes from pipe to file within the kernel.

mod input;
mod prune;
mod unpacker;

use std::os::fd::{BorrowedFd, OwnedFd};

use self::input::Input;
use self::unpacker::Unpacker;
use crate::error::{Error, Result};
use crate::tar::{self, Limits, Parser};

pub use prune::prune;

/// Where an archive goes.
#[derive(Debug)]
pub enum Place {
    /// Its members into this directory.
    Into(OwnedFd),
    /// Its one root, whatever it is called there, under a name in a directory.
    As {
        /// The directory.
        parent: OwnedFd,
        /// The name.
        name: Vec<u8>,
    },
    /// What is in its one root, a directory, into this one.
    Contents(OwnedFd),
}

/// Whose the files are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process's.
    Creator,
    /// As the archive says. Where that takes a privilege that this process does not have, its own.
    Kept,
}

/// How an archive is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whose the files are to be.
    pub owner: Owner,
    /// Links in directories that were there before are followed. Only for a process that can reach nothing it may not.
    pub follows_links: bool,
    /// Set-user-id and set-group-id bits, and capabilities, are kept.
    pub keeps_privileges: bool,
    /// A directory gives way to something else, with all that is in it, and the reverse; else that is an error.
    pub replaces: bool,
    /// A file has no name until it is whole, where the file system has files without one: whoever is killed leaves no half of any.
    pub whole: bool,
}

/// Unpacks the archive that `from` gives, to its end; returns its size.
///
/// # Errors
/// If it is not whole, or something cannot be made. What was made before stays; a file that is not whole does not.
pub fn unpack(from: BorrowedFd<'_>, place: &Place, rules: Rules) -> Result<u64> {
    let mut input = Input::new(from);
    let mut unpacker = Unpacker::new(place, rules);
    let refused = |source| Error::Archive { entry: "the copy".to_owned(), source };
    let mut parser = Parser::new(Limits::default());
    loop {
        match parser.skippable() {
            None => break,
            Some(0) => {
                let Some(block) = input.block()? else { break };
                let mut found = None;
                let mut take = |entry| {
                    found = Some(entry);
                    Ok::<(), tar::Error>(())
                };
                parser.push(&block, &mut take).map_err(refused)?;
                if let Some(entry) = found {
                    let before = input.position;
                    unpacker.add(&entry, &mut input)?;
                    skip(&mut parser, input.position - before);
                }
            }
            Some(left) => {
                let passed = input.skip(left)?;
                skip(&mut parser, passed);
                if passed < left {
                    break;
                }
            }
        }
    }
    if !parser.finish().map_err(refused)?.terminated {
        let reason = "it has no end, so whoever wrote it did not get to it".to_owned();
        return Err(Error::Entry { entry: "the copy".to_owned(), reason });
    }
    let size = input.position;
    // Whoever writes is to see it read to its end.
    while input.skip(1 << 20)? > 0 {}
    unpacker.finish()?;
    Ok(size)
}

fn skip(parser: &mut Parser, mut count: u64) {
    while count > 0 {
        let step = parser.skip(usize::try_from(count).unwrap_or(usize::MAX));
        if step == 0 {
            return;
        }
        count -= step as u64;
    }
}
