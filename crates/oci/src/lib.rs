//! Digests, references, platforms, manifests, image configs and the runtime specification: parsed types, no
//! I/O.
//!
//! Whatever comes from outside (a registry, an archive, a command line) becomes one of these types first, so
//! that the rest of Skiff never handles text that might be hostile. Scalars ([`Digest`], [`Reference`],
//! [`ContainerName`]) can only be made by parsing and therefore hold a valid value; documents ([`Manifest`],
//! [`ImageConfig`]) have public fields and are checked by their `parse`.
//!
//! Documents are never serialised again to be identified: a digest is over the bytes as received, so callers
//! keep those bytes beside the parsed value.

mod config;
mod credentials;
mod descriptor;
mod digest;
mod error;
mod lenient;
mod manifest;
mod media_type;
mod names;
mod platform;
mod reference;
mod timestamp;

pub mod runtime;

pub use config::{ContainerConfig, ExposedPort, Healthcheck, History, ImageConfig, Protocol, RootFs};
pub use credentials::{
    Known as KnownCredentials, address_without_credentials, credentials, masked_part, without_credentials,
};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, ChainId, DiffId, Digest, Hasher};
pub use error::{Error, Result};
pub use manifest::{Document, Index, Manifest};
pub use media_type::MediaType;
pub use names::{ContainerId, ContainerName};
pub use platform::Platform;
pub use reference::{Reference, is_repository, is_tag};
pub use timestamp::Timestamp;

/// The largest manifest or index that is read, in bytes: what registries must support (distribution-spec).
pub const MANIFEST_LIMIT: u64 = 4 << 20;

/// The largest image config that is read, in bytes.
pub const CONFIG_LIMIT: u64 = 4 << 20;
