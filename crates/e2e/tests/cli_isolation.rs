//! What a container is given and kept from, as seen from inside.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use testkit::{Entry, Skiff, archive, busybox_layer};

/// Runs a shell script in a container with more flags, and returns what it prints.
fn inside(skiff: &Skiff, flags: &[&str], script: &str) -> String {
    skiff.ok(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
}

/// One line of the shell's own `/proc/self/status`, as a number.
fn capabilities(skiff: &Skiff, flags: &[&str], field: &str) -> u64 {
    let line = inside(skiff, flags, &format!("grep ^{field}: /proc/self/status"));
    u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap()
}

/// Docker's fourteen.
const DEFAULT: u64 = 0xa804_25fb;

#[test]
fn capabilities_are_dockers_and_change_by_flag() {
    let skiff = Skiff::with_busybox();
    const NET_ADMIN: u64 = 1 << 12;
    const CHOWN: u64 = 1;
    for (flags, want) in [
        (&[][..], DEFAULT),
        (&["--cap-add", "NET_ADMIN"], DEFAULT | NET_ADMIN),
        (&["--cap-add=cap_net_admin"], DEFAULT | NET_ADMIN),
        (&["--cap-drop", "CHOWN"], DEFAULT & !CHOWN),
        (&["--cap-drop", "ALL"], 0),
        (&["--cap-drop", "ALL", "--cap-add", "CHOWN"], CHOWN),
        (&["--cap-drop", "CHOWN", "--cap-add", "NET_ADMIN"], (DEFAULT & !CHOWN) | NET_ADMIN),
    ] {
        for field in ["CapBnd", "CapPrm", "CapEff"] {
            assert_eq!(capabilities(&skiff, flags, field), want, "{flags:?} {field}");
        }
    }
    assert_eq!(capabilities(&skiff, &["--user", "app"], "CapEff"), 0);
    assert_eq!(capabilities(&skiff, &["--user", "app"], "CapBnd"), DEFAULT);
    let unknown = skiff.run(&["run", "--rm", "--cap-add", "NO_SUCH", "busybox", "true"]);
    assert_eq!(unknown.code, 125);
    assert!(unknown.stderr.contains("NO_SUCH"), "{unknown:?}");
}

#[test]
fn a_file_gives_no_capability_where_privileges_cannot_be_gained() {
    let skiff = Skiff::new();
    let program = std::fs::read("/bin/busybox").expect("install busybox-static");
    // `cap_net_bind_service=ep`, version 2.
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let file = Entry::File("cap/cat", 0o755, &program);
    let layer = busybox_layer(&[Entry::With("security.capability", capability, &file)]);
    skiff.load(&archive("caps", &layer, serde_json::json!({})));
    let effective = |option: &str| {
        let run =
            ["run", "--rm", "-u", "app", "--security-opt", option, "caps", "/cap/cat", "/proc/self/status"];
        let status = skiff.ok(&run);
        status.lines().find_map(|line| line.strip_prefix("CapEff:\t").map(str::to_owned)).unwrap()
    };
    assert_eq!(effective("no-new-privileges=false"), "0000000000000400");
    assert_eq!(effective("no-new-privileges"), "0000000000000000");
}

#[test]
fn seccomp_and_no_new_privileges_are_on_unless_lifted() {
    let skiff = Skiff::with_busybox();
    let status = |flags: &[&str]| {
        inside(&skiff, flags, "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr '\\t\\n' '  '")
    };
    assert_eq!(status(&[]), "NoNewPrivs: 1 Seccomp: 2 ");
    assert_eq!(status(&["--security-opt", "seccomp=unconfined"]), "NoNewPrivs: 1 Seccomp: 0 ");
    assert_eq!(status(&["--security-opt", "no-new-privileges=false"]), "NoNewPrivs: 0 Seccomp: 2 ");
    assert_eq!(status(&["--security-opt", "no-new-privileges"]), "NoNewPrivs: 1 Seccomp: 2 ");
    // A default profile keeps a container from making namespaces; without it the kernel's own rules hold.
    assert_eq!(inside(&skiff, &[], "unshare -U true 2>/dev/null && echo made || echo refused"), "refused\n");
    let profile = skiff.folder().join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;
    std::fs::write(&profile, text).unwrap();
    let option = format!("seccomp={}", profile.display());
    assert_eq!(
        inside(&skiff, &["--security-opt", &option], "mkdir /x 2>/dev/null && echo made || echo refused"),
        "refused\n"
    );
    assert_eq!(
        inside(&skiff, &["--security-opt", "seccomp=profile.json"], "mkdir /x 2>/dev/null || echo refused"),
        "refused\n"
    );
    let missing = skiff.run(&["run", "--rm", "--security-opt", "seccomp=/nowhere", "busybox", "true"]);
    assert_eq!(missing.code, 125);
    assert!(missing.stderr.contains("/nowhere"), "{missing:?}");
}

#[test]
fn root_inside_is_nobody_in_particular_outside() {
    let skiff = Skiff::with_busybox();
    let map = inside(&skiff, &[], "cat /proc/self/uid_map /proc/self/gid_map");
    let mut bases = Vec::new();
    for line in map.lines() {
        let numbers: Vec<u32> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert!(numbers[0] == 0 && numbers[1] >= 65_536 && numbers[2] == 65_536, "{map}");
        bases.push(numbers[1]);
    }
    assert_eq!(bases.len(), 2);
    // Two containers have nothing in common.
    skiff.ok(&["run", "-d", "--name", "other", "busybox", "sleep", "1000"]);
    let other = skiff.ok(&["exec", "other", "cat", "/proc/self/uid_map"]);
    let mine = inside(&skiff, &[], "cat /proc/self/uid_map");
    assert_ne!(mine, other);
    assert_eq!(
        inside(&skiff, &[], "id -u; id -g; ls -ldn / /etc/passwd | cut -c1-30 | tr -s ' ' | cut -d' ' -f3,4"),
        "0\n0\n0 0\n0 0\n"
    );
    let host = inside(&skiff, &["--userns", "host"], "cat /proc/self/uid_map");
    assert_eq!(host.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295"]);
}

#[test]
fn users_and_groups_are_looked_up_in_the_image() {
    let skiff = Skiff::with_busybox();
    for (flags, want) in [
        (&[][..], "uid=0(root) gid=0(root) groups=0(root),29(audio)\n"),
        (&["-u", "app"], "uid=1000(app) gid=1000(app) groups=1000(app),10(wheel),29(audio)\n"),
        (&["-u", "app:audio"], "uid=1000(app) gid=29(audio) groups=29(audio)\n"),
        (&["-u", "1000"], "uid=1000(app) gid=1000(app) groups=1000(app),10(wheel),29(audio)\n"),
        (&["-u", "1234"], "uid=1234 gid=0(root) groups=0(root)\n"),
        (&["-u", "1234:77"], "uid=1234 gid=77 groups=77\n"),
        (
            &["-u", "app", "--group-add", "nogroup", "--group-add", "777"],
            "uid=1000(app) gid=1000(app) groups=1000(app),10(wheel),29(audio),65534(nogroup),777\n",
        ),
    ] {
        let shown = inside(&skiff, flags, "id");
        let sorted = |text: &str| {
            let mut groups: Vec<String> =
                text.trim_end().split("groups=").nth(1).unwrap_or("").split(',').map(str::to_owned).collect();
            groups.sort();
            groups.dedup();
            (text.split(" groups=").next().unwrap().to_owned(), groups)
        };
        assert_eq!(sorted(&shown), sorted(want), "{flags:?}");
    }
    let unknown = skiff.run(&["run", "--rm", "-u", "nobodyhere", "busybox", "true"]);
    assert!(matches!(unknown.code, 125 | 126), "{unknown:?}");
    assert!(unknown.stderr.contains("nobodyhere"), "{unknown:?}");
    assert_eq!(inside(&skiff, &["-u", "app"], "echo $HOME"), "/home/app\n");
}

#[test]
fn namespaces_are_the_containers_own_unless_shared() {
    let skiff = Skiff::with_busybox();
    for (flags, kind, shared) in [
        (&[][..], "pid", false),
        (&[], "ipc", false),
        (&[], "uts", false),
        (&[], "net", false),
        (&[], "mnt", false),
        (&[], "user", false),
        (&[], "cgroup", false),
        (&["--pid", "host"], "pid", true),
        (&["--ipc", "host"], "ipc", true),
        (&["--uts", "host"], "uts", true),
        (&["--network", "host"], "net", true),
        (&["--net=host"], "net", true),
        (&["--cgroupns", "host"], "cgroup", true),
        (&["--userns", "host"], "user", true),
    ] {
        let outside = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let within = inside(&skiff, flags, &format!("readlink /proc/self/ns/{kind}"));
        assert_eq!(within.trim_end() == outside.to_str().unwrap(), shared, "{flags:?} {kind}: {within}");
    }
    assert_eq!(inside(&skiff, &[], "ls /sys/class/net; echo $$"), "lo\n1\n");
    let wrong = skiff.run(&["run", "--rm", "--network", "bridge", "busybox", "true"]);
    assert_eq!(wrong.code, 125);
    assert!(wrong.stderr.contains("bridge"), "{wrong:?}");
    skiff.ok(&["run", "-d", "--name", "first", "busybox", "sleep", "1000"]);
    assert_eq!(inside(&skiff, &["--pid", "container:first"], "ps | grep -c 'sleep 100[0]'"), "1\n");
}

#[test]
fn limits_reach_the_control_group() {
    let skiff = Skiff::with_busybox();
    let flags = [
        "--memory",
        "64m",
        "--memory-reservation",
        "32m",
        "--cpus",
        "0.5",
        "--cpu-shares",
        "512",
        "--cpuset-cpus",
        "0",
        "--pids-limit",
        "50",
    ];
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    if v2 {
        let shown = inside(
            &skiff,
            &flags,
            "cd /sys/fs/cgroup; cat memory.max memory.low cpu.max pids.max cpuset.cpus",
        );
        assert_eq!(shown, "67108864\n33554432\n50000 100000\n50\n0\n");
    } else {
        let shown = inside(
            &skiff,
            &flags,
            "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.cfs_quota_us \
             cpu/cpu.shares pids/pids.max cpuset/cpuset.cpus",
        );
        assert_eq!(shown, "67108864\n33554432\n50000\n512\n50\n0\n");
    }
    assert_eq!(inside(&skiff, &["--cpuset-cpus", "0"], "nproc"), "1\n");
    assert_eq!(inside(&skiff, &["--ulimit", "nofile=123:456"], "ulimit -Sn; ulimit -Hn"), "123\n456\n");
    let small = skiff.run(&["run", "--rm", "--memory", "1m", "busybox", "true"]);
    assert_eq!(small.code, 125);
    assert!(
        small.stderr.contains("6MB") || small.stderr.contains("6 MiB") || small.stderr.contains("6MiB"),
        "{small:?}"
    );
}

#[test]
fn running_out_of_memory_is_reported() {
    let skiff = Skiff::with_busybox();
    let out = skiff.run(&[
        "run",
        "--name",
        "hungry",
        "--memory",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "sh",
        "-c",
        "exec tail /dev/zero",
    ]);
    assert_eq!(out.code, 137, "{out:?}");
    assert_eq!(
        skiff.ok(&["inspect", "-f", "{{.State.OOMKilled}} {{.State.ExitCode}}", "hungry"]),
        "true 137\n"
    );
}

#[test]
fn mounts_show_what_they_were_given() {
    let skiff = Skiff::with_busybox();
    let folder = skiff.folder().join("data");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "from outside\n").unwrap();
    let source = folder.to_str().unwrap();
    let volume = format!("{source}:/data");
    assert_eq!(inside(&skiff, &["-v", &volume], "cat /data/file; echo inside > /data/new"), "from outside\n");
    assert_eq!(std::fs::read_to_string(folder.join("new")).unwrap(), "inside\n");
    {
        use std::os::unix::fs::MetadataExt;
        let made = std::fs::metadata(folder.join("new")).unwrap();
        assert_eq!((made.uid(), made.gid()), (0, 0), "a bound folder keeps its owners");
    }
    let script = "touch /data/x 2>/dev/null && echo written || echo refused; cat /data/file";
    for mount in [format!("{volume}:ro"), "./data:/data:ro".to_owned()] {
        assert_eq!(inside(&skiff, &["-v", &mount], script), "refused\nfrom outside\n", "{mount}");
    }
    for mount in [
        format!("type=bind,src={source},dst=/data,ro"),
        format!("type=bind,source={source},target=/data,readonly"),
    ] {
        assert_eq!(inside(&skiff, &["--mount", &mount], script), "refused\nfrom outside\n", "{mount}");
    }
    let fresh = skiff.folder().join("made/by/volume");
    assert_eq!(inside(&skiff, &["-v", &format!("{}:/m", fresh.display())], "ls /m | wc -l"), "0\n");
    assert!(fresh.is_dir());
    let missing =
        skiff.run(&["run", "--rm", "--mount", "type=bind,src=/no/such/place,dst=/m", "busybox", "true"]);
    assert_eq!(missing.code, 125);
    assert!(missing.stderr.contains("/no/such/place"), "{missing:?}");

    let table =
        inside(&skiff, &["--tmpfs", "/t:size=1m,mode=1770"], "grep ' /t ' /proc/mounts; stat -c %a /t");
    assert!(
        table.contains("tmpfs")
            && table.contains("noexec")
            && table.contains("size=1024k")
            && table.ends_with("1770\n"),
        "{table}"
    );
    let table = inside(
        &skiff,
        &["--mount", "type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=700"],
        "grep ' /t ' /proc/mounts; stat -c %a /t",
    );
    assert!(table.contains("size=2048k") && table.ends_with("700\n"), "{table}");
    let shm = inside(&skiff, &[], "grep ' /dev/shm ' /proc/mounts");
    assert!(shm.contains("size=65536k"), "{shm}");
    let shm = inside(&skiff, &["--shm-size", "8m"], "grep ' /dev/shm ' /proc/mounts");
    assert!(shm.contains("size=8192k"), "{shm}");
}

#[test]
fn the_host_is_out_of_reach() {
    let skiff = Skiff::with_busybox();
    for (script, want) in [
        ("cat /proc/kcore 2>/dev/null | head -c 1 | wc -c", "0\n"),
        ("ls /sys/firmware 2>/dev/null | wc -l", "0\n"),
        ("(echo 1 > /proc/sys/kernel/panic) 2>/dev/null && echo written || echo refused", "refused\n"),
        ("(echo x > /proc/sysrq-trigger) 2>/dev/null && echo written || echo refused", "refused\n"),
        ("mount -t tmpfs x /tmp 2>/dev/null && echo mounted || echo refused", "refused\n"),
        (
            "mknod /x b 8 0 2>/dev/null && dd if=/x of=/dev/null count=1 2>/dev/null && echo read || echo refused",
            "refused\n",
        ),
        ("hostname changed 2>/dev/null && echo changed || echo refused", "refused\n"),
        (
            "ls -A /dev | grep -v core | sort | tr '\\n' ' '",
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ",
        ),
        ("for f in /proc/self/fd/*; do [ -e $f ] && echo ${f##*/}; done | sort -n | tr '\\n' ' '", "0 1 2 "),
        ("[ $(ls -d /proc/[0-9]* | wc -l) -lt 8 ] && echo few", "few\n"),
    ] {
        assert_eq!(inside(&skiff, &[], script), want, "{script}");
    }
    let privileged = capabilities(&skiff, &["--privileged"], "CapEff");
    assert!(privileged.count_ones() > 30 && privileged & DEFAULT == DEFAULT, "{privileged:x}");
    assert_eq!(inside(&skiff, &["--privileged"], "grep ^Seccomp: /proc/self/status | cut -f2"), "0\n");
}

#[test]
fn an_init_reaps_and_sysctls_and_devices_are_set() {
    let skiff = Skiff::with_busybox();
    assert_eq!(inside(&skiff, &["--init"], "[ $$ != 1 ] && echo child"), "child\n");
    // The init's own exit code is its child's.
    assert_eq!(skiff.run(&["run", "--rm", "--init", "busybox", "sh", "-c", "exit 23"]).code, 23);
    assert_eq!(
        inside(
            &skiff,
            &["--sysctl", "net.ipv4.ip_unprivileged_port_start=80"],
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
        ),
        "80\n"
    );
    let foreign = skiff.run(&["run", "--rm", "--sysctl", "kernel.panic=1", "busybox", "true"]);
    assert_eq!(foreign.code, 125);
    assert!(foreign.stderr.contains("kernel.panic"), "{foreign:?}");
    assert_eq!(
        inside(
            &skiff,
            &["--device", "/dev/null:/dev/mine"],
            "[ -c /dev/mine ] && echo x > /dev/mine && echo there"
        ),
        "there\n"
    );
    let unknown = skiff.run(&["run", "--rm", "--device", "/dev/no-such", "busybox", "true"]);
    assert_eq!(unknown.code, 125);
}

#[test]
fn a_write_stays_in_its_container() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "--name", "writer", "busybox", "sh", "-c", "echo mine > /written; rm /etc/group"]);
    assert_eq!(inside(&skiff, &[], "ls /written 2>/dev/null | wc -l; wc -l < /etc/group"), "0\n5\n");
    let restarted = skiff.run(&["start", "-a", "writer"]);
    assert_eq!(restarted.code, 1);
    assert!(
        restarted.stderr.contains("/etc/group"),
        "the second run sees what the first removed: {restarted:?}"
    );
}

#[test]
fn a_program_can_see_that_it_is_in_a_container() {
    // The one that this kernel has, and the one that every kernel has.
    for snapshotter in [&[][..], &["--snapshotter", "trees"]] {
        let skiff = Skiff::with_busybox();
        let said = |words: &[&str]| skiff.ok(&[snapshotter, words].concat());
        let look = ["stat", "-c", "%A %s %u:%g", "/.dockerenv"];
        assert_eq!(said(&[&["run", "--name", "web", "busybox"], &look[..]].concat()), "-rwxr-xr-x 0 0:0\n");
        assert_eq!(said(&["diff", "web"]), "", "{snapshotter:?}: it is none of the container's changes");
        // One that has removed it does not get it back.
        let remove = "rm /.dockerenv 2>/dev/null && echo removed || echo none";
        assert_eq!(said(&["run", "--name", "gone", "busybox", "sh", "-c", remove]), "removed\n");
        assert_eq!(said(&["start", "-a", "gone"]), "none\n");
    }
}
