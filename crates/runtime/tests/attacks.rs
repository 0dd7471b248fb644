//! What other runtimes fell to: root file systems that change under the runtime's hands, files of `/proc` that lead
//! elsewhere, descriptors that lead out. On the real kernel; needs root.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::*;
use runtime::plan::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

/// Swaps `a` and `b` for as long as `during` takes; what it gives, and how often they were swapped.
fn while_swapping<T>(a: &Path, b: &Path, during: impl FnOnce() -> T) -> (T, u32) {
    let (stop, count) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // The runtime may have removed one of them.
                if renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let result = during();
        stop.store(true, Ordering::Relaxed);
        (result, count.load(Ordering::Relaxed))
    })
}

/// runc CVE-2021-30465, CVE-2023-27561: a mount point that becomes a link after it was looked at.
#[test]
fn a_mount_point_that_turns_into_a_link_leads_nowhere_out() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let (victim, data) = (folder.path().join("victim"), folder.path().join("data"));
    for path in [&victim, &data, &root.join("mnt"), &root.join("proc2")] {
        std::fs::create_dir(path).unwrap();
    }
    std::fs::write(data.join("seen"), "seen\n").unwrap();
    std::fs::write(victim.join("file"), "untouched").unwrap();
    // As absolute as an attacker can be, and upwards.
    symlink(&victim, root.join("link")).unwrap();
    let mut plan =
        plan(&root, &["sh", "-c", "cat /mnt/made/here/seen /link/made/here/seen 2>/dev/null; true"]);
    plan.mounts.push(bind(&data, "/mnt/made/here"));
    plan.masked_paths.push("/mnt/file".into());
    plan.readonly_paths.push("/mnt".into());
    let (seen, swaps) = while_swapping(&root.join("mnt"), &root.join("link"), || {
        let outcomes: Vec<Outcome> = (0..30).map(|_| run(&folder, &plan)).collect();
        outcomes.iter().filter(|outcome| outcome.report["status"] == json!(0)).count()
    });
    assert!(swaps > 100 && seen > 0, "{swaps} swaps, {seen} starts");
    let names: Vec<_> = std::fs::read_dir(&victim).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(std::fs::read_to_string(victim.join("file")).unwrap(), "untouched");
}

/// runc CVE-2019-19921: `/proc` itself is swapped with a link.
#[test]
fn a_proc_that_turns_into_a_link_stays_a_proc_or_fails() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let victim = folder.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    symlink(&victim, root.join("other")).unwrap();
    let plan = plan(&root, &["sh", "-c", "test -e /proc/self/status && cat /proc/timer_list | wc -c"]);
    let (outcomes, swaps) = while_swapping(&root.join("proc"), &root.join("other"), || {
        (0..30).map(|_| run(&folder, &plan)).collect::<Vec<_>>()
    });
    assert!(swaps > 100, "{swaps}");
    // Those that began were masked. Where the link was met or came later, the program saw no /proc at all.
    for outcome in &outcomes {
        assert!(matches!(outcome.stdout.as_str(), "0\n" | ""), "{outcome:?}");
    }
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
}

/// runc CVE-2025-31133: the image's `/dev/null`, which serves as the mask, is something else.
#[test]
fn a_mask_is_the_hosts_null_device_whatever_the_image_has() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    std::fs::write(root.join("tmp/loot"), "loot\n").unwrap();
    symlink("/proc/sys/kernel/core_pattern", root.join("dev/null")).unwrap();
    let script = "stat -c %t:%T /proc/timer_list; cat /proc/timer_list | wc -c; stat -c %t:%T /proc/sys/kernel/core_pattern";
    let mut plan = plan(&root, &["sh", "-c", script]);
    plan.mounts.retain(|mount| !mount.target.starts_with("/dev"));
    assert_eq!(run(&folder, &plan).output(), "1:3\n0\n0:0\n");
    // The same while it changes.
    std::fs::write(root.join("dev/other"), "").unwrap();
    let (outcomes, _) = while_swapping(&root.join("dev/null"), &root.join("dev/other"), || {
        (0..10).map(|_| run(&folder, &plan)).collect::<Vec<_>>()
    });
    for outcome in outcomes {
        assert_eq!(outcome.output(), "1:3\n0\n0:0\n");
    }
}

/// runc CVE-2025-52565: the image's `/dev/console` is a link, over whose target the terminal would be mounted.
#[test]
fn a_console_is_not_mounted_through_a_link() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    std::fs::write(root.join("etc/target"), "untouched\n").unwrap();
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "untouched\n").unwrap();
    for target in [Path::new("../etc/target"), Path::new("/proc/sys/kernel/core_pattern"), &victim] {
        drop(std::fs::remove_file(root.join("dev/console")));
        symlink(target, root.join("dev/console")).unwrap();
        let script =
            "cat /etc/target; test -c /etc/target || test -c /proc/sys/kernel/core_pattern || echo plain";
        let mut plan = plan(&root, &["sh", "-c", script]);
        plan.mounts.retain(|mount| mount.target != Path::new("/dev"));
        plan.process.terminal = Some(TerminalSize::default());
        let outcome = run(&folder, &plan);
        match outcome.report["error"].as_str() {
            Some(error) => assert!(error.contains("/dev/console"), "{outcome:?}"),
            None => assert_eq!(outcome.report["terminal"], json!("untouched\r\nplain\r\n"), "{outcome:?}"),
        }
    }
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "untouched\n");
}

/// runc CVE-2025-52881: a write meant for `/proc/sys` is sent to another file.
#[test]
fn a_kernel_parameter_is_written_to_the_kernel_alone() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    std::fs::create_dir(root.join("real")).unwrap();
    let fake = folder.path().join("fake");
    for folder in ["sys/net/ipv4", "sys/kernel"] {
        std::fs::create_dir_all(fake.join(folder)).unwrap();
    }
    std::fs::write(fake.join("sys/net/ipv4/ip_forward"), "untouched\n").unwrap();
    symlink("/etc/passwd", fake.join("sys/kernel/msgmax")).unwrap();
    let script = "cat /proc/sys/net/ipv4/ip_forward /real/sys/net/ipv4/ip_forward /real/sys/kernel/msgmax; head -n 1 /etc/passwd";
    let mut plan = plan(&root, &["sh", "-c", script]);
    plan.sysctls = vec![("net.ipv4.ip_forward".into(), "1".into()), ("kernel.msgmax".into(), "4242".into())];
    for mount in &mut plan.mounts {
        if mount.target == Path::new("/proc") {
            mount.target = "/real".into();
            // So that the runtime cannot write through this one either.
            mount.attributes.readonly = true;
        }
    }
    plan.mounts.insert(0, bind(&fake, "/proc"));
    plan.masked_paths.clear();
    plan.readonly_paths.clear();
    assert_eq!(run(&folder, &plan).output(), "untouched\n1\n4242\nroot:x:0:0:root:/root:/bin/sh\n");
}

/// runc CVE-2024-21626: working directories and programs by way of a descriptor that the runtime forgot to close.
#[test]
fn no_descriptor_of_the_runtimes_leads_out() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    // A program that the host alone has.
    let marker = folder.path().join("busybox");
    std::fs::copy("/bin/busybox", &marker).unwrap();
    for number in 3..40 {
        symlink(format!("/proc/self/fd/{number}"), root.join(format!("work{number}"))).unwrap();
    }
    let plan = plan(&root, &["sleep", "60"]);
    let mut outcomes = Vec::new();
    for number in 3..40 {
        let by_cwd = |cwd: String| ProcessPlan { cwd: cwd.into(), ..process(&["ls", "../../../../etc"]) };
        let program = format!("/proc/self/fd/{number}/../../../../../..{}", marker.display());
        for attempt in [
            by_cwd(format!("/proc/self/fd/{number}")),
            by_cwd(format!("/work{number}")),
            by_cwd(format!("/work{number}/../../..")),
            process(&[&program, "echo", "out"]),
        ] {
            let mut first = plan.clone();
            first.process = attempt.clone();
            // A first process alone, and every fourth as a further one: each costs a container.
            outcomes.push((number, "first", run(&folder, &first)));
            if number % 4 == 0 {
                let further = run_with(&folder, &plan, json!({ "exec": [attempt] }));
                outcomes.push((number, "further", further));
            }
        }
    }
    for (number, which, outcome) in outcomes {
        let error = outcome.error();
        let known = ["change to working directory", "exec \"/proc/self/fd"];
        assert!(known.iter().any(|step| error.contains(step)), "{number} {which}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{number} {which}");
    }
}

/// CVE-2024-0132, CVE-2025-23266: hooks that take the image's environment, loader settings or descriptors over.
#[test]
fn hooks_get_their_own_environment_and_nothing_that_is_open() {
    let folder = Folder::new();
    let root = folder.busybox("root");
    let mut plan = plan(&root, &["/bin/true"]);
    plan.process.env =
        ["PATH=/evil", "LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/evil"].map(Into::into).to_vec();
    let script = folder.path().join("hook");
    let log = folder.path().join("log");
    let body = format!(
        "#!/bin/sh\nPATH=/bin:/usr/bin\n{{ env; echo fds $(ls /proc/self/fd); }} >> {}\n",
        log.display()
    );
    std::fs::write(&script, body).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let hook = Hook { path: script, args: Vec::new(), env: vec!["WHO=hook".into()], timeout_secs: Some(10) };
    plan.hooks.prestart = vec![hook.clone()];
    plan.hooks.create_runtime = vec![hook.clone()];
    plan.hooks.create_container = vec![hook];
    assert_eq!(run(&folder, &plan).status(), 0);
    let said = std::fs::read_to_string(log).unwrap();
    let (descriptors, words): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with("fds"));
    assert_eq!(descriptors, ["fds 0 1 2 3"; 3], "the fourth is the folder that ls reads");
    let shells_own = ["PWD=", "OLDPWD=", "SHLVL=", "_="];
    let given: Vec<&str> =
        words.into_iter().filter(|word| !shells_own.iter().any(|own| word.starts_with(own))).collect();
    assert_eq!(given, ["WHO=hook"; 3], "{said}");
}
