//! `update`: limits of containers that run, rest or are stopped, and their restart policies.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

use testkit::Skiff;

/// A setting of a container's group, by its names in both versions.
fn setting(skiff: &Skiff, name: &str, controller: &str, old: &str, new: &str) -> String {
    let id = skiff.said("{{.Id}}", name);
    let places =
        [format!("/sys/fs/cgroup/{controller}/skiff/{id}/{old}"), format!("/sys/fs/cgroup/skiff/{id}/{new}")];
    let found = places.iter().find_map(|path| std::fs::read_to_string(path).ok());
    found.map_or_else(|| "nothing".to_owned(), |text| text.trim_end().to_owned())
}

fn memory(skiff: &Skiff, name: &str) -> String {
    setting(skiff, name, "memory", "memory.limit_in_bytes", "memory.max")
}

#[test]
fn limits_of_a_running_container_change_at_once_and_stay() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "web", "-m", "64m", "busybox", "sleep", "1000"]);
    skiff.ok(&["run", "-d", "--name", "free", "busybox", "sleep", "1000"]);
    assert_eq!(memory(&skiff, "web"), (64 << 20).to_string());
    assert_eq!(skiff.ok(&["update", "-m", "100m", "--pids-limit", "77", "web", "free"]), "web\nfree\n");
    for name in ["web", "free"] {
        assert_eq!(memory(&skiff, name), (100 << 20).to_string(), "{name}");
        assert_eq!(setting(&skiff, name, "pids", "pids.max", "pids.max"), "77", "{name}");
    }
    let kept = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}}";
    assert_eq!(skiff.said(kept, "web"), "104857600 134217728 77");
    // One that has no group for it yet, gets one.
    skiff.ok(&["container", "update", "--cpuset-cpus", "0", "free"]);
    assert_eq!(skiff.ok(&["exec", "free", "nproc"]), "1\n");
    skiff.ok(&["restart", "-t", "0", "web", "free"]);
    assert_eq!(
        (memory(&skiff, "web"), memory(&skiff, "free")),
        ((100 << 20).to_string(), (100 << 20).to_string())
    );
    assert_eq!(skiff.ok(&["exec", "free", "nproc"]), "1\n");
    skiff.ok(&["stop", "-t", "0", "web"]);
    skiff.ok(&["update", "-m", "32m", "--memory-swap", "-1", "web"]);
    skiff.ok(&["start", "web"]);
    assert_eq!(memory(&skiff, "web"), (32 << 20).to_string());
    skiff.ok(&["rm", "-f", "web", "free"]);
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn what_docker_refuses_is_refused_and_changes_nothing() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "web", "-m", "64m", "--cpus", "1", "busybox", "sleep", "1000"]);
    skiff.ok(&["run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1000"]);
    for (arguments, complaint) in [
        (&["-m", "200m", "web"][..], "Memory limit should be smaller than already set memoryswap limit"),
        (&["--cpu-quota", "50000", "web"], "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (&["-m", "1m", "web"], "Minimum memory limit allowed is 6MB"),
        (&["--restart", "always", "gone"], "because AutoRemove is enabled"),
        (&["--restart", "sometimes", "web"], "unknown policy 'sometimes'"),
        (&["-m", "70m", "nosuch"], "No such container: nosuch"),
        (&["web"], "you must provide one or more flags when using this command"),
    ] {
        let refused = skiff.run(&[&["update"], arguments].concat());
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
        assert!(refused.stderr.contains(complaint), "{refused:?}");
    }
    assert_eq!(memory(&skiff, "web"), (64 << 20).to_string());
    assert_eq!(skiff.said("{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}", "web"), "67108864 no");
    let mixed = skiff.run(&["update", "-m", "70m", "nosuch", "web"]);
    assert_eq!((mixed.code, mixed.stdout.as_str()), (1, "web\n"));
}

#[test]
fn a_policy_changes_at_once_and_limits_hold_for_the_runs_that_it_brings() {
    let skiff = Skiff::with_busybox();
    let script = "trap 'exit 3' HUP; while :; do sleep 0.02; done";
    skiff.ok(&["run", "-d", "--name", "web", "--stop-signal", "TERM", "busybox", "sh", "-c", script]);
    skiff.ok(&["update", "--restart", "on-failure:4", "-m", "80m", "web"]);
    skiff.ok(&["kill", "-s", "HUP", "web"]);
    skiff.wait_for("web", "{{.State.Status}} {{.RestartCount}}", "running 1");
    assert_eq!(memory(&skiff, "web"), (80 << 20).to_string());
    let policy = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(skiff.said(policy, "web"), "on-failure 4");
    skiff.ok(&["update", "--restart", "no", "web"]);
    skiff.ok(&["kill", "-s", "HUP", "web"]);
    skiff.wait_for("web", "{{.State.Status}} {{.State.ExitCode}}", "exited 3");
    // One that rests takes what it is told for its next run.
    skiff.ok(&["run", "-d", "--restart", "always", "--name", "resting", "busybox", "false"]);
    skiff.wait_for("resting", "{{.State.Status}} {{ge .RestartCount 4}}", "restarting true");
    skiff.ok(&["update", "--restart", "no", "-m", "90m", "resting"]);
    skiff.wait_for("resting", "{{.State.Status}} {{.HostConfig.Memory}}", "exited 94371840");
    skiff.ok(&["rm", "web", "resting"]);
    assert_eq!(skiff.left_by_containers(), "");
}
