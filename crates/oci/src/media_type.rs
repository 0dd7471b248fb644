//! Media types of image documents, of OCI and their Docker twins.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type as written in a descriptor. Unknown ones are carried, and refused only where they are needed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(Cow<'static, str>);

impl MediaType {
    /// OCI image index.
    pub const OCI_INDEX: Self = Self::of("application/vnd.oci.image.index.v1+json");
    /// OCI image manifest.
    pub const OCI_MANIFEST: Self = Self::of("application/vnd.oci.image.manifest.v1+json");
    /// OCI image config.
    pub const OCI_CONFIG: Self = Self::of("application/vnd.oci.image.config.v1+json");
    /// OCI layer, uncompressed.
    pub const OCI_LAYER: Self = Self::of("application/vnd.oci.image.layer.v1.tar");
    /// OCI layer, gzip.
    pub const OCI_LAYER_GZIP: Self = Self::of("application/vnd.oci.image.layer.v1.tar+gzip");
    /// OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: Self = Self::of("application/vnd.oci.image.layer.v1.tar+zstd");
    /// `{}`, where a document must name something.
    pub const OCI_EMPTY: Self = Self::of("application/vnd.oci.empty.v1+json");
    /// Docker's index.
    pub const DOCKER_LIST: Self = Self::of("application/vnd.docker.distribution.manifest.list.v2+json");
    /// Docker's manifest.
    pub const DOCKER_MANIFEST: Self = Self::of("application/vnd.docker.distribution.manifest.v2+json");
    /// Docker's image config.
    pub const DOCKER_CONFIG: Self = Self::of("application/vnd.docker.container.image.v1+json");
    /// Docker's layer, uncompressed.
    pub const DOCKER_LAYER: Self = Self::of("application/vnd.docker.image.rootfs.diff.tar");
    /// Docker's layer, gzip.
    pub const DOCKER_LAYER_GZIP: Self = Self::of("application/vnd.docker.image.rootfs.diff.tar.gzip");

    const fn of(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An index of OCI or a manifest list of Docker.
    #[must_use]
    pub fn is_index(&self) -> bool {
        *self == Self::OCI_INDEX || *self == Self::DOCKER_LIST
    }

    /// A manifest of OCI or of Docker's schema 2.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        *self == Self::OCI_MANIFEST || *self == Self::DOCKER_MANIFEST
    }

    /// Docker's schema 1, given up in 2017; it names no config.
    #[must_use]
    pub fn is_legacy_manifest(&self) -> bool {
        self.as_str().starts_with("application/vnd.docker.distribution.manifest.v1+")
    }

    /// An image config of OCI or Docker.
    #[must_use]
    pub fn is_config(&self) -> bool {
        *self == Self::OCI_CONFIG || *self == Self::DOCKER_CONFIG
    }

    /// A file system layer, however compressed and whether or not it may be distributed.
    #[must_use]
    pub fn is_layer(&self) -> bool {
        const FAMILIES: [&str; 4] = [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
        ];
        FAMILIES.iter().any(|family| {
            self.as_str()
                .strip_prefix(family)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '.']))
        })
    }
}

impl From<&str> for MediaType {
    fn from(text: &str) -> Self {
        Self(Cow::Owned(text.to_owned()))
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_known_by_their_family() {
        for (text, is) in [
            ("application/vnd.oci.image.layer.v1.tar", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip", true),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", true),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", true),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", true),
            ("application/vnd.oci.image.layer.v1.tarx", false),
            ("application/vnd.in-toto+json", false),
            ("", false),
        ] {
            assert_eq!(MediaType::from(text).is_layer(), is, "{text}");
        }
    }
}
