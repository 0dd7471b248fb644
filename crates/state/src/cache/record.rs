//! Records of steps, and the keys by which they are found.
//!
//! A record has several keys, and a key leads to one record, the last that was kept under it. One that no key leads to any more
//! could not be found again, and goes at once. Of a record's keys the newest [`KEYS`] are kept: one whose result stays the same
//! gets another with each new base image.

use oci::{DiffId, Digest, Hasher, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

use super::{CacheKind, count, stored};
use crate::{Durability, Error, Result, State, nanoseconds, timestamp};

/// The most keys of a record.
const KEYS: i64 = 64;

/// What a key has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Its id.
    pub id: String,
    /// What the step has made.
    pub layer: DiffId,
    /// Bytes of that.
    pub size: u64,
}

/// A record, with all that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildRecord {
    /// What users name it by: 25 letters and digits.
    pub id: String,
    /// What the step has made.
    pub layer: DiffId,
    /// Bytes of that.
    pub size: u64,
    /// When.
    pub made: Timestamp,
    /// When it was last found.
    pub used: Timestamp,
    /// How often it was, and was made.
    pub uses: u64,
    /// Of what kind it is.
    pub kind: CacheKind,
    /// The records it stands upon, as far as they were known.
    pub parents: Vec<String>,
    /// What people call the step.
    pub description: String,
}

/// A record to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewBuildRecord<'a> {
    /// What it is to be found by; at least one.
    pub keys: &'a [&'a Digest],
    /// What the step has made, which is in the store.
    pub layer: &'a DiffId,
    /// Bytes of that.
    pub size: u64,
    /// Of what kind it is.
    pub kind: CacheKind,
    /// The records it stands upon.
    pub parents: &'a [String],
    /// What people call the step.
    pub description: &'a str,
}

impl State {
    /// What a key leads to. Nothing is written: see [`State::count_build_uses`].
    pub fn find_build_record(&self, key: &Digest) -> Result<Option<FoundRecord>> {
        let row: Option<(String, String, i64)> =
            self.query("look for a result of a build", |connection| {
                connection
                .prepare_cached(
                    "SELECT id, layer, size FROM build_keys JOIN build_records ON id = record WHERE key = ?1",
                )?
                .query_row([bytes(key)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
            })?;
        let found = |(id, layer, size): (String, String, i64)| {
            let layer = parse_layer(&id, &layer)?;
            Ok(FoundRecord { id, layer, size: count(size) })
        };
        row.map(found).transpose()
    }

    /// Keeps a record; returns its id. One with the same layer, to which any of the keys leads, is the same record.
    pub fn keep_build_record(&self, record: &NewBuildRecord<'_>) -> Result<String> {
        self.atomically(Durability::Process, || {
            let now = nanoseconds(crate::now());
            let mut known = Vec::new();
            for key in record.keys {
                known.push(self.find_build_record(key)?);
            }
            let same = known.iter().flatten().find(|known| known.layer == *record.layer);
            let id = same.map_or_else(|| new_id(record), |same| same.id.clone());
            self.put_build_record(&id, record, now)?;
            for key in record.keys {
                self.put_build_key(key, &id, now)?;
            }
            for left in known.iter().flatten().filter(|known| known.id != id) {
                self.query("forget a result of a build", |connection| {
                    connection
                        .prepare_cached(
                            "DELETE FROM build_records WHERE id = ?1
                                 AND NOT EXISTS (SELECT 1 FROM build_keys WHERE record = ?1)",
                        )?
                        .execute([&left.id])
                })?;
            }
            Ok(id)
        })
    }

    /// The keys that lead to a record, the newest first.
    pub fn keys_of_build_record(&self, id: &str) -> Result<Vec<Digest>> {
        let keys: Vec<Vec<u8>> = self.query("list the keys of a result of a build", |connection| {
            connection
                .prepare_cached("SELECT key FROM build_keys WHERE record = ?1 ORDER BY made DESC, key")?
                .query_map([id], |row| row.get(0))?
                .collect()
        })?;
        // A row of another length is no key of anything.
        Ok(keys.into_iter().filter_map(|key| key.try_into().ok()).map(Digest::from_sha256).collect())
    }

    fn put_build_record(&self, id: &str, record: &NewBuildRecord<'_>, now: i64) -> Result<()> {
        self.query("keep a result of a build", |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO build_records (id, layer, size, made, used, uses, kind, parents, description)
                     VALUES (?1, ?2, ?3, ?4, ?4, 1, ?5, ?6, ?7)
                     ON CONFLICT (id) DO UPDATE SET size = excluded.size, used = excluded.used, uses = uses + 1,
                         kind = excluded.kind, parents = excluded.parents, description = excluded.description",
                )?
                .execute(params![
                    id,
                    record.layer.as_str(),
                    stored(record.size),
                    now,
                    record.kind.as_str(),
                    record.parents.join(" "),
                    record.description
                ])
                .map(drop)
        })
    }

    fn put_build_key(&self, key: &Digest, record: &str, now: i64) -> Result<()> {
        self.query("keep a key of a result of a build", |connection| {
            connection
                .prepare_cached("INSERT OR REPLACE INTO build_keys (key, record, made) VALUES (?1, ?2, ?3)")?
                .execute(params![bytes(key), record, now])?;
            connection
                .prepare_cached(
                    "DELETE FROM build_keys WHERE record = ?1 AND key NOT IN
                         (SELECT key FROM build_keys WHERE record = ?1 ORDER BY made DESC LIMIT ?2)",
                )?
                .execute(params![record, KEYS])
                .map(drop)
        })
    }

    /// Counts what was found: the ids of records, and how often each. Those that are gone by now are passed over.
    pub fn count_build_uses<'a>(&self, found: impl IntoIterator<Item = (&'a str, u64)>) -> Result<()> {
        let now = nanoseconds(crate::now());
        self.atomically(Durability::Process, || {
            found.into_iter().try_for_each(|(id, times)| {
                self.query("count the uses of results of builds", |connection| {
                    connection
                        .prepare_cached("UPDATE build_records SET used = ?2, uses = uses + ?3 WHERE id = ?1")?
                        .execute(params![id, now, stored(times)])
                        .map(drop)
                })
            })
        })
    }

    /// Every record, the one that was used last first.
    pub fn build_records(&self) -> Result<Vec<BuildRecord>> {
        let rows: Vec<RecordRow> = self.query("list what builds have kept", |connection| {
            connection
                .prepare_cached(
                    "SELECT id, layer, size, made, used, uses, kind, parents, description
                     FROM build_records ORDER BY used DESC, id",
                )?
                .query_map([], RecordRow::read)?
                .collect()
        })?;
        rows.into_iter().map(RecordRow::parse).collect()
    }

    /// The layers that records name.
    pub fn build_layers(&self) -> Result<Vec<DiffId>> {
        let rows: Vec<String> = self.query("list the layers that builds have kept", |connection| {
            connection
                .prepare_cached("SELECT DISTINCT layer FROM build_records")?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        rows.iter().map(|layer| parse_layer(layer, layer)).collect()
    }

    /// Forgets records and the keys that lead to them; tells how many there were. Their layers may be removed after this.
    pub fn remove_build_records<'a>(&self, ids: impl Iterator<Item = &'a str> + Clone) -> Result<usize> {
        self.freeing(|| {
            self.atomically(Durability::Process, || {
                let mut removed = 0;
                for id in ids.clone() {
                    removed += self.query("forget a result of a build", |connection| {
                        connection
                            .prepare_cached("DELETE FROM build_keys WHERE record = ?1")?
                            .execute([id])?;
                        connection.prepare_cached("DELETE FROM build_records WHERE id = ?1")?.execute([id])
                    })?;
                }
                Ok(removed)
            })
        })
    }
}

/// A row of the table, in the order in which it is asked for.
struct RecordRow {
    id: String,
    layer: String,
    numbers: [i64; 4],
    texts: [String; 3],
}

impl RecordRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            layer: row.get(1)?,
            numbers: [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?],
            texts: [row.get(6)?, row.get(7)?, row.get(8)?],
        })
    }

    fn parse(self) -> Result<BuildRecord> {
        let [size, made, used, uses] = self.numbers;
        let [kind, parents, description] = self.texts;
        let malformed = |source: super::UnknownKind| Error::Malformed {
            what: "the kind",
            subject: format!("build cache record {}", self.id),
            source: source.into(),
        };
        Ok(BuildRecord {
            layer: parse_layer(&self.id, &self.layer)?,
            size: count(size),
            made: timestamp(made),
            used: timestamp(used),
            uses: count(uses),
            kind: kind.parse().map_err(malformed)?,
            parents: parents.split_whitespace().map(str::to_owned).collect(),
            description,
            id: self.id,
        })
    }
}

fn parse_layer(record: &str, text: &str) -> Result<DiffId> {
    text.parse().map_err(|source: oci::Error| Error::Malformed {
        what: "the layer",
        subject: format!("build cache record {record}"),
        source: source.into(),
    })
}

/// A key as the database has it: half as long as its text.
fn bytes(key: &Digest) -> Vec<u8> {
    let digit =
        |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    key.encoded()
        .as_bytes()
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, c| byte << 4 | digit(*c)))
        .collect()
}

/// An id that follows from the first key and from the layer: who keeps the same thing again, keeps it once.
fn new_id(record: &NewBuildRecord<'_>) -> String {
    let mut hasher = Hasher::sha256();
    hasher.update(record.keys.first().map_or("", |key| key.as_str()).as_bytes());
    hasher.update(record.layer.as_str().as_bytes());
    let half: [u8; 16] = std::array::from_fn({
        let bytes = bytes(&hasher.finish());
        move |at| bytes[at]
    });
    let mut number = u128::from_be_bytes(half);
    // 128 bits are at most 25 digits of base 36, as BuildKit's ids are.
    let mut text = [b'0'; 25];
    for place in text.iter_mut().rev() {
        *place = b"0123456789abcdefghijklmnopqrstuvwxyz"[usize::try_from(number % 36).unwrap_or(0)];
        number /= 36;
    }
    String::from_utf8_lossy(&text).into_owned()
}
