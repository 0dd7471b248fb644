//! What is kept of what a container prints.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use std::path::{Path, PathBuf};

use super::*;
use crate::plan::{LogFiles, LogFormat};

struct Scratch(testkit::Scratch);

impl Scratch {
    fn new() -> Scratch {
        Scratch(testkit::Scratch::new())
    }

    fn path(&self) -> PathBuf {
        self.0.join("log.json")
    }
}

fn files(scratch: &Scratch, max_size: u64, max_files: u32) -> LogFiles {
    let files = LogPlan::new(scratch.path()).files.unwrap();
    LogFiles { max_size, max_files, ..files }
}

fn open_with(files: LogFiles) -> Log {
    Log::open(LogPlan { files: Some(files), receiver: None, buffer: None }).unwrap()
}

fn open(scratch: &Scratch, max_size: u64, max_files: u32) -> Log {
    open_with(files(scratch, max_size, max_files))
}

fn messages(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| format!("{} {}", line["stream"].as_str().unwrap(), line["log"].as_str().unwrap()))
        .collect()
}

#[test]
fn streams_are_kept_line_by_line_and_a_rest_without_line_end_last() {
    let scratch = Scratch::new();
    let mut log = Log::open(LogPlan::new(scratch.path())).unwrap();
    let (mut out, mut err) = (Lines::default(), Lines::default());
    log.write(Source::Stdout, &mut out, b"one\ntw");
    log.write(Source::Stderr, &mut err, b"bad\n");
    log.write(Source::Stdout, &mut out, b"o\nthree");
    log.finish(Source::Stdout, &mut out);
    log.finish(Source::Stderr, &mut err);
    assert_eq!(messages(&scratch.path()), ["stdout one\n", "stderr bad\n", "stdout two\n", "stdout three"]);
}

#[test]
fn files_rotate_within_their_bounds_and_lose_only_the_oldest_lines() {
    let scratch = Scratch::new();
    let mut log = open(&scratch, 1000, 3);
    let mut lines = Lines::default();
    for number in 0..100 {
        log.write(Source::Stdout, &mut lines, format!("line {number}\n").as_bytes());
    }
    let mut kept = Vec::new();
    for name in ["log.json.2", "log.json.1", "log.json"] {
        let path = scratch.0.join(name);
        assert!(std::fs::metadata(&path).unwrap().len() <= 1000, "{name}");
        kept.extend(messages(&path));
    }
    let expected: Vec<String> =
        (100 - kept.len()..100).map(|number| format!("stdout line {number}\n")).collect();
    assert_eq!(kept, expected);
    assert!(kept.len() > 20, "{}", kept.len());
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 3);
}

#[test]
fn one_file_alone_starts_over() {
    let scratch = Scratch::new();
    let mut log = open(&scratch, 300, 1);
    let mut lines = Lines::default();
    for number in 0..10 {
        log.write(Source::Stdout, &mut lines, format!("line {number}\n").as_bytes());
    }
    assert_eq!(messages(&scratch.path()).last().unwrap(), "stdout line 9\n");
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 1);
}

#[test]
fn a_line_longer_than_a_file_has_one_to_itself() {
    let scratch = Scratch::new();
    let mut log = open(&scratch, 100, 3);
    let mut lines = Lines::default();
    log.write(Source::Stdout, &mut lines, b"short\n");
    let long = format!("{}\n", "x".repeat(5000));
    log.write(Source::Stdout, &mut lines, long.as_bytes());
    assert_eq!(messages(&scratch.path()), [format!("stdout {long}")]);
    assert_eq!(messages(&scratch.0.join("log.json.1")), ["stdout short\n"]);
}

#[test]
fn what_cannot_be_written_is_counted_and_later_lines_are_kept() {
    let scratch = Scratch::new();
    let path = scratch.0.join("dir/log.json");
    let mut log = Log::open(LogPlan::new(path.clone())).unwrap();
    let mut lines = Lines::default();
    log.write(Source::Stdout, &mut lines, b"a\nb\n");
    assert_eq!(log.dropped_lines(), 2);
    std::fs::create_dir(scratch.0.join("dir")).unwrap();
    log.write(Source::Stdout, &mut lines, b"c\n");
    assert_eq!(messages(&path), ["stdout c\n"]);
    assert_eq!(log.dropped_lines(), 2);
}

#[test]
fn an_earlier_runs_log_is_continued() {
    let scratch = Scratch::new();
    for run in ["first\n", "second\n"] {
        let mut log = Log::open(LogPlan::new(scratch.path())).unwrap();
        log.write(Source::Stdout, &mut Lines::default(), run.as_bytes());
    }
    assert_eq!(messages(&scratch.path()), ["stdout first\n", "stdout second\n"]);
}

#[test]
fn a_torn_last_line_does_not_take_the_next_one_with_it() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path(), "{\"log\":\"to").unwrap();
    open(&scratch, 0, 1).write(Source::Stdout, &mut Lines::default(), b"next\n");
    let text = std::fs::read_to_string(scratch.path()).unwrap();
    let (torn, next) = text.split_once('\n').unwrap();
    assert_eq!(torn, "{\"log\":\"to");
    assert!(next.starts_with("{\"log\":\"next\\n\""), "{next}");
}

fn unpacked(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_rotated_away_is_compressed_a_little_at_a_time() {
    let scratch = Scratch::new();
    let mut log = open_with(LogFiles { compress: true, ..files(&scratch, 4 << 20, 3) });
    let mut lines = Lines::default();
    let mut said = Vec::new();
    for number in 0..60_000 {
        said.extend_from_slice(format!("line {number}\n").as_bytes());
    }
    log.write(Source::Stdout, &mut lines, &said);
    let mut turns = 0;
    while log.is_busy() {
        assert!(scratch.0.join("log.json.1").exists(), "it is there until the other is whole");
        log.work(0);
        turns += 1;
    }
    assert!(turns > 10, "{turns}");
    assert!(!scratch.0.join("log.json.1").exists());
    let first = unpacked(&scratch.0.join("log.json.1.gz"));
    assert!(first.len() <= 4 << 20 && first.starts_with(b"{\"log\":\"line 0\\n\""));
    let second = std::fs::read(scratch.path()).unwrap();
    let all = [first, second].concat();
    assert_eq!(all.iter().filter(|&&byte| byte == b'\n').count(), 60_000);
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 2);
}

#[test]
fn small_files_are_compressed_as_fast_as_they_fill() {
    let scratch = Scratch::new();
    let mut log = open_with(LogFiles { compress: true, ..files(&scratch, 1000, 4) });
    let said: String = (0..500).map(|number| format!("line {number}\n")).collect();
    log.write(Source::Stdout, &mut Lines::default(), said.as_bytes());
    while log.is_busy() {
        log.work(0);
    }
    let mut names: Vec<String> = std::fs::read_dir(&scratch.0)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["log.json", "log.json.1.gz", "log.json.2.gz", "log.json.3.gz"]);
}

#[test]
fn compressing_that_was_interrupted_is_done_by_the_next_run() {
    let scratch = Scratch::new();
    std::fs::write(scratch.0.join("log.json.1"), "old\n").unwrap();
    std::fs::write(scratch.0.join("log.json.gz.new"), "half").unwrap();
    let mut log = open_with(LogFiles { compress: true, ..files(&scratch, 1000, 3) });
    while log.is_busy() {
        log.work(0);
    }
    assert_eq!(unpacked(&scratch.0.join("log.json.1.gz")), b"old\n");
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 2);
}

#[test]
fn a_local_log_keeps_whole_entries() {
    let scratch = Scratch::new();
    let mut log = open_with(LogFiles { format: LogFormat::Local, ..files(&scratch, 300, 2) });
    let said: String = (0..100).map(|number| format!("line {number}\n")).collect();
    log.write(Source::Stderr, &mut Lines::default(), said.as_bytes());
    for name in ["log.json", "log.json.1"] {
        let written = std::fs::read(scratch.0.join(name)).unwrap();
        assert!(!written.is_empty() && written.len() <= 300);
        assert_eq!(local::whole(&written), written.len(), "{name}");
    }
}
