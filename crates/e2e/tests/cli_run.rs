//! Containers from the command line: their whole life, what is printed, and exit codes.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use std::io::Write;
use std::time::{Duration, Instant};

use testkit::{Entry, Output, Skiff, archive, busybox_layer};

fn output(code: i32, stdout: &str, stderr: &str) -> Output {
    Output { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

#[test]
fn run_passes_output_and_exit_code_through() {
    let skiff = Skiff::with_busybox();
    for (arguments, want) in [
        (&["busybox", "echo", "hello"][..], output(0, "hello\n", "")),
        (&["busybox", "sh", "-c", "echo out; echo err >&2; exit 42"], output(42, "out\n", "err\n")),
        // The kernel spares process 1 the signals it has no handler for.
        (&["busybox", "sh", "-c", "kill -TERM $$; echo spared"], output(0, "spared\n", "")),
        (
            &["busybox", "sh", "-c", "exec 2>/dev/null; sh -c 'kill -KILL $$'; echo $?"],
            output(0, "137\n", ""),
        ),
        (&["--entrypoint", "/bin/echo", "busybox", "a", "b"], output(0, "a b\n", "")),
        (&["--workdir", "/tmp/new/dir", "busybox", "pwd"], output(0, "/tmp/new/dir\n", "")),
        (&["--hostname", "boat", "busybox", "hostname"], output(0, "boat\n", "")),
        (
            &["--read-only", "busybox", "sh", "-c", "touch /x 2>/dev/null || echo refused"],
            output(0, "refused\n", ""),
        ),
        (
            &["-e", "A=1", "-e", "B=two words", "busybox", "sh", "-c", "echo $A $B"],
            output(0, "1 two words\n", ""),
        ),
    ] {
        let all = [&["run", "--rm"], arguments].concat();
        assert_eq!(skiff.run(&all), want, "skiff {all:?}");
    }
    assert_eq!(skiff.ok(&["ps", "-aq"]), "", "--rm left a container");
}

#[test]
fn a_program_that_cannot_be_started_has_the_shells_exit_code() {
    let skiff = Skiff::with_busybox();
    let missing = skiff.run(&["run", "--rm", "busybox", "/nowhere"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (127, ""), "{missing:?}");
    assert!(missing.stderr.to_lowercase().contains("no such file or directory"), "{missing:?}");
    let lost = skiff.run(&["run", "--rm", "busybox", "frobnicate"]);
    assert_eq!(lost.code, 127, "{lost:?}");
    assert!(lost.stderr.contains("frobnicate"), "{lost:?}");
    let refused = skiff.run(&["run", "--rm", "busybox", "/etc/passwd"]);
    assert_eq!(refused.code, 126, "{refused:?}");
    assert!(refused.stderr.to_lowercase().contains("permission denied"), "{refused:?}");
    assert_eq!(skiff.ok(&["ps", "-aq"]), "", "a failed start left a container");

    // Nobody listens there.
    let unknown = skiff.run(&["run", "--rm", "127.0.0.1:1/nosuch:1", "true"]);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (125, ""), "{unknown:?}");
    assert!(unknown.stderr.contains("Unable to find image '127.0.0.1:1/nosuch:1' locally"), "{unknown:?}");
}

#[test]
fn standard_input_reaches_the_program_only_with_interactive() {
    let skiff = Skiff::with_busybox();
    let text = "line one\nline two\n".repeat(1000);
    let copied = skiff.run_with_input(&["run", "--rm", "-i", "busybox", "cat"], text.as_bytes());
    assert_eq!(copied, output(0, &text, ""));
    let closed = skiff.run_with_input(&["run", "--rm", "busybox", "cat"], b"unseen");
    assert_eq!(closed, output(0, "", ""));
    // From a file, which is copied rather than handed over.
    let file = skiff.folder().join("input");
    std::fs::write(&file, "from a file\n").unwrap();
    let mut command = skiff.command(&["run", "--rm", "-i", "busybox", "cat"]);
    let copied = Output::of(command.stdin(std::fs::File::open(&file).unwrap()).output().unwrap());
    assert_eq!(copied, output(0, "from a file\n", ""));
}

#[test]
fn ten_megabytes_arrive_whole_and_in_order() {
    let skiff = Skiff::with_busybox();
    let script = "seq 1 1400000";
    let out = skiff.run(&["run", "--rm", "busybox", "sh", "-c", script]);
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
    assert!(out.stdout.len() > 10_000_000, "{}", out.stdout.len());
    for (at, line) in out.stdout.lines().enumerate() {
        assert_eq!(line, (at + 1).to_string());
    }
    // Into a file too.
    let path = skiff.folder().join("output");
    let file = std::fs::File::create(&path).unwrap();
    let status =
        skiff.command(&["run", "--rm", "busybox", "sh", "-c", script]).stdout(file).status().unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), out.stdout);
}

#[test]
fn a_detached_container_lives_until_it_is_stopped() {
    let skiff = Skiff::with_busybox();
    let id = skiff.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 7' TERM; while :; do sleep 0.05; done",
    ]);
    let id = id.trim_end();
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    skiff.wait_for("web", "{{.State.Status}}", "running");
    assert_eq!(skiff.ok(&["ps", "-q", "--no-trunc"]), format!("{id}\n"));
    assert_eq!(skiff.ok(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"]), "web busybox running\n");
    assert_eq!(skiff.run(&["rm", "web"]).code, 1, "a running container was removed without force");
    assert_eq!(skiff.ok(&["stop", "web"]), "web\n");
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web"]), "exited 7\n");
    assert_eq!(skiff.ok(&["wait", "web"]), "7\n");
    assert_eq!(skiff.ok(&["stop", "web"]), "web\n", "stopping twice is no failure");
    assert_eq!(skiff.ok(&["ps", "-q"]), "");
    assert_eq!(skiff.ok(&["start", "web"]), "web\n");
    skiff.wait_for("web", "{{.State.Running}}", "true");
    assert_eq!(skiff.ok(&["kill", "web"]), "web\n");
    assert_eq!(skiff.ok(&["wait", "web"]), "137\n");
    assert_eq!(skiff.run(&["kill", "web"]).code, 1, "a stopped container was killed");
    assert_eq!(skiff.ok(&["rm", "web"]), "web\n");
    let gone = skiff.run(&["rm", "web"]);
    assert_eq!((gone.code, gone.stdout.as_str()), (1, ""), "{gone:?}");
    // As Docker does: it is told of, and no failure.
    assert_eq!(skiff.run(&["rm", "-f", "web"]), output(0, "", "skiff: No such container: web\n"));
}

#[test]
fn who_is_killed_is_dead_when_that_is_said() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "one", "busybox", "sleep", "1000"]);
    for _ in 0..20 {
        assert_eq!(skiff.ok(&["start", "one"]), "one\n");
        assert_eq!(skiff.ok(&["kill", "one"]), "one\n");
        assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.Status}}", "one"]), "exited\n");
    }
    // Also where it is frozen, and where another run would follow.
    skiff.ok(&["update", "--restart", "always", "one"]);
    skiff.ok(&["start", "one"]);
    skiff.ok(&["pause", "one"]);
    skiff.ok(&["kill", "--signal", "KILL", "one"]);
    assert_eq!(skiff.ok(&["rm", "one"]), "one\n");
}

#[test]
fn stop_kills_what_does_not_listen() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "deaf", "busybox", "sleep", "1000"]);
    let start = Instant::now();
    assert_eq!(skiff.ok(&["stop", "-t", "1", "deaf"]), "deaf\n");
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.ExitCode}}", "deaf"]), "137\n");
    // With an init that hands signals on, it need not wait.
    skiff.ok(&["run", "-d", "--init", "--name", "willing", "busybox", "sleep", "1000"]);
    let start = Instant::now();
    assert_eq!(skiff.ok(&["stop", "willing"]), "willing\n");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(skiff.ok(&["wait", "willing"]), "143\n");
    // Several at once take as long as one.
    for name in ["aa", "bb", "cc"] {
        skiff.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"]);
    }
    let start = Instant::now();
    assert_eq!(skiff.ok(&["stop", "-t", "1", "aa", "bb", "cc"]), "aa\nbb\ncc\n");
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
}

#[test]
fn create_start_and_attach_are_the_parts_of_run() {
    let skiff = Skiff::with_busybox();
    let id =
        skiff.ok(&["create", "--name", "job", "-i", "busybox", "sh", "-c", "cat; echo done >&2; exit 3"]);
    assert_eq!(id.trim_end().len(), 64);
    assert_eq!(skiff.ok(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]), "job Created\n");
    assert_eq!(
        skiff.run_with_input(&["start", "-a", "-i", "job"], b"typed\n"),
        output(3, "typed\n", "done\n")
    );
    assert_eq!(skiff.run(&["logs", "job"]), output(0, "typed\n", "done\n"));
    let again = skiff.run_with_input(&["start", "-ai", "job"], b"again\n");
    assert_eq!(again, output(3, "again\n", "done\n"));
    let stopped = skiff.run(&["attach", "job"]);
    assert_eq!((stopped.code, stopped.stdout.as_str()), (1, ""));
    assert!(stopped.stderr.contains("start it first"), "{stopped:?}");
}

#[test]
fn attach_follows_a_running_container_to_its_end() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&[
        "run",
        "-d",
        "-i",
        "--name",
        "echo",
        "busybox",
        "sh",
        "-c",
        "read line; echo got $line; exit 5",
    ]);
    let mut child = skiff.start(&["attach", "echo"]);
    child.stdin.take().unwrap().write_all(b"it\n").unwrap();
    assert_eq!(Output::of(child.wait_with_output().unwrap()), output(5, "got it\n", ""));
}

#[test]
fn exec_runs_beside_the_program() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "host", "-e", "A=1", "-w", "/tmp", "busybox", "sleep", "1000"]);
    let exec = |arguments: &[&str]| skiff.run(&[&["exec"], arguments].concat());
    assert_eq!(exec(&["host", "sh", "-c", "echo $A $B; pwd; id -u"]), output(0, "1\n/tmp\n0\n", ""));
    assert_eq!(
        exec(&["-e", "B=2", "-w", "/etc", "-u", "app", "host", "sh", "-c", "echo $B; pwd; id -u"]),
        output(0, "2\n/etc\n1000\n", "")
    );
    assert_eq!(exec(&["host", "sh", "-c", "exit 9"]), output(9, "", ""));
    assert_eq!(exec(&["host", "sh", "-c", "kill -KILL $$"]).code, 137);
    assert_eq!(exec(&["host", "frobnicate"]).code, 127);
    assert_eq!(exec(&["host", "/etc/passwd"]).code, 126);
    assert_eq!(skiff.run_with_input(&["exec", "-i", "host", "cat"], b"in\n"), output(0, "in\n", ""));
    assert_eq!(exec(&["-d", "host", "touch", "/tmp/made"]), output(0, "", ""));
    let start = Instant::now();
    while exec(&["host", "test", "-e", "/tmp/made"]).code != 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "exec -d did nothing");
    }
    assert_eq!(exec(&["nobody", "true"]).code, 1);
    skiff.ok(&["kill", "host"]);
    skiff.ok(&["wait", "host"]);
    let stopped = exec(&["host", "true"]);
    assert_eq!((stopped.code, stopped.stdout.as_str()), (1, ""));
    assert!(stopped.stderr.contains("not running"), "{stopped:?}");
}

#[test]
fn logs_are_kept_cut_and_followed() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "--name", "talk", "busybox", "sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done"]);
    assert_eq!(skiff.ok(&["logs", "talk"]), "line 1\nline 2\nline 3\nline 4\nline 5\n");
    assert_eq!(skiff.ok(&["logs", "--tail", "2", "talk"]), "line 4\nline 5\n");
    assert_eq!(skiff.ok(&["logs", "-n", "0", "talk"]), "");
    assert_eq!(skiff.ok(&["logs", "--since", "1h", "-n", "1", "talk"]), "line 5\n");
    assert_eq!(skiff.ok(&["logs", "--until", "1h", "talk"]), "");
    let stamped = skiff.ok(&["logs", "-t", "-n", "1", "talk"]);
    let (time, text) = stamped.split_once(' ').unwrap();
    assert!(time.len() == 30 && time.ends_with('Z') && text == "line 5\n", "{stamped}");
    assert_eq!(skiff.run(&["logs", "nobody"]).code, 1);

    skiff.ok(&[
        "run",
        "-d",
        "--name",
        "slow",
        "busybox",
        "sh",
        "-c",
        "echo a; sleep 0.3; echo b; sleep 0.3; echo c",
    ]);
    assert_eq!(skiff.ok(&["logs", "-f", "slow"]), "a\nb\nc\n");
    skiff.ok(&["run", "--log-driver", "none", "--name", "quiet", "busybox", "echo", "x"]);
    assert_eq!(skiff.run(&["logs", "quiet"]).code, 1, "there is nothing to read with the driver none");
}

#[test]
fn killing_the_command_line_leaves_a_container_alone() {
    let skiff = Skiff::with_busybox();
    let mut child = skiff.start(&[
        "run",
        "--name",
        "kept",
        "busybox",
        "sh",
        "-c",
        "echo up; while :; do sleep 0.1; done",
    ]);
    skiff.wait_for("kept", "{{.State.Running}}", "true");
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.Status}}", "kept"]), "running\n");
    assert_eq!(skiff.ok(&["exec", "kept", "echo", "alive"]), "alive\n");
    assert_eq!(skiff.ok(&["logs", "kept"]), "up\n");
}

#[test]
fn signals_are_passed_on_to_the_program() {
    let skiff = Skiff::with_busybox();
    let script = "trap 'echo int; exit 11' INT; trap 'echo usr; exit 12' USR1; echo ready; while :; do sleep 0.05; done";
    for (signal, want) in [
        (rustix::process::Signal::INT, output(11, "int\n", "")),
        (rustix::process::Signal::USR1, output(12, "usr\n", "")),
    ] {
        let mut child = skiff.start(&["run", "--rm", "--name", "proxied", "busybox", "sh", "-c", script]);
        // The trap is set once the first line is out.
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(Output::of(child.wait_with_output().unwrap()), want);
    }
    // A container must not inherit what the command line blocks for itself.
    let masks = skiff.ok(&["run", "--rm", "busybox", "grep", "Sig[BI]", "/proc/self/status"]);
    for line in masks.lines() {
        let mask = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
        // glibc has its own two signals ignored in what it spawns, and nobody else can reset them.
        assert_eq!(mask & !(0b11 << 31), 0, "{masks}");
    }
}

#[test]
fn a_cidfile_is_written_once() {
    let skiff = Skiff::with_busybox();
    let path = skiff.folder().join("id");
    let path = path.to_str().unwrap();
    let id = skiff.ok(&["create", "--cidfile", path, "busybox", "true"]);
    assert_eq!(std::fs::read_to_string(path).unwrap(), id.trim_end());
    let again = skiff.run(&["run", "--cidfile", path, "busybox", "true"]);
    assert_eq!((again.code, again.stdout.as_str()), (125, ""));
    assert!(again.stderr.contains(path), "{again:?}");
    assert_eq!(skiff.ok(&["ps", "-aq"]).lines().count(), 1, "a container was made all the same");
    std::fs::remove_file(path).unwrap();
    assert_eq!(skiff.run(&["run", "--rm", "--cidfile", "id", "busybox", "sh", "-c", "exit 4"]).code, 4);
    assert_eq!(std::fs::read_to_string(path).unwrap().len(), 64);
}

#[test]
fn variables_come_from_image_files_flags_and_the_caller() {
    let skiff = Skiff::new();
    let config = serde_json::json!({ "Env": ["PATH=/bin", "FROM_IMAGE=1", "TAKEN=image"], "Cmd": ["env"] });
    skiff.load(&archive("env:1", &busybox_layer(&[]), config));
    let file = skiff.folder().join("env.list");
    std::fs::write(
        &file,
        "# a comment\n\nFROM_FILE=2\nTAKEN=file\nCALLERS\nMISSING\n  INDENTED=\"quoted\"\n",
    )
    .unwrap();
    let mut command = skiff.command(&[
        "run",
        "--rm",
        "--env-file",
        file.to_str().unwrap(),
        "-e",
        "TAKEN=flag",
        "-e",
        "CALLERS",
        "-e",
        "FROM_IMAGE",
        "env:1",
    ]);
    let shown = Output::of(command.env("CALLERS", "theirs").output().unwrap());
    let mut lines: Vec<&str> = shown.stdout.lines().filter(|line| !line.starts_with("HOSTNAME=")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["CALLERS=theirs", "FROM_FILE=2", "HOME=/root", "INDENTED=\"quoted\"", "PATH=/bin", "TAKEN=flag"],
        "{shown:?}"
    );
    std::fs::write(&file, "OK=1\nnot ok=2\n").unwrap();
    let refused = skiff.run(&["run", "--env-file", file.to_str().unwrap(), "env:1"]);
    assert_eq!(refused.code, 125);
    assert!(refused.stderr.contains("line 2: the name contains whitespace"), "{refused:?}");
}

#[test]
fn labels_names_and_filters_find_containers() {
    let skiff = Skiff::with_busybox();
    let labels = skiff.folder().join("labels");
    std::fs::write(&labels, "team=blue\nplain\n").unwrap();
    skiff.ok(&[
        "create",
        "--name",
        "one",
        "-l",
        "tier=front",
        "--label-file",
        labels.to_str().unwrap(),
        "busybox",
        "true",
    ]);
    assert_eq!(
        skiff.run(&["run", "--name", "two", "-l", "tier=back", "busybox", "sh", "-c", "exit 3"]).code,
        3
    );
    skiff.ok(&["run", "-d", "--name", "three", "busybox", "sleep", "1000"]);
    let names = |filters: &[&str]| {
        let mut arguments = vec!["ps", "-a", "--format", "{{.Names}}"];
        for filter in filters {
            arguments.extend(["--filter", filter]);
        }
        skiff.ok(&arguments).lines().collect::<Vec<_>>().join(" ")
    };
    for (filters, want) in [
        (&[][..], "three two one"),
        (&["label=tier"], "two one"),
        (&["label=tier=back"], "two"),
        (&["label=tier=front", "label=team=blue", "label=plain"], "one"),
        (&["label=tier=front", "label=team=red"], ""),
        (&["name=t"], "three two"),
        (&["name=^t.*e$"], "three"),
        (&["name=one", "name=two"], "two one"),
        (&["status=exited"], "two"),
        (&["status=created", "status=running"], "three one"),
        (&["exited=3"], "two"),
        (&["exited=0"], ""),
        (&["ancestor=busybox"], "three two one"),
        (&["ancestor=other"], ""),
        (&["before=two"], "one"),
        (&["since=one", "status=running"], "three"),
    ] {
        assert_eq!(names(filters), want, "{filters:?}");
    }
    assert_eq!(skiff.ok(&["ps", "-a", "-n", "2", "--format", "{{.Names}}"]), "three\ntwo\n");
    assert_eq!(skiff.ok(&["ps", "-l", "--format", "{{.Names}}"]), "three\n");
    assert_eq!(
        skiff.ok(&["ps", "-a", "--filter", "name=one", "--format", "{{.Label \"tier\"}}|{{.Labels}}"]),
        "front|plain=,team=blue,tier=front\n"
    );
    let wrong = skiff.run(&["ps", "--filter", "colour=red"]);
    assert_eq!(wrong, output(1, "", "skiff: invalid filter 'colour'\n"));
    let taken = skiff.run(&["create", "--name", "one", "busybox"]);
    assert_eq!(taken.code, 1);
    assert!(taken.stderr.contains("one") && taken.stderr.contains("in use"), "{taken:?}");
}

#[test]
fn tables_have_dockers_columns() {
    let skiff = Skiff::with_busybox();
    assert_eq!(skiff.ok(&["ps"]), "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n");
    skiff.ok(&["create", "--name", "first", "busybox", "echo", "a b", "long enough to be cut"]);
    let table = skiff.ok(&["ps", "-a"]);
    let (header, row) = table.trim_end().split_once('\n').unwrap();
    assert_eq!(
        header,
        "CONTAINER ID   IMAGE     COMMAND                  CREATED                  STATUS    PORTS     NAMES"
    );
    let cell = |from: &str, to: &str| {
        row[header.find(from).unwrap()..][..header.find(to).unwrap() - header.find(from).unwrap()]
            .trim()
            .to_owned()
    };
    assert_eq!(cell("IMAGE", "COMMAND"), "busybox");
    assert!(row.contains("\"echo 'a b' 'long en…\""), "{row}");
    assert!(row.contains("Less than a second ago") || row.contains("1 second ago"), "{row}");
    assert!(row.ends_with("first"), "{row}");
    assert_eq!(
        skiff.ok(&["ps", "-a", "--format", "table {{.Names}}\\t{{.Image}}"]),
        "NAMES     IMAGE\nfirst     busybox\n"
    );
    let json = skiff.ok(&["ps", "-a", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&row["Names"], &row["State"], &row["Status"]),
        (&"first".into(), &"created".into(), &"Created".into())
    );
    assert_eq!(row.get("Label"), None);
    let raw = skiff.ok(&["ps", "-a", "--format", "raw"]);
    assert!(raw.contains("\nimage: busybox\n") && raw.contains("\nnames: first\n"), "{raw}");
    let bad = skiff.run(&["ps", "--format", "{{.Nope"]);
    assert_eq!((bad.code, bad.stdout.as_str()), (1, ""));
    assert!(bad.stderr.contains("unclosed action"), "{bad:?}");
    let sizes = skiff.ok(&["ps", "-as", "--format", "{{.Size}}"]);
    assert!(sizes.starts_with("0B (virtual ") && sizes.ends_with("MB)\n"), "{sizes}");
}

#[test]
fn inspect_prints_dockers_json() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&[
        "create",
        "--name",
        "seen",
        "-e",
        "A=1",
        "-m",
        "64m",
        "--cpus",
        "0.5",
        "--tmpfs",
        "/t:size=1m",
        "-l",
        "x=y",
        "busybox",
        "echo",
        "hi",
    ]);
    let text = skiff.ok(&["inspect", "seen"]);
    assert!(text.starts_with("[\n    {\n        \"Id\": \""), "{text}");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let one = &document[0];
    assert_eq!(one["Name"], "/seen");
    assert_eq!((&one["Path"], &one["Args"]), (&"echo".into(), &serde_json::json!(["hi"])));
    assert_eq!(one["State"]["Status"], "created");
    assert_eq!(one["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(one["Config"]["Image"], "busybox");
    assert_eq!(one["Config"]["Labels"]["x"], "y");
    assert_eq!(one["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(one["HostConfig"]["NanoCpus"], 500_000_000);
    assert_eq!(one["HostConfig"]["Tmpfs"]["/t"], "size=1m");
    assert_eq!(one["HostConfig"]["ShmSize"], 64 << 20);
    assert_eq!(
        skiff.ok(&[
            "inspect",
            "-f",
            "{{.Config.Image}} {{index .Config.Labels \"x\"}} {{json .Args}}",
            "seen"
        ]),
        "busybox y [\"hi\"]\n"
    );
    assert_eq!(
        skiff.ok(&["inspect", "--type", "image", "-f", "{{.RepoTags}}", "busybox"]),
        "[busybox:latest]\n"
    );
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.Id}}", "busybox"]), skiff.ok(&["images", "-q", "--no-trunc"]));
    assert_eq!(skiff.run(&["inspect", "nobody"]), output(1, "[]\n", "skiff: No such object: nobody\n"));
    assert_eq!(skiff.run(&["inspect", "-f", "{{.Nope", "seen"]).code, 64);
    assert_eq!(skiff.run(&["inspect", "-f", "{{.Nope}}", "seen"]).code, 1);
}

#[test]
fn prune_removes_what_is_stopped() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "--name", "done", "busybox", "true"]);
    skiff.ok(&["run", "-d", "--name", "busy", "busybox", "sleep", "1000"]);
    let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "done"]);
    let refused = skiff.run_with_input(&["container", "prune"], b"n\n");
    assert_eq!(
        refused,
        output(
            0,
            "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] ",
            ""
        )
    );
    assert_eq!(skiff.ok(&["ps", "-aq"]).lines().count(), 2);
    assert_eq!(
        skiff.ok(&["container", "prune", "-f"]),
        format!("Deleted Containers:\n{id}\nTotal reclaimed space: 0B\n")
    );
    assert_eq!(skiff.ok(&["ps", "-a", "--format", "{{.Names}}"]), "busy\n");
    assert_eq!(skiff.ok(&["container", "prune", "-f"]), "Total reclaimed space: 0B\n");
}

#[test]
fn the_image_says_what_the_flags_do_not() {
    let skiff = Skiff::new();
    let layer = busybox_layer(&[Entry::Directory("srv", 0o755)]);
    let config = serde_json::json!({
        "Entrypoint": ["/bin/echo", "entry"], "Cmd": ["default"], "User": "app", "WorkingDir": "/srv",
        "Env": ["PATH=/bin"], "Labels": { "from": "image" }, "StopSignal": "SIGUSR1",
    });
    skiff.load(&archive("full:1", &layer, config));
    assert_eq!(skiff.ok(&["run", "--rm", "full:1"]), "entry default\n");
    assert_eq!(skiff.ok(&["run", "--rm", "full:1", "other"]), "entry other\n");
    assert_eq!(
        skiff.ok(&["run", "--rm", "--entrypoint", "sh", "full:1", "-c", "id -un; pwd"]),
        "app\n/srv\n"
    );
    assert_eq!(skiff.ok(&["run", "--rm", "--entrypoint", "", "full:1", "pwd"]), "/srv\n");
    let without = skiff.run(&["run", "--rm", "--entrypoint", "", "full:1"]);
    assert_eq!(without.code, 125, "no command is left: {without:?}");
    skiff.ok(&["create", "--name", "cc", "-l", "own=1", "full:1"]);
    assert_eq!(
        skiff.ok(&[
            "inspect",
            "-f",
            "{{.Config.StopSignal}} {{.Config.Labels.from}} {{.Config.Labels.own}}",
            "cc"
        ]),
        "SIGUSR1 image 1\n"
    );
}
