//! What has become of a build's vertices, from the events so far. Pure: the caller says what time it is.
//!
//! What programs say is kept in two forms: pieces of lines that nobody has printed yet, for output line by line, and the rows of
//! a small screen, for terminals. Of either no more than a bounded part is kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dockerfile::lint::Warning;
use dockerfile::source::{Position, Source, ranges};
use engine::build::BuildEvent;

use super::screen::Screen;
use super::sieve::Sieve;

/// Lines that are shown again when a step has failed, where they were printed before, and where they were not.
const TAIL_LINES: [usize; 2] = [10, 100];
/// The most bytes that are kept of one of them.
const TAIL_BYTES: usize = 4096;

/// All vertices, in the order in which they became known.
#[derive(Debug, Default)]
pub(super) struct Trace {
    vertices: Vec<Vertex>,
    by_id: BTreeMap<usize, usize>,
    /// What the checks found, in order.
    pub(super) warnings: Vec<Finding>,
    /// When the first vertex began.
    pub(super) begun: Option<Duration>,
    /// Whether output is printed line by line.
    by_line: bool,
    /// Whether it goes to a terminal.
    is_terminal: bool,
}

/// Something that is done. Times are since the build began.
#[derive(Debug)]
pub(super) struct Vertex {
    pub(super) name: String,
    /// Its number in output that is read line by line; zero until it is named there.
    pub(super) number: usize,
    pub(super) started: Option<Duration>,
    pub(super) completed: Option<Duration>,
    /// Time of its own, once it is over.
    pub(super) ran: Duration,
    pub(super) is_cached: bool,
    pub(super) end: End,
    pub(super) parts: Vec<Part>,
    /// Output that is not printed yet.
    pub(super) pending: Vec<Piece>,
    /// Bytes of that.
    pub(super) pending_bytes: usize,
    /// Whether the last line of its output has no end yet.
    pub(super) is_partial: bool,
    /// Its last lines.
    pub(super) tail: VecDeque<Vec<u8>>,
    pub(super) screen: Screen,
    /// What its output goes through on its way to a terminal.
    sieve: Option<Sieve>,
    /// Bytes of its output so far.
    pub(super) said: u64,
    /// Numbers of findings to tell of at it.
    pub(super) findings: Vec<usize>,
    /// Whether something happened that is not printed yet.
    pub(super) is_new: bool,
    /// How much happened since it was printed last, and when that began.
    pub(super) happened: u32,
    pub(super) since: Duration,
}

/// How a vertex ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    Well,
    Cancelled,
    Failed(String),
}

/// A part of a vertex: something that is transferred.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) current: u64,
    pub(super) total: u64,
    pub(super) started: Duration,
    pub(super) updated: Duration,
    pub(super) completed: Option<Duration>,
    pub(super) is_new: bool,
    /// What was printed of it last, and when.
    pub(super) printed: Option<(u64, Duration)>,
}

/// A piece of output, within one line.
#[derive(Debug)]
pub(super) struct Piece {
    /// When the line began, if this is its beginning.
    pub(super) begins: Option<Duration>,
    pub(super) bytes: Vec<u8>,
    pub(super) ends: bool,
}

/// What a check found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// `StageNameCasing: … (line 1)`.
    pub(super) short: String,
    pub(super) description: &'static str,
    pub(super) url: &'static str,
    /// The lines it is about.
    pub(super) excerpt: String,
    /// Its lines, as BuildKit tells them.
    pub(super) ranges: serde_json::Value,
}

impl Finding {
    pub(super) fn of(warning: &Warning, source: &Source) -> Finding {
        let Position { line, .. } = source.position(warning.span.start);
        Finding {
            short: format!("{}: {} (line {line})", warning.rule.name, warning.message),
            description: warning.rule.description,
            url: warning.rule.url,
            excerpt: source.excerpt(warning.span),
            ranges: ranges(source, warning.span),
        }
    }
}

impl Finding {
    /// As a member of `buildx.build.warnings`.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        serde_json::json!({
            "level": 1,
            "short": encoded(&self.short),
            "detail": [encoded(self.description)],
            "url": self.url,
            "range": self.ranges,
        })
    }
}

impl Trace {
    /// For output line by line, or else for a screen.
    pub(super) fn new(by_line: bool, is_terminal: bool) -> Trace {
        Trace { by_line, is_terminal, ..Trace::default() }
    }

    /// Takes an event up.
    pub(super) fn apply(&mut self, event: &BuildEvent<'_>, now: Duration) {
        match event {
            BuildEvent::Vertex(vertex) => {
                self.by_id.insert(vertex.id, self.vertices.len());
                self.vertices.push(Vertex::new(&vertex.name, self.is_terminal));
            }
            BuildEvent::Started { id } => self.at(*id, now, |_| {}),
            BuildEvent::Cached { id } => self.at(*id, now, |vertex| {
                vertex.is_cached = true;
                vertex.completed = Some(now);
            }),
            BuildEvent::Output { id, bytes, .. } => {
                let by_line = self.by_line;
                self.at(*id, now, |vertex| vertex.hear(bytes, now, by_line));
            }
            BuildEvent::Progress { id, part, current, total, is_done } => {
                self.at(*id, now, |vertex| vertex.part(part, *current, *total, *is_done, now));
            }
            BuildEvent::Finished { id, ran } => {
                self.at(*id, now, |vertex| vertex.finish(*ran, now, End::Well))
            }
            BuildEvent::Failed { id, ran, error, is_cancelled } => {
                let end = if *is_cancelled { End::Cancelled } else { End::Failed(super::harmless(error)) };
                self.at(*id, now, |vertex| vertex.finish(*ran, now, end));
            }
            BuildEvent::Warning { warning, source } => {
                let number = self.warnings.len();
                self.warnings.push(Finding::of(warning, source));
                // They are told of where the file was read.
                let read = |vertex: &&mut Vertex| vertex.name.starts_with("[internal] load build definition");
                if let Some(vertex) = self.vertices.iter_mut().find(read) {
                    vertex.findings.push(number);
                    vertex.touch(now);
                }
            }
        }
    }

    fn at(&mut self, id: usize, now: Duration, change: impl FnOnce(&mut Vertex)) {
        let Some(vertex) = self.by_id.get(&id).and_then(|at| self.vertices.get_mut(*at)) else { return };
        self.begun.get_or_insert(now);
        vertex.started.get_or_insert(now);
        vertex.touch(now);
        change(vertex);
    }

    pub(super) fn vertices(&self) -> &[Vertex] {
        &self.vertices
    }

    pub(super) fn vertices_mut(&mut self) -> &mut [Vertex] {
        &mut self.vertices
    }

    /// How many vertices are over, and how many there are.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.vertices.iter().filter(|vertex| vertex.completed.is_some()).count(), self.vertices.len())
    }

    /// The last lines of what failed, as they are shown at the end.
    pub(super) fn failures(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for vertex in self.vertices.iter().filter(|vertex| matches!(vertex.end, End::Failed(_))) {
            out.extend_from_slice(format!("------\n > {}:\n", vertex.name).as_bytes());
            for line in &vertex.tail {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
            out.extend_from_slice(b"------\n");
        }
        out
    }
}

impl Vertex {
    fn new(name: &str, is_terminal: bool) -> Vertex {
        Vertex {
            name: name.replace(['\n', '\t'], " "),
            number: 0,
            started: None,
            completed: None,
            ran: Duration::ZERO,
            is_cached: false,
            end: End::Well,
            parts: Vec::new(),
            pending: Vec::new(),
            pending_bytes: 0,
            is_partial: false,
            tail: VecDeque::new(),
            screen: Screen::default(),
            sieve: is_terminal.then(Sieve::default),
            said: 0,
            findings: Vec::new(),
            is_new: false,
            happened: 0,
            since: Duration::ZERO,
        }
    }

    fn touch(&mut self, now: Duration) {
        if self.happened == 0 {
            self.since = now;
        }
        self.happened = self.happened.saturating_add(1);
        self.is_new = true;
    }

    fn finish(&mut self, ran: Duration, now: Duration, end: End) {
        self.completed.get_or_insert(now);
        self.ran = ran;
        self.end = end;
        for part in self.parts.iter_mut().filter(|part| part.completed.is_none()) {
            part.completed = Some(now);
        }
    }

    /// How long it has taken so far, or in all.
    pub(super) fn took(&self, now: Duration) -> Duration {
        match (self.started, self.completed) {
            (_, Some(_)) => self.ran,
            (Some(started), None) => now.saturating_sub(started),
            (None, None) => Duration::ZERO,
        }
    }

    fn hear(&mut self, bytes: &[u8], now: Duration, by_line: bool) {
        self.said = self.said.saturating_add(bytes.len() as u64);
        if !by_line {
            self.screen.write(bytes);
        }
        let sieved = self.sieve.as_mut().map(|sieve| sieve.pass(bytes));
        let bytes = sieved.as_deref().unwrap_or(bytes);
        let elapsed = now.saturating_sub(self.started.unwrap_or(now));
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match line.split_last() {
                Some((b'\n', text)) => (text, true),
                Some(_) | None => (line, false),
            };
            let begins = (!self.is_partial).then_some(elapsed);
            self.keep(text, begins, TAIL_LINES[usize::from(!by_line)]);
            if by_line {
                self.pending_bytes += text.len();
                self.pending.push(Piece { begins, bytes: text.to_vec(), ends });
            }
            self.is_partial = !ends;
        }
    }

    /// Keeps a piece for the time when the step has failed.
    fn keep(&mut self, text: &[u8], begins: Option<Duration>, lines: usize) {
        if let Some(elapsed) = begins {
            if self.tail.len() == lines {
                self.tail.pop_front();
            }
            self.tail.push_back(format!("{} ", seconds(elapsed)).into_bytes());
        }
        if let Some(line) = self.tail.back_mut() {
            let room = TAIL_BYTES.saturating_sub(line.len());
            line.extend_from_slice(text.get(..room).unwrap_or(text));
        }
    }

    fn part(&mut self, name: &str, current: u64, total: Option<u64>, is_done: bool, now: Duration) {
        let at = self.parts.iter().position(|part| part.name == name);
        let at = at.unwrap_or_else(|| {
            self.parts.push(Part {
                name: name.to_owned(),
                current: 0,
                total: 0,
                started: now,
                updated: now,
                completed: None,
                is_new: true,
                printed: None,
            });
            self.parts.len() - 1
        });
        let part = &mut self.parts[at];
        part.current = current;
        part.total = total.unwrap_or(0);
        part.updated = now;
        part.is_new = true;
        if is_done {
            part.completed.get_or_insert(now);
        }
    }
}

impl Part {
    /// ` 1.00MB / 3.00MB`; nothing where there is no amount.
    pub(super) fn amount(&self) -> String {
        match (self.current, self.total) {
            (0, 0) => String::new(),
            (current, 0) => format!(" {}", bytes(current)),
            (current, total) => format!(" {} / {}", bytes(current), bytes(total)),
        }
    }
}

/// Seconds with as many digits as BuildKit gives to the time of a line.
pub(super) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let digits = match seconds {
        ..10.0 => 3,
        10.0..100.0 => 2,
        _ => 1,
    };
    format!("{seconds:.digits$}")
}

/// `1.23MB`: two digits behind the point, none of bytes.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count}B");
    }
    #[allow(clippy::cast_precision_loss, reason = "three or five digits are shown")]
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_amounts_are_shown_as_by_buildkit() {
        let of = |seconds: f64| super::seconds(Duration::from_secs_f64(seconds));
        assert_eq!((of(0.1234), of(12.345), of(123.45)), ("0.123".into(), "12.35".into(), "123.5".into()));
        assert_eq!(
            (bytes(2), bytes(999), bytes(1500), bytes(3_420_000)),
            ("2B".into(), "999B".into(), "1.50kB".into(), "3.42MB".into())
        );
    }
}
