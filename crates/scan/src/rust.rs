//! Crates of a Rust program that was built with `cargo auditable`: a section of deflated JSON.

use std::io::{self, Read as _};

use flate2::read::ZlibDecoder;
use serde_json::Value;

use crate::binary::Binary;
use crate::{JSON, Kind, Package, Told};

/// The most bytes of the section.
const SECTION: u64 = 1 << 20;

pub(crate) fn look(binary: &Binary<'_, '_>) -> io::Result<Told> {
    let Some(section) = binary.section(".dep-v0", SECTION)? else { return Ok(Told::Nothing) };
    let mut text = Vec::new();
    // What cannot be inflated is a bad section, no failure of ours.
    let inflated = ZlibDecoder::new(section.as_slice()).take(JSON).read_to_end(&mut text);
    Ok(inflated.ok().and_then(|_| packages(&text)).map_or(Told::Bad, Told::Packages))
}

fn packages(text: &[u8]) -> Option<Vec<Package>> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let list = value.get("packages")?.as_array()?;
    // What was needed to build it is not in it.
    let is_in_it =
        |one: &&Value| one.get("kind").and_then(Value::as_str).is_none_or(|kind| kind == "runtime");
    let package = |one: &Value| {
        let (name, version) = (one.get("name")?.as_str()?, one.get("version")?.as_str()?);
        Some(Package::new(Kind::Cargo, name, version))
    };
    Some(list.iter().filter(is_in_it).filter_map(package).collect())
}
