//! Layouts, written to files, before e2fsprogs and the kernel.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail by panicking"
)]

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ext4::{Format, MAX_BYTES, MIN_BYTES, format};
use proptest::prelude::*;
use testkit::Scratch;

const DIRECTORIES: [(&str, u16); 2] = [("upper", 0o755), ("work", 0o700)];

fn make(scratch: &Scratch, bytes: u64, uuid: [u8; 16]) -> PathBuf {
    let wanted = Format { bytes, uuid, created: 1_700_000_000, root_mode: 0o700, directories: &DIRECTORIES };
    let layout = format(&wanted);
    let path = scratch.join("file");
    let file = File::create(&path).unwrap();
    file.set_len(layout.length).unwrap();
    let mut end = 0;
    for (offset, bytes) in &layout.pieces {
        assert!(*offset >= end && offset % ext4::BLOCK == 0 && bytes.len() % 4096 == 0, "{offset}");
        end = offset + bytes.len() as u64;
        file.write_all_at(bytes, *offset).unwrap();
    }
    assert!(end <= layout.length);
    path
}

/// What a program of the distribution's says; it must succeed.
fn said(command: &mut Command) -> String {
    let output = command.output().expect("start a program: install the packages of scripts/install-packages");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text.into_owned()
}

/// Nothing that e2fsck would change: it ends with 0 only then.
fn check(path: &Path) {
    let text = said(Command::new("e2fsck").args(["-f", "-n", "-v"]).arg(path).env("LC_ALL", "C"));
    assert!(!text.contains("WARNING"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Sizes around every power of two, where groups and tables begin and end.
    #[test]
    fn e2fsck_finds_nothing_to_mend(power in 20_u32..37, offset in -3_i64..4, tail in any::<u32>(), uuid: [u8; 16]) {
        let scratch = Scratch::new();
        let near = (1_u64 << power).checked_add_signed(offset * 4096).unwrap();
        for bytes in [near, near + u64::from(tail) % near] {
            check(&make(&scratch, bytes, uuid));
        }
    }
}

#[test]
fn a_terabyte_and_the_largest_are_made_at_once_and_take_little() {
    for (bytes, most) in [(1 << 30, 64 << 10), (10 << 30, 256 << 10), (1 << 40, 2 << 20)] {
        let scratch = Scratch::new();
        let path = make(&scratch, bytes, [7; 16]);
        let taken = path.metadata().unwrap().blocks() * 512;
        assert!(taken <= most, "{bytes}: {taken}");
        check(&path);
    }
    let largest = format(&Format {
        bytes: u64::MAX,
        uuid: [1; 16],
        created: 0,
        root_mode: 0o700,
        directories: &DIRECTORIES,
    });
    assert!(largest.length < 16 << 40, "{}", largest.length);
    assert!(largest.length > MAX_BYTES);
}

#[test]
fn dumpe2fs_reads_what_was_meant() {
    let scratch = Scratch::new();
    let path = make(&scratch, 1 << 30, *b"0123456789abcdef");
    let text = said(Command::new("dumpe2fs").arg(&path).env("LC_ALL", "C"));
    for line in [
        "Filesystem UUID:          30313233-3435-3637-3839-616263646566",
        "Filesystem state:         clean",
        "Errors behavior:          Remount read-only",
        "Reserved block count:     0",
        "Checksum type:            crc32c",
        "Total journal blocks:     8192",
        "Journal start:            0",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    let listing = said(Command::new("debugfs").args(["-R", "ls -l /"]).arg(&path));
    for name in ["lost+found", "upper", "work"] {
        assert!(listing.contains(name), "{listing}");
    }
}

/// A mounted file system; unmounted when it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(scratch: &Scratch, file: &Path) -> Mounted {
        let path = scratch.join("mounted");
        std::fs::create_dir_all(&path).unwrap();
        said(Command::new("mount").args(["-t", "ext4", "-o", "loop,discard"]).arg(file).arg(&path));
        Mounted(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()), "unmount");
    }
}

#[test]
fn the_kernel_takes_exactly_what_was_asked_for() {
    let scratch = Scratch::new();
    for bytes in [MIN_BYTES, 9 << 20, 300 << 20] {
        let path = make(&scratch, bytes, [9; 16]);
        {
            let mounted = Mounted::new(&scratch, &path);
            let found = rustix::fs::statvfs(&mounted.0).unwrap();
            let free = found.f_bavail * found.f_frsize;
            assert!((bytes..bytes + (1 << 20)).contains(&free), "{bytes}: {free}");
            for (name, mode) in DIRECTORIES {
                let metadata = mounted.0.join(name).metadata().unwrap();
                assert_eq!(
                    (metadata.permissions().mode() & 0o7777, metadata.uid()),
                    (mode.into(), 0),
                    "{name}"
                );
            }
            // Full: every byte that was asked for, then no more.
            let full = File::create(mounted.0.join("upper/full")).unwrap();
            let chunk = vec![0xa5; 1 << 16];
            let mut written = 0;
            let errno = loop {
                match full.write_at(&chunk, written) {
                    Ok(length) => written += length as u64,
                    Err(error) => break error.raw_os_error(),
                }
            };
            assert_eq!(errno, Some(rustix::io::Errno::NOSPC.raw_os_error()), "{bytes}");
            assert!((bytes..bytes + (2 << 20)).contains(&written), "{bytes}: {written}");
            full.sync_all().unwrap();
        }
        check(&path);
        assert!(path.metadata().unwrap().blocks() * 512 >= bytes);
        {
            // What is removed goes back to the file's own file system.
            let mounted = Mounted::new(&scratch, &path);
            std::fs::remove_file(mounted.0.join("upper/full")).unwrap();
            for number in 0..1000 {
                std::fs::create_dir_all(mounted.0.join(format!("work/{}/{number}", number % 7)))
                    .unwrap_or(());
            }
            // The kernel does so some time after the removal is in the journal. What stays is the journal itself.
            let taken = || path.metadata().unwrap().blocks() * 512;
            let give_up = Instant::now() + Duration::from_secs(20);
            while taken() > (24 << 20) {
                assert!(Instant::now() < give_up, "{bytes}: {} are left", taken());
                rustix::fs::syncfs(File::open(&mounted.0).unwrap()).unwrap();
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        check(&path);
    }
}
