//! Modules of a Go program, as its linker leaves them (Go's package `debug/buildinfo`).
//!
//! ```text
//! 0   \xff Go buildinf:   14 bytes
//! 14  bytes of a pointer   15  flags: 1 big-endian, 2 texts follow at 32
//! 32  length, version of Go;  length, text about modules                            since 1.18
//! 16  address of a string's header, address of that of the text about modules       before
//! ```

use std::io;

use crate::binary::Binary;
use crate::bytes::{Order, index, part};
use crate::{Kind, Package, Told};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// How far from the beginning of the data it may lie, where no section says.
const NEAR: usize = 64 << 10;
/// The most bytes of the section, and of the text about modules.
const SECTION: u64 = 16 << 20;
const TEXT: usize = 4 << 20;
/// The most modules of a program.
const MODULES: usize = 20_000;

pub(crate) fn look(binary: &Binary<'_, '_>) -> io::Result<Told> {
    let data = match binary.section(".go.buildinfo", SECTION)? {
        Some(data) => Some(data),
        None => binary.data(NEAR)?,
    };
    let Some(data) = data else { return Ok(Told::Nothing) };
    let place =
        (0..data.len()).step_by(16).find(|at| data.get(*at..).is_some_and(|rest| rest.starts_with(MAGIC)));
    let Some(data) = place.and_then(|place| data.get(place..)) else { return Ok(Told::Nothing) };
    let texts = match data.get(15) {
        Some(flags) if flags & 2 != 0 => inline(data),
        Some(flags) => pointed(binary, data, flags & 1 != 0)?,
        None => None,
    };
    Ok(texts.map_or(Told::Bad, |(version, modules)| Told::Packages(packages(&version, &modules))))
}

/// Texts with their lengths before them.
fn inline(data: &[u8]) -> Option<(String, String)> {
    let (version, rest) = counted(data.get(32..)?)?;
    let (modules, _) = counted(rest)?;
    Some((text(version), text(framed(modules))))
}

fn counted(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut length, mut shift) = (0_u64, 0);
    for (place, byte) in data.iter().take(10).enumerate() {
        length |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            let start = place + 1;
            let end = start.checked_add(index(length)?)?;
            return Some((data.get(start..end)?, data.get(end..)?));
        }
    }
    None
}

/// Texts of which the addresses are told.
fn pointed(binary: &Binary<'_, '_>, data: &[u8], is_big: bool) -> io::Result<Option<(String, String)>> {
    let order = if is_big { Order::Big } else { Order::Little };
    let (is_long, size) = match data.get(14) {
        Some(8) => (true, 8),
        Some(4) => (false, 4),
        _ => return Ok(None),
    };
    let mut texts = Vec::with_capacity(2);
    for place in [16, 16 + size] {
        let Some(address) = order.word(data, place, is_long) else { return Ok(None) };
        let header = binary.memory(address, 2 * size)?;
        let found = (order.word(&header, 0, is_long), order.word(&header, size, is_long).and_then(index));
        let (Some(address), Some(length)) = found else { return Ok(None) };
        if length > TEXT {
            return Ok(None);
        }
        texts.push(binary.memory(address, length)?);
    }
    let modules = texts.pop().unwrap_or_default();
    let version = texts.pop().unwrap_or_default();
    Ok(Some((text(&version), text(framed(&modules)))))
}

/// The text about modules has sixteen bytes before and behind it.
fn framed(modules: &[u8]) -> &[u8] {
    match modules.len().checked_sub(32) {
        Some(length) if modules.get(length + 15) == Some(&b'\n') => {
            part(modules, 16, length).unwrap_or_default()
        }
        _ => &[],
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The standard library, the module itself, and those that it uses; of one that was replaced, that in its place.
fn packages(version: &str, modules: &str) -> Vec<Package> {
    let mut found: Vec<Package> = Vec::new();
    let number = version.split_whitespace().next().unwrap_or_default();
    if let Some(number) = number.strip_prefix("go") {
        found.push(Package::new(Kind::Golang, "stdlib", number));
    }
    for line in modules.lines().take(MODULES) {
        let mut fields = line.split('\t');
        let kind = fields.next().unwrap_or_default();
        let (path, version) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        match kind {
            "mod" | "dep" => found.push(module(path, version)),
            "=>" => {
                found.pop();
                found.push(module(path, version));
            }
            _ => {}
        }
    }
    // What was built from a folder has no version that anybody else would know.
    found.retain(|package| package.version != "(devel)" && !package.version.is_empty());
    found
}

fn module(path: &str, version: &str) -> Package {
    match path.rsplit_once('/') {
        Some((namespace, name)) => {
            Package { namespace: Some(namespace.to_owned()), ..Package::new(Kind::Golang, name, version) }
        }
        None => Package::new(Kind::Golang, path, version),
    }
}
