//! Watching containers: their processes, names, ports.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

use std::process::Command;

use testkit::{Output, Skiff};

/// What the host's `ps` says of one process: titles and cells, blanks made one.
fn host_ps(options: &[&str], pid: &str) -> Vec<Vec<String>> {
    let output = Output::of(Command::new("ps").args(options).args(["-ww", "-q", pid]).output().unwrap());
    assert_eq!(output.code, 0, "ps {options:?}: {output:?}");
    words(&output.stdout)
}

fn words(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn top_shows_what_ps_on_the_host_shows() {
    let skiff = Skiff::with_busybox();
    let script = "sleep 1000 & exec sleep 2000";
    skiff.ok(&["run", "-d", "--name", "box", "-u", "7:8", "busybox", "sh", "-c", script]);
    let both = || {
        let listed = skiff.ok(&["top", "box", "-o", "pid,args"]);
        let lines = words(&listed);
        let find = |end: &str| {
            lines.iter().find(|line| line.ends_with(&[end.to_owned()])).map(|line| line[0].clone())
        };
        find("2000").zip(find("1000"))
    };
    let start = std::time::Instant::now();
    let (first, second) = loop {
        if let Some(found) = both() {
            break found;
        }
        assert!(start.elapsed().as_secs() < 10, "{}", skiff.ok(&["top", "box"]));
    };
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.Pid}}", "box"]).trim(), first);
    let columns = "pid,ppid,pgid,sid,uid,ruid,suid,user,gid,group,comm,ni,pri,nlwp,tty,stat,s,rss,vsz,sz,etimes,cls,rtprio,psr,\
                   maj_flt,lstart,stime,time,cmd";
    for options in
        [&[][..], &["-ef"], &["aux"], &["-eo", columns], &["-eF"], &["-el"], &["axl"], &["axj"], &["-ej"]]
    {
        let host: &[&str] = if options.is_empty() { &["-ef"] } else { options };
        // What counts time goes on between the two: one of several looks must agree.
        let agree = || {
            let ours = words(&skiff.ok(&[&["top", "box"], options].concat()));
            let of = |pid: &str| {
                let column = ours[0].iter().position(|title| title == "PID").unwrap();
                vec![ours[0].clone(), ours.iter().skip(1).find(|line| line[column] == pid).unwrap().clone()]
            };
            [&first, &second].map(|pid| (of(pid), host_ps(host, pid)))
        };
        let mut seen = agree();
        for _ in 0..5 {
            if seen.iter().all(|(ours, theirs)| same(ours, theirs)) {
                break;
            }
            seen = agree();
        }
        for (ours, theirs) in seen {
            assert!(same(&ours, &theirs), "{options:?}: {ours:#?} {theirs:#?}");
        }
    }
    let lines = skiff.ok(&["top", "box"]);
    assert!(lines.starts_with("UID                 PID                 PPID                C "), "{lines}");
    assert_eq!(lines.lines().count(), 3, "{lines}");
}

/// Addresses of kernel functions, and the old name of a device, are theirs alone.
fn same(ours: &[Vec<String>], theirs: &[Vec<String>]) -> bool {
    let skipped = |title: &str| matches!(title, "ADDR" | "WCHAN" | "PSR" | "F");
    let keep = |table: &[Vec<String>]| -> Vec<Vec<String>> {
        let titles = table[0].clone();
        let last = titles.len() - 1;
        table
            .iter()
            .map(|line| {
                let cells = line.iter().enumerate();
                cells
                    .filter(|(at, _)| !skipped(&titles[(*at).min(last)]))
                    .map(|(_, cell)| cell.clone())
                    .collect()
            })
            .collect()
    };
    // There, a name that does not fit into its column ends in a plus sign, and large ids are negative.
    let wraps = |ours: &str, theirs: &str| {
        ours.parse().map(u32::cast_signed).ok().is_some_and(|number| theirs.parse() == Ok(number))
    };
    let alike = |ours: &String, theirs: &String| {
        ours == theirs
            || wraps(ours, theirs)
            || theirs.strip_suffix('+').is_some_and(|begin| ours.starts_with(begin))
    };
    let (ours, theirs) = (keep(ours).concat(), keep(theirs).concat());
    ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(ours, theirs)| alike(ours, theirs))
}

#[test]
fn top_refuses_what_it_cannot_show() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "still", "busybox", "sleep", "1000"]);
    let id = skiff.ok(&["ps", "-aq", "--no-trunc"]);
    let said = |words: &[&str]| {
        let output = skiff.run(words);
        (output.code, output.stdout, output.stderr)
    };
    let no = |text: &str| (1, String::new(), format!("skiff: {text}\n"));
    assert_eq!(said(&["top", "still"]), no(&format!("container {} is not running", id.trim())));
    assert_eq!(said(&["top", "gone"]), no("No such container: gone"));
    skiff.ok(&["start", "still"]);
    assert_eq!(said(&["container", "top", "still", "-o", "pid,mood"]), no("ps: unknown column: mood"));
    let titles = skiff.ok(&["container", "top", "still", "-eo", "pid,comm=WHO"]);
    assert!(titles.starts_with("PID                 WHO\n"), "{titles}");
}

#[test]
fn a_container_is_renamed_in_every_state() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "first", "--label", "name=liar", "busybox", "sleep", "1000"]);
    skiff.ok(&["create", "--name", "other", "busybox"]);
    let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "first"]);
    let other = skiff.ok(&["inspect", "-f", "{{.Id}}", "other"]);
    assert_eq!(skiff.ok(&["rename", "first", "second"]), "");
    skiff.ok(&["start", "second"]);
    assert_eq!(skiff.ok(&["container", "rename", "second", "third"]), "");
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.Id}} {{.Name}}", "third"]), format!("{} /third\n", id.trim()));
    skiff.ok(&["rename", &id.trim()[..12], "fourth"]);
    for (words, want) in [
        (
            &["rename", "fourth", "fourth"][..],
            "Renaming a container with the same name as its current name".to_owned(),
        ),
        (&["rename", "fourth", ""], "Neither old nor new names may be empty".to_owned()),
        (&["rename", "", "x1"], "Neither old nor new names may be empty".to_owned()),
        (
            &["rename", "fourth", "a b"],
            "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed".to_owned(),
        ),
        (&["rename", "first", "x1"], "No such container: first".to_owned()),
        (
            &["rename", "fourth", "other"],
            format!(
                "Conflict. The container name \"/other\" is already in use by container \"{}\". You have to remove (or \
                 rename) that container to be able to reuse that name.",
                other.trim()
            ),
        ),
    ] {
        let output = skiff.run(words);
        assert_eq!(
            (output.code, output.stderr.as_str()),
            (1, format!("skiff: {want}\n").as_str()),
            "{words:?}"
        );
    }
    skiff.ok(&["kill", "fourth"]);
    skiff.ok(&["wait", "fourth"]);
    let log = std::fs::read_to_string(skiff.run_folder().join("events.log")).unwrap();
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |action: &str, key: &str| -> Vec<String> {
        let found = events.iter().filter(|event| event["Action"] == action);
        found.map(|event| event["Actor"]["Attributes"][key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("rename", "oldName"), ["/first", "/second", "/third"]);
    assert_eq!(of("rename", "name"), ["second", "third", "fourth"]);
    assert_eq!(of("die", "name"), ["fourth"], "the monitor tells an old name, or that of a label");
}

#[test]
fn no_port_is_published_without_a_network() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "box", "busybox"]);
    assert_eq!(skiff.ok(&["port", "box"]), "");
    let said = |words: &[&str]| {
        let output = skiff.run(words);
        (output.code, output.stderr)
    };
    let no = |text: &str| (1, format!("skiff: {text}\n"));
    assert_eq!(said(&["port", "box", "80"]), no("No public port '80' published for box"));
    assert_eq!(
        said(&["container", "port", "box", "80/udp"]),
        no("No public port '80/udp' published for box")
    );
    assert_eq!(said(&["port", "box", "http"]), no("invalid port (http)"));
    assert_eq!(said(&["port", "gone"]), no("No such container: gone"));
}

/// `--format` of one look at `name`, as words.
fn look(skiff: &Skiff, name: &str, format: &str) -> String {
    skiff.ok(&["stats", "--no-stream", "--format", format, name]).trim_end().to_owned()
}

#[test]
fn stats_tell_what_a_container_uses() {
    let skiff = Skiff::with_busybox();
    let busy = "dd if=/dev/zero of=/dev/shm/x bs=1M count=8 2>/dev/null; while :; do :; done";
    skiff.ok(&[
        "run",
        "-d",
        "--name",
        "busy",
        "--memory",
        "64m",
        "--shm-size",
        "16m",
        "busybox",
        "sh",
        "-c",
        busy,
    ]);
    skiff.ok(&["run", "-d", "--name", "idle", "busybox", "sleep", "1000"]);
    skiff.ok(&["create", "--name", "still", "busybox"]);
    let start = std::time::Instant::now();
    let percent = |text: &str| text.trim_end_matches('%').parse::<f64>().unwrap();
    loop {
        let seen = look(&skiff, "busy", "{{.CPUPerc}} {{.MemUsage}} {{.PIDs}}");
        let words: Vec<&str> = seen.split(' ').collect();
        let mib = words[1].strip_suffix("MiB").map_or(0.0, |number| number.parse().unwrap());
        if percent(words[0]) > 20.0 && (8.0..32.0).contains(&mib) {
            assert_eq!(words[2..], ["/", "64MiB", "1"], "{seen}");
            break;
        }
        assert!(start.elapsed().as_secs() < 20, "{seen}");
    }
    let idle = look(&skiff, "idle", "{{.CPUPerc}} {{.NetIO}} {{.PIDs}} {{.Name}} {{.Container}}");
    assert_eq!(idle, "0.00% 0B / 0B 1 idle idle");
    let table = skiff.ok(&["stats", "--no-stream", "--all"]);
    let titles = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT ";
    assert!(table.starts_with(titles), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.lines().any(|line| line.contains(" still ") && line.contains(" 0B / 0B ")), "{table}");
    assert_eq!(skiff.ok(&["stats", "--no-stream"]).lines().count(), 3, "one that does not run is shown");
    let json = skiff.ok(&["stats", "--no-stream", "--no-trunc", "--format", "json", "still"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["ID"].as_str().unwrap().len(), 64);
    assert_eq!(
        (&json["Name"], &json["PIDs"], &json["CPUPerc"]),
        (&"still".into(), &"0".into(), &"0.00%".into())
    );
    let gone = skiff.run(&["stats", "--no-stream", "idle", "gone"]);
    assert_eq!((gone.code, gone.stderr.as_str()), (1, "skiff: No such container: gone\n"));
}

#[test]
fn stats_follow_containers_that_come_and_go() {
    let skiff = Skiff::with_busybox();
    let mut terminal = skiff.terminal(&["stats", "--format", "table {{.Name}}\t{{.PIDs}}"], 80, 24);
    terminal.expect("NAME");
    skiff.ok(&["run", "-d", "--name", "first", "busybox", "sleep", "1000"]);
    terminal.expect("first     1");
    skiff.ok(&["rename", "first", "second"]);
    terminal.expect("second    1");
    skiff.ok(&["rm", "-f", "second"]);
    terminal.expect("\u{1b}[HNAME      PIDS\u{1b}[K\r\n\u{1b}[J");
    terminal.send(b"\x03");
    assert_eq!(terminal.finish().0, 130);
    // Elsewhere than on a terminal nothing is written over.
    let mut child = skiff.start(&["stats", "--format", "{{.Name}}", "--all"]);
    skiff.ok(&["create", "--name", "third", "busybox"]);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "third\n");
    assert!(child.wait().is_ok(), "goes on without a reader");
}
