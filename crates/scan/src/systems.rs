//! Packages of dpkg and apk: paragraphs of text.

use std::io;

use crate::package::{license, supplier};
use crate::{COUNT, DATABASE, DOCUMENT, File, Kind, Origin, Package, Told, of_text};

pub(crate) fn look(file: &File<'_>, name: &str) -> io::Result<Told> {
    match file.path {
        "var/lib/dpkg/status" => of_text(file, DATABASE, |text| Some(dpkg(text))),
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" => {
            of_text(file, DATABASE, |text| Some(apk(text)))
        }
        // Of images without a package manager: a file a package.
        path if path.starts_with("var/lib/dpkg/status.d/") && !name.ends_with(".md5sums") => {
            of_text(file, DOCUMENT, |text| Some(dpkg(text)))
        }
        _ => Ok(Told::Nothing),
    }
}

/// Paragraphs of `Key: value`, with lines that go on after a space.
fn dpkg(text: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(of_dpkg).filter(Package::is_fine).take(COUNT).collect()
}

fn of_dpkg(stanza: &str) -> Option<Package> {
    let (mut name, mut version, mut architecture) = ("", "", "");
    let (mut status, mut source, mut maintainer) = ("", "", "");
    for line in stanza.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let field = match key {
            "Package" => &mut name,
            "Version" => &mut version,
            "Architecture" => &mut architecture,
            "Status" => &mut status,
            "Source" => &mut source,
            "Maintainer" => &mut maintainer,
            _ => continue,
        };
        *field = value.trim();
    }
    // Files of images without dpkg say nothing of a state.
    if !status.is_empty() && !status.ends_with(" installed") {
        return None;
    }
    let origin = match source.split_once(" (") {
        _ if source.is_empty() => None,
        Some((source, version)) => Some((source, Some(version.trim_end_matches(')').to_owned()))),
        None => Some((source, None)),
    };
    Some(Package {
        architecture: Some(architecture.to_owned()).filter(|text| !text.is_empty()),
        origin: origin.map(|(name, version)| Origin { name: name.to_owned(), version }),
        supplier: supplier(maintainer),
        ..Package::new(Kind::Deb, name, version)
    })
}

/// Paragraphs of one letter, a colon and a value.
fn apk(text: &str) -> Vec<Package> {
    text.split("\n\n").map(of_apk).filter(Package::is_fine).take(COUNT).collect()
}

fn of_apk(stanza: &str) -> Package {
    let (mut name, mut version, mut architecture) = ("", "", "");
    let (mut terms, mut origin) = ("", "");
    for line in stanza.lines() {
        match line.as_bytes() {
            [b'P', b':', ..] => name = &line[2..],
            [b'V', b':', ..] => version = &line[2..],
            [b'A', b':', ..] => architecture = &line[2..],
            [b'L', b':', ..] => terms = &line[2..],
            [b'o', b':', ..] => origin = &line[2..],
            _ => {}
        }
    }
    // What it is built from, where that is not called the same.
    let origin =
        (!origin.is_empty() && origin != name).then(|| Origin { name: origin.to_owned(), version: None });
    Package {
        architecture: Some(architecture.to_owned()).filter(|text| !text.is_empty()),
        origin,
        license: license(terms),
        ..Package::new(Kind::Apk, name, version)
    }
}
