//! What a build was made of: images, repositories and files of the web, each with the digest that the build itself has used.
//!
//! | | by what it is told | where the digest comes from |
//! |---|---|---|
//! | image | package URL | its registry; of one that was made here, that of its config |
//! | repository | `remote#reference` | the commit that was resolved when the key of the step was made |
//! | file of the web | its address | the checksum of the Dockerfile, the download, or the layer that an earlier build made of it |
//!
//! Nothing is fetched for it. Where nobody knows a digest any more, none is told, and the provenance says of itself that it is not
//! complete; so it does of files of the caller, which have no address.

use std::collections::BTreeSet;

use build::{Cache as _, Key};
use dockerfile::lower::{GitSource, Node, Op, is_git, parse_git};
use image::files::Merged;
use oci::{Digest, Hasher, Platform, Reference};
use serde_json::{Map, Value, json};

use super::encoded;
use crate::build::export::Export;
use crate::build::generator;
use crate::build::salt;
use crate::build::sources::parted;
use crate::request::{BuildContext, NamedContext};

/// Something that a build was made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Material {
    /// Where it came from: `https://…`, `https://….git#ref`, `pkg:docker/…`.
    uri: String,
    /// The algorithm (`sha256`, or `sha1` of a commit) and the digits.
    digest: Option<(String, String)>,
}

impl Material {
    /// As in-toto has a resource.
    pub(super) fn told(&self) -> Value {
        let mut told = Map::from_iter([("uri".to_owned(), json!(self.uri))]);
        told.extend(self.digest().map(|digest| ("digest".to_owned(), digest)));
        Value::Object(told)
    }

    fn digest(&self) -> Option<Value> {
        self.digest.as_ref().map(|(algorithm, digits)| json!({ algorithm: digits }))
    }

    fn new(uri: &str, digest: Option<&Digest>) -> Self {
        let digest = digest.map(|digest| (digest.algorithm_name().to_owned(), digest.encoded().to_owned()));
        Self { uri: without_credentials(uri), digest }
    }
}

/// All that one image was made of.
#[derive(Debug, Default)]
pub(super) struct Materials {
    /// Sorted, each once.
    pub(super) all: Vec<Material>,
    /// The main context as the caller named it, where it came from elsewhere.
    pub(super) context: Option<Material>,
    /// What came from the caller's own files.
    pub(super) locals: BTreeSet<String>,
    /// Whether that is all, with all digests.
    pub(super) is_complete: bool,
}

impl Materials {
    /// What the nodes of an image take from elsewhere.
    pub(super) fn of(export: &Export<'_>, nodes: &[(usize, &Node)]) -> Self {
        let mut found = Self { is_complete: true, ..Self::default() };
        found.add_main(export);
        for (_, node) in nodes {
            match &node.op {
                Op::Image { reference, platform } => found.add_base(export, reference, platform),
                Op::Http { url, checksum, .. } => {
                    let known = checksum.clone().or_else(|| digest_of_file(export, &node.op, url));
                    found.add(Material::new(url, known.as_ref()));
                }
                Op::Git(source) => found.add(repository(export, source)),
                Op::Context { name, platform } if !name.is_empty() => {
                    found.add_named(export, name, platform.as_deref());
                }
                Op::Context { .. }
                | Op::Run(_)
                | Op::Scratch
                | Op::Inline { .. }
                | Op::Copy(_)
                | Op::MakeDirectory { .. }
                | Op::Merge => {}
            }
        }
        // Nothing of it is in the image, but what is said of the image comes from there; BuildKit tells it, too.
        if let Some((reference, platform)) = export.facts.work.and_then(generator::image) {
            found.add_base(export, reference, &platform);
        }
        found.all.sort();
        found.all.dedup();
        found
    }

    /// The digest of the main context, as in-toto has it.
    pub(super) fn context_digest(&self) -> Option<Value> {
        self.context.as_ref().and_then(Material::digest)
    }

    /// Those of another image, of which this one is made.
    pub(super) fn add_all(&mut self, below: &Self) {
        self.all.extend(below.all.iter().cloned());
        self.all.sort();
        self.all.dedup();
        self.locals.extend(below.locals.iter().cloned());
        self.is_complete &= below.is_complete;
    }

    fn add(&mut self, material: Material) {
        self.is_complete &= material.digest.is_some();
        self.all.push(material);
    }

    fn add_local(&mut self, name: &str) {
        self.locals.insert(name.to_owned());
        self.is_complete = false;
    }

    /// The main context, from which the Dockerfile comes even if no step looks into it.
    fn add_main(&mut self, export: &Export<'_>) {
        match &export.session.request.context {
            BuildContext::Empty => self.add_local("dockerfile"),
            BuildContext::Directory(_) | BuildContext::Stream(_) => {
                self.add_local("context");
                self.add_local("dockerfile");
            }
            BuildContext::Remote(url) => {
                let material = remote(export, url);
                self.context = Some(Material { uri: without_credentials(url), ..material.clone() });
                self.add(material);
            }
        }
    }

    fn add_named(&mut self, export: &Export<'_>, name: &str, platform: Option<&str>) {
        match export.session.request.contexts.get(name) {
            Some(NamedContext::Image(text)) => match text.parse::<Reference>() {
                Ok(reference) => {
                    let reference = reference.or_latest();
                    let platform = platform.map_or_else(|| Platform::host().to_string(), str::to_owned);
                    let id = export.session.engine.resolve_for(text, Some(&platform)).ok();
                    self.add(image(export, &reference, &platform, id));
                }
                Err(_) => self.is_complete = false,
            },
            Some(NamedContext::Remote(url)) => self.add(remote(export, url)),
            // What another target was made of comes by its own origin.
            Some(NamedContext::Made(_)) => {}
            Some(NamedContext::Layout { .. }) => self.is_complete = false,
            Some(NamedContext::Directory(_)) | None => self.add_local(name),
        }
    }

    fn add_base(&mut self, export: &Export<'_>, reference: &Reference, platform: &str) {
        let key = dockerfile::stage::ImageKey { reference: reference.clone(), platform: platform.to_owned() };
        let id = export.facts.work.and_then(|work| work.bases.found().get(&key).cloned());
        self.add(image(export, reference, platform, id));
    }
}

/// An address as others may know it.
pub(super) fn without_credentials(address: &str) -> String {
    oci::address_without_credentials(address).into_owned()
}

/// An image that a stage begins with. Its registry's digest counts; of one that was made here, that of its config.
fn image(export: &Export<'_>, reference: &Reference, platform: &str, id: Option<Digest>) -> Material {
    let state = export.session.engine.state();
    let named = || state.digest_of_name(&reference.clone().or_latest()).ok().flatten();
    let known = reference.digest().cloned().or_else(named);
    let manifest = || {
        let record = state.image(id.as_ref()?).ok().flatten()?;
        record.manifest.map(|manifest| manifest.digest)
    };
    let digest = known.or_else(manifest).or(id.clone());
    Material::new(&purl(reference, platform), digest.as_ref())
}

/// An image as a package URL.
pub(super) fn purl(name: &Reference, platform: &str) -> String {
    let repository: Vec<String> = name.familiar_name().split('/').map(encoded).collect();
    let version = name.tag().map(|tag| format!("@{}", encoded(tag))).unwrap_or_default();
    let digest = name.digest().map(|digest| format!("digest={digest}&")).unwrap_or_default();
    format!("pkg:docker/{}{version}?{digest}platform={}", repository.join("/"), encoded(platform))
}

/// What was fetched from an address that the caller gave.
fn remote(export: &Export<'_>, url: &str) -> Material {
    let keep = export.session.request.arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    let keep = keep.map(|text| matches!(text.as_str(), "1" | "true"));
    match is_git(url).then(|| parse_git(url, keep, None)) {
        Some(Ok(source)) => repository(export, &source),
        Some(Err(_)) => Material::new(url, None),
        None => {
            let (address, _) = parted(url);
            Material::new(url, export.session.found.digest(address).as_ref())
        }
    }
}

fn repository(export: &Export<'_>, source: &GitSource) -> Material {
    let reference = source.reference.as_ref().map(|name| format!("#{name}")).unwrap_or_default();
    let commit = export.session.found.revision(source).map(|revision| revision.commit.to_string());
    let algorithm = |commit: &str| if commit.len() == 64 { "sha256" } else { "sha1" };
    Material {
        uri: format!("{}{reference}", without_credentials(&source.remote)),
        digest: commit.map(|commit| (algorithm(&commit).to_owned(), commit)),
    }
}

/// Of a file of the web without a checksum: as it was downloaded in this build, or as an earlier one has kept it.
fn digest_of_file(export: &Export<'_>, op: &Op, url: &str) -> Option<Digest> {
    let session = export.session;
    if let Some(known) = session.found.digest(url) {
        return Some(known);
    }
    let key = Key::source(op, &session.found.identity(url)?, &|op| {
        salt::of(session.request, session.timestamp(), op)
    });
    let record = export.facts.cache?.find(&key).ok()??;
    let merged = Merged::open(&session.engine.store, &[record.layer]).ok()?;
    let mut digest = None;
    // It is alone in its layer.
    let read = merged.files(&mut |_, file| {
        let (mut hasher, mut place, mut buffer) = (Hasher::sha256(), 0, vec![0; 1 << 18]);
        while place < file.size {
            let read = file.read_at(place, &mut buffer)?;
            hasher.update(buffer.get(..read).unwrap_or_default());
            place += read as u64;
        }
        digest = Some(hasher.finish());
        Ok(())
    });
    digest.filter(|_| read.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_package_urls() {
        let digest = Digest::of(b"x");
        for (name, want) in [
            ("alpine", "pkg:docker/alpine?platform=linux%2Famd64".to_owned()),
            ("h:5000/a/b:1", "pkg:docker/h:5000/a/b@1?platform=linux%2Famd64".to_owned()),
            (&format!("a:1@{digest}"), format!("pkg:docker/a@1?digest={digest}&platform=linux%2Famd64")),
        ] {
            assert_eq!(purl(&name.parse().unwrap(), "linux/amd64"), want);
        }
    }
}
