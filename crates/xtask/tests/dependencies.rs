//! What `deny.toml` says of licences and of crates that are not wanted, held against `cargo metadata`: so that it is checked
//! wherever the tests run, also without `cargo deny`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests start programs and fail loudly")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// All packages that the lock file may bring into a build for Linux.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rules() -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deny.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// Those in the build graph, by id.
fn built(metadata: &Value) -> BTreeSet<&str> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["id"].as_str().unwrap()).collect()
}

/// Whether a licence expression (SPDX; `/` is how older manifests write `OR`) can be met by what is allowed.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest, allowed);
    assert!(rest.is_empty(), "{expression}: understood up to {rest:?}");
    met
}

fn any(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all(rest, allowed);
    while let ["OR", tail @ ..] = *rest {
        *rest = tail;
        met |= all(rest, allowed);
    }
    met
}

fn all(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(rest, allowed);
    while let ["AND", tail @ ..] = *rest {
        *rest = tail;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let met = any(rest, allowed);
            assert_eq!(rest.first(), Some(&")"));
            *rest = &rest[1..];
            met
        }
        [licence, "WITH", exception, tail @ ..] => {
            *rest = tail;
            allowed.contains(&format!("{licence} WITH {exception}"))
        }
        [licence, tail @ ..] => {
            *rest = tail;
            allowed.contains(*licence)
        }
        [] => panic!("the expression ends too early"),
    }
}

#[test]
fn every_licence_is_one_of_those_allowed() {
    let (metadata, rules) = (metadata(), rules());
    let allowed = rules["licenses"]["allow"].as_array().unwrap();
    let allowed: BTreeSet<String> = allowed.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let built = built(&metadata);
    let mut looked_at = 0;
    for package in metadata["packages"].as_array().unwrap() {
        if package["source"].is_null() || !built.contains(package["id"].as_str().unwrap()) {
            continue;
        }
        let name = &package["name"];
        let Some(licence) = package["license"].as_str() else { panic!("{name} names no licence") };
        assert!(is_met(licence, &allowed), "{name}: {licence} is not allowed by deny.toml");
        looked_at += 1;
    }
    assert!(looked_at > 50, "{looked_at}");
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed: BTreeSet<String> = ["MIT", "Zlib", "A WITH E"].map(str::to_owned).into();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 OR MIT AND Zlib", true),
        ("(GPL-3.0 OR MIT) AND BSD", false),
        ("(GPL-3.0 OR MIT) AND Zlib", true),
        ("A", false),
        ("A WITH E OR B", true),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn no_crate_is_there_that_is_banned_nor_one_behind_others_than_its_wrappers() {
    let (metadata, rules) = (metadata(), rules());
    let name_of = |id: &str| {
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["id"] == id).unwrap();
        package["name"].as_str().unwrap().to_owned()
    };
    for rule in rules["bans"]["deny"].as_array().unwrap() {
        let banned = rule["crate"].as_str().unwrap();
        let wrappers: Vec<&str> = rule
            .get("wrappers")
            .map(|list| list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect())
            .unwrap_or_default();
        for node in metadata["resolve"]["nodes"].as_array().unwrap() {
            let user = name_of(node["id"].as_str().unwrap());
            let uses = node["deps"]
                .as_array()
                .unwrap()
                .iter()
                .any(|dep| name_of(dep["pkg"].as_str().unwrap()) == banned);
            assert!(!uses || wrappers.contains(&user.as_str()), "{user} uses {banned}, see deny.toml");
        }
    }
}
