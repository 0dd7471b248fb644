//! Callers that are killed at any moment: what they leave is whole, or is garbage that the next one removes.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::*;
use engine::info::Status;
use engine::request::{List, Remove};
use monitor::AttachStdio;

/// A child makes, runs, and removes containers as fast as it can. After each kill everything that is listed can
/// be started and removed, and nothing is left that is not listed.
#[test]
fn a_killed_caller_leaves_nothing_that_cannot_be_cleaned_up() {
    // The child is this test again.
    if let Some(base) = std::env::var_os("SKIFF_ENGINE_TEST") {
        return child_works_until_killed(base.as_ref());
    }
    let fixture = Fixture::new();
    for round in 0..20_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "a_killed_caller_leaves_nothing_that_cannot_be_cleaned_up"])
            .env("SKIFF_ENGINE_TEST", &fixture.base)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).any(|line| line.contains("ready"));
        assert!(ready, "the child did not begin");
        std::thread::sleep(Duration::from_micros(500 + round * 1543 % 23_000));
        child.kill().unwrap();
        child.wait().unwrap();
        check(&fixture);
    }
}

fn check(fixture: &Fixture) {
    let engine = fixture.again();
    let all = List { all: true, last: None };
    // What its monitors are about to finish, they finish.
    eventually("nothing is on its way any more", || {
        let listed = engine.list(&all).unwrap();
        listed.iter().all(|container| {
            let lock = monitor::status::lock_held(&fixture.base.join("run").join(container.id.as_str()));
            container.state.status == Status::Running || !lock.unwrap()
        })
    });
    for container in engine.list(&all).unwrap() {
        let id = container.id.as_str();
        match engine.inspect(id) {
            Ok(_) | Err(engine::Error::NoSuchContainer { .. }) => {}
            Err(error) => panic!("{}", chain(&error)),
        }
        if container.state.status != Status::Running {
            match engine.start(id, None) {
                // A monitor that the child had just started may be as fast as we are, and its `--rm` come first.
                Ok(_)
                | Err(engine::Error::NoSuchContainer { .. } | engine::Error::RemovedMeanwhile { .. }) => {}
                Err(error) => panic!("{}", chain(&error)),
            }
        }
        match engine.remove(id, &Remove { force: true, ..Remove::default() }) {
            // With `--rm` it may have been faster.
            Ok(()) | Err(engine::Error::NoSuchContainer { .. }) => {}
            Err(error) => panic!("{}", chain(&error)),
        }
    }
    assert!(engine.list(&all).unwrap().is_empty());
    eventually("nothing lies on disk", || {
        // Monitors remove what they removed from the records a moment before.
        drop(engine.list(&all));
        std::fs::read_dir(fixture.base.join("root/containers")).unwrap().count() == 0
    });
}

fn child_works_until_killed(base: &Path) {
    let engine = engine::Engine::open(config(base, None)).unwrap();
    println!("ready");
    for number in 0.. {
        let mut request = Fixture::shell(if number % 2 == 0 { "exit 3" } else { "sleep 1000" });
        request.host.auto_remove = number % 3 == 0;
        match number % 4 {
            0 => {
                let mut started = engine.run(&request, Some(AttachStdio::default())).unwrap();
                let ended = started.running.wait_exit().unwrap();
                engine.ended(&started.id, ended).unwrap();
            }
            1 => {
                let id = engine.run(&request, None).unwrap().id;
                engine.remove(id.as_str(), &Remove { force: true, ..Remove::default() }).unwrap();
            }
            2 => drop(engine.create(&request).unwrap()),
            _ => drop(engine.run(&request, None).unwrap()),
        }
    }
}
