//! Programs that are not part of the image: reported or refused, and what is not seen.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use std::time::{Duration, Instant};

use testkit::{Output, Skiff, busybox_layer};

/// The attributes of a container's drift events, oldest first.
fn drifts(skiff: &Skiff, format: &str) -> Vec<String> {
    let format = format!("{{{{with .Actor.Attributes}}}}{format}{{{{end}}}}");
    let arguments =
        ["events", "--since", "1h", "--until", "0s", "--filter", "event=drift", "--format", &format];
    skiff.ok(&arguments).lines().map(str::to_owned).collect()
}

fn run(skiff: &Skiff, mode: &str, more: &[&str], script: &str) -> Output {
    let run = ["run", "--rm", "--drift", mode];
    skiff.run(&[&run[..], more, &["busybox", "sh", "-c", script]].concat())
}

const COPIED: &str = "cp /bin/busybox /root/busybox-x; /root/busybox-x echo ran";

#[test]
fn a_copied_program_is_reported_and_runs_or_is_refused() {
    let skiff = Skiff::with_busybox();
    let reported = run(&skiff, "report", &["--name", "web"], COPIED);
    assert_eq!((reported.code, reported.stdout.as_str()), (0, "ran\n"), "{reported:?}");
    let sum = std::process::Command::new("sha256sum").arg("/bin/busybox").output().unwrap();
    let hash = String::from_utf8(sum.stdout).unwrap();
    let want = format!("web /root/busybox-x {} sh reported", hash.split(' ').next().unwrap());
    assert_eq!(drifts(&skiff, "{{.name}} {{.path}} {{.sha256}} {{.comm}} {{.outcome}}"), [want]);

    let blocked = run(&skiff, "block", &["--name", "safe"], COPIED);
    assert_eq!((blocked.code, blocked.stdout.as_str()), (126, ""), "{blocked:?}");
    assert!(blocked.stderr.contains("Operation not permitted"), "{blocked:?}");
    assert_eq!(drifts(&skiff, "{{.name}} {{.path}} {{.outcome}}")[1], "safe /root/busybox-x blocked");

    let none = run(&skiff, "none", &[], COPIED);
    assert_eq!((none.code, none.stdout.as_str()), (0, "ran\n"));
    assert_eq!(drifts(&skiff, "{{.path}}").len(), 2);
    let wrong = run(&skiff, "maybe", &[], COPIED);
    assert!(wrong.code == 125 && wrong.stderr.contains("want none, report or block"), "{wrong:?}");
}

#[test]
fn whatever_lies_in_the_writable_layer_or_a_tmpfs_is_seen_however_it_came_there() {
    let skiff = Skiff::with_busybox();
    let table = [
        // Nothing but the image's.
        ("ls / >/dev/null; busybox true; /bin/sh -c true", None),
        // With nothing but its permissions changed.
        ("chmod 700 /bin/busybox; /bin/true", Some("/bin/busybox")),
        ("mv /bin/busybox /bin/busybox-moved; /bin/busybox-moved true", Some("/bin/busybox-moved")),
        ("ln /bin/busybox /root/busybox-linked; /root/busybox-linked true", Some("/root/busybox-linked")),
        ("cp /bin/busybox /bin/busybox-b; mv /bin/busybox-b /bin/busybox; /bin/true", Some("/bin/busybox")),
        ("cp /bin/busybox /mem/busybox-x; /mem/busybox-x true", Some("/mem/busybox-x")),
        ("printf '#!/bin/sh\\nexit 0\\n' > /root/s; chmod +x /root/s; /root/s", Some("/root/s")),
        // Reading is no execution.
        ("echo exit 0 > /root/s; sh /root/s", None),
        // The user has put it there.
        ("cp /bin/busybox /bound/busybox-x; /bound/busybox-x true", None),
    ];
    let folder = testkit::Scratch::new();
    let bound = format!("{}:/bound", folder.display());
    for (script, want) in table {
        let before = drifts(&skiff, "{{.path}}").len();
        let more = ["--tmpfs", "/mem:exec", "-v", &bound];
        let ran = run(&skiff, "report", &more, script);
        assert!(ran.code == 0, "{script}: {ran:?}");
        let found = drifts(&skiff, "{{.path}}");
        assert_eq!(found.get(before).map(String::as_str), want, "{script}: {ran:?}");
        if want.is_some() {
            let refused = run(&skiff, "block", &more, script);
            assert_eq!(refused.code, 126, "{script}: {refused:?}");
            assert!(refused.stderr.contains("Operation not permitted"), "{script}: {refused:?}");
        }
    }
}

#[test]
fn a_file_that_is_replaced_all_the_time_is_never_taken_for_the_images() {
    let skiff = Skiff::with_busybox();
    let script = "cp /bin/busybox /root/busybox-a; mkdir /root/b; \
        (while true; do cp /root/busybox-a /root/b/busybox-x; mv /root/b/busybox-x /root/busybox-x; rm -f /root/busybox-x; done) 2>/dev/null & \
        i=0; while [ $i -lt 300 ]; do /root/busybox-x echo ran; i=$((i+1)); done 2>/dev/null; echo done";
    let ran = run(&skiff, "block", &[], script);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "done\n"), "{ran:?}");
    assert!(!drifts(&skiff, "{{.path}}").is_empty());
}

#[test]
fn exec_and_a_restarted_container_are_guarded_too() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "web", "--drift", "block", "busybox", "sh", "-c", "sleep 1000"]);
    assert_eq!(skiff.ok(&["exec", "web", "busybox", "echo", "fine"]), "fine\n");
    skiff.ok(&["exec", "web", "busybox", "cp", "/bin/busybox", "/root/busybox-x"]);
    let refused = skiff.run(&["exec", "web", "/root/busybox-x", "true"]);
    assert_eq!(refused.code, 126, "{refused:?}");
    // The program that the container itself begins with.
    skiff.ok(&["exec", "web", "busybox", "chmod", "700", "/bin/busybox"]);
    skiff.ok(&["stop", "-t", "0", "web"]);
    let refused = skiff.run(&["start", "web"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.to_lowercase().contains("operation not permitted"), "{refused:?}");
}

#[test]
fn a_container_with_a_large_drifted_program_stops_at_once_and_one_whose_monitor_dies_goes_on() {
    let skiff = Skiff::with_busybox();
    let script = "cp /bin/busybox /root/busybox-x; dd if=/dev/zero bs=1M count=200 >> /root/busybox-x 2>/dev/null; \
        /root/busybox-x echo ran; sleep 1000";
    skiff.ok(&["run", "-d", "--name", "web", "--drift", "report", "busybox", "sh", "-c", script]);
    let begun = Instant::now();
    while skiff.ok(&["logs", "web"]) != "ran\n" {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
    let begun = Instant::now();
    skiff.ok(&["kill", "web"]);
    skiff.wait_for("web", "{{.State.Status}}", "exited");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    skiff.ok(&["rm", "-f", "web"]);

    let loops = "cp /bin/busybox /root/busybox-x; i=0; while true; do /root/busybox-x true; /bin/true; done";
    skiff.ok(&["run", "-d", "--name", "web", "--drift", "report", "busybox", "sh", "-c", loops]);
    let begun = Instant::now();
    while drifts(&skiff, "{{.path}}").len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "web"]);
    let status = std::fs::read_to_string(skiff.run_folder().join(id.trim()).join("status")).unwrap();
    let number = status.split_once("\"monitor_pid\":").unwrap().1.split(',').next().unwrap();
    let pid = rustix::process::Pid::from_raw(number.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // Whoever looks finds it lost, and ends what is left: nothing hangs in the kernel.
    skiff.wait_for("web", "{{.State.Status}}", "exited");
    skiff.ok(&["rm", "web"]);
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn images_of_several_layers_are_known_whatever_layer_a_program_is_in() {
    let skiff = Skiff::new();
    let first = busybox_layer(&[]);
    let program = std::fs::read("/bin/busybox").unwrap();
    let upper = testkit::layer(&[testkit::Entry::File("bin/busybox-late", 0o755, &program)]);
    skiff.load(&testkit::archive_of_layers("busybox:latest", &[&first, &upper], serde_json::json!({})));
    let ran = run(
        &skiff,
        "block",
        &[],
        "/bin/busybox-late echo ran; cp /bin/busybox-late /bin/busybox-later; /bin/busybox-later true",
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (126, "ran\n"), "{ran:?}");
}

#[test]
fn a_program_in_memory_is_refused_where_the_kernel_can_tell() {
    let skiff = Skiff::with_busybox();
    let folder = testkit::Scratch::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/memfd_exec.c");
    let mut compiler = std::process::Command::new("cc");
    let built = compiler.args(["-static", "-O1", "-o"]).arg(folder.join("memfd_exec")).arg(source).status();
    assert!(built.expect("a C compiler is needed").success());
    let bound = format!("{}:/bound", folder.display());
    let run = |mode: &str, more: &[&str], asked: &[&str]| {
        let first = ["run", "--rm", "--drift", mode, "-v", &bound];
        skiff.run(&[&first[..], more, &["busybox", "/bound/memfd_exec"], asked].concat())
    };
    let host = || std::fs::read_to_string("/proc/sys/vm/memfd_noexec");
    let before = host();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let can_tell = (numbers.next(), numbers.next()) >= (Some(6), Some(6));
    for asked in [&[][..], &["asked"]] {
        if asked.is_empty() || before.is_ok() {
            let free = run("report", &[], asked);
            assert_eq!((free.code, free.stdout.as_str()), (0, "ran\n"), "{asked:?}: {free:?}");
        }
        let guarded = run("block", &[], asked);
        // An old kernel does not know the flag of who asks.
        let runs = !can_tell && (asked.is_empty() || before.is_ok());
        assert_eq!((guarded.code == 0, guarded.stdout == "ran\n"), (runs, runs), "{asked:?}: {guarded:?}");
    }
    // The parameter of the container's own pid namespace; the host's stays as it is.
    let shared = run("block", &["--pid", "host"], &[]);
    assert_eq!((shared.code, shared.stdout.as_str()), (0, "ran\n"), "{shared:?}");
    assert_eq!(host().ok(), before.ok());
}

#[test]
fn a_flood_of_drift_is_counted_and_does_not_fill_the_log_of_events() {
    let skiff = Skiff::with_busybox();
    let script = "cp /bin/busybox /root/busybox-x; i=0; while [ $i -lt 400 ]; do /root/busybox-x true; i=$((i+1)); done";
    let start = Instant::now();
    let ran = run(&skiff, "report", &[], script);
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap() + 2;
    assert_eq!(ran.code, 0, "{ran:?}");
    let events: Vec<serde_json::Value> =
        drifts(&skiff, "{{json .}}").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = events.iter().filter(|event| event["path"] == "/root/busybox-x").count();
    let untold =
        events.iter().filter_map(|event| event["untold"].as_str()?.parse::<usize>().ok()).sum::<usize>();
    // The last of a flood is told of besides.
    assert!(told <= 50 * seconds + 1, "{told} in {seconds} s");
    assert_eq!(told + untold, 400, "{told} and {untold}");
}
