//! A database that cannot be used: what runs goes on, the error says what is the matter, and all is well once it is mended.

use std::process::Command;

use testkit::{Disk, Skiff, wait_until};

use crate::assert_sound;

fn with_a_container(skiff: &Skiff) {
    let count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done";
    skiff.ok(&["run", "-d", "--name", "one", "busybox", "sh", "-c", count]);
}

fn lines(skiff: &Skiff) -> usize {
    skiff.ok(&["logs", "one"]).lines().count()
}

fn python(script: &[&str], skiff: &Skiff) {
    let mut command = Command::new("python3");
    command.args(["-c", &script.join("\n")]).arg(skiff.root().join("state.db"));
    assert!(command.status().expect("this test needs python3").success());
}

fn assert_goes_on(skiff: &Skiff, before: usize) {
    wait_until("the container goes on", || lines(skiff) > before + 3);
}

#[test]
fn one_that_is_cut_short_is_named_and_the_container_outlives_it() {
    let skiff = Skiff::with_busybox();
    with_a_container(&skiff);
    let before = lines(&skiff);
    let database = skiff.root().join("state.db");
    // All of it into the database itself, so that what is cut off is missed.
    python(
        &["import sqlite3, sys", "sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)')"],
        &skiff,
    );
    let whole = std::fs::read(&database).unwrap();
    let put = |content: &[u8]| {
        for name in ["state.db-wal", "state.db-shm"] {
            drop(std::fs::remove_file(skiff.root().join(name)));
        }
        // In the place of, so that nobody's open file changes under them.
        let new = skiff.root().join("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(&new, &database).unwrap();
    };
    for length in [1, 100, 3000, whole.len() / 2, whole.len() - 2048] {
        put(&whole[..length]);
        let output = skiff.run(&["ps", "-a"]);
        assert!(output.code == 1 && output.stderr.contains("state.db is damaged"), "{length}: {output:?}");
    }
    put(&whole);
    assert_goes_on(&skiff, before);
    assert_eq!(skiff.ok(&["stop", "-t", "0", "one"]), "one\n");
    assert_sound(&skiff);
}

#[test]
fn one_that_somebody_keeps_locked_is_named_and_the_container_outlives_it() {
    let skiff = Skiff::with_busybox();
    with_a_container(&skiff);
    let before = lines(&skiff);
    let script = "import sqlite3, sys, time\n\
        c = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()";
    let mut holder = Command::new("python3")
        .args(["-c", script])
        .arg(skiff.root().join("state.db"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("this test needs python3");
    let mut said = [0; 7];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    // Reading is not held up, and writing gives up with the reason.
    assert_goes_on(&skiff, before);
    let output = skiff.run(&["create", "busybox"]);
    assert!(output.code == 1 && output.stderr.contains("locked by another process"), "{output:?}");
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    assert_sound(&skiff);
}

#[test]
fn one_on_a_read_only_file_system_is_named_and_works_again_later() {
    let disk = Disk::new(32);
    let skiff = Skiff::with_busybox_at(&disk.path());
    skiff.ok(&["create", "--name", "made", "busybox", "true"]);
    let remount = |options: &str| {
        let status = Command::new("mount").args(["-o", options]).arg(disk.path()).status().unwrap();
        assert!(status.success());
    };
    remount("remount,ro");
    let output = skiff.run(&["create", "busybox"]);
    assert!(output.code == 1 && output.stderr.contains("state.db cannot be written"), "{output:?}");
    // Where its index lies there already, it can be read.
    let output = skiff.run(&["ps", "-a", "--format", "{{.Names}}"]);
    assert!(output.stdout == "made\n" || output.stderr.contains("state.db cannot be written"), "{output:?}");
    remount("remount,rw");
    assert_eq!(skiff.ok(&["start", "-a", "made"]), "");
    assert_sound(&skiff);
}
