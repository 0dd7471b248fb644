//! What a container prints, kept in Docker's json-file format within bounds.
//!
//! ```text
//! read of ≤ 32 KiB ─► Lines (cut into lines of ≤ 16 KiB) ─► json ─► one write ─► log.json
//!                                                            full ─► log.json.1 ─► log.json.2 ─► gone
//! ```
//!
//! What must hold: a file never grows beyond its bound unless a single line does; what is on disk is whole
//! lines, whatever the disk does; nothing here fails the container: output that cannot be written is dropped
//! and counted.

pub(crate) mod json;
pub(crate) mod lines;

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::clock::Stamp;
use crate::plan::LogPlan;
pub(crate) use lines::Lines;

/// Bytes that are collected before they are written, so that a flood of short lines takes no more memory than one
/// of long ones.
const BATCH: usize = 64 << 10;

/// A stream's name in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Stdout => "stdout",
            Source::Stderr => "stderr",
        }
    }
}

/// The file that is written, and those before it.
#[derive(Debug)]
pub(crate) struct Log {
    plan: LogPlan,
    file: Option<OwnedFd>,
    size: u64,
    pending: Vec<u8>,
    dropped_lines: u64,
    stamp: Stamp,
}

impl Log {
    /// Opens the log, going on at the end of what an earlier run left.
    ///
    /// A log that cannot be opened is tried again with the next output.
    pub(crate) fn open(plan: LogPlan) -> Log {
        let mut log =
            Log { plan, file: None, size: 0, pending: Vec::new(), dropped_lines: 0, stamp: Stamp::default() };
        // Whether it can be written is told by the first write.
        let _opened = log.reopen();
        log
    }

    /// Writes what a stream said. `lines` keeps what does not end a line yet.
    pub(crate) fn write(&mut self, source: Source, lines: &mut Lines, said: &[u8]) {
        self.stamp.refresh();
        lines.push(said, |line| self.line(source, line));
        self.flush();
        self.pending = Vec::new();
    }

    /// Writes what a stream left without a line end, once it has ended.
    pub(crate) fn finish(&mut self, source: Source, lines: &mut Lines) {
        self.stamp.refresh();
        lines.finish(|line| self.line(source, line));
        self.flush();
        self.pending = Vec::new();
    }

    /// How many lines could not be written.
    pub(crate) fn dropped_lines(&self) -> u64 {
        self.dropped_lines
    }

    fn line(&mut self, source: Source, line: &[u8]) {
        let before = self.pending.len();
        json::append_line(&mut self.pending, line, source.name(), self.stamp.text());
        let would_be = self.size + self.pending.len() as u64;
        let is_first = self.size == 0 && before == 0;
        if self.plan.max_size > 0 && would_be > self.plan.max_size && !is_first {
            // The line opens the next file.
            let line = self.pending.split_off(before);
            self.flush();
            self.rotate();
            self.pending = line;
        }
        if self.pending.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (written, outcome) = self.write_all();
        // A torn line would make the whole file unreadable to others: what is kept ends with a line end.
        let kept = match outcome {
            Ok(()) => written,
            Err(_) => {
                self.pending[..written].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1)
            }
        };
        self.size += kept as u64;
        if kept < written
            && let Some(file) = &self.file
        {
            // Shrinking works on a full disk; should it fail, one line is torn.
            let _shrunk = rustix::fs::ftruncate(file, self.size);
        }
        let lost = self.pending[kept..].iter().filter(|&&byte| byte == b'\n').count();
        self.dropped_lines += lost as u64;
        self.pending.clear();
    }

    /// Writes what is pending; tells how far it came.
    fn write_all(&mut self) -> (usize, Result<(), Errno>) {
        if self.file.is_none()
            && let Err(errno) = self.reopen()
        {
            return (0, Err(errno));
        }
        let Some(file) = &self.file else { return (0, Err(Errno::BADF)) };
        let mut written = 0;
        while written < self.pending.len() {
            match rustix::io::write(file, &self.pending[written..]) {
                Ok(0) => return (written, Err(Errno::IO)),
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(errno) => return (written, Err(errno)),
            }
        }
        (written, Ok(()))
    }

    fn rotate(&mut self) {
        self.file = None;
        let oldest = self.plan.max_files.saturating_sub(1);
        // A name that is missing, or a rename that fails, costs an old file, never the new one.
        for number in (1..oldest).rev() {
            let _moved = rustix::fs::rename(self.numbered(number), self.numbered(number + 1));
        }
        let _moved = if oldest == 0 {
            rustix::fs::unlink(&self.plan.path)
        } else {
            rustix::fs::rename(&self.plan.path, self.numbered(1))
        };
        // Tried again with the next write.
        let _opened = self.reopen();
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.plan.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    fn reopen(&mut self) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(&self.plan.path, flags, Mode::RUSR | Mode::WUSR)?;
        self.size = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

    use super::*;
    use std::path::Path;

    struct Scratch(testkit::Scratch);

    impl Scratch {
        fn new() -> Scratch {
            Scratch(testkit::Scratch::new())
        }

        fn path(&self) -> PathBuf {
            self.0.join("log.json")
        }
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
        let mut log = Log::open(LogPlan::new(scratch.path()));
        let (mut out, mut err) = (Lines::default(), Lines::default());
        log.write(Source::Stdout, &mut out, b"one\ntw");
        log.write(Source::Stderr, &mut err, b"bad\n");
        log.write(Source::Stdout, &mut out, b"o\nthree");
        log.finish(Source::Stdout, &mut out);
        log.finish(Source::Stderr, &mut err);
        assert_eq!(
            messages(&scratch.path()),
            ["stdout one\n", "stderr bad\n", "stdout two\n", "stdout three"]
        );
    }

    #[test]
    fn files_rotate_within_their_bounds_and_lose_only_the_oldest_lines() {
        let scratch = Scratch::new();
        let plan = LogPlan { path: scratch.path(), max_size: 1000, max_files: 3 };
        let mut log = Log::open(plan);
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
        let mut log = Log::open(LogPlan { path: scratch.path(), max_size: 300, max_files: 1 });
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
        let mut log = Log::open(LogPlan { path: scratch.path(), max_size: 100, max_files: 3 });
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
        let mut log = Log::open(LogPlan::new(path.clone()));
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
            let mut log = Log::open(LogPlan::new(scratch.path()));
            log.write(Source::Stdout, &mut Lines::default(), run.as_bytes());
        }
        assert_eq!(messages(&scratch.path()), ["stdout first\n", "stdout second\n"]);
    }
}
