//! Trees of files as they lie on disk: layers of an overlay read as one, what a writable layer changed, and both packed as
//! tar.
//!
//! ```text
//! upper ─┐
//! lower ─┴► Stack ──► export: everything, merged          ──► Packer ──► a pipe or a file
//!           upper + Stack of the lower ones ──► changes   ──► layer: what changed, as a layer's tar
//! directory ─► Stack of one ──► pack: a tree as it is     ──►
//! layers' tars ─► merge ──► Flattener: a file system      ──►
//! ```
//!
//! All of it is read through descriptors, a name at a time, without following a link: who writes in the tree meanwhile, as
//! a running container does, makes us see an older or a newer state of it, never a file outside.
//!
//! What must hold:
//! - An archive is whole whatever happens to the files: one that shrinks while it is read is filled up with zeros, one that
//!   grows is cut, one that is gone is left out.
//! - Equal trees give equal archives: names are sorted, and nothing is written that a copy would not have.
//! - Memory depends on the longest directory and on the number of hard links, not on the size of files.

mod changes;
mod flatten;
mod merged;
mod pack;
mod place;
mod sink;
mod stack;
mod unpack;

pub use changes::{Change, ChangeKind, MountPoints, changes, layer};
pub use flatten::Flattener;
pub use merged::{Merged, Regular};
pub use pack::{Item, Packed, Times, export, pack, pieces, time, xattrs};
pub use place::{CopyPath, Located, Present, Refused, Source, Where, locate, place};
pub use stack::{Marks, Stack};
pub use unpack::{Owner, Place, Rules, prune, unpack};

use rustix::io::Errno;

use crate::error::Error;

/// The longest path, as `tar::Limits` has it.
const PATH_LIMIT: usize = 4095;
/// The deepest one.
const DEPTH_LIMIT: usize = 512;
/// The stack of a thread that walks through a tree as deep as one may be; what threads have by default is too small for that.
pub const STACK: usize = 16 << 20;

/// Names what was attempted, and on which path within the tree.
fn at(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
    let path = shown(path);
    move |errno| Error::Files { action, path, source: errno.into() }
}

fn shown(path: &[u8]) -> String {
    if path.is_empty() { "/".to_owned() } else { path.escape_ascii().to_string() }
}
