//! A layer on its way into the store: decompressed, checked against its digests, validated as a tar, written.
//!
//! ```text
//!  caller              decode              check                write
//! ┌────────────────┐  ┌────────────────┐  ┌─────────────────┐  ┌──────────────────┐
//! │ read           │─►│ gzip, zstd,    │─►│ SHA-256 (diffID)│─►│ write            │
//! │ SHA-256 (blob) │  │ bzip2, xz      │  │ tar parser      │  │ watch the space  │
//! │ declared size  │  │ (if compressed)│  │ bounds          │  │ (unless stored)  │
//! └────────────────┘  └────────────────┘  └─────────────────┘  └──────────────────┘
//! ```
//!
//! Each stage is a thread; between them go buffers of a fixed number and size, which return to be filled
//! again. So memory does not depend on the size of a layer, and the slowest stage sets the pace. The one thing
//! that a writer can ask for is the window of its compression, for which [`window`] sets a bound.
//!
//! What a layer is compressed with is told by its first bytes, never by what its media type says.

mod compression;
mod pipeline;
mod space;
mod window;

pub use compression::Compression;
pub(crate) use compression::{decoder, wants_larger_window};
pub(crate) use pipeline::{Expected, Ingested, Layer, fill, ingest};
pub use space::spool;
pub(crate) use window::{LARGE as LARGEST_WINDOW, Window, Windows};

/// The most bytes that an uncompressed layer may have.
pub(crate) const LAYER_LIMIT: u64 = 256 << 30;
