//! The tables, and how an older database becomes a newer one.
//!
//! A step is never changed once released; a new version appends one. The version is SQLite's `user_version`.
//!
//! Container ids are kept as their 32 bytes, so that a prefix of an id is a range of keys. Documents
//! (`spec`, `summary`, `record`) are JSON that one crate owns; they stand last in their row, so that a listing
//! never touches the pages they overflow to.

/// What takes a database from version N to N + 1, beginning with an empty one.
pub(crate) const MIGRATIONS: [&str; 11] = [
    "
    CREATE TABLE images (
        id TEXT PRIMARY KEY,
        record TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE tags (
        reference TEXT PRIMARY KEY,
        image TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE containers (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL UNIQUE,
        slot INTEGER UNIQUE,
        image TEXT NOT NULL,
        created INTEGER NOT NULL,
        summary TEXT NOT NULL,
        spec TEXT NOT NULL
    );
    CREATE TABLE exits (
        container BLOB PRIMARY KEY,
        code INTEGER NOT NULL,
        signal INTEGER,
        oom_killed INTEGER NOT NULL,
        started INTEGER,
        finished INTEGER NOT NULL,
        lost INTEGER NOT NULL,
        error TEXT
    ) WITHOUT ROWID;
",
    // Who asked for the end (`Asked`), and how often the restart policy had begun anew by then.
    "
    ALTER TABLE exits ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE exits ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
",
    // Whether somebody has begun to remove it. It may stand behind the documents: a zero and a one take no space of their
    // own in a row, and are read without what is before them.
    "
    ALTER TABLE containers ADD COLUMN removing INTEGER NOT NULL DEFAULT 0;
",
    "
    ALTER TABLE exits ADD COLUMN log_lines_lost INTEGER NOT NULL DEFAULT 0;
",
    // When the last container of an image was removed, in seconds since 1970.
    "
    CREATE TABLE image_uses (
        image TEXT PRIMARY KEY,
        used INTEGER NOT NULL
    ) WITHOUT ROWID;
",
    // The blob that a layer was in a repository, which need not be sent there again, nor to others of that registry.
    "
    CREATE TABLE sources (
        diff_id TEXT NOT NULL,
        repository TEXT NOT NULL,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        media_type TEXT NOT NULL,
        PRIMARY KEY (diff_id, repository, digest)
    ) WITHOUT ROWID;
",
    // The index by which a name leads to its image, where there is one: others of its images belong to the name as well.
    "
    ALTER TABLE tags ADD COLUMN through TEXT;
",
    // Which of the places of a layer was seen last: only the newest are kept.
    "
    ALTER TABLE sources ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
",
    // Lists of manifests that are being made.
    "
    CREATE TABLE drafts (
        list TEXT NOT NULL,
        reference TEXT NOT NULL,
        place INTEGER NOT NULL,
        descriptor TEXT NOT NULL,
        manifest BLOB NOT NULL,
        PRIMARY KEY (list, reference)
    ) WITHOUT ROWID;
",
    // What the registry of a name calls what it leads to, as far as that is known.
    "
    ALTER TABLE tags ADD COLUMN digest TEXT;
",
    // The cache of builds: what steps have made, by keys, of which a record has several; what files of contexts hold, in parts
    // whose numbers begin with that of the context; and the directories of cache mounts.
    "
    CREATE TABLE build_records (
        id TEXT PRIMARY KEY,
        layer TEXT NOT NULL,
        size INTEGER NOT NULL,
        made INTEGER NOT NULL,
        used INTEGER NOT NULL,
        uses INTEGER NOT NULL,
        kind TEXT NOT NULL,
        parents TEXT NOT NULL,
        description TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE build_keys (
        key BLOB PRIMARY KEY,
        record TEXT NOT NULL,
        made INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX build_keys_of_record ON build_keys (record);
    CREATE TABLE build_contexts (
        number INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,
        parts INTEGER NOT NULL,
        size INTEGER NOT NULL,
        made INTEGER NOT NULL,
        used INTEGER NOT NULL,
        uses INTEGER NOT NULL
    );
    CREATE TABLE build_context_parts (
        number INTEGER PRIMARY KEY,
        digests BLOB NOT NULL
    );
    CREATE TABLE cache_mounts (
        key TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        size INTEGER NOT NULL,
        made INTEGER NOT NULL,
        used INTEGER NOT NULL,
        uses INTEGER NOT NULL
    ) WITHOUT ROWID;
",
];

/// The version that this program reads and writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

#[cfg(test)]
mod tests {
    use super::*;

    /// A step that is changed or moved after its release is never made in databases that are past its number, or is made in
    /// them twice: "table … already exists". Add the line of a new step; never change one.
    #[test]
    fn steps_stay_what_they_were_when_they_were_released() {
        let short =
            |step: &&str| oci::Digest::of(step.as_bytes()).to_string()["sha256:".len()..][..16].to_owned();
        let found: Vec<String> = MIGRATIONS.iter().map(short).collect();
        assert_eq!(found, RELEASED);
    }

    const RELEASED: [&str; 11] = [
        "d37bbd3c76de2ee5",
        "4bcf017b2531b33b",
        "75c703ccb52e5f69",
        "f84dffb1670340f8",
        "d7f6bcdf298f22bf",
        "48d94ab2e946e9c0",
        "c0ccba438e4d2243",
        "f6203d80749545f8",
        "41ef2c0ea2f5b90e",
        "01ac3967a970382c",
        "669caa3a86d77773",
    ];
}
