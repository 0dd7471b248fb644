//! What a container sees of itself and of the host, as asked for.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod common;

use common::*;
use engine::Snapshotter;
use engine::request::{
    Create, DeviceRequest, IpcMode, MountRequest, NetworkMode, PidMode, Resources, Ulimit, UserMode, UtsMode,
};

/// Runs a script; what it printed, provided that it succeeded.
fn sees(fixture: &Fixture, script: &str, change: impl FnOnce(&mut Create)) -> String {
    let mut request = Fixture::shell(script);
    change(&mut request);
    let (code, text) = fixture.output(&request);
    assert_eq!(code, 0, "{script}: {text}");
    text
}

#[test]
fn by_default_it_is_alone_and_root_is_nobody_outside() {
    let fixture = Fixture::new();
    let text = sees(
        &fixture,
        "echo $$; hostname; cat /proc/self/uid_map; id -u; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status \
         || cat /proc/self/status; ls /proc | cat",
        |create| create.process.hostname = Some("box".to_owned()),
    );
    let mut lines = text.lines();
    assert_eq!((lines.next(), lines.next()), (Some("1"), Some("box")));
    let map: Vec<u32> =
        lines.next().unwrap().split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!((map[0], map[2]), (0, 65536));
    assert!(map[1] >= 0x8000_0000, "{map:?}");
    assert_eq!(lines.next(), Some("0"));
    assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
    assert!(text.contains("CapBnd:\t00000000a80425fb"), "{text}");
}

#[test]
fn both_snapshotters_show_the_same() {
    for snapshotter in [Snapshotter::Erofs, Snapshotter::Trees] {
        let fixture = Fixture::with(Some(snapshotter));
        fixture.import("busybox", &[]);
        let text = sees(
            &fixture,
            "stat -c '%n %u %g %a' /bin/busybox /etc /tmp /; echo x > /tmp/x; cat /tmp/x",
            |_| (),
        );
        assert_eq!(
            text, "/bin/busybox 0 0 755\n/etc 0 0 755\n/tmp 0 0 1777\n/ 0 0 755\nx\n",
            "{snapshotter:?}"
        );
    }
}

#[test]
fn image_and_request_decide_user_directory_and_environment() {
    let fixture = Fixture::empty();
    fixture.import(
        "busybox",
        &[
            "USER app",
            "ENV A=image B=image",
            "WORKDIR /made/here",
            "ENTRYPOINT [\"sh\",\"-c\"]",
            "CMD [\"id\"]",
        ],
    );
    let mut request = Create { image: "busybox".to_owned(), ..Create::default() };
    assert_eq!(
        fixture.output(&request),
        (0, "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\n".to_owned())
    );
    request.process.command = vec!["pwd; echo $A $B $HOME $HOSTNAME; id".to_owned()];
    request.process.env = vec!["A=own".to_owned()];
    request.process.user = Some("1000:more".to_owned());
    request.host.group_add = vec!["2000".to_owned(), "root".to_owned()];
    request.process.hostname = Some("box".to_owned());
    let (_, text) = fixture.output(&request);
    assert_eq!(
        text,
        "/made/here\nown image /home box\nuid=1000(app) gid=3000(more) groups=0(root),2000(extra),3000(more)\n"
    );
    request.process.user = Some("nobody".to_owned());
    let error = fixture.engine.run(&request, None).unwrap_err();
    assert!(chain(&error).contains("nobody"), "{}", chain(&error));
}

#[test]
fn mounts_show_what_was_asked_for() {
    let fixture = Fixture::new();
    let host = fixture.base.join("host");
    std::fs::create_dir_all(host.join("sub")).unwrap();
    std::fs::write(host.join("file"), "from the host\n").unwrap();
    let made = fixture.base.join("made/deep");
    let text = sees(
        &fixture,
        "cat /a/file; echo y > /a/new; stat -c %u /a/file; touch /ro/x 2>/dev/null || echo refused; \
         cat /single; ls -d /made; stat -f -c %T /t; stat -c '%a %n' /t; touch /etc/x && echo writable",
        |create| {
            let volume = |text: String| MountRequest::parse_volume(&text).unwrap();
            create.host.mounts = vec![
                volume(format!("{}:/a", host.display())),
                volume(format!("{}:/ro:ro", host.display())),
                volume(format!("{}:/single", host.join("file").display())),
                volume(format!("{}:/made", made.display())),
                MountRequest::parse_tmpfs("/t:mode=700,size=1m").unwrap(),
            ];
        },
    );
    assert_eq!(
        text,
        "from the host\ny\n0\nrefused\nfrom the host\n/made\ntmpfs\n700 /t\nwritable\n".replace("y\n", "")
    );
    assert!(made.is_dir(), "a missing source of -v is made");
    assert_eq!(std::fs::read_to_string(host.join("new")).unwrap(), "y\n");
    let owner = rustix::fs::stat(host.join("new")).unwrap();
    assert_eq!(
        (owner.st_uid, owner.st_gid),
        (0, 0),
        "root inside writes as the files' owner, not as a stranger"
    );
    let mut request = Fixture::shell("true");
    request.host.mounts = vec![MountRequest::parse_volume("/no/such:/x").unwrap()];
    if let engine::request::MountSource::Bind { create, .. } = &mut request.host.mounts[0].source {
        *create = false;
    }
    let error = fixture.engine.create(&request).unwrap_err();
    assert!(error.to_string().ends_with("bind source path does not exist: /no/such"), "{error}");
}

#[test]
fn a_read_only_root_is_read_only_also_below_etc() {
    let fixture = Fixture::new();
    let text = sees(
        &fixture,
        "for f in /x /etc/hosts /etc/y; do touch $f 2>/dev/null && echo $f; done; echo z > /dev/shm/z; cat /dev/shm/z",
        |create| create.host.readonly_root = true,
    );
    assert_eq!(text, "z\n");
}

#[test]
fn etc_knows_the_containers_name() {
    let fixture = Fixture::new();
    let text = sees(
        &fixture,
        "cat /etc/hostname; cat /etc/hosts; cat /etc/resolv.conf; echo '1.2.3.4 x' >> /etc/hosts",
        |create| {
            create.process.hostname = Some("box".to_owned());
        },
    );
    assert!(text.starts_with("box\n127.0.0.1\tlocalhost\n"), "{text}");
    assert!(text.contains("127.0.1.1\tbox\n"), "{text}");
}

#[test]
fn limits_are_those_of_its_control_group() {
    let fixture = Fixture::new();
    let text = sees(
        &fixture,
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max \
         /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || \
         cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max /sys/fs/cgroup/cpu.max \
         /sys/fs/cgroup/cpu.weight",
        |create| {
            create.host.resources = Resources {
                memory: 64 << 20,
                nano_cpus: 500_000_000,
                cpu_shares: 512,
                pids_limit: Some(100),
                ..Resources::default()
            };
        },
    );
    let expected = match std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        // Version 2 has the period beside the quota, and weights: 512 shares are this one.
        true => "67108864\n100\n50000 100000\n59\n",
        false => "67108864\n100\n50000\n512\n",
    };
    assert_eq!(text, expected);
}

#[test]
fn rlimits_parameters_and_devices_are_set() {
    let fixture = Fixture::new();
    let text = sees(
        &fixture,
        "ulimit -n; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start; \
         stat -c '%t:%T' /dev/mine; dd if=/dev/mine of=/dev/null bs=16 count=1 2>/dev/null && echo read; \
         stat -f -c '%S %b' /dev/shm",
        |create| {
            create.host.ulimits = vec![Ulimit::parse("nofile=128:256").unwrap()];
            for (name, value) in [("net.ipv4.ip_forward", "1"), ("kernel.msgmax", "4096")] {
                create.host.sysctls.insert(name.to_owned(), value.to_owned());
            }
            create.host.devices = vec![DeviceRequest::parse("/dev/zero:/dev/mine").unwrap()];
            create.host.shm_size = Some(1 << 20);
        },
    );
    assert_eq!(text, "128\n1\n4096\n0\n1:5\nread\n4096 256\n");
}

#[test]
fn a_device_that_was_not_given_stays_shut() {
    let fixture = Fixture::new();
    // As privileged as it gets short of --privileged, and with ids of the host's.
    let mut request = Fixture::shell("mknod /d c 1 11 && cat /d; echo $?");
    request.host.user_mode = UserMode::Host;
    let (_, text) = fixture.output(&request);
    assert!(text.contains("Operation not permitted") || text.contains("not found"), "{text}");
}

#[test]
fn namespaces_are_shared_as_asked() {
    let fixture = Fixture::new();
    let here =
        |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    let read = "for n in user pid net ipc uts cgroup mnt; do ls -l /proc/self/ns/$n | cat; done";
    let text = sees(&fixture, read, |_| ());
    for kind in ["user", "pid", "net", "ipc", "uts", "cgroup", "mnt"] {
        assert!(!text.contains(&here(kind)), "{kind} is the host's: {text}");
    }
    let text = sees(&fixture, read, |create| {
        create.host.user_mode = UserMode::Host;
        create.host.pid_mode = PidMode::Host;
        create.host.network_mode = NetworkMode::Host;
        create.host.ipc_mode = IpcMode::Host;
        create.host.uts_mode = UtsMode::Host;
    });
    for kind in ["user", "pid", "net", "ipc", "uts"] {
        assert!(text.contains(&here(kind)), "{kind} is not the host's: {text}");
    }
    // Ids of its own beside namespaces of the host's: nothing new can be mounted there, and all is shown.
    let text = sees(&fixture, "ls /sys/class/net; ls -d /proc/1 /dev/shm", |create| {
        create.host.pid_mode = PidMode::Host;
        create.host.network_mode = NetworkMode::Host;
        create.host.ipc_mode = IpcMode::Host;
    });
    assert!(text.contains("lo") && text.contains("/proc/1\n"), "{text}");
}

#[test]
fn a_container_joins_another() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut owner = Fixture::shell("echo shared > /dev/shm/s; echo ready; sleep 1000");
    owner.name = Some("owner".to_owned());
    owner.host.ipc_mode = IpcMode::Shareable;
    owner.process.hostname = Some("theirs".to_owned());
    engine.run(&owner, None).unwrap();
    fixture.wait_for("owner", "ready");
    let other = || "owner".to_owned();
    let text = sees(&fixture, "cat /dev/shm/s; hostname; cat /etc/hostname; ps | cat", |create| {
        create.host.pid_mode = PidMode::Container(other());
        create.host.ipc_mode = IpcMode::Container(other());
        create.host.network_mode = NetworkMode::Container(other());
    });
    assert!(text.starts_with("shared\ntheirs\ntheirs\n"), "{text}");
    assert!(text.contains("sleep 1000"), "{text}");
    let mut alone = Fixture::shell("sleep 1000");
    alone.name = Some("alone".to_owned());
    engine.run(&alone, None).unwrap();
    let mut request = Fixture::shell("true");
    request.host.ipc_mode = IpcMode::Container("alone".to_owned());
    let error = engine.run(&request, None).unwrap_err();
    assert!(error.to_string().contains("its IPC mode is private"), "{error}");
    request.host.ipc_mode = IpcMode::Private;
    request.host.pid_mode = PidMode::Container("nobody".to_owned());
    assert_eq!(engine.run(&request, None).unwrap_err().to_string(), "No such container: nobody");
}

#[test]
fn privileged_is_root_with_every_device() {
    let fixture = Fixture::new();
    let text = sees(
        &fixture,
        "cat /proc/self/uid_map; grep NoNewPrivs /proc/self/status; ls /dev/kmsg; mkdir /m && mount -t tmpfs x /m && echo mounted",
        |create| create.host.privileged = true,
    );
    assert!(text.contains("4294967295") && text.contains("NoNewPrivs:\t0"), "{text}");
    assert!(text.contains("/dev/kmsg") && text.contains("mounted"), "{text}");
}

#[test]
fn an_init_reaps_and_forwards() {
    let fixture = Fixture::new();
    let text = sees(&fixture, "echo $$; ps | cat", |create| create.host.init = true);
    assert!(text.starts_with("2\n"), "{text}");
}

#[test]
fn a_seccomp_profile_of_the_users_holds() {
    let fixture = Fixture::new();
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    let text = sees(&fixture, "mkdir /x 2>&1 || true; echo on", |create| {
        create.host.security_options = vec![format!("seccomp={profile}")];
    });
    assert!(text.contains("Operation not permitted") && text.ends_with("on\n"), "{text}");
    let text = sees(&fixture, "grep Seccomp: /proc/self/status", |create| {
        create.host.security_options = vec!["seccomp=unconfined".to_owned()];
    });
    assert_eq!(text, "Seccomp:\t0\n");
    let mut request = Fixture::shell("true");
    request.host.security_options = vec!["seccomp={\"defaultAction\":\"BOGUS\"}".to_owned()];
    let error = fixture.engine.run(&request, None).unwrap_err();
    assert!(chain(&error).contains("BOGUS"), "{}", chain(&error));
}
