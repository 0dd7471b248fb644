//! Progress line by line, as BuildKit prints it where there is no terminal.
//!
//! ```text
//! #5 [build 2/5] RUN make          a block begins with its vertex's name
//! #5 0.123 gcc -c a.c              what it says, with the time since it began
//! #5 ...                           another goes on
//!
//! #6 [stage-1 2/3] COPY . /
//! #6 DONE 0.1s
//!
//! #5 [build 2/5] RUN make
//! #5 DONE 1.2s
//! ```
//!
//! Pure: state and time in, bytes out. What is over is printed first, in the order in which it ended. Of what is under way one
//! vertex holds the output, until it ends, has been silent for a while in which others were not, or one waits for too long.

use std::time::Duration;

use super::trace::{End, Part, Trace, Vertex};

/// A vertex holds the output at least so long if it says something.
const HOLD: f64 = 5.0;
/// Nobody waits longer with something to say.
const WAIT: Duration = Duration::from_secs(10);
/// So many bytes are not kept for a better moment.
const PENDING: usize = 256 << 10;
/// A part is printed again after so much of it, or after so much time.
const PART_SHARE: f64 = 0.05;
const PART_TIME: Duration = Duration::from_secs(5);

/// What stands in the output so far.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// The vertex that holds the output.
    current: Option<usize>,
    /// Numbers given so far.
    numbers: usize,
    /// Said before the first block.
    description: Option<String>,
    is_begun: bool,
}

impl Plain {
    /// With a line that says who builds.
    pub(super) fn new(description: &str) -> Plain {
        Plain { description: Some(description.to_owned()), ..Plain::default() }
    }

    /// Prints what is new.
    pub(super) fn print(&mut self, trace: &mut Trace, now: Duration) -> Vec<u8> {
        let mut out = Vec::new();
        let is_over = |vertex: &Vertex| vertex.is_new && vertex.completed.is_some();
        let was = self.current;
        if let Some(current) = was.filter(|at| is_over(&trace.vertices()[*at])) {
            self.vertex(trace, current, now, &mut out);
        }
        let mut over: Vec<usize> =
            (0..trace.vertices().len()).filter(|at| is_over(&trace.vertices()[*at])).collect();
        over.sort_by_key(|at| trace.vertices()[*at].completed);
        for at in over {
            self.vertex(trace, at, now, &mut out);
        }
        if let Some(next) = self.next(trace, now) {
            if let Some(current) = self.current.filter(|current| *current != next) {
                // What it has said until now belongs to the block that ends.
                if trace.vertices()[current].is_new {
                    self.vertex(trace, current, now, &mut out);
                }
            }
            self.vertex(trace, next, now, &mut out);
        }
        out
    }

    /// Which of the vertices under way is to be printed now.
    fn next(&self, trace: &Trace, now: Duration) -> Option<usize> {
        let vertices = trace.vertices();
        let running = |at: &usize| vertices[*at].started.is_some() && vertices[*at].completed.is_none();
        let new: Vec<usize> = (0..vertices.len()).filter(running).filter(|at| vertices[*at].is_new).collect();
        let Some(current) = self.current.filter(running) else {
            // The one that has most to say, or any that is under way.
            return new
                .into_iter()
                .max_by(|a, b| rate(&vertices[*a], now).total_cmp(&rate(&vertices[*b], now)));
        };
        let others = || new.iter().copied().filter(|at| *at != current);
        let crowded = |at: &usize| vertices[*at].pending_bytes > PENDING;
        let waiting = |at: &usize| now.saturating_sub(vertices[*at].since) > WAIT;
        if let Some(urgent) = others().find(crowded).or_else(|| others().find(waiting)) {
            return Some(urgent);
        }
        let busiest = others().max_by(|a, b| rate(&vertices[*a], now).total_cmp(&rate(&vertices[*b], now)));
        if let Some(busiest) = busiest {
            // The more of what is said is its own, the longer it holds the output.
            let all: f64 = new.iter().map(|at| rate(&vertices[*at], now)).sum();
            let own = if vertices[current].is_new { rate(&vertices[current], now) } else { 0.0 };
            let share = if all > 0.0 { own / all } else { 0.0 };
            let held = now.saturating_sub(vertices[current].since).as_secs_f64();
            if HOLD / (1.0 - share).max(0.01) < held {
                return Some(busiest);
            }
        }
        vertices[current].is_new.then_some(current)
    }

    /// Prints what is new of one vertex.
    fn vertex(&mut self, trace: &mut Trace, at: usize, now: Duration, out: &mut Vec<u8>) {
        self.head(trace, at, out);
        let warnings: Vec<String> = trace.vertices_mut()[at]
            .findings
            .drain(..)
            .collect::<Vec<_>>()
            .iter()
            .filter_map(|number| Some(trace.warnings.get(*number)?.short.clone()))
            .collect();
        let vertex = &mut trace.vertices_mut()[at];
        let number = vertex.number;
        for warning in warnings {
            line(out, number, &format!("WARN: {warning}"));
        }
        for part in vertex.parts.iter_mut().filter(|part| part.is_new) {
            if let Some(text) = progress(part) {
                line(out, number, &text);
            }
        }
        let mut is_open = false;
        for piece in vertex.pending.drain(..) {
            if let Some(elapsed) = piece.begins {
                out.extend_from_slice(format!("#{number} {} ", super::trace::seconds(elapsed)).as_bytes());
            }
            out.extend_from_slice(&piece.bytes);
            if piece.ends {
                out.push(b'\n');
            }
            is_open = !piece.ends;
        }
        vertex.pending_bytes = 0;
        vertex.is_new = false;
        vertex.happened = 0;
        vertex.since = now;
        self.current = Some(at);
        if vertex.completed.is_none() {
            return;
        }
        self.current = None;
        if is_open || vertex.is_partial {
            out.push(b'\n');
            vertex.is_partial = false;
        }
        match &vertex.end {
            End::Cancelled => line(out, number, "CANCELED"),
            End::Failed(error) => line(out, number, &format!("ERROR: {error}")),
            End::Well if vertex.is_cached => line(out, number, "CACHED"),
            End::Well => line(out, number, &format!("DONE {:.1}s", vertex.ran.as_secs_f64())),
        }
    }

    /// Begins a block, unless it is the one that stands last.
    fn head(&mut self, trace: &mut Trace, at: usize, out: &mut Vec<u8>) {
        if let Some(description) = self.description.take() {
            out.extend_from_slice(format!("#0 {description}\n\n").as_bytes());
        }
        if self.current == Some(at) {
            return;
        }
        if let Some(before) = self.current {
            let before = &mut trace.vertices_mut()[before];
            if before.is_partial {
                out.push(b'\n');
                // What follows begins a line of its own.
                before.is_partial = false;
            }
            line(out, before.number, "...");
        }
        if std::mem::replace(&mut self.is_begun, true) {
            out.push(b'\n');
        }
        let vertex = &mut trace.vertices_mut()[at];
        if vertex.number == 0 {
            self.numbers += 1;
            vertex.number = self.numbers;
        }
        line(out, vertex.number, &vertex.name);
    }
}

/// How much happens at it, in a second.
fn rate(vertex: &Vertex, now: Duration) -> f64 {
    f64::from(vertex.happened) / now.saturating_sub(vertex.since).as_secs_f64().max(0.001)
}

fn line(out: &mut Vec<u8>, number: usize, text: &str) {
    out.extend_from_slice(format!("#{number} {text}\n").as_bytes());
}

/// A part as it is now, unless it has hardly changed since it was printed.
fn progress(part: &mut Part) -> Option<String> {
    part.is_new = false;
    if let Some((current, time)) = part.printed.filter(|_| part.completed.is_none()) {
        #[allow(clippy::cast_precision_loss, reason = "a share of it is wanted")]
        let share = part.current.saturating_sub(current) as f64 / part.total.max(1) as f64;
        let is_little = part.total == 0 || share < PART_SHARE;
        if is_little && part.updated.saturating_sub(time) < PART_TIME {
            return None;
        }
    }
    part.printed = Some((part.current, part.updated));
    let took = part.completed.unwrap_or(part.updated).saturating_sub(part.started).as_secs_f64();
    let time = if took > 0.01 { format!(" {took:.1}s") } else { String::new() };
    let done = if part.completed.is_some() { " done" } else { "" };
    Some(format!("{}{}{time}{done}", part.name, part.amount()))
}
