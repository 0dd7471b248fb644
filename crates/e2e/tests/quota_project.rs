//! `--storage-opt size=` where the file system counts projects. Its kernel must know how (`CONFIG_QFMT_V2`): this runs in the
//! virtual machine.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::fs::File;
use std::path::PathBuf;

use linux::project::{Usage, project_of, usage};
use testkit::{Disk, Skiff, calls_of, kill_at, wait_until};

fn folder(skiff: &Skiff, name: &str) -> PathBuf {
    let id = skiff.ok(&["inspect", "--format", "{{.Id}}", name]);
    skiff.root().join("containers").join(id.trim())
}

#[test]
fn ext4_keeps_the_limit_and_forgets_it_with_the_container() {
    let said = limit_is_kept(&Disk::with_project_quotas(300));
    assert!(said.contains("Disk quota exceeded"), "{said}");
}

#[test]
fn xfs_keeps_the_limit_and_forgets_it_with_the_container() {
    let said = limit_is_kept(&Disk::xfs_with_project_quotas(320));
    assert!(said.contains("No space left on device"), "{said}");
}

/// What a program was told that wrote too much.
fn limit_is_kept(disk: &Disk) -> String {
    let skiff = Skiff::with_busybox_at(&disk.path());
    let fill = "test -e /data || dd if=/dev/zero of=/data bs=64k; echo ended with $?; exec sleep 1000";
    skiff.ok(&["run", "-d", "--name", "full", "--storage-opt", "size=16m", "busybox", "sh", "-c", fill]);
    skiff.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    let folder = folder(&skiff, "full");
    assert!(!folder.join("layer.ext4").exists());
    let project = project_of(File::open(folder.join("upper")).unwrap()).unwrap();
    assert!(project >= 0x8000_0000, "{project}");
    assert_eq!(project_of(File::open(folder.join("work")).unwrap()).unwrap(), project);
    let known = || usage(File::open(disk.path()).unwrap(), project).unwrap();
    assert_eq!(known().limit, 16 << 20);

    let log = || {
        let output = skiff.run(&["logs", "full"]);
        output.stdout + &output.stderr
    };
    wait_until("dd ends", || log().contains("ended with"));
    assert!(log().contains("ended with 1"), "{}", log());
    let said = log();
    let size: u64 = skiff.ok(&["exec", "full", "stat", "-c", "%s", "/data"]).trim().parse().unwrap();
    assert!((15 << 20..=16 << 20).contains(&size), "{size}");
    assert!(known().bytes <= 16 << 20, "{:?}", known());
    skiff.ok(&["exec", "other", "sh", "-c", "dd if=/dev/zero of=/data bs=1M count=40 2>/dev/null"]);

    assert_eq!(skiff.ok(&["diff", "full"]), "A /data\n");
    skiff.ok(&["stop", "-t", "0", "full"]);
    skiff.ok(&["cp", "full:/data", "out"]);
    assert_eq!(std::fs::metadata(skiff.folder().join("out")).unwrap().len(), size);
    assert!(skiff.run(&["cp", "out", "full:/more"]).code != 0);
    skiff.ok(&["start", "full"]);
    skiff.ok(&[
        "exec",
        "full",
        "sh",
        "-c",
        "rm -f /data /more; dd if=/dev/zero of=/less bs=1M count=15 2>/dev/null",
    ]);
    skiff.ok(&["rm", "-f", "full"]);
    // xfs counts what is removed a little later.
    wait_until("its limit is gone", || known() == Usage::default());

    // Its monitor removes it, and the limit.
    let arguments =
        ["run", "-d", "--rm", "--name", "gone", "--storage-opt", "size=8m", "busybox", "sleep", "1000"];
    skiff.ok(&arguments);
    let upper = self::folder(&skiff, "gone").join("upper");
    let project = project_of(File::open(&upper).unwrap()).unwrap();
    let known = || usage(File::open(disk.path()).unwrap(), project).unwrap();
    assert_eq!(known().limit, 8 << 20);
    skiff.ok(&["kill", "gone"]);
    wait_until("it is gone", || !upper.exists());
    wait_until("its limit is gone", || known() == Usage::default());
    skiff.ok(&["rm", "-f", "other"]);
    said
}

#[test]
fn killed_at_any_step_the_next_start_limits_all_the_same() {
    let disk = Disk::with_project_quotas(64);
    let skiff = Skiff::with_busybox_at(&disk.path());
    let create =
        || skiff.ok(&["create", "--name", "one", "--storage-opt", "size=4m", "busybox", "sleep", "1000"]);
    create();
    let steps = ["quotactl", "ioctl", "mkdir", "fchown", "fsync"];
    let mut calls = calls_of(&skiff, &["start", "one"]);
    calls.retain(|call| steps.iter().any(|step| call.name.starts_with(step)));
    assert!(calls.iter().any(|call| call.name.starts_with("quotactl")), "{calls:?}");
    skiff.ok(&["rm", "-f", "one"]);
    for call in &calls {
        create();
        kill_at(&skiff, call, &["start", "one"]);
        wait_until(&format!("{call:?}: it runs"), || skiff.run(&["start", "one"]).code == 0);
        let folder = folder(&skiff, "one");
        assert!(!folder.join("layer.ext4").exists(), "{call:?}");
        let project = project_of(File::open(folder.join("upper")).unwrap()).unwrap();
        assert_eq!(project_of(File::open(folder.join("work")).unwrap()).unwrap(), project, "{call:?}");
        let known = || usage(File::open(disk.path()).unwrap(), project).unwrap();
        assert_eq!(known().limit, 4 << 20, "{call:?}");
        let filled = skiff.run(&["exec", "one", "dd", "if=/dev/zero", "of=/data", "bs=64k"]);
        assert!(filled.stderr.contains("Disk quota exceeded"), "{call:?}: {filled:?}");
        skiff.ok(&["rm", "-f", "one"]);
        wait_until("its limit is gone", || known() == Usage::default());
    }
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn who_could_change_a_project_gets_a_disk() {
    let disk = Disk::with_project_quotas(64);
    let skiff = Skiff::with_busybox_at(&disk.path());
    skiff.ok(&[
        "run",
        "-d",
        "--name",
        "one",
        "--userns",
        "host",
        "--storage-opt",
        "size=4m",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert!(folder(&skiff, "one").join("layer.ext4").exists());
    let output = skiff.run(&["exec", "one", "dd", "if=/dev/zero", "of=/data", "bs=64k"]);
    assert!(output.stderr.contains("No space left on device"), "{output:?}");
    skiff.ok(&["rm", "-f", "one"]);
}

#[test]
fn a_limit_that_no_longer_holds_is_said() {
    let disk = Disk::with_project_quotas(64);
    let skiff = Skiff::with_busybox_at(&disk.path());
    skiff.ok(&["run", "--name", "one", "--storage-opt", "size=4m", "busybox", "true"]);
    // Nothing counts it now: as if it had been copied here from elsewhere.
    let upper = File::open(folder(&skiff, "one").join("upper")).unwrap();
    linux::project::set_project(&upper, 0).unwrap();
    let output = skiff.run(&["start", "one"]);
    assert!(output.code != 0 && output.stderr.contains("the limit of"), "{output:?}");
    skiff.ok(&["rm", "one"]);
}

#[test]
fn what_counts_but_does_not_limit_is_not_relied_on() {
    // Counted since it was made, but mounted without limits.
    let disk = Disk::with_projects_counted(64);
    let skiff = Skiff::with_busybox_at(&disk.path());
    skiff.ok(&["run", "-d", "--name", "one", "--storage-opt", "size=4m", "busybox", "sleep", "1000"]);
    let folder = folder(&skiff, "one");
    assert!(folder.join("layer.ext4").exists() && !folder.join("upper").exists());
    skiff.ok(&["rm", "-f", "one"]);
}
