//! Documents and what they become, as tables.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::plan::Namespace;

fn context() -> Context<'static> {
    Context {
        id: "box",
        bundle: Path::new("/bundle"),
        kernel: (6, 1),
        no_cgroup: false,
        no_pivot: false,
        no_new_keyring: false,
        preserve_fds: 0,
    }
}

/// The least that is a container.
fn least() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": {"args": ["/bin/true"], "cwd": "/"},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}]},
    })
}

/// Puts `value` where `pointer` says, making objects on the way.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let mut at = document;
    for part in pointer.trim_start_matches('/').split('/') {
        if at.is_null() {
            *at = json!({});
        }
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    *at = value;
}

fn with(changes: &[(&str, Value)]) -> Result<Planned> {
    let mut document = least();
    for (pointer, value) in changes {
        set(&mut document, pointer, value.clone());
    }
    plan(&Spec::parse(document.to_string().as_bytes()).unwrap(), &context())
}

fn refused(changes: &[(&str, Value)]) -> String {
    use std::error::Error as _;
    match with(changes) {
        Ok(planned) => panic!("accepted: {:?}", planned.plan),
        Err(error) => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

#[test]
fn the_least_document_gets_the_defaults() {
    let planned = with(&[]).unwrap();
    assert_eq!(planned.warnings, Vec::<String>::new());
    let plan = planned.plan;
    assert_eq!(plan.root.source, RootSource::Directory("/bundle/rootfs".into()));
    assert_eq!(plan.namespaces.mount, Namespace::New);
    assert_eq!(plan.namespaces.pid, Namespace::Inherit);
    assert!(!plan.loopback && plan.new_session_keyring);
    let nodes: Vec<_> = plan
        .devices
        .iter()
        .map(|device| (device.path.to_str().unwrap(), device.major, device.minor))
        .collect();
    assert_eq!(
        nodes,
        [
            ("/dev/null", 1, 3),
            ("/dev/zero", 1, 5),
            ("/dev/full", 1, 7),
            ("/dev/random", 1, 8),
            ("/dev/urandom", 1, 9),
            ("/dev/tty", 5, 0)
        ]
    );
    let cgroup = plan.cgroup.unwrap();
    assert_eq!(cgroup.path, Path::new("/box"));
    // Everything is denied first, then nodes may be made and the default devices used.
    let first = cgroup.limits.devices[0];
    assert!(
        !first.allow
            && first.kind.is_none()
            && first.major.is_none()
            && first.read
            && first.write
            && first.mknod
    );
    assert_eq!(cgroup.limits.devices.len(), 1 + 2 + 6 + 2);
}

#[test]
fn every_field_of_the_specification_is_honoured_or_refused_by_name() {
    let text = include_str!("../../../oci/src/runtime/every_field.json");
    let mut document: Value = serde_json::from_str(text).unwrap();
    let mut refusals = Vec::new();
    let planned = loop {
        match plan(&Spec::parse(document.to_string().as_bytes()).unwrap(), &context()) {
            Ok(planned) => break planned,
            Err(SpecError::Unsupported { field, .. } | SpecError::Invalid { field, .. }) => {
                refusals.push(field.clone());
                // What is refused goes, so that the next refusal shows.
                match field.as_str() {
                    "linux.netDevices" => set(&mut document, "/linux/netDevices", Value::Null),
                    "linux.intelRdt" => set(&mut document, "/linux/intelRdt", Value::Null),
                    "linux.mountLabel" => set(&mut document, "/linux/mountLabel", Value::Null),
                    "linux.personality.flags" => set(&mut document, "/linux/personality/flags", Value::Null),
                    "linux.resources.memory.kernelTCP" => {
                        set(&mut document, "/linux/resources/memory/kernelTCP", Value::Null);
                    }
                    "linux.resources.memory.checkBeforeUpdate" => {
                        set(&mut document, "/linux/resources/memory/checkBeforeUpdate", Value::Null);
                    }
                    "linux.namespaces without a new mount namespace" => {
                        let kinds = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"];
                        let all: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
                        set(&mut document, "/linux/namespaces", json!(all));
                    }
                    "seccomp" => unreachable!(),
                    other => panic!("{other} is refused"),
                }
            }
            Err(SpecError::Seccomp { source }) => {
                refusals.push(source.to_string());
                set(&mut document, "/linux/seccomp/syscalls/0/errnoRet", Value::Null);
            }
            Err(error) => panic!("{error}"),
        }
    };
    expect![[r#"
        [
            "linux.netDevices",
            "linux.intelRdt",
            "linux.mountLabel",
            "linux.namespaces without a new mount namespace",
            "seccomp action SCMP_ACT_ALLOW takes no errnoRet",
            "linux.resources.memory.kernelTCP",
            "linux.resources.memory.checkBeforeUpdate",
            "linux.personality.flags",
        ]
    "#]]
    .assert_debug_eq(&refusals);
    let mut plan = planned.plan;
    if let Some(filter) = &mut plan.process.seccomp {
        // Compiled programs are tested where they are compiled.
        assert!(!filter.program.is_empty());
        filter.program.clear();
    }
    expect_test::expect_file!["every_field.txt"].assert_debug_eq(&(plan, planned.warnings));
}

#[test]
fn refusals_name_the_field_the_value_and_the_rule() {
    let table: &[(&[(&str, Value)], &str)] = &[
        (&[("/ociVersion", json!(""))], "config.json has no ociVersion, which is required"),
        (
            &[("/ociVersion", json!("2.0.0"))],
            r#"config.json: ociVersion is "2.0.0": only version 1 of the specification is known"#,
        ),
        (&[("/ociVersion", json!("1"))], r#"config.json: ociVersion is "1": is no semantic version"#),
        (
            &[("/linux/namespaces", json!([{"type": "pid"}]))],
            "config.json: linux.namespaces without a new mount namespace is not supported: \
             the root file system is made in it",
        ),
        (
            &[("/linux/namespaces", json!([{"type": "mount", "path": "/proc/1/ns/mnt"}]))],
            "config.json: linux.namespaces: joining a mount namespace is not supported: \
             the change of root would change it for whoever lives there, too",
        ),
        (&[("/process", Value::Null)], "config.json has no process, which is required"),
        (&[("/process/args", json!([]))], "config.json has no process.args, which is required"),
        (&[("/process/cwd", json!("x"))], r#"config.json: process.cwd is "x": must be absolute"#),
        (
            &[("/process/args/0", json!("a\0b"))],
            r#"config.json: process.args or process.env is "a\0b": contains a zero byte"#,
        ),
        (&[("/root", Value::Null)], "config.json has no root, which is required"),
        (&[("/root/path", json!(""))], "config.json has no root.path, which is required"),
        (
            &[("/process/rlimits", json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}]))],
            r#"config.json: process.rlimits is "RLIMIT_X": is no resource limit"#,
        ),
        (
            &[("/process/rlimits", json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]))],
            r#"config.json: process.rlimits is "RLIMIT_CPU": has a soft limit above its hard one"#,
        ),
        (
            &[(
                "/process/rlimits",
                json!([{"type": "RLIMIT_AS", "soft": 1, "hard": 1}, {"type": "RLIMIT_AS", "soft": 1, "hard": 1}]),
            )],
            r#"config.json: process.rlimits is "RLIMIT_AS": is there twice"#,
        ),
        (
            &[("/process/oomScoreAdj", json!(1001))],
            r#"config.json: process.oomScoreAdj is "1001": must be from -1000 to 1000"#,
        ),
        (
            &[("/process/user", json!({"uid": 0, "gid": 0, "umask": 4096}))],
            r#"config.json: process.user.umask is "4096": has more than the nine permission bits"#,
        ),
        (
            &[("/process/scheduler", json!({"policy": "SCHED_ISO"}))],
            "config.json: process.scheduler.policy SCHED_ISO is not supported: no Linux kernel has it",
        ),
        (
            &[("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8}))],
            r#"config.json: process.ioPriority.priority is "8": must be from 0 to 7"#,
        ),
        (
            &[("/linux/namespaces", json!([{"type": "mount"}, {"type": "moon"}]))],
            r#"config.json: linux.namespaces is "moon": is no kind of namespace"#,
        ),
        (
            &[("/linux/namespaces", json!([{"type": "mount"}, {"type": "mount"}]))],
            r#"config.json: linux.namespaces is "mount": is there twice"#,
        ),
        (
            &[("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid", "path": "x"}]))],
            r#"config.json: linux.namespaces is "x": must be absolute"#,
        ),
        (
            &[("/linux/namespaces", json!([{"type": "mount"}, {"type": "user"}]))],
            "config.json has no linux.uidMappings (for the new user namespace), which is required",
        ),
        (
            &[
                ("/linux/namespaces", json!([{"type": "mount"}, {"type": "user"}])),
                (
                    "/linux/uidMappings",
                    json!([{"containerID": 0, "hostID": 5, "size": 10}, {"containerID": 9, "hostID": 50, "size": 1}]),
                ),
                ("/linux/gidMappings", json!([{"containerID": 0, "hostID": 5, "size": 10}])),
            ],
            r#"config.json: linux.uidMappings is "9 50 1": overlaps another mapping"#,
        ),
        (
            &[("/linux/uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}]))],
            "config.json: linux.uidMappings or linux.gidMappings is not supported: there is no user namespace",
        ),
        (&[("/hostname", json!("h"))], r#"config.json: hostname is "h": needs a uts namespace"#),
        (
            &[("/linux/sysctl", json!({"vm.swappiness": "1"}))],
            r#"config.json: linux.sysctl is "vm.swappiness": is the host's, not in any namespace"#,
        ),
        (
            &[("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))],
            r#"config.json: linux.sysctl is "net.ipv4.ip_forward": needs a network namespace"#,
        ),
        (
            &[
                ("/linux/namespaces", json!([{"type": "mount"}, {"type": "network"}])),
                ("/linux/sysctl", json!({"net/../../x": "1"})),
            ],
            r#"config.json: linux.sysctl is "net/../../x": is no kernel parameter"#,
        ),
        (
            &[("/linux/devices", json!([{"type": "c", "path": "/dev/x", "major": 1}]))],
            "config.json has no linux.devices[0].minor, which is required",
        ),
        (
            &[("/linux/devices", json!([{"type": "c", "path": "dev/x", "major": 1, "minor": 2}]))],
            r#"config.json: linux.devices[0].path is "dev/x": must be absolute"#,
        ),
        (
            &[("/linux/cgroupsPath", json!("/a/../b"))],
            r#"config.json: linux.cgroupsPath is "/a/../b": must not contain `..`"#,
        ),
        (
            &[("/linux/cgroupsPath", json!("system.slice:docker:box"))],
            r#"config.json: linux.cgroupsPath "system.slice:docker:box" is not supported: groups are made directly, not by systemd"#,
        ),
        (
            &[("/linux/resources", json!({"unified": {"../memory.max": "1"}}))],
            r#"config.json: linux.resources.unified is "../memory.max": is no file of a control group"#,
        ),
        (
            &[("/linux/resources", json!({"devices": [{"allow": true, "type": "p"}]}))],
            r#"config.json: linux.resources.devices[0].type is "p": must be a, b or c"#,
        ),
        (
            &[("/linux/rootfsPropagation", json!("upwards"))],
            r#"config.json: linux.rootfsPropagation is "upwards": is no kind of mount propagation"#,
        ),
        (
            &[("/linux/timeOffsets", json!({"monotonic": {"secs": 1, "nanosecs": 0}}))],
            "config.json: linux.timeOffsets is not supported: there is no new time namespace",
        ),
        (
            &[("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_X"}))],
            "config.json: linux.seccomp: seccomp action \"SCMP_ACT_X\" is unknown",
        ),
        (
            &[("/hooks", json!({"poststop": [{"path": "bin/x"}]}))],
            r#"config.json: hooks.poststop[0].path is "bin/x": must be absolute"#,
        ),
        (
            &[("/hooks", json!({"prestart": [{"path": "/x", "timeout": 0}]}))],
            r#"config.json: hooks.prestart[0].timeout is "0": must be above zero"#,
        ),
    ];
    for (changes, expected) in table {
        assert_eq!(refused(changes), *expected);
    }
}

fn check_mount(mount: Value, expected: Expect) {
    let result = match with(&[("/mounts", json!([mount]))]) {
        Ok(planned) => {
            let mount = &planned.plan.mounts[0];
            let attributes = &mount.attributes;
            let flags = [
                ("ro", attributes.readonly),
                ("nosuid", attributes.nosuid),
                ("nodev", attributes.nodev),
                ("noexec", attributes.noexec),
                ("nosymfollow", attributes.nosymfollow),
                ("nodiratime", attributes.nodiratime),
            ];
            let flags: Vec<&str> = flags.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
            format!(
                "{} {:?} [{}] atime={:?} +{:#x} -{:#x} propagation={:?} ids={:?} {:?}\n",
                mount.target.display(),
                mount.kind,
                flags.join(" "),
                attributes.access_time,
                attributes.recursive_set,
                attributes.recursive_clear,
                mount.propagation,
                mount.id_map,
                planned.warnings,
            )
        }
        Err(error) => format!("{error}\n"),
    };
    expected.assert_eq(&result);
}

#[test]
fn mount_options_become_flags() {
    check_mount(
        json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}),
        expect![[r#"
            /proc New { fstype: "proc", source: "proc", options: [], copy_up: false } [nosuid nodev noexec] atime=Relative +0x0 -0x0 propagation=None ids=None []
        "#]],
    );
    check_mount(
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "nodev", "mode=1777", "size=65536k", "strictatime", "sync", "tmpcopyup"]}),
        expect![[r#"
            /dev/shm New { fstype: "tmpfs", source: "shm", options: ["sync", "mode=1777", "size=65536k"], copy_up: true } [nosuid nodev] atime=Strict +0x0 -0x0 propagation=None ids=None []
        "#]],
    );
    check_mount(
        json!({"destination": "/data", "type": "none", "source": "src",
            "options": ["rbind", "rprivate", "rro", "rnosuid", "rnoatime", "nosymfollow", "x-note=1"]}),
        expect![[r#"
            /data Bind { source: "/bundle/src", recursive: true } [nosymfollow] atime=Relative +0x13 -0x70 propagation=Some(RecursivePrivate) ids=None []
        "#]],
    );
    check_mount(
        json!({"destination": "/data", "type": "bind", "source": "/src", "options": ["ro", "rw", "slave", "suid"]}),
        expect![[r#"
            /data Bind { source: "/src", recursive: false } [] atime=Relative +0x0 -0x0 propagation=Some(Slave) ids=None []
        "#]],
    );
    check_mount(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"]}),
        expect![[r#"
        /sys/fs/cgroup Cgroup [ro] atime=Relative +0x0 -0x0 propagation=None ids=None []
    "#]],
    );
    check_mount(
        json!({"destination": "relative", "type": "tmpfs"}),
        expect![[r#"
        /relative New { fstype: "tmpfs", source: "tmpfs", options: [], copy_up: false } [] atime=Relative +0x0 -0x0 propagation=None ids=None ["config.json: mounts[0].destination \"relative\" is relative and taken from the root"]
    "#]],
    );
    check_mount(
        json!({"destination": "/m", "source": "/s", "options": ["bind", "ridmap"],
            "uidMappings": [{"containerID": 0, "hostID": 5, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 6, "size": 1}]}),
        expect![[r#"
            /m Bind { source: "/s", recursive: false } [] atime=Relative +0x0 -0x0 propagation=None ids=Own { maps: IdMaps { uid: [IdMap { inside: 0, outside: 5, count: 1 }], gid: [IdMap { inside: 0, outside: 6, count: 1 }] }, recursive: true } []
        "#]],
    );
}

#[test]
fn mounts_that_cannot_be_are_refused() {
    check_mount(
        json!({"destination": "/a/../b", "type": "tmpfs"}),
        expect![[r#"
        config.json: mounts[0].destination is "/a/../b": must not contain `..`
    "#]],
    );
    check_mount(
        json!({"destination": "/a"}),
        expect![[r#"
        config.json has no mounts[0].type, which is required
    "#]],
    );
    check_mount(
        json!({"type": "tmpfs"}),
        expect![[r#"
        config.json has no mounts[0].destination, which is required
    "#]],
    );
    check_mount(
        json!({"destination": "/a", "type": "bind"}),
        expect![[r#"
        config.json has no mounts[0].source, which is required
    "#]],
    );
    check_mount(
        json!({"destination": "/a", "source": "/s", "options": ["bind", "size=1"]}),
        expect![[r#"
        config.json: mounts[0].options "size=1" is not supported: is no option of a bind mount
    "#]],
    );
    check_mount(
        json!({"destination": "/a", "type": "tmpfs", "options": ["remount"]}),
        expect![[r#"
        config.json: mounts[0].options "remount" is not supported: a mount is made with its options at once
    "#]],
    );
    check_mount(
        json!({"destination": "/a", "type": "proc", "options": ["tmpcopyup"]}),
        expect![[r#"
        config.json: mounts[0].options tmpcopyup is not supported: is for tmpfs alone
    "#]],
    );
    check_mount(
        json!({"destination": "/a", "source": "/s", "options": ["bind", "idmap"]}),
        expect![[r#"
        config.json: mounts[0].options idmap is not supported: there is neither a map nor a user namespace to take it from
    "#]],
    );
    check_mount(
        json!({"destination": "/a", "source": "/s", "options": ["bind"],
            "uidMappings": [{"containerID": 0, "hostID": 5, "size": 1}]}),
        expect![[r#"
            config.json has no mounts[0].gidMappings, which is required
        "#]],
    );
}

#[test]
fn every_option_of_the_specification_is_known() {
    // config.md, "Linux mount options".
    let names = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev
        nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime
        rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime
        rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable
        rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap";
    let refused = ["mand", "remount"];
    for name in names.split_ascii_whitespace() {
        assert_eq!(MOUNT_OPTIONS.contains(&name), !refused.contains(&name), "{name}");
    }
    assert_eq!(MOUNT_OPTIONS.len() + refused.len(), names.split_ascii_whitespace().count());
}

#[test]
fn an_interface_with_a_dot_in_its_name_keeps_it() {
    let planned = with(&[
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "network"}])),
        ("/linux/sysctl", json!({"net/ipv4/conf/eth0.1/forwarding": "1"})),
    ])
    .unwrap();
    assert_eq!(planned.plan.sysctls, [("net.ipv4.conf.eth0/1.forwarding".to_owned(), "1".to_owned())]);
    assert!(planned.plan.loopback);
}

#[test]
fn what_may_be_ignored_is_said() {
    let planned = with(&[
        ("/process/capabilities", json!({"bounding": ["CAP_KILL", "CAP_TIME_TRAVEL"]})),
        ("/windows", json!({})),
        ("/linux/resources", json!({"memory": {"useHierarchy": false, "kernel": 5}})),
    ])
    .unwrap();
    expect![[r#"
        [
            "config.json: section windows is for another platform and ignored",
            "process.capabilities.bounding: \"CAP_TIME_TRAVEL\" is unknown and ignored",
            "config.json: linux.resources.memory.kernel has no effect since Linux 5.16",
            "config.json: linux.resources.memory.useHierarchy is always on",
        ]
    "#]]
    .assert_debug_eq(&planned.warnings);
    assert_eq!(planned.plan.process.capabilities.bounding, 1 << 5);
}

#[test]
fn a_missing_bundle_names_the_file() {
    let error = load(Path::new("/no/such/bundle")).unwrap_err();
    assert_eq!(error.to_string(), "read the bundle's /no/such/bundle/config.json");
}
