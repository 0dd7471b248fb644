//! The FIFO that holds init back between `create` and `start` of the OCI command line ([`crate::LaunchPlan::start_gate`]).
//!
//! ```text
//! init                               start
//!   open for writing (blocks) ───┬─── open for reading
//!   write one zero byte ─────────┴──► read it
//!   exec
//! ```

use std::path::Path;

use crate::{Error, Result};

/// Lets an init pass that waits at the FIFO `path`. Fails when none waits there, for good or not yet.
pub fn release_at(path: &Path) -> Result<()> {
    Err(Error::Gate { path: path.to_owned(), errno: rustix::io::Errno::NOSYS })
}
