//! What is in an image, as an SPDX 2.3 document in JSON: packages that package managers have written down in it.

use oci::Digest;
use serde_json::{Value, json};

use super::Predicate;
use super::packages::{Package, packages};
use crate::Result;
use crate::build::export::{Export, Product};
use crate::images::failed;

const KIND: &str = "https://spdx.dev/Document";

/// What is in one image.
pub(super) fn predicate(export: &Export<'_>, product: &Product) -> Result<Predicate> {
    let store = &export.session.engine.store;
    let layers = product.tree.diff_ids();
    let merged = image::files::Merged::open(store, &layers).map_err(failed("read the files of the image"))?;
    let packages = packages(&merged).map_err(failed("list the packages of the image"))?;
    let created = product.config.created.unwrap_or(oci::Timestamp::EPOCH).to_string();
    Ok(Predicate {
        kind: KIND,
        file: "sbom.spdx.json",
        content: document(&packages, &created),
        inline_only: false,
    })
}

fn document(packages: &[Package], created: &str) -> Value {
    let lines: Vec<String> =
        packages.iter().map(|package| package.purl.clone() + "\n" + &package.found).collect();
    let content = Digest::of(lines.join("\n").as_bytes());
    let mut all = Vec::with_capacity(packages.len() + 1);
    all.push(json!({
        "SPDXID": "SPDXRef-DocumentRoot-Image",
        "name": "image",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER",
    }));
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-DocumentRoot-Image")];
    for package in packages {
        let id = id(package);
        relationships.push(relationship("SPDXRef-DocumentRoot-Image", "CONTAINS", &id));
        let mut told = json!({
            "SPDXID": id,
            "name": package.name,
            "versionInfo": package.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "sourceInfo": format!("found in {}", package.found),
            "licenseDeclared": package.license.as_deref().unwrap_or("NOASSERTION"),
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl,
            }],
        });
        if let Some(supplier) = &package.supplier {
            told["supplier"] = json!(format!("Organization: {supplier}"));
        }
        all.push(told);
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "image",
        "documentNamespace": format!("urn:skiff:sbom:{content}"),
        "creationInfo": { "created": created, "creators": ["Tool: skiff"] },
        "packages": all,
        "relationships": relationships,
    })
}

fn relationship(one: &str, kind: &str, other: &str) -> Value {
    json!({ "spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other })
}

/// A name within the document, that nothing else has: SPDX allows letters, digits, dots and hyphens.
fn id(package: &Package) -> String {
    let plain: String = package
        .name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    let sum = Digest::of([package.purl.as_str(), &package.found].join("\n").as_bytes());
    format!("SPDXRef-Package-{plain}-{}", sum.encoded().get(..16).unwrap_or_default())
}
