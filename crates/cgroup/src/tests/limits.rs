//! Every limit, read back from the kernel; and those that a version lacks, refused by name.

use super::*;
use crate::{BlockIo, Error};

/// A limit, the file it goes to in version 1 and what that then says, and the same for version 2.
struct Case {
    limits: Limits,
    controller: Controller,
    legacy: Option<(&'static str, &'static str)>,
    unified: Option<(&'static str, &'static str)>,
}

fn cases() -> Vec<Case> {
    use Controller::{Cpu, Cpuset, Memory, Pids};
    let case = |limits, controller, legacy, unified| Case { limits, controller, legacy, unified };
    let none = Limits::default;
    vec![
        case(
            Limits { memory: Some(64 * MIB), ..none() },
            Memory,
            Some(("memory.limit_in_bytes", "67108864")),
            Some(("memory.max", "67108864")),
        ),
        case(Limits { memory: Some(-1), ..none() }, Memory, None, Some(("memory.max", "max"))),
        case(
            Limits { memory: Some(64 * MIB), memory_and_swap: Some(96 * MIB), ..none() },
            Memory,
            Some(("memory.memsw.limit_in_bytes", "100663296")),
            Some(("memory.swap.max", "33554432")),
        ),
        case(
            Limits { memory_reservation: Some(32 * MIB), ..none() },
            Memory,
            Some(("memory.soft_limit_in_bytes", "33554432")),
            Some(("memory.low", "33554432")),
        ),
        case(
            Limits { cpu_shares: Some(512), ..none() },
            Cpu,
            Some(("cpu.shares", "512")),
            Some(("cpu.weight", "59")),
        ),
        case(
            Limits { cpu_quota: Some(50_000), ..none() },
            Cpu,
            Some(("cpu.cfs_quota_us", "50000")),
            Some(("cpu.max", "50000 100000")),
        ),
        case(
            Limits { cpu_period: Some(50_000), ..none() },
            Cpu,
            Some(("cpu.cfs_period_us", "50000")),
            Some(("cpu.max", "max 50000")),
        ),
        case(
            Limits { cpu_quota: Some(20_000), cpu_period: Some(10_000), cpu_burst: Some(5000), ..none() },
            Cpu,
            Some(("cpu.cfs_burst_us", "5000")),
            Some(("cpu.max.burst", "5000")),
        ),
        case(Limits { cpu_quota: Some(-1), ..none() }, Cpu, Some(("cpu.cfs_quota_us", "-1")), None),
        case(
            Limits { cpu_idle: Some(1), cpu_shares: Some(99), ..none() },
            Cpu,
            Some(("cpu.idle", "1")),
            Some(("cpu.idle", "1")),
        ),
        case(
            Limits { cpuset_cpus: Some("0".into()), ..none() },
            Cpuset,
            Some(("cpuset.cpus", "0")),
            Some(("cpuset.cpus", "0")),
        ),
        case(
            Limits { cpuset_mems: Some("0".into()), ..none() },
            Cpuset,
            Some(("cpuset.mems", "0")),
            Some(("cpuset.mems", "0")),
        ),
        case(Limits { pids: Some(10), ..none() }, Pids, Some(("pids.max", "10")), Some(("pids.max", "10"))),
        case(Limits { pids: Some(-1), ..none() }, Pids, Some(("pids.max", "max")), Some(("pids.max", "max"))),
    ]
}

#[test]
fn limits_read_back_as_set() {
    for layout in layouts() {
        for case in cases() {
            if !has(&layout, case.controller) {
                let error = Cgroup::create(&layout, &plan(case.limits)).unwrap_err();
                assert!(matches!(error, Error::Unenforceable { .. }), "{error}");
                continue;
            }
            let expected = if is_legacy(&layout, case.controller) { case.legacy } else { case.unified };
            let group = create(&layout, case.limits.clone());
            if let Some((file, value)) = expected {
                assert_eq!(content(&group, case.controller, file), value, "{file} on {:?}", layout.version());
            }
            // A process must be able to live under it, too.
            let shell = Shell::start(&group, "echo alive");
            assert_eq!(shell.output(), "alive\n", "{:?}", case.limits);
            group.remove().unwrap();
        }
    }
}

#[test]
fn what_version_2_has_not_is_refused_by_name_there_and_set_in_version_1() {
    let none = Limits::default;
    let cases = [
        (
            Limits { swappiness: Some(10), ..none() },
            Controller::Memory,
            "memory.swappiness",
            ("memory.swappiness", "10"),
        ),
        (
            Limits { oom_kill_disable: true, ..none() },
            Controller::Memory,
            "memory.disableOOMKiller",
            ("memory.oom_control", "oom_kill_disable 1"),
        ),
        (
            Limits { kernel_memory_tcp: Some(8 * MIB), ..none() },
            Controller::Memory,
            "memory.kernelTCP",
            ("memory.kmem.tcp.limit_in_bytes", "8388608"),
        ),
        (
            Limits { cpu_realtime_period: Some(500_000), ..none() },
            Controller::Cpu,
            "cpu.realtimePeriod",
            ("cpu.rt_period_us", "500000"),
        ),
        (
            Limits { cpu_realtime_runtime: Some(10_000), ..none() },
            Controller::Cpu,
            "cpu.realtimeRuntime",
            ("cpu.rt_runtime_us", "10000"),
        ),
    ];
    for layout in layouts() {
        for (limits, controller, name, (file, value)) in cases.clone() {
            let plan = plan(limits);
            match Cgroup::create(&layout, &plan) {
                Ok(group) => {
                    assert!(is_legacy(&layout, controller), "{name}");
                    assert!(content(&group, controller, file).starts_with(value), "{file}");
                    group.remove().unwrap();
                }
                Err(Error::Unenforceable { limit, .. }) => {
                    assert!(!is_legacy(&layout, controller));
                    assert_eq!(limit, name);
                }
                Err(error) => panic!("{name}: {error}"),
            }
            assert_gone(&plan.path);
        }
    }
}

#[test]
fn what_this_kernel_lacks_is_refused_by_name_and_leaves_nothing() {
    let none = Limits::default;
    let weight = BlockIo { leaf_weight: Some(100), ..BlockIo::default() };
    let cases = [
        (Limits { network_class: Some(1), ..none() }, "network.classID"),
        (Limits { network_priorities: vec![("lo".into(), 1)], ..none() }, "network.priorities"),
        (Limits { block_io: weight, ..none() }, "blockIO.leafWeight"),
        (Limits { kernel_memory: Some(64 * MIB), ..none() }, "memory.kernel"),
        (Limits { rdma: vec![("mlx5_1".into(), Some(3), None)], ..none() }, "rdma"),
        (Limits { unified: vec![("memory.no_such_file".into(), "1".into())], ..none() }, "unified"),
    ];
    for layout in layouts() {
        for (limits, name) in cases.clone() {
            let plan = plan(limits);
            match Cgroup::create(&layout, &plan) {
                Err(Error::Unenforceable { limit, reason }) => {
                    assert_eq!(limit, name);
                    assert!(!reason.is_empty());
                }
                // Version 1 kernels differ: an old one has the controller or the file.
                Ok(group) if !layout.legacy.is_empty() => group.remove().unwrap(),
                // Where RDMA is compiled in, the device is what is missing.
                Err(Error::Set { limit: "rdma", .. }) if name == "rdma" => {}
                other => panic!("{name} on {:?}: {other:?}", layout.version()),
            }
            assert_gone(&plan.path);
        }
    }
}

#[test]
fn files_named_by_the_user_are_limits_of_this_group_alone() {
    for layout in layouts() {
        for file in
            ["cgroup.procs", "cgroup.kill", "../memory.max", "memory.max/x", "memory", ".max", "a.b\n"]
        {
            let limits = Limits { unified: vec![(file.to_owned(), "1".to_owned())], ..Limits::default() };
            let error = Cgroup::create(&layout, &plan(limits)).unwrap_err();
            assert!(matches!(error, Error::Invalid { limit: "unified", .. }), "{file:?}: {error}");
        }
        let limits = Limits { unified: vec![("cgroup.max.depth".into(), "3".into())], ..Limits::default() };
        match (Cgroup::create(&layout, &plan(limits)), &layout.unified) {
            (Ok(group), Some(_)) => {
                let node = group.unified.as_ref().unwrap();
                assert_eq!(node.dir.read("cgroup.max.depth").unwrap(), "3\n");
                group.remove().unwrap();
            }
            (Err(Error::Unenforceable { limit, .. }), None) => assert_eq!(limit, "unified"),
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn block_io_of_one_device_is_limited() {
    // The first real disk of the machine; every machine that runs tests has one, or a RAM or loop device.
    let disk = std::fs::read_dir("/sys/block").unwrap().flatten().next().expect("a block device");
    let numbers = std::fs::read_to_string(disk.path().join("dev")).unwrap();
    let (major, minor) = numbers.trim().split_once(':').unwrap();
    let (major, minor) = (major.parse().unwrap(), minor.parse().unwrap());
    let limits = BlockIo {
        read_bps: vec![(major, minor, 1 << 20)],
        write_iops: vec![(major, minor, 100)],
        ..BlockIo::default()
    };
    for layout in layouts() {
        let made = Cgroup::create(&layout, &plan(Limits { block_io: limits.clone(), ..Limits::default() }));
        if !has(&layout, Controller::Blkio) {
            assert!(matches!(made, Err(Error::Unenforceable { .. })), "{made:?}");
            continue;
        }
        let group = made.unwrap();
        if is_legacy(&layout, Controller::Blkio) {
            assert_eq!(
                content(&group, Controller::Blkio, "blkio.throttle.read_bps_device"),
                format!("{major}:{minor} 1048576")
            );
            assert_eq!(
                content(&group, Controller::Blkio, "blkio.throttle.write_iops_device"),
                format!("{major}:{minor} 100")
            );
        } else {
            let line = format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=100");
            assert_eq!(content(&group, Controller::Blkio, "io.max"), line);
        }
        group.remove().unwrap();
    }
}

#[test]
fn huge_pages_are_limited_where_the_controller_is() {
    for layout in layouts() {
        let limits = Limits { hugepages: vec![("2MB".into(), 4 << 20)], ..Limits::default() };
        let made = Cgroup::create(&layout, &plan(limits));
        if !has(&layout, Controller::Hugetlb) {
            assert!(matches!(made, Err(Error::Unenforceable { .. })), "{made:?}");
            continue;
        }
        let group = made.unwrap();
        let usage = group.stats().unwrap().hugepages["2MB"];
        assert_eq!((usage.now, usage.limit), (0, Some(4 << 20)));
        group.remove().unwrap();
        let bad = Limits { hugepages: vec![("../2MB".into(), 1)], ..Limits::default() };
        assert!(matches!(Cgroup::create(&layout, &plan(bad)), Err(Error::Invalid { .. })));
    }
}

#[test]
fn an_update_changes_what_it_names_and_nothing_else() {
    for layout in layouts().into_iter().filter(|layout| has(layout, Controller::Cpu)) {
        let limits =
            Limits { cpu_shares: Some(512), cpu_quota: Some(40_000), pids: Some(20), ..Limits::default() };
        let mut group = create(&layout, limits);
        group.update(&Limits { cpu_period: Some(50_000), ..Limits::default() }).unwrap();
        group.update(&Limits { pids: Some(30), ..Limits::default() }).unwrap();
        if is_legacy(&layout, Controller::Cpu) {
            assert_eq!(content(&group, Controller::Cpu, "cpu.shares"), "512");
            assert_eq!(content(&group, Controller::Cpu, "cpu.cfs_quota_us"), "40000");
            assert_eq!(content(&group, Controller::Cpu, "cpu.cfs_period_us"), "50000");
        } else {
            assert_eq!(content(&group, Controller::Cpu, "cpu.weight"), "59");
            assert_eq!(content(&group, Controller::Cpu, "cpu.max"), "40000 50000");
        }
        assert_eq!(content(&group, Controller::Pids, "pids.max"), "30");
        // Downwards, quota and burst constrain each other.
        let burst =
            |quota, burst| Limits { cpu_quota: Some(quota), cpu_burst: Some(burst), ..Limits::default() };
        group.update(&burst(30_000, 30_000)).unwrap();
        group.update(&burst(10_000, 10_000)).unwrap();
        group.remove().unwrap();
    }
}

#[test]
fn an_update_may_need_a_hierarchy_that_the_group_was_not_in() {
    for layout in layouts().into_iter().filter(|layout| has(layout, Controller::Cpuset)) {
        let mut group = create(&layout, Limits::default());
        let shell = Shell::start(&group, "sleep 1000 & wait");
        eventually("both run", || (group.pids().unwrap().len() == 2).then_some(()));
        group.update(&Limits { cpuset_cpus: Some("0".into()), ..Limits::default() }).unwrap();
        for pid in group.pids().unwrap() {
            let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
            let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
            assert_eq!(allowed.trim(), "0");
        }
        drop(shell);
        let path = group.path().to_owned();
        group.remove().unwrap();
        assert_gone(&path);
    }
}
