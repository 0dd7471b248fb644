//! Events: what is told, in which order, to whom, and that none is lost.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use serde_json::Value;
use testkit::Skiff;

/// Every event so far that passes `more` filters.
fn events(skiff: &Skiff, more: &[&str]) -> Vec<Value> {
    let words = [&["events", "--since", "1h", "--until", "0s", "--format", "json"], more].concat();
    skiff.ok(&words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn actions(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["Action"].as_str().unwrap().to_owned()).collect()
}

fn attribute<'a>(event: &'a Value, key: &str) -> &'a str {
    event["Actor"]["Attributes"][key].as_str().unwrap_or_else(|| panic!("no {key}: {event}"))
}

#[test]
fn a_container_s_life_is_told_in_dockers_order() {
    let skiff = Skiff::with_busybox();
    skiff.run(&["run", "--rm", "--name", "short", "--label", "tier=front", "busybox", "sh", "-c", "exit 3"]);
    let told = events(&skiff, &["-f", "container=short"]);
    assert_eq!(actions(&told), ["create", "attach", "start", "die", "destroy"]);
    for event in &told {
        assert_eq!(
            (attribute(event, "image"), attribute(event, "name"), attribute(event, "tier")),
            ("busybox", "short", "front")
        );
        assert_eq!((event["Type"].as_str(), event["scope"].as_str()), (Some("container"), Some("local")));
        let (seconds, nanoseconds) = (event["time"].as_i64().unwrap(), event["timeNano"].as_i64().unwrap());
        assert_eq!(seconds, nanoseconds / 1_000_000_000);
        assert_eq!(event["Actor"]["ID"].as_str().unwrap().len(), 64);
    }
    assert_eq!((attribute(&told[3], "exitCode"), attribute(&told[3], "execDuration")), ("3", "0"));

    skiff.ok(&[
        "run",
        "-d",
        "--name",
        "long",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 0' TERM; while :; do sleep 0.05; done",
    ]);
    skiff.ok(&["top", "long"]);
    skiff.run(&["exec", "long", "sh", "-c", "exit 5"]);
    skiff.ok(&["exec", "-d", "long", "true"]);
    skiff.ok(&["pause", "long"]);
    skiff.ok(&["unpause", "long"]);
    skiff.ok(&["kill", "-s", "USR2", "long"]);
    skiff.ok(&["rename", "long", "longer"]);
    skiff.ok(&["stop", "longer"]);
    skiff.ok(&["rm", "longer"]);
    let of_long = events(&skiff, &["--filter", "container=long"]);
    let (execs, rest): (Vec<Value>, Vec<Value>) =
        of_long.into_iter().partition(|event| event["Action"].as_str().unwrap().starts_with("exec"));
    // The signal that nothing handles ends it, or it is stopped before it does.
    assert_eq!(actions(&rest)[..6], ["create", "start", "top", "pause", "unpause", "kill"]);
    assert_eq!(actions(&rest).last().unwrap(), "destroy");
    let kill = rest.iter().find(|event| event["Action"] == "kill").unwrap();
    assert_eq!((attribute(kill, "signal"), attribute(kill, "image")), ("12", "busybox"));
    let rename = rest.iter().find(|event| event["Action"] == "rename").unwrap();
    assert_eq!((attribute(rename, "oldName"), attribute(rename, "name")), ("/long", "longer"));
    let first: Vec<&Value> = execs
        .iter()
        .filter(|event| event["Actor"]["Attributes"]["execID"] == attribute(&execs[0], "execID"))
        .collect();
    assert_eq!(
        first.iter().map(|event| event["Action"].as_str().unwrap()).collect::<Vec<_>>(),
        ["exec_create: sh -c exit 5", "exec_start: sh -c exit 5", "exec_die"]
    );
    assert_eq!((attribute(first[2], "exitCode"), attribute(first[2], "name")), ("5", "long"));
    assert_eq!(actions(&events(&skiff, &["-f", "event=exec_create", "-f", "container=long"])).len(), 2);
}

#[test]
fn leaving_and_resizing_are_told() {
    let skiff = Skiff::with_busybox();
    let terminal = skiff.terminal(&["run", "-it", "--name", "box", "busybox", "sh"], 80, 24);
    skiff.wait_for("box", "{{.State.Running}}", "true");
    terminal.resize(100, 30);
    terminal.send(b"\x10\x11");
    assert_eq!(terminal.finish().0, 0);
    let program = skiff.terminal(&["exec", "-it", "box", "sh"], 80, 24);
    let start = std::time::Instant::now();
    while events(&skiff, &["-f", "event=exec_start"]).is_empty() {
        assert!(start.elapsed().as_secs() < 10);
    }
    program.send(b"\x10\x11");
    assert_eq!(program.finish().0, 0);
    let told = events(&skiff, &["-f", "container=box"]);
    let names = actions(&told);
    assert_eq!(names[..4], ["create", "attach", "start", "resize"], "{names:?}");
    assert!(names.contains(&"detach".to_owned()) && names.contains(&"exec_detach".to_owned()), "{names:?}");
    let sizes: Vec<_> = told
        .iter()
        .filter(|event| event["Action"] == "resize")
        .map(|event| (attribute(event, "width").to_owned(), attribute(event, "height").to_owned()))
        .collect();
    assert_eq!(sizes[0], ("80".to_owned(), "24".to_owned()));
}

#[test]
fn images_are_told_of_with_their_names() {
    let skiff = Skiff::with_busybox();
    let id = skiff.ok(&["images", "-q", "--no-trunc"]).trim().to_owned();
    skiff.ok(&["tag", "busybox", "other:2"]);
    skiff.ok(&["save", "-o", "x.tar", "busybox"]);
    let layer = testkit::busybox_layer(&[]);
    let imported = skiff.run_with_input(&["import", "-c", "LABEL tier=back", "-", "mine"], &layer);
    assert_eq!(imported.code, 0, "{imported:?}");
    skiff.ok(&["rmi", "other:2"]);
    skiff.ok(&["rmi", "mine"]);
    let told = events(&skiff, &["-f", "type=image"]);
    let brief: Vec<(String, String)> = told
        .iter()
        .map(|event| (event["Action"].as_str().unwrap().to_owned(), attribute(event, "name").to_owned()))
        .collect();
    let want = [
        ("load", "busybox:latest"),
        ("tag", "other:2"),
        ("save", &id),
        ("import", "mine:latest"),
        ("untag", "other:2"),
        ("untag", "mine:latest"),
        ("delete", imported.stdout.trim()),
    ];
    assert_eq!(brief, want.map(|(action, name)| (action.to_owned(), name.to_owned())));
    assert_eq!(attribute(told.last().unwrap(), "tier"), "back");
    assert_eq!(actions(&events(&skiff, &["-f", "image=busybox"])), ["load"]);
    assert_eq!(actions(&events(&skiff, &["-f", "label=tier=back"])), ["import", "untag", "delete"]);
}

#[test]
fn formats_and_faults_are_dockers() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "box", "busybox"]);
    let words = |format: &'static str| {
        ["events", "--since=1h", "--until=0s", "-f", "type=container", "--format", format]
    };
    assert_eq!(
        skiff
            .ok(&words("{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{.Scope}} {{gt .TimeNano .Time}}")),
        "container create box local true\n"
    );
    let json: Value = serde_json::from_str(&skiff.ok(&words("{{json .}}"))).unwrap();
    assert_eq!(json["Action"], "create");
    let plain = skiff.command(&words("")).env("TZ", "UTC").output().unwrap();
    let line = String::from_utf8(plain.stdout).unwrap();
    let (time, rest) = line.split_at(30);
    assert!(time.ends_with('Z') && &time[19..20] == ".", "{line}");
    assert!(
        rest.starts_with(" container create ") && rest.ends_with(" (image=busybox, name=box)\n"),
        "{line}"
    );
    let broken = skiff.run(&["events", "--format", "{{.Type"]);
    assert_eq!(broken.code, 64, "{broken:?}");
    let unknown = skiff.run(&["events", "--filter", "mood=good", "--until=0s"]);
    assert_eq!((unknown.code, unknown.stderr.as_str()), (1, "skiff: invalid filter 'mood'\n"));
    let when = skiff.run(&["events", "--since", "yesterday"]);
    assert!(when.code == 1 && when.stderr.contains("yesterday"), "{when:?}");
    assert_eq!(skiff.ok(&["system", "events", "--until", "0s"]), "", "what is past was not asked for");
}

/// Follows while containers come and go and the log is put aside several times.
#[test]
fn none_is_lost_or_told_twice_when_the_log_is_put_aside() {
    const WRITERS: usize = 4;
    const EACH: usize = 60;
    let skiff = Skiff::with_busybox();
    // A label of this size puts the log aside after some thirty events.
    let label = format!("pad={}", "x".repeat(120_000));
    let mut following =
        skiff.command(&["events", "--since", "1h", "--format", "{{.Action}} {{.Actor.Attributes.name}}"]);
    let mut following = following.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(following.stdout.take().unwrap()).lines();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (skiff, label) = (&skiff, &label);
            scope.spawn(move || {
                for number in 0..EACH {
                    let name = format!("w{writer}-{number}");
                    skiff.ok(&["create", "--name", &name, "--label", label, "busybox"]);
                    skiff.ok(&["rm", &name]);
                }
            });
        }
        let mut told = Vec::new();
        for line in lines {
            told.push(line.unwrap());
            if told.len() == 1 + 2 * WRITERS * EACH {
                break;
            }
        }
        assert_eq!(told.remove(0), "load busybox:latest");
        for writer in 0..WRITERS {
            let prefix = format!(" w{writer}-");
            let of: Vec<&String> = told.iter().filter(|line| line.contains(&prefix)).collect();
            let want: Vec<String> = (0..EACH)
                .flat_map(|number| {
                    [format!("create w{writer}-{number}"), format!("destroy w{writer}-{number}")]
                })
                .collect();
            assert_eq!(
                of,
                want.iter().collect::<Vec<_>>(),
                "what one writer did is lost, doubled or out of order"
            );
        }
    });
    assert!(skiff.run_folder().join("events.log.1").exists(), "the log was never put aside");
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn following_waits_for_what_happens_and_ends_with_its_reader() {
    let skiff = Skiff::with_busybox();
    let mut command =
        skiff.command(&["events", "-f", "event=create", "--format", "{{.Actor.Attributes.name}}"]);
    let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    // It begins with what happens from now on: until it listens, nothing is told.
    let first = std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            for number in 0..200 {
                skiff.ok(&["create", "--name", &format!("n{number}"), "busybox"]);
                if number > 20 {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                if number == 30 {
                    break;
                }
            }
        });
        let first = lines.next().unwrap().unwrap();
        maker.join().unwrap();
        first
    });
    assert!(first.starts_with('n'), "{first}");
    drop(lines);
    // Nothing happens any more, and still it finds out that nobody reads.
    let start = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed().as_secs() < 10, "goes on without a reader");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let timed = std::time::Instant::now();
    assert_eq!(skiff.ok(&["events", "--until", &in_a_moment()]), "");
    assert!(timed.elapsed().as_millis() >= 500, "did not wait");
}

fn in_a_moment() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{:.3}", now.as_secs_f64() + 0.8)
}
