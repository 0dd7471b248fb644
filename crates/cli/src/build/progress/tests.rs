//! Tables of events and what is shown of them.

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

fn plain(script: &str, expected: &Expect) {
    let (mut trace, mut plain, mut out) = (Trace::new(true), Plain::new(BUILDER), Vec::new());
    let mut last = Duration::ZERO;
    events(script, |event, at| {
        trace.apply(event, at);
        if at.saturating_sub(last) >= EVERY {
            out.extend(plain.print(&mut trace, at));
            last = at;
        }
    });
    out.extend(plain.print(&mut trace, last + EVERY));
    out.extend(trace.failures());
    expected.assert_eq(&String::from_utf8(out).unwrap());
}

#[test]
fn steps_are_printed_one_after_the_other() {
    plain(
        r#"
        0 1 +[internal] load build definition from Dockerfile
        0 1 >
        10 1 transferring dockerfile: 150/.
        20 1 =
        30 2 +[1/3] FROM docker.io/library/alpine
        30 2 c
        40 3 +[2/3] RUN make
        50 3 >
        173 3 "gcc -c a.c\ngcc"
        300 3 " -c b.c\n"
        1250 3 =
        1260 4 +exporting to image
        1260 4 >
        1300 4 exporting layers 0/0.
        1400 4 writing image sha256:0123 0/0.
        1410 4 naming to docker.io/library/x:latest 0/0.
        1420 4 =
        "#,
        &expect![[r##"
            #0 building with "default" instance using skiff driver

            #1 [internal] load build definition from Dockerfile
            #1 transferring dockerfile: 150B done
            #1 DONE 0.0s

            #2 [1/3] FROM docker.io/library/alpine
            #2 CACHED

            #3 [2/3] RUN make
            #3 0.123 gcc -c a.c
            #3 0.123 gcc -c b.c
            #3 DONE 1.2s

            #4 exporting to image
            #4 exporting layers done
            #4 writing image sha256:0123 done
            #4 naming to docker.io/library/x:latest done
            #4 DONE 0.2s
        "##]],
    );
}

#[test]
fn what_fails_is_shown_with_what_it_said_last() {
    plain(
        r#"
        0 1 +[1/2] RUN false
        0 1 >
        100 1 "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\nlast"
        100 2 +[other 1/2] RUN sleep
        100 2 >
        300 1 !process "/bin/sh -c false" did not complete successfully: exit code: 1
        350 2 x
        "#,
        &expect![[r##"
            #0 building with "default" instance using skiff driver

            #1 [1/2] RUN false
            #1 0.100 1
            #1 0.100 2
            #1 0.100 3
            #1 0.100 4
            #1 0.100 5
            #1 0.100 6
            #1 0.100 7
            #1 0.100 8
            #1 0.100 9
            #1 0.100 10
            #1 0.100 11
            #1 0.100 last
            #1 ERROR: process "/bin/sh -c false" did not complete successfully: exit code: 1

            #2 [other 1/2] RUN sleep
            #2 CANCELED
            ------
             > [1/2] RUN false:
            0.100 3
            0.100 4
            0.100 5
            0.100 6
            0.100 7
            0.100 8
            0.100 9
            0.100 10
            0.100 11
            0.100 last
            ------
        "##]],
    );
}

#[test]
fn several_steps_share_the_output() {
    plain(
        r#"
        0 1 +[a 1/2] RUN a
        0 2 +[b 1/2] RUN b
        0 1 >
        0 2 >
        150 1 "a1\n"
        160 2 "b1\n"
        300 1 "a2\n"
        6000 2 "b2\n"
        12000 2 "b3\n"
        12200 1 "a3\n"
        12300 2 =
        12500 1 "a4\n"
        12600 1 =
        "#,
        &expect![[r##"
            #0 building with "default" instance using skiff driver

            #1 [a 1/2] RUN a
            #1 0.150 a1
            #1 0.300 a2
            #1 ...

            #2 [b 1/2] RUN b
            #2 0.160 b1
            #2 6.000 b2
            #2 12.00 b3
            #2 DONE 12.3s

            #1 [a 1/2] RUN a
            #1 12.20 a3
            #1 12.50 a4
            #1 DONE 12.6s
        "##]],
    );
}

#[test]
fn parts_are_printed_when_they_have_changed() {
    plain(
        r#"
        0 1 +[internal] load build context
        0 1 >
        200 1 transferring context: 1000/
        400 1 transferring context: 2000/
        6000 1 transferring context: 5000000/
        6200 1 transferring context: 6000000/.
        6300 1 =
        6400 2 +[1/1] FROM busybox
        6500 2 >
        6600 2 sha256:abc 0/1000
        6800 2 sha256:abc 10/1000
        7000 2 sha256:abc 500/1000
        7200 2 sha256:abc 1000/1000.
        7300 2 =
        "#,
        &expect![[r##"
            #0 building with "default" instance using skiff driver

            #1 [internal] load build context
            #1 transferring context: 1.00kB
            #1 transferring context: 5.00MB 5.8s
            #1 transferring context: 6.00MB 6.0s done
            #1 DONE 6.3s

            #2 [1/1] FROM busybox
            #2 sha256:abc 0B / 1.00kB
            #2 sha256:abc 500B / 1.00kB 0.4s
            #2 sha256:abc 1.00kB / 1.00kB 0.6s done
            #2 DONE 0.8s
        "##]],
    );
}

/// What a terminal shows in the end, and the widest row that was ever drawn.
fn drawn(script: &str, until: u64, size: Size, all: bool) -> String {
    let (mut trace, mut tty) = (Trace::new(false), Tty::new(Colors::none(), None, BUILDER_SHORT));
    let mut screen = Screen::default();
    events(script, |event, at| {
        trace.apply(event, at);
        screen.write(tty.draw(&trace, at, size, false).as_bytes());
    });
    screen.write(tty.draw(&trace, Duration::from_millis(until), size, all).as_bytes());
    let rows = screen.last(100);
    assert!(rows.iter().all(|row| row.chars().count() < size.width), "{rows:#?}");
    assert!(all || rows.len() < size.height, "{rows:#?}");
    rows.iter().fold(String::new(), |mut out, row| {
        let _ = writeln!(out, "{row}");
        out
    })
}

const RUNNING: &str = r#"
    0 1 +[internal] load build definition from Dockerfile
    0 1 >
    10 1 transferring dockerfile: 150/.
    20 1 =
    30 2 +[1/3] FROM docker.io/library/alpine
    30 2 c
    40 3 +[build 2/3] RUN make all the things that there are, and then some more
    50 3 >
    173 3 "gcc -c a.c\n10%\r20%\r"
    200 4 +[other 2/3] RUN sleep 100
    200 4 >
"#;

#[test]
fn a_window_shows_what_is_done_and_what_is_said() {
    let size = Size { width: 70, height: 24 };
    expect![[r#"
        [+] Building 1.2s (2/4)                                 skiff:default
         => [internal] load build definition from Dockerfile             0.0s
         => => transferring dockerfile: 150B                             0.0s
         => CACHED [1/3] FROM docker.io/library/alpine                   0.0s
         => [build 2/3] RUN make all the things that there are, and the  1.2s
         => => # gcc -c a.c
         => => # 20%
         => [other 2/3] RUN sleep 100                                    1.1s
    "#]]
    .assert_eq(&drawn(RUNNING, 1250, size, false));
}

#[test]
fn the_end_shows_everything() {
    let script = format!("{RUNNING}\n1300 3 !exit code: 2\n1310 4 x\n");
    let size = Size { width: 50, height: 5 };
    expect![[r#"
        [+] Building 1.4s (4/4) FINISHED    skiff:default
         => [internal] load build definition from D  0.0s
         => => transferring dockerfile: 150B         0.0s
         => CACHED [1/3] FROM docker.io/library/alp  0.0s
         => ERROR [build 2/3] RUN make all the thin  1.2s
         => CANCELED [other 2/3] RUN sleep 100       1.1s
    "#]]
    .assert_eq(&drawn(&script, 1400, size, true));
}

#[test]
fn a_small_terminal_shows_what_is_under_way() {
    let many: String = (10..30).fold(String::new(), |mut out, id| {
        let _ = write!(out, "0 {id} +[step {id}] RUN x\n0 {id} >\n");
        if id % 4 != 0 {
            let _ = writeln!(out, "100 {id} =");
        }
        out
    });
    expect![[r#"
        [+] Building 1.0s (15/20) skiff:default
         => [step 12] RUN x                1.0s
         => [step 16] RUN x                1.0s
         => [step 20] RUN x                1.0s
         => [step 24] RUN x                1.0s
         => [step 28] RUN x                1.0s
         => [step 29] RUN x                0.1s
    "#]]
    .assert_eq(&drawn(&many, 1000, Size { width: 40, height: 8 }, false));
    // Too narrow to say anything but how many there are.
    expect![[r#"
        [+] Building 1.0s
    "#]]
    .assert_eq(&drawn(&many, 1000, Size { width: 18, height: 8 }, false));
}

#[test]
fn a_window_that_became_narrower_is_drawn_over_as_it_stands() {
    let (mut trace, mut tty) = (Trace::new(false), Tty::new(Colors::none(), None, ""));
    events(RUNNING, |event, at| trace.apply(event, at));
    let now = Duration::from_millis(300);
    let rows = tty.draw(&trace, now, Size { width: 80, height: 24 }, false).matches('\n').count();
    // Each row of nearly 80 columns takes two of 40.
    let again = tty.draw(&trace, now, Size { width: 40, height: 24 }, false);
    assert!(again.starts_with("\x1b[?25l\x1b["), "{again:?}");
    let up: usize = again["\x1b[?25l\x1b[".len()..].split('A').next().unwrap().parse().unwrap();
    assert!(up > rows && up <= 2 * rows, "{up} of {rows}");
    assert!(again.ends_with("\x1b[?25h"));
}

#[test]
fn colours_tell_how_a_step_ended() {
    let (mut trace, mut tty) = (Trace::new(false), Tty::new(Colors::of(None, None), None, ""));
    events("0 1 +[1/2] RUN a\n0 1 >\n1 1 =\n2 2 +[2/2] RUN b\n2 2 >\n3 2 !no\n", |event, at| {
        trace.apply(event, at)
    });
    let drawn = tty.draw(&trace, Duration::from_millis(5), Size { width: 40, height: 24 }, false);
    assert!(drawn.contains("\x1b[34m => [1/2] RUN a"), "{drawn:?}");
    assert!(drawn.contains("\x1b[31m => ERROR [2/2] RUN b"), "{drawn:?}");
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
        lines: (1, 1),
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
    let mut trace = Trace::new(false);
    let script = "0 1 +[1/2] FROM a\n0 1 c\n0 2 +[2/2] RUN make\n0 2 >\n3000 2 =\n3000 3 +exporting to image\n3000 3 >\n4000 3 =\n";
    events(script, |event, at| trace.apply(event, at));
    assert_eq!(
        summary::times(&trace, Duration::from_secs(4)),
        "\n Time: 4.0s (1 of 2 steps cached)\n    3.0s   75%  [2/2] RUN make\n    1.0s   25%  exporting to image\n"
    );
}

#[test]
fn output_without_end_stays_small() {
    let mut trace = Trace::new(true);
    let mut plain = Plain::new(BUILDER);
    let digest = Digest::of(b"x");
    trace.apply(
        &BuildEvent::Vertex(&Vertex {
            id: 1,
            digest,
            name: "x".to_owned(),
            inputs: Vec::new(),
            internal: false,
        }),
        Duration::ZERO,
    );
    for turn in 0..200 {
        let bytes = [b'y'; 64 << 10];
        trace.apply(
            &BuildEvent::Output { id: 1, stream: Stream::Stderr, bytes: &bytes },
            Duration::from_millis(turn),
        );
        drop(plain.print(&mut trace, Duration::from_millis(turn)));
    }
    let vertex = &trace.vertices()[0];
    assert!(vertex.pending.is_empty() && vertex.tail.iter().map(Vec::len).sum::<usize>() <= 10 * 4096 + 100);
}
