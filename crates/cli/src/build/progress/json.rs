//! Progress for programs: one `SolveStatus` of BuildKit's client a line, as `docker build --progress=rawjson` writes it.

use std::collections::BTreeMap;
use std::time::Duration;

use ::build::Stream;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dockerfile::source::Source;
use engine::Timestamp;
use engine::build::{BuildEvent, Vertex};
use serde_json::{Map, Value, json};

use super::trace::Finding;

/// What is known of vertices, which every line about one repeats.
#[derive(Debug)]
pub(super) struct RawJson {
    /// When the build began.
    epoch: Timestamp,
    vertices: BTreeMap<usize, Known>,
    /// When each part of a vertex began.
    parts: BTreeMap<(usize, String), Duration>,
}

#[derive(Debug)]
struct Known {
    vertex: Vertex,
    started: Option<Duration>,
    completed: Option<Duration>,
    is_cached: bool,
    error: String,
}

impl RawJson {
    pub(super) fn new(epoch: Timestamp) -> RawJson {
        RawJson { epoch, vertices: BTreeMap::new(), parts: BTreeMap::new() }
    }

    /// The lines of an event.
    pub(super) fn line(&mut self, event: &BuildEvent<'_>, now: Duration) -> String {
        let status = match event {
            BuildEvent::Vertex(vertex) => {
                let known = Known {
                    vertex: (*vertex).clone(),
                    started: None,
                    completed: None,
                    is_cached: false,
                    error: String::new(),
                };
                self.vertices.insert(vertex.id, known);
                self.vertex(vertex.id)
            }
            BuildEvent::Started { id } => self.change(*id, now, |_| {}),
            BuildEvent::Cached { id } => self.change(*id, now, |known| {
                known.is_cached = true;
                known.completed = Some(now);
            }),
            BuildEvent::Finished { id, .. } => self.change(*id, now, |known| known.completed = Some(now)),
            BuildEvent::Failed { id, error, is_cancelled, .. } => self.change(*id, now, |known| {
                known.completed = Some(now);
                known.error = if *is_cancelled { "context canceled".to_owned() } else { (*error).to_owned() };
            }),
            BuildEvent::Output { id, stream, bytes } => {
                let stream = match stream {
                    Stream::Stdout => 1,
                    Stream::Stderr => 2,
                };
                self.about(*id, |vertex| {
                    let data = BASE64_STANDARD.encode(bytes);
                    json!({ "logs": [{ "vertex": vertex, "stream": stream, "data": data, "timestamp": self.time(now) }] })
                })
            }
            BuildEvent::Progress { id, part, current, total, is_done } => {
                self.part(*id, part, (*current, *total), *is_done, now)
            }
            BuildEvent::Warning { warning, source } => {
                Some(self.warning(&Finding::of(warning, source), source))
            }
        };
        status.map_or_else(String::new, |status| format!("{status}\n"))
    }

    fn time(&self, since: Duration) -> String {
        let nanoseconds = u64::from(self.epoch.nanoseconds()) + u64::from(since.subsec_nanos());
        let seconds =
            self.epoch.seconds() + i64::try_from(since.as_secs() + nanoseconds / 1_000_000_000).unwrap_or(0);
        let rest = u32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0);
        Timestamp::new(seconds, rest).map_or_else(String::new, |time| time.to_string())
    }

    /// The digest by which a vertex is known.
    fn about(&self, id: usize, make: impl FnOnce(String) -> Value) -> Option<Value> {
        self.vertices.get(&id).map(|known| make(known.vertex.digest.to_string()))
    }

    fn change(&mut self, id: usize, now: Duration, change: impl FnOnce(&mut Known)) -> Option<Value> {
        let known = self.vertices.get_mut(&id)?;
        known.started.get_or_insert(now);
        change(known);
        self.vertex(id)
    }

    fn vertex(&self, id: usize) -> Option<Value> {
        let known = self.vertices.get(&id)?;
        let digest = |id: &usize| self.vertices.get(id).map(|known| known.vertex.digest.to_string());
        let inputs: Vec<String> = known.vertex.inputs.iter().filter_map(digest).collect();
        let mut members = Map::new();
        members.insert("digest".to_owned(), known.vertex.digest.to_string().into());
        if !inputs.is_empty() {
            members.insert("inputs".to_owned(), json!(inputs));
        }
        members.insert("name".to_owned(), known.vertex.name.as_str().into());
        for (key, time) in [("started", known.started), ("completed", known.completed)] {
            if let Some(time) = time {
                members.insert(key.to_owned(), self.time(time).into());
            }
        }
        if known.is_cached {
            members.insert("cached".to_owned(), true.into());
        }
        if !known.error.is_empty() {
            members.insert("error".to_owned(), known.error.as_str().into());
        }
        Some(json!({ "vertexes": [members] }))
    }

    fn part(
        &mut self,
        id: usize,
        part: &str,
        (current, total): (u64, Option<u64>),
        is_done: bool,
        now: Duration,
    ) -> Option<Value> {
        let started = *self.parts.entry((id, part.to_owned())).or_insert(now);
        let digest = self.vertices.get(&id)?.vertex.digest.to_string();
        let mut members = Map::new();
        members.insert("id".to_owned(), part.into());
        members.insert("vertex".to_owned(), digest.into());
        if let Some(total) = total.filter(|total| *total > 0) {
            members.insert("total".to_owned(), total.into());
        }
        members.insert("current".to_owned(), current.into());
        members.insert("timestamp".to_owned(), self.time(now).into());
        members.insert("started".to_owned(), self.time(started).into());
        if is_done {
            members.insert("completed".to_owned(), self.time(now).into());
            self.parts.remove(&(id, part.to_owned()));
        }
        Some(json!({ "statuses": [members] }))
    }

    fn warning(&self, finding: &Finding, source: &Source) -> Value {
        let read = |known: &&Known| known.vertex.name.starts_with("[internal] load build definition");
        let vertex = self.vertices.values().find(read).map(|known| known.vertex.digest.to_string());
        let mut warning = finding.to_json();
        warning["vertex"] = vertex.unwrap_or_default().into();
        warning["sourceInfo"] = json!({
            "filename": source.name(),
            "data": BASE64_STANDARD.encode(source.shown()),
            "language": "Dockerfile",
        });
        json!({ "warnings": [warning] })
    }
}
