//! `registry.db`: who writes it, who reads it, and its tables.
//!
//! One thread writes. It takes all changes that wait, runs each in a savepoint of its own, commits them together, and
//! only then answers: so that thirty-two pushes pay for one sync and not for thirty-two, and so that no two changes
//! ever interleave. What a change decides by is still so when it is committed.
//!
//! Readers have connections of their own and see a whole commit or none of it (WAL).

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use linux::file;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::error::{Error, Purpose, Result};

/// The foreign keys are the rules of the store (see the module above): what is used cannot be removed, whoever tries.
const SCHEMA: &str = "
    CREATE TABLE repository (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE blob (
        id INTEGER PRIMARY KEY,
        digest TEXT NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        file TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE link (
        repository INTEGER NOT NULL REFERENCES repository,
        blob INTEGER NOT NULL REFERENCES blob,
        since INTEGER NOT NULL,
        PRIMARY KEY (repository, blob)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX link_blob ON link (blob);
    CREATE TABLE manifest (
        id INTEGER PRIMARY KEY,
        repository INTEGER NOT NULL REFERENCES repository,
        digest TEXT NOT NULL,
        media_type TEXT NOT NULL,
        content BLOB NOT NULL,
        since INTEGER NOT NULL,
        subject TEXT,
        artifact_type TEXT,
        annotations TEXT,
        UNIQUE (repository, digest)
    ) STRICT;
    CREATE INDEX manifest_subject ON manifest (repository, subject, digest) WHERE subject IS NOT NULL;
    CREATE TABLE used (
        repository INTEGER NOT NULL,
        blob INTEGER NOT NULL,
        manifest INTEGER NOT NULL REFERENCES manifest ON DELETE CASCADE,
        PRIMARY KEY (repository, blob, manifest),
        FOREIGN KEY (repository, blob) REFERENCES link
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX used_manifest ON used (manifest);
    CREATE TABLE member (
        manifest INTEGER NOT NULL REFERENCES manifest ON DELETE CASCADE,
        digest TEXT NOT NULL,
        PRIMARY KEY (manifest, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX member_digest ON member (digest);
    CREATE TABLE tag (
        repository INTEGER NOT NULL REFERENCES repository,
        name TEXT NOT NULL,
        manifest INTEGER NOT NULL REFERENCES manifest ON DELETE CASCADE,
        PRIMARY KEY (repository, name)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tag_in_order ON tag (repository, name COLLATE NOCASE, name);
    CREATE INDEX tag_manifest ON tag (manifest);
    PRAGMA user_version = 1;
";
/// What later versions have added, each to the one before it. `cached`: of what was fetched from another registry, when a
/// client has asked for it last; nothing of what was pushed.
const ADDED: [&str; 1] = ["
    ALTER TABLE link ADD COLUMN cached INTEGER;
    ALTER TABLE manifest ADD COLUMN cached INTEGER;
    CREATE INDEX link_cached ON link (cached) WHERE cached IS NOT NULL;
    CREATE INDEX manifest_cached ON manifest (cached) WHERE cached IS NOT NULL;
    PRAGMA user_version = 2;
"];
const VERSION: i64 = 2;
/// How many changes share a commit at most, so that the first of them does not wait for all the others.
const TOGETHER: usize = 128;
/// Connections for reading that are kept open.
const READERS: usize = 8;

/// A change, run inside a transaction; what it returns tells its caller the outcome once the commit is known.
type Change = Box<dyn FnOnce(&Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Option<rusqlite::Error>) + Send>;

/// The records of one root.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    changes: Option<Sender<Change>>,
    writer: Option<JoinHandle<()>>,
    readers: Mutex<Vec<Connection>>,
}

impl Ledger {
    /// Opens the records at `path`, which are made when missing. The caller holds the root.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let connection = open_for_writing(path)?;
        let (changes, waiting) = channel();
        let writer = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || write(&connection, &waiting))
            .map_err(|source| Error::System { action: "start the thread that writes the records", source })?;
        Ok(Self {
            path: path.to_owned(),
            changes: Some(changes),
            writer: Some(writer),
            readers: Mutex::default(),
        })
    }

    /// Runs `change` with others in one commit. The answer comes when it is on disk; where `change` fails, nothing of
    /// it stays.
    pub(crate) fn change<T: Send + 'static>(
        &self,
        action: &'static str,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (tell, told) = oneshot::channel();
        let change: Change = Box::new(move |connection| {
            let outcome = in_savepoint(connection, change);
            Box::new(move |failed: Option<rusqlite::Error>| {
                let outcome = match failed {
                    Some(failed) if outcome.is_ok() => Err(failed),
                    _ => outcome,
                };
                // Nobody waits any more.
                drop(tell.send(outcome.to(action)));
            })
        });
        if let Some(changes) = &self.changes {
            // Without a writer the answer is that there is none.
            drop(changes.send(change));
        }
        Pending(told)
    }

    /// Reads one consistent state.
    pub(crate) fn read<T>(
        &self,
        action: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open_for_reading(&self.path)?,
        };
        let result = (|| -> rusqlite::Result<T> {
            let snapshot = connection.unchecked_transaction()?;
            let result = query(&connection)?;
            snapshot.commit()?;
            Ok(result)
        })();
        if connection.is_autocommit() {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS {
                readers.push(connection);
            }
        }
        result.to(action)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.changes = None;
        if let Some(writer) = self.writer.take() {
            // It cannot have panicked with anything that would be news here.
            drop(writer.join());
        }
    }
}

/// A change that has been asked for. Dropping it does not take it back.
#[derive(Debug)]
#[must_use]
pub struct Pending<T>(oneshot::Receiver<Result<T>>);

impl<T> Pending<T> {
    /// Waits, in a thread that may.
    ///
    /// # Errors
    /// If nothing was changed.
    pub fn wait(self) -> Result<T> {
        self.0.blocking_recv().unwrap_or(Err(Error::Closing))
    }

    /// Waits, in a task.
    ///
    /// # Errors
    /// If nothing was changed.
    pub async fn settled(self) -> Result<T> {
        self.0.await.unwrap_or(Err(Error::Closing))
    }
}

/// The writer's life: until nobody can ask for changes any more.
fn write(connection: &Connection, waiting: &Receiver<Change>) {
    while let Ok(first) = waiting.recv() {
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            // Refused alike: what cannot begin cannot change anything.
            refuse(connection, first, error);
            continue;
        }
        let mut answers = Vec::new();
        let mut next = Some(first);
        while let Some(change) = next {
            answers.push(change(connection));
            next = if answers.len() < TOGETHER { waiting.try_recv().ok() } else { None };
        }
        let committed = connection.execute_batch("COMMIT");
        if committed.is_err() && !connection.is_autocommit() {
            // It is rolled back when the next transaction cannot begin, at the latest.
            drop(connection.execute_batch("ROLLBACK"));
        }
        for answer in answers {
            answer(committed.as_ref().err().map(again));
        }
    }
}

/// Answers a change without having run it in a transaction that could be kept.
fn refuse(connection: &Connection, change: Change, error: rusqlite::Error) {
    if !connection.is_autocommit() {
        drop(connection.execute_batch("ROLLBACK"));
    }
    drop(change);
    tracing::error!(%error, "the records cannot be written");
}

/// The same error for one more who waits: SQLite's are not to be copied as a whole.
fn again(error: &rusqlite::Error) -> rusqlite::Error {
    let code =
        error.sqlite_error().copied().unwrap_or(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR));
    rusqlite::Error::SqliteFailure(code, Some(error.to_string()))
}

fn in_savepoint<T>(
    connection: &Connection,
    change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.execute_batch("SAVEPOINT change")?;
    let outcome = change(connection);
    let end = if outcome.is_ok() { "RELEASE change" } else { "ROLLBACK TO change; RELEASE change" };
    connection.execute_batch(end)?;
    outcome
}

fn open_for_writing(path: &Path) -> Result<Connection> {
    let action = "open the records";
    // Made by us, so that nobody else can read it, whatever the mask.
    match file::create_new(path, 0o600) {
        Ok(made) => drop(made),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(Error::File { action, source }),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).to(action)?;
    configure(&connection).to(action)?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).to(action)?;
    if found > VERSION {
        return Err(Error::Newer { path: path.to_owned(), found, known: VERSION });
    }
    let set_up = || -> rusqlite::Result<()> {
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
        if found == 0 {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} COMMIT"))?;
        }
        for (number, added) in (1..).zip(ADDED) {
            if found <= number {
                connection.execute_batch(&format!("BEGIN IMMEDIATE; {added} COMMIT"))?;
            }
        }
        Ok(())
    };
    set_up().to("set up the records")?;
    file::sync_parent(path).to(action)?;
    Ok(connection)
}

fn open_for_reading(path: &Path) -> Result<Connection> {
    let action = "open the records for reading";
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).to(action)?;
    configure(&connection).to(action)?;
    Ok(connection)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_an_earlier_version_are_taken_up() {
        let scratch = testkit::Scratch::new();
        let path = scratch.join("registry.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(SCHEMA).unwrap();
        old.execute_batch(
            "INSERT INTO repository (name) VALUES ('a');
             INSERT INTO blob (digest, size, file) VALUES ('sha256:x', 1, 'f');
             INSERT INTO link VALUES (1, 1, 5);",
        )
        .unwrap();
        drop(old);
        for _ in 0..2 {
            let ledger = Ledger::open(&path).unwrap();
            let link = ledger.read("look", |records| {
                records.query_row("SELECT since, cached FROM link", [], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
                })
            });
            assert_eq!(link.unwrap(), (5, None));
        }
    }
}
