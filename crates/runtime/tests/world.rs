//! What a container's first process sees, on the real kernel. Needs root.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::*;
use runtime::plan::*;

#[test]
fn every_namespace_is_its_own() {
    let folder = Folder::new();
    let script = "for kind in mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$kind; done";
    let plan = plan(&folder.busybox("root"), &["sh", "-c", script]);
    let outcome = run(&folder, &plan);
    for (line, kind) in outcome.output().lines().zip(["mnt", "pid", "net", "ipc", "uts", "cgroup", "time"]) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(line, ours.to_str().unwrap());
        assert!(line.starts_with(kind), "{line}");
    }
}

#[test]
fn with_a_user_namespace_root_inside_is_nobody_outside() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    for name in walk(&root) {
        std::os::unix::fs::lchown(name, Some(200_000), Some(200_000)).unwrap();
    }
    let script = "id -u; cat /proc/self/uid_map; touch /tmp/mine; stat -c %u /proc /dev/null; readlink /proc/self/ns/user";
    let outcome = run(&folder, &with_user_namespace(plan(&root, &["sh", "-c", script])));
    let lines: Vec<&str> = outcome.output().lines().collect();
    assert_eq!(lines[0], "0");
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["0", "200000", "65536"]);
    let made = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(root.join("tmp/mine")).unwrap());
    assert_eq!(made, 200_000);
    assert_ne!(lines[4], std::fs::read_link("/proc/self/ns/user").unwrap().to_str().unwrap());
}

fn walk(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.to_owned()];
    let mut next = 0;
    while next < all.len() {
        if all[next].symlink_metadata().unwrap().is_dir() {
            let inner: Vec<_> =
                std::fs::read_dir(&all[next]).unwrap().map(|entry| entry.unwrap().path()).collect();
            all.extend(inner);
        }
        next += 1;
    }
    all
}

/// What mountinfo says: by mount point, root, flags and type.
fn mount_table(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let dash = fields.iter().position(|field| *field == "-").unwrap();
            let propagation = fields[6..dash].join(" ");
            (fields[4].to_owned(), format!("{} {} {} {propagation}", fields[dash + 1], fields[3], fields[5]))
        })
        .collect()
}

#[test]
fn mounts_are_as_docker_makes_them() {
    let folder = Folder::new();
    for user_namespace in [false, true] {
        let root = folder.busybox(if user_namespace { "inner" } else { "outer" });
        let mut plan = plan(&root, &["cat", "/proc/self/mountinfo"]);
        if user_namespace {
            plan = with_user_namespace(plan);
        }
        let table = mount_table(run(&folder, &plan).output());
        for (target, expected) in [
            ("/proc", "proc / rw,nosuid,nodev,noexec,relatime "),
            ("/dev", "tmpfs / rw,nosuid "),
            ("/dev/pts", "devpts / rw,nosuid,noexec,relatime "),
            ("/sys", "sysfs / ro,nosuid,nodev,noexec,relatime "),
            ("/dev/mqueue", "mqueue / rw,nosuid,nodev,noexec,relatime "),
            ("/dev/shm", "tmpfs / rw,nosuid,nodev,noexec,relatime "),
            ("/proc/bus", "proc /bus ro,nosuid,nodev,noexec,relatime "),
            ("/proc/sys", "proc /sys ro,nosuid,nodev,noexec,relatime "),
            ("/proc/acpi", "tmpfs / ro,nosuid,noexec,relatime "),
            ("/sys/firmware", "tmpfs / ro,nosuid,noexec,relatime "),
        ] {
            assert_eq!(table.get(target).map(String::as_str), Some(expected), "{target}: {table:#?}");
        }
        assert!(table["/proc/timer_list"].starts_with("devtmpfs /null "), "{table:#?}");
        assert!(table["/sys/fs/cgroup"].contains(" ro,nosuid,nodev,noexec"), "{table:#?}");
        assert!(table["/"].contains("/root ") || table["/"].contains(root.to_str().unwrap()), "{table:#?}");
        // Nothing of the host is left.
        assert!(table.keys().all(
            |target| ["/proc", "/dev", "/sys"].iter().any(|own| target.starts_with(own)) || target == "/"
        ));
    }
}

#[test]
fn masked_and_readonly_paths_show_and_take_nothing() {
    let folder = Folder::new();
    let script = "cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sysrq-trigger || echo refused; \
                  echo x > /proc/sys/kernel/hostname || echo refused; mount -o remount,rw /proc/sys || echo refused";
    let outcome = run(&folder, &plan(&folder.busybox("root"), &["sh", "-c", script]));
    let lines: Vec<&str> = outcome.output().lines().collect();
    assert_eq!(lines, ["0", "0", "refused", "refused", "refused"], "{outcome:?}");
}

#[test]
fn a_process_has_the_capabilities_of_its_plan_and_no_others() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status";
    let status = |plan: &LaunchPlan| -> BTreeMap<String, String> {
        let outcome = run(&folder, plan);
        let pair =
            |line: &str| line.split_once(":\t").map(|(key, value)| (key.to_owned(), value.trim().to_owned()));
        outcome.output().lines().filter_map(pair).collect()
    };
    let mut plan = plan(&root, &["sh", "-c", script]);
    let default = status(&plan);
    for (key, value) in [
        ("CapBnd", "00000000a80425fb"),
        ("CapPrm", "00000000a80425fb"),
        ("CapEff", "00000000a80425fb"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Groups", ""),
    ] {
        assert_eq!(default[key], value, "{key}");
    }
    // Someone else than root loses them at exec, but for the ambient ones.
    plan.process.user = User::Ids { uid: 1000, gid: 1000, groups: vec![44] };
    let plain = status(&plan);
    assert_eq!(
        (plain["CapEff"].as_str(), plain["CapBnd"].as_str()),
        ("0000000000000000", "00000000a80425fb")
    );
    assert_eq!(plain["Groups"], "44");
    plan.process.capabilities.inheritable = 1 << 10;
    plan.process.capabilities.ambient = 1 << 10;
    plan.process.no_new_privileges = false;
    let ambient = status(&plan);
    assert_eq!(
        (ambient["CapEff"].as_str(), ambient["CapAmb"].as_str()),
        ("0000000000000400", "0000000000000400")
    );
    assert_eq!(ambient["NoNewPrivs"], "0");
    // In a user namespace as well, where the kernel would grant them all.
    let inner = status(&with_user_namespace(plan));
    assert_eq!(
        (inner["CapBnd"].as_str(), inner["CapEff"].as_str()),
        ("00000000a80425fb", "0000000000000400")
    );
}

/// mkdir gets EPERM; everything else is allowed.
fn no_mkdir() -> SeccompFilter {
    let program = [
        (0x20u16, 0u8, 0u8, 0u32), // load the number of the call
        (0x15, 0, 1, 83),          // mkdir?
        (0x06, 0, 0, 0x0005_0001), // errno 1
        (0x06, 0, 0, 0x7fff_0000), // allow
    ];
    let bytes = |(code, jt, jf, k): (u16, u8, u8, u32)| {
        let mut raw = code.to_ne_bytes().to_vec();
        raw.extend([jt, jf]);
        raw.extend(k.to_ne_bytes());
        raw
    };
    SeccompFilter { program: program.into_iter().flat_map(bytes).collect(), flags: 0, listener: None }
}

#[test]
fn a_seccomp_filter_holds_with_and_without_no_new_privileges() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let script = "grep Seccomp: /proc/self/status; mkdir /tmp/x 2>/dev/null || echo refused";
    let mut plan = plan(&root, &["sh", "-c", script]);
    plan.process.seccomp = Some(no_mkdir());
    for no_new_privileges in [true, false] {
        plan.process.no_new_privileges = no_new_privileges;
        for user in [0, 1000] {
            plan.process.user = User::Ids { uid: user, gid: 0, groups: Vec::new() };
            assert_eq!(run(&folder, &plan).output(), "Seccomp:\t2\nrefused\n");
        }
    }
}

#[test]
fn devices_and_links_are_in_place() {
    let folder = Folder::new();
    let fuse = Device {
        path: "/dev/sub/zero2".into(),
        kind: DeviceKind::Char,
        major: 1,
        minor: 5,
        mode: 0o640,
        uid: 1000,
        gid: 44,
        source: "/dev/zero".into(),
    };
    let script = "stat -c '%n %F %t:%T %a %u:%g' /dev/null /dev/tty /dev/urandom /dev/sub /dev/sub/zero2; readlink /dev/fd; \
                  readlink /dev/ptmx; echo x > /dev/null; head -c 3 /dev/sub/zero2 | wc -c";
    let mut plan = plan(&folder.busybox("root"), &["sh", "-c", script]);
    plan.devices.push(fuse);
    let outcome = run(&folder, &plan);
    assert_eq!(
        outcome.output().lines().collect::<Vec<_>>(),
        [
            "/dev/null character special file 1:3 666 0:0",
            "/dev/tty character special file 5:0 666 0:0",
            "/dev/urandom character special file 1:9 666 0:0",
            "/dev/sub directory 0:0 755 0:0",
            "/dev/sub/zero2 character special file 1:5 640 1000:44",
            "/proc/self/fd",
            "pts/ptmx",
            "3"
        ]
    );
    // In a user namespace root outside makes them, with the owners inside.
    let inside = run(&folder, &with_user_namespace(plan));
    assert_eq!(inside.output(), outcome.output());
}

#[test]
fn names_sysctls_limits_and_clocks_are_set() {
    let folder = Folder::new();
    let script = "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; \
                  ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; umask; ip link show lo | head -n 1; cat /proc/self/timens_offsets";
    let mut plan = plan(&folder.busybox("root"), &["sh", "-c", script]);
    plan.domainname = Some("harbour".into());
    plan.sysctls = vec![("net.ipv4.ip_forward".into(), "1".into()), ("kernel/msgmax".into(), "9000".into())];
    plan.process.rlimits = vec![Rlimit { resource: 7, soft: 100, hard: 200 }];
    plan.process.oom_score_adj = Some(500);
    plan.process.umask = Some(0o027);
    plan.time_offsets = Some(TimeOffsets { monotonic: (86_400, 0), boottime: (3_600, 5) });
    for plan in [plan.clone(), with_user_namespace(plan)] {
        let outcome = run(&folder, &plan);
        let lines: Vec<&str> = outcome.output().lines().collect();
        assert_eq!(lines[..8], ["boat", "harbour", "1", "9000", "100", "200", "500", "0027"], "{outcome:?}");
        assert!(lines[8].contains("LOOPBACK,UP"), "{outcome:?}");
        let offsets: Vec<Vec<&str>> =
            lines[9..].iter().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(offsets, [["monotonic", "86400", "0"], ["boottime", "3600", "5"]]);
    }
}

fn new_at_x(fstype: &str, options: &[&str]) -> Mount {
    Mount {
        target: "/x".into(),
        kind: MountKind::New {
            fstype: fstype.into(),
            source: "none".into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            copy_up: false,
        },
        attributes: MountAttributes::default(),
        propagation: None,
        id_map: MountIdMap::None,
    }
}

type Break = fn(&mut LaunchPlan);

/// What breaks a plan, and a part of the error that it must give.
const BROKEN: [(&str, Break); 12] = [
    ("RLIMIT_NOFILE", |plan| plan.process.rlimits.push(Rlimit { resource: 7, soft: 1 << 40, hard: 1 << 40 })),
    ("set sysctl kernel.nothing=1: the kernel has no such parameter", |plan| {
        plan.sysctls.push(("kernel.nothing".into(), "1".into()));
    }),
    ("set sysctl kernel/../../x", |plan| plan.sysctls.push(("kernel/../../x".into(), "1".into()))),
    ("unable to find user nobody: no matching entries in passwd file", |plan| {
        plan.process.user = User::Named { spec: "nobody".into(), extra_groups: Vec::new() };
    }),
    ("change to working directory /missing", |plan| plan.process.cwd = "/missing".into()),
    ("mount nofs for /x", |plan| plan.mounts.push(new_at_x("nofs", &[]))),
    ("option colour=red", |plan| plan.mounts.push(new_at_x("tmpfs", &["colour=red"]))),
    ("mount /nowhere on /x", |plan| plan.mounts.push(bind(Path::new("/nowhere"), "/x"))),
    ("assemble root /nowhere", |plan| plan.root.source = RootSource::Directory("/nowhere".into())),
    ("join namespace net at /nowhere", |plan| plan.namespaces.network = Namespace::Join("/nowhere".into())),
    ("a host name is not possible", |plan| plan.namespaces.uts = Namespace::Inherit),
    ("set security label", |plan| plan.process.apparmor_profile = Some("docker-default".into())),
];

#[test]
fn what_cannot_be_set_is_an_error_that_names_it() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    for (expected, break_it) in BROKEN {
        let mut plan = plan(&root, &["true"]);
        break_it(&mut plan);
        let outcome = run(&folder, &plan);
        assert!(outcome.error().contains(expected), "{expected}: {outcome:?}");
        assert_eq!(outcome.report["command_status"], serde_json::Value::Null, "{expected}");
    }
}

#[test]
fn namespaces_of_the_host_are_shown_as_the_host_shows_them() {
    let folder = Folder::new();
    let script = "for kind in pid net ipc; do readlink /proc/self/ns/$kind; done; test -e /sys/class/net && echo net; \
                  test -d /dev/mqueue && echo mqueue; cat /proc/sys/kernel/msgmax; echo x > /sys/class/net/lo/mtu || echo refused";
    let mut plan = plan(&folder.busybox("root"), &["sh", "-c", script]);
    plan.namespaces.pid = Namespace::Inherit;
    plan.namespaces.network = Namespace::Inherit;
    plan.loopback = false;
    plan.sysctls = vec![("kernel.msgmax".into(), "9001".into())];
    let ours =
        |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    for plan in [plan.clone(), with_user_namespace(plan)] {
        let outcome = run(&folder, &plan);
        let lines: Vec<&str> = outcome.output().lines().collect();
        assert_eq!((lines[0], lines[1]), (ours("pid").as_str(), ours("net").as_str()));
        assert_ne!(lines[2], ours("ipc"));
        assert_eq!(lines[3..], ["net", "mqueue", "9001", "refused"], "{outcome:?}");
    }
    assert_ne!(std::fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), "9001\n");
}
