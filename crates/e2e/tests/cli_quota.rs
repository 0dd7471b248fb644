//! `--storage-opt size=`: a full layer says so inside, and nothing else breaks. Here by a disk of the layer's own, as on any
//! file system that keeps no count of projects.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Call, Disk, Skiff, User, calls_of, kill_any_at, kill_at, wait_until};

const FILL: &str =
    "dd if=/dev/zero of=/data bs=64k; echo dd ended with $?; while :; do echo line; sleep 0.05; done";

/// The files of all loop devices.
fn loop_files() -> String {
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten();
    devices
        .filter_map(|device| std::fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .collect()
}

/// Loop devices of this Skiff's files.
fn loops(skiff: &Skiff) -> Vec<String> {
    let folder = skiff.folder().display().to_string();
    loop_files().lines().filter(|file| file.starts_with(&folder)).map(str::to_owned).collect()
}

fn disk(skiff: &Skiff, name: &str) -> PathBuf {
    skiff.root().join("containers").join(skiff.said("{{.Id}}", name)).join("layer.ext4")
}

/// The disk is nobody's now, and e2fsck finds nothing to mend once the journal is replayed.
fn is_whole(skiff: &Skiff, name: &str) {
    let disk = disk(skiff, name);
    wait_until("the disk is let go of", || {
        loops(skiff).iter().all(|file| file.trim() != disk.to_str().unwrap())
    });
    for arguments in [&["-p"][..], &["-f", "-n"]] {
        let output = Command::new("e2fsck").args(arguments).arg(&disk).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_full_layer_says_so_and_everything_else_goes_on() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    skiff.ok(&["run", "-d", "--name", "full", "--storage-opt", "size=16m", "busybox", "sh", "-c", FILL]);
    let log = || {
        let output = skiff.run(&["logs", "full"]);
        output.stdout + &output.stderr
    };
    wait_until("dd ends", || log().contains("dd ended with 1\n"));
    assert!(log().contains("No space left on device"), "{}", log());
    let size: u64 = skiff.ok(&["exec", "full", "stat", "-c", "%s", "/data"]).trim().parse().unwrap();
    assert!((16 << 20..18 << 20).contains(&size), "{size}");
    assert_eq!(
        skiff.ok(&["inspect", "--format", "{{json .HostConfig.StorageOpt}}", "full"]),
        "{\"size\":\"16m\"}\n"
    );
    // Its directories are where nobody can walk.
    assert_eq!(skiff.said("{{.GraphDriver.Data.Disk}}", "full"), disk(&skiff, "full").to_str().unwrap());
    assert_eq!(skiff.said("{{.GraphDriver.Data.UpperDir}}", "full"), "<no value>");

    // Itself, its log and its neighbour.
    let lines = log().lines().count();
    wait_until("the log goes on", || log().lines().count() > lines);
    skiff.ok(&[
        "exec",
        "other",
        "sh",
        "-c",
        "dd if=/dev/zero of=/data bs=1M count=40 2>/dev/null && rm /data",
    ]);

    // Everything that reads the layer: beside it while it runs, and when it does not.
    for state in ["running", "exited"] {
        assert_eq!(skiff.ok(&["inspect", "--format", "{{.State.Status}}", "full"]).trim(), state);
        assert_eq!(skiff.ok(&["diff", "full"]), "A /data\n");
        skiff.ok(&["cp", "full:/data", "out"]);
        assert_eq!(std::fs::metadata(skiff.folder().join("out")).unwrap().len(), size);
        let refused = skiff.run(&["cp", "out", "full:/more"]);
        assert!(refused.code != 0 && refused.stderr.contains("No space left on device"), "{refused:?}");
        skiff.ok(&["export", "-o", "all.tar", "full"]);
        assert!(std::fs::metadata(skiff.folder().join("all.tar")).unwrap().len() > size);
        skiff.ok(&["commit", "full", "made"]);
        assert_eq!(skiff.ok(&["run", "--rm", "made", "stat", "-c", "%s", "/data"]).trim(), size.to_string());
        let told = skiff.ok(&["ps", "-a", "-s", "--filter", "name=full", "--format", "{{.Size}}"]);
        assert!(told.starts_with("16.") || told.starts_with("17."), "{told}");
        let df = skiff.ok(&[
            "system",
            "df",
            "-v",
            "--format",
            "{{range .Containers}}{{.Names}} {{.Size}}\n{{end}}",
        ]);
        let row = df.lines().find(|line| line.starts_with("full ")).unwrap_or_default();
        assert!(row.ends_with("MB"), "{df}");
        if state == "running" {
            skiff.ok(&["stop", "-t", "0", "full"]);
        }
    }
    is_whole(&skiff, "full");

    // Again: what was written is there, there is no more room than before, and what is removed is free on the host too.
    skiff.ok(&["start", "full"]);
    wait_until("dd ends", || log().matches("dd ended with 1\n").count() == 2);
    let taken = || std::fs::metadata(disk(&skiff, "full")).unwrap().blocks() * 512;
    let before = taken();
    skiff.ok(&["exec", "full", "sh", "-c", "rm /data; sync"]);
    wait_until("the host has its space again", || taken() + (8 << 20) < before);
    skiff.ok(&["exec", "full", "sh", "-c", "dd if=/dev/zero of=/less bs=1M count=15 2>/dev/null"]);
    skiff.ok(&["rm", "-f", "full", "other"]);
    wait_until("no device is left", || loops(&skiff).is_empty());
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn a_container_that_does_not_run_keeps_what_it_has() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&[
        "create",
        "--name",
        "one",
        "--storage-opt",
        "size=4m",
        "busybox",
        "sh",
        "-c",
        "echo run >> /runs; cat /in",
    ]);
    assert_eq!(skiff.ok(&["diff", "one"]), "");
    skiff.ok(&["export", "-o", "all.tar", "one"]);
    std::fs::write(skiff.folder().join("in"), "copied\n").unwrap();
    skiff.ok(&["cp", "in", "one:/in"]);
    wait_until("no device is left", || loops(&skiff).is_empty());
    assert_eq!(skiff.ok(&["diff", "one"]), "A /in\n");
    for _ in 0..3 {
        assert_eq!(skiff.ok(&["start", "-a", "one"]), "copied\n");
    }
    skiff.ok(&["cp", "one:/runs", "runs"]);
    assert_eq!(std::fs::read_to_string(skiff.folder().join("runs")).unwrap(), "run\n".repeat(3));
    // `update` leaves it as it is.
    skiff.ok(&["update", "--pids-limit", "100", "one"]);
    assert_eq!(skiff.ok(&["inspect", "--format", "{{.HostConfig.StorageOpt.size}}", "one"]), "4m\n");
    is_whole(&skiff, "one");
    // A disk of any size costs what is in it.
    skiff.ok(&["create", "--name", "large", "--storage-opt", "size=1t", "busybox", "df", "/"]);
    let df = skiff.ok(&["start", "-a", "large"]);
    let free: u64 = df.lines().last().unwrap().split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!((1 << 30..(1 << 30) + (1 << 20)).contains(&free), "{df}");
    let taken = std::fs::metadata(disk(&skiff, "large")).unwrap().blocks() * 512;
    assert!(taken < 8 << 20, "{taken}");
    skiff.ok(&["rm", "one", "large"]);
    wait_until("no device is left", || loops(&skiff).is_empty());
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn policies_and_removal_at_the_end_work_on_it() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&[
        "run",
        "-d",
        "--name",
        "again",
        "--restart",
        "on-failure:2",
        "--storage-opt",
        "size=4m",
        "busybox",
        "sh",
        "-c",
        "echo run >> /runs; cat /runs; exit 1",
    ]);
    skiff.wait_for("again", "{{.State.Status}}", "exited");
    assert_eq!(skiff.ok(&["logs", "again"]).lines().count(), 6);
    skiff.ok(&["rm", "again"]);
    for userns in ["", "host"] {
        let full = [
            "run",
            "--rm",
            "--userns",
            userns,
            "--storage-opt",
            "size=2m",
            "busybox",
            "dd",
            "if=/dev/zero",
            "of=/f",
        ];
        let output = skiff.run(&full);
        assert!(output.code == 1 && output.stderr.contains("No space left on device"), "{output:?}");
    }
    // Also where layers are unpacked.
    let output = skiff.ok(&[
        "--snapshotter",
        "trees",
        "run",
        "--rm",
        "--storage-opt",
        "size=2m",
        "busybox",
        "df",
        "-k",
        "/",
    ]);
    assert!(
        output.lines().last().unwrap().split_whitespace().nth(3).unwrap().parse::<u64>().unwrap() < 4096,
        "{output}"
    );
    wait_until("no device is left", || loops(&skiff).is_empty());
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn killed_at_any_step_the_next_one_works() {
    let skiff = Skiff::with_busybox();
    let create = |name: &str| {
        skiff.ok(&[
            "create",
            "--name",
            name,
            "--storage-opt",
            "size=4m",
            "busybox",
            "sh",
            "-c",
            "echo run >> /runs; exec sleep 1000",
        ])
    };
    create("probe");
    let steps = ["ftruncate", "pwrite64", "fsync", "rename", "mkdir", "unlink"];
    let calls: Vec<_> = calls_of(&skiff, &["start", "probe"])
        .into_iter()
        .filter(|call| steps.iter().any(|step| call.name.starts_with(step)))
        .collect();
    assert!(
        calls.iter().any(|call| call.name.starts_with("rename"))
            && calls.iter().any(|call| call.name == "pwrite64")
    );
    skiff.ok(&["rm", "-f", "probe"]);
    for call in &calls {
        create("one");
        kill_at(&skiff, call, &["start", "one"]);
        // Its monitor may be starting it all the same.
        wait_until(&format!("{call:?}: it runs"), || skiff.run(&["start", "one"]).code == 0);
        wait_until(&format!("{call:?}: it writes"), || skiff.run(&["exec", "one", "cat", "/runs"]).code == 0);
        skiff.ok(&["stop", "-t", "0", "one"]);
        is_whole(&skiff, "one");
        skiff.ok(&["rm", "-f", "one"]);
    }
    // A reader that is killed leaves nothing mounted.
    create("one");
    skiff.ok(&["start", "one"]);
    skiff.ok(&["stop", "-t", "0", "one"]);
    for name in ["ioctl", "fsopen", "fsconfig", "fsmount", "getdents64"] {
        for call in calls_of(&skiff, &["diff", "one"]).iter().filter(|call| call.name == name) {
            kill_at(&skiff, call, &["diff", "one"]);
        }
    }
    assert_eq!(skiff.ok(&["diff", "one"]), "A /runs\n");
    is_whole(&skiff, "one");
    skiff.ok(&["rm", "one"]);
    wait_until("no device is left", || loops(&skiff).is_empty());
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn a_monitor_killed_while_it_attaches_the_disk_leaves_no_device() {
    let skiff = Skiff::with_busybox();
    let mut killed = 0;
    for name in ["ioctl", "fsopen", "fsconfig", "fsmount", "mount_setattr"] {
        for number in 1..=4 {
            let call = Call { name: name.to_owned(), number };
            let write = "echo run >> /runs";
            skiff.ok(&["create", "--name", "one", "--storage-opt", "size=4m", "busybox", "sh", "-c", write]);
            killed += u32::from(!kill_any_at(&skiff, &call, &["start", "one"]).success());
            // What is found dead is told of, and started all the same.
            wait_until(&format!("{call:?}: it runs"), || skiff.run(&["start", "-a", "one"]).code == 0);
            assert_eq!(skiff.ok(&["diff", "one"]), "A /runs\n", "{call:?}");
            is_whole(&skiff, "one");
            skiff.ok(&["rm", "-f", "one"]);
        }
    }
    assert!(killed >= 8, "{killed} of 20 were killed");
    wait_until("no device is left", || loops(&skiff).is_empty());
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn neither_a_killed_monitor_nor_a_loss_of_power_costs_the_layer() {
    let skiff = Skiff::with_busybox();
    let run = "echo kept > /kept; sync; echo ready; exec sleep 1000";
    skiff.ok(&["run", "-d", "--name", "one", "--storage-opt", "size=64m", "busybox", "sh", "-c", run]);
    wait_until("it is ready", || skiff.ok(&["logs", "one"]).contains("ready"));
    let id = skiff.ok(&["inspect", "--format", "{{.Id}}", "one"]);
    let monitor = skiff.monitor_of(id.trim()).unwrap();
    // What has reached the disk when the power goes.
    let (disk, after) = (disk(&skiff, "one"), skiff.folder().join("after"));
    std::fs::copy(&disk, &after).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(monitor).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    wait_until("it is seen as ended", || {
        skiff.ok(&["inspect", "--format", "{{.State.Running}}", "one"]) == "false\n"
    });
    assert_eq!(skiff.ok(&["diff", "one"]), "A /kept\n");
    skiff.ok(&["start", "one"]);
    assert_eq!(skiff.ok(&["exec", "one", "cat", "/kept"]), "kept\n");
    skiff.ok(&["stop", "-t", "0", "one"]);
    is_whole(&skiff, "one");
    std::fs::rename(after, disk).unwrap();
    assert_eq!(skiff.ok(&["diff", "one"]), "A /kept\n");
    skiff.ok(&["start", "one"]);
    assert_eq!(skiff.ok(&["exec", "one", "cat", "/kept"]), "kept\n");
    skiff.ok(&["rm", "-f", "one"]);
    wait_until("no device is left", || loops(&skiff).is_empty());
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn readers_and_starts_at_once_share_one_disk() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&[
        "create",
        "--name",
        "one",
        "--storage-opt",
        "size=8m",
        "busybox",
        "sh",
        "-c",
        "echo run >> /runs",
    ]);
    skiff.ok(&["start", "-a", "one"]);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(skiff.ok(&["diff", "one"]), "A /runs\n");
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..25 {
                skiff.ok(&["start", "-a", "one"]);
            }
        });
    });
    skiff.ok(&["cp", "one:/runs", "runs"]);
    assert_eq!(std::fs::read_to_string(skiff.folder().join("runs")).unwrap(), "run\n".repeat(26));
    is_whole(&skiff, "one");
    skiff.ok(&["rm", "one"]);
}

#[test]
fn a_host_without_a_free_byte_does_not_cost_the_layer() {
    let disk_of_host = Disk::new(96);
    let skiff = Skiff::with_busybox_at(&disk_of_host.path());
    let write = "echo kept > /kept; sync; echo ready; read go; dd if=/dev/zero of=/data bs=1M count=40 conv=fsync; echo dd ended with $?; \
                 exec sleep 1000";
    skiff.ok(&["run", "-di", "--name", "one", "--storage-opt", "size=64m", "busybox", "sh", "-c", write]);
    skiff.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    wait_until("it is ready", || skiff.ok(&["logs", "one"]).contains("ready"));
    disk_of_host.fill();
    let mut attached = skiff.start(&["attach", "--sig-proxy=false", "one"]);
    std::io::Write::write_all(attached.stdin.as_mut().unwrap(), b"go\n").unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    let mut said = String::new();
    let mut out = std::io::BufReader::new(attached.stdout.take().unwrap());
    while !said.contains("dd ended with") {
        assert!(
            Instant::now() < end && std::io::BufRead::read_line(&mut out, &mut said).unwrap() > 0,
            "{said}"
        );
    }
    assert!(said.contains("dd ended with 1"), "{said}");
    let _killed = attached.kill();
    attached.wait().unwrap();
    assert_eq!(skiff.ok(&["exec", "other", "echo", "on"]), "on\n");
    assert_eq!(skiff.ok(&["exec", "one", "cat", "/kept"]), "kept\n");
    disk_of_host.free();
    skiff.ok(&["stop", "-t", "0", "one"]);
    let id = skiff.ok(&["inspect", "--format", "{{.Id}}", "one"]);
    let layer = disk_of_host.path().join("containers").join(id.trim()).join("layer.ext4");
    wait_until("the disk is let go of", || !loop_files().contains(&layer.display().to_string()));
    let mended = Command::new("e2fsck").arg("-p").arg(&layer).output().unwrap();
    assert!(matches!(mended.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&mended.stdout));
    skiff.ok(&["rm", "-f", "one", "other"]);
    wait_until("no device is left", || !loop_files().contains(disk_of_host.path().to_str().unwrap()));
    drop(skiff);
}

#[test]
fn what_cannot_be_had_is_refused() {
    let skiff = Skiff::with_busybox();
    for (option, reason) in [
        ("size=1k", "want at least 1m"),
        ("size=99t", "at most 15t"),
        ("size=many", "many"),
        ("inodes=5", "unknown storage option: inodes: only size is known"),
        ("size", "must be name=value"),
    ] {
        let output = skiff.run(&["create", "--storage-opt", option, "busybox"]);
        assert!(output.code != 0 && output.stderr.contains(reason), "{option}: {output:?}");
    }
    let write = "dd if=/dev/zero of=/f bs=1M count=8 2>/dev/null";
    skiff.ok(&["run", "--rm", "--storage-opt", "size=0", "busybox", "sh", "-c", write]);
    let user = User::new();
    let rootless = Skiff::of(&user);
    rootless.load(&testkit::busybox());
    let output = rootless.run(&["run", "--rm", "--storage-opt", "size=2m", "busybox", "true"]);
    assert!(output.code != 0 && output.stderr.contains("needs root"), "{output:?}");
    assert!(output.stderr.contains("--tmpfs"), "{output:?}");
}
