//! Lines that are sent to a server: every one arrives, and a server that is slow or gone costs what it should.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod common;

use std::io::{BufRead, BufReader, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::time::{Duration, Instant};

use common::*;
use monitor::{LogReceiver, MonitorPlan, SyslogFormat, SyslogPlan, SyslogServer};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

fn syslog(plan: &mut MonitorPlan, server: SyslogServer) {
    let (tag, hostname) = ("boat".to_owned(), "host".to_owned());
    let syslog = SyslogPlan { server, facility: 3, format: SyslogFormat::Rfc3164, tag, hostname };
    plan.log.as_mut().unwrap().receiver = Some(LogReceiver::Syslog(syslog));
}

/// Priority and text of a message.
fn told(message: &str) -> (String, String) {
    let (head, text) = message.split_once(" host boat[").expect(message);
    let (pid, text) = text.split_once("]: ").expect(message);
    assert!(pid.parse::<u32>().is_ok(), "{message}");
    (head.split_once('>').unwrap().0.trim_start_matches('<').to_owned(), text.to_owned())
}

fn expected() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> =
        (1..=100).map(|number| ("30".to_owned(), number.to_string())).collect();
    all.push(("27".to_owned(), "bad".to_owned()));
    all
}

const SCRIPT: &str = "seq 1 100; sleep 0.1; echo bad >&2; sleep 0.1";

fn of_stream(stream: impl Read) -> Vec<(String, String)> {
    BufReader::new(stream).lines().map(|line| told(&line.unwrap())).collect()
}

fn of_datagrams(mut receive: impl FnMut(&mut [u8]) -> std::io::Result<usize>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut buffer = [0; 20_000];
    while found.len() < expected().len()
        && let Ok(length) = receive(&mut buffer)
    {
        let message = std::str::from_utf8(&buffer[..length]).unwrap();
        found.push(told(message.strip_suffix('\n').expect(message)));
    }
    found
}

#[test]
fn every_transport_gets_every_line_and_so_do_the_files() {
    let soon = Some(Duration::from_secs(10));
    let run = |server: SyslogServer, take: &mut dyn FnMut() -> Vec<(String, String)>| {
        let harbour = Harbour::new();
        let mut plan = harbour.script(SCRIPT);
        syslog(&mut plan, server.clone());
        let mut running = harbour.start(&plan);
        assert_eq!(take(), expected(), "{server:?}");
        drop(running.wait_exit().unwrap());
        let numbers: String = (1..=100).map(|number| format!("{number}\n")).collect();
        assert_same(&harbour.logged("stdout"), &numbers);
    };
    let folder = testkit::Scratch::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = "127.0.0.1:1".parse().unwrap();
    let server = SyslogServer::Tcp(vec![refused, tcp.local_addr().unwrap()]);
    run(server, &mut || of_stream(tcp.accept().unwrap().0));
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(soon).unwrap();
    run(SyslogServer::Udp(vec![udp.local_addr().unwrap()]), &mut || of_datagrams(|buffer| udp.recv(buffer)));
    let unix = UnixListener::bind(folder.join("stream")).unwrap();
    run(SyslogServer::Unix(folder.join("stream")), &mut || of_stream(unix.accept().unwrap().0));
    let unixgram = UnixDatagram::bind(folder.join("gram")).unwrap();
    unixgram.set_read_timeout(soon).unwrap();
    let server = SyslogServer::UnixDatagram(folder.join("gram"));
    run(server, &mut || of_datagrams(|buffer| unixgram.recv(buffer)));
}

#[test]
fn a_server_that_is_not_there_is_told_at_the_start() {
    let folder = testkit::Scratch::new();
    for (server, reason) in [
        (SyslogServer::Unix(folder.join("none")), "dial unix"),
        (SyslogServer::Tcp(vec!["127.0.0.1:1".parse().unwrap()]), "dial tcp 127.0.0.1:1: Connection refused"),
    ] {
        let harbour = Harbour::new();
        let mut plan = harbour.script("echo never");
        syslog(&mut plan, server);
        let started = monitor::spawn(Path::new(MONITOR), &plan, None).unwrap().wait_running();
        let monitor::Error::Launch(failure) = started.unwrap_err() else { panic!("it failed otherwise") };
        assert!(failure.message.contains("failed to initialize logging driver"), "{failure:?}");
        assert!(failure.message.contains(reason), "{failure:?}");
        harbour.wait_vacated();
    }
}

#[test]
fn a_server_that_does_not_read_holds_up_its_container_and_nothing_else() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let harbour = Harbour::new();
    let mut plan = harbour.script("yes 'a line that is long enough to fill what there is to fill'");
    plan.log.as_mut().unwrap().files.as_mut().unwrap().max_size = 0;
    syslog(&mut plan, SyslogServer::Tcp(vec![tcp.local_addr().unwrap()]));
    let mut running = harbour.start(&plan);
    let (mut taken, _) = tcp.accept().unwrap();
    let size = || harbour.log_path().metadata().map_or(0, |found| found.len());
    let mut before = u64::MAX;
    wait_until("it stands still", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = size();
        let stands_still = now == before && now > 0;
        before = now;
        stands_still
    });
    // What it has said so far arrives, and it goes on.
    std::io::copy(&mut (&mut taken).take(8 << 20), &mut std::io::sink()).unwrap();
    wait_until("it goes on", || size() > before);
    let begun = Instant::now();
    running.connection.signal(9).unwrap();
    assert_eq!(running.wait_exit().unwrap().exit().code, 137);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_non_blocking_log_loses_its_oldest_lines_and_counts_them() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let harbour = Harbour::new();
    let mut plan = harbour.script("seq 1 300000; echo done; sleep 1000");
    plan.log.as_mut().unwrap().buffer = Some(100_000);
    plan.log.as_mut().unwrap().files.as_mut().unwrap().max_size = 0;
    syslog(&mut plan, SyslogServer::Tcp(vec![tcp.local_addr().unwrap()]));
    let mut running = harbour.start(&plan);
    let (taken, _) = tcp.accept().unwrap();
    harbour.wait_logged("done\n");
    let mut lost = 0;
    wait_until("the number of lost lines is told and stays", || {
        std::thread::sleep(Duration::from_millis(1200));
        let now = harbour.status().log_lines_lost;
        std::mem::replace(&mut lost, now) == now && now > 0
    });
    // Now it reads: what was not lost arrives, up to the very last line.
    let mut found: Vec<String> = Vec::new();
    for line in BufReader::new(&taken).lines() {
        found.push(told(&line.unwrap()).1);
        if found.last().unwrap() == "done" {
            break;
        }
    }
    assert_eq!(found.len() as u64 + lost, 300_001);
    running.connection.signal(9).unwrap();
    drop(running.wait_exit().unwrap());
}

#[test]
fn a_server_that_is_restarted_gets_what_was_said_meanwhile() {
    let folder = testkit::Scratch::new();
    let path = folder.join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let harbour = Harbour::new();
    let mut plan = harbour.script("seq 1 5; sleep 0.5; seq 6 10; sleep 1; seq 11 15; sleep 1000");
    syslog(&mut plan, SyslogServer::Unix(path.clone()));
    let mut running = harbour.start(&plan);
    let read = |listener: &UnixListener, count| {
        let lines = BufReader::new(listener.accept().unwrap().0).lines().take(count);
        lines.map(|line| told(&line.unwrap()).1).collect::<Vec<_>>()
    };
    assert_eq!(read(&listener, 5), ["1", "2", "3", "4", "5"]);
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    harbour.wait_logged("10\n");
    std::thread::sleep(Duration::from_millis(500));
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(read(&listener, 10), (6..=15).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(harbour.status().log_lines_lost, 0);
    running.connection.signal(9).unwrap();
    drop(running.wait_exit().unwrap());
}

#[test]
fn a_server_that_stays_away_is_waited_for_and_then_no_longer() {
    let folder = testkit::Scratch::new();
    let path = folder.join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let harbour = Harbour::new();
    let mut plan = harbour.script("sleep 0.5; seq 1 100000; echo done; sleep 1000");
    plan.log.as_mut().unwrap().files.as_mut().unwrap().max_size = 0;
    syslog(&mut plan, SyslogServer::Unix(path.clone()));
    let mut running = harbour.start(&plan);
    drop(listener.accept().unwrap());
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(!harbour.logged("stdout").contains("done"), "it does not wait");
    wait_until("the files have all of it", || {
        std::thread::sleep(Duration::from_millis(500));
        harbour.logged("stdout").ends_with("done\n")
    });
    wait_until("what the server missed is counted", || harbour.status().log_lines_lost == 100_001);
    running.connection.signal(9).unwrap();
    drop(running.wait_exit().unwrap());
}

/// A datagram, or the file that it came in.
fn entry(socket: &UnixDatagram) -> Vec<u8> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = vec![0; 300_000];
    let parts = &mut [IoSliceMut::new(&mut buffer)];
    let received = rustix::net::recvmsg(socket, parts, &mut ancillary, RecvFlags::empty()).unwrap();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut files) = message {
            assert_eq!(received.bytes, 0);
            let file = files.next().unwrap();
            let seals = rustix::fs::fcntl_get_seals(file.as_fd()).unwrap();
            assert!(seals.contains(rustix::fs::SealFlags::WRITE | rustix::fs::SealFlags::SHRINK));
            let mut content = Vec::new();
            std::fs::File::from(file).read_to_end(&mut content).unwrap();
            return content;
        }
    }
    buffer[..received.bytes].to_vec()
}

#[test]
fn the_journal_gets_entries_byte_for_byte_and_large_ones_as_files() {
    for large in [false, true] {
        let folder = testkit::Scratch::new();
        let socket = UnixDatagram::bind(folder.join("socket")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let harbour = Harbour::new();
        let mut plan = harbour.script("echo hello; sleep 0.2; echo bad >&2; sleep 0.2");
        // More than a datagram can hold.
        let note = if large { "x".repeat(1 << 20) } else { "two\nlines".to_owned() };
        let fields = vec![("CONTAINER_NAME".to_owned(), "web".to_owned()), ("NOTE".to_owned(), note.clone())];
        let receiver = LogReceiver::Journal { socket: folder.join("socket"), fields };
        plan.log.as_mut().unwrap().receiver = Some(receiver);
        let mut running = harbour.start(&plan);
        let told = if large {
            format!("CONTAINER_NAME=web\nNOTE={note}\n")
        } else {
            "CONTAINER_NAME=web\nNOTE\n\t\0\0\0\0\0\0\0two\nlines\n".to_owned()
        };
        assert!(entry(&socket) == format!("PRIORITY=6\nMESSAGE=hello\n{told}").into_bytes(), "{large}");
        assert!(entry(&socket) == format!("PRIORITY=3\nMESSAGE=bad\n{told}").into_bytes(), "{large}");
        drop(running.wait_exit().unwrap());
    }
}
