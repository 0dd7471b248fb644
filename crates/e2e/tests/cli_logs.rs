//! Logs from the command line: drivers and their options, and reading while it is written.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;

use testkit::Skiff;

fn numbers(to: u32) -> String {
    (1..=to).map(|number| format!("{number}\n")).collect()
}

#[test]
fn following_through_many_rotations_shows_every_line_once() {
    let skiff = Skiff::with_busybox();
    for (driver, compress) in [("json-file", "false"), ("json-file", "true"), ("local", "true")] {
        let options = ["max-size=20k", "max-file=1000", &format!("compress={compress}")];
        let [size, files, compress] = options;
        let script = "sleep 0.3; seq 1 60000";
        let run =
            ["run", "-d", "--name", "web", "--log-driver", driver, "--log-opt", size, "--log-opt", files];
        skiff.ok(&[&run[..], &["--log-opt", compress, "busybox", "sh", "-c", script]].concat());
        let mut follower = skiff.start(&["logs", "-f", "web"]);
        let mut followed = String::new();
        follower.stdout.take().unwrap().read_to_string(&mut followed).unwrap();
        assert!(follower.wait().unwrap().success());
        assert!(followed == numbers(60_000), "{driver} {compress}: {} lines", followed.lines().count());
        assert!(skiff.ok(&["logs", "web"]) == numbers(60_000), "{driver} {compress}");
        assert_eq!(skiff.ok(&["logs", "-n", "2", "web"]), "59999\n60000\n");
        let tail = skiff.ok(&["logs", "--tail", "30000", "web"]);
        assert!(tail.starts_with("30001\n") && tail.lines().count() == 30_000);
        let folder = std::fs::read_dir(skiff.root().join("containers")).unwrap().next().unwrap().unwrap();
        let count = std::fs::read_dir(folder.path()).unwrap().count();
        assert!(count > 20, "{count} files: the log was hardly rotated");
        skiff.ok(&["rm", "web"]);
    }
}

#[test]
fn attributes_and_the_tag_are_shown_as_details() {
    let skiff = Skiff::with_busybox();
    for driver in ["json-file", "local"] {
        let options = ["tag={{.Name}}/{{.ImageName}}", "labels=team", "env-regex=^TI"];
        let [tag, labels, env] = options;
        let run = ["run", "--name", "web", "--label", "team=a b", "-e", "TIER=gold", "--log-driver", driver];
        let more = ["--log-opt", tag, "--log-opt", labels, "--log-opt", env, "busybox", "echo", "hi"];
        skiff.ok(&[&run[..], &more].concat());
        let shown = skiff.ok(&["logs", "--details", "web"]);
        assert_eq!(shown, "TIER=gold,tag=web%2Fbusybox,team=a+b hi\n", "{driver}");
        let timed = skiff.ok(&["logs", "-t", "--details", "web"]);
        let (time, rest) = timed.split_once(' ').unwrap();
        assert!(time.len() == 30 && time.ends_with('Z'), "{timed}");
        assert_eq!(rest, shown);
        skiff.ok(&["rm", "web"]);
    }
}

#[test]
fn what_cannot_be_logged_is_refused_at_create() {
    let skiff = Skiff::with_busybox();
    for (driver, option, reason) in [
        ("fluentd", "tag=x", "log driver fluentd is not part of Skiff"),
        ("nope", "tag=x", "no log driver named 'nope' is registered"),
        ("json-file", "max-sise=1m", "unknown log opt 'max-sise' for json-file log driver"),
        ("local", "mode=later", "logging mode not supported: later"),
        ("syslog", "syslog-address=tcp+tls://localhost:6514", "syslog over TLS is not part of Skiff"),
    ] {
        let refused = skiff.run(&["create", "--log-driver", driver, "--log-opt", option, "busybox"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains(reason), "{refused:?}");
    }
    assert_eq!(skiff.ok(&["ps", "-aq"]), "");
}

#[test]
fn syslog_gets_the_lines_and_logs_shows_them_from_the_cache() {
    let skiff = Skiff::with_busybox();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("syslog-address=tcp://{}", server.local_addr().unwrap());
    let syslog = ["--log-driver", "syslog", "--log-opt", &address, "--log-opt", "syslog-format=rfc5424"];
    for (cache, shown) in [("false", Some("one\ntwo\n")), ("true", None)] {
        let cache = format!("cache-disabled={cache}");
        let run =
            [&["run", "-d", "--name", "web", "--log-opt", &cache, "--log-opt", "tag={{.Name}}"], &syslog[..]];
        skiff.ok(&[&run.concat()[..], &["busybox", "sh", "-c", "echo one; echo two"]].concat());
        let lines: Vec<String> =
            BufReader::new(server.accept().unwrap().0).lines().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("<30>1 ") && lines[0].ends_with(" web - one"), "{lines:?}");
        skiff.ok(&["wait", "web"]);
        match shown {
            Some(shown) => assert_eq!(skiff.ok(&["logs", "web"]), shown),
            None => {
                let refused = skiff.run(&["logs", "web"]);
                assert_eq!(refused.code, 1);
                assert!(refused.stderr.contains("does not support reading"), "{refused:?}");
            }
        }
        skiff.ok(&["rm", "web"]);
    }
    drop(server);
    let refused = skiff.run(&[&["run", "--rm"], &syslog[..], &["busybox", "true"]].concat());
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.stderr.contains("failed to initialize logging driver"), "{refused:?}");
    assert!(refused.stderr.contains("onnection refused"), "{refused:?}");
}

#[test]
fn lost_lines_are_counted_for_who_inspects() {
    let skiff = Skiff::with_busybox();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("syslog-address=tcp://{}", server.local_addr().unwrap());
    let options = ["mode=non-blocking", "max-buffer-size=10k", &address].map(|option| ["--log-opt", option]);
    let run = [&["run", "-d", "--name", "web", "--log-driver", "syslog"][..], &options.concat()].concat();
    skiff.ok(&[&run[..], &["busybox", "sh", "-c", "seq 1 300000; sleep 1000"]].concat());
    // Accepted by the kernel, and never read.
    let lost =
        || -> u64 { skiff.ok(&["inspect", "-f", "{{.State.LogLinesLost}}", "web"]).trim().parse().unwrap() };
    let begun = std::time::Instant::now();
    while lost() < 100_000 {
        assert!(begun.elapsed().as_secs() < 20, "{} lines are lost", lost());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    testkit::wait_until("the cache has everything", || skiff.ok(&["logs", "-n", "1", "web"]) == "300000\n");
    let before = lost();
    skiff.ok(&["kill", "web"]);
    skiff.ok(&["wait", "web"]);
    assert!(lost() >= before, "the end of the run forgets them");
}
