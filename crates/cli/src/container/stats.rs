//! `stats`: a table of what containers use, once or again and again.
//!
//! On a terminal the table is written over itself; elsewhere one follows the other.

use std::time::{Duration, Instant};

use engine::stats::{Reading, Usage, Watched};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::list::{Columns, Format};
use crate::output::{self, units};

const COLUMNS: Columns = Columns {
    headers: &[
        ("BlockIO", "BLOCK I/O"),
        ("CPUPerc", "CPU %"),
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("LogLinesLost", "LOG LINES LOST"),
        ("MemPerc", "MEM %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("Name", "NAME"),
        ("NetIO", "NET I/O"),
        ("PIDs", "PIDS"),
    ],
    raw: &[
        ("container", "ID"),
        ("name", "Name"),
        ("cpu", "CPUPerc"),
        ("memory", "MemUsage"),
        ("net", "NetIO"),
        ("block", "BlockIO"),
        ("pids", "PIDs"),
    ],
};

const DEFAULT: &str =
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// Between the two looks of `--no-stream`. The kernel counts the time of a program that goes on running at its clock
/// ticks, 1 to 10 ms apart. This is a whole number of them, so that both looks are equally late; and nobody waits for a second.
const FIRST: Duration = Duration::from_millis(40);
/// Between two tables.
const REFRESH: Duration = Duration::from_millis(500);
/// What could not be known.
const UNKNOWN: &str = "--";

/// `skiff stats`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let format = Format::parse(context.format(parsed, "statsFormat").as_deref(), DEFAULT)?;
    let engine = context.engine()?;
    let all = parsed.on("all");
    let named = !parsed.arguments.is_empty();
    let choose = || -> Result<Vec<Watched>> {
        if !named {
            return Ok(engine.all_watched(all)?);
        }
        parsed.arguments.iter().map(|name| engine.watched(name).map_err(Error::from)).collect()
    };
    let view = View { full: parsed.on("no-trunc"), names: &parsed.arguments };
    let mut generation = engine.generation();
    let mut watched = choose()?;
    let mut sampler = engine.sampler();
    if !watched.is_empty() {
        let begun = Instant::now();
        sampler.tick(&watched);
        std::thread::sleep(FIRST.saturating_sub(begun.elapsed()));
    }
    let mut screen = Screen::new(parsed.on("no-stream"));
    loop {
        let begun = Instant::now();
        let usages = sampler.look(&watched)?;
        let shown = usages.iter().filter(|usage| named || all || usage.reading.is_some());
        screen.show(&format.render(&COLUMNS, shown.map(|usage| view.row(usage)).collect())?);
        if parsed.on("no-stream") || (named && usages.is_empty()) {
            return Ok(0);
        }
        std::thread::sleep(REFRESH.saturating_sub(begun.elapsed()));
        if output::reader_is_gone() {
            return Err(Error::ReaderGone);
        }
        // Something has happened: to whom, the list tells.
        let now = engine.generation();
        if now != generation {
            generation = now;
            watched = if named { keep(&watched, choose()) } else { choose()? };
        }
    }
}

/// Those that were named, with the names that they have now. Of one that is gone the sampler tells.
fn keep(before: &[Watched], found: Result<Vec<Watched>>) -> Vec<Watched> {
    found.unwrap_or_else(|_| before.to_vec())
}

/// Where tables go.
struct Screen {
    /// Tables are written over each other.
    overwrites: bool,
    is_first: bool,
}

impl Screen {
    fn new(once: bool) -> Screen {
        let is_terminal = rustix::termios::isatty(rustix::stdio::stdout());
        Screen { overwrites: is_terminal && !once, is_first: true }
    }

    fn show(&mut self, table: &str) {
        if !self.overwrites {
            output::print(table);
            return;
        }
        // The cursor goes home; what stood in each line and below the last one is cleared, so that nothing flickers.
        let lines = table.replace('\n', "\u{1b}[K\n");
        let begin = if std::mem::take(&mut self.is_first) { "\u{1b}[2J\u{1b}[H" } else { "\u{1b}[H" };
        output::print(&format!("{begin}{lines}\u{1b}[J"));
    }
}

/// How rows are shown.
struct View<'a> {
    /// Nothing is shortened.
    full: bool,
    /// As the user wrote them.
    names: &'a [String],
}

impl View<'_> {
    fn row(&self, usage: &Usage) -> Map<String, Value> {
        let id = if self.full { usage.id.as_str() } else { usage.id.short() };
        let written = |name: &&String| **name == usage.name || usage.id.as_str().starts_with(name.as_str());
        let reading = usage.reading.unwrap_or_default();
        let mut row = Map::new();
        let mut set = |field: &str, text: String| row.insert(field.to_owned(), Value::String(text));
        set(
            "BlockIO",
            reading
                .block_io
                .or_else(|| usage.reading.is_none().then_some((0, 0)))
                .map_or(UNKNOWN.to_owned(), both),
        );
        set("CPUPerc", percent(reading.cpu_percent.or_else(|| usage.reading.is_none().then_some(0.0))));
        set("Container", self.names.iter().find(written).map_or_else(|| id.to_owned(), Clone::clone));
        set("ID", id.to_owned());
        set("LogLinesLost", reading.log_lines_lost.to_string());
        set("MemPerc", percent(share(&reading)));
        let (used, limit) = (units::binary_size(reading.memory), units::binary_size(reading.memory_limit));
        set("MemUsage", format!("{used} / {limit}"));
        set("Name", usage.name.clone());
        set("NetIO", both(reading.network));
        set("PIDs", reading.pids.to_string());
        row
    }
}

fn both((one, other): (u64, u64)) -> String {
    format!("{} / {}", units::size(one, 3), units::size(other, 3))
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{value:.2}%"))
}

#[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
fn share(reading: &Reading) -> Option<f64> {
    Some(if reading.memory_limit == 0 {
        0.0
    } else {
        reading.memory as f64 / reading.memory_limit as f64 * 100.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_dockers_units() {
        let id = || "4f2c".repeat(16).parse().unwrap();
        let reading = Reading {
            cpu_percent: Some(12.345),
            memory: 3 << 20,
            memory_limit: 64 << 20,
            network: (1_234, 56_789),
            block_io: None,
            pids: 7,
            log_lines_lost: 0,
        };
        let usage = |reading| Usage { id: id(), name: "box".to_owned(), reading };
        let names = ["box".to_owned()];
        let view = View { full: false, names: &names };
        let shown = |usage: &Usage| {
            let row = view.row(usage);
            ["Container", "ID", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"]
                .map(|field| row[field].as_str().unwrap().to_owned())
                .join("|")
        };
        assert_eq!(
            shown(&usage(Some(reading))),
            "box|4f2c4f2c4f2c|12.35%|3MiB / 64MiB|4.69%|1.23kB / 56.8kB|--|7"
        );
        assert_eq!(shown(&usage(None)), "box|4f2c4f2c4f2c|0.00%|0B / 0B|0.00%|0B / 0B|0B / 0B|0");
        let first = Reading { cpu_percent: None, block_io: Some((1, 2_000)), ..reading };
        assert_eq!(
            shown(&usage(Some(first))),
            "box|4f2c4f2c4f2c|--|3MiB / 64MiB|4.69%|1.23kB / 56.8kB|1B / 2kB|7"
        );
    }
}
