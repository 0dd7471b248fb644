//! What is said to a server: git's protocol, version 2 (gitprotocol-v2), and version 0 to those that know no other (gitprotocol-pack),
//! which tell all their references at once, and need not give what none of them leads to. Servers of ssh are asked for version 2 by a
//! variable that few let in, so that version 0 is what most of them speak.
//!
//! ```text
//! over HTTP (gitprotocol-http)                             over a line, once connected
//! GET  <repository>/info/refs?service=git-upload-pack      nothing          what the server can do
//! POST <repository>/git-upload-pack  command=ls-refs       command=ls-refs  which references there are
//! POST <repository>/git-upload-pack  command=fetch         command=fetch    one object and what it leads to, without its history
//! ```
//!
//! A redirect of the first request says where the repository is, as git takes it: its credential follows only to the same origin.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use registry_client::web::{Answer, Authorization, Request, Verb};
use registry_client::{Client, Url};

use crate::Git;
use crate::advert::{Advertised, Reference, advertised, object_id, reference};
use crate::budget::Budget;
use crate::error::{Error, Result, excerpt};
use crate::id::ObjectId;
use crate::line::Line;
use crate::pack::{self, Pack};
use crate::packet::{Packets, SideBand, write_delimiter, write_flush, write_line};
use crate::place::Place;
use crate::remote::Remote;

/// What follows the repository's address in the first request.
const DISCOVERY: &str = "/info/refs?service=git-upload-pack";
const AGENT: &str = concat!("agent=skiff/", env!("CARGO_PKG_VERSION"));
const VERSION: (&str, &str) = ("git-protocol", "version=2");
const COMMIT_ALONE: &str = "filter tree:0";
/// The most references and ends of history that a server may tell of.
const REFERENCES_LIMIT: u64 = 4_000_000;
const SHALLOW_LIMIT: u64 = 10_000;

/// A server that speaks, and what it can do.
pub(crate) struct Server<'a> {
    git: &'a Git<'a>,
    way: Way<'a>,
    advertised: Advertised,
}

/// How it is reached.
enum Way<'a> {
    /// By requests of the web.
    Web {
        /// Where the repository is after redirects.
        base: Url,
        authorization: Option<Authorization>,
    },
    /// By a connection of its own.
    Line(Line<'a>),
}

/// What it answers.
enum Reply<'s> {
    Web(Box<Answer>),
    Line(&'s Line<'s>),
}

impl Read for Reply<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Web(answer) => answer.read(buffer),
            Self::Line(line) => line.read(buffer),
        }
    }
}

/// How much is wanted of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All that it leads to.
    Files,
    /// Itself (git-rev-list, `--filter=tree:0`), where the server knows filters.
    Commit,
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
        git: &'a Git<'a>,
        remote: &Remote,
        authorization: Option<&Authorization>,
    ) -> Result<Self> {
        let line = match &remote.place {
            Place::Web(url) => return Self::of_web(git, url, authorization),
            Place::Ssh(server) => Line::through(git, server)?,
            Place::Daemon(server) => Line::to_daemon(git, server)?,
        };
        let advertised = advertised(&mut Packets::new(&line))?;
        Ok(Self { git, way: Way::Line(line), advertised })
    }

    fn of_web(git: &'a Git<'a>, remote: &Url, authorization: Option<&Authorization>) -> Result<Self> {
        let doing = "ask the server for its references";
        let url = Url { path: format!("{}{DISCOVERY}", remote.path), ..remote.clone() };
        let headers = [(VERSION.0, VERSION.1.to_owned())];
        let request = Request { verb: Verb::Get, url: &url, authorization, headers: &headers, body: &[] };
        let answer = answered(git.client, &request, doing)?;
        expect_kind(&answer, "application/x-git-upload-pack-advertisement")?;
        let found = answer.url().clone();
        let path = found.path.strip_suffix(DISCOVERY);
        let path = path.ok_or_else(|| Error::protocol("it leads to what is no repository"))?.to_owned();
        let advertised = advertised(&mut Packets::new(answer))?;
        let is_same = found.origin == remote.origin;
        let authorization = authorization.filter(|_| is_same).cloned();
        let way = Way::Web { base: Url { path, ..found }, authorization };
        Ok(Self { git, way, advertised })
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

    fn post(&self, body: &[u8], doing: &'static str) -> Result<Packets<Reply<'_>>> {
        let (base, authorization) = match &self.way {
            Way::Web { base, authorization } => (base, authorization.as_ref()),
            Way::Line(line) => {
                line.say(body)?;
                return Ok(Packets::new(Reply::Line(line)));
            }
        };
        let url = Url { path: format!("{}/git-upload-pack", base.path), ..base.clone() };
        let headers = [
            (VERSION.0, VERSION.1.to_owned()),
            ("content-type", "application/x-git-upload-pack-request".to_owned()),
            ("accept", "application/x-git-upload-pack-result".to_owned()),
        ];
        let request = Request { verb: Verb::Post, url: &url, authorization, headers: &headers, body };
        let answer = answered(self.git.client, &request, doing)?;
        expect_kind(&answer, "application/x-git-upload-pack-result")?;
        Ok(Packets::new(Reply::Web(Box::new(answer))))
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
    pub(crate) fn fetch(
        &self,
        (want, wanted): (&ObjectId, Wanted),
        file: File,
        budget: &mut Budget,
    ) -> Result<Fetched> {
        if want.format() != self.advertised.format {
            return Err(Error::protocol(format!(
                "its objects are named by {}",
                self.advertised.format.name()
            )));
        }
        if self.advertised.references.is_some() {
            return self.fetch_by_version_0((want, wanted), file, budget);
        }
        let mut body = self.command("fetch")?;
        write_line(&mut body, "no-progress");
        write_line(&mut body, "ofs-delta");
        if self.can("fetch", "shallow") {
            write_line(&mut body, "deepen 1");
        }
        if wanted == Wanted::Commit && self.can("fetch", "filter") {
            write_line(&mut body, COMMIT_ALONE);
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
        self.receive(packets, shallow, (file, budget))
    }

    /// The same of a server that speaks version 0.
    fn fetch_by_version_0(
        &self,
        (want, wanted): (&ObjectId, Wanted),
        file: File,
        budget: &mut Budget,
    ) -> Result<Fetched> {
        let has = |name: &str| self.advertised.capabilities.contains_key(name);
        if !has("side-band-64k") {
            return Err(Error::protocol("it cannot tell a pack from what it says of it"));
        }
        let mut line = format!("want {want} side-band-64k");
        let filters = wanted == Wanted::Commit && has("filter");
        let names = ["ofs-delta", "no-progress"].into_iter().chain(filters.then_some("filter"));
        for name in names.filter(|name| has(name)) {
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
        if filters {
            write_line(&mut body, COMMIT_ALONE);
        }
        write_flush(&mut body);
        write_line(&mut body, "done");
        let mut packets = self.post(&body, "ask the server for the commit")?;
        let shallow = if has("shallow") { self.shallow(&mut packets)? } else { Vec::new() };
        if packets.expect()?.line() != Some(b"NAK") {
            return Err(Error::protocol("it does not say what we have in common, which is nothing"));
        }
        self.receive(packets, shallow, (file, budget))
    }

    /// The pack that comes last.
    fn receive(
        &self,
        packets: Packets<Reply<'_>>,
        shallow: Vec<ObjectId>,
        (file, budget): (File, &mut Budget),
    ) -> Result<Fetched> {
        let stream = Watched { git: self.git, inner: SideBand::new(packets) };
        let pack = pack::receive(stream, Arc::new(file), self.advertised.format, budget)?;
        Ok(Fetched { pack, shallow })
    }

    fn shallow(&self, packets: &mut Packets<Reply<'_>>) -> Result<Vec<ObjectId>> {
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

/// What is read as long as nobody wants an end.
struct Watched<'a, R> {
    git: &'a Git<'a>,
    inner: R,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.git.check_cancelled().map_err(io::Error::other)?;
        self.inner.read(buffer)
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
