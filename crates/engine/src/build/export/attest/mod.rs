//! What is attested of images: how they were made (SLSA provenance) and what is in them (SPDX), as in-toto statements.
//!
//! ```text
//! index ─► manifest of an image ◄───────────── subject ┐
//!       └► attestation manifest ─► statements ─────────┘     platform unknown/unknown, vnd.docker.reference.digest
//! ```
//!
//! They lie in the index as BuildKit lays them out, so that its clients find them: the config of an attestation manifest names the
//! statements as if they were layers. Nothing of a secret is in them, only that one was used.

mod packages;
mod provenance;
mod sbom;

use std::collections::BTreeMap;

use oci::{
    ContainerConfig, Descriptor, DiffId, Digest, ImageConfig, Manifest, MediaType, Platform, Reference,
    RootFs,
};
use serde_json::{Value, json};

use super::describe::{Image, Way};
use super::{Export, Product};
use crate::build::BuildError;
use crate::request::{Build, Fields, parse_bool};
use crate::{Error, Result};
use provenance::Provenance;

/// What in-toto calls its statements.
const STATEMENT: &str = "application/vnd.in-toto+json";

/// What is to be attested.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// How it was made.
    provenance: Option<Provenance>,
    /// It was asked for, not added.
    is_explicit: bool,
    /// What is in it.
    sbom: bool,
}

/// A statement before it has a subject.
pub(super) struct Predicate {
    /// What kind it is, by its address.
    pub(super) kind: &'static str,
    /// How its file is called.
    pub(super) file: &'static str,
    pub(super) content: Value,
    /// It is not to be in images.
    pub(super) inline_only: bool,
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
    let mut wanted = Wanted { provenance: Some(Provenance::default()), is_explicit: false, sbom: false };
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
                for (key, _) in fields {
                    if !matches!(key.as_str(), "type" | "disabled" | "enabled" | "generator") {
                        return Err(refuse(kind, &format!("there is no option {key:?}")));
                    }
                }
                if field(fields, "generator").is_some_and(|name| !name.is_empty()) {
                    let reason =
                        "generator: packages are listed by the builder itself, no image is run for it";
                    return Err(refuse(kind, reason));
                }
                wanted.sbom = !disabled;
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
        (self.provenance.as_ref().filter(|_| self.is_explicit || by_default), self.sbom)
    }

    /// What was asked for.
    fn explicit(&self) -> (Option<&Provenance>, bool) {
        (self.provenance.as_ref().filter(|_| self.is_explicit), self.sbom)
    }
}

impl Export<'_> {
    /// Attests of images what is wanted of them on that way.
    pub(super) fn attest(&self, images: &[Image], names: &[Reference], way: Way) -> Result<Vec<Attested>> {
        let wanted = wanted(self.session.request)?;
        let mut attested = Vec::new();
        if way == Way::Docker {
            return Ok(attested);
        }
        for image in images {
            let Some(product) = self.products.get(image.product) else { continue };
            let predicates = self.predicates(product, wanted.on(way))?;
            let subjects = subjects(names, &product.platform, &image.manifest.digest);
            let statements: Vec<(&'static str, Vec<u8>)> = predicates
                .into_iter()
                .filter(|predicate| !predicate.inline_only)
                .map(|predicate| (predicate.kind, statement(&predicate, &subjects)))
                .collect();
            if !statements.is_empty() {
                attested.push(documents(&statements, &image.manifest.digest)?);
            }
        }
        Ok(attested)
    }

    /// Files beside a file system that say what was asked for: their names and contents.
    pub(super) fn attested_files(&self, product: &Product) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let wanted = wanted(self.session.request)?;
        let predicates = self.predicates(product, wanted.explicit())?;
        // What the files came from.
        let subject = |layer: DiffId| json!({ "name": "layer", "digest": digest_set(layer.digest()) });
        let subjects: Vec<Value> = product.tree.diff_ids().into_iter().map(subject).collect();
        Ok(predicates.iter().map(|predicate| (predicate.file, statement(predicate, &subjects))).collect())
    }

    /// How an image was made, for those who want it told: by platform.
    pub(super) fn told_provenance(&self) -> Result<BTreeMap<String, Value>> {
        let wanted = wanted(self.session.request)?;
        let Some(provenance) = &wanted.provenance else { return Ok(BTreeMap::new()) };
        let told = |product: &Product| {
            Ok((product.platform.to_string(), provenance.predicate(self, product)?.content))
        };
        self.products.iter().map(told).collect()
    }

    fn predicates(
        &self,
        product: &Product,
        (provenance, sbom): (Option<&Provenance>, bool),
    ) -> Result<Vec<Predicate>> {
        let mut predicates = Vec::new();
        if sbom {
            predicates.push(sbom::predicate(self, product)?);
        }
        if let Some(provenance) = provenance {
            predicates.push(provenance.predicate(self, product)?);
        }
        Ok(predicates)
    }
}

/// The image by all of its names; by none if it has none.
fn subjects(names: &[Reference], platform: &Platform, digest: &Digest) -> Vec<Value> {
    let digest = digest_set(digest);
    if names.is_empty() {
        return vec![json!({ "name": "_", "digest": digest })];
    }
    let named = |name: &Reference| json!({ "name": purl(name, platform), "digest": digest });
    names.iter().map(named).collect()
}

/// A digest as in-toto writes it.
fn digest_set(digest: &Digest) -> Value {
    json!({ digest.algorithm_name(): digest.encoded() })
}

/// An image as a package URL.
fn purl(name: &Reference, platform: &Platform) -> String {
    let platform = encoded(&platform.to_string());
    let version = name.tag().map(|tag| format!("@{}", encoded(tag))).unwrap_or_default();
    let repository: Vec<String> = name.familiar_name().split('/').map(encoded).collect();
    format!("pkg:docker/{}{version}?platform={platform}", repository.join("/"))
}

/// As a part of a package URL: what is not plain in hexadecimal digits behind a percent sign.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let letter = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(letter).collect()
}

fn statement(predicate: &Predicate, subjects: &[Value]) -> Vec<u8> {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": predicate.kind,
        "subject": subjects,
        "predicate": predicate.content,
    });
    statement.to_string().into_bytes()
}

/// The attestation manifest of an image, with all that it leads to.
fn documents(statements: &[(&'static str, Vec<u8>)], subject: &Digest) -> Result<Attested> {
    let mut documents = BTreeMap::new();
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for (kind, statement) in statements {
        if statement.len() as u64 > oci::CONFIG_LIMIT {
            return Err(refuse(kind, &format!("it is larger than {} bytes", oci::CONFIG_LIMIT)));
        }
        let mut layer = Descriptor::of(MediaType::from(STATEMENT), statement);
        layer.annotations.insert("in-toto.io/predicate-type".to_owned(), (*kind).to_owned());
        let id = DiffId::try_from(layer.digest.clone());
        diff_ids.extend(id);
        documents.insert(layer.digest.clone(), statement.clone());
        layers.push(layer);
    }
    let unknown =
        Platform { os: "unknown".to_owned(), architecture: "unknown".to_owned(), ..Platform::default() };
    let config = ImageConfig {
        platform: unknown.clone(),
        config: ContainerConfig::default(),
        rootfs: RootFs { diff_ids, ..RootFs::default() },
        ..ImageConfig::default()
    };
    let config = config.to_bytes();
    let described = Descriptor::of(MediaType::OCI_CONFIG, &config);
    documents.insert(described.digest.clone(), config);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::OCI_MANIFEST),
        artifact_type: None,
        config: described,
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    };
    let bytes = serde_json::to_vec(&manifest).map_err(|source| Error::WriteList { source })?;
    let mut manifest = Descriptor::of(MediaType::OCI_MANIFEST, &bytes);
    documents.insert(manifest.digest.clone(), bytes);
    manifest.platform = Some(unknown);
    manifest.annotations.extend([
        ("vnd.docker.reference.digest".to_owned(), subject.to_string()),
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
    ]);
    Ok(Attested { manifest, documents })
}
