//! What a terminal shows.

use super::*;

/// What a terminal shows in the end, and the widest row that was ever drawn.
fn drawn(script: &str, until: u64, size: Size, all: bool) -> String {
    let (mut trace, mut tty) = (Trace::new(false, true), Tty::new(Colors::none(), None, BUILDER_SHORT));
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
fn colours_tell_how_a_step_ended() {
    let (mut trace, mut tty) = (Trace::new(false, true), Tty::new(Colors::of(None, None), None, ""));
    events("0 1 +[1/2] RUN a\n0 1 >\n1 1 =\n2 2 +[2/2] RUN b\n2 2 >\n3 2 !no\n", |event, at| {
        trace.apply(event, at)
    });
    let drawn = tty.draw(&trace, Duration::from_millis(5), Size { width: 40, height: 24 }, false);
    assert!(drawn.contains("\x1b[34m => [1/2] RUN a"), "{drawn:?}");
    assert!(drawn.contains("\x1b[31m => ERROR [2/2] RUN b"), "{drawn:?}");
}
