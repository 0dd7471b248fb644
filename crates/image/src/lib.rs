//! Layer and blob store, merged tree of an image, archives, collection of garbage.
//!
//! ```text
//! archive (docker, OCI, rootfs tar)
//!    │ load, import: detect compression, decompress, check digests, validate the tar
//!    ▼
//! <root>/tmp/<scratch>/…            staged, synced, locked by its maker
//!    │ publish: rename, sync directories
//!    ▼
//! <root>/layers, blobs, images      named by digest, never changed
//!    │ the engine's transaction writes the names; only then is the `Hold` dropped
//!    ▼
//! collect(live)                     removes what no name leads to
//! ```
//!
//! # In use
//!
//! ```ignore
//! let store = Store::open(&root)?;
//!
//! // Adding: all is on disk and synced when these return; the caller commits names, then drops `loaded.hold`.
//! let loaded: Loaded = image::load(&store, Source::Stream(&mut stdin), &LoadOptions::default())?;
//! let loaded: Loaded = image::import(&store, &mut stdin, &ImportOptions { changes, message, .. })?;
//! for LoadedImage { id, config, manifest, layers, references, through, attached } in &loaded.images { /* transaction */ }
//! drop(loaded);
//!
//! // Using: `layers` and `config` come from the record or from `store.config(&id)`.
//! let what: RootFs = Erofs.prepare(&store, &id, &layers)?; // or `Trees`; see `snapshots`
//! let index: PathBuf = store.index(&id, &layers)?;         // built when missing
//!
//! // Saving.
//! image::save(&store, &[SavedImage { id, references, platforms, through }], &mut out)?;
//!
//! // Checking: one sentence per finding.
//! let findings: Vec<Finding> = image::verify(&store, &id, manifest_digest.as_ref())?;
//!
//! // Collecting: the lock first, then the query, so that nothing half-added is taken for garbage.
//! if let Some(collector) = store.try_collector()? {         // or `collector()`, which waits
//!     let collected = collector.collect(&live)?;            // live: image ids, their layers and manifests
//! }
//! ```
//!
//! What must hold:
//! - Whoever adds content leases what he relies on before he looks for it, and holds the store (shared lock) from before he
//!   publishes until the names are committed; a collector holds it alone, and keeps what is leased. See [`store`].
//! - A file in `layers`, `blobs` or `images` is whole: it was synced before it was renamed into place.
//! - This crate knows no names: what leads to what is the engine's to say.

mod archive;
mod error;
pub mod files;
pub mod index;
mod ingest;
pub mod merge;
pub mod snapshots;
mod stop;
pub mod store;
pub mod tar;
pub mod view;

pub use archive::{
    Attested, Codec, CommitOptions, Compressed, Content, Gzip, ImportOptions, LayerStep, LoadOptions, Loaded,
    LoadedImage, LoadedLayer, OpenBlob, Outgoing, Parts, Remote, RemoteImage, SavedImage, Source, Watch,
    assemble, commit, compress, decompressed, fetch, import, is_stored, load, save,
};
pub use error::{Error, Result};
pub use ingest::{Compression, spool};
pub use stop::{Stop, Stopping};
pub use store::{Collected, Draft, Finding, Hold, Kept, KeptFor, LayerWriter, Live, Store, verify};
pub use view::View;
