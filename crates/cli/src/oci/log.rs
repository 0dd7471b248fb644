//! The log: lines of `level`, `msg` and `time` that engines read to tell their users what went wrong.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::error::{Error, Result};

/// Where messages go; standard error unless a file was named.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    file: Option<Arc<File>>,
    json: bool,
    debug: bool,
}

impl Log {
    pub(super) fn open(path: Option<&str>, format: Option<&str>, debug: bool) -> Result<Self> {
        let json = match format {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => {
                return Err(Error::usage(format!("--log-format is {other:?}; it may be text or json")));
            }
        };
        let open = |path: &str| {
            let file = OpenOptions::new().create(true).append(true).open(Path::new(path));
            file.map_err(|source| Error::System { attempt: format!("open the log {path}"), source })
        };
        let file = path.filter(|path| !path.is_empty()).map(open).transpose()?.map(Arc::new);
        Ok(Self { file, json, debug })
    }

    /// Why the command failed. A person at the terminal is told too, even where the log is a file.
    pub(super) fn fail(&self, error: &Error) {
        let text = error.chain();
        self.write("error", &text);
        if self.file.is_some() {
            // There is nobody left to tell of a failure here.
            drop(writeln!(std::io::stderr(), "{text}"));
        }
    }

    pub(super) fn warn(&self, message: &str) {
        self.write("warning", message);
    }

    pub(super) fn debug(&self, message: &str) {
        if self.debug {
            self.write("debug", message);
        }
    }

    fn write(&self, level: &str, message: &str) {
        let time = now();
        let line = match self.json {
            true => format!("{}\n", serde_json::json!({"level": level, "msg": message, "time": time})),
            false => format!("time=\"{time}\" level={level} msg={message:?}\n"),
        };
        // One write for a line, so that lines of several writers stay whole. A log that cannot be written to is no
        // reason to fail.
        drop(match &self.file {
            Some(file) => file.as_ref().write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        });
    }
}

/// The time, as RFC 3339 has it.
pub(super) fn now() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
    oci::Timestamp::new(now.tv_sec, nanoseconds).map_or(String::new(), |time| time.to_string())
}
