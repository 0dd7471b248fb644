//! What is said to a server: git's protocol, version 2, over HTTP (gitprotocol-http, gitprotocol-v2); and version 0 to those that
//! know no other (gitprotocol-pack), which tell all their references at once, and need not give what none of them leads to.
//!
//! ```text
//! GET  <repository>/info/refs?service=git-upload-pack      what the server can do
//! POST <repository>/git-upload-pack  command=ls-refs       which references there are
//! POST <repository>/git-upload-pack  command=fetch         one object and what it leads to, without its history
//! ```
//!
//! A redirect of the first request says where the repository is, as git takes it: its credential follows only to the same origin.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use registry_client::web::{Answer, Authorization, Request, Verb};
use registry_client::{Client, Url};

use crate::budget::Budget;
use crate::error::{Error, Result, excerpt};
use crate::id::{Format, ObjectId};
use crate::pack::{self, Pack};
use crate::packet::{Packet, Packets, SideBand, write_delimiter, write_flush, write_line};
use crate::remote::Remote;

/// What follows the repository's address in the first request.
const DISCOVERY: &str = "/info/refs?service=git-upload-pack";
const AGENT: &str = concat!("agent=skiff/", env!("CARGO_PKG_VERSION"));
const VERSION: (&str, &str) = ("git-protocol", "version=2");
/// The most capabilities, references and ends of history that a server may tell of.
const CAPABILITIES_LIMIT: u64 = 1000;
const REFERENCES_LIMIT: u64 = 4_000_000;
const SHALLOW_LIMIT: u64 = 10_000;
/// References that are held, all at once, where a server cannot be asked for some.
const HELD_LIMIT: u64 = 500_000;

/// A server that speaks, and what it can do.
pub(crate) struct Server<'a> {
    client: &'a Client,
    /// Where the repository is after redirects.
    base: Url,
    authorization: Option<Authorization>,
    advertised: Advertised,
}

/// What a server has said of itself.
struct Advertised {
    capabilities: BTreeMap<String, String>,
    format: Format,
    /// All references, where it speaks version 0.
    references: Option<Vec<Reference>>,
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

/// What came of a fetch.
pub(crate) struct Fetched {
    pub(crate) pack: Pack,
    /// Commits whose parents were not sent.
    pub(crate) shallow: Vec<ObjectId>,
}

impl<'a> Server<'a> {
    /// Asks what a server can do.
    pub(crate) fn connect(
        client: &'a Client,
        remote: &Remote,
        authorization: Option<&Authorization>,
    ) -> Result<Self> {
        let doing = "ask the server for its references";
        let url = Url { path: format!("{}{DISCOVERY}", remote.url.path), ..remote.url.clone() };
        let headers = [(VERSION.0, VERSION.1.to_owned())];
        let request = Request { verb: Verb::Get, url: &url, authorization, headers: &headers, body: &[] };
        let answer = answered(client, &request, doing)?;
        expect_kind(&answer, "application/x-git-upload-pack-advertisement")?;
        let found = answer.url().clone();
        let path = found.path.strip_suffix(DISCOVERY);
        let path = path.ok_or_else(|| Error::protocol("it leads to what is no repository"))?.to_owned();
        let advertised = advertised(&mut Packets::new(answer))?;
        let is_same = found.origin == remote.url.origin;
        let authorization = authorization.filter(|_| is_same).cloned();
        Ok(Self { client, base: Url { path, ..found }, authorization, advertised })
    }

    fn can(&self, command: &str, feature: &str) -> bool {
        let features = self.advertised.capabilities.get(command);
        features.is_some_and(|features| features.split(' ').any(|known| known == feature))
    }

    /// The beginning of a message: a command and what is common to all.
    fn command(&self, name: &str) -> Result<Vec<u8>> {
        if !self.advertised.capabilities.contains_key(name) {
            return Err(Error::protocol(format!("it does not know the command {name}")));
        }
        let mut body = Vec::new();
        write_line(&mut body, &format!("command={name}"));
        if self.advertised.capabilities.contains_key("agent") {
            write_line(&mut body, AGENT);
        }
        if self.advertised.capabilities.contains_key("object-format") {
            write_line(&mut body, &format!("object-format={}", self.advertised.format.name()));
        }
        write_delimiter(&mut body);
        Ok(body)
    }

    fn post(&self, body: &[u8], doing: &'static str) -> Result<Packets<Answer>> {
        let url = Url { path: format!("{}/git-upload-pack", self.base.path), ..self.base.clone() };
        let headers = [
            (VERSION.0, VERSION.1.to_owned()),
            ("content-type", "application/x-git-upload-pack-request".to_owned()),
            ("accept", "application/x-git-upload-pack-result".to_owned()),
        ];
        let authorization = self.authorization.as_ref();
        let request = Request { verb: Verb::Post, url: &url, authorization, headers: &headers, body };
        let answer = answered(self.client, &request, doing)?;
        expect_kind(&answer, "application/x-git-upload-pack-result")?;
        Ok(Packets::new(answer))
    }

    /// The references whose names begin with one of `prefixes`, as far as `wanted` wants them.
    pub(crate) fn references(
        &self,
        prefixes: &[String],
        wanted: impl Fn(&Reference) -> bool,
    ) -> Result<Vec<Reference>> {
        if let Some(all) = &self.advertised.references {
            let begins =
                |reference: &&Reference| prefixes.iter().any(|prefix| reference.name.starts_with(prefix));
            return Ok(all.iter().filter(begins).filter(|reference| wanted(reference)).cloned().collect());
        }
        let mut body = self.command("ls-refs")?;
        write_line(&mut body, "peel");
        write_line(&mut body, "symrefs");
        for prefix in prefixes {
            write_line(&mut body, &format!("ref-prefix {prefix}"));
        }
        write_flush(&mut body);
        let mut packets = self.post(&body, "ask the server for its references")?;
        let mut references = Vec::new();
        let mut count = 0;
        while let Some(line) = packets.expect()?.line() {
            count += 1;
            if count > REFERENCES_LIMIT {
                return Err(Error::Limit { limit: REFERENCES_LIMIT, what: "references" });
            }
            references.extend(reference(line, self.advertised.format)?.filter(&wanted));
        }
        Ok(references)
    }

    /// One object and all that it leads to, without the history behind it where the server can do that.
    pub(crate) fn fetch(&self, want: &ObjectId, file: File, budget: &mut Budget) -> Result<Fetched> {
        if want.format() != self.advertised.format {
            return Err(Error::protocol(format!(
                "its objects are named by {}",
                self.advertised.format.name()
            )));
        }
        if self.advertised.references.is_some() {
            return self.fetch_by_version_0(want, file, budget);
        }
        let mut body = self.command("fetch")?;
        write_line(&mut body, "no-progress");
        write_line(&mut body, "ofs-delta");
        if self.can("fetch", "shallow") {
            write_line(&mut body, "deepen 1");
        }
        write_line(&mut body, &format!("want {want}"));
        write_line(&mut body, "done");
        write_flush(&mut body);
        let mut packets = self.post(&body, "ask the server for the commit")?;
        let mut shallow = Vec::new();
        loop {
            let section = packets.expect()?.line().map(<[u8]>::to_vec);
            match section.as_deref() {
                Some(b"packfile") => break,
                Some(b"shallow-info") => shallow = self.shallow(&mut packets)?,
                Some(b"acknowledgments" | b"wanted-refs") => while packets.expect()?.line().is_some() {},
                Some(other) => {
                    return Err(Error::protocol(format!("a section {:?}", excerpt(other))));
                }
                None => return Err(Error::protocol("it sends no pack")),
            }
        }
        let stream = SideBand::new(packets);
        let pack = pack::receive(stream, Arc::new(file), self.advertised.format, budget)?;
        Ok(Fetched { pack, shallow })
    }

    /// The same of a server that speaks version 0.
    fn fetch_by_version_0(&self, want: &ObjectId, file: File, budget: &mut Budget) -> Result<Fetched> {
        let has = |name: &str| self.advertised.capabilities.contains_key(name);
        if !has("side-band-64k") {
            return Err(Error::protocol("it cannot tell a pack from what it says of it"));
        }
        let mut line = format!("want {want} side-band-64k");
        for name in ["ofs-delta", "no-progress"].into_iter().filter(|name| has(name)) {
            line.push_str(&format!(" {name}"));
        }
        if has("object-format") {
            line.push_str(&format!(" object-format={}", self.advertised.format.name()));
        }
        let mut body = Vec::new();
        write_line(&mut body, &line);
        if has("shallow") {
            write_line(&mut body, "deepen 1");
        }
        write_flush(&mut body);
        write_line(&mut body, "done");
        let mut packets = self.post(&body, "ask the server for the commit")?;
        let shallow = if has("shallow") { self.shallow(&mut packets)? } else { Vec::new() };
        if packets.expect()?.line() != Some(b"NAK") {
            return Err(Error::protocol("it does not say what we have in common, which is nothing"));
        }
        let stream = SideBand::new(packets);
        let pack = pack::receive(stream, Arc::new(file), self.advertised.format, budget)?;
        Ok(Fetched { pack, shallow })
    }

    fn shallow(&self, packets: &mut Packets<Answer>) -> Result<Vec<ObjectId>> {
        let mut shallow = Vec::new();
        while let Some(line) = packets.expect()?.line() {
            let Some(id) = line.strip_prefix(b"shallow ") else { continue };
            shallow.push(object_id(id, self.advertised.format)?);
            if shallow.len() as u64 > SHALLOW_LIMIT {
                return Err(Error::Limit { limit: SHALLOW_LIMIT, what: "ends of its history" });
            }
        }
        Ok(shallow)
    }
}

/// An answer of status 200.
fn answered(client: &Client, request: &Request<'_>, doing: &'static str) -> Result<Answer> {
    let shown = request.authorization.is_some();
    let asked = client.ask(request).and_then(|answer| match answer.status() {
        200 => Ok(answer),
        _ => Err(answer.refusal(shown)),
    });
    asked.map_err(|source| {
        let wants_credential = !shown && matches!(source, registry_client::Error::Denied { .. });
        Error::Http { doing, wants_credential, source: Box::new(source) }
    })
}

fn expect_kind(answer: &Answer, wanted: &str) -> Result<()> {
    let kind = answer.header("content-type").unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted) {
        true => Ok(()),
        false => Err(Error::Dumb { kind: excerpt(kind.as_bytes()) }),
    }
}

/// What a server says of itself.
fn advertised<R: std::io::Read>(packets: &mut Packets<R>) -> Result<Advertised> {
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
fn advertised_by_version_0<R: std::io::Read>(first: &[u8], packets: &mut Packets<R>) -> Result<Advertised> {
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

fn object_id(text: &[u8], format: Format) -> Result<ObjectId> {
    let id: Option<ObjectId> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    id.filter(|id| id.format() == format)
        .ok_or_else(|| Error::protocol(format!("{:?} is no name of an object", excerpt(text))))
}

/// One line of a list; `None` for one that leads to nothing yet.
fn reference(line: &[u8], format: Format) -> Result<Option<Reference>> {
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
