//! Traces on standard error, for `--debug` and `--log-level`.
//!
//! Without either flag nothing is installed, and a trace costs one load of an atomic.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;

/// Installs the printer that the flags ask for.
pub(crate) fn start(global: &Parsed) -> Result<()> {
    let level = global.value("log-level", |name| match name {
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" => Ok(LevelFilter::WARN),
        "error" | "fatal" => Ok(LevelFilter::ERROR),
        _ => Err("debug, info, warn, error or fatal"),
    })?;
    let level = if global.on("debug") { Some(LevelFilter::DEBUG) } else { level };
    let Some(level) = level else { return Ok(()) };
    install(level).map_err(|_| Error::System {
        attempt: "install the trace printer twice",
        source: rustix::io::Errno::EXIST,
    })
}

/// Installs a printer for a command that serves, and whose log this is, unless the flags have asked for one.
pub(crate) fn serve() {
    // What the flags say counts.
    drop(install(LevelFilter::INFO));
}

fn install(level: LevelFilter) -> std::result::Result<(), tracing::subscriber::SetGlobalDefaultError> {
    tracing::subscriber::set_global_default(Printer { level, spans: AtomicU64::new(1) })
}

struct Printer {
    level: LevelFilter,
    spans: AtomicU64,
}

impl Subscriber for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            _ => "debug",
        };
        let mut line = Line(format!("{level}: {}:", event.metadata().target()));
        event.record(&mut line);
        output::warn(&(line.0 + "\n"));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// One event's message and fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
