//! Processes: users, programs, terminals, exec, reaper, hooks, gates, and ends. Needs root.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::*;
use runtime::plan::*;
use serde_json::json;

fn named(spec: &str) -> User {
    User::Named { spec: spec.into(), extra_groups: Vec::new() }
}

#[test]
fn users_groups_and_home_come_from_the_image() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    std::fs::create_dir_all(root.join("home/user")).unwrap();
    let mut plan = plan(&root, &["sh", "-c", "id -u; id -g; id -G; echo $HOME"]);
    for (spec, expected) in [
        ("", "0\n0\n0\n/root\n"),
        ("user", "1000\n1000\n1000 44\n/home/user\n"),
        ("user:video", "1000\n44\n44\n/home/user\n"),
        ("4242", "4242\n0\n0\n/\n"),
        ("4242:17", "4242\n17\n17\n/\n"),
    ] {
        plan.process.user = named(spec);
        assert_eq!(run(&folder, &plan).output(), expected, "{spec}");
        let inside = with_user_namespace(plan.clone());
        let outcome = run(&folder, &inside);
        assert_eq!(outcome.output(), expected, "{spec} in a user namespace");
    }
    plan.process.user = User::Named { spec: "user".into(), extra_groups: vec!["root".into(), "99".into()] };
    assert_eq!(run(&folder, &plan).output(), "1000\n1000\n1000 0 44 99\n/home/user\n");
    plan.process.user = User::Ids { uid: 70_000, gid: 0, groups: Vec::new() };
    let outcome = run(&folder, &with_user_namespace(plan));
    assert!(outcome.error().contains("user 70000: an id is not mapped"), "{outcome:?}");
}

#[test]
fn programs_that_cannot_run_say_why_as_a_shell_does() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let script = |name: &str, content: &[u8], mode| {
        std::fs::write(root.join("bin").join(name), content).unwrap();
        std::fs::set_permissions(root.join("bin").join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    script("plain", b"text", 0o644);
    script("garbage", b"\x00\x01garbage", 0o755);
    script("orphan", b"#!/no/such/shell\n", 0o755);
    script("good", b"#!/bin/sh\nexit 7\n", 0o755);
    for (program, status, part) in [
        ("missing", 127, "executable file not found in $PATH"),
        ("plain", 127, "executable file not found in $PATH"),
        ("/bin/missing", 127, "No such file"),
        ("/bin/plain", 126, "ermission denied"),
        ("/bin", 126, "directory"),
        ("/bin/garbage", 126, "format"),
        ("/bin/orphan", 127, "No such file"),
        ("", 127, "no command"),
    ] {
        let outcome = run(&folder, &plan(&root, &[program]));
        assert!(outcome.error().contains(part), "{program}: {outcome:?}");
        assert_eq!(outcome.report["command_status"], status, "{program}: {outcome:?}");
    }
    assert_eq!(run(&folder, &plan(&root, &["good"])).status(), 7);
    assert_eq!(
        run(&folder, &plan(&root, &["sh", "-c", "kill -9 $$; sleep 0.1"])).report["status"],
        0,
        "process 1 ignores itself"
    );
}

#[test]
fn the_working_directory_is_made_on_request_and_stays_inside() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let mut plan = plan(&root, &["pwd"]);
    plan.process.cwd = "/srv/app".into();
    plan.process.create_cwd = true;
    assert_eq!(run(&folder, &plan).output(), "/srv/app\n");
    // A descriptor of the host's must not be a way out.
    for fd in 3..12 {
        plan.process.create_cwd = false;
        plan.process.cwd = format!("/proc/self/fd/{fd}").into();
        let outcome = run(&folder, &plan);
        assert!(outcome.error().contains("change to working directory"), "{fd}: {outcome:?}");
    }
}

#[test]
fn no_descriptor_of_the_callers_reaches_the_program() {
    let folder = Folder::new();
    // The fourth is the folder that ls reads.
    let outcome = run(&folder, &plan(&folder.busybox("root"), &["ls", "/proc/self/fd"]));
    assert_eq!(outcome.output(), "0\n1\n2\n3\n");
}

#[test]
fn a_terminal_is_the_containers_own() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let script = "tty; stty size; stat -c %t:%T /dev/console; test -t 0 && test -t 2 && echo terminal; read line; echo got $line; \
                  stat -c %u /dev/pts/0";
    let mut plan = plan(&root, &["sh", "-c", script]);
    plan.process.terminal = Some(TerminalSize { columns: 91, rows: 23 });
    plan.process.user = User::Ids { uid: 1000, gid: 0, groups: Vec::new() };
    for plan in [plan.clone(), with_user_namespace(plan)] {
        let outcome = run_with(&folder, &plan, json!({ "input": "hello\n" }));
        let shown = outcome.report["terminal"].as_str().unwrap();
        for expected in ["/dev/pts/0", "23 91", "88:0", "terminal", "got hello", "1000"] {
            assert!(shown.lines().any(|line| line == expected), "{expected}: {outcome:?}");
        }
        assert_eq!(outcome.status(), 0);
    }
}

#[test]
fn exec_joins_the_container() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let script = "hostname; for of in self 1; do for kind in mnt pid net; do readlink /proc/$of/ns/$kind; done; done; \
                  ls /proc/self/fd | wc -l; cat /proc/self/uid_map";
    let further = process(&["sh", "-c", script]);
    let mut narrow = process(&["grep", "-E", "^(CapBnd|NoNewPrivs)", "/proc/self/status"]);
    narrow.capabilities =
        Capabilities { bounding: 0x21, effective: 0x21, permitted: 0x21, ..Capabilities::default() };
    let mut failing = process(&["missing"]);
    failing.user = named("user");
    // It ends once the program that says so has ended: whoever is left in its namespace is killed.
    let script = "until test -s /tmp/done; do sleep 0.01; done; while kill -0 $(cat /tmp/done) 2>/dev/null; do sleep 0.01; done";
    let mut first = plan(&root, &["sh", "-c", script]);
    first.process.user = named("");
    let done = process(&["sh", "-c", "echo $$ > /tmp/done"]);
    for (plan, map) in [(first.clone(), "0 0 4294967295"), (with_user_namespace(first), "0 200000 65536")] {
        std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o777)).unwrap();
        let outcome = run_with(&folder, &plan, json!({ "exec": [further, narrow, done] }));
        let lines: Vec<&str> = outcome.output().lines().collect();
        assert_eq!(lines[0], "boat");
        assert_eq!(lines[1..4], lines[4..7], "{outcome:?}");
        assert_eq!(lines[7], "4", "{outcome:?}");
        assert_eq!(lines[8].split_whitespace().collect::<Vec<_>>().join(" "), map);
        assert_eq!(lines[9..], ["CapBnd:\t0000000000000021", "NoNewPrivs:\t1"], "{outcome:?}");
        assert_eq!(outcome.report["exec"], json!([0, 0, 0]));
        std::fs::remove_file(root.join("tmp/done")).unwrap();

        let outcome = run_with(&folder, &plan, json!({ "exec": [failing] }));
        assert_eq!(outcome.report["command_status"], 127, "{outcome:?}");
        assert!(outcome.error().contains("exec \"missing\""), "{outcome:?}");
    }
}

#[test]
fn exec_with_a_terminal_gets_one_from_the_container() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let mut further = process(&["sh", "-c", "tty; test -t 1 && echo terminal; touch /tmp/done"]);
    further.terminal = Some(TerminalSize { columns: 80, rows: 24 });
    let plan = plan(&root, &["sh", "-c", "until test -e /tmp/done; do sleep 0.01; done"]);
    let outcome = run_with(&folder, &plan, json!({ "exec": [further] }));
    let shown = outcome.report["terminal"].as_str().unwrap();
    assert!(shown.contains("/dev/pts/0") && shown.contains("terminal"), "{outcome:?}");
}

#[test]
fn a_reaper_reaps_forwards_and_ends_with_its_program() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let mut plan = plan(
        &root,
        &[
            "sh",
            "-c",
            "echo $$; (sleep 0.05 & ); sleep 0.2; ps | grep -c '[Z] '; cat /proc/1/exe | wc -c; exit 9",
        ],
    );
    plan.process.reaper = true;
    let outcome = run(&folder, &plan);
    assert_eq!((outcome.status(), outcome.stdout.as_str()), (9, "2\n0\n0\n"), "{outcome:?}");

    plan.process.args = vec![
        "sh".into(),
        "-c".into(),
        "trap 'echo caught; exit 3' TERM; while true; do sleep 0.01; done".into(),
    ];
    let outcome = run_with(&folder, &plan, json!({ "signals": [15] }));
    assert_eq!((outcome.status(), outcome.stdout.as_str()), (3, "caught\n"), "{outcome:?}");
    plan.process.args = vec!["sleep".into(), "100".into()];
    assert_eq!(run_with(&folder, &plan, json!({ "signals": [10] })).status(), 128 + 10);
    plan.process.args = vec!["missing".into()];
    assert_eq!(run(&folder, &plan).report["command_status"], 127);
    // And with a terminal and another user.
    plan.process.args = vec!["sh".into(), "-c".into(), "id -u; tty; exit 4".into()];
    plan.process.terminal = Some(TerminalSize::default());
    plan.process.user = User::Ids { uid: 1000, gid: 0, groups: Vec::new() };
    let outcome = run(&folder, &with_user_namespace(plan));
    assert_eq!(outcome.status(), 4);
    assert!(outcome.report["terminal"].as_str().unwrap().contains("1000\r\n/dev/pts/0"), "{outcome:?}");
}

fn hook(folder: &Folder, name: &str, script: &str) -> Hook {
    let path = folder.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Hook { path, args: Vec::new(), env: vec!["WHO=hook".into()], timeout_secs: Some(5) }
}

#[test]
fn hooks_run_in_order_each_at_its_place() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let log = folder.path().join("log");
    let say = |name: &str| {
        format!("echo {name} $WHO $(cat | grep -c '\"id\":\"boat\"') $(hostname) >> {}", log.display())
    };
    let mut plan = plan(&root, &["sh", "-c", "cat /log"]);
    plan.hooks.state = HookState { id: "boat".into(), bundle: "/bundle".into(), ..HookState::default() };
    plan.hooks.create_runtime = vec![hook(&folder, "create-runtime", &say("createRuntime"))];
    plan.hooks.prestart = vec![hook(&folder, "prestart", &say("prestart"))];
    plan.hooks.create_container = vec![hook(&folder, "create-container", &say("createContainer"))];
    plan.hooks.start_container = vec![Hook {
        path: "/bin/sh".into(),
        args: [
            "sh",
            "-c",
            "echo startContainer $WHO $(cat | grep -c '\"status\":\"created\"') $(hostname) >> /log",
        ]
        .map(String::from)
        .to_vec(),
        env: vec!["WHO=inside".into(), "PATH=/bin".into()],
        timeout_secs: None,
    }];
    let outcome = run(&folder, &plan);
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    assert_eq!(outcome.output(), "startContainer inside 1 boat\n", "{outcome:?}");
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        format!("prestart hook 1 {host}\ncreateRuntime hook 1 {host}\ncreateContainer hook 1 boat\n")
    );

    plan.hooks.create_runtime = vec![hook(&folder, "failing", "echo broken >&2; exit 3")];
    let outcome = run(&folder, &plan);
    assert!(
        outcome.error().contains("createRuntime hook") && outcome.error().contains("exit status 3: broken"),
        "{outcome:?}"
    );
    plan.hooks.create_runtime = vec![Hook { timeout_secs: Some(1), ..hook(&folder, "slow", "sleep 60") }];
    let begin = Instant::now();
    assert!(run(&folder, &plan).error().contains("not finished after 1 seconds"));
    assert!(begin.elapsed() < Duration::from_secs(10));
    plan.hooks.create_runtime.clear();
    plan.hooks.create_container = vec![hook(&folder, "failing", "exit 1")];
    assert!(run(&folder, &plan).error().contains("run hook createContainer"));
}

#[test]
fn a_start_gate_holds_the_program_back() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let gate = folder.path().join("gate");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &gate,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let mut plan = plan(&root, &["sh", "-c", "echo ran; touch /tmp/ran"]);
    plan.start_gate = Some(gate.clone());
    for plan in [plan.clone(), with_user_namespace(plan)] {
        let (child, _) = start(&folder, &plan, json!({}));
        std::thread::sleep(Duration::from_millis(150));
        assert!(!root.join("tmp/ran").exists());
        runtime::release_at(&gate).unwrap();
        let output = child.finish();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ran\n", "{output:?}");
        std::fs::remove_file(root.join("tmp/ran")).unwrap();
    }
    assert!(runtime::release_at(&folder.path().join("none")).is_err());
}

/// Processes whose root or command line has to do with `folder`.
fn processes_of(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if let Ok(line) = std::fs::read(path.join("cmdline"))
            && String::from_utf8_lossy(&line).contains(folder.to_str().unwrap())
        {
            found.push(format!("{} {}", path.display(), String::from_utf8_lossy(&line)));
        }
    }
    found
}

#[test]
fn a_parked_init_dies_with_its_supervisor() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    for plan in [plan(&root, &["true"]), with_user_namespace(plan(&root, &["true"]))] {
        let (mut child, report) = start(&folder, &plan, json!({ "park": true }));
        let parked = child.wait_parked(&report);
        let init = PathBuf::from(format!("/proc/{}", parked["pid"]));
        assert!(init.exists());
        drop(child);
        let begin = Instant::now();
        while std::fs::read_to_string(init.join("stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(begin.elapsed() < Duration::from_secs(5), "init outlives its supervisor");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_failure_at_any_step_leaves_nothing_behind() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let mut plan = plan(&root, &["missing"]);
    plan.cgroup = Some(cgroup::Plan {
        path: format!("/{}", testkit::own_name("failures")).into(),
        ..cgroup::Plan::default()
    });
    for break_it in [
        (|_: &mut LaunchPlan| {}) as fn(&mut LaunchPlan),
        |plan| plan.sysctls.push(("no.such".into(), "1".into())),
        |plan| plan.mounts.push(bind(Path::new("/nowhere"), "/x")),
        |plan| plan.process.user = named("nobody"),
        |plan| plan.process.cwd = "/nowhere".into(),
        |plan| plan.root.source = RootSource::Directory("/nowhere".into()),
        |plan| plan.process.rlimits.push(Rlimit { resource: 7, soft: 1 << 40, hard: 1 << 40 }),
    ] {
        for user_namespace in [false, true] {
            let mut plan = plan.clone();
            break_it(&mut plan);
            let plan = if user_namespace { with_user_namespace(plan) } else { plan };
            assert!(!run(&folder, &plan).error().is_empty());
        }
    }
    assert_eq!(processes_of(folder.path()), Vec::<String>::new());
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(), mounts);
    let left = std::fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .any(|hierarchy| hierarchy.unwrap().path().join(testkit::own_name("failures")).exists());
    assert!(!left, "a control group is left");
}

#[test]
fn existing_namespaces_are_joined() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let script = "for kind in net ipc pid; do readlink /proc/self/ns/$kind; done";
    for user_namespace in [false, true] {
        let first = plan(&root, &["sleep", "100"]);
        let first = if user_namespace { with_user_namespace(first) } else { first };
        let (mut child, report) = start(&folder, &first, json!({ "park": true }));
        let parked = child.wait_parked(&report);
        let of = |kind: &str| PathBuf::from(format!("/proc/{}/ns/{kind}", parked["pid"]));
        let expected: String = ["net", "ipc", "pid"]
            .map(|kind| format!("{}\n", std::fs::read_link(of(kind)).unwrap().display()))
            .concat();
        let mut second = plan(&root, &["sh", "-c", script]);
        second.namespaces.network = Namespace::Join(of("net"));
        second.namespaces.ipc = Namespace::Join(of("ipc"));
        second.namespaces.pid = Namespace::Join(of("pid"));
        second.loopback = false;
        if user_namespace {
            second.namespaces.user = Namespace::Join(of("user"));
            second.id_maps = first.id_maps.clone();
        }
        let outcome = run(&folder, &second);
        assert!(outcome.output().starts_with(&expected), "{outcome:?} {expected}");
        drop(child);
    }
}

#[test]
fn a_reaper_works_under_a_filter_that_hides_clone3() {
    let folder = Folder::new();
    let mut plan = plan(&folder.busybox("root"), &["sh", "-c", "echo $$; exit 5"]);
    plan.process.reaper = true;
    // clone3 (435): ENOSYS.
    let program: [(u16, u8, u8, u32); 4] =
        [(0x20, 0, 0, 0), (0x15, 0, 1, 435), (0x06, 0, 0, 0x0005_0000 | 38), (0x06, 0, 0, 0x7fff_0000)];
    let raw = |(code, jt, jf, k): (u16, u8, u8, u32)| {
        [&code.to_ne_bytes()[..], &[jt, jf], &k.to_ne_bytes()].concat()
    };
    let program = program.into_iter().flat_map(raw).collect();
    plan.process.seccomp = Some(SeccompFilter { program, flags: 0, listener: None });
    let outcome = run(&folder, &plan);
    assert_eq!((outcome.status(), outcome.stdout.as_str()), (5, "2\n"), "{outcome:?}");
}

#[test]
fn the_group_is_joined_before_anything_else_and_seen_as_the_root() {
    let folder = Folder::new();
    let name = format!("/{}", testkit::own_name("group"));
    // Version 1 has a mount for each controller, version 2 one for all.
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let (own, least, mark) =
        if unified { ("/sys/fs/cgroup", 1, "0::") } else { ("/sys/fs/cgroup/pids", 4, ":pids:") };
    let script = format!("cat /proc/self/cgroup; cat {own}/cgroup.procs; mkdir {own}/x || echo refused");
    let mut plan = plan(&folder.busybox("root"), &["sh", "-c", &script]);
    plan.cgroup = Some(cgroup::Plan { path: name.clone().into(), ..cgroup::Plan::default() });
    for plan in [plan.clone(), with_user_namespace(plan)] {
        let outcome = run(&folder, &plan);
        let (groups, rest): (Vec<&str>, Vec<&str>) =
            outcome.output().lines().partition(|line| line.contains(':'));
        assert!(groups.len() >= least && groups.iter().all(|line| line.ends_with(":/")), "{outcome:?}");
        // The shell, and cat.
        assert_eq!((rest[0], *rest.last().unwrap()), ("1", "refused"), "{outcome:?}");
    }
    // In the host's namespace it has the host's name.
    let mut plan = with_user_namespace(common::plan(&folder.busybox("other"), &["cat", "/proc/self/cgroup"]));
    plan.namespaces.cgroup = Namespace::Inherit;
    plan.cgroup = Some(cgroup::Plan { path: name.clone().into(), ..cgroup::Plan::default() });
    let outcome = run(&folder, &plan);
    assert!(outcome.output().lines().any(|line| line.contains(mark) && line.ends_with(&name)), "{outcome:?}");
}

#[test]
fn scheduling_is_set_from_outside() {
    let folder = Folder::new();
    let mut plan = plan(&folder.busybox("root"), &["cat", "/proc/self/stat"]);
    plan.process.scheduler = Some(Scheduler { policy: 3, nice: 7, ..Scheduler::default() });
    plan.process.io_priority = Some(IoPriority { class: 3, priority: 0 });
    for plan in [plan.clone(), with_user_namespace(plan)] {
        let outcome = run(&folder, &plan);
        let fields: Vec<&str> = outcome.output().rsplit(") ").next().unwrap().split(' ').collect();
        // Fields 19 (nice) and 41 (policy) of proc_pid_stat(5), from the third on.
        assert_eq!((fields[16], fields[38]), ("7", "3"), "{outcome:?}");
    }
}

#[test]
fn a_personality_is_kept() {
    let folder = Folder::new();
    let mut plan = plan(&folder.busybox("root"), &["cat", "/proc/self/personality"]);
    plan.personality = Some(8);
    assert_eq!(run(&folder, &plan).output(), "00000008\n");
}

#[test]
fn descriptors_stay_open_on_request() {
    let folder = Folder::new();
    let data = folder.path().join("data");
    std::fs::write(&data, "kept\n").unwrap();
    let mut plan = plan(&folder.busybox("root"), &["sh", "-c", "cat <&3; exec ls /proc/self/fd"]);
    plan.process.preserve_fds = 1;
    let outcome = run_with(&folder, &plan, json!({ "open": data }));
    assert_eq!(outcome.output(), "kept\n0\n1\n2\n3\n4\n", "{outcome:?}");
    plan.process.preserve_fds = 0;
    plan.process.args = vec!["ls".into(), "/proc/self/fd".into()];
    assert_eq!(run_with(&folder, &plan, json!({ "open": data })).output(), "0\n1\n2\n3\n");
}

#[test]
fn a_seccomp_listener_gets_the_descriptor_and_the_state() {
    use std::io::IoSliceMut;
    use std::mem::MaybeUninit;
    let folder = Folder::new();
    let path = folder.path().join("listener");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut plan = plan(&folder.busybox("root"), &["sh", "-c", "mkdir /tmp/x || echo unanswered"]);
    // mkdir (83): ask the listener.
    let program: [(u16, u8, u8, u32); 4] =
        [(0x20, 0, 0, 0), (0x15, 0, 1, 83), (0x06, 0, 0, 0x7fc0_0000), (0x06, 0, 0, 0x7fff_0000)];
    let raw = |(code, jt, jf, k): (u16, u8, u8, u32)| {
        [&code.to_ne_bytes()[..], &[jt, jf], &k.to_ne_bytes()].concat()
    };
    let program = program.into_iter().flat_map(raw).collect();
    let listener_plan = SeccompListener { path, metadata: "mine".into() };
    plan.process.seccomp = Some(SeccompFilter { program, flags: 0, listener: Some(listener_plan) });
    plan.hooks.state.id = "boat".into();
    let (child, _) = start(&folder, &plan, json!({}));
    let (socket, _) = listener.accept().unwrap();
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        &socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        rustix::net::RecvFlags::empty(),
    )
    .unwrap();
    let state: serde_json::Value = serde_json::from_slice(&bytes[..received.bytes]).unwrap();
    assert_eq!((state["metadata"].as_str(), state["state"]["id"].as_str()), (Some("mine"), Some("boat")));
    assert_eq!(state["fds"], json!(["seccompFd"]));
    // Nobody answers once the descriptor is closed: the call fails instead of hanging.
    assert_eq!(ancillary.drain().count(), 1);
    let output = child.finish();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "unanswered\n", "{output:?}");
}

#[test]
fn a_protected_program_cannot_be_written_through_its_process() {
    let folder = Folder::new();
    let plan = plan(&folder.busybox("root"), &["true"]);
    assert_eq!(run(&folder, &plan).report["own_program"], serde_json::Value::Null);
    let outcome = run_with(&folder, &plan, json!({ "protect": true }));
    let error = outcome.report["own_program"].as_str().unwrap_or_default();
    assert!(outcome.status() == 0 && error.contains("Read-only file system"), "{outcome:?}");
}
