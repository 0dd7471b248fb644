//! Output, input and terminals: what is said arrives, whole, wherever it should.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::*;
use monitor::{AttachStdio, Error};
use runtime::plan::TerminalSize;

fn attach_outputs() -> (std::fs::File, std::fs::File, AttachStdio) {
    let ((stdout, out), (stderr, err)) = (output_pipe(), output_pipe());
    (stdout, stderr, AttachStdio { stdin: None, stdout: Some(out), stderr: Some(err), terminal_size: None })
}

#[test]
fn attached_streams_get_every_byte_as_does_the_log() {
    let harbour = Harbour::new();
    let (stdout, stderr, attach) = attach_outputs();
    let mut running = harbour.start_attached(&harbour.script("seq 1 50000; echo bad >&2"), Some(attach));
    let (exit, said) = read_to_exit(&mut running, stdout);
    assert_eq!(exit.code, 0);
    assert_eq!(read_all(stderr), b"bad\n");
    let expected: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
    assert_same(&String::from_utf8(said).unwrap(), &expected);
    assert_same(&harbour.logged("stdout"), &expected);
    assert_eq!(harbour.logged("stderr"), "bad\n");
}

#[test]
fn output_that_nobody_took_before_the_end_comes_with_the_exit() {
    let harbour = Harbour::new();
    // More than the pipes hold, less than the monitor queues: the container ends although nobody reads.
    let (mut stdout, writer) = output_pipe();
    let attach = AttachStdio { stdout: Some(writer), ..AttachStdio::default() };
    let mut running = harbour.start_attached(&harbour.script("seq 1 25000; echo last"), Some(attach));
    let ended = running.wait_exit().unwrap();
    assert_eq!(ended.exit().code, 0);
    let mut taken = String::new();
    stdout.read_to_string(&mut taken).unwrap();
    let expected: String = (1..=25_000).map(|number| format!("{number}\n")).collect::<String>() + "last\n";
    assert!(taken.len() < expected.len(), "the pipe alone took it all: the test shows nothing");
    let tail = ended.into_tails().stdout.map(|tail| read_all(tail.into())).unwrap();
    assert_same(&(taken + &String::from_utf8(tail).unwrap()), &expected);
    assert_same(&harbour.logged("stdout"), &expected);
}

#[test]
fn a_stuck_client_holds_up_the_container_but_neither_its_stop_nor_its_monitor() {
    let harbour = Harbour::new();
    let (_stuck, writer) = output_pipe();
    let attach = AttachStdio { stdout: Some(writer), ..AttachStdio::default() };
    let mut running = harbour.start_attached(&harbour.script("yes"), Some(attach));
    wait_until("the log has something", || {
        harbour.log_path().exists() && harbour.log_path().metadata().unwrap().len() > 100_000
    });
    let size = || harbour.log_path().metadata().unwrap().len();
    let mut before = 0;
    wait_until("it is held up", || {
        std::thread::sleep(Duration::from_millis(50));
        std::mem::replace(&mut before, size()) == size()
    });
    let begun = Instant::now();
    let mut connection = harbour.connect();
    connection.signal(9).unwrap();
    assert_eq!(connection.wait().unwrap().exit().code, 137);
    assert_eq!(running.wait_exit().unwrap().exit().code, 137);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn a_client_that_leaves_sets_the_container_free_again() {
    let harbour = Harbour::new();
    let (stuck, writer) = output_pipe();
    let attach = AttachStdio { stdout: Some(writer), ..AttachStdio::default() };
    let running = harbour.start_attached(
        &harbour.script("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo done"),
        Some(attach),
    );
    std::thread::sleep(Duration::from_millis(100));
    assert!(!harbour.logged("stdout").contains("done"), "it was not held up: the test shows nothing");
    drop((stuck, running));
    harbour.wait_logged("done");
}

#[test]
fn one_stuck_client_among_several_is_disconnected() {
    let harbour = Harbour::new();
    let (stuck, writer) = output_pipe();
    let mut running = harbour.start_attached(
        &harbour.script("sleep 0.3; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo done"),
        Some(AttachStdio { stdout: Some(writer), ..AttachStdio::default() }),
    );
    let (stdout, writer) = output_pipe();
    let mut other = harbour.connect();
    other.attach(AttachStdio { stdout: Some(writer), ..AttachStdio::default() }).unwrap();
    let begun = Instant::now();
    let mut said = read_all(stdout);
    if let Some(tail) = other.wait().unwrap().into_tails().stdout {
        said.extend(read_all(tail.into()));
    }
    assert_eq!(said.len(), 1_000_006);
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(9) && took < Duration::from_secs(20), "{took:?}");
    assert_eq!(running.wait_exit().unwrap().exit().code, 0);
    drop(stuck);
}

#[test]
fn input_reaches_the_program_and_its_end_too() {
    let harbour = Harbour::new();
    let mut plan = harbour.script("cat; echo end");
    (plan.open_stdin, plan.stdin_once) = (true, true);
    let (reader, mut writer) = input_pipe();
    let (stdout, out) = output_pipe();
    let attach = AttachStdio { stdin: Some(reader), stdout: Some(out), stderr: None, terminal_size: None };
    let mut running = harbour.start_attached(&plan, Some(attach));
    let feeder = std::thread::spawn(move || {
        let line = [b'x'; 999];
        for _ in 0..1000 {
            writer.write_all(&line).unwrap();
            writer.write_all(b"\n").unwrap();
        }
    });
    let (exit, said) = read_to_exit(&mut running, stdout);
    feeder.join().unwrap();
    assert_eq!(said.len(), 1_000_000 + 4);
    assert!(said.ends_with(b"x\nend\n"));
    assert_eq!(exit.code, 0);
}

#[test]
fn input_stays_open_between_clients_unless_it_is_theirs_alone() {
    let harbour = Harbour::new();
    let mut plan = harbour.script("while read line; do echo \"got $line\"; done; echo end; sleep 1000");
    plan.open_stdin = true;
    let _running = harbour.start(&plan);
    for word in ["one", "two"] {
        let (reader, mut writer) = input_pipe();
        let mut connection = harbour.connect();
        connection.attach(AttachStdio { stdin: Some(reader), ..AttachStdio::default() }).unwrap();
        writeln!(writer, "{word}").unwrap();
        harbour.wait_logged(&format!("got {word}"));
    }
    assert!(!harbour.logged("stdout").contains("end"));
}

#[test]
fn without_input_the_program_reads_nothing() {
    let harbour = Harbour::new();
    assert_eq!(harbour.run(&harbour.script("cat; echo end")).code, 0);
    assert_eq!(harbour.logged("stdout"), "end\n");
}

#[test]
fn a_program_that_reads_no_more_closes_its_clients_input() {
    let harbour = Harbour::new();
    let mut plan = harbour.script("exec 0<&-; echo closed; sleep 1000");
    (plan.open_stdin, plan.stdin_once) = (true, true);
    let (reader, mut writer) = input_pipe();
    let attach = AttachStdio { stdin: Some(reader), ..AttachStdio::default() };
    let _running = harbour.start_attached(&plan, Some(attach));
    harbour.wait_logged("closed");
    wait_until("writing fails", || writer.write_all(&[0; 4096]).is_err());
}

#[test]
fn a_terminal_is_one_stream_with_a_size_and_loses_nothing_at_the_end() {
    let harbour = Harbour::new();
    let mut plan =
        harbour.script("stty size; read line; echo \"got $line\"; stty size; seq 1 3000; echo last");
    plan.launch.process.terminal = Some(TerminalSize { columns: 91, rows: 33 });
    plan.open_stdin = true;
    let (reader, mut writer) = input_pipe();
    let (mut stdout, out) = output_pipe();
    let attach = AttachStdio { stdin: Some(reader), stdout: Some(out), stderr: None, terminal_size: None };
    let mut running = harbour.start_attached(&plan, Some(attach));
    let mut first = [0; 7];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"33 91\r\n");
    running.connection.resize(TerminalSize { columns: 120, rows: 40 }).unwrap();
    writer.write_all(b"hello\n").unwrap();
    let (exit, said) = read_to_exit(&mut running, stdout);
    assert_eq!(exit.code, 0);
    let numbers: String = (1..=3000).map(|number| format!("{number}\r\n")).collect();
    let expected = format!("hello\r\ngot hello\r\n40 120\r\n{numbers}last\r\n");
    assert_same(&String::from_utf8(said).unwrap(), &expected);
    assert_same(&harbour.logged("stdout"), &format!("33 91\r\n{expected}"));
}

#[test]
fn a_terminal_without_anybody_attached_does_not_hold_the_program_up() {
    let harbour = Harbour::new();
    let mut plan = harbour.script("seq 1 5000; tty; exit 6");
    std::os::unix::fs::symlink("busybox", harbour.path.join("rootfs/bin/tty")).unwrap();
    plan.launch.process.terminal = Some(TerminalSize::default());
    assert_eq!(harbour.run(&plan).code, 6);
    let said = harbour.logged("stdout");
    assert!(said.contains("5000\r\n/dev/"), "{}", &said[said.len() - 50..]);
}

#[test]
fn streams_that_could_make_the_monitor_wait_are_refused() {
    let harbour = Harbour::new();
    let _running = harbour.start(&harbour.script("sleep 1000"));
    let (_reader, blocking) = std::io::pipe().unwrap();
    let file = std::fs::File::create(harbour.path.join("file")).unwrap();
    for stream in [blocking.into(), file.into(), std::fs::File::open("/dev/zero").unwrap().into()] {
        let attach = AttachStdio { stdout: Some(stream), ..AttachStdio::default() };
        let error = harbour.connect().attach(attach).unwrap_err();
        assert!(matches!(error, Error::Remote { .. }), "{error:?}");
    }
}

#[test]
fn a_flood_is_logged_within_bounds_and_in_order() {
    let harbour = Harbour::new();
    let mut plan = harbour.script("seq 1 400000");
    let log = plan.log.as_mut().unwrap().files.as_mut().unwrap();
    (log.max_size, log.max_files) = (1 << 20, 3);
    assert_eq!(harbour.run(&plan).code, 0);
    let mut kept = Vec::new();
    for name in ["log.json.2", "log.json.1", "log.json"] {
        let path = harbour.container_dir().join(name);
        assert!(path.metadata().unwrap().len() <= 1 << 20);
        kept.extend(log_lines(&path).into_iter().map(|line| line.1.trim_end().parse::<u32>().unwrap()));
    }
    assert_eq!(*kept.last().unwrap(), 400_000);
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "lines are missing in between");
    assert_eq!(std::fs::read_dir(harbour.container_dir()).unwrap().count(), 3);
}

#[test]
fn a_full_disk_costs_log_lines_and_nothing_else() {
    let harbour = Harbour::new();
    let mut plan = harbour.script("seq 1 20000; echo done; sleep 1000");
    let disk = SmallDisk::mount(harbour.path.join("disk"));
    let (stdout, out) = output_pipe();
    plan.log.as_mut().unwrap().files.as_mut().unwrap().path = disk.0.join("log.json");
    let attach = AttachStdio { stdout: Some(out), ..AttachStdio::default() };
    let mut running = harbour.start_attached(&plan, Some(attach));
    let mut said = Vec::new();
    let mut stdout = stdout;
    while !said.ends_with(b"done\n") {
        let mut portion = [0; 4096];
        let length = stdout.read(&mut portion).unwrap();
        said.extend_from_slice(&portion[..length]);
    }
    wait_until("the status tells of lost lines", || harbour.status().log_lines_lost > 0);
    let kept = log_lines(&disk.0.join("log.json"));
    assert!(!kept.is_empty() && kept.len() < 20_000, "{}", kept.len());
    running.connection.signal(9).unwrap();
    assert_eq!(running.wait_exit().unwrap().exit().code, 137);
    drop(running);
    harbour.wait_vacated();
}

/// A file system of 64 KiB.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(path: std::path::PathBuf) -> SmallDisk {
        std::fs::create_dir(&path).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &path, "tmpfs", flags, c"size=64k").unwrap();
        SmallDisk(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
