//! `logs`.

use std::io::{self, BufWriter, Write};

use engine::info::LogLine;
use engine::request::Logs;
use oci::Timestamp;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::{self, zone::Zone};
use crate::values::time;

/// `skiff logs`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let now = Timestamp::from(std::time::SystemTime::now());
    let point = |flag| {
        let text = parsed.text(flag).filter(|text| !text.is_empty());
        let fail = |value: &str| Error::PointInTime { flag, value: value.to_owned() };
        text.map(|text| time::point(text, now, &Zone::local()).map_err(|_| fail(text))).transpose()
    };
    // As in Docker, what is no number means all.
    let tail = parsed.text("tail").and_then(|text| text.parse::<usize>().ok());
    let request = Logs { follow: parsed.on("follow"), tail, since: point("since")?, until: point("until")? };
    let engine = context.engine()?;
    let mut printer = Printer::new(parsed.on("timestamps"), request.follow);
    let mut unread = false;
    engine.logs(&parsed.arguments[0], &request, &mut |line| match line {
        Some(line) => printer.line(&line),
        None => {
            unread = output::reader_is_gone();
            !unread
        }
    })?;
    if unread {
        return Err(Error::ReaderGone);
    }
    printer.finish()?;
    Ok(0)
}

/// Writes each line to the stream it came from, both in the order in which the container wrote them.
struct Printer {
    timestamps: bool,
    /// Somebody watches: lines are not kept back.
    follow: bool,
    stdout: BufWriter<io::StdoutLock<'static>>,
    stderr: BufWriter<io::StderrLock<'static>>,
    /// The stream of the line before.
    on_stderr: bool,
    failed: Option<io::Error>,
}

impl Printer {
    fn new(timestamps: bool, follow: bool) -> Printer {
        let (stdout, stderr) = (BufWriter::new(io::stdout().lock()), BufWriter::new(io::stderr().lock()));
        Printer { timestamps, follow, stdout, stderr, on_stderr: false, failed: None }
    }

    /// Whether more is wanted: a reader that went away wants nothing.
    fn line(&mut self, line: &LogLine) -> bool {
        self.failed = self.write(line).err();
        self.failed.is_none()
    }

    fn write(&mut self, line: &LogLine) -> io::Result<()> {
        if line.stderr != self.on_stderr {
            self.flush()?;
            self.on_stderr = line.stderr;
        }
        let out: &mut dyn Write = if line.stderr { &mut self.stderr } else { &mut self.stdout };
        if self.timestamps {
            write!(out, "{} ", nine_digits(line.time))?;
        }
        out.write_all(line.text.as_bytes())?;
        if self.follow { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.on_stderr { self.stderr.flush() } else { self.stdout.flush() }
    }

    fn finish(mut self) -> Result<()> {
        let failed = self.failed.take().or_else(|| self.flush().err());
        match failed {
            Some(error) => Err(Error::output(error)),
            None => Ok(()),
        }
    }
}

/// RFC 3339 with nine digits of a second, so that lines stand below each other.
fn nine_digits(time: Timestamp) -> String {
    let whole = Timestamp::new(time.seconds(), 0).unwrap_or(time).to_string();
    format!("{}.{:09}Z", whole.trim_end_matches('Z'), time.nanoseconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_nine_digits() {
        let time: Timestamp = "2026-11-21T03:04:05.6Z".parse().unwrap();
        assert_eq!(nine_digits(time), "2026-11-21T03:04:05.600000000Z");
    }
}
