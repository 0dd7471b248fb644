//! What the flags of `build` give to its steps and keep from them, as the steps themselves see it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::path::{Path, PathBuf};

use testkit::{Output, Skiff, wait_until};

/// A Skiff with busybox.
struct Workshop {
    skiff: Skiff,
}

impl Workshop {
    fn new() -> Workshop {
        Workshop { skiff: Skiff::with_busybox().that_builds() }
    }

    fn context(&self, dockerfile: &str) -> PathBuf {
        let context = self.skiff.folder().join("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        context
    }

    fn build(&self, flags: &[&str], dockerfile: &str) -> Output {
        let context = self.context(dockerfile).display().to_string();
        let usual = ["build", "--progress=plain", "--no-cache", "-t", "made"];
        self.skiff.run(&[&usual, flags, &[&context]].concat())
    }

    /// What a step prints that runs with these flags.
    fn seen(&self, flags: &[&str], script: &str) -> String {
        let dockerfile = format!("FROM busybox\nRUN ({script}) > /seen 2>&1\n");
        let output = self.build(flags, &dockerfile);
        assert_eq!(output.code, 0, "{flags:?}: {}", output.stderr);
        self.skiff.ok(&["run", "--rm", "made", "cat", "/seen"])
    }

    fn refused(&self, flags: &[&str], step: &str, words: &[&str]) {
        let output = self.build(flags, &format!("FROM busybox\n{step}\n"));
        assert_ne!(output.code, 0, "{flags:?} {step}: {}", output.stderr);
        for word in words {
            assert!(output.stderr.contains(word), "{flags:?} {step}: no {word:?} in:\n{}", output.stderr);
        }
    }
}

fn is_version_2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The script that prints a limit.
fn limit(version_1: &str, version_2: &str) -> String {
    format!("cat /sys/fs/cgroup/{}", if is_version_2() { version_2 } else { version_1 })
}

#[test]
fn limits_of_resources_are_in_the_steps_own_group() {
    let workshop = Workshop::new();
    let memory = limit("memory/memory.limit_in_bytes", "memory.max");
    for flags in [&["--memory=64m"][..], &["-m", "67108864"], &["--resource", "memory=64m"]] {
        assert_eq!(workshop.seen(flags, &memory), "67108864\n", "{flags:?}");
    }
    let quota = limit("cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us", "cpu.max");
    let shown = |quota: u32, period: u32| match is_version_2() {
        true => format!("{quota} {period}\n"),
        false => format!("{quota}\n{period}\n"),
    };
    assert_eq!(workshop.seen(&["--cpus=0.5"], &quota), shown(50_000, 100_000));
    let given = ["--cpu-quota=20000", "--cpu-period=40000"];
    assert_eq!(workshop.seen(&given, &quota), shown(20_000, 40_000));
    let given = ["--resource", "cpu-quota=20000,cpu-period=40000"];
    assert_eq!(workshop.seen(&given, &quota), shown(20_000, 40_000));
    let shares = limit("cpu/cpu.shares", "cpu.weight");
    let shown = if is_version_2() { "59\n" } else { "512\n" };
    assert_eq!(workshop.seen(&["--cpu-shares=512"], &shares), shown);
    assert_eq!(workshop.seen(&["--resource=cpu-shares=512"], &shares), shown);
    for flag in ["--cpuset-cpus=0", "--resource=cpuset-cpus=0"] {
        assert_eq!(
            workshop.seen(&[flag], "nproc; grep Cpus_allowed_list /proc/self/status"),
            "1\nCpus_allowed_list:\t0\n"
        );
    }
    assert_eq!(
        workshop.seen(&["--cpuset-mems=0"], "grep Mems_allowed_list /proc/self/status"),
        "Mems_allowed_list:\t0\n"
    );
    let pids = limit("pids/pids.max", "pids.max");
    assert_eq!(workshop.seen(&["--pids-limit=50"], &pids), "50\n");
    // A step that asks for more than it may have fails, and says why.
    workshop.refused(
        &["--memory=16m", "--memory-swap=16m"],
        "RUN exec dd if=/dev/zero of=/dev/null bs=64M count=1",
        &["exit code: 137: cannot allocate memory"],
    );
    workshop.refused(&["--pids-limit=4"], "RUN for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait", &["fork"]);
    assert_eq!(workshop.skiff.left_by_containers(), "");
}

#[test]
fn limits_that_make_no_sense_are_refused_before_anything_is_built() {
    let workshop = Workshop::new();
    for (flags, word) in [
        (&["--memory=1m"][..], "6MB"),
        (&["--memory=64m", "--memory-swap=32m"], "larger than memory limit"),
        (&["--memory-swap=64m"], "Memory limit"),
        (&["--cpus=4000"], "Range of CPUs"),
        (&["--cpus=1", "--cpu-quota=1000"], "Conflicting options"),
        (&["--cpuset-cpus=9999"], "not available"),
        (&["--cpu-quota=5"], "1ms"),
        (&["--memory=-5"], "memory"),
        (&["--ulimit=nofile"], "ulimit"),
        (&["--ulimit=nothing=1"], "ulimit"),
        (&["--shm-size=x"], "shm-size"),
        (&["--network=bridge"], "network mode"),
        (&["--add-host=db"], "add-host"),
        (&["--resource=memory"], "key=value"),
        (&["--resource=disk=1"], "disk"),
        (&["--allow=all"], "allow"),
    ] {
        workshop.refused(flags, "RUN echo must-not-be-reached", &[word]);
    }
}

#[test]
fn the_size_of_shared_memory_and_the_limits_of_processes_are_those_asked_for() {
    let workshop = Workshop::new();
    assert_eq!(workshop.seen(&["--shm-size=1m"], "stat -f -c %b /dev/shm"), "256\n");
    assert_eq!(workshop.seen(&[], "stat -f -c %b /dev/shm"), "16384\n", "64 MiB by default");
    let given = ["--ulimit=nofile=123:456", "--ulimit", "core=0"];
    assert_eq!(workshop.seen(&given, "ulimit -Sn; ulimit -Hn; ulimit -c"), "123\n456\n0\n");
    // Who fills it fails, and nobody else.
    let said = workshop.seen(
        &["--shm-size=1m"],
        "dd if=/dev/zero of=/dev/shm/full bs=64k 2>&1 | grep -c 'No space left'; stat -c %s /dev/shm/full",
    );
    assert_eq!(said, "1\n1048576\n");
}

#[test]
fn steps_run_below_the_control_group_that_is_named() {
    let workshop = Workshop::new();
    let parent = testkit::own_name("parent");
    let context =
        workshop.context("FROM busybox\nRUN --mount=type=cache,target=/c touch /c/began; sleep 1000\n");
    let context = context.display().to_string();
    let mut child = workshop.skiff.start(&["build", "--network=none", "--cgroup-parent", &parent, &context]);
    let groups = || {
        let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let mut places: Vec<PathBuf> = hierarchies.filter(|path| path.is_dir()).collect();
        places.push("/sys/fs/cgroup".into());
        places.into_iter().map(|place| place.join(&parent)).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    // The step's own process is in a group of a name of its own, below the one that was named.
    let processes = || {
        let inner =
            groups().into_iter().flat_map(|group| std::fs::read_dir(group).into_iter().flatten().flatten());
        inner
            .filter_map(|entry| std::fs::read_to_string(entry.path().join("cgroup.procs")).ok())
            .collect::<String>()
    };
    wait_until("the step is there", || {
        processes().lines().any(|pid| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains("sleep")
        })
    });
    // The builder is killed with its step's monitor still there; the step ends, and its group goes.
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the group is empty", || processes().is_empty());
    wait_until("its monitor has gone", || {
        let left = std::fs::read_dir(workshop.skiff.run_folder().join("builds")).unwrap();
        left.flatten().all(|entry| !entry.path().join("status").exists())
    });
    for group in groups() {
        assert!(
            std::fs::read_dir(&group).unwrap().flatten().all(|entry| !entry.path().is_dir()),
            "{group:?}"
        );
        std::fs::remove_dir(group).unwrap();
    }
    // What half-done work is left goes with the next build.
    assert_eq!(workshop.build(&["--network=none"], "FROM busybox\nRUN true\n").code, 0);
}

#[test]
fn names_of_hosts_and_networks_are_those_asked_for() {
    let workshop = Workshop::new();
    let given = ["--add-host=db:10.1.2.3", "--add-host", "six=[::1],gate:host-gateway", "--network=none"];
    let hosts = workshop.seen(&given, "cat /etc/hosts; hostname");
    assert_eq!(
        hosts,
        "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tdb\n::1\tsix\n\
         127.0.0.1\tgate\nbuildkitsandbox\n"
    );
    let count = "cat /proc/net/dev | grep -c :";
    let all = format!("{}\n", std::fs::read_to_string("/proc/net/dev").unwrap().matches(':').count());
    assert_eq!(workshop.seen(&["--network=none"], count), "1\n");
    assert_eq!(workshop.seen(&["--network=host"], count), all);
    assert_eq!(workshop.seen(&[], count), all);
    // What the step says itself counts before what is said for all of them.
    let of = |flags: &[&str], network: &str| {
        let dockerfile = format!("FROM busybox\nRUN --network={network} {count} > /seen\n");
        let output = workshop.build(flags, &dockerfile);
        assert_eq!(output.code, 0, "{}", output.stderr);
        workshop.skiff.ok(&["run", "--rm", "made", "cat", "/seen"])
    };
    assert_eq!(of(&["--network=host"], "none"), "1\n");
    assert_eq!(of(&["--network=none", "--allow=network.host"], "host"), all);
    assert_eq!(of(&["--network=none"], "default"), "1\n");
    workshop.refused(
        &[],
        "RUN --network=host true",
        &["network.host is not allowed", "--allow network.host"],
    );
}

#[test]
fn privileges_are_those_that_are_allowed() {
    let workshop = Workshop::new();
    let show = "grep CapEff /proc/self/status; cat /proc/self/uid_map | wc -l; mount -t tmpfs none /mnt 2>/dev/null && echo mounted; true";
    let step = |flag: &str| format!("FROM busybox\nRUN mkdir /mnt\nRUN {flag} ({show}) > /seen\n");
    let output = workshop.build(&[], &step("--security=sandbox"));
    assert_eq!(output.code, 0, "{}", output.stderr);
    let seen = workshop.skiff.ok(&["run", "--rm", "made", "cat", "/seen"]);
    assert_eq!(seen, "CapEff:\t00000000a80425fb\n1\n");
    let output = workshop.build(&["--allow", "security.insecure"], &step("--security=insecure"));
    assert_eq!(output.code, 0, "{}", output.stderr);
    let seen = workshop.skiff.ok(&["run", "--rm", "made", "cat", "/seen"]);
    assert!(seen.ends_with("1\nmounted\n") && !seen.contains("a80425fb"), "{seen}");
    workshop.refused(
        &[],
        "RUN --security=insecure true",
        &["security.insecure is not allowed", "--allow security.insecure"],
    );
    workshop.refused(
        &["--allow=network.host"],
        "RUN --security=insecure true",
        &["security.insecure is not allowed"],
    );
}

#[test]
fn devices_that_are_not_there_are_refused_if_they_are_required() {
    let workshop = Workshop::new();
    workshop.refused(
        &["--allow=device"],
        "RUN --device=vendor.com/gpu=all,required true",
        &["required device \"vendor.com/gpu=all\" is not registered"],
    );
    // Who can do without gets none.
    let output = workshop.build(&[], "FROM busybox\nRUN --device=vendor.com/gpu=all ls /dev > /seen\n");
    assert_eq!(output.code, 0, "{}", output.stderr);
    // What earlier builders took is said to be without effect.
    let output = workshop.build(&["--security-opt=seccomp=unconfined"], "FROM busybox\nRUN true\n");
    assert!(output.code == 0 && output.stderr.contains("--security-opt has no effect"), "{}", output.stderr);
}
