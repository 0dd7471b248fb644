//! `images --tree`: each name with the platforms that it leads to, whether they are here or not.

use std::collections::{BTreeMap, BTreeSet};

use oci::{Digest, Reference};
use state::ImageRecord;

use super::platforms::Listing;
use crate::info::{ImagePlatform, ImageSummary, ImageTree};
use crate::{Engine, Result};

impl Engine {
    /// The images, each with its platforms: of `images`, which [`Engine::images`] has told. Names that stand for the same
    /// image and go through the same index stand together.
    pub fn image_tree(&self, images: &[&ImageSummary]) -> Result<Vec<ImageTree>> {
        let indexed = self.indexed()?;
        let used: BTreeSet<String> =
            self.state().containers()?.iter().map(|head| head.image.to_string()).collect();
        let mut trees = Vec::new();
        for summary in images {
            let id: Digest = self.resolve_image(&summary.id)?;
            let record = self.image_record(&id)?;
            // The names without an index under none.
            let mut groups: BTreeMap<Option<Digest>, Vec<String>> = BTreeMap::new();
            let tags = self.state().tags_of(&id)?;
            for tag in tags {
                let index = self.state().index_of(&tag)?;
                groups.entry(index).or_default().push(tag.familiar());
            }
            if groups.is_empty() {
                groups.insert(None, Vec::new());
            }
            for (index, names) in groups {
                let listing = index.and_then(|_| {
                    let of_name = |name: &Reference| names.first() == Some(&name.familiar());
                    indexed.names.iter().find(|(name, _, _)| of_name(name)).map(|(_, _, listing)| listing)
                });
                trees.push(tree(summary, &record, names, listing, &used));
            }
        }
        Ok(trees)
    }
}

fn tree(
    summary: &ImageSummary,
    record: &ImageRecord,
    names: Vec<String>,
    listing: Option<&Listing>,
    used: &BTreeSet<String>,
) -> ImageTree {
    let here = |image: &ImageRecord| ImagePlatform {
        platform: image.platform.normalized().to_string(),
        id: image.id.to_string(),
        is_here: true,
        size: image.size,
        content_size: content_size(image),
        in_use: used.contains(image.id.as_str()),
    };
    // Where the index is damaged, the image is here all the same.
    let listed = listing.filter(|listing| listing.images().any(|image| image.id == record.id));
    let platforms: Vec<ImagePlatform> = match listed {
        None => vec![here(record)],
        Some(listing) => {
            let entries = listing.entries.iter().map(|entry| match &entry.image {
                Some(image) => here(image),
                None => ImagePlatform {
                    platform: entry.platform.to_string(),
                    id: entry.manifest.digest.to_string(),
                    is_here: false,
                    size: 0,
                    content_size: 0,
                    in_use: false,
                },
            });
            entries.collect()
        }
    };
    let images: Vec<&ImageRecord> = match listed {
        None => vec![record],
        Some(listing) => listing.images().collect(),
    };
    // What platforms have in common lies there once.
    let layers: BTreeMap<_, _> =
        images.iter().flat_map(|image| &image.layers).map(|layer| (&layer.diff_id, layer.size)).collect();
    ImageTree {
        names,
        id: summary.id.clone(),
        size: layers.values().sum(),
        content_size: platforms.iter().map(|platform| platform.content_size).sum(),
        in_use: platforms.iter().any(|platform| platform.in_use),
        platforms,
    }
}

/// Bytes that a registry sends for an image: its manifest and its layers as they come.
fn content_size(image: &ImageRecord) -> u64 {
    let layers = image.layers.iter().map(|layer| layer.blob.as_ref().map_or(layer.size, |blob| blob.size));
    layers.sum::<u64>() + image.manifest.as_ref().map_or(0, |manifest| manifest.size)
}
