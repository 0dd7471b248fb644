//! `commit`, `export` and `cp`, killed at any moment or out of space: nothing is left, and the next one works.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use testkit::{Skiff, calls_of, kill_at};

/// A container that runs and has written some megabytes.
fn with_container(megabytes: u32) -> Skiff {
    let skiff = Skiff::with_busybox();
    write_container(&skiff, megabytes);
    skiff
}

fn write_container(skiff: &Skiff, megabytes: u32) {
    let write = format!(
        "mkdir /data; for i in 1 2 3 4; do dd if=/dev/urandom of=/data/$i bs=1M count={megabytes} 2>/dev/null; done; touch /ready; \
         exec sleep 1000"
    );
    skiff.ok(&["run", "-d", "--name", "one", "busybox", "sh", "-c", &write]);
    skiff.ok(&["exec", "one", "sh", "-c", "while ! test -e /ready; do sleep 0.01; done"]);
}

fn names(path: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

/// Kills `arguments` at moments spread over the time that they take; `check` looks after each.
fn killed_anywhere(skiff: &Skiff, arguments: &[&str], check: impl Fn(u32)) {
    let start = Instant::now();
    let whole = skiff.command(arguments).stdout(Stdio::null()).status().unwrap();
    assert!(whole.success());
    let took = start.elapsed();
    check(0);
    for turn in 1..=24 {
        let mut child = skiff.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(took * turn / 22);
        let _killed = child.kill();
        child.wait().unwrap();
        check(turn);
    }
}

/// Waits for what happens by itself.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_commit_killed_anywhere_leaves_nothing_and_a_container_that_runs() {
    let skiff = with_container(4);
    let before = names(&skiff.root().join("layers"));
    killed_anywhere(&skiff, &["commit", "one"], |turn| {
        eventually("it goes on", || skiff.ok(&["ps", "--format", "{{.State}}"]) == "running\n");
        // What has no name, and what was half done, goes with the next collection.
        skiff.ok(&["image", "prune", "-f"]);
        assert_eq!(names(&skiff.root().join("layers")), before, "turn {turn}");
        assert_eq!(names(&skiff.root().join("tmp")), Vec::<PathBuf>::new(), "turn {turn}");
    });
    skiff.ok(&["commit", "one", "made"]);
    assert!(skiff.ok(&["image", "verify", "made"]).ends_with("good\n"));
    skiff.ok(&["rm", "-f", "one"]);
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn an_export_killed_anywhere_leaves_no_half_file() {
    let skiff = with_container(4);
    let out = skiff.folder().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("all.tar"), "before").unwrap();
    killed_anywhere(&skiff, &["export", "-o", "out/all.tar", "one"], |turn| {
        let content = std::fs::read(out.join("all.tar")).unwrap();
        assert!(content == b"before" || content.ends_with(&[0; 1024]), "turn {turn}");
        // A file without a name cannot take that of another at once: between the two it is whole under its first one.
        let others: Vec<PathBuf> =
            names(&out).into_iter().filter(|name| !name.ends_with("all.tar")).collect();
        assert!(others.len() <= 1, "turn {turn}: the one before is still there: {others:?}");
        for other in others {
            assert!(std::fs::read(&other).unwrap().ends_with(&[0; 1024]), "turn {turn}: {other:?}");
        }
    });
    skiff.ok(&["export", "-o", "out/all.tar", "one"]);
    assert_eq!(names(&out), [out.join("all.tar")]);
    skiff.ok(&["rm", "-f", "one"]);
}

#[test]
fn an_export_removes_what_a_killed_one_has_left_and_nothing_else() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "one", "busybox"]);
    let out = skiff.folder().join("out");
    std::fs::create_dir(&out).unwrap();
    let export = ["export", "-o", "out/all.tar", "one"];
    let last = calls_of(&skiff, &export).into_iter().rfind(|call| call.name.starts_with("rename")).unwrap();
    std::fs::remove_file(out.join("all.tar")).unwrap();
    assert!(!kill_at(&skiff, &last, &export).success());
    let [left] = &names(&out)[..] else { panic!("{:?}", names(&out)) };
    assert!(left.to_str().unwrap().contains("/out/all.tar.skiff-"), "{left:?}");
    assert!(std::fs::read(left).unwrap().ends_with(&[0; 1024]), "it is whole");
    let gone = left.extension().unwrap().to_str().unwrap().to_owned();
    // Of a process that lives, of another target, no file, and somebody else's.
    let lives = out.join(format!("all.tar.skiff-{}", std::process::id()));
    let other = out.join(format!("other.tar.{gone}"));
    std::fs::write(&lives, "x").unwrap();
    std::fs::write(&other, "x").unwrap();
    skiff.ok(&export);
    assert_eq!(names(&out), [out.join("all.tar"), lives.clone(), other.clone()]);
    std::os::unix::fs::symlink("/etc/passwd", left).unwrap();
    skiff.ok(&export);
    assert!(left.is_symlink());
    std::fs::remove_file(left).unwrap();
    std::fs::write(left, "x").unwrap();
    std::os::unix::fs::chown(left, Some(4321), None).unwrap();
    skiff.ok(&export);
    assert!(left.exists());
}

#[test]
fn a_copy_killed_anywhere_leaves_no_process_and_no_lock() {
    let skiff = with_container(4);
    skiff.ok(&["create", "--name", "two", "busybox", "true"]);
    skiff.ok(&["cp", "one:/data", "data"]);
    for arguments in [
        ["cp", "data", "one:/in"],
        ["cp", "data", "two:/in"],
        ["cp", "one:/data", "out"],
        ["cp", "two:/in", "out2"],
    ] {
        killed_anywhere(&skiff, &arguments, |turn| {
            // The worker sees that its caller has gone; until then it holds the container's seat.
            eventually(&format!("{arguments:?} {turn}: the workers end"), || workers(&skiff) == 0);
        });
    }
    // What was not removed before its seat was free again is removed now.
    skiff.ok(&["cp", "data/.", "two:/in"]);
    assert_eq!(skiff.ok(&["rm", "-f", "one", "two"]), "one\ntwo\n");
    assert_eq!(skiff.left_by_containers(), "");
}

/// Worker processes of this Skiff's program.
fn workers(skiff: &Skiff) -> usize {
    let run = skiff.run_folder().display().to_string();
    let is_worker = |pid: &PathBuf| {
        let line = std::fs::read(pid.join("cmdline")).unwrap_or_default();
        if !line.starts_with(b"skiff-monitor\0worker\0") {
            return false;
        }
        // Which one's: by the files of this Skiff's that it has open, or by none if it has just begun.
        names(&pid.join("fd"))
            .iter()
            .any(|fd| std::fs::read_link(fd).is_ok_and(|target| target.to_string_lossy().starts_with(&run)))
    };
    names(Path::new("/proc")).iter().filter(|pid| is_worker(pid)).count()
}

/// A small file system on a folder, gone with this.
struct Small(PathBuf);

impl Small {
    fn on(path: &Path, size: &str) -> Small {
        std::fs::create_dir_all(path).unwrap();
        let options = std::ffi::CString::new(format!("size={size},mode=700")).unwrap();
        rustix::mount::mount(
            "tmpfs",
            path,
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .expect("mount a tmpfs");
        Small(path.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _gone = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_fails_a_commit_and_nothing_else() {
    let skiff = Skiff::new();
    let small = Small::on(&skiff.root(), "64m");
    skiff.load(&testkit::busybox());
    write_container(&skiff, 4);
    // Fifteen megabytes are left for a layer of sixteen.
    let full = skiff.root().join("filler");
    std::fs::write(&full, vec![1; 28 << 20]).unwrap();
    let before = (skiff.ok(&["images", "-q"]), names(&skiff.root().join("layers")));
    for _ in 0..3 {
        let output = skiff.run(&["commit", "one", "made"]);
        assert!(output.code == 1 && output.stderr.contains("No space left on device"), "{output:?}");
        assert_eq!(skiff.ok(&["ps", "--format", "{{.State}}"]), "running\n");
        assert_eq!((skiff.ok(&["images", "-q"]), names(&skiff.root().join("layers"))), before);
        assert_eq!(names(&skiff.root().join("tmp")), Vec::<PathBuf>::new());
    }
    std::fs::remove_file(&full).unwrap();
    skiff.ok(&["commit", "one", "made"]);
    assert!(skiff.ok(&["image", "verify", "made"]).ends_with("good\n"));
    skiff.ok(&["rm", "-f", "one"]);
    drop(small);
}
