//! `system df`: what lies on disk, in blocks, and for whom.
//!
//! What is counted is what the file system has allotted (`st_blocks`), each file once however many names it has: an index, a
//! tree or a log counts like a layer. A layer that several images share counts once in their sum.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use oci::{Digest, Reference, Timestamp};

use crate::build::BuildCacheEntry;
use crate::info::{ContainerSummary, ImageSummary};
use crate::request::List;
use crate::{Engine, Result};

/// What Skiff takes on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskUsage {
    /// Every image.
    pub images: Vec<ImageUsage>,
    /// Bytes of everything that images need, and of what nothing leads to any more.
    pub images_size: u64,
    /// Bytes that removing every image without a container would free.
    pub images_reclaimable: u64,
    /// Every container.
    pub containers: Vec<ContainerUsage>,
    /// Every volume.
    pub volumes: Vec<VolumeUsage>,
    /// What could be fetched again.
    pub cache: Vec<CachedFile>,
    /// What builds have left; their layers are no part of what images take, unless these have them, too.
    pub build_cache: Vec<BuildCacheEntry>,
}

/// A file that is kept because another image may need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedFile {
    /// Its SHA-256.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// When an image was made with it.
    pub last_used: Timestamp,
}

/// An image, and what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageUsage {
    /// The image.
    pub image: ImageSummary,
    /// Bytes of its layers and of what is made of them.
    pub size: u64,
    /// Bytes that other images need as well.
    pub shared: u64,
}

/// A container, and what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerUsage {
    /// The container.
    pub container: ContainerSummary,
    /// Bytes of its writable layer and its logs.
    pub size: u64,
}

/// A directory that a container has for itself because its image declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUsage {
    /// The container and a number.
    pub name: String,
    /// How many containers use it.
    pub links: u64,
    /// Bytes.
    pub size: u64,
}

impl Engine {
    /// Looks at everything that lies below the root.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let summaries = self.images()?;
        let root = &self.config.root;
        let mut parts = Parts::default();
        for summary in &summaries {
            let digest: Digest = match summary.id.parse() {
                Ok(digest) => digest,
                Err(_) => continue,
            };
            parts.add(self, &digest, &summary.id)?;
        }
        parts.add_indexes(self)?;
        let used: HashSet<&str> =
            summaries.iter().filter(|image| image.in_use).map(|image| image.id.as_str()).collect();
        let build_cache = self.build_cache()?;
        let kept = Engine::size_of_own_layers(&build_cache);
        let all = ["layers", "blobs", "images", "trees", "partial", "tmp"]
            .iter()
            .map(|name| self.allotted(&root.join(name), &[]))
            .sum::<u64>();
        let images_size = all.saturating_sub(kept);
        let needed = parts.bytes(|image| used.contains(image));
        let images = summaries
            .iter()
            .map(|image| ImageUsage {
                image: image.clone(),
                size: parts.bytes(|id| id == image.id),
                shared: parts.shared(&image.id),
            })
            .collect();
        let (mut containers, mut volumes) = (Vec::new(), Vec::new());
        for container in self.list(&List { all: true, last: None })? {
            let directory = self.directory(&container.id);
            let own = directory.join("volumes");
            for number in 0..container.volumes.len() {
                let path = own.join(number.to_string());
                if path.exists() {
                    let name = format!("{}-{number}", container.id);
                    volumes.push(VolumeUsage { name, links: 1, size: self.allotted(&path, &[]) });
                }
            }
            let size = self.allotted(&directory, &[&own]);
            containers.push(ContainerUsage { container, size });
        }
        Ok(DiskUsage {
            images,
            images_size,
            images_reclaimable: images_size.saturating_sub(needed),
            containers,
            volumes,
            cache: self.package_files()?,
            build_cache,
        })
    }
}

/// Files and trees of the store, with their sizes and the images that need them.
#[derive(Default)]
pub(crate) struct Parts(HashMap<PathBuf, (u64, Vec<String>)>);

impl Parts {
    /// Adds what an image needs, as something that `user` needs: itself, or an image that it goes with.
    pub(crate) fn add(&mut self, engine: &Engine, image: &Digest, user: &str) -> Result<()> {
        let record = engine.image_record(image)?;
        let store = &engine.store;
        let mut paths = vec![store.index_path(image), store.blob_path(image)];
        paths.extend(record.manifest.iter().map(|manifest| store.blob_path(&manifest.digest)));
        paths.extend(record.attached.iter().map(|document| store.blob_path(&document.digest)));
        let named = record.digests.iter().filter_map(Reference::digest);
        paths.extend(named.map(|digest| store.blob_path(digest)));
        paths.extend(record.layers.iter().map(|layer| store.layer_path(&layer.diff_id)));
        let layers: Vec<_> = record.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        paths.extend(store.tree_paths(&layers));
        paths.into_iter().for_each(|path| self.put(path, user));
        Ok(())
    }

    /// Adds the documents by which names lead to images.
    pub(crate) fn add_indexes(&mut self, engine: &Engine) -> Result<()> {
        for (_, _, listing) in engine.indexed()?.names {
            for image in listing.images() {
                for document in &listing.documents {
                    self.put(engine.store.blob_path(document), image.id.as_str());
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, path: PathBuf, user: &str) {
        let part = self.0.entry(path).or_insert_with_key(|path| (allotted(path), Vec::new()));
        if !part.1.iter().any(|id| id == user) {
            part.1.push(user.to_owned());
        }
    }

    /// Bytes of what any image needs that `wanted` names.
    fn bytes(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let needed = self.0.values().filter(|(_, images)| images.iter().any(|image| wanted(image)));
        needed.map(|(bytes, _)| bytes).sum()
    }

    /// How many of the `images`, from the first on, must go until so many bytes are free that no other image needs.
    pub(crate) fn first_that_free(&self, images: &[&str], bytes: u64) -> usize {
        let mut free = 0;
        let mut gone: HashSet<&str> = HashSet::new();
        for (count, image) in images.iter().enumerate() {
            if free >= bytes {
                return count;
            }
            gone.insert(image);
            // A part is free with the last image that needs it.
            let is_freed = |users: &[String]| {
                users.iter().any(|id| id == image) && users.iter().all(|id| gone.contains(id.as_str()))
            };
            free += self.0.values().filter(|(_, users)| is_freed(users)).map(|(bytes, _)| bytes).sum::<u64>();
        }
        images.len()
    }

    fn shared(&self, image: &str) -> u64 {
        let shared = |images: &[String]| images.len() > 1 && images.iter().any(|id| id == image);
        self.0.values().filter(|(_, images)| shared(images)).map(|(bytes, _)| bytes).sum()
    }
}

/// Bytes that a file, or a directory with all that is in it, has on disk. What cannot be read counts as nothing.
pub(crate) fn allotted(path: &Path) -> u64 {
    linux::file::allotted(path, &[]).bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_images_share_is_free_with_the_last_of_them() {
        let part = |name: &str, bytes, users: &[&str]| {
            (name.into(), (bytes, users.iter().map(|id| (*id).to_owned()).collect()))
        };
        let parts = Parts(HashMap::from([
            part("base", 100, &["a", "b", "kept"]),
            part("middle", 50, &["a", "b"]),
            part("top-a", 1, &["a"]),
            part("top-b", 2, &["b"]),
        ]));
        let needed = |bytes| parts.first_that_free(&["a", "b"], bytes);
        assert_eq!([0, 1, 2, 53, 54, u64::MAX].map(needed), [0, 1, 2, 2, 2, 2]);
        assert_eq!(parts.first_that_free(&["b", "a"], 3), 2);
        assert_eq!(parts.first_that_free(&[], 3), 0);
    }
}
