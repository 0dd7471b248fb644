//! Tables of events and what is shown of them.

mod plain;
mod sizes;
mod window;

use std::fmt::Write as _;

use ::build::Stream;
use engine::build::Vertex;
use expect_test::{Expect, expect};
use oci::Digest;

use super::*;
use crate::build::progress::screen::Screen;

/// A build in short: a time in milliseconds, the number of a vertex, and what happens to it.
///
/// `+name` makes it known, `>` begins it, `=` is its end, `c` the cache's, `!error` its failure, `x` its cancellation, `"text"`
/// what it says, `part current/total` a part, with `.` at the end if that is done.
fn events(script: &str, mut each: impl FnMut(&BuildEvent<'_>, Duration)) {
    let mut begun = std::collections::BTreeMap::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(3, ' ');
        let at = Duration::from_millis(words.next().unwrap().parse().unwrap());
        let id: usize = words.next().unwrap().parse().unwrap();
        let what = words.next().unwrap();
        let ran = at.saturating_sub(*begun.entry(id).or_insert(at));
        let (first, rest) = what.split_at(1);
        match first {
            "+" => {
                let inputs = if id > 1 { vec![id - 1] } else { Vec::new() };
                let digest = Digest::of(rest.as_bytes());
                each(
                    &BuildEvent::Vertex(&Vertex {
                        id,
                        digest,
                        name: rest.to_owned(),
                        inputs,
                        internal: false,
                    }),
                    at,
                );
                begun.remove(&id);
            }
            ">" => each(&BuildEvent::Started { id }, at),
            "=" => each(&BuildEvent::Finished { id, ran }, at),
            "c" => each(&BuildEvent::Cached { id }, at),
            "x" => each(&BuildEvent::Failed { id, ran, error: "", is_cancelled: true }, at),
            "!" => each(&BuildEvent::Failed { id, ran, error: rest, is_cancelled: false }, at),
            "\"" => {
                let text = rest.trim_end_matches('"').replace("\\n", "\n").replace("\\r", "\r");
                each(&BuildEvent::Output { id, stream: Stream::Stdout, bytes: text.as_bytes() }, at);
            }
            _ => {
                let is_done = what.ends_with('.');
                let (part, numbers) = what.trim_end_matches('.').rsplit_once(' ').unwrap();
                let (current, total) = numbers.split_once('/').unwrap();
                let (current, total) = (current.parse().unwrap(), total.parse().ok());
                each(&BuildEvent::Progress { id, part, current, total, is_done }, at);
            }
        }
    }
}

#[test]
fn programs_get_what_buildkits_client_gets() {
    let mut json = RawJson::new(Timestamp::new(1_700_000_000, 900_000_000).unwrap());
    let mut out = String::new();
    let script = r#"
        0 1 +[1/2] FROM alpine
        0 1 c
        100 2 +[2/2] RUN make
        100 2 >
        150 2 "hi"
        160 2 pulling 5/10
        170 2 pulling 10/10.
        250 2 !exit code: 1
    "#;
    events(script, |event, at| out.push_str(&json.line(event, at)));
    expect![[r#"
        {"vertexes":[{"digest":"sha256:387b63218b94fb9f9a94a7bf19b3158cba9b500b6195c5363777df7725d76505","name":"[1/2] FROM alpine"}]}
        {"vertexes":[{"digest":"sha256:387b63218b94fb9f9a94a7bf19b3158cba9b500b6195c5363777df7725d76505","name":"[1/2] FROM alpine","started":"2023-11-14T22:13:20.9Z","completed":"2023-11-14T22:13:20.9Z","cached":true}]}
        {"vertexes":[{"digest":"sha256:203de4d1c1d1185caca2820626412e67fd9b488ce091bb0e031d5242b9008f7a","inputs":["sha256:387b63218b94fb9f9a94a7bf19b3158cba9b500b6195c5363777df7725d76505"],"name":"[2/2] RUN make"}]}
        {"vertexes":[{"digest":"sha256:203de4d1c1d1185caca2820626412e67fd9b488ce091bb0e031d5242b9008f7a","inputs":["sha256:387b63218b94fb9f9a94a7bf19b3158cba9b500b6195c5363777df7725d76505"],"name":"[2/2] RUN make","started":"2023-11-14T22:13:21Z"}]}
        {"logs":[{"vertex":"sha256:203de4d1c1d1185caca2820626412e67fd9b488ce091bb0e031d5242b9008f7a","stream":1,"data":"aGk=","timestamp":"2023-11-14T22:13:21.05Z"}]}
        {"statuses":[{"id":"pulling","vertex":"sha256:203de4d1c1d1185caca2820626412e67fd9b488ce091bb0e031d5242b9008f7a","total":10,"current":5,"timestamp":"2023-11-14T22:13:21.06Z","started":"2023-11-14T22:13:21.06Z"}]}
        {"statuses":[{"id":"pulling","vertex":"sha256:203de4d1c1d1185caca2820626412e67fd9b488ce091bb0e031d5242b9008f7a","total":10,"current":10,"timestamp":"2023-11-14T22:13:21.07Z","started":"2023-11-14T22:13:21.06Z","completed":"2023-11-14T22:13:21.07Z"}]}
        {"vertexes":[{"digest":"sha256:203de4d1c1d1185caca2820626412e67fd9b488ce091bb0e031d5242b9008f7a","inputs":["sha256:387b63218b94fb9f9a94a7bf19b3158cba9b500b6195c5363777df7725d76505"],"name":"[2/2] RUN make","started":"2023-11-14T22:13:21Z","completed":"2023-11-14T22:13:21.15Z","error":"exit code: 1"}]}
    "#]].assert_eq(&out);
}

#[test]
fn at_the_end_stands_what_was_found_and_where_the_time_went() {
    let found = Finding {
        short: "StageNameCasing: Stage name 'A' should be lowercase (line 1)".to_owned(),
        description: "Stage names should be lowercase",
        url: "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
        excerpt: "Dockerfile:1\n".to_owned(),
        ranges: serde_json::json!([{ "start": { "line": 1 }, "end": { "line": 1 } }]),
    };
    assert_eq!(
        summary::warnings(&[found.clone(), found.clone()], false, ""),
        "\n 2 warnings found (use skiff --debug to expand):\n - StageNameCasing: Stage name 'A' should be lowercase (line 1)\n \
         - StageNameCasing: Stage name 'A' should be lowercase (line 1)\n"
    );
    assert_eq!(
        summary::warnings(&[found], true, ""),
        "\n 1 warning found:\n - StageNameCasing: Stage name 'A' should be lowercase (line 1)\n\
         Stage names should be lowercase\n\
         More info: https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\nDockerfile:1\n\n"
    );
    let mut trace = Trace::new(false, true);
    let script = "0 1 +[1/2] FROM a\n0 1 c\n0 2 +[2/2] RUN make\n0 2 >\n3000 2 =\n3000 3 +exporting to image\n3000 3 >\n4000 3 =\n";
    events(script, |event, at| trace.apply(event, at));
    assert_eq!(
        summary::times(&trace, Duration::from_secs(4)),
        "\n Time: 4.0s (1 of 2 steps cached)\n    3.0s   75%  [2/2] RUN make\n    1.0s   25%  exporting to image\n"
    );
}
