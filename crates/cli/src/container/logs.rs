//! `logs`.

use std::io::{self, Write};

use engine::info::LogLine;
use engine::request::Logs;
use oci::Timestamp;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output::{self, zone::Zone};
use crate::values::time;

/// Bytes that are written at once.
const BATCH: usize = 128 << 10;

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
    let mut printer = Printer::new(parsed);
    let mut unread = false;
    engine.logs(&parsed.arguments[0], &request, &mut |line| match line {
        Some(line) => printer.line(&line),
        None => {
            unread = output::reader_is_gone();
            !unread && printer.pause()
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
    details: bool,
    stdout: io::StdoutLock<'static>,
    stderr: io::StderrLock<'static>,
    /// The stream of the line before.
    on_stderr: bool,
    /// Lines of one stream, not written yet.
    pending: Vec<u8>,
    failed: Option<io::Error>,
}

impl Printer {
    fn new(parsed: &Parsed) -> Printer {
        Printer {
            timestamps: parsed.on("timestamps"),
            details: parsed.on("details"),
            stdout: io::stdout().lock(),
            stderr: io::stderr().lock(),
            on_stderr: false,
            pending: Vec::with_capacity(BATCH),
            failed: None,
        }
    }

    /// Whether more is wanted: a reader that went away wants nothing.
    fn line(&mut self, line: &LogLine<'_>) -> bool {
        if (line.stderr != self.on_stderr || self.pending.len() + line.text.len() > BATCH)
            && let Err(error) = self.flush()
        {
            self.failed = Some(error);
            return false;
        }
        self.on_stderr = line.stderr;
        if self.timestamps {
            line.time.append_fixed(&mut self.pending);
            self.pending.push(b' ');
        }
        if self.details {
            self.pending.extend_from_slice(details(&line.attributes()).as_bytes());
            self.pending.push(b' ');
        }
        self.pending.extend_from_slice(line.text);
        true
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let out: &mut dyn Write = if self.on_stderr { &mut self.stderr } else { &mut self.stdout };
        let written = out.write_all(&self.pending).and_then(|()| out.flush());
        self.pending.clear();
        written
    }

    /// Nothing more comes at the moment: who watches is not kept waiting. Whether more is wanted.
    fn pause(&mut self) -> bool {
        self.failed = self.flush().err();
        self.failed.is_none()
    }

    fn finish(mut self) -> Result<()> {
        let failed = self.failed.take().or_else(|| self.flush().err());
        match failed {
            Some(error) => Err(Error::output(error)),
            None => Ok(()),
        }
    }
}

/// Docker's form of attributes: sorted, escaped as in the query of an address.
fn details(attributes: &[(String, String)]) -> String {
    let mut pairs: Vec<String> =
        attributes.iter().map(|(key, value)| format!("{}={}", query(key), query(value))).collect();
    pairs.sort_unstable();
    pairs.join(",")
}

fn query(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_sorted_and_escaped() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(details(&[pair("b", "x y,=/"), pair("a", "\u{fc}")]), "a=%C3%BC,b=x+y%2C%3D%2F");
        assert_eq!(details(&[]), "");
    }
}
