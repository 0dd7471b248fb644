//! File trees of a build.

use std::sync::Arc;

use image::LoadedLayer;
use oci::{DiffId, Digest};

use super::context::Files;

/// What a step stands on, or takes files from. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// Layers of the store, bottom first; the session keeps them from being collected. Each is there once, in however many trees.
    Layers(Arc<[Arc<LoadedLayer>]>),
    /// A directory of the caller, of which nothing is a layer until it is copied.
    Files(Arc<Files>),
}

impl Tree {
    /// Nothing.
    pub(super) fn empty() -> Tree {
        Tree::Layers(Arc::new([]))
    }

    /// Its layers; none of what is not made of layers.
    pub(super) fn layers(&self) -> &[Arc<LoadedLayer>] {
        match self {
            Tree::Layers(layers) => layers,
            Tree::Files(_) => &[],
        }
    }

    /// One more layer on top.
    pub(super) fn with(&self, layer: LoadedLayer) -> Tree {
        Tree::Layers(self.layers().iter().cloned().chain([Arc::new(layer)]).collect())
    }

    /// The digests of its layers.
    pub(super) fn diff_ids(&self) -> Vec<DiffId> {
        self.layers().iter().map(|layer| layer.diff_id.clone()).collect()
    }

    /// What names all of it: equal trees have equal chains. That of a caller's files is equal to none, for nobody has looked at
    /// all of them.
    pub(super) fn chain(&self) -> Digest {
        match self {
            Tree::Layers(layers) => {
                let lines: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
                Digest::of(lines.join("\n").as_bytes())
            }
            Tree::Files(files) => files.identity().clone(),
        }
    }
}
