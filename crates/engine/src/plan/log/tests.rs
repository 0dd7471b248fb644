//! Which options are taken, and what becomes of them.

use expect_test::expect;

use super::*;
use crate::plan::launch::tests::{EMPTY, facts, planned};
use crate::request::LogOptions;

fn options(driver: &str, given: &[(&str, &str)]) -> LogOptions {
    let driver = Some(driver.to_owned()).filter(|driver| !driver.is_empty());
    LogOptions { driver, options: given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect() }
}

#[test]
fn the_drivers_that_are_told_of_are_those_that_work() {
    assert!(LOG_DRIVERS.is_sorted());
    for driver in LOG_DRIVERS {
        assert!(log(&options(driver, &[])).is_ok(), "{driver}");
    }
}

#[test]
fn what_docker_refuses_is_refused_in_its_words() {
    let table: Vec<String> = [
        ("json-file", &[("bogus", "1")][..]),
        ("local", &[("syslog-address", "x")]),
        ("journald", &[("max-size", "1m")]),
        ("syslog", &[("max-file", "2")]),
        ("nope", &[]),
        ("gelf", &[]),
        ("awslogs", &[("awslogs-group", "x")]),
        ("json-file", &[("mode", "sometimes")]),
        ("json-file", &[("max-buffer-size", "1m")]),
        ("json-file", &[("mode", "blocking"), ("max-buffer-size", "1m")]),
        ("json-file", &[("mode", "non-blocking"), ("max-buffer-size", "lots")]),
        ("json-file", &[("max-size", "0")]),
        ("json-file", &[("max-size", "big")]),
        ("json-file", &[("max-file", "0")]),
        ("json-file", &[("max-file", "x")]),
        ("json-file", &[("compress", "true"), ("max-file", "1")]),
        ("json-file", &[("compress", "true"), ("max-size", "-1")]),
        ("json-file", &[("compress", "maybe")]),
        ("json-file", &[("tag", "{{.ID")]),
        ("json-file", &[("labels-regex", "(")]),
        ("syslog", &[("syslog-facility", "nobody")]),
        ("syslog", &[("syslog-facility", "24")]),
        ("syslog", &[("syslog-format", "json")]),
        ("syslog", &[("syslog-address", "localhost:514")]),
        ("syslog", &[("syslog-address", "http://localhost")]),
        ("syslog", &[("syslog-address", "tcp+tls://localhost:6514")]),
        ("syslog", &[("cache-disabled", "perhaps")]),
        ("syslog", &[("cache-max-size", "0")]),
    ]
    .iter()
    .map(|(driver, given)| match log(&options(driver, given)) {
        Ok(taken) => format!("{driver} {given:?} is taken: {taken:?}"),
        Err(error) => error.to_string(),
    })
    .collect();
    expect![[r#"
        unknown log opt 'bogus' for json-file log driver
        unknown log opt 'syslog-address' for local log driver
        unknown log opt 'max-size' for journald log driver
        unknown log opt 'max-file' for syslog log driver
        logger: no log driver named 'nope' is registered
        log driver gelf is not part of Skiff; use json-file, local, journald, syslog or none
        log driver awslogs is not part of Skiff; use json-file, local, journald, syslog or none
        logger: logging mode not supported: sometimes
        logger: max-buffer-size option is only supported with 'mode=non-blocking'
        logger: max-buffer-size option is only supported with 'mode=non-blocking'
        invalid value for max-buffer-size: lots
        max-size must be a positive number
        invalid value for max-size: big
        max-file cannot be less than 1 or more than 1000
        invalid value for max-file: x
        compress cannot be true when max-file is less than 2 or max-size is not set
        compress cannot be true when max-file is less than 2 or max-size is not set
        invalid value for compress: maybe
        log tag
        invalid expression in labels-regex
        invalid syslog facility
        invalid syslog facility
        invalid syslog format
        syslog-address should be in form proto://address, got localhost:514
        unsupported scheme: 'http'
        syslog over TLS is not part of Skiff: send to a relay on this host, such as rsyslog or stunnel
        invalid value for cache-disabled: perhaps
        cache-max-size must be a positive number"#]]
    .assert_eq(&table.join("\n"));
}

#[test]
fn options_and_defaults_become_bounds() {
    let table: Vec<String> = [
        ("", &[][..]),
        ("none", &[("anything", "goes")]),
        ("json-file", &[("max-size", "10m"), ("max-file", "5"), ("compress", "true")]),
        ("json-file", &[("max-size", "-1")]),
        ("json-file", &[("mode", "non-blocking")]),
        ("json-file", &[("mode", "non-blocking"), ("max-buffer-size", "4m")]),
        ("local", &[]),
        ("local", &[("max-file", "1")]),
        ("journald", &[("tag", "x"), ("labels", "a,b")]),
        ("journald", &[("cache-disabled", "true")]),
        ("syslog", &[]),
        ("syslog", &[("cache-max-size", "1k"), ("cache-max-file", "2"), ("cache-compress", "false")]),
        ("syslog", &[("syslog-address", "udp://log.example"), ("syslog-facility", "local7")]),
        ("syslog", &[("syslog-address", "tcp://[::1]:601"), ("syslog-facility", "0")]),
        ("syslog", &[("syslog-address", "unixgram:///dev/log"), ("syslog-format", "rfc5424micro")]),
    ]
    .iter()
    .map(|(driver, given)| match log(&options(driver, given)) {
        Ok(Logging { kept, receiver, buffer }) => format!("{kept:?} {receiver:?} {buffer:?}"),
        Err(error) => format!("{error:?}"),
    })
    .collect();
    expect![[r#"
        Some(Kept { format: Json, max_size: 16777216, max_files: 3, compress: false }) None None
        None None None
        Some(Kept { format: Json, max_size: 10000000, max_files: 5, compress: true }) None None
        Some(Kept { format: Json, max_size: 0, max_files: 3, compress: false }) None None
        Some(Kept { format: Json, max_size: 16777216, max_files: 3, compress: false }) None Some(1048576)
        Some(Kept { format: Json, max_size: 16777216, max_files: 3, compress: false }) None Some(4194304)
        Some(Kept { format: Local, max_size: 20971520, max_files: 5, compress: true }) None None
        Some(Kept { format: Local, max_size: 20971520, max_files: 1, compress: false }) None None
        Some(Kept { format: Local, max_size: 20971520, max_files: 5, compress: true }) Some(Journal) None
        None Some(Journal) None
        Some(Kept { format: Local, max_size: 20971520, max_files: 5, compress: true }) Some(Syslog { address: Local, facility: 3, format: Unix }) None
        Some(Kept { format: Local, max_size: 1000, max_files: 2, compress: false }) Some(Syslog { address: Local, facility: 3, format: Unix }) None
        Some(Kept { format: Local, max_size: 20971520, max_files: 5, compress: true }) Some(Syslog { address: Net { host: "log.example:514", is_stream: false }, facility: 23, format: Unix }) None
        Some(Kept { format: Local, max_size: 20971520, max_files: 5, compress: true }) Some(Syslog { address: Net { host: "[::1]:601", is_stream: true }, facility: 0, format: Unix }) None
        Some(Kept { format: Local, max_size: 20971520, max_files: 5, compress: true }) Some(Syslog { address: Unix { path: "/dev/log", is_stream: false }, facility: 3, format: Rfc5424Micro }) None"#]].assert_eq(&table.join("\n"));
}

fn subject_plan(log: LogOptions) -> monitor::LogPlan {
    let mut spec = planned(EMPTY, &facts(), |_| {}).unwrap();
    spec.host.log = log;
    spec.image = "web:1".to_owned();
    spec.image_id = format!("sha256:{}", "cd".repeat(32));
    spec.process.entrypoint = vec!["/entry".to_owned()];
    spec.process.command = vec!["serve".to_owned(), "-v".to_owned()];
    spec.process.env = vec!["TIER=gold".to_owned(), "SECRET=x".to_owned()];
    let label = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    spec.process.labels = [("com.acme.team", "a b"), ("other", "1")].into_iter().map(label).collect();
    let id = "ab".repeat(32);
    let directory = Path::new("/c");
    let subject = Subject { id: &id, name: "web", hostname: "host", spec: &spec, directory };
    log_plan(&subject).unwrap().unwrap()
}

#[test]
fn the_tag_and_what_was_chosen_go_with_every_line() {
    let tag =
        "{{.Name}}/{{.ID}}/{{.ImageName}}/{{.ImageID}}/{{.Command}}/{{.DaemonName}}/{{.ExtraAttributes}}";
    let given = [("tag", tag), ("labels", "other,none"), ("env-regex", "^TI")];
    let plan = subject_plan(options("json-file", &given));
    let attributes = plan.files.unwrap().attributes;
    expect![[r#"[("TIER", "gold"), ("other", "1"), ("tag", "web/abababababab/web:1/sha256:cdcdc//entry serve -v/skiff/map[TIER:gold other:1]")]"#]].assert_eq(&format!("{attributes:?}"));
}

#[test]
fn the_journal_is_told_who_it_is() {
    let given = [("labels-regex", "acme"), ("env", "TIER")];
    let plan = subject_plan(options("journald", &given));
    expect![[r#"
        Some(
            Journal {
                socket: "/run/systemd/journal/socket",
                fields: [
                    (
                        "CONTAINER_ID",
                        "abababababab",
                    ),
                    (
                        "CONTAINER_ID_FULL",
                        "abababababababababababababababababababababababababababababababab",
                    ),
                    (
                        "CONTAINER_NAME",
                        "web",
                    ),
                    (
                        "CONTAINER_TAG",
                        "abababababab",
                    ),
                    (
                        "IMAGE_NAME",
                        "web:1",
                    ),
                    (
                        "SYSLOG_IDENTIFIER",
                        "abababababab",
                    ),
                    (
                        "TIER",
                        "gold",
                    ),
                    (
                        "COM_ACME_TEAM",
                        "a b",
                    ),
                ],
            },
        )"#]]
    .assert_eq(&format!("{:#?}", plan.receiver));
    assert!(plan.files.unwrap().path.ends_with("log.local"));
}
