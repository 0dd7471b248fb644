//! `images`, `image inspect` and `history`.

use std::collections::BTreeMap;

use oci::{Descriptor, Digest, Reference, Timestamp};
use state::NamedImage;

use super::failed;
use crate::info::{HistoryEntry, ImageInfo, ImageSummary};
use crate::{Engine, Result};

impl Engine {
    /// Every image, newest first.
    pub fn images(&self) -> Result<Vec<ImageSummary>> {
        let mut users: BTreeMap<String, u64> = BTreeMap::new();
        for head in self.state().containers()? {
            *users.entry(head.image.to_string()).or_default() += 1;
        }
        let uses = self.state().image_uses()?;
        let digests = self.state().digests_of_names()?;
        let indexed = self.indexed()?;
        let mut images = Vec::new();
        for named in self.state().images()? {
            let id = named.image.id.as_str();
            let of = |id: &str| users.get(id).copied().unwrap_or(0);
            let through = indexed.leading_to(&named.image.id).map(Reference::familiar).collect();
            let mut others = named.tags.iter().flat_map(|tag| indexed.group(tag));
            let in_use = of(id) > 0 || others.any(|other| of(other.id.as_str()) > 0);
            let summary = self.summarize_image(&named, &digests, of(id), uses.get(id).copied())?;
            images.push(ImageSummary { through, in_use, ..summary });
        }
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.tags.cmp(&b.tags)));
        Ok(images)
    }

    fn summarize_image(
        &self,
        named: &NamedImage,
        digests: &BTreeMap<Reference, Digest>,
        containers: u64,
        used: Option<Timestamp>,
    ) -> Result<ImageSummary> {
        let image = &named.image;
        let labels = self.image_config(&image.id)?.config.labels;
        let manifest = image.manifest.as_ref();
        let repo_digest = |repository: &String| {
            let name: Reference = repository.parse().ok()?;
            Some(format!("{}@{}", name.familiar_name(), manifest?.digest))
        };
        Ok(ImageSummary {
            id: image.id.to_string(),
            tags: named.tags.iter().map(Reference::familiar).collect(),
            repo_digests: image
                .repositories
                .iter()
                .filter_map(repo_digest)
                .chain(image.digests.iter().map(Reference::familiar))
                .collect(),
            tag_digests: named
                .tags
                .iter()
                .filter_map(|tag| Some((tag.familiar(), digests.get(tag)?.to_string())))
                .collect(),
            created: image.created,
            size: image.size,
            labels,
            containers,
            through: Vec::new(),
            in_use: containers > 0,
            last_used: used.map_or(image.stored, |used| used.max(image.stored)),
        })
    }

    /// The documents that are kept with an image, and refer to it in every registry that it is pushed to.
    pub fn attached(&self, name: &str) -> Result<Vec<Descriptor>> {
        let documents = self.image_record(&self.resolve_image(name)?)?.attached;
        let typed = |document: Descriptor| Descriptor {
            artifact_type: Some(document.media_type.clone()),
            ..document
        };
        Ok(documents.into_iter().map(typed).collect())
    }

    fn named_image(&self, id: Digest) -> Result<NamedImage> {
        let image = self.image_record(&id)?;
        let tags = self.state().tags_of(&id)?;
        Ok(NamedImage { image, tags })
    }

    /// Everything about one image: where the name leads to several, the one for `platform`
    /// (`os[/architecture[/variant]]`).
    pub fn image_inspect(&self, name: &str, platform: Option<&str>) -> Result<ImageInfo> {
        let named = self.named_image(self.resolve_for(name, platform)?)?;
        let containers = self.state().containers_of_image(&named.image.id)?.len() as u64;
        let used = self.state().image_uses()?.remove(named.image.id.as_str());
        let document =
            self.store.blob(&named.image.id).map_err(failed("read the configuration of the image"))?;
        let platform = named.image.platform.normalized();
        let attestations = self.attested(&named.image.id)?;
        Ok(ImageInfo {
            summary: self.summarize_image(&named, &self.state().digests_of_names()?, containers, used)?,
            config: document,
            layers: named.image.layers.iter().map(|layer| layer.diff_id.to_string()).collect(),
            os: platform.os,
            architecture: platform.architecture,
            variant: Some(platform.variant).filter(|variant| !variant.is_empty()),
            attestations,
        })
    }

    /// The steps by which an image was made, newest first: where the name leads to several, that for `platform`.
    pub fn history(&self, name: &str, platform: Option<&str>) -> Result<Vec<HistoryEntry>> {
        let named = self.named_image(self.resolve_for(name, platform)?)?;
        let config = self.image_config(&named.image.id)?;
        let mut layers = named.image.layers.iter();
        let mut entries: Vec<HistoryEntry> = config
            .history
            .into_iter()
            .map(|step| HistoryEntry {
                id: None,
                created: step.created,
                created_by: step.created_by,
                size: if step.empty_layer { 0 } else { layers.next().map_or(0, |layer| layer.size) },
                comment: step.comment,
                tags: Vec::new(),
            })
            .collect();
        // Layers that the history does not tell of are there all the same.
        entries.extend(layers.map(|layer| HistoryEntry {
            id: None,
            created: None,
            created_by: String::new(),
            size: layer.size,
            comment: String::new(),
            tags: Vec::new(),
        }));
        entries.reverse();
        if let Some(newest) = entries.first_mut() {
            newest.id = Some(named.image.id.to_string());
            newest.tags = named.tags.iter().map(Reference::familiar).collect();
        }
        Ok(entries)
    }
}
