//! The event log: whole lines from any number of writers, and an end to its growth.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests handle their own files and may fail"
)]

mod common;

use common::Scratch;
use state::{Event, EventLog};

#[test]
fn lines_of_many_writers_stay_whole_and_nothing_is_lost() {
    let run = Scratch::new();
    std::fs::create_dir(&run.path).unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let log = EventLog::new(&run.path);
            std::thread::spawn(move || {
                for number in 0..200 {
                    let id = format!("{writer}-{number}");
                    log.append(&Event::new(
                        "container",
                        "start",
                        &id,
                        &[("image", "busybox"), ("name", "x")],
                    ))
                    .unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let text = std::fs::read_to_string(run.path.join("events.log")).unwrap();
    let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.actor.id.clone()).collect();
    assert_eq!((events.len(), ids.len()), (1600, 1600));
    assert_eq!(events[0].actor.attributes["image"], "busybox");
    assert_eq!((events[0].scope.as_str(), events[0].time), ("local", events[0].time_nano / 1_000_000_000));
    assert!(
        text.starts_with("{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":"),
        "{}",
        &text[..80]
    );
}

#[test]
fn a_log_that_has_grown_is_put_aside() {
    let run = Scratch::new();
    std::fs::create_dir(&run.path).unwrap();
    let log = EventLog::new(&run.path);
    let long = "x".repeat(1 << 20);
    for _ in 0..6 {
        log.append(&Event::new("container", "start", "id", &[("long", &long)])).unwrap();
    }
    let lines = |name: &str| std::fs::read_to_string(run.path.join(name)).unwrap().lines().count();
    assert_eq!((lines("events.log.1"), lines("events.log")), (4, 2));
}

#[test]
fn a_log_that_is_a_link_is_not_followed() {
    let run = Scratch::new();
    std::fs::create_dir(&run.path).unwrap();
    std::os::unix::fs::symlink("elsewhere", run.path.join("events.log")).unwrap();
    let error = EventLog::new(&run.path).append(&Event::new("container", "die", "id", &[])).unwrap_err();
    assert_eq!(error.to_string(), "write to the event log");
    assert!(!run.path.join("elsewhere").exists());
}
