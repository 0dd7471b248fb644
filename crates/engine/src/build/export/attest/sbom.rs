//! What is in an image, as an SPDX 2.3 document in JSON: packages that package managers and compilers have written down in it (crate
//! `scan`).
//!
//! The document tells no time but the image's, and its name is that of its content: equal images have equal ones. Trees that went into an
//! image have documents of their own where the Dockerfile wants them (`BUILDKIT_SBOM_SCAN_STAGE`, `BUILDKIT_SBOM_SCAN_CONTEXT`).

use std::collections::BTreeMap;

use image::files::Merged;
use oci::Digest;
use scan::{File, Found, Inventory, Package};
use serde_json::{Value, json};

use super::Predicate;
use crate::Result;
use crate::build::export::{Export, Product};
use crate::build::tree::Tree;
use crate::images::failed;

/// What kind of statement it is.
pub(super) const SPDX: &str = "https://spdx.dev/Document";
const ROOT: &str = "SPDXRef-DocumentRoot-Image";
/// Identifiers of SPDX's list that packages use; what is not among them is told in the words of the package.
const LICENSES: &[&str] = &[
    "0BSD",
    "AFL-2.1",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-1.0-Perl",
    "Artistic-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC0-1.0",
    "CDDL-1.0",
    "CDDL-1.1",
    "EPL-1.0",
    "EPL-2.0",
    "GPL-1.0-or-later",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "HPND",
    "ICU",
    "ISC",
    "LGPL-2.0-only",
    "LGPL-2.0-or-later",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-0",
    "MPL-1.1",
    "MPL-2.0",
    "NCSA",
    "OFL-1.1",
    "OpenSSL",
    "PHP-3.01",
    "PSF-2.0",
    "PostgreSQL",
    "Python-2.0",
    "Ruby",
    "SMLNJ",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Vim",
    "WTFPL",
    "X11",
    "ZPL-2.1",
    "Zlib",
    "blessing",
    "bzip2-1.0.6",
    "curl",
    "Linux-syscall-note",
    "GCC-exception-3.1",
    "Classpath-exception-2.0",
    "LLVM-exception",
];

/// What is in one image.
pub(super) fn predicate(export: &Export<'_>, product: &Product) -> Result<Predicate> {
    let content = document(&found(export, &product.tree)?, "image", &created(product));
    Ok(told_as("sbom.spdx.json".to_owned(), &content))
}

/// What is in a tree that went into an image: that of a stage, or the context. Names of stages are fit for those of files.
pub(super) fn other(
    export: &Export<'_>,
    product: &Product,
    (name, tree): (&str, &Tree),
) -> Result<Predicate> {
    let content = document(&found(export, tree)?, name, &created(product));
    Ok(told_as(format!("sbom-{name}.spdx.json"), &content))
}

fn told_as(file: String, content: &Value) -> Predicate {
    Predicate { kind: SPDX.to_owned(), file, content: content.to_string().into(), inline_only: false }
}

fn found(export: &Export<'_>, tree: &Tree) -> Result<Found> {
    let layers = tree.diff_ids();
    let merged = Merged::open(&export.session.engine.store, &layers);
    let merged = merged.map_err(failed("read the files of the image"))?;
    inventory(&merged).map_err(failed("list the packages of the image"))
}

fn created(product: &Product) -> String {
    product.config.created.unwrap_or(oci::Timestamp::EPOCH).to_string()
}

/// All packages of a tree. What cannot be read of a layer is an error; what is no package is none.
fn inventory(merged: &Merged) -> image::Result<Found> {
    let mut inventory = Inventory::default();
    merged.files(&mut |path, regular| {
        // Nothing that anybody looks for is called otherwise.
        let Ok(path) = std::str::from_utf8(path) else { return Ok(()) };
        let read_at =
            |offset: u64, buffer: &mut [u8]| regular.read_at(offset, buffer).map_err(std::io::Error::other);
        let is_executable = regular.mode & 0o111 != 0;
        let log = scan::log_of(path).and_then(|path| Some((merged.file(path.as_bytes())?, path)));
        let read_log = |offset: u64, buffer: &mut [u8]| match &log {
            Some((log, _)) => log.read_at(offset, buffer).map_err(std::io::Error::other),
            None => Ok(0),
        };
        let log = log.as_ref().map(|(log, path)| File {
            path,
            size: log.size,
            is_executable: false,
            read_at: &read_log,
            log: None,
        });
        let file = File { path, size: regular.size, is_executable, read_at: &read_at, log: log.as_ref() };
        inventory.look(&file).map_err(|error| match error.downcast::<image::Error>() {
            Ok(error) => error,
            Err(source) => image::Error::Write { source },
        })
    })?;
    Ok(inventory.finish())
}

fn document(found: &Found, name: &str, created: &str) -> Value {
    let purls: Vec<String> = found.packages.iter().map(|package| package.purl(&found.system)).collect();
    let lines: Vec<String> = found
        .packages
        .iter()
        .zip(&purls)
        .map(|(package, purl)| format!("{purl}\n{}", package.found))
        .collect();
    let content = match name {
        "image" => Digest::of(lines.join("\n").as_bytes()),
        // The same packages elsewhere are another document.
        name => Digest::of(format!("{name}\n\n{}", lines.join("\n")).as_bytes()),
    };
    let mut packages = vec![json!({
        "SPDXID": ROOT,
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER",
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", ROOT)];
    let mut extracted = BTreeMap::new();
    for (package, purl) in found.packages.iter().zip(&purls) {
        let told = told(package, purl, &mut extracted);
        relationships.push(relationship(ROOT, "CONTAINS", told["SPDXID"].as_str().unwrap_or_default()));
        packages.push(told);
    }
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("urn:skiff:sbom:{content}"),
        "creationInfo": { "created": created, "creators": ["Tool: skiff"] },
        "packages": packages,
        "relationships": relationships,
    });
    if !extracted.is_empty() {
        document["hasExtractedLicensingInfos"] = extracted
            .iter()
            .map(|(id, text)| json!({ "licenseId": id, "extractedText": text, "name": text }))
            .collect();
    }
    if !found.passed_over.is_empty() {
        let words = format!("not understood, and left out: {}", found.passed_over.join(", "));
        document["creationInfo"]["comment"] = json!(words);
    }
    document
}

/// A package; licences that are not on SPDX's list are added to `extracted`.
fn told(package: &Package, purl: &str, extracted: &mut BTreeMap<String, String>) -> Value {
    let license = package.license.as_deref().map_or("NOASSERTION".to_owned(), |text| {
        if is_listed(text) {
            return text.to_owned();
        }
        let id = format!("LicenseRef-{}", name_of(text, text));
        extracted.insert(id.clone(), text.to_owned());
        id
    });
    let name = match &package.namespace {
        Some(namespace) => format!("{namespace}/{}", package.name),
        None => package.name.clone(),
    };
    let mut told = json!({
        "SPDXID": format!("SPDXRef-Package-{}", name_of(&package.name, &format!("{purl}\n{}", package.found))),
        "name": name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "sourceInfo": format!("found in {}", package.found),
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": license,
        "copyrightText": "NOASSERTION",
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }],
    });
    if let Some(supplier) = &package.supplier {
        told["supplier"] = json!(format!("Organization: {supplier}"));
    }
    told
}

/// Whether an expression is made of what SPDX lists alone.
fn is_listed(text: &str) -> bool {
    let words = text.split([' ', '(', ')']).filter(|word| !word.is_empty());
    let mut count = 0;
    let all = words.inspect(|_| count += 1).all(|word| {
        matches!(word, "AND" | "OR" | "WITH") || LICENSES.contains(&word.strip_suffix('+').unwrap_or(word))
    });
    all && count > 0
}

fn relationship(one: &str, kind: &str, other: &str) -> Value {
    json!({ "spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other })
}

/// A name within the document, that nothing else has: SPDX allows letters, digits, dots and hyphens.
fn name_of(words: &str, all: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let plain: String = words.chars().take(64).map(letter).collect();
    format!("{plain}-{}", Digest::of(all.as_bytes()).encoded().get(..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_are_those_of_the_list_or_the_packages_words() {
        for (text, want) in [
            ("MIT", true),
            ("(MIT OR Apache-2.0) AND GPL-2.0-or-later WITH GCC-exception-3.1", true),
            ("GPLv2+ and MIT", false),
            ("Proprietary", false),
            ("()", false),
        ] {
            assert_eq!(is_listed(text), want, "{text}");
        }
    }
}
