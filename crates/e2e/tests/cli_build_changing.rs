//! Files that change while a build reads them: what comes out is what some file was, or an error that names it; and what is kept
//! under the key of a content has that content.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and may fail"
)]

mod building;

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use building::Workshop;
use linux::mapping::Mapping;
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// Does something over and over beside some builds.
fn beside<T>(change: impl Fn(u64) + Sync, builds: impl FnOnce(&AtomicU64) -> T) -> T {
    let (is_over, turns) = (AtomicBool::new(false), AtomicU64::new(0));
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                change(turns.fetch_add(1, Ordering::SeqCst));
            }
        });
        // Also if they fail.
        let _over = Over(&is_over);
        builds(&turns)
    })
}

/// Builds, with the file `/x` of the image; none if it failed, for a reason that names what changed.
fn built(workshop: &Workshop, changed: &str) -> Option<Vec<u8>> {
    let out = Path::new(&workshop.beside("out")).to_owned();
    drop(std::fs::remove_dir_all(&out));
    let output = workshop.try_build(&["-o", out.to_str().unwrap()]);
    if output.code == 0 {
        // It may have become something that is no file.
        return Some(match out.join("x").symlink_metadata() {
            Ok(about) if about.is_file() => std::fs::read(out.join("x")).unwrap(),
            _ => b"no file".to_vec(),
        });
    }
    let last = output.stderr.lines().last().unwrap_or_default();
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(
        last.contains(changed) && (last.contains("changed while it was read") || last.contains("not found")),
        "{}",
        output.stderr
    );
    None
}

/// Bytes of a file that takes a while to be read.
const SIZE: usize = 3 << 20;
/// Contents that are different.
const VERSIONS: u64 = 60;

/// Builds from a file to which somebody gives one content after the other, and then from each of them: what is kept under its key has it.
fn check_each_version(workshop: &Workshop, content: impl Fn(u64) -> Vec<u8>, put: impl FnMut(u64) + Send) {
    let put = std::sync::Mutex::new(put);
    let versions = beside(
        |turn| put.lock().unwrap()(turn),
        |turns| {
            let made = (0..60).filter(|_| built(workshop, "x").is_some()).count();
            assert!(made > 0, "no build has ever succeeded: the test shows little");
            turns.load(Ordering::SeqCst)
        },
    );
    drop(put);
    // Each version, known or not, gives itself.
    for version in versions.saturating_sub(VERSIONS - 1)..=versions {
        workshop.write("x", content(version));
        assert!(built(workshop, "x").unwrap() == content(version), "version {version}");
    }
}

#[test]
fn no_key_leads_to_another_content_than_its_own() {
    let workshop = Workshop::new("FROM scratch\nCOPY x /x\n");
    let content = |version: u64| vec![u8::try_from(version % VERSIONS).unwrap(); SIZE];
    workshop.write("x", content(0));
    let path = workshop.context.join("x");
    check_each_version(&workshop, content, |version| {
        // In place, so that a reader may see half of each.
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        for part in content(version).chunks(64 << 10) {
            file.write_all(part).unwrap();
        }
        // Some builds find it at rest.
        std::thread::sleep(std::time::Duration::from_millis(version % 4 * 60));
    });
}

#[test]
fn no_key_leads_to_what_was_written_through_a_mapping_later() {
    let workshop = Workshop::new("FROM scratch\nCOPY x /x\n");
    // One byte alone, so that a reader sees one of them and never parts of two.
    let content = |version: u64| {
        let mut content = vec![255; SIZE];
        content[SIZE - 1] = u8::try_from(version % VERSIONS).unwrap();
        content
    };
    workshop.write("x", content(0));
    let path = workshop.context.join("x");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut mapping = Mapping::new(&file, SIZE).unwrap();
    // What is mapped stays open, though nobody has a descriptor.
    drop(file);
    check_each_version(&workshop, content, move |version| {
        mapping.write(SIZE - 1, &content(version)[SIZE - 1..]);
        std::thread::sleep(std::time::Duration::from_millis(version % 8 * 4));
    });
}

#[test]
fn a_file_that_grows_or_shrinks_is_one_that_it_was_or_an_error() {
    let workshop = Workshop::new("FROM scratch\nCOPY x /x\n");
    workshop.write("x", "");
    let path = workshop.context.join("x");
    let line = |number: u64| format!("{number:07}\n");
    beside(
        |turn| {
            let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            if turn % 50_000 == 49_999 {
                file.set_len(0).unwrap();
            }
            let end = file.seek(SeekFrom::End(0)).unwrap();
            file.write_all(line(end / 8).as_bytes()).unwrap();
        },
        |_| {
            for _ in 0..20 {
                // Whatever it was, it had whole lines from the first on.
                if let Some(content) = built(&workshop, "x") {
                    let want: String = (0..content.len() as u64 / 8).map(line).collect();
                    assert!(content == want.as_bytes(), "{} bytes", content.len());
                }
            }
        },
    );
}

#[test]
fn a_file_that_becomes_something_else_is_one_of_them_or_an_error() {
    let workshop = Workshop::new("FROM scratch\nCOPY x /x\n");
    let outside = workshop.beside("outside");
    std::fs::write(&outside, "secret").unwrap();
    workshop.write("one", "one");
    let path = |name: &str| workshop.context.join(name);
    let put = |turn: u64| {
        let beside = path("y");
        match turn % 7 {
            0 => mknodat(CWD, &beside, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
            1 => std::os::unix::fs::symlink(&outside, &beside).unwrap(),
            2 => std::os::unix::fs::symlink("one", &beside).unwrap(),
            3 => return drop(std::fs::remove_file(path("x"))),
            4 => drop(std::os::unix::net::UnixListener::bind(&beside).unwrap()),
            _ => std::fs::write(&beside, "two").unwrap(),
        }
        std::fs::rename(&beside, path("x")).unwrap();
    };
    let mut outcomes = std::collections::BTreeSet::new();
    beside(put, |_| {
        for _ in 0..60 {
            let output = workshop.try_build(&["-o", &workshop.beside("out")]);
            if output.code != 0 {
                let last = output.stderr.lines().last().unwrap_or_default();
                let reasons = ["changed while it was read", "not found", "is a socket"];
                assert!(reasons.iter().any(|reason| last.contains(reason)), "{}", output.stderr);
                outcomes.insert("error".to_owned());
                continue;
            }
            let made = Path::new(&workshop.beside("out")).join("x");
            let about = made.symlink_metadata().unwrap();
            let content =
                if about.is_file() { std::fs::read_to_string(&made).unwrap() } else { "other".into() };
            assert!(["one", "two", "other"].contains(&content.as_str()), "{content}");
            outcomes.insert(content);
        }
    });
    assert!(outcomes.len() > 1, "{outcomes:?}: the test shows little");
}

#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let workshop = Workshop::new("FROM scratch\nCOPY . /all\n");
    let outside = Path::new(&workshop.beside("outside")).to_owned();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "secret").unwrap();
    workshop.write("dir/file", "public");
    let (dir, kept) = (workshop.context.join("dir"), workshop.skiff.folder().join("kept"));
    beside(
        |_| {
            std::fs::rename(&dir, &kept).unwrap();
            std::os::unix::fs::symlink(&outside, &dir).unwrap();
            std::fs::remove_file(&dir).unwrap();
            std::fs::rename(&kept, &dir).unwrap();
        },
        |_| {
            for turn in 0..30 {
                let out = workshop.beside(&format!("out{turn}"));
                let output = workshop.try_build(&["-o", &out]);
                let found = std::fs::read_to_string(Path::new(&out).join("all/dir/file"));
                // A link is copied as the link that it is, which leads to the outside of whoever looks here.
                let is_link = Path::new(&out).join("all/dir").is_symlink();
                assert!(is_link || found.is_err() || found.unwrap() == "public", "{}", output.stderr);
                let words = ["changed while it was read", "not found"];
                let told = words.iter().any(|word| output.stderr.contains(word));
                assert!(output.code == 0 || told, "{}", output.stderr);
            }
        },
    );
}
