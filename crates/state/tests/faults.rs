//! The database when things go wrong: damaged, locked, read-only, full, newer; and writers that are killed.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::*;
use state::{Error, State};

/// Tests that need another process start themselves again, with this in the environment.
fn child_root() -> Option<PathBuf> {
    std::env::var_os("SKIFF_STATE_TEST").map(PathBuf::from)
}

#[test]
fn what_is_no_database_is_named_as_damaged() {
    let root = Scratch::new();
    std::fs::create_dir(&root.path).unwrap();
    std::fs::write(root.path.join("state.db"), "x".repeat(8192)).unwrap();
    let error = State::open(&root.path).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{}", chain(&error));
    assert!(error.to_string().contains("state.db is damaged: restore it"), "{error}");
}

#[test]
fn a_truncated_or_scribbled_database_is_an_error_and_never_a_panic() {
    for cut in [1, 100, 1024, 2048, 5000, 9000] {
        let root = filled();
        let file = std::fs::OpenOptions::new().write(true).open(root.path.join("state.db")).unwrap();
        file.set_len(cut).unwrap();
        expect_failure(&root, &format!("cut to {cut}"));
    }
    for page in 1..6_u64 {
        let root = filled();
        let mut file = std::fs::OpenOptions::new().write(true).open(root.path.join("state.db")).unwrap();
        file.seek(SeekFrom::Start(page * 2048)).unwrap();
        file.write_all(&[0xa5; 2048]).unwrap();
        drop(file);
        // A page that only some other query reads may go unnoticed by this one; a panic may not happen.
        if let Ok(state) = State::open(&root.path) {
            drop((state.containers(), state.images(), state.find_container("c1")));
        }
    }
}

fn filled() -> Scratch {
    let root = Scratch::new();
    let state = root.state();
    let image = put_image(&state, b"a");
    for number in 0..40 {
        create(&state, &image, &id(number, number), &format!("c{number}")).unwrap();
    }
    // All of it into the database itself, so that what is damaged there is missed.
    let connection = rusqlite::Connection::open(root.path.join("state.db")).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    root
}

fn expect_failure(root: &Scratch, what: &str) {
    let outcome = State::open(&root.path).and_then(|state| state.containers());
    let error = outcome.expect_err(what);
    assert!(matches!(error, Error::Damaged { .. } | Error::Statement { .. }), "{what}: {}", chain(&error));
}

#[test]
fn an_empty_file_becomes_a_database() {
    let root = Scratch::new();
    std::fs::create_dir(&root.path).unwrap();
    std::fs::write(root.path.join("state.db"), "").unwrap();
    assert!(State::open(&root.path).unwrap().containers().unwrap().is_empty());
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let root = filled();
    let connection = rusqlite::Connection::open(root.path.join("state.db")).unwrap();
    connection.pragma_update(None, "user_version", 1 << 20).unwrap();
    drop(connection);
    let error = State::open(&root.path).unwrap_err();
    let want = format!("newer than the {} known to this program: use the newer one", state::SCHEMA_VERSION);
    assert!(error.to_string().ends_with(&want), "{error}");
}

#[test]
fn an_older_schema_keeps_what_it_holds() {
    let root = filled();
    let state = root.state();
    let exit = exit_record(3);
    state.record_exit(&id(1, 1), &exit).unwrap();
    drop(state);
    as_the_first_version_had_it(&root.path);
    let state = root.state();
    assert_eq!(state.is_being_removed(&id(1, 1)).unwrap(), Some(false));
    let found = state.exit(&id(1, 1)).unwrap().unwrap();
    let asked = state::Asked::Nobody;
    assert_eq!(found, state::ExitRecord { asked, restarts: 0, log_lines_lost: 0, ..exit });
    assert!(state.image_uses().unwrap().is_empty());
    let layer = oci::DiffId::try_from(oci::Digest::of(b"")).unwrap();
    assert!(state.sources_of(&layer).unwrap().is_empty());
}

#[test]
fn a_writer_that_never_ends_is_told_as_locked() {
    let root = filled();
    let other = rusqlite::Connection::open(root.path.join("state.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let state = root.state();
    assert_eq!(state.containers().unwrap().len(), 40, "readers do not wait");
    let error = state.remove_container(&id(1, 1)).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{}", chain(&error));
    other.execute_batch("COMMIT").unwrap();
    assert!(state.remove_container(&id(1, 1)).unwrap());
}

#[test]
fn a_root_that_is_a_file_is_named() {
    let root = Scratch::new();
    std::fs::write(&root.path, "").unwrap();
    let text = chain(&State::open(&root.path).unwrap_err());
    assert!(text.contains(&*root.path.to_string_lossy()), "{text}");
    std::fs::remove_file(&root.path).unwrap();
}

#[test]
fn a_database_on_a_read_only_directory_says_so() {
    if let Some(root) = child_root() {
        return child_writes_once(&root);
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "this test needs root: it mounts in its own mount namespace"
    );
    let root = filled();
    let helper = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec \"$2\" --exact --nocapture a_database_on_a_read_only_directory_says_so", "sh"])
        .arg(&root.path)
        .arg(helper)
        .env("SKIFF_STATE_TEST", &root.path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("cannot be written: check its owner") || text.contains("open the database"),
        "{text}"
    );
    assert!(text.contains("state.db"), "{text}");
}

fn child_writes_once(root: &Path) {
    let outcome = State::open(root).and_then(|state| state.remove_container(&id(1, 1)));
    println!("outcome {}", chain(&outcome.unwrap_err()));
}

/// Children write containers and exits as fast as they can and say when each is committed; killed at any
/// moment, what they said is there, what is there is whole, and the next writer goes on.
#[test]
fn a_killed_writer_loses_nothing_it_has_said_and_blocks_nobody() {
    if let Some(root) = child_root() {
        return child_writes_until_killed(&root);
    }
    let root = Scratch::new();
    let state = root.state();
    put_image(&state, b"a");
    let mut said = Vec::new();
    for round in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "a_killed_writer_loses_nothing_it_has_said_and_blocks_nobody"])
            .env("SKIFF_STATE_TEST", &root.path)
            .env("SKIFF_STATE_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.by_ref().map(Result::unwrap).find(|line| line.contains("committed ")).unwrap();
        std::thread::sleep(Duration::from_micros(200 + round * 211 % 4000));
        child.kill().unwrap();
        child.wait().unwrap();
        // A line that the kill cut short was not said.
        let rest = lines.map_while(Result::ok).filter(|line| line.ends_with('.'));
        said.extend(
            [first]
                .into_iter()
                .chain(rest)
                .filter_map(|line| Some(line.split_once("committed ")?.1.trim_end_matches('.').to_owned())),
        );
        create(
            &state,
            &oci::Digest::of(b"a"),
            &id(200, u8::try_from(round).unwrap()),
            &format!("after{round}"),
        )
        .unwrap();
    }
    let known: Vec<_> = state.containers().unwrap();
    for name in &said {
        let head =
            known.iter().find(|head| head.name.as_str() == name).unwrap_or_else(|| panic!("{name} is lost"));
        assert!(head.exit.is_some(), "{name} has lost its exit");
    }
    assert!(said.len() > 25, "{} commits", said.len());
    // Created and exited in one transaction each: a row without an exit is one whose second never committed.
    let halves =
        known.iter().filter(|head| head.exit.is_none() && !head.name.as_str().starts_with("after")).count();
    assert!(halves <= 25, "{halves}");
    let check: String = rusqlite::Connection::open(root.path.join("state.db"))
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

fn child_writes_until_killed(root: &Path) {
    let round: u8 = std::env::var("SKIFF_STATE_ROUND").unwrap().parse().unwrap();
    let image = oci::Digest::of(b"a");
    for number in 0..=255 {
        let state = State::open(root).unwrap();
        let name = format!("r{round}n{number}");
        create(&state, &image, &id(round, number), &name).unwrap();
        state.record_exit(&id(round, number), &exit_record(0)).unwrap();
        println!("committed {name}.");
        std::io::stdout().flush().unwrap();
        if number % 8 == 0 {
            State::tidy(&root.join("state.db")).unwrap();
        }
    }
    std::thread::sleep(Duration::from_secs(10));
}

#[test]
fn many_processes_write_at_once() {
    if let Some(root) = child_root() {
        return child_writes_ten(&root);
    }
    let root = Scratch::new();
    let state = root.state();
    put_image(&state, b"a");
    let children: Vec<_> = (100..116_u8)
        .map(|round| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture", "many_processes_write_at_once"])
                .env("SKIFF_STATE_TEST", &root.path)
                .env("SKIFF_STATE_ROUND", round.to_string())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let heads = state.containers().unwrap();
    assert_eq!(heads.len(), 160);
    let bases: std::collections::BTreeSet<_> = heads.iter().map(|head| head.id_base).collect();
    assert_eq!(bases.len(), 160, "two containers share a range");
}

fn child_writes_ten(root: &Path) {
    let round: u8 = std::env::var("SKIFF_STATE_ROUND").unwrap().parse().unwrap();
    for number in 0..10 {
        let state = State::open(root).unwrap();
        create(&state, &oci::Digest::of(b"a"), &id(round, number), &format!("r{round}n{number}")).unwrap();
    }
}

#[test]
fn first_openers_meet_without_harm() {
    for _ in 0..10 {
        let root = Scratch::new();
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let path = root.path.clone();
                std::thread::spawn(move || {
                    State::open(&path).and_then(|state| state.containers()).map(|c| c.len())
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap().map_err(|error| chain(&error)), Ok(0));
        }
    }
}

#[test]
fn while_somebody_shares_the_index_opening_needs_no_space() {
    let disk = testkit::Disk::new(16);
    let root = disk.path().join("root");
    let database = root.join("state.db");
    assert!(State::share_index(&database).is_none(), "there is no database");
    let state = State::open(&root).unwrap();
    let image = put_image(&state, b"before");
    let share = State::share_index(&database).expect("it is open");
    drop(state);
    disk.fill();
    for _ in 0..3 {
        assert!(State::open(&root).unwrap().image(&image).unwrap().is_some());
    }
    assert!(root.join("reserve").exists());

    drop(share);
    assert!(State::share_index(&database).is_none(), "nobody has it: it may be of another time");
    assert!(State::open(&root).unwrap().image(&image).unwrap().is_some());
}

#[test]
fn an_index_that_is_shared_shows_what_others_write() {
    let root = Scratch::new();
    let state = root.state();
    let image = put_image(&state, b"first");
    let share = State::share_index(&root.path.join("state.db")).expect("it is open");
    drop(state);
    for round in 0..300_u16 {
        let [first, last] = round.to_be_bytes();
        create(&root.state(), &image, &id(first, last), &format!("name-{round}")).unwrap();
    }
    assert_eq!(root.state().containers().unwrap().len(), 300);
    drop(share);
    assert_eq!(root.state().containers().unwrap().len(), 300);
}

#[test]
fn a_program_that_a_newer_one_has_overtaken_does_not_take_the_schema_back() {
    let root = filled();
    let state = root.state();
    let newer = state::SCHEMA_VERSION + 1;
    let connection = rusqlite::Connection::open(root.path.join("state.db")).unwrap();
    // So much that the log is folded back.
    let content = format!(
        "PRAGMA user_version = {newer}; CREATE TABLE more AS SELECT randomblob(50000000) AS content;"
    );
    connection.execute_batch(&content).unwrap();
    state.tidy_if_long();
    drop(state);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(found, newer);
    let log = root.path.join("state.db-wal").metadata().map_or(0, |log| log.len());
    assert!(log < 1_000_000, "it was folded back: {log}");
}
