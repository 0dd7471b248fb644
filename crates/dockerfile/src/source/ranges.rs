//! Places as BuildKit's JSON has them: a range for each line.

use serde_json::{Value, json};

use super::{Source, Span};

/// The most ranges of one place; what goes beyond is in the last one.
const COUNT: u32 = 10_000;

/// The lines of a place, each as `{"start": {"line": 1}, "end": {"line": 1}}`.
#[must_use]
pub fn ranges(source: &Source, span: Span) -> Value {
    let (first, last) = source.lines_of(span);
    let range = |start: u32, end: u32| json!({ "start": { "line": start }, "end": { "line": end } });
    let single = last.min(first.saturating_add(COUNT - 1));
    let mut all: Vec<Value> = (first..single).map(|line| range(line, line)).collect();
    all.push(range(single, last));
    all.into()
}
