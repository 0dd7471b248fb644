//! What a server says of itself and of its references: in version 2 of the protocol what it can do, in version 0 all references besides.
//! Pure over a reader.

use std::collections::BTreeMap;
use std::io::Read;

use crate::error::{Error, Result, excerpt};
use crate::id::{Format, ObjectId};
use crate::packet::{Packet, Packets};

/// The most capabilities that a server may tell of.
const CAPABILITIES_LIMIT: u64 = 1000;
/// References that are held, all at once, where a server cannot be asked for some.
const HELD_LIMIT: u64 = 500_000;

/// What a server has said of itself.
pub(crate) struct Advertised {
    pub(crate) capabilities: BTreeMap<String, String>,
    pub(crate) format: Format,
    /// All references, where it speaks version 0.
    pub(crate) references: Option<Vec<Reference>>,
}

/// A reference as a server tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) id: ObjectId,
    /// What the tag is one of.
    pub(crate) peeled: Option<ObjectId>,
    /// The reference that it stands for.
    pub(crate) target: Option<String>,
}

/// What a server says of itself.
pub(crate) fn advertised<R: Read>(packets: &mut Packets<R>) -> Result<Advertised> {
    let mut first = packets.expect()?.line().map(<[u8]>::to_vec);
    if first.as_deref().is_some_and(|line| line.starts_with(b"# service=")) {
        if packets.expect()? != Packet::Flush {
            return Err(Error::protocol("its first line is followed by another"));
        }
        first = packets.expect()?.line().map(<[u8]>::to_vec);
    }
    let first = first.ok_or_else(|| Error::protocol("it says nothing of itself"))?;
    if first != b"version 2" {
        return advertised_by_version_0(&first, packets);
    }
    let mut capabilities = BTreeMap::new();
    while let Some(line) = packets.expect()?.line() {
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once('=').unwrap_or((&line, ""));
        capabilities.insert(name.to_owned(), value.to_owned());
        if capabilities.len() as u64 > CAPABILITIES_LIMIT {
            return Err(Error::Limit { limit: CAPABILITIES_LIMIT, what: "capabilities" });
        }
    }
    Ok(Advertised { format: format_of(&capabilities)?, capabilities, references: None })
}

/// What it says in version 0: a line for each reference, in the first of which its capabilities stand behind a zero byte.
fn advertised_by_version_0<R: Read>(first: &[u8], packets: &mut Packets<R>) -> Result<Advertised> {
    let end = first.iter().position(|byte| *byte == 0).ok_or(Error::Version)?;
    let (line, features) = (&first[..end], String::from_utf8_lossy(&first[end + 1..]).into_owned());
    let mut capabilities = BTreeMap::new();
    let mut head = None;
    for feature in features.split(' ') {
        let (name, value) = feature.split_once('=').unwrap_or((feature, ""));
        if name == "symref"
            && let Some(target) = value.strip_prefix("HEAD:")
        {
            head = Some(target.to_owned());
        }
        capabilities.insert(name.to_owned(), value.to_owned());
    }
    let format = format_of(&capabilities)?;
    let mut references: Vec<Reference> = Vec::new();
    let mut add = |line: &[u8]| -> Result<()> {
        let Some(mut found) = reference(line, format)? else { return Ok(()) };
        if let Some(name) = found.name.strip_suffix("^{}") {
            // What the tag before is one of; in an empty repository, of nothing.
            if let Some(tag) = references.last_mut().filter(|tag| tag.name == name) {
                tag.peeled = Some(found.id);
            }
            return Ok(());
        }
        if found.name == "HEAD" {
            found.target = head.clone();
        }
        references.push(found);
        match references.len() as u64 > HELD_LIMIT {
            true => Err(Error::Limit { limit: HELD_LIMIT, what: "references" }),
            false => Ok(()),
        }
    };
    add(line)?;
    while let Some(line) = packets.expect()?.line() {
        // The ends of its own history are nothing to us.
        if !line.starts_with(b"shallow ") {
            add(line)?;
        }
    }
    Ok(Advertised { capabilities, format, references: Some(references) })
}

fn format_of(capabilities: &BTreeMap<String, String>) -> Result<Format> {
    match capabilities.get("object-format").map_or("sha1", String::as_str) {
        "sha1" => Ok(Format::Sha1),
        "sha256" => Ok(Format::Sha256),
        other => Err(Error::protocol(format!("it names objects by {:?}", excerpt(other.as_bytes())))),
    }
}

pub(crate) fn object_id(text: &[u8], format: Format) -> Result<ObjectId> {
    let id: Option<ObjectId> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    id.filter(|id| id.format() == format)
        .ok_or_else(|| Error::protocol(format!("{:?} is no name of an object", excerpt(text))))
}

/// One line of a list; `None` for one that leads to nothing yet.
pub(crate) fn reference(line: &[u8], format: Format) -> Result<Option<Reference>> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(id), Some(name)) = (words.next(), words.next()) else {
        return Err(Error::protocol(format!("a reference {:?}", excerpt(line))));
    };
    if id == b"unborn" {
        return Ok(None);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut reference =
        Reference { name: text(name), id: object_id(id, format)?, peeled: None, target: None };
    for word in words {
        if let Some(peeled) = word.strip_prefix(b"peeled:") {
            reference.peeled = Some(object_id(peeled, format)?);
        } else if let Some(target) = word.strip_prefix(b"symref-target:") {
            reference.target = Some(text(target));
        }
    }
    Ok(Some(reference))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{write_flush, write_line};

    fn told(lines: &[&str]) -> String {
        let mut bytes = Vec::new();
        for line in lines {
            if line.is_empty() { write_flush(&mut bytes) } else { write_line(&mut bytes, line) }
        }
        match advertised(&mut Packets::new(&bytes[..])) {
            Ok(Advertised { capabilities, format, references }) => {
                let names: Vec<_> = capabilities.keys().cloned().collect();
                let count = references.map_or(String::new(), |found| format!(" {found:?}"));
                format!("{} {}{count}", format.name(), names.join(" "))
            }
            Err(error) => format!("! {error}"),
        }
    }

    #[test]
    fn servers_say_what_they_can_do() {
        for (lines, want) in [
            (
                &["version 2", "agent=git/2", "ls-refs=unborn", "fetch=shallow", ""][..],
                "sha1 agent fetch ls-refs",
            ),
            (
                &["# service=git-upload-pack", "", "version 2", "object-format=sha256", ""],
                "sha256 object-format",
            ),
            (
                &["version 2", "object-format=md5", ""],
                "! the server's answer makes no sense: it names objects by \"md5\"",
            ),
            (&["version 1", ""], "! the server speaks no version of git's protocol that is known"),
            (
                &["# service=git-upload-pack", "", "0000 HEAD"],
                "! the server speaks no version of git's protocol that is known",
            ),
            (&["version 2"], "! read the server's answer"),
        ] {
            assert_eq!(told(lines), want, "{lines:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_list_of_references_does_harm(line: Vec<u8>, text in "[0-9a-f]{40} \\PC{0,30}( peeled:[0-9a-f]{40})?") {
            drop(reference(&line, Format::Sha1));
            if let Ok(Some(found)) = reference(text.as_bytes(), Format::Sha1) {
                proptest::prop_assert!(text.starts_with(&found.id.to_string()));
            }
        }
    }
}
