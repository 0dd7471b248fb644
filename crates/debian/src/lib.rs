//! Archives and packages of Debian and its relatives: what their indexes say, which packages belong together, and how a
//! package file is laid out. Pure: nothing here opens a file or asks a server.
//!
//! ```text
//! Release ──► Release { dates, files: path → size, SHA-256 }
//!                │ names and checks
//! Packages ──► Universe ──resolve(wanted)──► Selection: packages, in the order in which they can be unpacked
//!                │ names and checks
//! x.deb ──► deb::Layout: where control.tar and data.tar lie, and how they are compressed
//! ```
//!
//! All of it comes from a network. What is signed is only as good as whoever signs it, so sizes, depths and counts have
//! limits here too, and a name or path that could mean something else elsewhere is refused.

pub mod control;
mod date;
pub mod deb;
mod error;
pub mod openpgp;
mod package;
mod relation;
mod release;
mod resolve;
mod version;

pub use date::{Seconds, parse_date};
pub use error::{Error, Result};
pub use package::{Package, Priority, Universe};
pub use relation::{Operator, Relation, parse_relations};
pub use release::{IndexFile, Release};
pub use resolve::{Base, Selection, Unresolved, Wanted, nothing_omitted, resolve};
pub use version::Version;

/// A SHA-256 as bytes.
pub type Sha256 = [u8; 32];

/// Reads 64 hexadecimal digits.
pub(crate) fn parse_sha256(text: &str) -> Option<Sha256> {
    let mut sum = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    // The parser of numbers also takes a sign.
    text.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(sum)
}

/// A sum as 64 lowercase digits.
#[must_use]
pub fn hex(sum: &Sha256) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(64);
    for byte in sum {
        // Writing to a string cannot fail.
        let _written = write!(text, "{byte:02x}");
    }
    text
}
