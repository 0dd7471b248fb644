//! Lines for logs.

use super::*;

fn plain(script: &str, expected: &Expect) {
    let (mut trace, mut plain, mut out) = (Trace::new(true, false), Plain::new(BUILDER), Vec::new());
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

#[test]
fn output_without_end_stays_small() {
    let mut trace = Trace::new(true, false);
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
