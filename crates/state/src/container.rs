//! Containers: who they are, what they are made from, and the id range that is theirs.

use std::str::FromStr;

use oci::{ContainerId, ContainerName, Digest, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::exit::ExitRecord;
use crate::{Durability, Error, IdPool, Result, State, nanoseconds, timestamp};

/// A container as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Who it is and what it is doing.
    pub head: ContainerHead,
    /// Its whole configuration, a document of the engine's.
    pub spec: String,
}

/// What listings need of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerHead {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Id of the image it was made from.
    pub image: Digest,
    /// When it was made.
    pub created: Timestamp,
    /// First host id of its range, when it has one.
    pub id_base: Option<u32>,
    /// How its last run ended, when one has.
    pub exit: Option<ExitRecord>,
    /// Somebody has begun to remove it: its files may be gone already.
    pub removing: bool,
    /// A small document of the engine's for listings.
    pub summary: String,
}

/// A container to be kept.
#[derive(Clone, Debug)]
pub struct NewContainer<'a> {
    /// Its id.
    pub id: &'a ContainerId,
    /// Its name; must be free.
    pub name: &'a ContainerName,
    /// Id of its image; must be known.
    pub image: &'a Digest,
    /// When it is made.
    pub created: Timestamp,
    /// The pool to take an id range from, when it needs one.
    pub pool: Option<IdPool>,
    /// See [`ContainerHead::summary`].
    pub summary: &'a str,
    /// See [`ContainerRecord::spec`].
    pub spec: &'a str,
}

/// What a name, an id or a prefix of one stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// Nothing.
    Missing,
    /// One thing.
    Found(T),
    /// A prefix of several ids.
    Ambiguous,
}

const COLUMNS: &str = "containers.id, name, containers.image, created, slot, \
    code, signal, oom_killed, started, finished, lost, error, asked, restarts, log_lines_lost, \
    summary, removing";

impl State {
    /// Keeps a container; returns the first host id of its range, when it asked for one.
    pub fn create_container(&self, new: &NewContainer<'_>) -> Result<Option<u32>> {
        self.atomically(Durability::Process, || {
            let known = self.query("look for the image of a container", |connection| {
                connection.prepare_cached("SELECT 1 FROM images WHERE id = ?1")?.exists([new.image.as_str()])
            })?;
            if !known {
                return Err(Error::NoImage { id: new.image.to_string() });
            }
            if let Some(by) = self.container_named(new.name.as_str())? {
                return Err(Error::NameTaken { name: new.name.to_string(), by });
            }
            let slot = new.pool.map(|pool| self.free_slot(pool, new.id)).transpose()?;
            self.insert_container(new, slot)?;
            Ok(new.pool.zip(slot).map(|(pool, slot)| pool.base_of(slot)))
        })
    }

    fn insert_container(&self, new: &NewContainer<'_>, slot: Option<u32>) -> Result<()> {
        self.query("record a container", |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO containers (id, name, slot, image, created, summary, spec) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    &bytes_of(new.id)[..],
                    new.name.as_str(),
                    slot,
                    new.image.as_str(),
                    nanoseconds(new.created),
                    new.summary,
                    new.spec,
                ])
                .map(drop)
        })
    }

    /// Whose name this is.
    pub fn container_named(&self, name: &str) -> Result<Option<ContainerId>> {
        let found = self.query("look for a container by name", |connection| {
            connection
                .prepare_cached("SELECT id FROM containers WHERE name = ?1")?
                .query_row([name], |row| row.get::<_, Vec<u8>>(0))
                .optional()
        })?;
        found.map(|bytes| id_of(&bytes)).transpose()
    }

    /// The container that a user means: by id, else by name (with or without a slash), else by a prefix of an id.
    pub fn find_container(&self, text: &str) -> Result<Lookup<ContainerRecord>> {
        if let Ok(id) = ContainerId::from_str(text)
            && let Some(record) = self.container(&id)?
        {
            return Ok(Lookup::Found(record));
        }
        let name = text.strip_prefix('/').unwrap_or(text);
        if let Some(record) = self.container_where("name = ?1", name)? {
            return Ok(Lookup::Found(record));
        }
        let Some((low, high)) = prefix_range(text) else { return Ok(Lookup::Missing) };
        let ids: Vec<Vec<u8>> = self.query("look for a container by id", |connection| {
            connection
                .prepare_cached("SELECT id FROM containers WHERE id BETWEEN ?1 AND ?2 LIMIT 2")?
                .query_map(params![low, high], |row| row.get(0))?
                .collect()
        })?;
        match &ids[..] {
            [] => Ok(Lookup::Missing),
            [id] => Ok(self.container(&id_of(id)?)?.map_or(Lookup::Missing, Lookup::Found)),
            _ => Ok(Lookup::Ambiguous),
        }
    }

    /// One container.
    pub fn container(&self, id: &ContainerId) -> Result<Option<ContainerRecord>> {
        self.container_where("id = ?1", &bytes_of(id)[..])
    }

    fn container_where(&self, condition: &str, key: impl ToSql) -> Result<Option<ContainerRecord>> {
        self.query("read a container", |connection| {
            let sql = format!(
                "SELECT {COLUMNS}, spec FROM containers LEFT JOIN exits ON container = id WHERE {condition}"
            );
            connection.prepare_cached(&sql)?.query_row([key], |row| Ok((head(row), row.get(17)?))).optional()
        })?
        .map(|(head, spec)| Ok(ContainerRecord { head: head?, spec }))
        .transpose()
    }

    /// Every container, newest first.
    pub fn containers(&self) -> Result<Vec<ContainerHead>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM containers LEFT JOIN exits ON container = containers.id ORDER BY number DESC"
        );
        let heads: Vec<Result<ContainerHead>> = self.query("list containers", |connection| {
            connection.prepare_cached(&sql)?.query_map([], |row| Ok(head(row)))?.collect()
        })?;
        heads.into_iter().collect()
    }

    /// Gives a container another name, which must be free; tells the one before. None: it is not known.
    pub fn rename_container(&self, id: &ContainerId, name: &ContainerName) -> Result<Option<ContainerName>> {
        self.atomically(Durability::Process, || {
            let Some(record) = self.container(id)? else { return Ok(None) };
            let by = self.container_named(name.as_str())?;
            if let Some(by) = by.filter(|by| by != id) {
                return Err(Error::NameTaken { name: name.to_string(), by });
            }
            self.query("rename a container", |connection| {
                connection
                    .prepare_cached("UPDATE containers SET name = ?2 WHERE id = ?1")?
                    .execute(params![&bytes_of(id)[..], name.as_str()])
            })?;
            Ok(Some(record.head.name))
        })
    }

    /// Keeps another configuration of a container. Nothing happens when it has been removed.
    pub fn replace_spec(&self, id: &ContainerId, summary: &str, spec: &str) -> Result<()> {
        self.atomically(Durability::Process, || {
            self.query("change a container", |connection| {
                connection
                    .prepare_cached("UPDATE containers SET summary = ?2, spec = ?3 WHERE id = ?1")?
                    .execute(params![&bytes_of(id)[..], summary, spec])
                    .map(drop)
            })
        })
    }

    /// Whether a container is known, and is not being removed.
    pub fn has_container(&self, id: &ContainerId) -> Result<bool> {
        self.query("look for a container", |connection| {
            connection
                .prepare_cached("SELECT 1 FROM containers WHERE id = ?1 AND removing = 0")?
                .exists([&bytes_of(id)[..]])
        })
    }

    /// Marks a container as one that is being removed, before anything of it is; false when it is not known any more.
    /// The mark is never taken back: what comes after it goes on with the removal.
    pub fn begin_removal(&self, id: &ContainerId) -> Result<bool> {
        self.freeing(|| {
            self.atomically(Durability::Process, || {
                self.query("mark a container for removal", |connection| {
                    connection
                        .prepare_cached("UPDATE containers SET removing = 1 WHERE id = ?1")?
                        .execute([&bytes_of(id)[..]])
                        .map(|marked| marked != 0)
                })
            })
        })
    }

    /// Whether a container is being removed; missing when it is not known any more.
    pub fn is_being_removed(&self, id: &ContainerId) -> Result<Option<bool>> {
        self.query("look for a container", |connection| {
            connection
                .prepare_cached("SELECT removing FROM containers WHERE id = ?1")?
                .query_row([&bytes_of(id)[..]], |row| row.get(0))
                .optional()
        })
    }

    /// Forgets a container: its name and its id range are free from now on. Tells whether it was known.
    ///
    /// What lies on disk must be removed after this, or after [`State::begin_removal`] and before this: what dies in
    /// between leaves files that nobody knows, or a container that nobody can start, and a sweep finds either.
    pub fn remove_container(&self, id: &ContainerId) -> Result<bool> {
        self.freeing(|| self.delete_container(id))
    }

    fn delete_container(&self, id: &ContainerId) -> Result<bool> {
        self.atomically(Durability::Process, || {
            self.query("remove a container", |connection| {
                let key = bytes_of(id);
                note_use(connection, &key, crate::now().seconds())?;
                connection.prepare_cached("DELETE FROM exits WHERE container = ?1")?.execute([&key[..]])?;
                let removed =
                    connection.prepare_cached("DELETE FROM containers WHERE id = ?1")?.execute([&key[..]])?;
                Ok(removed != 0)
            })
        })
    }

    /// How many containers were made from an image.
    pub fn containers_of_image(&self, image: &Digest) -> Result<Vec<ContainerId>> {
        let ids: Vec<Vec<u8>> = self.query("look for containers of an image", |connection| {
            connection
                .prepare_cached("SELECT id FROM containers WHERE image = ?1 ORDER BY number")?
                .query_map([image.as_str()], |row| row.get(0))?
                .collect()
        })?;
        ids.iter().map(|bytes| id_of(bytes)).collect()
    }
}

/// Notes that a container's image was in use until now. Within an hour of the note before nothing is written: `run --rm` is
/// to cost no page more.
fn note_use(connection: &Connection, container: &[u8], now: i64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT INTO image_uses (image, used) \
             SELECT image, ?2 FROM containers WHERE id = ?1 AND image IN (SELECT id FROM images) \
             ON CONFLICT (image) DO UPDATE SET used = excluded.used WHERE excluded.used >= used + 3600",
        )?
        .execute(params![container, now])
}

/// The row of a query over [`COLUMNS`].
fn head(row: &Row<'_>) -> Result<ContainerHead> {
    let malformed = |source: rusqlite::Error| Error::Malformed {
        what: "a column",
        subject: "a container".to_owned(),
        source: source.into(),
    };
    let id = id_of(&row.get::<_, Vec<u8>>(0).map_err(malformed)?)?;
    let text = |column: usize| row.get::<_, String>(column).map_err(malformed);
    Ok(ContainerHead {
        name: parse("the name", &id, &text(1)?)?,
        image: parse("the image", &id, &text(2)?)?,
        created: timestamp(row.get(3).map_err(malformed)?),
        id_base: row.get::<_, Option<u32>>(4).map_err(malformed)?.map(|slot| IdPool::DEFAULT.base_of(slot)),
        exit: ExitRecord::from_row(row, 5).map_err(malformed)?,
        summary: text(15)?,
        removing: row.get(16).map_err(malformed)?,
        id,
    })
}

fn parse<T: FromStr<Err = oci::Error>>(what: &'static str, id: &ContainerId, text: &str) -> Result<T> {
    text.parse().map_err(|source: oci::Error| Error::Malformed {
        what,
        subject: format!("container {id}"),
        source: source.into(),
    })
}

/// The key of a container.
pub(crate) fn bytes_of(id: &ContainerId) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(id.as_str().as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    bytes
}

/// The value of a lowercase hex digit.
fn digit(byte: u8) -> u8 {
    if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'a') + 10 }
}

pub(crate) fn id_of(bytes: &[u8]) -> Result<ContainerId> {
    <[u8; 32]>::try_from(bytes).map(ContainerId::from_bytes).map_err(|source| Error::Malformed {
        what: "the id",
        subject: "a container".to_owned(),
        source: source.into(),
    })
}

/// The lowest and the highest key that begin with the hex digits `text`.
fn prefix_range(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if text.is_empty() || text.len() > 64 || !text.as_bytes().iter().all(hex) {
        return None;
    }
    let bound = |filler: char| {
        let digits: String = text.chars().chain(std::iter::repeat(filler)).take(64).collect();
        digits.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    };
    Some((bound('0'), bound('f')))
}
