//! What builds leave for later builds: records of steps, digests of files, and directories of cache mounts.
//!
//! All of it can be made anew, so nothing here is synced by itself: a change survives the death of its process, and after a loss
//! of power the newest ones may be missing. A record is written after the layer it names is in the store for good; whoever finds
//! one looks for that layer all the same.

mod context;
mod mount;
mod record;

use std::fmt;
use std::str::FromStr;

use crate::{Result, State};

pub use context::{ContextDigests, FileStamp, KnownContext};
pub use mount::CacheMount;
pub use record::{BuildRecord, FoundRecord, NewBuildRecord};

/// Of what kind something in the cache of builds is, in Docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheKind {
    /// Made by the builder for itself.
    Internal,
    /// A frontend.
    Frontend,
    /// About files of the caller.
    SourceLocal,
    /// Files of a repository.
    SourceGitCheckout,
    /// The directory of a cache mount.
    ExecCacheMount,
    /// What a step has made.
    Regular,
}

impl CacheKind {
    const ALL: [CacheKind; 6] = [
        CacheKind::Internal,
        CacheKind::Frontend,
        CacheKind::SourceLocal,
        CacheKind::SourceGitCheckout,
        CacheKind::ExecCacheMount,
        CacheKind::Regular,
    ];

    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CacheKind::Internal => "internal",
            CacheKind::Frontend => "frontend",
            CacheKind::SourceLocal => "source.local",
            CacheKind::SourceGitCheckout => "source.git.checkout",
            CacheKind::ExecCacheMount => "exec.cachemount",
            CacheKind::Regular => "regular",
        }
    }
}

impl fmt::Display for CacheKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no kind.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no kind of what builds keep")]
pub struct UnknownKind(String);

impl FromStr for CacheKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownKind> {
        CacheKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

impl State {
    /// Bytes of all that is kept, as they were when it was kept: no less than what it takes, since a layer that several records
    /// name, or an image has, counts each time. What a cache mount takes that was never measured is not known.
    pub fn build_cache_size(&self) -> Result<u64> {
        let size: f64 = self.query("add up what builds have kept", |connection| {
            connection
                .prepare_cached(
                    "SELECT (SELECT total(size) FROM build_records) + (SELECT total(size) FROM build_contexts)
                         + (SELECT total(size) FROM cache_mounts)",
                )?
                .query_row([], |row| row.get(0))
        })?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it saturates; sizes below 2^53 are exact"
        )]
        Ok(size as u64)
    }
}

/// A size as the database keeps it; what does not fit is the largest that does.
fn stored(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The other way round.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
