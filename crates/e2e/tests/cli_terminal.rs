//! Interactive sessions, on a terminal that the test holds the other side of.

#![allow(clippy::disallowed_methods, reason = "tests start programs")]

use rustix::termios::LocalModes;
use testkit::{Skiff, wait_until};

/// Whether somebody who types sees it: off in raw mode.
fn echoes(terminal: &testkit::Terminal) -> bool {
    terminal.settings().local_modes.contains(LocalModes::ECHO)
}

#[test]
fn an_interactive_shell_has_a_terminal_of_the_callers_size() {
    let skiff = Skiff::with_busybox();
    let mut terminal = skiff.terminal(&["run", "--rm", "-it", "busybox", "sh"], 101, 37);
    terminal.expect("# ");
    terminal.send(b"stty size; tty; echo $TERM\r");
    terminal.expect("37 101\r\n");
    terminal.expect("/dev/");
    terminal.expect("xterm\r\n");
    assert!(!echoes(&terminal), "the caller's terminal is not raw");
    terminal.resize(120, 50);
    // The size is a message on its way; the shell asks until it has come.
    terminal.send(b"until [ \"$(stty size)\" = '50 120' ]; do sleep 0.02; done; echo re''sized\r");
    terminal.expect("resized\r\n");
    terminal.send(b"exit 17\r");
    let (code, text) = terminal.finish();
    assert_eq!(code, 17, "{text}");
    assert_eq!(skiff.ok(&["ps", "-aq"]), "");
}

#[test]
fn a_programs_first_look_at_its_terminal_sees_the_size() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "host", "busybox", "sleep", "1000"]);
    for columns in 60..66 {
        let want = format!("21 {columns}\r\n");
        let run = skiff.terminal(&["run", "--rm", "-it", "busybox", "stty", "size"], columns, 21);
        assert_eq!(run.finish(), (0, want.clone()));
        let exec = skiff.terminal(&["exec", "-it", "host", "stty", "size"], columns, 21);
        assert_eq!(exec.finish(), (0, want));
    }
}

#[test]
fn the_terminal_is_whole_again_after_the_session() {
    let skiff = Skiff::with_busybox();
    // The outer shell holds the terminal open, so that it can be looked at behind the session.
    let program = skiff.command(&["run", "--rm", "-it", "busybox", "echo", "inside"]);
    let mut shell = std::process::Command::new("/bin/sh");
    let line = format!(
        "{} run --rm -it busybox echo inside; echo code $?; read line",
        program.get_program().display()
    );
    shell.args(["-c", &line]);
    shell.env_clear().envs(program.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    let mut terminal = testkit::Terminal::start(&shell, 80, 24);
    terminal.expect("inside\r\n");
    terminal.expect("code 0\r\n");
    assert!(echoes(&terminal), "the terminal stayed raw");
    terminal.send(b"\n");
    assert_eq!(terminal.finish().0, 0);
}

#[test]
fn a_signal_that_ends_the_session_gives_the_terminal_back() {
    let skiff = Skiff::with_busybox();
    let program = skiff.command(&["run"]);
    // Stopped for touching the terminal from the background just before the first `fg`, it may be taken by that for
    // running and not be continued; the second one knows.
    let line = format!(
        "{} run --name kept -it busybox sh & echo pid $!; fg 2>/dev/null; fg 2>/dev/null; wait; echo over; read line",
        program.get_program().display()
    );
    let mut shell = std::process::Command::new("/bin/bash");
    shell.args(["-m", "-c", &line]);
    shell.env_clear().envs(program.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    let mut terminal = testkit::Terminal::start(&shell, 80, 24);
    terminal.expect("pid ");
    let pid: i32 = terminal.expect("\r\n").trim().parse().unwrap();
    terminal.expect("# ");
    wait_until("the terminal never became raw", || !echoes(&terminal));
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    terminal.expect("over\r\n");
    assert!(echoes(&terminal), "the terminal stayed raw");
    terminal.send(b"\n");
    terminal.finish();
    assert_eq!(
        skiff.ok(&["inspect", "-f", "{{.State.Status}}", "kept"]),
        "running\n",
        "the container went with its caller"
    );
}

#[test]
fn detach_keys_leave_the_container_running() {
    let skiff = Skiff::with_busybox();
    let mut terminal = skiff.terminal(&["run", "-it", "--name", "left", "busybox", "sh"], 80, 24);
    terminal.expect("# ");
    terminal.send(b"\x10\x11");
    assert_eq!(terminal.finish().0, 0);
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.Status}}", "left"]), "running\n");

    let mut terminal = skiff.terminal(&["attach", "--detach-keys", "ctrl-a,x", "left"], 80, 24);
    terminal.send(b"echo ba''ck\r");
    terminal.expect("back\r\n");
    // The first key alone, and the default keys, are for the program.
    terminal.send(b"echo \x10\x11'q'\x01y\r");
    terminal.send(b"\x01x");
    assert_eq!(terminal.finish().0, 0);

    let mut terminal = skiff.terminal(&["attach", "left"], 80, 24);
    terminal.send(b"\r");
    terminal.expect("# ");
    terminal.send(b"exit 3\r");
    assert_eq!(terminal.finish().0, 3);
}

#[test]
fn no_output_is_lost_at_the_end() {
    let skiff = Skiff::with_busybox();
    for run in 0..5 {
        let terminal = skiff.terminal(&["run", "--rm", "-it", "busybox", "seq", "1", "20000"], 80, 24);
        let (code, text) = terminal.finish();
        assert_eq!(code, 0);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 20_000, "run {run} ends with {:?}", lines.last());
        assert_eq!(lines.last(), Some(&"20000"));
    }
}

#[test]
fn keys_make_signals_inside() {
    let skiff = Skiff::with_busybox();
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    let mut terminal = skiff.terminal(&["run", "--rm", "-it", "busybox", "sh", "-c", script], 80, 24);
    terminal.expect("ready\r\n");
    terminal.send(b"\x03");
    terminal.expect("interrupted\r\n");
    assert_eq!(terminal.finish().0, 9);
}

#[test]
fn exec_has_a_terminal_too() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "host", "busybox", "sleep", "1000"]);
    let mut terminal = skiff.terminal(&["exec", "-it", "host", "sh"], 90, 30);
    terminal.expect("# ");
    terminal.send(b"until [ \"$(stty size)\" = '30 90' ]; do sleep 0.02; done; echo si''zed\r");
    terminal.expect("sized\r\n");
    terminal.resize(70, 20);
    terminal.send(b"until [ \"$(stty size)\" = '20 70' ]; do sleep 0.02; done; echo re''sized\r");
    terminal.expect("resized\r\n");
    terminal.send(b"exit 4\r");
    assert_eq!(terminal.finish().0, 4);
    let none = skiff.run(&["exec", "-it", "host", "sh"]);
    assert_eq!((none.code, none.stderr.as_str()), (1, "skiff: the input device is not a TTY\n"));
    let none = skiff.run(&["run", "--rm", "-it", "busybox", "sh"]);
    assert_eq!((none.code, none.stderr.as_str()), (1, "skiff: the input device is not a TTY\n"));
    // A terminal without input: what is written comes out, and the caller's terminal is left as it was.
    assert_eq!(skiff.ok(&["run", "--rm", "-t", "busybox", "tty"]).trim_end(), "/dev/pts/0");
}

#[test]
fn a_copy_tells_whoever_watches_how_much_it_was() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "box", "busybox"]);
    std::fs::write(skiff.folder().join("file"), [0; 5000]).unwrap();
    let watched = |words: &[&str]| skiff.terminal(&[&["cp"], words].concat(), 80, 24).finish();
    let told = |(code, text): (i32, String), target: &str| {
        assert_eq!(code, 0, "{text}");
        let size = text.strip_prefix("Successfully copied ").and_then(|rest| {
            let rest = rest.strip_suffix(&format!("kB to {target}\r\n"))?;
            rest.parse::<f32>().ok()
        });
        assert!(size.is_some_and(|size| (5.0..10.0).contains(&size)), "{text:?}");
    };
    told(watched(&["file", "box:/copy"]), "box:/copy");
    told(watched(&["box:/copy", "again"]), "again");
    assert_eq!(watched(&["-q", "file", "box:/copy"]), (0, String::new()));
    // Nobody watches a pipe, unless somebody says so.
    assert_eq!(skiff.ok(&["cp", "file", "box:/copy"]), "");
    let asked = skiff.run(&["cp", "--quiet=false", "file", "box:/copy"]);
    assert!(asked.stdout.is_empty() && asked.stderr.starts_with("Successfully copied "), "{asked:?}");
}
