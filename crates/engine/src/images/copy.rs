//! `image copy`: what a name of one registry stands for goes to another one, or to another repository, without being stored here.
//!
//! ```text
//! name ──► documents: manifests before the indexes that list them, then what refers to them
//!      ──► blobs, several at once: the target has it? it is in another of its repositories? else read there and sent here
//!      ──► documents, byte for byte; the name itself last
//! ```
//!
//! So all digests stay what they are, and whoever looks meanwhile finds nothing that is not whole.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use oci::{Descriptor, Digest, Document, Reference};
use registry_client::{Client, Repository};

use super::add::parse_platform;
use super::choose::{Wanted, choose};
use super::platforms::DEPTH_LIMIT;
use super::push::{PushEvent, PushStep, PushWatch};
use super::transfer::{Course, Part, send_all, tell_end, watched};
use crate::info::Pushed;
use crate::request::CopyImage;
use crate::{Error, Result};

/// The most manifests and indexes of one name, and their bytes, which are held until all blobs are there.
const DOCUMENTS_LIMIT: usize = 1024;
const BYTES_LIMIT: usize = 64 << 20;

/// Copies an image, or all tags of a repository, from registry to registry.
///
/// # Errors
/// If a name makes no sense, the source lacks something, or the target does not take it. Blobs that were sent by then stay there.
pub fn copy_image(client: &Client, request: &CopyImage, watch: &PushWatch<'_>) -> Result<Vec<Pushed>> {
    let (source, target) = (parse(&request.source)?, parse(&request.target)?);
    if target.digest().is_some() {
        return Err(Error::PushOfDigest);
    }
    let is_bare = |name: &Reference| name.tag().is_none() && name.digest().is_none();
    if request.all_tags && !(is_bare(&source) && is_bare(&target)) {
        return Err(Error::AllOfOneTag);
    }
    let wanted = match &request.platform {
        Some(platform) => Wanted::Platform(parse_platform(platform)?),
        None => Wanted::All,
    };
    let of = |name: &Reference| {
        let name = name.familiar();
        move |error| Error::Registry { action: "copy", name, source: Box::new(error) }
    };
    let copy = Copy {
        from: client.repository(&source).map_err(of(&source))?,
        to: client.target(&target).map_err(of(&target))?,
        source: &source,
        target: &target,
        watch,
    };
    watch(PushEvent::Begins { repository: &target.name() });
    if !request.all_tags {
        let source = source.clone().or_latest();
        let name = match (target.tag(), source.tag()) {
            (Some(_), _) => target.clone(),
            (None, Some(tag)) => tagged(&target, tag)?,
            // Under its digest alone.
            (None, None) => target.clone(),
        };
        return Ok(vec![copy.run(&source, &name, &wanted, request.referrers)?]);
    }
    let mut copied = Vec::new();
    for tag in copy.from.tags().map_err(of(&source))? {
        let (from, to) = (tagged(&source, &tag)?, tagged(&target, &tag)?);
        copied.push(copy.run(&from, &to, &wanted, request.referrers)?);
    }
    Ok(copied)
}

fn parse(text: &str) -> Result<Reference> {
    let invalid = |source| Error::InvalidReference { text: text.chars().take(80).collect(), source };
    text.parse().map_err(invalid)
}

fn tagged(name: &Reference, tag: &str) -> Result<Reference> {
    let invalid = |source| Error::InvalidReference { text: tag.chars().take(80).collect(), source };
    name.with_tag(tag).map_err(invalid)
}

/// From where to where.
struct Copy<'a> {
    from: Repository,
    to: Repository,
    source: &'a Reference,
    target: &'a Reference,
    watch: &'a PushWatch<'a>,
}

/// What there is to copy.
#[derive(Default)]
struct Plan {
    /// What is listed before what lists it.
    documents: Vec<(Descriptor, Vec<u8>)>,
    blobs: Vec<Blob>,
    seen: BTreeSet<Digest>,
    bytes: usize,
}

/// A blob to copy.
struct Blob {
    descriptor: Descriptor,
    course: Arc<Course>,
}

impl Part for Blob {
    fn name(&self) -> &str {
        self.descriptor.digest.encoded()
    }

    fn course(&self) -> &Arc<Course> {
        &self.course
    }
}

impl Copy<'_> {
    fn run(&self, from: &Reference, to: &Reference, wanted: &Wanted, referrers: bool) -> Result<Pushed> {
        let name = from.familiar();
        let refused =
            |source| Error::Registry { action: "copy", name: name.clone(), source: Box::new(source) };
        let fetched = self.from.manifest(from).map_err(refused)?;
        let mut plan = Plan::default();
        let top = match wanted {
            Wanted::Platform(_) => {
                let mut chosen = choose(&self.from, fetched, wanted, &name)?.manifests;
                let Some((descriptor, bytes, manifest)) = chosen.pop() else {
                    return Err(Error::NoSuchImage { name });
                };
                let top = descriptor.digest.clone();
                self.add(&mut plan, (descriptor, bytes, Document::Manifest(Box::new(manifest))), 0, &name)?;
                top
            }
            Wanted::Host | Wanted::All => {
                let top = fetched.descriptor.digest.clone();
                self.add(&mut plan, (fetched.descriptor, fetched.bytes, fetched.document), 0, &name)?;
                top
            }
        };
        if referrers {
            self.add_referrers(&mut plan, &name)?;
        }
        send_all(&plan.blobs, self.watch, &|blob| self.send(blob)).map_err(refused)?;
        // The name last, when there is all that it leads to.
        plan.documents.sort_by_key(|(descriptor, _)| descriptor.digest == top);
        let mut size = 0;
        for (descriptor, bytes) in &plan.documents {
            let is_named = descriptor.digest == top && to.tag().is_some();
            let place =
                if is_named { to.clone() } else { self.target.with_digest(descriptor.digest.clone()) };
            self.to.put_manifest(&place, &descriptor.media_type, bytes).map_err(refused)?;
            size = bytes.len() as u64;
        }
        let digest = top.to_string();
        (self.watch)(PushEvent::Done { tag: to.tag().unwrap_or_default(), digest: &digest, size });
        let named = if to.tag().is_some() { to.clone() } else { to.with_digest(top) };
        Ok(Pushed { reference: named.to_string(), digest })
    }

    /// Adds a document, behind all that it lists.
    fn add(
        &self,
        plan: &mut Plan,
        (descriptor, bytes, document): (Descriptor, Vec<u8>, Document),
        depth: usize,
        name: &str,
    ) -> Result<()> {
        if !plan.seen.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        plan.bytes += bytes.len();
        if plan.documents.len() >= DOCUMENTS_LIMIT || plan.bytes > BYTES_LIMIT {
            return Err(Error::TooManyPlatforms { name: name.to_owned(), limit: DOCUMENTS_LIMIT });
        }
        match document {
            Document::Manifest(manifest) => {
                plan.add_blob(&manifest.config);
                manifest.layers.iter().for_each(|layer| plan.add_blob(layer));
            }
            Document::Index(_) if depth == DEPTH_LIMIT => {
                return Err(Error::IndexTooDeep { name: name.to_owned(), limit: DEPTH_LIMIT });
            }
            Document::Index(index) => {
                for entry in &index.manifests {
                    let kind = &entry.media_type;
                    if kind.is_manifest() || kind.is_index() || kind.as_str().is_empty() {
                        self.add_listed(plan, entry, depth + 1, name)?;
                    } else {
                        plan.add_blob(entry);
                    }
                }
            }
        }
        plan.documents.push((descriptor, bytes));
        Ok(())
    }

    fn add_listed(&self, plan: &mut Plan, entry: &Descriptor, depth: usize, name: &str) -> Result<()> {
        if plan.seen.contains(&entry.digest) {
            return Ok(());
        }
        let refused =
            |source| Error::Registry { action: "copy", name: name.to_owned(), source: Box::new(source) };
        let fetched = self.from.manifest_of_index(entry).map_err(refused)?;
        self.add(plan, (fetched.descriptor, fetched.bytes, fetched.document), depth, name)
    }

    /// Adds what refers to what is there, and what refers to that: signatures, bills of material, and signatures of these.
    fn add_referrers(&self, plan: &mut Plan, name: &str) -> Result<()> {
        let mut place = 0;
        while let Some((descriptor, _)) = plan.documents.get(place) {
            let digest = descriptor.digest.clone();
            let refused =
                |source| Error::Registry { action: "copy", name: name.to_owned(), source: Box::new(source) };
            for entry in self.from.referrers(&digest, None).map_err(refused)? {
                self.add_listed(plan, &entry, 1, name)?;
            }
            place += 1;
        }
        Ok(())
    }

    /// Sees to it that the target has a blob.
    fn send(&self, blob: &Blob) -> registry_client::Result<()> {
        let Blob { descriptor, course } = blob;
        let (source, target) = (self.from.about(&descriptor.digest), self.to.about(&descriptor.digest));
        if target.has_blob(descriptor)? {
            tell_end(self.watch, blob, PushStep::Exists);
            return Ok(());
        }
        let from = self.source.repository();
        if self.source.registry() == self.target.registry() && target.mount_blob(&descriptor.digest, from)? {
            tell_end(self.watch, blob, PushStep::Mounted(from));
            return Ok(());
        }
        course.begin(Some(descriptor.size));
        let open = |at: u64| {
            let content = source.rest_of_blob(descriptor, at).map_err(io::Error::other)?;
            Ok(watched(Box::new(content), at, course))
        };
        target.put_blob(descriptor, &open)?;
        tell_end(self.watch, blob, PushStep::Complete);
        Ok(())
    }
}

impl Plan {
    fn add_blob(&mut self, blob: &Descriptor) {
        // What may not be distributed stays where its addresses say.
        if blob.urls.is_empty() && self.seen.insert(blob.digest.clone()) {
            self.blobs.push(Blob { descriptor: blob.clone(), course: Arc::default() });
        }
    }
}
