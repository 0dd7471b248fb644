//! What is written down at the end of a container, and what is removed, whoever dies meanwhile.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::path::{Path, PathBuf};

use common::*;
use monitor::{Exit, MonitorPlan};
use oci::{ContainerId, ContainerName, Digest, Platform, Timestamp};
use state::{ImageRecord, NewContainer, State};

/// A harbour with a database that knows the container.
struct Books {
    harbour: Harbour,
    id: ContainerId,
}

impl Books {
    fn new() -> Books {
        let harbour = Harbour::new();
        let id: ContainerId = harbour.id.parse().unwrap();
        let books = Books { harbour, id };
        let state = books.state();
        let image = ImageRecord {
            id: Digest::of(b"image"),
            manifest: None,
            repositories: Vec::new(),
            digests: Vec::new(),
            platform: Platform::host(),
            created: None,
            stored: Timestamp::EPOCH,
            size: 0,
            layers: Vec::new(),
            attached: Vec::new(),
        };
        state.put_image(&image, &[]).unwrap();
        let name: ContainerName = "boat".parse().unwrap();
        let new = NewContainer {
            id: &books.id,
            name: &name,
            image: &image.id,
            created: Timestamp::EPOCH,
            pool: None,
            summary: "{}",
            spec: "{}",
        };
        state.create_container(&new).unwrap();
        books
    }

    fn database(&self) -> PathBuf {
        self.harbour.path.join("state.db")
    }

    fn state(&self) -> State {
        State::open_file(&self.database()).unwrap()
    }

    fn plan(&self, script: &str) -> MonitorPlan {
        let mut plan = self.harbour.script(script);
        plan.database = Some(self.database());
        plan.event_log = Some(self.harbour.path.join("events.log"));
        plan
    }

    fn recorded(&self) -> Option<Exit> {
        let record = self.state().container(&self.id).unwrap()?;
        record.head.exit.as_ref().map(Exit::from)
    }

    fn exists(&self) -> bool {
        self.state().has_container(&self.id).unwrap()
    }

    fn events(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.harbour.path.join("events.log")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<state::Event>(line).unwrap())
            .map(|event| {
                let attributes = &event.actor.attributes;
                let code = attributes.get("exitCode").map_or(String::new(), |code| format!(" {code}"));
                assert_eq!(attributes["image"], "busybox");
                event.action + &code
            })
            .collect()
    }
}

#[test]
fn the_exit_is_in_the_database_before_anyone_hears_of_it() {
    let books = Books::new();
    let mut running = books.harbour.start(&books.plan("exit 7"));
    let exit = running.wait_exit().unwrap().exit().clone();
    assert_eq!(exit.code, 7);
    assert_eq!(books.recorded(), Some(exit));
    assert_eq!(books.events(), ["start", "die 7"]);
}

#[test]
fn a_failed_start_is_recorded_with_its_reason() {
    let books = Books::new();
    let mut plan = books.plan("");
    plan.launch.process.args = vec!["missing".into()];
    monitor::spawn(Path::new(MONITOR), &plan, None).unwrap().wait_running().unwrap_err();
    let exit = books.recorded().unwrap();
    assert_eq!((exit.code, exit.started_at_ns), (127, None));
    assert!(exit.error.unwrap().contains("missing"));
}

#[test]
fn a_container_that_removes_itself_is_removed_by_the_monitor_of_a_detached_caller() {
    let books = Books::new();
    let mut plan = books.plan("echo up; sleep 1000");
    plan.auto_remove = true;
    drop(books.harbour.start(&plan));
    books.harbour.wait_logged("up");
    let mut connection = books.harbour.connect();
    connection.signal(9).unwrap();
    // Whoever waits is told when it is gone.
    assert_eq!(connection.wait().unwrap().exit().code, 137);
    assert!(!books.exists());
    assert!(!books.harbour.container_dir().exists());
    assert_eq!(books.events().last().unwrap(), "destroy");
}

#[test]
fn a_caller_that_dies_at_the_exit_leaves_the_removal_to_the_monitor() {
    let books = Books::new();
    let mut plan = books.plan("exit 0");
    plan.auto_remove = true;
    let mut running = books.harbour.start(&plan);
    // It was told of the exit, and dies before it removes anything.
    let ended = running.wait_exit().unwrap();
    assert!(books.exists());
    drop((ended, running));
    books.harbour.wait_vacated();
    assert!(!books.exists());
    assert!(!books.harbour.container_dir().exists());
}

#[test]
fn a_caller_that_removes_the_container_itself_is_believed() {
    let books = Books::new();
    let mut plan = books.plan("exit 3");
    plan.auto_remove = true;
    let mut running = books.harbour.start(&plan);
    let ended = running.wait_exit().unwrap();
    assert_eq!(ended.removed().code, 3);
    books.harbour.wait_vacated();
    // The monitor did nothing: what the caller claims to have removed is still there.
    assert!(books.exists());
    assert_eq!(books.events(), ["start", "die 3"]);
}

#[test]
fn a_failed_start_of_a_container_that_removes_itself_leaves_nothing() {
    let books = Books::new();
    let mut plan = books.plan("");
    plan.auto_remove = true;
    plan.launch.process.args = vec!["missing".into()];
    monitor::spawn(Path::new(MONITOR), &plan, None).unwrap().wait_running().unwrap_err();
    assert!(!books.exists());
    assert!(!books.harbour.container_dir().exists());
    assert!(!books.harbour.run_dir().exists());
}

#[test]
fn an_exit_that_cannot_be_recorded_waits_for_the_next_observer() {
    let books = Books::new();
    let mut plan = books.plan("exit 6");
    std::fs::create_dir(books.harbour.path.join("no-database")).unwrap();
    plan.database = Some(books.harbour.path.join("no-database"));
    let mut running = books.harbour.start(&plan);
    let exit = running.wait_exit().unwrap().exit().clone();
    drop(running);
    let run_dir = books.harbour.run_dir();
    wait_until("the lock is free", || !monitor::status::lock_held(&run_dir).unwrap());
    let status = books.harbour.status();
    let observed = monitor::observe(false, false, Some(&status), books.recorded().as_ref());
    assert_eq!(observed, monitor::Observed::Exited { exit: exit.clone(), unrecorded: true });
    let reaped = monitor::reap_lost(&run_dir, None).unwrap().unwrap();
    books.state().record_exit(&books.id, &reaped.exit().into()).unwrap();
    assert_eq!(books.recorded(), Some(exit));
    reaped.recorded().unwrap();
}
