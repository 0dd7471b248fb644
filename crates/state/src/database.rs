//! One connection to `state.db`: opening, migrating, transactions, and errors in our words.
//!
//! Any number of processes share the file in WAL mode. Opening must cost next to nothing, because every command
//! does it: a current database is opened with one pragma that reads and one that does not, and nothing else.
//! The first opener makes the file, its mode and its tables under a lock on the root directory.
//!
//! The log has to be folded back, for whoever opens the database alone reads all of it first, and SQLite's own rule
//! (past a thousand pages) begins anew with every process. It is done by [`State::tidy`], which monitors call when
//! nobody waits for them, so that a command hardly ever pays for it; and by commands where no monitor came, once the
//! log is some times longer.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linux::file;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::reserve::give_up_reserve;
use crate::schema::{MIGRATIONS, SCHEMA_VERSION};
use crate::{Error, Result};

/// A connection to the database of one root.
#[derive(Debug)]
pub struct State {
    pub(crate) connection: Connection,
    path: PathBuf,
    /// That of the last transaction.
    durability: Cell<Durability>,
}

/// What a transaction must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of any process.
    Process,
    /// Loss of power, once it has returned. For names of stored content.
    Power,
}

/// Small pages: a transaction writes whole ones to the log, and what it changes are short rows.
const PAGE_SIZE: u32 = 2048;
/// Log frames from which a checkpoint is due where nobody waits, 3 µs each for the next to open the database.
const IDLE_FRAMES: u64 = 64;
/// The same where somebody waits: it takes some milliseconds, for it syncs.
const BUSY_FRAMES: u64 = 256;

impl State {
    /// Opens `<root>/state.db`, which is made when missing, as is the root (mode 0700).
    pub fn open(root: &Path) -> Result<State> {
        State::open_file(&root.join("state.db"))
    }

    /// Opens the database file `path`.
    pub fn open_file(path: &Path) -> Result<State> {
        match State::open_known(path) {
            // Its index needs some space, too.
            Err(Error::Full { .. }) => {
                give_up_reserve(path)?;
                State::open_known(path)
            }
            opened => opened,
        }
    }

    fn open_known(path: &Path) -> Result<State> {
        match State::connect(path) {
            Ok(state) => match state.version()? {
                SCHEMA_VERSION => return Ok(state),
                found if found > SCHEMA_VERSION => {
                    return Err(Error::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION });
                }
                _ => {}
            },
            // Missing, or so a moment ago; if something else is wrong, it is still so below.
            Err(Error::Open { .. }) => {}
            Err(error) => return Err(error),
        }
        // Missing or old: from the beginning, and alone.
        let root = path.parent().unwrap_or(Path::new("/"));
        let _lock = loop {
            file::create_dirs(root, 0o700)
                .map_err(|source| Error::File { action: "create the database", source })?;
            if let Some(lock) = lock_directory(root)? {
                break lock;
            }
        };
        create_file(path)?;
        State::connect(path)?.migrate()
    }

    fn connect(path: &Path) -> Result<State> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .map_err(|source| Error::Open { path: path.to_owned(), source })?;
        // SQLite's own default is the safer one.
        let mut state = State { connection, path: path.to_owned(), durability: Cell::new(Durability::Power) };
        match state.configure() {
            Ok(()) => Ok(state),
            Err(source) => Err(state.explain("configure the database", source)),
        }
    }

    fn configure(&mut self) -> rusqlite::Result<()> {
        self.connection.busy_handler(Some(wait_for_others))?;
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        self.connection.set_prepared_statement_cache_capacity(64);
        Ok(())
    }

    /// `state.db`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn version(&self) -> Result<i64> {
        self.connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(|source| self.explain("read the schema version", source))
    }

    /// Brings an older or empty database to this program's version; the caller holds the lock.
    ///
    /// Which steps are missing is read in the transaction that makes them and writes the version. So tables and version never
    /// disagree, whoever else is here: a step fails for finding its own work only in a database that a program with other steps
    /// of the same number has made (which is why released steps are pinned by a test).
    fn migrate(self) -> Result<State> {
        let set_up = |source| self.explain("set up the database", source);
        if self.version()? == 0 {
            // Outside of any transaction, as SQLite demands; on a database that is set up already it does nothing.
            self.connection.pragma_update(None, "page_size", PAGE_SIZE).map_err(set_up)?;
            self.connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(set_up)?;
        }
        self.connection.execute_batch("PRAGMA synchronous = FULL; BEGIN IMMEDIATE").map_err(set_up)?;
        let from = self.version()?;
        if from > SCHEMA_VERSION {
            return Err(Error::Newer { path: self.path.clone(), found: from, known: SCHEMA_VERSION });
        }
        let steps = MIGRATIONS.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default();
        for step in steps {
            self.connection.execute_batch(step).map_err(set_up)?;
        }
        self.connection.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(set_up)?;
        self.connection.execute_batch("COMMIT").map_err(set_up)?;
        self.keep_reserve();
        Ok(self)
    }

    /// Runs `steps` in one transaction: all of it happens, or nothing. Inside another transaction it is part of that one.
    pub fn atomically<T, E: From<Error>>(
        &self,
        durability: Durability,
        steps: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if !self.connection.is_autocommit() {
            return steps();
        }
        self.begin(durability)?;
        let outcome = steps();
        if outcome.is_ok() {
            self.run("commit to the database", "COMMIT")?;
        } else if !self.connection.is_autocommit() {
            // SQLite has rolled back by itself where it could not go on; the first error is the one to tell.
            drop(self.run("roll back", "ROLLBACK"));
        }
        outcome
    }

    fn begin(&self, durability: Durability) -> Result<()> {
        if self.durability.replace(durability) != durability {
            let level = match durability {
                Durability::Process => "PRAGMA synchronous = NORMAL",
                Durability::Power => "PRAGMA synchronous = FULL",
            };
            // SQLite acts on this while it compiles it: a cached statement would do nothing.
            self.query("choose the durability of a transaction", |connection| {
                connection.execute_batch(level)
            })?;
        }
        self.run("begin to write to the database", "BEGIN IMMEDIATE")
    }

    fn run(&self, action: &'static str, sql: &str) -> Result<()> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
        match done {
            Ok(_) => Ok(()),
            Err(source) => Err(self.explain(action, source)),
        }
    }

    /// Runs one statement with its own action in the error.
    pub(crate) fn query<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        work(&self.connection).map_err(|source| self.explain(action, source))
    }

    /// Folds the log of the database at `path` back into it when it has grown. For those who have nobody waiting
    /// for them: it syncs. Gives way to everybody else, and is then done by a later one.
    pub fn tidy(path: &Path) -> Result<()> {
        if frames_of_log(path) < IDLE_FRAMES {
            return Ok(());
        }
        State::open_file(path)?.checkpoint()
    }

    /// The same for those who make somebody wait, and so for a much longer log alone; every connection that is closed
    /// has done it.
    pub fn tidy_if_long(&self) {
        if frames_of_log(&self.path) >= BUSY_FRAMES {
            // The next one tries again.
            drop(self.checkpoint());
        }
    }

    fn checkpoint(&self) -> Result<()> {
        self.query("checkpoint the database", |connection| {
            connection.busy_timeout(Duration::ZERO)?;
            // The first syncs, and holds nobody up meanwhile; what the second keeps others from is soon done.
            connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            // Whoever writes first after it syncs the log's head: let that be us. A newer program may have been here since we
            // came: what is written is what is there.
            connection.execute_batch("BEGIN IMMEDIATE")?;
            let rewritten = connection
                .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
                .and_then(|version| connection.pragma_update(None, "user_version", version));
            connection.execute_batch(if rewritten.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
            rewritten
        })
    }

    /// SQLite's own version, for `skiff version`.
    pub fn sqlite_version() -> &'static str {
        rusqlite::version()
    }

    /// Puts SQLite's reason into the error that tells what to do about it.
    pub(crate) fn explain(&self, action: &'static str, source: rusqlite::Error) -> Error {
        let path = self.path.clone();
        let extended = source.sqlite_error().map(|error| error.extended_code);
        if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) {
            return Error::Full { path, source };
        }
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Damaged { path, source },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Locked { path, source },
            Some(ErrorCode::ReadOnly) => Error::ReadOnly { path, source },
            Some(ErrorCode::DiskFull) => Error::Full { path, source },
            Some(ErrorCode::CannotOpen) => Error::Open { path, source },
            _ => Error::Statement { action, source },
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.tidy_if_long();
    }
}

/// How long the log of the database at `path` is.
fn frames_of_log(path: &Path) -> u64 {
    let length = rustix::fs::stat(path.with_extension("db-wal")).map_or(0, |stat| stat.st_size);
    u64::try_from(length).unwrap_or(0) / (u64::from(PAGE_SIZE) + 24)
}

/// Called by SQLite each time it finds the database locked. Writers hold it for fractions of a millisecond, so
/// short naps come first; after ten seconds somebody holds it who should not.
fn wait_for_others(tries: i32) -> bool {
    const NAPS: [u64; 6] = [50, 100, 250, 500, 1000, 2000];
    let nap = usize::try_from(tries).ok().and_then(|tries| NAPS.get(tries)).copied().unwrap_or(5000);
    std::thread::sleep(Duration::from_micros(nap));
    tries < 2000
}

/// Makes an empty database file that nobody else can read, unless there is one; the caller holds the lock.
///
/// It gets its name after it was closed: closing a file drops every lock that this process has on it, and
/// another thread may be using the one of that name.
fn create_file(path: &Path) -> Result<()> {
    let make = || match rustix::fs::stat(path) {
        // SQLite takes a file that is shorter than its header for an empty one.
        Ok(found) if (1..100).contains(&found.st_size) => Err(None),
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::NOENT) => {
            let unnamed = path.with_extension("db-new");
            file::remove_if_exists(&unnamed).map_err(Some)?;
            drop(file::create_new(&unnamed, 0o600).map_err(Some)?);
            file::rename(&unnamed, path).map_err(Some)
        }
        Err(errno) => {
            Err(Some(file::Error { action: "examine", path: path.to_owned(), source: errno.into() }))
        }
    };
    make().map_err(|error| match error {
        Some(source) => Error::File { action: "create the database", source },
        None => Error::Damaged {
            path: path.to_owned(),
            source: rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB),
                None,
            ),
        },
    })
}

/// Holds off everybody else who would set up a database in `root`; released on drop. None: what was locked is not `root` any
/// more, for somebody has removed that meanwhile, and others lock the one in its place.
fn lock_directory(root: &Path) -> Result<Option<std::os::fd::OwnedFd>> {
    let locked = || {
        let directory =
            rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
        let held = rustix::fs::fstat(&directory)?;
        match rustix::fs::stat(root) {
            Ok(found) => {
                Ok(((found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)).then_some(directory))
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    };
    locked().map_err(|errno: rustix::io::Errno| Error::File {
        action: "set up the database",
        source: file::Error { action: "lock", path: root.to_owned(), source: errno.into() },
    })
}
