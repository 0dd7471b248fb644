//! Many processes that open a root for the first time at one instant, some of which are killed on the way.
//!
//! Whatever they began with (nothing, an empty file, a database of the first version, or one that is removed meanwhile), those that
//! live find one database with all tables, made once.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::*;
use rustix::fs::{FlockOperation, flock};
use state::State;

/// How often; a longer storm is asked for by the environment.
const ROUNDS: u32 = 24;
/// Processes of a round, half of which are killed.
const OPENERS: u8 = 8;

/// Opens the root that the environment names, once the gate is open, and writes what the parent then looks for.
fn serve_as_child(test: impl Fn(&Path, u8)) -> bool {
    let Some(root) = std::env::var_os("SKIFF_STATE_TEST").map(PathBuf::from) else { return false };
    let number = std::env::var("SKIFF_STATE_ROUND").unwrap().parse().unwrap();
    flock(File::open(root.with_extension("gate")).unwrap(), FlockOperation::LockShared).unwrap();
    test(&root, number);
    true
}

fn child(test: &str, root: &Path, number: u8) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("SKIFF_STATE_TEST", root)
        .env("SKIFF_STATE_ROUND", number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Tables and columns of the database, and its version.
fn shape(root: &Path) -> (Vec<String>, i64) {
    let connection = rusqlite::Connection::open(root.join("state.db")).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let sql = "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' ORDER BY 1";
    let mut columns = connection.prepare(sql).unwrap();
    let columns = columns.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    (columns, connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap())
}

fn put_own_image(root: &Path, number: u8) {
    put_image(&State::open(root).unwrap(), &[number]);
}

#[test]
fn many_openers_of_a_new_root_make_one_database_though_some_are_killed() {
    if serve_as_child(put_own_image) {
        return;
    }
    let model = Scratch::new();
    drop(model.state());
    let model = shape(&model.path);
    assert_eq!(model.1, state::SCHEMA_VERSION);
    let rounds = std::env::var("SKIFF_STATE_STORM").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let root = Scratch::new();
        match round % 3 {
            0 => {}
            1 => {
                std::fs::create_dir(&root.path).unwrap();
                std::fs::write(root.path.join("state.db"), "").unwrap();
            }
            _ => {
                drop(root.state());
                as_the_first_version_had_it(&root.path);
            }
        }
        let gate = File::create(root.path.with_extension("gate")).unwrap();
        flock(&gate, FlockOperation::LockExclusive).unwrap();
        let name = "many_openers_of_a_new_root_make_one_database_though_some_are_killed";
        let mut openers: Vec<Child> = (0..OPENERS).map(|number| child(name, &root.path, number)).collect();
        for opener in &openers {
            wait_until_it_waits_at_the_gate(opener);
        }
        drop(gate);
        for (number, opener) in (0_u32..).zip(openers.iter_mut().step_by(2)) {
            // Spread over the while that setting up takes, another way in each round.
            std::thread::sleep(Duration::from_micros(u64::from((round * 7 + number * 11) % 32) * 500));
            opener.kill().unwrap();
        }
        for (number, opener) in (0..).zip(openers) {
            let output = opener.wait_with_output().unwrap();
            if number % 2 == 1 {
                assert!(output.status.success(), "round {round}: {output:?}");
                assert!(root.state().image(&oci::Digest::of(&[number])).unwrap().is_some(), "round {round}");
            }
        }
        assert_eq!(shape(&root.path), model, "round {round}");
        // A database that was half made would lie beside.
        assert!(!root.path.join("state.db-new").exists(), "round {round}");
    }
}

/// Until a lock is what it waits for.
fn wait_until_it_waits_at_the_gate(opener: &Child) {
    let what = format!("/proc/{}/task", opener.id());
    testkit::wait_until("an opener at the gate", || {
        std::fs::read_dir(&what).unwrap().flatten().any(|task| {
            let call = std::fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
            call.split(' ').next() == Some(FLOCK)
        })
    });
}

/// The number of flock(2), as `/proc` prints it.
const FLOCK: &str = if cfg!(target_arch = "x86_64") { "73" } else { "32" };

#[test]
fn a_root_that_is_removed_while_it_is_made_is_made_whole() {
    if serve_as_child(|root, _| {
        for _ in 0..40 {
            // To open what is removed under its feet may fail. To make what another makes at the same time must not.
            if let Err(error) = State::open(root) {
                assert!(!chain(&error).contains("already exists"), "{}", chain(&error));
            }
        }
    }) {
        return;
    }
    for _ in 0..4 {
        let root = Scratch::new();
        drop(File::create(root.path.with_extension("gate")).unwrap());
        let name = "a_root_that_is_removed_while_it_is_made_is_made_whole";
        let mut openers: Vec<Child> = (0..4).map(|number| child(name, &root.path, number)).collect();
        while openers.iter_mut().any(|opener| opener.try_wait().unwrap().is_none()) {
            drop(std::fs::remove_dir_all(&root.path));
        }
        for opener in openers {
            let output = opener.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        drop(std::fs::remove_dir_all(&root.path));
        drop(root.state());
        assert_eq!(shape(&root.path).1, state::SCHEMA_VERSION);
    }
}
