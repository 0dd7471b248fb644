//! An index on its way to a registry: all that it leads to is sent, or is there already; else it is not sent at all.
//!
//! ```text
//! index ──► images that are here ──► layers, configurations, manifests by digest ──┐
//!       ──► what is not here: the target has it? it can be had where the index is? ┴─► indexes, the first one last, as the tag
//! ```
//!
//! An image that is not here is taken over within a registry alone, by mounts. What is attested of images is small: where it is not
//! here, it is streamed from other registries, too. Where it is, and an image becomes another one on its way since its layers are
//! compressed, it is said of that one ([`Attested::about`]).

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use image::{Attested, Live};
use oci::{Descriptor, Digest, Document, Index, Manifest, MediaType, Platform, Reference};
use registry_client::Repository;

use super::Push;
use super::blobs::in_memory;
use super::parcel::{Made, Parcel};
use crate::images::failed;
use crate::images::platforms::DEPTH_LIMIT;
use crate::{Engine, Error, Result};

/// The most documents that one index is followed to.
const DOCUMENTS_LIMIT: usize = 1024;

/// An index with all that it leads to.
pub(super) struct Tree {
    top: Node,
    /// The images that are here, each once.
    pub(super) images: Vec<Parcel>,
    count: usize,
}

/// An entry of an index.
struct Node {
    entry: Descriptor,
    content: Content,
}

enum Content {
    /// The place of an image that is here.
    Image(usize),
    Index {
        bytes: Vec<u8>,
        index: Box<Index>,
        inner: Vec<Node>,
    },
    /// What is attested of an image, and is here.
    Attested(Box<Attested>),
    /// It is not here.
    Absent,
}

impl Tree {
    /// Reads what is here of an index.
    pub(super) fn read(engine: &Engine, top: &Digest, name: &Reference) -> Result<Tree> {
        let entry = Descriptor::new(MediaType::default(), top.clone(), 0);
        let nothing = Node { entry: entry.clone(), content: Content::Absent };
        let mut tree = Tree { top: nothing, images: Vec::new(), count: 0 };
        tree.top = tree.node(engine, entry, 0, name)?;
        Ok(tree)
    }

    fn node(&mut self, engine: &Engine, entry: Descriptor, depth: usize, name: &Reference) -> Result<Node> {
        let name_of = || name.familiar();
        self.count += 1;
        if depth > DEPTH_LIMIT {
            return Err(Error::IndexTooDeep { name: name_of(), limit: DEPTH_LIMIT });
        }
        if self.count > DOCUMENTS_LIMIT {
            return Err(Error::TooManyPlatforms { name: name_of(), limit: DOCUMENTS_LIMIT });
        }
        let absent = |entry| Ok(Node { entry, content: Content::Absent });
        if depth > 0 && entry.is_attestation() {
            return match Attested::read(&engine.store, &entry) {
                Some(attested) => Ok(Node { entry, content: Content::Attested(Box::new(attested)) }),
                None => absent(entry),
            };
        }
        let Ok(bytes) = engine.store.blob(&entry.digest) else { return absent(entry) };
        match Document::parse(&bytes, &MediaType::default()) {
            Ok(Document::Index(index)) => {
                let mut inner = Vec::with_capacity(index.manifests.len());
                for entry in &index.manifests {
                    inner.push(self.node(engine, entry.clone(), depth + 1, name)?);
                }
                let entry = Descriptor { size: bytes.len() as u64, ..entry };
                Ok(Node { entry, content: Content::Index { bytes, index, inner } })
            }
            Ok(Document::Manifest(manifest)) => match self.image(engine, &entry, bytes, *manifest)? {
                Some(place) => Ok(Node { entry, content: Content::Image(place) }),
                None => absent(entry),
            },
            Err(_) => absent(entry),
        }
    }

    /// The place of the image of a manifest, if it is here.
    fn image(
        &mut self,
        engine: &Engine,
        entry: &Descriptor,
        bytes: Vec<u8>,
        manifest: Manifest,
    ) -> Result<Option<usize>> {
        let of =
            |parcel: &Parcel| parcel.manifest.as_ref().is_some_and(|known| known.0.digest == entry.digest);
        if let Some(place) = self.images.iter().position(of) {
            return Ok(Some(place));
        }
        if !manifest.config.media_type.is_config() || manifest.artifact_type.is_some() {
            return Ok(None);
        }
        let record = engine.state().image(&manifest.config.digest)?;
        let Some(record) = record.filter(|record| record.layers.len() == manifest.layers.len()) else {
            return Ok(None);
        };
        let kind = Some(entry.media_type.clone()).filter(MediaType::is_manifest);
        let kind = kind.or(manifest.media_type.clone()).unwrap_or(MediaType::OCI_MANIFEST);
        let descriptor = Descriptor::new(kind, entry.digest.clone(), bytes.len() as u64);
        self.images.push(Parcel { record, manifest: Some((descriptor, bytes, manifest)) });
        Ok(Some(self.images.len() - 1))
    }

    /// What the tag leads to.
    pub(super) fn descriptor(&self) -> Descriptor {
        let kind = match &self.top.content {
            Content::Index { index, .. } => index.media_type.clone(),
            Content::Image(_) | Content::Attested(_) | Content::Absent => None,
        };
        Descriptor { media_type: kind.unwrap_or(MediaType::OCI_INDEX), ..self.top.entry.clone() }
    }

    /// All that is read of it.
    pub(super) fn content(&self) -> Live {
        let mut live = Live::default();
        self.images.iter().for_each(|parcel| parcel.add_content(&mut live));
        visit(&self.top, &mut |node| match &node.content {
            Content::Index { .. } => live.document(&node.entry.digest),
            Content::Attested(attested) => {
                attested.documents.keys().for_each(|document| live.document(document));
            }
            Content::Image(_) | Content::Absent => {}
        });
        live
    }

    /// What is not here.
    fn absent(&self) -> Vec<&Descriptor> {
        let mut absent: Vec<&Descriptor> = Vec::new();
        visit(&self.top, &mut |node| {
            let is_new = || !absent.iter().any(|known| known.digest == node.entry.digest);
            if matches!(node.content, Content::Absent) && is_new() {
                absent.push(&node.entry);
            }
        });
        absent
    }

    /// The image with this id.
    pub(super) fn image_of(&self, id: &Digest) -> Option<&Parcel> {
        self.images.iter().find(|parcel| parcel.record.id == *id)
    }

    /// The image that a host of `platform` runs best, of those that are here.
    pub(super) fn best(&self, platform: &Platform) -> Option<&Parcel> {
        let ranked =
            self.images.iter().filter_map(|parcel| Some((platform.rank(&parcel.record.platform)?, parcel)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, parcel)| parcel)
    }
}

/// Shows a node, and all below it.
fn visit<'a>(node: &'a Node, see: &mut dyn FnMut(&'a Node)) {
    see(node);
    if let Content::Index { inner, .. } = &node.content {
        inner.iter().for_each(|node| visit(node, see));
    }
}

impl Push<'_> {
    /// Sees to it that the target has all that is not here; tells whether it has.
    pub(super) fn bring_absent(&self, tree: &Tree) -> Result<bool> {
        let sources = self.sources(tree);
        'entries: for entry in tree.absent() {
            if self.is_there(entry)? {
                continue;
            }
            for (name, repository) in &sources {
                let is_beside = name.registry() == self.tag.registry();
                let source = Source { name, repository, is_beside, may_stream: entry.is_attestation() };
                if (source.is_beside || source.may_stream) && self.bring(entry, &source, 0)? {
                    continue 'entries;
                }
            }
            tracing::debug!(digest = %entry.digest, "neither here nor there is what an index names");
            return Ok(false);
        }
        Ok(true)
    }

    /// Other repositories that have the index.
    fn sources(&self, tree: &Tree) -> Vec<(Reference, Repository)> {
        let digest = Some(&tree.top.entry.digest);
        let names = tree.images.iter().flat_map(|parcel| &parcel.record.digests);
        let mut seen = BTreeSet::from([self.tag.name()]);
        let others = names.filter(|name| name.digest() == digest && seen.insert(name.name()));
        others.filter_map(|name| Some((name.clone(), self.client.repository(name).ok()?))).collect()
    }

    /// Whether the target has what an index names.
    fn is_there(&self, entry: &Descriptor) -> Result<bool> {
        let found = match is_document(entry) {
            true => self.target.resolve(&self.tag.with_digest(entry.digest.clone())).map(|_| true),
            false => self.target.has_blob(entry),
        };
        match found {
            Err(registry_client::Error::NotFound { .. }) => Ok(false),
            found => found.map_err(|source| self.refused(source)),
        }
    }

    /// Takes what an index names over from another repository; `false` if it is not to be had there.
    fn bring(&self, entry: &Descriptor, source: &Source<'_>, depth: usize) -> Result<bool> {
        if !is_document(entry) {
            return self.bring_blob(entry, source);
        }
        let fetched = match source.repository.manifest_of_index(entry) {
            Ok(fetched) => fetched,
            Err(error) => {
                tracing::debug!(%error, "what an index names is not to be had where it came from");
                return Ok(false);
            }
        };
        match &fetched.document {
            Document::Manifest(manifest) => {
                let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
                // What may not be distributed stays where its addresses say.
                for blob in blobs.filter(|blob| blob.urls.is_empty()) {
                    if !self.bring_blob(blob, source)? {
                        return Ok(false);
                    }
                }
            }
            Document::Index(_) if depth == DEPTH_LIMIT => return Ok(false),
            Document::Index(index) => {
                for entry in &index.manifests {
                    if !self.is_there(entry)? && !self.bring(entry, source, depth + 1)? {
                        return Ok(false);
                    }
                }
            }
        }
        let place = self.tag.with_digest(entry.digest.clone());
        let put = self.target.put_manifest(&place, &fetched.descriptor.media_type, &fetched.bytes);
        put.map(|_| true).map_err(|source| self.refused(source))
    }

    fn bring_blob(&self, blob: &Descriptor, source: &Source<'_>) -> Result<bool> {
        let refused = |source| self.refused(source);
        if self.target.has_blob(blob).map_err(refused)? {
            return Ok(true);
        }
        let from = source.name.repository();
        if source.is_beside && self.target.mount_blob(&blob.digest, from).map_err(refused)? {
            return Ok(true);
        }
        if !source.may_stream {
            return Ok(false);
        }
        let open = |at: u64| -> io::Result<Box<dyn io::Read + Send>> {
            Ok(Box::new(source.repository.rest_of_blob(blob, at).map_err(io::Error::other)?))
        };
        match self.target.put_blob(blob, &open) {
            Ok(()) => Ok(true),
            Err(
                error @ (registry_client::Error::Content { .. } | registry_client::Error::Mismatch { .. }),
            ) => {
                tracing::debug!(%error, "what is attested is not to be had where it came from");
                Ok(false)
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// Puts all documents there, the index itself last and under the tag; returns what that is there. Where an image had to
    /// become another one, the indexes that name it do, too.
    pub(super) fn put_tree(&self, tree: &Tree, made: &[Made]) -> Result<Descriptor> {
        self.put_node(&tree.top, made, Some(self.tag))
    }

    fn put_node(&self, node: &Node, made: &[Made], tag: Option<&Reference>) -> Result<Descriptor> {
        let (kind, bytes) = match &node.content {
            Content::Absent => return Ok(node.entry.clone()),
            Content::Image(place) => match made.get(*place) {
                Some(made) => (made.kind.clone(), made.bytes.clone()),
                None => return Ok(node.entry.clone()),
            },
            Content::Attested(attested) => return self.put_attested(attested),
            Content::Index { bytes, index, inner } => {
                let manifests = self.put_entries(inner, made)?;
                let same = |(now, before): (&Descriptor, &Descriptor)| now.digest == before.digest;
                let is_same = manifests.len() == index.manifests.len()
                    && manifests.iter().zip(&index.manifests).all(same);
                let bytes = match is_same {
                    true => bytes.clone(),
                    false => serde_json::to_vec(&Index { manifests, ..*index.clone() })
                        .map_err(|source| Error::WriteList { source })?,
                };
                (index.media_type.clone().unwrap_or(MediaType::OCI_INDEX), bytes)
            }
        };
        let digest = Digest::of(&bytes);
        let place = tag.map_or_else(|| self.tag.with_digest(digest.clone()), |_| self.place(&digest));
        self.target.put_manifest(&place, &kind, &bytes).map_err(|source| self.refused(source))?;
        let size = bytes.len() as u64;
        if digest == node.entry.digest {
            return Ok(Descriptor { size, ..node.entry.clone() });
        }
        // What the entry holds, or says to be elsewhere, is what it was before.
        let (data, urls) = (None, Vec::new());
        Ok(Descriptor { media_type: kind, digest, size, data, urls, ..node.entry.clone() })
    }

    /// Puts what an index names, images before what is attested of them; returns its entries as they are there.
    fn put_entries(&self, inner: &[Node], made: &[Made]) -> Result<Vec<Descriptor>> {
        let mut entries: Vec<Option<Descriptor>> = vec![None; inner.len()];
        let mut changed = BTreeMap::new();
        for (node, entry) in inner.iter().zip(&mut entries).filter(|(node, _)| node.entry.attests().is_none())
        {
            let now = self.put_node(node, made, None)?;
            if now.digest != node.entry.digest {
                changed.insert(node.entry.digest.clone(), now.clone());
            }
            *entry = Some(now);
        }
        for (node, entry) in inner.iter().zip(&mut entries) {
            let Some(about) = node.entry.attests() else { continue };
            *entry = match (changed.get(&about), &node.content) {
                (None, _) => Some(self.put_node(node, made, None)?),
                (Some(now), Content::Attested(attested)) => {
                    let attested = attested.as_ref().clone().about(now);
                    Some(self.put_attested(&attested.map_err(failed("say what is attested of the image"))?)?)
                }
                // It names an image that is another one now, and is not here to be said of that.
                (Some(_), _) => None,
            };
        }
        Ok(entries.into_iter().flatten().collect())
    }

    /// Sends what is attested of an image; returns its entry in an index.
    fn put_attested(&self, attested: &Attested) -> Result<Descriptor> {
        let refused = |source| self.refused(source);
        for blob in attested.blobs() {
            let Some(content) = attested.documents.get(&blob.digest) else { continue };
            if !self.target.has_blob(blob).map_err(refused)? {
                self.target.put_blob(blob, &in_memory(content.clone())).map_err(refused)?;
            }
        }
        let Attested { entry, documents, .. } = attested;
        let bytes = documents.get(&entry.digest).map(Vec::as_slice).unwrap_or_default();
        let place = self.tag.with_digest(entry.digest.clone());
        self.target.put_manifest(&place, &MediaType::OCI_MANIFEST, bytes).map_err(refused)?;
        Ok(Descriptor { size: bytes.len() as u64, ..entry.clone() })
    }
}

/// A repository that has the index.
struct Source<'a> {
    name: &'a Reference,
    repository: &'a Repository,
    /// It lies in the registry that is pushed to.
    is_beside: bool,
    /// What is wanted is small enough to be sent through here.
    may_stream: bool,
}

fn is_document(entry: &Descriptor) -> bool {
    let kind = &entry.media_type;
    kind.is_manifest() || kind.is_index() || kind.as_str().is_empty()
}
