//! Those who talk to a monitor: honest ones, many at once, and hostile ones.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use common::*;
use linux::signal::SignalFd;
use monitor::{AttachStdio, CallerStdio, Error, ExecStdio, Outcome, SessionEnd};
use runtime::plan::TerminalSize;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pty::OpenptFlags;

const SLEEPER: &str = "echo up; sleep 1000";

fn up(harbour: &Harbour) -> monitor::Running {
    let running = harbour.start(&harbour.script(SLEEPER));
    harbour.wait_logged("up");
    running
}

fn exec(harbour: &Harbour, script: &str, stdio: ExecStdio) -> monitor::ExecHandle {
    harbour.connect().exec(&process(&["sh", "-c", script]), stdio).unwrap()
}

#[test]
fn a_further_program_runs_in_the_container_with_the_callers_pipes() {
    let harbour = Harbour::new();
    let _running = up(&harbour);
    let ((input, mut writer), (stdout, out), (stderr, err)) =
        (std::io::pipe().unwrap(), std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let stdio = ExecStdio {
        stdin: Some(input.into()),
        stdout: Some(out.into()),
        stderr: Some(err.into()),
        terminal_size: None,
    };
    let mut program = exec(
        &harbour,
        "read line; echo \"got $line\"; cat /proc/1/cmdline | tr '\\0' ' '; echo bad >&2; exit 9",
        stdio,
    );
    writer.write_all(b"hello\n").unwrap();
    let said = String::from_utf8(read_all(OwnedFd::from(stdout).into())).unwrap();
    assert_eq!(said, "got hello\nsleep 1000 ");
    assert_eq!(read_all(OwnedFd::from(stderr).into()), b"bad\n");
    assert_eq!(program.wait().unwrap(), 9);
    assert_eq!(harbour.logged("stdout"), "up\n", "what it says is not the container's output");
}

#[test]
fn a_program_that_cannot_be_started_is_told_with_dockers_code() {
    let harbour = Harbour::new();
    let _running = up(&harbour);
    for (name, code) in [("missing", 127), ("/etc/passwd", 126)] {
        let error = harbour.connect().exec(&process(&[name]), ExecStdio::default()).unwrap_err();
        assert_eq!(error.exit_code(), Some(code), "{name}: {error:?}");
    }
}

#[test]
fn a_program_ends_with_its_container() {
    let harbour = Harbour::new();
    let mut running = up(&harbour);
    let mut program = exec(&harbour, "sleep 1000", ExecStdio::default());
    running.connection.signal(9).unwrap();
    assert_eq!(program.wait().unwrap(), 137);
    assert_eq!(running.wait_exit().unwrap().exit().code, 137);
}

#[test]
fn a_program_outlives_its_client_and_its_terminal_does_not_hold_it_up() {
    let harbour = Harbour::new();
    let _running = up(&harbour);
    let mut plan = process(&["sh", "-c", "sleep 0.2; seq 1 100000; echo gone > /tmp/done"]);
    plan.terminal = Some(TerminalSize::default());
    let program = harbour.connect().exec(&plan, ExecStdio::default()).unwrap();
    drop(program);
    wait_until("it has ended", || harbour.path.join("rootfs/tmp/done").exists());
}

#[test]
fn nothing_is_started_in_a_frozen_container() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script(SLEEPER);
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let mut running = harbour.start(&plan);
    running.connection.pause().unwrap();
    let error = harbour.connect().exec(&process(&["true"]), ExecStdio::default()).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    running.connection.unpause().unwrap();
    let mut program = harbour.connect().exec(&process(&["true"]), ExecStdio::default()).unwrap();
    assert_eq!(program.wait().unwrap(), 0);
}

#[test]
fn a_program_that_cannot_get_started_keeps_nobody_waiting() {
    let mut harbour = Harbour::new();
    let mut plan = harbour.script(SLEEPER);
    harbour.with_cgroup(&mut plan, cgroup::Limits::default());
    let _running = harbour.start(&plan);
    harbour.wait_logged("up");
    // Frozen behind the monitor's back: what joins the group stands still before it runs.
    let hierarchy = cgroup::Hierarchy::detect().unwrap();
    let group = cgroup::Cgroup::open(&hierarchy, &harbour.status().cgroup.unwrap()).unwrap();
    group.freeze().unwrap();
    std::thread::scope(|scope| {
        let harbour = &harbour;
        let stuck = scope.spawn(move || harbour.connect().exec(&process(&["true"]), ExecStdio::default()));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!stuck.is_finished(), "it runs in a frozen container: the test shows nothing");
        let begun = Instant::now();
        let mut connection = harbour.connect();
        assert_eq!(connection.signal(15).unwrap(), Outcome::Changed);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        group.thaw().unwrap();
        assert_eq!(stuck.join().unwrap().unwrap().wait().unwrap(), 0);
    });
}

#[test]
fn a_regular_file_of_the_callers_is_copied_and_never_handed_over() {
    let harbour = Harbour::new();
    let _running = up(&harbour);
    let mut input = tempfile(&harbour, "input");
    input.write_all(b"from a file").unwrap();
    input.rewind().unwrap();
    let mut output = tempfile(&harbour, "output");
    let caller =
        CallerStdio { stdin: Some(input.as_fd()), stdout: Some(output.as_fd()), ..CallerStdio::default() };
    let (stdio, session) = ExecStdio::from_caller(&caller, false).unwrap();
    std::os::unix::fs::symlink("busybox", harbour.path.join("rootfs/bin/readlink")).unwrap();
    let mut program = exec(&harbour, "for fd in 0 1; do readlink /proc/$$/fd/$fd; done; cat", stdio);
    let SessionEnd::Exited(code) = session.run_exec(&mut program).unwrap() else { panic!("detached") };
    let mut said = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut said).unwrap();
    assert_eq!(code, 0);
    assert!(said.ends_with("from a file"), "{said}");
    assert!(!said.contains("monitor-test"), "it has the host's file: {said}");
}

fn tempfile(harbour: &Harbour, name: &str) -> std::fs::File {
    std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(harbour.path.join(name)).unwrap()
}

#[test]
fn a_foreground_session_copies_to_a_file_what_the_container_says() {
    let harbour = Harbour::new();
    let output = tempfile(&harbour, "output");
    let caller =
        CallerStdio { stdout: Some(output.as_fd()), stderr: Some(output.as_fd()), ..CallerStdio::default() };
    let (attach, session) = AttachStdio::from_caller(&caller).unwrap();
    let mut running =
        harbour.start_attached(&harbour.script("seq 1 20000; echo last >&2; exit 3"), Some(attach));
    let SessionEnd::Exited(ended) = session.run(&mut running.connection).unwrap() else { panic!("detached") };
    assert_eq!(ended.exit().code, 3);
    let said = std::fs::read_to_string(harbour.path.join("output")).unwrap();
    assert_eq!(said.lines().count(), 20_001);
}

#[test]
fn a_session_passes_signals_on() {
    let harbour = Harbour::new();
    let signals = SignalFd::new(&[12]).unwrap();
    let (mut stdout, out) = std::io::pipe().unwrap();
    let caller =
        CallerStdio { stdout: Some(out.as_fd()), signals: Some(signals.as_fd()), ..CallerStdio::default() };
    let (attach, session) = AttachStdio::from_caller(&caller).unwrap();
    let plan = harbour.script("trap 'echo usr2; exit 8' USR2; echo up; while :; do sleep 0.01; done");
    let mut running = harbour.start_attached(&plan, Some(attach));
    let mut first = [0; 3];
    stdout.read_exact(&mut first).unwrap();
    linux::signal::raise(12).unwrap();
    let SessionEnd::Exited(ended) = session.run(&mut running.connection).unwrap() else { panic!("detached") };
    assert_eq!(ended.exit().code, 8);
}

/// A terminal as a user sits before it: what is typed at the returned end arrives at the other.
fn terminal() -> (std::fs::File, OwnedFd) {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
    let mut raw = rustix::termios::tcgetattr(&terminal).unwrap();
    raw.make_raw();
    rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Now, &raw).unwrap();
    let size = rustix::termios::Winsize { ws_row: 12, ws_col: 34, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&terminal, size).unwrap();
    (master.into(), terminal)
}

fn read_until(from: &mut std::fs::File, text: &str) -> String {
    let mut said = String::new();
    while !said.contains(text) {
        let mut portion = [0; 1024];
        let length = from.read(&mut portion).unwrap();
        said.push_str(std::str::from_utf8(&portion[..length]).unwrap());
    }
    said
}

#[test]
fn an_interactive_session_has_a_terminal_and_detaches_by_keys() {
    let harbour = Harbour::new();
    let (mut user, terminal) = terminal();
    let mut plan = harbour.script("read line; stty size; echo \"got $line\"; read line; echo \"then $line\"");
    plan.launch.process.terminal = Some(TerminalSize::default());
    plan.open_stdin = true;
    let caller = CallerStdio {
        stdin: Some(terminal.as_fd()),
        stdout: Some(terminal.as_fd()),
        terminal: Some(terminal.as_fd()),
        detach_keys: b"\x10\x11",
        ..CallerStdio::default()
    };
    let (attach, session) = AttachStdio::from_caller(&caller).unwrap();
    let mut running = harbour.start_attached(&plan, Some(attach));
    std::thread::scope(|scope| {
        let session = scope.spawn(|| session.run(&mut running.connection).unwrap());
        user.write_all(b"hel\x10lo\n").unwrap();
        let said = read_until(&mut user, "got ");
        assert!(said.contains("12 34"), "{said}");
        user.write_all(b"x\x10\x11").unwrap();
        assert!(matches!(session.join().unwrap(), SessionEnd::Detached));
    });
    drop(running);
    // Attached again, the same container goes on; now to its end.
    let (attach, session) = AttachStdio::from_caller(&caller).unwrap();
    let mut connection = harbour.connect();
    connection.attach(attach).unwrap();
    user.write_all(b"y\n").unwrap();
    let SessionEnd::Exited(ended) = session.run(&mut connection).unwrap() else { panic!("detached") };
    assert_eq!(ended.exit().code, 0);
    assert!(read_until(&mut user, "then ").contains("then "));
}

#[test]
fn a_session_that_begins_after_the_end_learns_of_it() {
    let harbour = Harbour::new();
    let (mut user, terminal) = terminal();
    let mut plan = harbour.script("echo hello; exit 6");
    plan.launch.process.terminal = Some(TerminalSize::default());
    let caller = CallerStdio {
        stdout: Some(terminal.as_fd()),
        terminal: Some(terminal.as_fd()),
        ..CallerStdio::default()
    };
    let (attach, session) = AttachStdio::from_caller(&caller).unwrap();
    let mut running = harbour.start_attached(&plan, Some(attach));
    harbour.wait_vacated();
    std::thread::sleep(Duration::from_millis(50));
    let SessionEnd::Exited(ended) = session.run(&mut running.connection).unwrap() else { panic!("detached") };
    assert_eq!(ended.exit().code, 6);
    assert!(read_until(&mut user, "hello\r\n").contains("hello"));
}

#[test]
fn a_program_with_a_terminal_is_served_by_its_caller() {
    let harbour = Harbour::new();
    let _running = up(&harbour);
    let (mut user, terminal) = terminal();
    let caller = CallerStdio {
        stdin: Some(terminal.as_fd()),
        stdout: Some(terminal.as_fd()),
        terminal: Some(terminal.as_fd()),
        ..CallerStdio::default()
    };
    let (stdio, session) = ExecStdio::from_caller(&caller, true).unwrap();
    let mut plan = process(&["sh", "-c", "stty size; read line; echo \"got $line\"; seq 1 500; exit 4"]);
    plan.terminal = Some(TerminalSize { columns: 34, rows: 12 });
    let mut program = harbour.connect().exec(&plan, stdio).unwrap();
    assert!(program.terminal.is_some());
    user.write_all(b"hello\n").unwrap();
    let reader = std::thread::spawn(move || read_until(&mut user, "500\r\n"));
    let SessionEnd::Exited(code) = session.run_exec(&mut program).unwrap() else { panic!("detached") };
    let said = reader.join().unwrap();
    assert_eq!(code, 4);
    assert!(said.contains("12 34\r\n") && said.contains("got hello\r\n"), "{said}");
}

#[test]
fn many_clients_at_once_are_all_served() {
    let harbour = Harbour::new();
    let running = up(&harbour);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|number| {
                let harbour = &harbour;
                scope.spawn(move || {
                    let (stdout, out) = std::io::pipe().unwrap();
                    let stdio = ExecStdio { stdout: Some(out.into()), ..ExecStdio::default() };
                    let mut program = exec(harbour, &format!("echo {number}; exit {number}"), stdio);
                    let said = read_all(OwnedFd::from(stdout).into());
                    assert_eq!(said, format!("{number}\n").as_bytes());
                    assert_eq!(program.wait().unwrap(), number);
                    harbour.connect().wait().unwrap().exit().code
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        harbour.connect().signal(9).unwrap();
        for client in clients {
            assert_eq!(client.join().unwrap(), 137);
        }
    });
    drop(running);
}

/// A bare socket to the monitor.
fn knock(harbour: &Harbour) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(harbour.run_dir().join("control.sock")).unwrap())
        .unwrap();
    socket
}

#[test]
fn garbage_ends_the_conversation_and_nothing_else() {
    let harbour = Harbour::new();
    let _running = up(&harbour);
    for garbage in [&b"\xff\xff\xff\xff"[..], b"", b"\x01", &[0x20; 5000], &[0; 100_000]] {
        let socket = knock(&harbour);
        // The monitor may hang up before it has been told everything.
        let _sent = rustix::net::send(&socket, garbage, SendFlags::NOSIGNAL);
        if !garbage.is_empty() {
            let (length, _) =
                rustix::net::recv(&socket, &mut [0u8; 100][..], rustix::net::RecvFlags::empty())
                    .unwrap_or((0, 0));
            assert_eq!(length, 0, "{garbage:?}");
        }
    }
    assert_eq!(harbour.connect().signal(15).unwrap(), Outcome::Changed);
}

#[test]
fn one_connection_attaches_once() {
    let harbour = Harbour::new();
    let _running = up(&harbour);
    let mut connection = harbour.connect();
    let attach = || {
        let (_reader, writer) = output_pipe();
        AttachStdio { stdout: Some(writer), ..AttachStdio::default() }
    };
    assert_eq!(connection.attach(attach()).unwrap(), Outcome::Changed);
    assert!(matches!(connection.attach(attach()), Err(Error::Remote { .. })));
}

#[test]
fn nothing_of_the_monitors_is_open_in_the_container() {
    let harbour = Harbour::new();
    std::os::unix::fs::symlink("busybox", harbour.path.join("rootfs/bin/ls")).unwrap();
    let mut plan = harbour.script("ls -l /proc/1/fd /proc/1/cwd; sleep 1000");
    plan.open_stdin = true;
    let _running = harbour.start(&plan);
    harbour.wait_logged("cwd");
    let (stdout, out) = std::io::pipe().unwrap();
    let stdio = ExecStdio { stdout: Some(out.into()), ..ExecStdio::default() };
    let mut program = exec(&harbour, "ls -l /proc/$$/fd /proc/$$/cwd", stdio);
    assert_eq!(program.wait().unwrap(), 0);
    let said = String::from_utf8(read_all(OwnedFd::from(stdout).into())).unwrap();
    for listing in [harbour.logged("stdout"), said] {
        let mut open: Vec<&str> =
            listing.lines().filter_map(|line| line.split_once("-> ")).map(|(_, to)| to).collect();
        open.retain(|to| !to.starts_with("pipe:") && *to != "/dev/null");
        assert_eq!(open, ["/"], "{listing}");
        assert_eq!(listing.matches(" -> ").count(), 4, "{listing}");
    }
}

#[test]
fn silent_clients_do_not_keep_others_out() {
    let harbour = Harbour::new();
    let _running = up(&harbour);
    let silent: Vec<OwnedFd> = (0..200).map(|_| knock(&harbour)).collect();
    let begun = Instant::now();
    assert_eq!(harbour.connect().signal(15).unwrap(), Outcome::Changed);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    drop(silent);
}

#[test]
fn a_client_that_asks_but_never_listens_is_cut_off() {
    let harbour = Harbour::new();
    let _running = up(&harbour);
    let deaf = knock(&harbour);
    let signal_zero = [1u8, 30];
    let begun = Instant::now();
    loop {
        match rustix::net::send(&deaf, &signal_zero, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => break,
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it is served for ever");
    }
    assert_eq!(harbour.connect().signal(15).unwrap(), Outcome::Changed);
}

#[test]
fn a_path_longer_than_a_sockets_name_works_too() {
    let harbour = Harbour::new();
    let mut plan = harbour.script("echo up; sleep 1000");
    let long = harbour.path.join("x".repeat(120));
    std::fs::create_dir(&long).unwrap();
    plan.run_dir = long.join(&harbour.id);
    let mut running = harbour.start(&plan);
    let mut connection = monitor::Connection::open(&plan.run_dir).unwrap();
    connection.signal(9).unwrap();
    assert_eq!(running.wait_exit().unwrap().exit().code, 137);
    wait_until("the run directory is gone", || !plan.run_dir.exists());
}
