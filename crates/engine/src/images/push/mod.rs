//! `push`: what a name stands for here goes to the registry that the name says.
//!
//! ```text
//! tag ──► image ──► layers, several at once ──► config ──► manifest, last ──► noted here: digest, and where blobs are
//!                     │ the target has the blob? is it in another of its repositories? where did it come from?
//!                     └ only then: compressed anew
//! ```
//!
//! The store keeps layers as tars. As long as every blob can be had as it came, the manifest is pushed byte for byte and keeps
//! its digest. A name that goes through an index takes all that the index leads to along (`tree`), or, where that is not to be
//! had, the image alone that it stands for.

mod attached;
mod blobs;
mod parcel;
mod tree;

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::Live;
use oci::{Descriptor, Digest, Platform, Reference};
use registry_client::{Client, Repository};

use super::add::parse_platform;
use super::failed;
use crate::info::Pushed;
use crate::request::PushImage;
use crate::{Engine, Error, Result};
use parcel::{Made, Parcel};
use tree::Tree;

/// What happens while an image is pushed.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum PushEvent<'a> {
    /// The repository, spelled out.
    Begins { repository: &'a str },
    /// A layer, by the digest of its tar.
    Layer { layer: &'a str, step: PushStep<'a> },
    /// Not all blobs could be had as they came: the manifest that is pushed is a new one.
    Changed { name: &'a str, was: &'a str, digest: &'a str },
    /// Not all that the index of the name leads to is to be had: this manifest was pushed in its place.
    InsteadOfIndex { name: &'a str, index: &'a Descriptor, manifest: &'a Descriptor },
    /// The registry has the image under this tag; `size` is that of its manifest.
    Done { tag: &'a str, digest: &'a str, size: u64 },
}

/// What happens to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants say what their fields are")]
pub enum PushStep<'a> {
    /// It is one of the image.
    Planned,
    /// So many bytes of its blob have been sent, of so many, where that is known.
    Sent { bytes: u64, size: Option<u64> },
    /// The registry has it already.
    Exists,
    /// The registry has taken it over from this repository.
    Mounted(&'a str),
    /// The registry has it now.
    Complete,
}

/// Hears of what happens, from several threads.
pub type PushWatch<'a> = dyn Fn(PushEvent<'_>) + Sync + 'a;

impl Engine {
    /// Sends what a name leads to, or all tags of a repository do, to the registry that the name says; of what is there for
    /// several platforms all, or the one that is asked for.
    pub fn push(&self, client: &Client, request: &PushImage, watch: &PushWatch<'_>) -> Result<Vec<Pushed>> {
        let text: String = request.reference.chars().take(80).collect();
        let invalid = |source| Error::InvalidReference { text, source };
        let reference: Reference = request.reference.parse().map_err(invalid)?;
        if request.all_tags && (reference.tag().is_some() || reference.digest().is_some()) {
            return Err(Error::AllOfOneTag);
        }
        if reference.digest().is_some() {
            return Err(Error::PushOfDigest);
        }
        let tags = self.tags_to_push(&reference, request.all_tags)?;
        let refused =
            |source| Error::Registry { action: "push", name: reference.familiar(), source: Box::new(source) };
        let target = client.target(&reference).map_err(refused)?;
        watch(PushEvent::Begins { repository: &reference.name() });
        let platform = request.platform.as_deref().map(parse_platform).transpose()?;
        let mut pushed = Vec::new();
        for (tag, id) in tags {
            let (by_digest, ready) = (false, &BTreeMap::new());
            let push = Push { engine: self, client, target: &target, tag: &tag, watch, by_digest, ready };
            let index = self.state().index_of(&tag)?.filter(|index| self.is_index(index));
            pushed.push(push.run(&id, index, platform.as_ref())?);
        }
        Ok(pushed)
    }

    /// Sends what a build has made, which is known here, but perhaps by no name.
    pub(crate) fn push_built(
        &self,
        client: &Client,
        built: &PushBuilt<'_>,
        watch: &PushWatch<'_>,
    ) -> Result<Pushed> {
        let &PushBuilt { name, by_digest, image, index, ready } = built;
        let refused =
            |source| Error::Registry { action: "push", name: name.familiar(), source: Box::new(source) };
        let target = client.target(name).map_err(refused)?;
        watch(PushEvent::Begins { repository: &name.name() });
        let push = Push { engine: self, client, target: &target, tag: name, watch, by_digest, ready };
        push.run(image, index.cloned(), None)
    }

    /// The tags that are meant, with their images.
    fn tags_to_push(&self, reference: &Reference, all: bool) -> Result<Vec<(Reference, Digest)>> {
        let repository = reference.name();
        let mut tags = Vec::new();
        for named in self.state().images()? {
            let of_it = named.tags.into_iter().filter(|tag| tag.name() == repository);
            tags.extend(of_it.map(|tag| (tag, named.image.id.clone())));
        }
        if tags.is_empty() {
            return Err(Error::NotTagged { name: reference.familiar_name() });
        }
        tags.sort_by(|one, other| one.0.tag().cmp(&other.0.tag()));
        if !all {
            let wanted = reference.clone().or_latest();
            tags.retain(|(tag, _)| *tag == wanted);
            if tags.is_empty() {
                return Err(Error::NoSuchTag { name: wanted.familiar() });
            }
        }
        Ok(tags)
    }
}

/// What a build has made, on its way to a registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PushBuilt<'a> {
    /// Where it goes.
    pub(crate) name: &'a Reference,
    /// It gets no tag there, whatever the name says.
    pub(crate) by_digest: bool,
    /// The image, or one of those of the index.
    pub(crate) image: &'a Digest,
    /// What leads to all of its images, if there is such a thing.
    pub(crate) index: Option<&'a Digest>,
    /// Files with blobs of layers, by their digests.
    pub(crate) ready: &'a BTreeMap<Digest, PathBuf>,
}

/// A tag on its way to its registry.
struct Push<'a> {
    engine: &'a Engine,
    client: &'a Client,
    target: &'a Repository,
    tag: &'a Reference,
    watch: &'a PushWatch<'a>,
    /// What is pushed gets no tag.
    by_digest: bool,
    /// Files with blobs, by their digests.
    ready: &'a BTreeMap<Digest, PathBuf>,
}

impl Push<'_> {
    fn refused(&self, source: registry_client::Error) -> Error {
        Error::Registry { action: "push", name: self.tag.familiar(), source: Box::new(source) }
    }

    /// Where the document goes that is the last.
    fn place(&self, digest: &Digest) -> Reference {
        if self.by_digest { self.tag.with_digest(digest.clone()) } else { self.tag.clone() }
    }

    /// Pushes what the tag leads to, which stands for the image `id`; or the image for one platform.
    fn run(&self, id: &Digest, index: Option<Digest>, platform: Option<&Platform>) -> Result<Pushed> {
        let Some(index) = index else {
            let parcel = self.parcel(id)?;
            let found = &parcel.record.platform;
            if let Some(wanted) = platform.filter(|wanted| wanted.rank(found).is_none()) {
                return Err(self.wrong_platform(wanted, found));
            }
            return self.one(&parcel, None);
        };
        let read = || Tree::read(self.engine, &index, self.tag);
        let kept = self.engine.store.keep(&read()?.content()).map_err(failed("keep the images"))?;
        // Whoever removed something before it was kept may have collected it.
        let tree = read()?;
        if let Some(wanted) = platform {
            let found = &self.engine.image_record(id)?.platform;
            let parcel = tree.best(wanted).ok_or_else(|| self.wrong_platform(wanted, found))?;
            return self.one(parcel, None);
        }
        let pushed = match self.bring_absent(&tree)? {
            true => self.all(id, &tree)?,
            false => match tree.image_of(id) {
                Some(parcel) => self.one(parcel, Some(&tree.descriptor()))?,
                None => self.one(&self.parcel(id)?, Some(&tree.descriptor()))?,
            },
        };
        drop(kept);
        Ok(pushed)
    }

    fn parcel(&self, id: &Digest) -> Result<Parcel> {
        Ok(Parcel::new(&self.engine.store, self.engine.image_record(id)?))
    }

    fn wrong_platform(&self, wanted: &Platform, found: &Platform) -> Error {
        let (image, wanted, found) =
            (self.tag.familiar(), wanted.to_string(), found.normalized().to_string());
        Error::WrongPlatform { image, wanted, found }
    }

    /// Pushes one image; in the place of an `index` if that is not to be had as a whole.
    fn one(&self, parcel: &Parcel, index: Option<&Descriptor>) -> Result<Pushed> {
        let mut live = Live::default();
        parcel.add_content(&mut live);
        let kept = self.engine.store.keep(&live).map_err(failed("keep the image"))?;
        // Whoever removed it before it was kept may have collected it.
        self.engine.image_record(&parcel.record.id)?;
        let made = self.send(&[parcel])?;
        let Some(made) = made.first() else {
            return Err(Error::NoSuchImage { name: self.tag.familiar() });
        };
        let put = self.target.put_manifest(&self.place(&made.digest), &made.kind, &made.bytes);
        let put = put.map_err(|source| self.refused(source))?.descriptor;
        self.note(parcel, made, &put)?;
        drop(kept);
        if let Some(was) = &made.lost {
            self.tell_changed(was, &put);
        }
        if let Some(index) = index {
            let name = &self.tag.familiar();
            (self.watch)(PushEvent::InsteadOfIndex { name, index, manifest: &put });
        }
        self.done(&parcel.record.id, &put)
    }

    /// Pushes the index, with all that it leads to; the tag stands for the image `id` here.
    fn all(&self, id: &Digest, tree: &Tree) -> Result<Pushed> {
        let parcels: Vec<&Parcel> = tree.images.iter().collect();
        let made = self.send(&parcels)?;
        let put = self.put_tree(tree, &made)?;
        for (parcel, made) in parcels.iter().zip(&made) {
            self.note(parcel, made, &put)?;
        }
        if made.iter().any(|made| made.lost.is_some()) {
            self.tell_changed(&tree.descriptor().digest, &put);
        }
        self.done(id, &put)
    }

    /// Remembers where an image is now, and its layers, and sends what is attached to it.
    fn note(&self, parcel: &Parcel, made: &Made, put: &Descriptor) -> Result<()> {
        let record = &parcel.record;
        self.engine.state().put_pushed(&record.id, (self.tag, &put.digest), &made.layers)?;
        let subject = Descriptor::new(made.kind.clone(), made.digest.clone(), made.bytes.len() as u64);
        attached::send(&self.engine.store, self.target, self.tag, record, &subject)
    }

    fn tell_changed(&self, was: &Digest, put: &Descriptor) {
        let (name, was, digest) = (&self.tag.familiar(), was.as_str(), put.digest.as_str());
        (self.watch)(PushEvent::Changed { name, was, digest });
    }

    fn done(&self, id: &Digest, put: &Descriptor) -> Result<Pushed> {
        self.engine.image_event("push", id, &self.tag.familiar());
        let (tag, digest) = (self.tag.tag().unwrap_or_default(), put.digest.to_string());
        (self.watch)(PushEvent::Done { tag, digest: &digest, size: put.size });
        Ok(Pushed { reference: self.tag.to_string(), digest })
    }
}
