//! Devices by name: `vendor.com/class=name` stands for what a vendor's specification says that a container needs for
//! it (Container Device Interface, CNCF, versions 0.3.0 to 1.1.0).
//!
//! ```text
//! files, lowest precedence first ─► Registry ─► names: exact, or as builds ask for them ─► Edits
//!   JSON or YAML, bounded            what is wrong with a file is kept for who asks for its devices
//! ```
//!
//! What must hold:
//! - A name that two files of the same precedence give is nobody's; of files of different precedence the highest counts.
//! - What a specification says for all of its devices comes once, before what the first of them adds.
//! - A file is taken as a whole or not at all: unknown fields, fields that its version does not have, keys that come twice and names
//!   that break the rules are errors that name the place.
//! - This crate opens no file, and nothing in here recurses without a bound.

mod document;
mod error;
mod name;
mod registry;
mod spec;
mod tree;

pub use document::{DeviceNode, Edits, Hook, HookKind, IntelRdt, Mount, NetDevice};
pub use error::{Error, NameError};
pub use name::{Name, is_qualified};
pub use registry::{Fault, File, FindError, Registry, Unresolvable};
