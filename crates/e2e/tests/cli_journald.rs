//! `--log-driver journald` and a real `systemd-journald`, which a mount namespace keeps from the host's.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests start peers, and may fail")]

use std::path::Path;
use std::process::{Child, Command};

use linux::process::{NEW_NS, unshare_namespaces};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use serde_json::Value;
use testkit::{Skiff, wait_until};

/// A journal of its own below a `/run` of its own, for this thread and all that it starts.
struct Journal(Child);

impl Journal {
    fn start() -> Journal {
        unshare_namespaces(NEW_NS).unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).unwrap();
        std::fs::create_dir_all("/run/systemd/journal").unwrap();
        std::fs::create_dir_all("/run/log/journal").unwrap();
        // A journal is that of a machine.
        std::fs::write("/run/machine-id", "0123456789abcdef0123456789abcdef\n").unwrap();
        if Path::new("/etc/machine-id").exists() {
            mount("/run/machine-id", "/etc/machine-id", "", MountFlags::BIND, None).unwrap();
        }
        let journald = Command::new("/lib/systemd/systemd-journald").spawn();
        let journal = Journal(journald.expect("install the packages of scripts/install-packages"));
        wait_until("the journal listens", || Path::new("/run/systemd/journal/socket").exists());
        journal
    }

    /// Its entries of the container `name`.
    fn entries(name: &str) -> Vec<Value> {
        let mut journalctl = Command::new("journalctl");
        journalctl.args(["-D", "/run/log/journal", "-o", "json", "--all", &format!("CONTAINER_NAME={name}")]);
        let output = journalctl.output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_journal_has_the_lines_with_dockers_fields() {
    let _journal = Journal::start();
    let skiff = Skiff::with_busybox();
    // The last line is long: two pieces of 16 KiB, and what is left.
    let script = "echo one; printf 'a\\001b\\n'; echo failed >&2; head -c 40000 /dev/zero | tr '\\0' x; echo";
    let options =
        ["--log-driver", "journald", "--log-opt", "tag={{.Name}}/{{.ID}}", "--log-opt", "labels=team"];
    let run = [&["run", "--name", "web", "-l", "team=red"], &options[..], &["busybox", "sh", "-c", script]]
        .concat();
    assert_eq!(skiff.run(&run).code, 0);
    let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "web"]);
    let id = id.trim();

    wait_until("the journal has all", || Journal::entries("web").len() == 6);
    let entries = Journal::entries("web");
    for entry in &entries {
        let tag = format!("web/{}", &id[..12]);
        for (field, want) in [
            ("CONTAINER_ID", &id[..12]),
            ("CONTAINER_ID_FULL", id),
            ("CONTAINER_TAG", &tag),
            ("SYSLOG_IDENTIFIER", &tag),
            ("IMAGE_NAME", "busybox"),
            ("TEAM", "red"),
        ] {
            assert_eq!(entry[field], want, "{field}: {entry}");
        }
    }
    // Of two pipes, which comes first is chance; within one the order holds.
    let priority =
        |wanted: &str| entries.iter().filter(|entry| entry["PRIORITY"] == wanted).collect::<Vec<_>>();
    let (printed, failed) = (priority("6"), priority("3"));
    assert_eq!(failed.iter().map(|entry| &entry["MESSAGE"]).collect::<Vec<_>>(), ["failed"]);
    assert_eq!(printed[0]["MESSAGE"], "one");
    assert_eq!(printed[1]["MESSAGE"], serde_json::json!([97, 1, 98]), "a byte that is no text");

    let long = &printed[2..];
    let lengths: Vec<_> = long.iter().map(|entry| entry["MESSAGE"].as_str().unwrap().len()).collect();
    assert_eq!(lengths, [16384, 16384, 7232]);
    let partial = |field: &str| long.iter().map(|entry| entry[field].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(partial("CONTAINER_PARTIAL_ORDINAL"), ["1", "2", "3"]);
    assert_eq!(partial("CONTAINER_PARTIAL_LAST"), ["false", "false", "true"]);
    let continued: Vec<_> = long.iter().map(|entry| entry["CONTAINER_PARTIAL_MESSAGE"] == "true").collect();
    assert_eq!(continued, [true, true, false]);
    let ids = partial("CONTAINER_PARTIAL_ID");
    assert!(ids.iter().all(|id| id == &ids[0] && id.len() == 64), "{ids:?}");

    let shown = skiff.run(&["logs", "web"]);
    assert_eq!(shown.stdout, format!("one\na\u{1}b\n{}\n", "x".repeat(40000)));
    assert_eq!(shown.stderr, "failed\n");
}
