//! Planning as tables: what is asked on the left, what comes out on the right.

use expect_test::{Expect, expect};
use oci::{ContainerId, Digest, ImageConfig};
use runtime::plan::{MountKind, RootSource, User};

use super::*;
use crate::plan::{ImageFacts, spec};
use crate::request::{Create, MountRequest, Resources};

pub(crate) fn facts() -> HostFacts {
    HostFacts {
        rootless: None,
        cpus: 4,
        capabilities: u64::MAX,
        hostname: "host".to_owned(),
        thermal_cpus: 0,
        cgroups: CgroupPlace::Root,
        mqueue: true,
    }
}

pub(in crate::plan) fn around() -> Surroundings {
    Surroundings {
        root: RootSource::Trees { layers: vec!["/layer".into()], writable: None },
        id_base: Some(0x8000_0000),
        devices: Vec::new(),
        named: crate::plan::DeviceEdits::default(),
        joined: Joined::default(),
        seccomp: None,
        files: "/c".into(),
        volumes: "/v".into(),
        shm: "/shm".into(),
        limits: None,
    }
}

fn id() -> ContainerId {
    ContainerId::from_bytes([0xab; 32])
}

/// An image that says something about everything.
const FULL: &str = r#"{"architecture":"amd64","os":"linux","config":{
    "User":"app","Env":["PATH=/bin","LANG=C"],"Entrypoint":["/entry"],"Cmd":["-x"],"WorkingDir":"work/",
    "Labels":{"a":"image","b":"image"},"StopSignal":"SIGINT","Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{}}},
    "rootfs":{"type":"layers","diff_ids":[]}}"#;
/// An image that says nothing.
pub(in crate::plan) const EMPTY: &str = r#"{"rootfs":{"type":"layers","diff_ids":[]}}"#;

pub(in crate::plan) fn planned(
    image: &str,
    facts: &HostFacts,
    change: impl FnOnce(&mut Create),
) -> Result<ContainerSpec> {
    let config = ImageConfig::parse(image.as_bytes()).unwrap();
    let mut request = Create { image: "img".to_owned(), ..Create::default() };
    request.process.command = vec!["true".to_owned()];
    change(&mut request);
    let image = ImageFacts { name: "img", id: &Digest::of(b"img"), config: &config };
    spec(&request, &image, &id(), facts).map(|(spec, _)| spec)
}

fn launched(change: impl FnOnce(&mut Create)) -> LaunchPlan {
    let spec = planned(EMPTY, &facts(), change).unwrap();
    launch(id().as_str(), &spec, &facts(), &around()).unwrap()
}

fn refusal(change: impl FnOnce(&mut Create)) -> String {
    planned(EMPTY, &facts(), change).map_or_else(|error| error.to_string(), |_| "fine".to_owned())
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn entry_point_and_command_merge_as_docker_merges_them() {
    let args = |image, entrypoint: Option<&str>, command: &str| {
        planned(image, &facts(), |create| {
            create.process.entrypoint = entrypoint.map(|text| vec![text.to_owned()]);
            create.process.command = words(command);
        })
        .map_or_else(|error| error.to_string(), |spec| spec.process.args().join(" "))
    };
    for (image, entrypoint, command, expected) in [
        (FULL, None, "", "/entry -x"),
        (FULL, None, "-y -z", "/entry -y -z"),
        (FULL, Some("sh"), "", "sh"),
        (FULL, Some("sh"), "-c x", "sh -c x"),
        (FULL, Some(""), "sh", "sh"),
        (FULL, Some(""), "", "no command specified"),
        (EMPTY, None, "sh", "sh"),
        (EMPTY, None, "", "no command specified"),
    ] {
        assert_eq!(args(image, entrypoint, command), expected, "{entrypoint:?} {command:?}");
    }
}

#[test]
fn an_image_supplies_what_the_user_does_not() {
    let spec = planned(FULL, &facts(), |create| {
        create.process.env = vec!["LANG=de".to_owned()];
        create.process.labels.insert("b".to_owned(), "own".to_owned());
    })
    .unwrap();
    let process = &spec.process;
    assert_eq!(process.env, ["LANG=de", "PATH=/bin"]);
    assert_eq!((process.user.as_str(), process.workdir.as_str()), ("app", "/work/"));
    assert_eq!((process.stop_signal, process.stop_signal_name.as_deref()), (2, Some("SIGINT")));
    assert_eq!((process.labels["a"].as_str(), process.labels["b"].as_str()), ("image", "own"));
    assert_eq!(
        (&process.volumes[..], &process.exposed_ports[..]),
        (&["/data".to_owned()][..], &["80/tcp".to_owned()][..])
    );
    let spec = planned(FULL, &facts(), |create| {
        create.process.user = Some("7:8".to_owned());
        create.process.workdir = Some("/own".to_owned());
        create.process.stop_signal = Some("9".to_owned());
    })
    .unwrap();
    assert_eq!((spec.process.user.as_str(), spec.process.workdir.as_str()), ("7:8", "/own"));
    assert_eq!(spec.process.stop_signal, 9);
}

#[test]
fn a_platform_that_does_not_fit_is_refused_when_named_and_warned_of_when_not() {
    let arm = FULL.replace("amd64", "s390x");
    let refused =
        planned(&arm, &facts(), |create| create.platform = Some("linux/amd64".to_owned())).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "image with reference img was found but does not provide the specified platform (linux/amd64): it is for linux/s390x"
    );
    assert!(planned(&arm, &facts(), |create| create.platform = Some("linux/s390x".to_owned())).is_ok());
    let config = ImageConfig::parse(arm.as_bytes()).unwrap();
    let image = ImageFacts { name: "img", id: &Digest::of(b"img"), config: &config };
    let (_, warnings) = spec(&Create::default(), &image, &id(), &facts()).unwrap();
    assert!(warnings[0].contains("(linux/s390x) does not match the detected host platform"), "{warnings:?}");
}

#[test]
fn what_cannot_be_is_refused_in_words_that_name_it() {
    let process =
        |change: fn(&mut crate::request::ProcessOptions)| refusal(|create| change(&mut create.process));
    let host = |change: fn(&mut HostOptions)| refusal(|create| change(&mut create.host));
    let table = [
        process(|p| p.workdir = Some("rel".into())),
        process(|p| p.user = Some("a:b:c".into())),
        process(|p| p.user = Some("4294967295".into())),
        process(|p| p.user = Some("99999999999".into())),
        process(|p| p.user = Some("../root".into())),
        process(|p| p.hostname = Some("a b".into())),
        process(|p| p.hostname = Some("x\n127.0.0.1 y".into())),
        process(|p| p.domainname = Some("-x".into())),
        process(|p| p.env = vec!["=x".into()]),
        process(|p| p.env = vec!["A=\0".into()]),
        process(|p| p.command = vec!["a\0b".into()]),
        process(|p| p.stop_signal = Some("BOGUS".into())),
        process(|p| p.stop_timeout = Some(-2)),
        host(|h| h.cap_add = vec!["x".into()]),
        host(|h| h.oom_score_adj = 1001),
        host(|h| h.group_add = vec!["a:b".into()]),
        host(|h| h.cgroup_parent = Some("../x".into())),
        host(|h| h.cgroup_parent = Some("system.slice".into())),
        host(|h| h.security_options = vec!["label=user:x".into()]),
        host(|h| drop(h.sysctls.insert("kernel.panic".into(), "1".into()))),
        host(|h| h.resources.memory = 1),
    ];
    expect![[r"
        the working directory 'rel' is invalid, it needs to be an absolute path
        invalid user or group: a:b:c: want a name or a number below 2147483648
        invalid user or group: 4294967295: want a name or a number below 2147483648
        invalid user or group: 99999999999: want a name or a number below 2147483648
        invalid user or group: ../root: want a name or a number below 2147483648
        invalid hostname format: a b
        invalid hostname format: x
        127.0.0.1 y
        invalid domainname format: -x
        invalid environment variable: =x
        invalid environment variable: A=\0
        argument holds a NUL character: a\0b
        Invalid signal: BOGUS
        invalid stop timeout: want seconds, or -1 to wait for ever
        invalid capability: "]]
    .assert_eq(&table[..14].join("\n").replace('\0', "\\0").replace("\"x\"", ""));
    expect![[r"
        Invalid value 1001, range for oom score adj is [-1000, 1000]
        invalid user or group: a:b: want a name or a number below 2147483648
        invalid cgroup parent ../x: want a path below the hierarchy's root, not a systemd slice
        invalid cgroup parent system.slice: want a path below the hierarchy's root, not a systemd slice
        --security-opt label=user:x: this host has no such security module
        sysctl 'kernel.panic' is not allowed: it is not of a namespace of the container's
        Minimum memory limit allowed is 6MB"]]
    .assert_eq(&table[14..].join("\n"));
}

/// A plan in a few lines.
fn show(plan: &LaunchPlan) -> String {
    let spaces = &plan.namespaces;
    let mut text = format!(
        "user {:?} pid {:?} net {:?} ipc {:?} uts {:?} cgroup {:?}\n",
        spaces.user, spaces.pid, spaces.network, spaces.ipc, spaces.uts, spaces.cgroup
    );
    for mount in &plan.mounts {
        let what = match &mount.kind {
            MountKind::New { fstype, options, copy_up, .. } => {
                format!("{fstype} {}{}", options.join(","), if *copy_up { " copy" } else { "" })
            }
            MountKind::Bind { source, recursive } => {
                format!("{} {}", if *recursive { "rbind" } else { "bind" }, source.display())
            }
            MountKind::Volume { source, fill } => {
                assert!(!fill, "who starts it knows");
                format!("volume {}", source.display())
            }
            MountKind::Image { .. } | MountKind::File { .. } => panic!("these are mounts of builds"),
            MountKind::Cgroup => "cgroup".to_owned(),
        };
        let a = mount.attributes;
        let flags: String = [
            (a.readonly, " ro"),
            (a.recursive_set & 1 == 1, " rro"),
            (a.nosuid, " nosuid"),
            (a.nodev, " nodev"),
            (a.noexec, " noexec"),
            (mount.id_map != runtime::plan::MountIdMap::None, " mapped"),
        ]
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| *name)
        .collect();
        text += &format!("{} {what}{flags}\n", mount.target.display());
    }
    text
}

fn check(change: impl FnOnce(&mut Create), expect: Expect) {
    expect.assert_eq(&show(&launched(change)));
}

#[test]
fn a_default_container_has_a_world_of_its_own() {
    check(
        |_| (),
        expect![[r#"
            user New pid New net New ipc New uts New cgroup New
            /proc proc  nosuid nodev noexec
            /dev tmpfs mode=755,size=65536k nosuid
            /dev/pts devpts newinstance,ptmxmode=0666,mode=0620,gid=5 nosuid noexec
            /sys sysfs  ro nosuid nodev noexec
            /sys/fs/cgroup cgroup ro nosuid nodev noexec
            /dev/mqueue mqueue  nosuid nodev noexec
            /dev/shm tmpfs mode=1777,size=67108864 nosuid nodev noexec
            /etc/resolv.conf bind /c/resolv.conf nosuid nodev
            /etc/hostname bind /c/hostname nosuid nodev
            /etc/hosts bind /c/hosts nosuid nodev
        "#]],
    );
    let plan = launched(|_| ());
    assert!(plan.process.no_new_privileges && plan.loopback);
    assert_eq!(plan.hostname.as_deref(), Some("abababababab"));
    assert_eq!((plan.masked_paths.len(), plan.readonly_paths.len()), (12, 5));
    assert_eq!(plan.process.capabilities.bounding.count_ones(), 14);
    assert_eq!((plan.process.capabilities.ambient, plan.process.capabilities.inheritable), (0, 0));
    assert_eq!(plan.process.user, User::Named { spec: String::new(), extra_groups: Vec::new() });
    assert_eq!(plan.process.cwd.to_str(), Some("/"));
    assert_eq!(plan.process.oom_score_adj, None);
    assert_eq!(plan.id_maps.uid[0].outside, 0x8000_0000);
    let cgroup = plan.cgroup.unwrap();
    assert_eq!(cgroup.path.to_str(), Some(format!("/skiff/{}", id()).as_str()));
    assert_eq!(cgroup.limits.pids, Some(8192));
    assert_eq!(
        plan.sysctls.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        ["net.ipv4.ip_unprivileged_port_start=0", "net.ipv4.ping_group_range=0 65535"]
    );
}

#[test]
fn a_privileged_container_has_the_hosts_ids_and_nothing_hidden() {
    check(
        |create| create.host.privileged = true,
        expect![[r#"
            user Inherit pid New net New ipc New uts New cgroup New
            /proc proc  nosuid nodev noexec
            /dev tmpfs mode=755,size=65536k nosuid
            /dev/pts devpts newinstance,ptmxmode=0666,mode=0620,gid=5 nosuid noexec
            /sys sysfs  nosuid nodev noexec
            /sys/fs/cgroup cgroup nosuid nodev noexec
            /dev/mqueue mqueue  nosuid nodev noexec
            /dev/shm tmpfs mode=1777,size=67108864 nosuid nodev noexec
            /etc/resolv.conf bind /c/resolv.conf nosuid nodev
            /etc/hostname bind /c/hostname nosuid nodev
            /etc/hosts bind /c/hosts nosuid nodev
        "#]],
    );
    let plan = launched(|create| create.host.privileged = true);
    assert!(plan.masked_paths.is_empty() && plan.readonly_paths.is_empty());
    assert!(!plan.process.no_new_privileges);
    assert_eq!(plan.process.capabilities.bounding.count_ones(), 41);
    let named = launched(|create| {
        create.host.privileged = true;
        create.host.security_options = vec!["no-new-privileges".to_owned()];
    });
    assert!(named.process.no_new_privileges);
}

#[test]
fn who_shares_the_hosts_ids_gets_no_capability_that_we_lack() {
    let facts = HostFacts { capabilities: 0b1001, ..facts() };
    let spec = planned(EMPTY, &facts, |create| create.host.privileged = true).unwrap();
    assert_eq!(launch("x", &spec, &facts, &around()).unwrap().process.capabilities.bounding, 0b1001);
    let spec = planned(EMPTY, &facts, |_| ()).unwrap();
    assert_eq!(launch("x", &spec, &facts, &around()).unwrap().process.capabilities.bounding.count_ones(), 14);
}

#[test]
fn namespaces_of_the_host_are_bound_not_mounted_anew() {
    check(
        |create| {
            create.host.pid_mode = PidMode::Host;
            create.host.network_mode = NetworkMode::Host;
            create.host.ipc_mode = IpcMode::Host;
            create.host.uts_mode = UtsMode::Host;
            create.host.cgroup_mode = CgroupMode::Host;
        },
        expect![[r#"
            user New pid Inherit net Inherit ipc Inherit uts Inherit cgroup Inherit
            /proc rbind /proc nosuid nodev noexec
            /dev tmpfs mode=755,size=65536k nosuid
            /dev/pts devpts newinstance,ptmxmode=0666,mode=0620,gid=5 nosuid noexec
            /sys rbind /sys ro rro nosuid nodev noexec
            /sys/fs/cgroup cgroup ro nosuid nodev noexec
            /dev/mqueue bind /dev/mqueue nosuid nodev noexec
            /dev/shm bind /dev/shm nosuid nodev noexec
            /etc/resolv.conf bind /c/resolv.conf nosuid nodev
            /etc/hostname bind /c/hostname nosuid nodev
            /etc/hosts bind /c/hosts nosuid nodev
        "#]],
    );
    let plan = launched(|create| {
        create.host.network_mode = NetworkMode::Host;
        create.host.uts_mode = UtsMode::Host;
    });
    assert_eq!((plan.hostname, plan.loopback, plan.sysctls), (None, false, Vec::new()));
    assert!(plan.process.env.contains(&"HOSTNAME=host".to_owned()));
}

#[test]
fn the_users_mounts_hide_defaults_and_come_parents_first() {
    check(
        |create| {
            create.host.mounts = vec![
                MountRequest::parse_volume("/src:/a/b/c:ro").unwrap(),
                MountRequest::parse_volume("/src:/a:rslave").unwrap(),
                MountRequest::parse_volume("/hosts:/etc/hosts").unwrap(),
                MountRequest::parse_volume("/host-dev:/dev").unwrap(),
                MountRequest::parse_tmpfs("/t:exec,size=1m,mode=700").unwrap(),
            ];
            create.host.readonly_root = true;
            create.host.ipc_mode = IpcMode::None;
        },
        expect![[r#"
            user New pid New net New ipc New uts New cgroup New
            /proc proc  nosuid nodev noexec
            /sys sysfs  ro nosuid nodev noexec
            /sys/fs/cgroup cgroup ro nosuid nodev noexec
            /etc/resolv.conf bind /c/resolv.conf ro nosuid nodev
            /etc/hostname bind /c/hostname ro nosuid nodev
            /a rbind /src mapped
            /dev rbind /host-dev mapped
            /t tmpfs size=1m,mode=700 copy nosuid nodev
            /etc/hosts rbind /hosts mapped
            /a/b/c rbind /src ro rro mapped
        "#]],
    );
    let plan = launched(|create| {
        create.host.mounts = vec![MountRequest::parse_volume("/src:/a:rslave").unwrap()];
    });
    assert_eq!(plan.root.propagation, Propagation::RecursiveSlave);
}

#[test]
fn volumes_of_the_image_are_mounts_unless_the_user_has_one_there() {
    let image = |volumes: &str| EMPTY.replacen('{', &format!("{{\"config\":{{\"Volumes\":{volumes}}},"), 1);
    let shown = |volumes: &str, change: fn(&mut Create)| {
        let spec = planned(&image(volumes), &facts(), change).unwrap();
        let plan = launch(id().as_str(), &spec, &facts(), &around()).unwrap();
        show(&plan)
            .lines()
            .filter(|line| !line.contains(" /c/") && line.contains(" mapped"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    expect![[r#"
        /data volume /v/0 mapped
        /data/db volume /v/2 mapped
        /var/lib/x volume /v/3 mapped"#]]
    .assert_eq(&shown(r#"{"/data":{},"/data/":{},"/data/db":{},"var/lib//x":{}}"#, |_| ()));
    expect![[r#"
        /c volume /v/2 mapped
        /a/b rbind /src mapped
        /a/b/c volume /v/1 mapped"#]]
    .assert_eq(&shown(r#"{"/a/b":{},"/a/b/c":{},"/c":{},"/t":{}}"#, |create| {
        create.host.mounts =
            vec![MountRequest::parse_volume("/src:/a/b/").unwrap(), MountRequest::parse_tmpfs("/t").unwrap()];
    }));
    let refused = |volumes: &str| planned(&image(volumes), &facts(), |_| ()).unwrap_err().to_string();
    assert_eq!(refused(r#"{"//":{}}"#), "invalid mount //: a VOLUME of the image can't be '/'");
    let many: Vec<String> = (0..257).map(|number| format!("\"/{number:03}\":{{}}")).collect();
    assert_eq!(
        refused(&format!("{{{}}}", many.join(","))),
        "invalid mount /256: the image declares more than 256 VOLUMEs"
    );
}

#[test]
fn a_shareable_ipc_namespace_has_memory_that_has_a_name() {
    let shm = |plan: &LaunchPlan| {
        let mount = plan.mounts.iter().find(|mount| mount.target.ends_with("shm")).unwrap();
        format!("{:?} {:?}", mount.kind, mount.id_map)
    };
    let plan = launched(|create| create.host.ipc_mode = IpcMode::Shareable);
    assert_eq!(shm(&plan), "Bind { source: \"/shm\", recursive: false } Container");
    let spec =
        planned(EMPTY, &facts(), |create| create.host.ipc_mode = IpcMode::Container("x".into())).unwrap();
    let peer = Peer { pid: 7, maps: runtime::plan::IdMaps::default(), shm: "/peer".into() };
    let around = Surroundings { joined: Joined { ipc: Some(peer), ..Joined::default() }, ..around() };
    let plan = launch("x", &spec, &facts(), &around).unwrap();
    assert_eq!(shm(&plan), "Bind { source: \"/peer\", recursive: false } Container");
    assert_eq!(plan.namespaces.ipc, Namespace::Join("/proc/7/ns/ipc".into()));
}

#[test]
fn without_root_nothing_is_mapped_and_groups_are_made_where_they_may_be() {
    for (cgroups, path) in [(CgroupPlace::Nowhere, None), (CgroupPlace::Own, Some(format!("skiff/{}", id())))]
    {
        let user = crate::plan::Rootless { uid: 1000, gid: 1000, uids: Vec::new(), gids: Vec::new() };
        let facts = HostFacts { rootless: Some(user), cgroups, ..facts() };
        let spec = planned(EMPTY, &facts, |create| {
            create.host.mounts = vec![MountRequest::parse_volume("/src:/a").unwrap()];
        })
        .unwrap();
        let plan = launch(id().as_str(), &spec, &facts, &Surroundings { id_base: None, ..around() }).unwrap();
        assert!(plan.mounts.iter().all(|mount| mount.id_map == runtime::plan::MountIdMap::None));
        assert_eq!(plan.id_maps.uid, [runtime::plan::IdMap { inside: 0, outside: 1000, count: 1 }]);
        assert_eq!(plan.cgroup.map(|plan| plan.path.display().to_string()), path);
        assert_eq!(plan.sysctls[1].1, "0 0");
    }
}

#[test]
fn limits_without_a_group_are_warned_of() {
    let config = ImageConfig::parse(FULL.as_bytes()).unwrap();
    let image = ImageFacts { name: "img", id: &Digest::of(b"img"), config: &config };
    let facts = HostFacts { cgroups: CgroupPlace::Nowhere, ..facts() };
    let mut request = Create::default();
    assert!(spec(&request, &image, &id(), &facts).unwrap().1.is_empty());
    request.host.resources = Resources { memory: 64 << 20, ..Resources::default() };
    assert_eq!(spec(&request, &image, &id(), &facts).unwrap().1.len(), 1);
}

#[test]
fn a_further_process_is_confined_like_the_first_unless_privileged() {
    let spec = planned(FULL, &facts(), |create| create.host.cap_drop = vec!["ALL".to_owned()]).unwrap();
    let filter = SeccompFilter { program: vec![0; 8], flags: 0, listener: None };
    let request = Exec { command: words("sh -c x"), env: vec!["LANG=x".to_owned()], ..Exec::default() };
    let plan = exec(&spec, &request, &facts(), Some(filter.clone())).unwrap();
    assert_eq!(plan.capabilities.bounding, 0);
    assert!(plan.no_new_privileges && plan.seccomp.is_some() && plan.terminal.is_none() && !plan.create_cwd);
    assert_eq!(plan.user, User::Named { spec: "app".to_owned(), extra_groups: Vec::new() });
    assert_eq!(plan.cwd.to_str(), Some("/work/"));
    assert!(plan.env.contains(&"LANG=x".to_owned()));
    let request = Exec { privileged: true, user: Some("0".to_owned()), tty: true, ..request };
    let plan = exec(&spec, &request, &facts(), Some(filter)).unwrap();
    assert_eq!(plan.capabilities.bounding.count_ones(), 41);
    assert!(plan.seccomp.is_none() && plan.terminal.is_some());
    assert!(exec(&spec, &Exec::default(), &facts(), None).is_err(), "no command");
}

#[test]
fn a_configuration_survives_being_kept() {
    let spec = planned(FULL, &facts(), |create| {
        create.host.mounts = vec![
            MountRequest::parse_volume("/src:/a:ro").unwrap(),
            MountRequest::parse_tmpfs("/t:size=1m").unwrap(),
        ];
        create.host.network_mode = NetworkMode::Container("x".to_owned());
        create.host.resources.pids_limit = Some(-1);
        create.process.stop_timeout = Some(3);
    })
    .unwrap();
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<ContainerSpec>(&text).unwrap(), spec);
}

proptest::proptest! {
    #[test]
    fn any_text_of_a_user_is_planned_or_refused(
        user in "\\PC{0,20}|[0-9:]{0,12}",
        workdir in "\\PC{0,20}|/[a-z./]{0,12}",
        hostname in "\\PC{0,70}",
        volume in "\\PC{0,30}|/[a-z/.]{0,9}:/[a-z/.]{0,9}(:[a-z,]{0,9})?",
        tmpfs in "\\PC{0,30}|/[a-z/.]{0,9}:[a-z=0-9,]{0,12}",
        capability in "\\PC{0,12}",
        sysctl in "\\PC{0,12}|(net|kernel|fs.mqueue)\\.[a-z./]{0,12}",
    ) {
        let planned = planned(EMPTY, &facts(), |create| {
            create.process.user = Some(user);
            create.process.workdir = Some(workdir);
            create.process.hostname = Some(hostname);
            create.host.cap_add = vec![capability];
            create.host.sysctls.insert(sysctl, "1".to_owned());
            create.host.mounts.extend(MountRequest::parse_volume(&volume));
            create.host.mounts.extend(MountRequest::parse_tmpfs(&tmpfs));
        });
        if let Ok(spec) = planned {
            let plan = launch(id().as_str(), &spec, &facts(), &around()).unwrap();
            for mount in &plan.mounts {
                proptest::prop_assert!(mount.target.is_absolute());
                proptest::prop_assert!(!mount.target.components().any(|part| part.as_os_str() == ".."));
            }
            let plain = |text: &str| !text.contains(['\n', '\0', ' ']);
            proptest::prop_assert!(plain(plan.hostname.as_deref().unwrap_or("")));
        }
    }
}

/// What a monitor makes before it has a plan must be what the plan then wants, or it is made twice.
#[test]
fn what_is_made_ahead_is_what_the_plan_wants() {
    type Change = fn(&mut Create);
    let alike: [Change; 7] = [
        |_| {},
        |create| create.host.network_mode = NetworkMode::Host,
        |create| create.host.user_mode = crate::request::UserMode::Host,
        |create| create.host.pid_mode = PidMode::Host,
        |create| create.host.ipc_mode = IpcMode::Host,
        |create| create.host.uts_mode = UtsMode::Host,
        |create| create.host.cgroup_mode = CgroupMode::Host,
    ];
    for (number, change) in alike.into_iter().enumerate() {
        let plan = launched(change);
        let mut request = Create::default();
        change(&mut request);
        let made = ahead(id().as_str(), &request.host, &facts());
        assert_eq!(made, Some((plan.namespaces, plan.cgroup)), "number {number}");
    }
    let later: [Change; 6] = [
        |create| create.host.network_mode = NetworkMode::Container("web".to_owned()),
        |create| create.host.pid_mode = PidMode::Container("web".to_owned()),
        |create| create.host.ipc_mode = IpcMode::Container("web".to_owned()),
        |create| create.host.privileged = true,
        |create| create.host.resources.memory = 1 << 30,
        |create| create.host.cgroup_parent = Some("../..".to_owned()),
    ];
    for (number, change) in later.into_iter().enumerate() {
        let mut request = Create::default();
        change(&mut request);
        assert_eq!(ahead(id().as_str(), &request.host, &facts()), None, "number {number}");
    }
}
