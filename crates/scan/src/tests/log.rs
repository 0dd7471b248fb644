//! What SQLite has in its log and not in its file, as SQLite itself writes both.

use proptest::prelude::*;

use super::{RPM, header, show_with};
use crate::{Inventory, log_of};

/// A database whose packages are in its log alone: its file, and the log after each of the steps.
fn logged(steps: &[&dyn Fn(&rusqlite::Connection)]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let scratch = testkit::Scratch::new();
    let path = scratch.join("rpmdb.sqlite");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let begin = "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;
        CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);
        PRAGMA wal_checkpoint(TRUNCATE);";
    connection.execute_batch(begin).unwrap();
    let file = linux::file::read(&path).unwrap();
    let log = |step: &&dyn Fn(&rusqlite::Connection)| {
        step(&connection);
        linux::file::read(&scratch.join("rpmdb.sqlite-wal")).unwrap()
    };
    let logs = steps.iter().map(log).collect();
    assert_eq!(linux::file::read(&path).unwrap(), file, "nothing may be brought into the file");
    (file, logs)
}

fn insert(connection: &rusqlite::Connection, name: &str) {
    // Of several sizes, so that some of it overflows.
    let header = header(name, "1", 0, name.len() * 900);
    connection.execute("INSERT INTO Packages (blob) VALUES (?1)", [header]).unwrap();
}

/// Makes the sums of a log right, so that what else is wrong in it is looked at.
fn sum(log: &mut [u8]) {
    let is_big = log[3] & 1 == 1;
    let word = |bytes: &[u8]| {
        let bytes: [u8; 4] = bytes.try_into().unwrap();
        if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let mut state = (0_u32, 0_u32);
    let add = |state: &mut (u32, u32), bytes: &[u8]| {
        for pair in bytes.chunks_exact(8) {
            state.0 = state.0.wrapping_add(word(&pair[..4])).wrapping_add(state.1);
            state.1 = state.1.wrapping_add(word(&pair[4..])).wrapping_add(state.0);
        }
    };
    let write = |log: &mut [u8], at: usize, state: (u32, u32)| {
        log[at..at + 4].copy_from_slice(&state.0.to_be_bytes());
        log[at + 4..at + 8].copy_from_slice(&state.1.to_be_bytes());
    };
    let salts = log[16..24].to_vec();
    add(&mut state, &log[..24]);
    write(log, 24, state);
    let mut place = 32;
    while place + 24 + 1024 <= log.len() {
        log[place + 8..place + 16].copy_from_slice(&salts);
        add(&mut state, &log[place..place + 8]);
        add(&mut state, &log[place + 24..place + 24 + 1024]);
        write(log, place + 16, state);
        place += 24 + 1024;
    }
}

fn names(file: &[u8], log: &[u8]) -> String {
    let mut inventory = Inventory::default();
    show_with(&mut inventory, RPM[0].0, file, Some(log), false);
    let found = inventory.finish();
    let names: Vec<&str> = found.packages.iter().map(|package| package.name.as_str()).collect();
    let bad = if found.passed_over.is_empty() { "" } else { "!" };
    names.join(" ") + bad
}

#[test]
fn packages_of_a_log_are_those_of_its_last_commit() {
    let (file, logs) = logged(&[
        &|db| insert(db, "one"),
        &|db| ["second", "third-one"].iter().for_each(|name| insert(db, name)),
        &|db| db.execute_batch("DELETE FROM Packages WHERE hnum = 1").unwrap(),
        // More than SQLite keeps in memory goes into the log before anybody has committed it.
        &|db| {
            db.execute_batch("PRAGMA cache_size=2; BEGIN").unwrap();
            (0..40).for_each(|number| insert(db, &format!("never{number}")));
        },
    ]);
    assert_eq!(names(&file, &[]), "", "the file alone has none of them");
    assert_eq!(names(&file, &logs[0]), "one");
    assert_eq!(names(&file, &logs[1]), "one second third-one");
    assert_eq!(names(&file, &logs[2]), "second third-one");
    assert!(logs[3].len() > logs[2].len() + 4096, "frames that were not committed");
    assert_eq!(names(&file, &logs[3]), "second third-one");
    // Cut off in the middle of a commit, it has what was committed before.
    let cut = logs[1].len() - 1;
    assert_eq!(names(&file, &logs[1][..cut]), "one second");
    // So it has behind a frame whose sum is wrong, whatever follows, and with other salts than the head's.
    for place in [logs[0].len() + 30, logs[0].len() + 8] {
        let mut damaged = logs[2].clone();
        damaged[place] ^= 1;
        assert_eq!(names(&file, &damaged), "one");
    }
    // A head that is not right makes it no log at all; with another version, SQLite would not open the database.
    let mut headless = logs[2].clone();
    headless[17] ^= 1;
    assert_eq!(names(&file, &headless), "");
    let mut unknown = logs[2].clone();
    unknown[7] ^= 1;
    sum(&mut unknown);
    assert_eq!(names(&file, &unknown), "!");
}

#[test]
fn a_log_that_begins_anew_has_old_frames_behind_its_own() {
    let (file, logs) = {
        let scratch = testkit::Scratch::new();
        let path = scratch.join("rpmdb.sqlite");
        let connection = rusqlite::Connection::open(&path).unwrap();
        let begin =
            "PRAGMA journal_mode=WAL; CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL);";
        connection.execute_batch(begin).unwrap();
        (0..200).for_each(|number| insert(&connection, &format!("p{number}")));
        connection
            .execute_batch("PRAGMA wal_checkpoint(RESTART); DELETE FROM Packages WHERE hnum <> 7")
            .unwrap();
        let read = |name: &str| linux::file::read(&scratch.join(name)).unwrap();
        (read("rpmdb.sqlite"), read("rpmdb.sqlite-wal"))
    };
    assert_eq!(names(&file, &[]).split(' ').count(), 200);
    assert_eq!(names(&file, &logs), "p6");
}

#[test]
fn a_log_lies_beside_its_database() {
    assert_eq!(log_of(RPM[0].0).unwrap(), "var/lib/rpm/rpmdb.sqlite-wal");
    assert_eq!(log_of(RPM[1].0), None);
    assert_eq!(log_of("home/rpmdb.sqlite"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_log_is_no_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), is_summed in any::<bool>()) {
        static MADE: std::sync::LazyLock<(Vec<u8>, Vec<Vec<u8>>)> =
            std::sync::LazyLock::new(|| logged(&[&|db| (0..5).for_each(|number| insert(db, &"p".repeat(number + 1)))]));
        let (file, logs) = &*MADE;
        let mut log = logs[0].clone();
        for (place, byte) in changes {
            let place = place.index(log.len());
            log[place] = byte;
        }
        if is_summed {
            sum(&mut log);
        }
        names(file, &log);
    }
}
