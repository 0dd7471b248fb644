//! `logs`: the lines of a container's log, across rotated files, and on as they come.
//!
//! The files of a log are `log.json` (being written), `log.json.1` (the one before), and so on. Rotation renames
//! each to the next number, so a file that is open stays what it was: the reader follows inodes, not names.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use linux::file::{self, Named};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use serde::Deserialize;

use crate::container::Container;
use crate::info::LogLine;
use crate::request::Logs;
use crate::{Engine, Error, Result, plan};

/// A line of a log is cut at 16 KiB by its writer, and may be six times that as JSON: longer is not a line.
const LINE_LIMIT: usize = 1 << 20;
/// How long nothing may happen before the container is looked at again.
const PATIENCE_NS: i64 = 250_000_000;

/// A line as it is kept.
#[derive(Deserialize)]
struct Entry {
    log: String,
    stream: String,
    time: oci::Timestamp,
}

impl Engine {
    /// Gives `sink` one line after another, until it says false or there are no more. While a log is followed and
    /// nothing comes, it is asked with None now and then.
    pub fn logs(
        &self,
        name: &str,
        request: &Logs,
        sink: &mut dyn FnMut(Option<LogLine>) -> bool,
    ) -> Result<()> {
        let found = self.container(name)?;
        if plan::log(&found.spec.host.log)?.is_none() {
            return Err(Error::NoLog);
        }
        let failed = |source| Error::File { action: "read the container's log", source };
        let path = self.directory(found.id()).join("log.json");
        // Watching begins before reading, so that nothing falls in between.
        let watch = if request.follow { Some(self.watch(&found).map_err(failed)?) } else { None };
        let mut reader = Reader::open(&path).map_err(failed)?;
        let mut filter = Filter { request, sink, done: false };
        match request.tail {
            None => reader.read_all(&mut |line| filter.pass(line)).map_err(failed)?,
            Some(count) => {
                for line in reader.last(count).map_err(failed)? {
                    filter.pass(&line);
                }
            }
        }
        let Some(watch) = watch else { return Ok(()) };
        while !filter.done {
            // In this order: what was written before it ended is read after that was seen.
            let ended = !self.is_alive(&found)?;
            reader.read_all(&mut |line| filter.pass(line)).map_err(failed)?;
            if ended {
                return Ok(());
            }
            watch.wait();
            filter.done |= !(filter.sink)(None);
        }
        Ok(())
    }

    fn is_alive(&self, found: &Container) -> Result<bool> {
        monitor::status::lock_held(&self.run_directory(found.id())).map_err(|source| Error::Monitor {
            action: "observe",
            id: found.id().clone(),
            source,
        })
    }

    fn watch(&self, found: &Container) -> file::Result<Watch> {
        let directory = self.directory(found.id());
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
            .named("watch", &directory)?;
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, &directory, flags).named("watch", &directory)?;
        // There only while it runs: its status is renamed into place, and all of it goes at the end.
        let ends =
            inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::DELETE | inotify::WatchFlags::DELETE_SELF;
        // Gone already is an end too, and is found out without being watched.
        let _: std::result::Result<i32, _> = inotify::add_watch(&watch, self.run_directory(found.id()), ends);
        Ok(Watch(watch))
    }
}

/// Something happened in the container's directories.
struct Watch(OwnedFd);

impl Watch {
    fn wait(&self) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: PATIENCE_NS };
        // Any outcome leads to another look.
        let _: std::result::Result<usize, _> =
            poll(&mut [PollFd::new(&self.0.as_fd(), PollFlags::IN)], Some(&timeout));
        let mut events = [0; 4096];
        while rustix::io::read(&self.0, &mut events).is_ok_and(|length| length > 0) {}
    }
}

/// Passes on what was asked for.
struct Filter<'a> {
    request: &'a Logs,
    sink: &'a mut dyn FnMut(Option<LogLine>) -> bool,
    done: bool,
}

impl Filter<'_> {
    /// Takes a line of a log file. One that is none, as a power loss may leave it, is passed over.
    fn pass(&mut self, line: &[u8]) {
        if self.done {
            return;
        }
        let Ok(Entry { log, stream, time }) = serde_json::from_slice(line) else { return };
        if self.request.since.is_some_and(|since| time < since) {
            return;
        }
        if self.request.until.is_some_and(|until| time > until) {
            self.done = true;
            return;
        }
        self.done = !(self.sink)(Some(LogLine { time, stderr: stream == "stderr", text: log }));
    }
}

/// Reads the files of a log in the order in which they were written.
struct Reader {
    path: PathBuf,
    /// Being read, then what comes after it; the last is being written.
    files: VecDeque<File>,
    /// What was read of a line that has not ended.
    rest: Vec<u8>,
}

impl Reader {
    fn open(path: &Path) -> file::Result<Reader> {
        let mut reader = Reader { path: path.to_owned(), files: VecDeque::new(), rest: Vec::new() };
        reader.files.extend(reader.written_after(None)?);
        Ok(reader)
    }

    /// The files written after the one that `newest` is, or all there are; oldest first.
    fn written_after(&self, newest: Option<(u64, u64)>) -> file::Result<Vec<File>> {
        let mut files = Vec::new();
        let mut seen: Vec<(u64, u64)> = newest.into_iter().collect();
        // Newest first: a rotation meanwhile shows one file twice, which is noticed, and never hides one.
        for number in 0.. {
            let Some(file) = open_numbered(&self.path, number)? else { break };
            let inode = inode_of(&file, &self.path)?;
            if Some(inode) == newest {
                break;
            }
            if !seen.contains(&inode) {
                seen.push(inode);
                files.push(file);
            }
        }
        files.reverse();
        Ok(files)
    }

    /// Every whole line up to the present end.
    fn read_all(&mut self, each: &mut dyn FnMut(&[u8])) -> file::Result<()> {
        loop {
            self.follow_rotation()?;
            let Some(current) = self.files.front_mut() else { return Ok(()) };
            drain(current, &mut self.rest, &self.path, each)?;
            if self.files.len() == 1 {
                return Ok(());
            }
            // Nobody writes to this one any more. What is left of a line has lost its end.
            self.rest.clear();
            self.files.pop_front();
        }
    }

    /// When the newest file that is open has got a number, those written after it are queued.
    fn follow_rotation(&mut self) -> file::Result<()> {
        let newest = self.files.back().map(|file| inode_of(file, &self.path)).transpose()?;
        let after = self.written_after(newest)?;
        self.files.extend(after);
        Ok(())
    }

    /// The last `count` lines. A line that was cut is one line.
    fn last(&mut self, count: usize) -> file::Result<VecDeque<Vec<u8>>> {
        let mut lines: VecDeque<Vec<u8>> = VecDeque::new();
        let mut ends = 0_usize;
        self.read_all(&mut |line| {
            if count == 0 {
                return;
            }
            // A line that begins now makes one too many when as many as are wanted have ended.
            if lines.back().is_some_and(|last| ends_line(last)) && ends >= count {
                while let Some(first) = lines.pop_front() {
                    if ends_line(&first) {
                        ends -= 1;
                        break;
                    }
                }
            }
            ends += usize::from(ends_line(line));
            lines.push_back(line.to_owned());
        })?;
        Ok(lines)
    }
}

/// Whether a line of the log ends a line of the program.
fn ends_line(line: &[u8]) -> bool {
    let end = br#"\n","stream":"#;
    line.windows(end.len()).any(|window| window == end)
}

/// Gives out every whole line from where the file stands.
fn drain(
    current: &mut File,
    rest: &mut Vec<u8>,
    path: &Path,
    each: &mut dyn FnMut(&[u8]),
) -> file::Result<()> {
    let mut chunk = vec![0; 64 << 10];
    loop {
        let length = current.read(&mut chunk).named("read", path)?;
        if length == 0 {
            return Ok(());
        }
        let mut new = &chunk[..length];
        while let Some(end) = new.iter().position(|byte| *byte == b'\n') {
            let (line, after) = new.split_at(end);
            new = &after[1..];
            if rest.is_empty() {
                each(line);
            } else {
                rest.extend_from_slice(line);
                each(rest);
                rest.clear();
            }
        }
        if rest.len() + new.len() <= LINE_LIMIT {
            rest.extend_from_slice(new);
        }
    }
}

/// `log.json` or `log.json.<number>`; None when there is none.
fn open_numbered(path: &Path, number: u32) -> file::Result<Option<File>> {
    let opened = match number {
        0 => file::open(path),
        _ => file::open(&path.with_extension(format!("json.{number}"))),
    };
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

fn inode_of(file: &File, path: &Path) -> file::Result<(u64, u64)> {
    let found = rustix::fs::fstat(file).named("examine", path)?;
    Ok((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

    use super::*;

    struct Scratch(testkit::Scratch);

    impl Scratch {
        fn new() -> Scratch {
            Scratch(testkit::Scratch::new())
        }

        fn log(&self) -> PathBuf {
            self.0.join("log.json")
        }

        fn rotate(&self) {
            for number in (1..3).rev() {
                let from = self.0.join(format!("log.json.{number}"));
                drop(std::fs::rename(from, self.0.join(format!("log.json.{}", number + 1))));
            }
            std::fs::rename(self.log(), self.0.join("log.json.1")).unwrap();
        }

        fn append(&self, text: &str) {
            use std::io::Write;
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.log()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    fn entry(text: &str, second: u32) -> String {
        let text = text.replace('\n', "\\n");
        format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:{second:02}Z\"}}\n")
    }

    fn texts(reader: &mut Reader) -> Vec<String> {
        let mut found = Vec::new();
        reader
            .read_all(&mut |line| {
                let entry: Entry = serde_json::from_slice(line).unwrap();
                found.push(entry.log);
            })
            .unwrap();
        found
    }

    #[test]
    fn files_are_read_oldest_first() {
        let scratch = Scratch::new();
        for number in 0..4 {
            scratch.append(&entry(&format!("{number}\n"), number));
            if number < 3 {
                scratch.rotate();
            }
        }
        assert_eq!(texts(&mut Reader::open(&scratch.log()).unwrap()), ["0\n", "1\n", "2\n", "3\n"]);
    }

    #[test]
    fn following_loses_nothing_to_rotation_and_repeats_nothing() {
        let scratch = Scratch::new();
        let mut reader = Reader::open(&scratch.log()).unwrap();
        assert!(texts(&mut reader).is_empty(), "not there yet");
        let mut found = Vec::new();
        for number in 0..30 {
            scratch.append(&entry(&format!("{number}\n"), 0));
            if number % 3 == 2 {
                scratch.rotate();
            }
            if number % 4 == 3 {
                found.extend(texts(&mut reader));
            }
        }
        found.extend(texts(&mut reader));
        let expected: Vec<String> = (0..30).map(|number| format!("{number}\n")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_that_is_being_written_waits_for_its_end() {
        let scratch = Scratch::new();
        let whole = entry("a\n", 0);
        scratch.append(&whole[..20]);
        let mut reader = Reader::open(&scratch.log()).unwrap();
        assert!(texts(&mut reader).is_empty());
        scratch.append(&whole[20..]);
        assert_eq!(texts(&mut reader), ["a\n"]);
    }

    #[test]
    fn the_tail_counts_lines_of_the_program() {
        let scratch = Scratch::new();
        for text in ["1\n", "2a", "2b", "2c\n", "3\n", "4"] {
            scratch.append(&entry(text, 0));
        }
        for (count, expected) in [
            (0, &[][..]),
            (1, &["4"]),
            (2, &["3\n", "4"]),
            (3, &["2a", "2b", "2c\n", "3\n", "4"]),
            (9, &["1\n", "2a", "2b", "2c\n", "3\n", "4"]),
        ] {
            let lines = Reader::open(&scratch.log()).unwrap().last(count).unwrap();
            let texts: Vec<String> =
                lines.iter().map(|line| serde_json::from_slice::<Entry>(line).unwrap().log).collect();
            assert_eq!(texts, expected, "{count}");
        }
    }

    #[test]
    fn lines_are_chosen_by_time_and_damaged_ones_passed_over() {
        let request = Logs {
            since: Some("2026-01-01T00:00:02Z".parse().unwrap()),
            until: Some("2026-01-01T00:00:03Z".parse().unwrap()),
            ..Logs::default()
        };
        let mut found = Vec::new();
        let mut sink = |line: Option<LogLine>| {
            found.extend(line.map(|line| line.text));
            true
        };
        let mut filter = Filter { request: &request, sink: &mut sink, done: false };
        for second in 1..6 {
            filter.pass(entry(&format!("{second}\n"), second).as_bytes());
            filter.pass(b"{\"log\":\"cut");
        }
        assert!(filter.done);
        assert_eq!(found, ["2\n", "3\n"]);
    }
}
