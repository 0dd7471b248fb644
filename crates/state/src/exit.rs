//! How containers ended: one row each, written by the monitor, or by whoever finds a container lost.

use oci::{ContainerId, Timestamp};
use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::container::bytes_of;
use crate::{Durability, Result, State, nanoseconds, timestamp};

/// The end of the last run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitRecord {
    /// 0 to 255.
    pub code: i32,
    /// The signal that ended its first process.
    pub signal: Option<i32>,
    /// Whether the kernel killed one of its processes for lack of memory.
    pub oom_killed: bool,
    /// When the program began; missing when it never did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// Its monitor died: nobody knows how it ended.
    pub lost: bool,
    /// Why it could not be started, or what became of it.
    pub error: Option<String>,
    /// Who asked for it.
    pub asked: Asked,
    /// How often its restart policy had started it again since a user did.
    pub restarts: u32,
    /// Lines that its log could not keep.
    pub log_lines_lost: u64,
}

/// Who asked for the end of a container: what decides whether a restart policy brings it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Asked {
    /// Nobody, or the host's shutdown: it is no wish of its user's.
    #[default]
    Nobody,
    /// Its user, by `stop` or by a signal.
    User,
    /// Its user, by `restart`: it is about to be started again, and is kept until then whatever else it was told.
    Restart,
}

impl ToSql for Asked {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(match self {
            Asked::Nobody => 0,
            Asked::User => 1,
            Asked::Restart => 2,
        }))
    }
}

impl FromSql for Asked {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Asked> {
        Ok(match value.as_i64()? {
            1 => Asked::User,
            2 => Asked::Restart,
            _ => Asked::Nobody,
        })
    }
}

impl ExitRecord {
    /// Ten columns from `first` on; missing when they are null.
    pub(crate) fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<ExitRecord>> {
        let Some(code) = row.get(first)? else { return Ok(None) };
        Ok(Some(ExitRecord {
            code,
            signal: row.get(first + 1)?,
            oom_killed: row.get(first + 2)?,
            started: row.get::<_, Option<i64>>(first + 3)?.map(timestamp),
            finished: timestamp(row.get(first + 4)?),
            lost: row.get(first + 5)?,
            error: row.get(first + 6)?,
            asked: row.get(first + 7)?,
            restarts: row.get(first + 8)?,
            log_lines_lost: row.get::<_, i64>(first + 9)?.try_into().unwrap_or(0),
        }))
    }
}

impl State {
    /// How the last run of a container ended.
    pub fn exit(&self, id: &ContainerId) -> Result<Option<ExitRecord>> {
        self.query("read the exit of a container", |connection| {
            let sql = "SELECT code, signal, oom_killed, started, finished, lost, error, asked, restarts, \
                 log_lines_lost FROM exits WHERE container = ?1";
            let found = connection
                .prepare_cached(sql)?
                .query_row([&bytes_of(id)[..]], |row| ExitRecord::from_row(row, 0))
                .optional()?;
            Ok(found.flatten())
        })
    }

    /// Records how a container ended, in the place of the run before. Nothing happens when it has been removed.
    pub fn record_exit(&self, id: &ContainerId, exit: &ExitRecord) -> Result<()> {
        self.atomically(Durability::Process, || {
            self.query("record the exit of a container", |connection| {
                connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO exits \
                         (container, code, signal, oom_killed, started, finished, lost, error, asked, restarts, \
                          log_lines_lost) \
                         SELECT id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 FROM containers WHERE id = ?1",
                    )?
                    .execute(params![
                        &bytes_of(id)[..],
                        exit.code,
                        exit.signal,
                        exit.oom_killed,
                        exit.started.map(nanoseconds),
                        nanoseconds(exit.finished),
                        exit.lost,
                        exit.error,
                        exit.asked,
                        exit.restarts,
                        i64::try_from(exit.log_lines_lost).unwrap_or(i64::MAX),
                    ])
                    .map(drop)
            })
        })
    }
}
