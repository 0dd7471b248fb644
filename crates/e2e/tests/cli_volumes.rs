//! What an image declares with `VOLUME`: directories of each container's own, filled from the image.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::{Entry, Skiff, User, busybox_layer};

/// An image `app` with volumes at `/data`, which belongs to somebody and holds files, and `/fresh`, which is not there.
fn load(skiff: &Skiff, large: usize) {
    let large = vec![b'x'; large];
    let layer = busybox_layer(&[Entry::Directory("below", 0o755), Entry::File("below/large", 0o644, &large)]);
    let script = r#"cat > layer.tar; mkdir data; echo image > data/file; mkdir data/sub; echo deep > data/sub/deep
        chmod 750 data; tar --append --file=layer.tar --owner=:999 --group=:998 data; rm -r data"#;
    let mut command = Command::new("bash");
    command.args(["-euc", script]).current_dir(skiff.folder()).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &layer).unwrap();
    assert!(child.wait().unwrap().success());
    let changes = [r#"VOLUME ["/data", "/fresh", "/below"]"#, "CMD sh"];
    skiff.ok(&["import", "--change", changes[0], "--change", changes[1], "layer.tar", "app"]);
}

fn with_image() -> Skiff {
    let skiff = Skiff::new();
    load(&skiff, 1000);
    skiff
}

fn container_folder(skiff: &Skiff, name: &str) -> PathBuf {
    let id = skiff.ok(&["inspect", "--format", "{{.Id}}", name]);
    skiff.root().join("containers").join(id.trim_end())
}

const LOOK: &str = "stat -c '%n %u:%g %a' /data /data/file; cat /data/file /data/sub/deep; touch /data/x /fresh/x && ls /fresh; touch /y 2>/dev/null || echo read-only";

const SEEN: &str = "/data 999:998 750\n/data/file 999:998 644\nimage\ndeep\nx\n";

#[test]
fn volumes_hold_the_images_files_and_can_be_written() {
    let skiff = with_image();
    for flags in [&[][..], &["--userns=host"], &["--privileged"], &["--user", "999:998"]] {
        let flags = [&["run", "--rm", "--read-only"], flags, &["app", "sh", "-c", LOOK]].concat();
        let output = skiff.run(&flags);
        // The user cannot write what is root's.
        let seen = if flags.contains(&"--user") {
            SEEN.replace("x\n", "read-only\n")
        } else {
            format!("{SEEN}read-only\n")
        };
        assert_eq!((output.stdout.as_str(), output.code), (seen.as_str(), 0), "{flags:?} {output:?}");
    }
    assert_eq!(skiff.ok(&["run", "--rm", "app", "sh", "-c", LOOK]), SEEN);
    // Each container has its own.
    assert_eq!(
        skiff.ok(&["run", "--rm", "app", "sh", "-c", "ls /data /fresh"]),
        "/data:\nfile\nsub\n\n/fresh:\n"
    );
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn volumes_are_filled_once_and_go_with_their_container() {
    let skiff = with_image();
    let script = "rm /data/file && echo run >> /data/runs; cat /data/runs; ls /data";
    assert_eq!(skiff.ok(&["run", "--name", "vol", "app", "sh", "-c", script]), "run\nruns\nsub\n");
    let again = skiff.run(&["start", "-a", "vol"]);
    assert_eq!(again.stdout, "run\nruns\nsub\n", "{again:?}");
    let folder = container_folder(&skiff, "vol");
    let names = |folder: PathBuf| {
        let entries =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.filter(|name| !name.starts_with("log")).collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.clone()), ["upper", "volumes", "work"]);
    // What is written there is no part of the container's layer.
    assert!(!folder.join("upper/data/runs").exists());
    for flags in [&["rm", "vol"][..], &["rm", "-v", "wol"]] {
        drop(skiff.run(&["run", "--name", "wol", "app", "true"]));
        assert_eq!(skiff.ok(flags).lines().count(), 1);
    }
    assert!(!folder.exists());
    assert_eq!(names(skiff.root().join("containers")), [""; 0]);
}

#[test]
fn inspect_and_ps_tell_of_volumes() {
    let skiff = with_image();
    skiff.ok(&["create", "--name", "vol", "-v", "/tmp:/mine", "app"]);
    let folder = container_folder(&skiff, "vol");
    let mounts: serde_json::Value =
        serde_json::from_str(&skiff.ok(&["inspect", "--format", "{{json .Mounts}}", "vol"])).unwrap();
    let volume = |number: usize, target: &str| {
        serde_json::json!({
            "Type": "volume", "Source": folder.join(format!("volumes/{number}")), "Destination": target,
            "Driver": "local", "Mode": "", "RW": true, "Propagation": "",
        })
    };
    let shown = mounts.as_array().unwrap();
    assert_eq!(shown[..3], [volume(0, "/below"), volume(1, "/data"), volume(2, "/fresh")], "{mounts}");
    assert_eq!(shown[3]["Type"], "bind");
    assert_eq!(skiff.ok(&["ps", "-a", "--format", "{{.LocalVolumes}} {{.Mounts}}"]), "3 /tmp\n");
    assert_eq!(skiff.ok(&["ps", "-a", "--filter", "volume=/data", "--format", "{{.Names}}"]), "vol\n");
    assert_eq!(skiff.ok(&["ps", "-a", "--filter", "volume=/other", "--format", "{{.Names}}"]), "");
}

#[test]
fn what_the_user_mounts_replaces_a_volume() {
    let skiff = with_image();
    let own = skiff.folder().join("own");
    std::fs::create_dir(&own).unwrap();
    let bound = format!("{}:/data/", own.display());
    let mount = format!("type=bind,source={},target=/data", own.display());
    for flags in [&["-v", &bound][..], &["--mount", &mount], &["--tmpfs", "/data:ro"]] {
        let flags =
            [&["run", "--rm"], flags, &["app", "sh", "-c", "mount | grep -c ' /data '; ls /data | wc -l"]]
                .concat();
        let count = if flags.contains(&"--tmpfs") { "1\n2\n" } else { "1\n0\n" };
        assert_eq!(skiff.ok(&flags), count, "{flags:?}");
    }
    // A volume inside of what the user mounts is filled from the image, not from there.
    std::fs::create_dir(own.join("below")).unwrap();
    std::fs::write(own.join("below/other"), "").unwrap();
    let bound = format!("{}:/", own.display());
    assert!(skiff.run(&["run", "--rm", "-v", &bound, "app", "true"]).stderr.contains("can't be '/'"));
}

#[test]
fn what_a_killed_start_has_left_is_filled_anew() {
    let skiff = Skiff::new();
    load(&skiff, 24 << 20);
    // A machine that is busy elsewhere may have filled them before it lets us look.
    let is_unfinished = (0..50).any(|_| {
        let script = "cat /below/large | wc -c; ls /data; sleep 100";
        skiff.ok(&["create", "--name", "vol", "app", "sh", "-c", script]);
        let is_unfinished = kill_starts(&skiff);
        if !is_unfinished {
            skiff.ok(&["rm", "-f", "vol"]);
        }
        is_unfinished
    });
    assert!(is_unfinished, "no start was killed while it copied");
    skiff.ok(&["start", "vol"]);
    let begun = Instant::now();
    while !skiff.ok(&["logs", "vol"]).ends_with("25165824\nfile\nsub\n") {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", skiff.ok(&["logs", "vol"]));
        std::thread::sleep(Duration::from_millis(10));
    }
    skiff.ok(&["rm", "-f", "vol"]);
    assert_eq!(skiff.left_by_containers(), "");
}

/// The monitor of a container, which has its id among its arguments.
/// Kills monitors, each later than the one before, until the volumes are filled; whether they were not, at first.
fn kill_starts(skiff: &Skiff) -> bool {
    let id = skiff.ok(&["inspect", "--format", "{{.Id}}", "vol"]);
    let folder = container_folder(skiff, "vol");
    std::fs::create_dir_all(folder.join("volumes.new/1/junk")).unwrap();
    for delay in 0..12 {
        let mut start = skiff.start(&["start", "vol"]);
        let begun = Instant::now();
        let monitor = loop {
            assert!(begun.elapsed() < Duration::from_secs(10), "nothing is copied");
            let is_begun = is_begun(&folder);
            if let Some(monitor) = monitor_of(id.trim_end()).filter(|_| is_begun) {
                break monitor;
            }
        };
        std::thread::sleep(Duration::from_millis(delay * 2));
        rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
        start.wait().unwrap();
        // Until its remains are reaped.
        drop(skiff.run(&["kill", "vol"]));
        drop(skiff.run(&["ps", "-a"]));
        if folder.join("volumes").exists() {
            return delay > 0;
        }
    }
    true
}

/// Whether the first of a container's volumes is being filled, or is.
fn is_begun(folder: &Path) -> bool {
    let begun = |folder: &Path| {
        let Ok(volumes) = std::fs::read_dir(folder) else { return false };
        volumes.flatten().any(|volume| volume.path().join("large").exists())
    };
    begun(&folder.join("volumes.new")) || begun(&folder.join("volumes"))
}

fn monitor_of(id: &str) -> Option<rustix::process::Pid> {
    let numbers =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let found = numbers.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).find(|number| {
        std::fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|line| {
            line.starts_with(b"skiff-monitor") && String::from_utf8_lossy(&line).contains(id)
        })
    })?;
    rustix::process::Pid::from_raw(found.parse().unwrap())
}

#[test]
fn an_ordinary_user_has_volumes_too() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    load(&skiff, 1000);
    for _ in 0..2 {
        let look = LOOK.replace("%u:%g ", "");
        let seen = format!("{SEEN}read-only\n").replace("999:998 ", "");
        assert_eq!(skiff.ok(&["run", "--rm", "--read-only", "app", "sh", "-c", &look]), seen);
    }
    skiff.ok(&["run", "--name", "vol", "app", "sh", "-c", "touch /data/x"]);
    assert_eq!(skiff.ok(&["rm", "vol"]), "vol\n");
}
