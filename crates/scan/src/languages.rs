//! Packages of languages that leave a document each: Python, npm, Ruby, PHP, .NET.

use std::io;

use serde_json::Value;

use crate::package::license;
use crate::{DOCUMENT, File, JSON, Kind, Package, Told, of_text};

pub(crate) fn look(file: &File<'_>, name: &str) -> io::Result<Told> {
    let path = file.path;
    if path.ends_with(".dist-info/METADATA")
        || path.ends_with(".egg-info/PKG-INFO")
        || (name.ends_with(".egg-info") && path.contains("-packages/"))
    {
        return of_text(file, DOCUMENT, |text| Some(vec![python(text)]));
    }
    if name == "package.json" && path.contains("node_modules/") {
        return Ok(match file.all(JSON)? {
            Some(content) => {
                npm(&content, path).map_or(Told::Nothing, |package| Told::Packages(vec![package]))
            }
            None => Told::Bad,
        });
    }
    if name.ends_with(".gemspec") && path.contains("/specifications/") {
        return Ok(gem(name).map_or(Told::Nothing, |package| Told::Packages(vec![package])));
    }
    if path.ends_with("vendor/composer/installed.json") {
        return of_text(file, JSON, composer);
    }
    if name.ends_with(".deps.json") {
        return of_text(file, JSON, dotnet);
    }
    Ok(Told::Nothing)
}

/// The head of a message.
fn python(text: &str) -> Package {
    let (mut name, mut version, mut terms) = ("", "", "");
    for line in text.lines().take_while(|line| !line.is_empty()) {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key {
            "Name" => name = value.trim(),
            "Version" => version = value.trim(),
            "License-Expression" => terms = value.trim(),
            _ => {}
        }
    }
    Package { license: license(terms), ..Package::new(Kind::Pypi, name, version) }
}

fn npm(content: &[u8], path: &str) -> Option<Package> {
    let value: Value = serde_json::from_slice(content).ok()?;
    let (name, version) = (value.get("name")?.as_str()?, value.get("version")?.as_str()?);
    // A package lies where it is called so; anything else is a part of one.
    if !path.ends_with(&format!("node_modules/{name}/package.json")) {
        return None;
    }
    let (namespace, name) = match name.split_once('/') {
        Some((scope, name)) => (Some(scope.to_owned()), name),
        None => (None, name),
    };
    let license = value.get("license").and_then(Value::as_str).and_then(license);
    Some(Package { namespace, license, ..Package::new(Kind::Npm, name, version) })
}

/// `name-1.2.3[-platform].gemspec`: what it says itself is a program.
fn gem(file: &str) -> Option<Package> {
    let (name, version) = named(file.strip_suffix(".gemspec")?)?;
    Some(Package::new(Kind::Gem, name, version))
}

/// A name and a version that begins with a digit, with a hyphen between them.
pub(crate) fn named(text: &str) -> Option<(&str, &str)> {
    let starts = text.match_indices('-').map(|(place, _)| place);
    let place = starts.into_iter().find(|place| {
        text.get(place + 1..).is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
    })?;
    Some((text.get(..place)?, text.get(place + 1..)?)).filter(|(name, _)| !name.is_empty())
}

fn composer(text: &str) -> Option<Vec<Package>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let list = value.get("packages").unwrap_or(&value).as_array()?;
    let package = |one: &Value| {
        let (vendor, name) = one.get("name")?.as_str()?.split_once('/')?;
        let version = one.get("version")?.as_str()?.trim_start_matches('v');
        let terms = one.get("license").and_then(|terms| terms.get(0)).and_then(Value::as_str);
        Some(Package {
            namespace: Some(vendor.to_owned()),
            license: terms.and_then(license),
            ..Package::new(Kind::Composer, name, version)
        })
    };
    Some(list.iter().filter_map(package).collect())
}

fn dotnet(text: &str) -> Option<Vec<Package>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let libraries = value.get("libraries")?.as_object()?;
    let packages =
        libraries.iter().filter(|(_, about)| about.get("type").is_some_and(|kind| kind == "package"));
    let package = |name: &String| {
        let (name, version) = name.split_once('/')?;
        Some(Package::new(Kind::Nuget, name, version))
    };
    Some(packages.filter_map(|(name, _)| package(name)).collect())
}
