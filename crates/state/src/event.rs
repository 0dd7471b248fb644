//! The event log: what happened, one JSON line each, appended by whoever did it.
//!
//! ```text
//! <run>/events.log      {"Type":"container","Action":"start","Actor":{"ID":…,"Attributes":{…}},"scope":"local",…}
//! <run>/events.log.1    the log before it
//! ```
//!
//! One event is one write to a file opened for appending, so lines of different processes never mix, and no lock
//! is taken. The log lies on a tmpfs: it tells what goes on, and is not worth a disk access.

use std::io::Write;
use std::path::{Path, PathBuf};

use linux::file::{self, Named};
use oci::Timestamp;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, nanoseconds};

/// Bytes after which a log is put aside: some ten thousand events.
const ROTATE_AT: u64 = 4 << 20;

/// Where events go.
#[derive(Clone, Debug)]
pub struct EventLog {
    path: PathBuf,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// To what kind of thing: `container`, `image`, …
    #[serde(rename = "Type")]
    pub subject: String,
    /// What: `create`, `start`, `die`, …
    #[serde(rename = "Action")]
    pub action: String,
    /// To which one.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// Always `local`.
    pub scope: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// What an event happened to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// What else there is to say, sorted by key.
    #[serde(rename = "Attributes")]
    pub attributes: std::collections::BTreeMap<String, String>,
}

impl Event {
    /// An event of now.
    pub fn new(subject: &str, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let now = crate::now();
        Event {
            subject: subject.to_owned(),
            action: action.to_owned(),
            actor: Actor {
                id: id.to_owned(),
                attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            },
            scope: "local".to_owned(),
            time: Timestamp::seconds(now),
            time_nano: nanoseconds(now),
        }
    }
}

impl EventLog {
    /// The log `<run>/events.log`.
    pub fn new(run: &Path) -> EventLog {
        EventLog::at(&run.join("events.log"))
    }

    /// The log `path`.
    pub fn at(path: &Path) -> EventLog {
        EventLog { path: path.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `event`.
    pub fn append(&self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event).map_err(|source| Error::Malformed {
            what: "an event",
            subject: event.actor.id.clone(),
            source: source.into(),
        })?;
        line.push(b'\n');
        self.write(&line).map_err(|source| Error::File { action: "write to the event log", source })
    }

    fn write(&self, line: &[u8]) -> file::Result<()> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let log = rustix::fs::open(&self.path, flags, Mode::RUSR | Mode::WUSR).named("open", &self.path)?;
        let mut log = std::fs::File::from(log);
        log.write_all(line).named("write", &self.path)?;
        let length = log.metadata().named("examine", &self.path)?.len();
        if length > ROTATE_AT { self.rotate(&log) } else { Ok(()) }
    }

    /// Puts the log aside. Whoever still has it open goes on in the old one, where readers look first.
    fn rotate(&self, log: &std::fs::File) -> file::Result<()> {
        if rustix::fs::flock(log, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        let held = rustix::fs::fstat(log).named("examine", &self.path)?;
        match rustix::fs::stat(&self.path) {
            Ok(named) if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) => {
                file::rename(&self.path, &self.path.with_extension("log.1"))
            }
            // Somebody else has put it aside.
            Ok(_) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).named("examine", &self.path),
        }
    }
}
