//! Typed tables, migrations and transactions over the embedded database; the event log.
//!
//! `state.db` owns what outlives processes and reboots: images and their names, containers and how they ended.
//! Many processes write it at once; each change is one transaction, and a reader sees a whole one or none.
//!
//! What must hold:
//! - A name of stored content is written last, and with [`Durability::Power`].
//! - A container's row is written before anything of it lies on disk, and removed before its files are.
//! - Opening costs well under a millisecond, and so does a change that need not survive a loss of power.

mod cache;
mod container;
mod database;
mod draft;
mod error;
mod event;
mod exit;
mod follow;
mod image;
mod index;
mod range;
mod reserve;
mod schema;

use oci::Timestamp;

pub use cache::{
    BuildRecord, CacheKind, CacheMount, ContextDigests, FileStamp, FoundRecord, KnownContext, NewBuildRecord,
};
pub use container::{ContainerHead, ContainerRecord, Lookup, NewContainer};
pub use database::{Durability, State};
pub use draft::DraftEntry;
pub use error::{Error, Result};
pub use event::{Actor, Event, EventLog};
pub use exit::{Asked, ExitRecord};
pub use follow::EventReader;
pub use image::{ImageRecord, IndexedName, LayerRecord, LayerSource, MovedTag, NamedImage, NewName};
pub use index::IndexShare;
pub use range::IdPool;
pub use schema::SCHEMA_VERSION;

/// Nanoseconds since 1970, as the database keeps times; what does not fit is the nearest that does.
pub fn nanoseconds(time: Timestamp) -> i64 {
    time.seconds().saturating_mul(1_000_000_000).saturating_add(i64::from(time.nanoseconds()))
}

/// The time of so many nanoseconds since 1970.
pub fn timestamp(nanoseconds: i64) -> Timestamp {
    let second = 1_000_000_000;
    let within = u32::try_from(nanoseconds.rem_euclid(second)).unwrap_or(0);
    Timestamp::new(nanoseconds.div_euclid(second), within).unwrap_or(Timestamp::EPOCH)
}

/// The present.
pub fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}
