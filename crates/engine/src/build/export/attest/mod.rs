//! What is attested of images: how they were made (SLSA provenance) and what is in them (SPDX), as in-toto statements.
//!
//! ```text
//! index ─► manifest of an image ◄───────────── subject ┐
//!       └► attestation manifest ─► statements ─────────┘     platform unknown/unknown, vnd.docker.reference.digest
//! ```
//!
//! What goes to a registry or into an archive says how it was made even if nobody has asked (`mode=min`); what stays here, and file
//! systems, do not: an image in the store has the digest that its content gives it.
//!
//! They lie in the index as BuildKit lays them out, so that its clients find them: the config of an attestation manifest names the
//! statements as if they were layers. Nothing of a secret is in them, only that one was used.

mod asked;
mod credentials;
mod materials;
mod origin;
mod provenance;
mod sbom;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use oci::{
    ContainerConfig, Descriptor, DiffId, Digest, Hasher, ImageConfig, Manifest, MediaType, Platform,
    Reference, RootFs,
};
use serde_json::{Value, json};

use super::describe::{Image, Way};
use super::options::ImageOptions;
use super::{Export, Product};
use crate::build::BuildError;
use crate::images::failed;
use crate::request::{Build, Fields, parse_bool};
use crate::{Error, Result};
pub(in crate::build) use asked::AskedGenerator;
pub(super) use asked::Sbom;
use materials::purl;
pub(in crate::build) use origin::Origin;
use provenance::Provenance;

/// What in-toto calls its statements.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// What BuildKit calls a manifest of them that is no image.
const ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";
const READ: &str = "read the files of the image";

/// What is to be attested.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// How it was made.
    provenance: Option<Provenance>,
    /// It was asked for, not added.
    is_explicit: bool,
    /// What is in it.
    pub(super) sbom: Option<Sbom>,
}

/// A statement before it has a subject. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::build) struct Predicate {
    /// What kind it is, by its address.
    pub(in crate::build) kind: String,
    /// How its file is called.
    pub(in crate::build) file: String,
    /// It, in JSON. What others have written stays as they wrote it.
    pub(in crate::build) content: Arc<str>,
    /// It is for images alone, and no file beside others.
    pub(in crate::build) inline_only: bool,
}

/// What is attested of one image, as documents.
pub(super) struct Attested {
    /// The index's entry.
    pub(super) manifest: Descriptor,
    /// All documents: the manifest, its config, the statements.
    pub(super) documents: BTreeMap<Digest, Vec<u8>>,
}

/// Reads what was asked for.
pub(super) fn wanted(request: &Build) -> Result<Wanted> {
    let mut wanted = Wanted { provenance: Some(Provenance::least()), is_explicit: false, sbom: None };
    for (kind, fields) in &request.attestations {
        let disabled = match field(fields, "disabled") {
            None => false,
            Some("") => true,
            Some(text) => {
                parse_bool(text).ok_or_else(|| refuse(kind, "disabled is neither true nor false"))?
            }
        };
        match kind.as_str() {
            "provenance" => {
                wanted.is_explicit = !disabled;
                wanted.provenance = if disabled { None } else { Some(Provenance::parse(fields)?) };
            }
            "sbom" => {
                let sbom = Sbom::parse(fields)?;
                wanted.sbom = Some(sbom).filter(|_| !disabled);
            }
            _ => return Err(refuse(kind, "there is no such type; there are provenance and sbom")),
        }
    }
    Ok(wanted)
}

fn field<'f>(fields: &'f Fields, key: &str) -> Option<&'f str> {
    fields.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
}

fn refuse(kind: &str, reason: &str) -> Error {
    BuildError::Output { output: format!("attestation type={kind}"), reason: reason.to_owned() }.into()
}

impl Wanted {
    /// What is made on a way. Without being asked only what leaves this host is said how it was made.
    fn on(&self, way: Way) -> (Option<&Provenance>, bool) {
        let by_default = matches!(way, Way::Registry | Way::Archive);
        (self.provenance.as_ref().filter(|_| self.is_explicit || by_default), self.sbom.is_some())
    }

    /// What was asked for.
    fn explicit(&self) -> (Option<&Provenance>, bool) {
        (self.provenance.as_ref().filter(|_| self.is_explicit), self.sbom.is_some())
    }
}

impl Export<'_> {
    /// Attests of images what is wanted of them on that way.
    pub(super) fn attest(
        &self,
        images: &[Image],
        ImageOptions { names, is_artifact, .. }: &ImageOptions,
        way: Way,
    ) -> Result<Vec<Attested>> {
        let wanted = wanted(self.session.request)?;
        let mut attested = Vec::new();
        if way == Way::Docker {
            return Ok(attested);
        }
        for image in images {
            let Some(product) = self.products.get(image.product) else { continue };
            let layers = layers_of(image);
            let predicates = self.predicates(product, wanted.on(way), &layers)?;
            let subjects = subjects(names, &product.platform, &image.manifest.digest);
            let told = |predicate: Predicate| {
                let statement = statement(&predicate, &subjects);
                (predicate.kind, statement)
            };
            let statements: Vec<(String, Vec<u8>)> = predicates.into_iter().map(told).collect();
            if !statements.is_empty() {
                attested.push(documents(&statements, &image.manifest, *is_artifact)?);
            }
        }
        Ok(attested)
    }

    /// Files beside a file system that say what was asked for: their names and contents. What they are about is every file.
    pub(super) fn attested_files(&self, product: &Product) -> Result<Vec<(String, Vec<u8>)>> {
        let wanted = wanted(self.session.request)?;
        let mut predicates = self.predicates(product, wanted.explicit(), &[])?;
        predicates.retain(|predicate| !predicate.inline_only);
        if predicates.is_empty() {
            return Ok(Vec::new());
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = predicates.iter().find(|predicate| !names.insert(&predicate.file)) {
            let reason =
                format!("two statements would be written to {:?}; filename= names another", twice.file);
            return Err(refuse("provenance", &reason));
        }
        let subjects = self.files_of(product)?;
        let file = |predicate: Predicate| {
            let statement = statement(&predicate, &subjects);
            (predicate.file, statement)
        };
        Ok(predicates.into_iter().map(file).collect())
    }

    /// Every file of a product with its digest, as in-toto names subjects.
    fn files_of(&self, product: &Product) -> Result<Vec<Value>> {
        let merged = image::files::Merged::open(&self.session.engine.store, &product.tree.diff_ids());
        let merged = merged.map_err(failed(READ))?;
        let (mut subjects, mut buffer) = (Vec::new(), vec![0; 1 << 18]);
        let visited = merged.files(&mut |path, file| {
            let (mut hasher, mut place) = (Hasher::sha256(), 0);
            while place < file.size {
                let read = file.read_at(place, &mut buffer)?;
                hasher.update(buffer.get(..read).unwrap_or_default());
                place += read as u64;
            }
            let name = String::from_utf8_lossy(path);
            subjects.push(json!({ "name": name, "digest": digest_set(&hasher.finish()) }));
            Ok(())
        });
        visited.map_err(failed(READ))?;
        Ok(subjects)
    }

    /// How an image was made, for those who want it told: by platform.
    pub(super) fn told_provenance(&self) -> Result<BTreeMap<String, Value>> {
        let wanted = wanted(self.session.request)?;
        let Some(provenance) = &wanted.provenance else { return Ok(BTreeMap::new()) };
        let told =
            |product: &Product| (product.platform.to_string(), provenance.content(self, product, &[]).1);
        Ok(self.products.iter().map(told).collect())
    }

    fn predicates(
        &self,
        product: &Product,
        (provenance, sbom): (Option<&Provenance>, bool),
        layers: &[Descriptor],
    ) -> Result<Vec<Predicate>> {
        let mut predicates = Vec::new();
        let platform = product.platform.to_string();
        let generated = self.facts.generated.and_then(|generated| generated.get(&platform));
        if let Some(generated) = generated.filter(|_| sbom) {
            predicates.extend(generated.iter().cloned());
        } else if sbom {
            predicates.push(sbom::predicate(self, product)?);
            let others = self.facts.scanned.and_then(|scanned| scanned.get(&platform));
            for (name, tree) in others.into_iter().flatten() {
                predicates.push(sbom::other(self, product, (name, tree))?);
            }
        }
        if let Some(provenance) = provenance {
            predicates.push(provenance.predicate(self, product, layers));
        }
        Ok(predicates)
    }
}

/// The layers that an image's manifest names.
fn layers_of(image: &Image) -> Vec<Descriptor> {
    Manifest::parse(&image.bytes).map(|manifest| manifest.layers).unwrap_or_default()
}

/// The image by all of its names; by none if it has none.
fn subjects(names: &[Reference], platform: &Platform, digest: &Digest) -> Vec<Value> {
    let digest = digest_set(digest);
    if names.is_empty() {
        return vec![json!({ "name": "_", "digest": digest })];
    }
    let platform = platform.to_string();
    let named = |name: &Reference| json!({ "name": purl(name, &platform), "digest": digest });
    names.iter().map(named).collect()
}

/// A digest as in-toto writes it.
fn digest_set(digest: &Digest) -> Value {
    json!({ digest.algorithm_name(): digest.encoded() })
}

/// As a part of a package URL: what is not plain in hexadecimal digits behind a percent sign.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let letter = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(letter).collect()
}

fn statement(predicate: &Predicate, subjects: &[Value]) -> Vec<u8> {
    let (kind, subjects, content) = (json!(predicate.kind), json!(subjects), &predicate.content);
    let statement = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","predicateType":{kind},"subject":{subjects},"predicate":{content}}}"#
    );
    statement.into_bytes()
}

/// The attestation manifest of an image, with all that it leads to: as BuildKit has always laid it out, with a config that is an
/// image's of no platform, or as an artifact of its own kind that names the image as its subject.
fn documents(statements: &[(String, Vec<u8>)], subject: &Descriptor, is_artifact: bool) -> Result<Attested> {
    let mut documents = BTreeMap::new();
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for (kind, statement) in statements {
        if statement.len() as u64 > oci::CONFIG_LIMIT {
            return Err(refuse(kind, &format!("it is larger than {} bytes", oci::CONFIG_LIMIT)));
        }
        let mut layer = Descriptor::of(MediaType::from(STATEMENT), statement);
        layer.annotations.insert("in-toto.io/predicate-type".to_owned(), kind.clone());
        let id = DiffId::try_from(layer.digest.clone());
        diff_ids.extend(id);
        documents.insert(layer.digest.clone(), statement.clone());
        layers.push(layer);
    }
    let unknown =
        Platform { os: "unknown".to_owned(), architecture: "unknown".to_owned(), ..Platform::default() };
    let (kind, config) = match is_artifact {
        true => (MediaType::OCI_EMPTY, b"{}".to_vec()),
        false => {
            let config = ImageConfig {
                platform: unknown.clone(),
                config: ContainerConfig::default(),
                rootfs: RootFs { diff_ids, ..RootFs::default() },
                ..ImageConfig::default()
            };
            (MediaType::OCI_CONFIG, config.to_bytes())
        }
    };
    let described = Descriptor::of(kind, &config);
    documents.insert(described.digest.clone(), config);
    let about = || Descriptor::new(subject.media_type.clone(), subject.digest.clone(), subject.size);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::OCI_MANIFEST),
        artifact_type: is_artifact.then(|| MediaType::from(ARTIFACT)),
        config: described,
        layers,
        subject: is_artifact.then(about),
        annotations: BTreeMap::new(),
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|source| Error::WriteList { source })?;
    let mut manifest = Descriptor::of(MediaType::OCI_MANIFEST, &bytes);
    documents.insert(manifest.digest.clone(), bytes);
    manifest.platform = Some(unknown);
    manifest.annotations.extend([
        ("vnd.docker.reference.digest".to_owned(), subject.digest.to_string()),
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
    ]);
    Ok(Attested { manifest, documents })
}
