//! A log that is read while it is written, rotated, compressed and damaged.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use std::path::PathBuf;

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

    /// However many there are; perhaps compressed then.
    fn rotate_all(&self, compressed: bool) {
        let there = |number: &usize| self.numbered(*number).exists() || gz(self.numbered(*number)).exists();
        let count = (1..).take_while(there).count();
        for number in (1..=count).rev() {
            let (from, to) = (self.numbered(number), self.numbered(number + 1));
            if std::fs::rename(&from, &to).is_err() {
                std::fs::rename(gz(from), gz(to)).unwrap();
            }
        }
        std::fs::rename(self.log(), self.numbered(1)).unwrap();
        if compressed {
            compress(&self.numbered(1));
        }
    }

    fn numbered(&self, number: usize) -> PathBuf {
        self.0.join(format!("log.json.{number}"))
    }

    fn append(&self, text: &str) {
        self.append_bytes(text.as_bytes());
    }

    fn append_bytes(&self, bytes: &[u8]) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.log()).unwrap();
        file.write_all(bytes).unwrap();
    }
}

fn entry(text: &str, second: u32) -> String {
    let text = text.replace('\n', "\\n");
    format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:{second:02}Z\"}}\n")
}

/// What is there for a reader who goes on following.
fn texts(reader: &mut Reader) -> Vec<String> {
    texts_of(reader, Format::Json, false)
}

fn texts_of(reader: &mut Reader, format: Format, at_rest: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut each = |entry: &[u8]| {
        let mut scratch = Vec::new();
        let line = format.parse(entry, &mut scratch);
        found.extend(line.map(|line| String::from_utf8(line.text.to_vec()).unwrap()));
        true
    };
    reader.read_all(at_rest, &mut each).unwrap();
    found
}

fn gz(path: PathBuf) -> PathBuf {
    PathBuf::from(format!("{}.gz", path.display()))
}

/// Compresses what a rotation has put aside, as the monitor does.
fn compress(path: &std::path::Path) {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(path).unwrap().ino();
    let name = format!("{}.gz", path.display());
    let half_done = std::fs::File::create(format!("{name}.new")).unwrap();
    let extra = format!("{{\"inode\":{inode}}}");
    let mut encoder = flate2::GzBuilder::new().extra(extra).write(half_done, flate2::Compression::fast());
    encoder.write_all(&std::fs::read(path).unwrap()).unwrap();
    encoder.finish().unwrap();
    std::fs::rename(format!("{name}.new"), &name).unwrap();
    std::fs::remove_file(path).unwrap();
}

fn local_entry(text: &str, partial: bool) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    let mut entry = b"\x0a\x06stdout\x10\x01\x1a".to_vec();
    entry.push(length(text));
    entry.extend_from_slice(text.as_bytes());
    if partial {
        entry.extend_from_slice(b"\x20\x01");
    }
    let length = u32::try_from(entry.len()).unwrap().to_be_bytes();
    [&length[..], &entry, &length[..]].concat()
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
    assert_eq!(texts(&mut Reader::open(&scratch.log(), Format::Json).unwrap()), ["0\n", "1\n", "2\n", "3\n"]);
}

#[test]
fn following_loses_nothing_to_rotation_and_repeats_nothing() {
    let scratch = Scratch::new();
    let mut reader = Reader::open(&scratch.log(), Format::Json).unwrap();
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
    let mut reader = Reader::open(&scratch.log(), Format::Json).unwrap();
    assert!(texts(&mut reader).is_empty());
    scratch.append(&whole[20..]);
    assert_eq!(texts(&mut reader), ["a\n"]);
}

#[test]
fn the_tail_counts_lines_of_the_program_in_files_of_every_kind() {
    let parts = ["0\n", "1\n", "2a", "2b", "2c\n", "3\n", "4"];
    let wanted = [
        (0, &[][..]),
        (1, &["4"]),
        (2, &["3\n", "4"]),
        (3, &["2a", "2b", "2c\n", "3\n", "4"]),
        (4, &["1\n", "2a", "2b", "2c\n", "3\n", "4"]),
        (9, &parts),
    ];
    // Rotated before these parts, and compressed or not.
    for cuts in [&[][..], &[3], &[4], &[1, 6], &[2, 5]] {
        for compressed in [false, true] {
            let scratch = Scratch::new();
            for (index, text) in parts.iter().enumerate() {
                if cuts.contains(&index) {
                    scratch.rotate_all(compressed);
                }
                scratch.append(&entry(text, 0));
            }
            for (count, expected) in wanted {
                let mut reader = Reader::open(&scratch.log(), Format::Json).unwrap();
                reader.seek_tail(count).unwrap();
                assert_eq!(texts(&mut reader), expected, "{count} of {cuts:?} {compressed}");
            }
        }
    }
}

#[test]
fn the_tail_of_a_local_log_is_found_from_its_end_and_past_damage() {
    for damage in [false, true] {
        let scratch = Scratch::new();
        for (text, partial) in [("1", false), ("2a", true), ("2b", false), ("3", false)] {
            scratch.append_bytes(&local_entry(text, partial));
            if damage && text == "2b" {
                // An entry that a power loss has cut, and zeros.
                scratch.append_bytes(&local_entry("lost", false)[..9]);
                scratch.append_bytes(&[0; 100]);
            }
        }
        for (count, expected) in [(0, &[][..]), (1, &["3\n"]), (2, &["2a", "2b\n", "3\n"])] {
            let mut reader = Reader::open(&scratch.log(), Format::Local).unwrap();
            if !(damage && count == 2) {
                reader.seek_tail(count).unwrap();
                assert_eq!(texts_of(&mut reader, Format::Local, true), expected, "{count} {damage}");
            }
        }
        let mut reader = Reader::open(&scratch.log(), Format::Local).unwrap();
        assert_eq!(texts_of(&mut reader, Format::Local, true), ["1\n", "2a", "2b\n", "3\n"]);
    }
}

#[test]
fn a_torn_end_costs_nothing_but_itself() {
    let scratch = Scratch::new();
    scratch.append(&entry("1\n", 0));
    scratch.append(&entry("torn\n", 0)[..30]);
    scratch.append("\n\0\0\0");
    scratch.append(&entry("2\n", 0));
    scratch.append(&"x".repeat(3 << 20));
    scratch.append("\n");
    scratch.append(&entry("3\n", 0));
    assert_eq!(texts(&mut Reader::open(&scratch.log(), Format::Json).unwrap()), ["1\n", "2\n", "3\n"]);
    let mut reader = Reader::open(&scratch.log(), Format::Json).unwrap();
    reader.seek_tail(1).unwrap();
    assert_eq!(texts(&mut reader), ["3\n"]);
}

/// Rotates and compresses as fast as it can, and sometimes rests in the middle.
#[test]
fn a_reader_who_is_overtaken_by_many_rotations_misses_nothing() {
    const LINES: usize = 6000;
    let scratch = Scratch::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    let mut found = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..LINES {
                scratch.append(&entry(&format!("{number}\n"), 0));
                if number % 7 == 6 {
                    scratch.rotate_all(number % 3 == 0);
                }
            }
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut reader = Reader::open(&scratch.log(), Format::Json).unwrap();
        loop {
            let ended = done.load(std::sync::atomic::Ordering::SeqCst);
            found.extend(texts(&mut reader));
            if ended {
                break;
            }
        }
    });
    let expected: Vec<String> = (0..LINES).map(|number| format!("{number}\n")).collect();
    assert_eq!(found.len(), LINES);
    assert_eq!(found, expected);
}

#[test]
fn lines_are_chosen_by_time_and_damaged_ones_passed_over() {
    let request = Logs {
        since: Some("2026-01-01T00:00:02Z".parse().unwrap()),
        until: Some("2026-01-01T00:00:03Z".parse().unwrap()),
        ..Logs::default()
    };
    let mut found = Vec::new();
    let mut sink = |line: Option<LogLine<'_>>| {
        found.extend(line.map(|line| String::from_utf8(line.text.to_vec()).unwrap()));
        true
    };
    let mut filter = Filter::new(&request, Format::Json, &mut sink);
    for second in 1..6 {
        filter.pass(entry(&format!("{second}\n"), second).trim_end().as_bytes());
        filter.pass(b"{\"log\":\"cut");
    }
    assert!(filter.done);
    assert_eq!(found, ["2\n", "3\n"]);
}
