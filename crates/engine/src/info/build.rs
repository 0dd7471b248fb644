//! What comes out of a build, and what files for scripts hold of that.

use std::collections::BTreeMap;

use oci::{Descriptor, Digest, Platform, Reference};

/// What came out of a build.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Built {
    /// What no other build is called.
    pub reference: String,
    /// One for each platform, in the order in which they were asked for; none where no output makes images.
    pub images: Vec<BuiltImage>,
    /// What the names lead to: the manifest of the one image, or an index. With several outputs that of the last one that has
    /// names here or in a registry, else of the first.
    pub descriptor: Option<Descriptor>,
    /// The names, spelled out.
    pub names: Vec<Reference>,
    /// What is attested of how each image was made, by platform (`linux/amd64`): the predicate, as JSON.
    pub provenance: BTreeMap<String, serde_json::Value>,
}

/// An image that was built.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltImage {
    /// What it runs on.
    pub platform: Platform,
    /// The digest of its config.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Descriptor,
}

impl Built {
    /// What `--iidfile` holds: the id of the one image, else the digest of the index; none where there is no image.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        match self.images.as_slice() {
            [image] => Some(image.id.to_string()),
            _ => self.descriptor.as_ref().map(|descriptor| descriptor.digest.to_string()),
        }
    }

    /// What `--metadata-file` holds, by buildx's keys.
    #[must_use]
    pub fn metadata(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut metadata = serde_json::Map::new();
        if !self.reference.is_empty() {
            // buildx names a builder and a machine before it.
            metadata
                .insert("buildx.build.ref".to_owned(), format!("default/default/{}", self.reference).into());
        }
        match self.provenance.len() {
            0 => {}
            1 => metadata.extend(
                self.provenance.values().map(|one| ("buildx.build.provenance".to_owned(), one.clone())),
            ),
            _ => metadata.extend(
                self.provenance
                    .iter()
                    .map(|(platform, one)| (format!("buildx.build.provenance/{platform}"), one.clone())),
            ),
        }
        if let [image] = self.images.as_slice() {
            metadata.insert("containerimage.config.digest".to_owned(), image.id.to_string().into());
        }
        if let Some(descriptor) = &self.descriptor {
            metadata.insert("containerimage.digest".to_owned(), descriptor.digest.to_string().into());
            // It holds nothing but text and numbers.
            let json = serde_json::to_value(descriptor).unwrap_or_default();
            metadata.insert("containerimage.descriptor".to_owned(), json);
        }
        if !self.names.is_empty() {
            let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
            metadata.insert("image.name".to_owned(), names.join(",").into());
        }
        metadata
    }
}
