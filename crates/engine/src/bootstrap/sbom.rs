//! The bill of materials: what an image was made of, as an SPDX 2.3 document in JSON.
//!
//! It lies in the image itself, at [`PATH`], which a label names ([`LABEL`]): so it goes wherever the image goes, and is a part
//! of its digest. It is also kept beside the image, and becomes a referrer of it wherever that is pushed: so it can be had
//! without the image. Nothing in it depends on when or where it was written.

use debian::hex;
use oci::{Descriptor, Digest, MediaType, Timestamp};
use serde_json::{Value, json};

use super::Chosen;
use super::tree::Tree;

/// Where in the image; scanners look for this ending.
pub(super) const PATH: &str = "usr/share/sbom/bootstrap.spdx.json";
/// The label that says so.
pub(super) const LABEL: &str = "dev.skiff.sbom";

/// What registries call such a document.
const KIND: &str = "application/spdx+json";

/// The document of a tree as it is kept beside the image; none as long as the tree has none.
pub(super) fn attached(tree: &Tree) -> Option<(Descriptor, Vec<u8>)> {
    let content = tree.content(PATH, oci::CONFIG_LIMIT)?;
    let mut descriptor = Descriptor::of(MediaType::from(KIND), &content);
    let name = PATH.rsplit('/').next().unwrap_or(PATH);
    // By which tools that fetch artifacts name the file.
    descriptor.annotations.insert("org.opencontainers.image.title".to_owned(), name.to_owned());
    Some((descriptor, content))
}

/// Lists packages.
pub(super) fn document(chosen: &[Chosen<'_>], made: Timestamp) -> Vec<u8> {
    let packages: Vec<Value> = chosen.iter().map(package).collect();
    let relationships: Vec<Value> = packages
        .iter()
        .map(|package| {
            json!({
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": package["SPDXID"],
            })
        })
        .collect();
    let sums: Vec<String> = chosen.iter().map(|one| hex(&one.package.sha256)).collect();
    let content = Digest::of(sums.join("\n").as_bytes());
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "bootstrap",
        "documentNamespace": format!("urn:skiff:bootstrap:{content}"),
        "creationInfo": { "created": made.to_string(), "creators": ["Tool: skiff"] },
        "packages": packages,
        "relationships": relationships,
    });
    let mut bytes = document.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

fn package(one: &Chosen<'_>) -> Value {
    let package = one.package;
    let id: String = package
        .name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    // `Source: name (version)`, where it differs from the package.
    let source = package.stanza.get("Source").unwrap_or(package.name);
    let (source, version) = match source.split_once(" (") {
        Some((name, version)) => (name, version.trim_end_matches(')')),
        None => (source, package.version.as_str()),
    };
    let locator = format!(
        "pkg:deb/{}@{}?arch={}",
        encoded(package.name),
        encoded(package.version.as_str()),
        package.architecture
    );
    json!({
        "SPDXID": format!("SPDXRef-Package-{id}-{}", &hex(&package.sha256)[..12]),
        "name": package.name,
        "versionInfo": package.version.as_str(),
        "supplier": "NOASSERTION",
        "downloadLocation": "NOASSERTION",
        "packageFileName": package.filename,
        "filesAnalyzed": false,
        "sourceInfo": format!("built package from: {source} {version}"),
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "checksums": [{ "algorithm": "SHA256", "checksumValue": hex(&package.sha256) }],
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": locator,
        }],
    })
}

/// As a part of a package URL: what is not plain in hexadecimal digits behind a percent sign.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
