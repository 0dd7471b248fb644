//! Skiff of an ordinary user: no root anywhere, the user's own ids and those lent to it.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use testkit::{Skiff, User, busybox};

#[test]
fn an_ordinary_user_runs_containers_from_start_to_end() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    skiff.load(&busybox());

    let inside = skiff.ok(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "id -u; cat /proc/self/uid_map; touch /x; hostname",
    ]);
    let lines: Vec<&str> = inside.lines().collect();
    assert_eq!(lines[0], "0", "root inside");
    let own: Vec<String> = lines[1].split_whitespace().map(str::to_owned).collect();
    assert_eq!(own, ["0", &user.uid().to_string(), "1"], "which is the user outside");
    assert_eq!(lines[3].len(), 12, "a host name of the container's own");

    let id = skiff.ok(&[
        "run",
        "-d",
        "--name",
        "daemon",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done",
    ]);
    skiff.wait_for("daemon", "{{.State.Status}}", "running");
    assert_eq!(skiff.ok(&["ps", "-q", "--no-trunc"]), id);
    while skiff.ok(&["logs", "daemon"]) != "ready\n" {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(skiff.ok(&["exec", "daemon", "cat", "/proc/1/comm"]), "sh\n");
    assert_eq!(skiff.run(&["exec", "daemon", "sh", "-c", "exit 7"]).code, 7);
    skiff.ok(&["stop", "daemon"]);
    assert_eq!(skiff.ok(&["inspect", "--format", "{{.State.ExitCode}}", "daemon"]), "3\n");
    assert_eq!(skiff.ok(&["rm", "daemon"]), "daemon\n");
    assert_eq!(skiff.ok(&["ps", "-aq"]), "");
}

#[test]
fn what_other_ids_of_a_container_own_is_removed_with_it() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    skiff.load(&busybox());
    let script = "mkdir -m 700 /deep /deep/er && touch /deep/er/file && chown -R 1000:1000 /deep";
    skiff.ok(&["run", "--name", "owner", "busybox", "sh", "-c", script]);
    assert_eq!(skiff.ok(&["rm", "owner"]), "owner\n");
    skiff.ok(&["run", "--rm", "busybox", "sh", "-c", script]);
    // The monitor removes the files after the command has ended.
    let left = || std::fs::read_dir(skiff.root().join("containers")).map_or(0, Iterator::count);
    for _ in 0..500 {
        if left() == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(left(), 0, "directories of containers are left");
}

#[test]
fn limits_that_nobody_delegated_are_warned_of() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    skiff.load(&busybox());
    let limited = skiff.run(&["run", "--rm", "--memory", "64m", "busybox", "true"]);
    assert_eq!(limited.code, 0, "{limited:?}");
    assert!(limited.stderr.contains("Limits have no effect"), "{limited:?}");
}

/// A control group of the user's own in every hierarchy: what a container of the user must not reach (CVE-2023-25809).
struct Delegated(Vec<std::path::PathBuf>);

impl Delegated {
    fn to(user: &User) -> Delegated {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the host's mounts");
        let hierarchies = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ');
            let (path, kind) = (fields.nth(1)?, fields.next()?);
            kind.starts_with("cgroup").then(|| std::path::PathBuf::from(path))
        });
        let groups: Vec<_> = hierarchies
            .map(|hierarchy| hierarchy.join(testkit::own_name("delegated")))
            .filter(|group| std::fs::create_dir(group).is_ok())
            .collect();
        for group in &groups {
            for path in [group.clone(), group.join("cgroup.procs")] {
                std::os::unix::fs::chown(path, Some(user.uid()), None).expect("a group of the user's");
            }
        }
        assert!(!groups.is_empty());
        Delegated(groups)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for group in &self.0 {
            drop(std::fs::remove_dir(group));
        }
    }
}

#[test]
fn no_control_group_of_the_host_can_be_written() {
    let user = User::new();
    let skiff = Skiff::of(&user);
    skiff.load(&busybox());
    let delegated = Delegated::to(&user);
    let group = delegated.0[0].file_name().expect("a name").to_string_lossy().into_owned();
    // Opened, for root inside counts as allowed to write whatever the shell is asked about.
    let script = format!(
        "mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted
         for dir in $(find /sys/fs/cgroup -type d); do mkdir $dir/made 2>/dev/null && echo $dir/made; done
         for file in $(find /sys/fs/cgroup -type f); do true 2>/dev/null >>$file && echo $file; done
         find /sys/fs/cgroup -name {group} | grep -q . && echo seen"
    );
    for mode in ["private", "host"] {
        let output = skiff.run(&["run", "--rm", "--cgroupns", mode, "busybox", "sh", "-c", &script]);
        let start: String = output.stdout.chars().take(2000).collect();
        assert!(start.is_empty() || start == "seen\n", "{mode}: {start}");
        // With its own view a container may see none of them; with the host's there is something to be refused.
        assert!(mode == "private" || start == "seen\n", "{output:?}");
    }
}
