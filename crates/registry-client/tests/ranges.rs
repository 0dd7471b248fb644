//! One blob by several connections: what is asked for, and what becomes of it when ranges are refused, cut, short or wrong.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{asked, blob, content, reference, serve_blob, settings, told};
use registry_client::{Client, Listener, Notice, Ranges, Settings};
use testkit::{Peer, Reply, Scratch, Seen};

const SIZE: usize = 24 << 20;
/// Bytes of a part.
const PART: usize = 4 << 20;
/// What a connection carries in a second: slower than anybody reads.
const PACE: usize = 8 << 20;

type Fault = dyn Fn(Reply, (usize, usize)) -> Reply + Send + Sync;

/// A server of slow connections that answers the first requests for a part by `faults` in turn, and then honestly.
fn slow(content: &Arc<Vec<u8>>, faults: Vec<Box<Fault>>) -> Peer {
    let (content, count) = (Arc::clone(content), AtomicUsize::new(0));
    Peer::serve(move |seen: &Seen| {
        // What names the content is its digest: a tag that changes says nothing.
        let tag = format!("\"{}\"", seen.header("range"));
        let honest = serve_blob(&content, seen.header("range")).with("ETag", tag).paced(PACE);
        let Some((first, Some(last))) = asked(seen.header("range")) else { return honest };
        match faults.get(count.fetch_add(1, Ordering::SeqCst)) {
            Some(fault) => fault(honest, (first, last)),
            None => honest,
        }
    })
}

/// Who reads, and how.
struct Reading {
    notices: Arc<Mutex<Vec<Notice>>>,
    read: Result<Vec<u8>, String>,
}

fn read_from(peer: &Peer, content: &[u8], from: u64, connections: usize) -> Reading {
    let scratch = Scratch::new();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notices);
    let settings = Settings {
        ranges: Ranges { connections, from: 1 << 20 },
        listener: Listener::new(move |notice| heard.lock().unwrap().push(notice.clone())),
        ..settings(&scratch, &common::plain(&peer.address()), "{}")
    };
    let repository = Client::new(settings).repository(&reference("registry.test/a")).unwrap();
    let read =
        repository.blob_in_ranges(&blob(content), from).map_err(|error| told(&error)).and_then(|mut it| {
            let mut all = Vec::new();
            it.read_to_end(&mut all).map_err(|error| told(&error)).map(|_| all)
        });
    Reading { notices, read }
}

/// The parts that were asked for, as first byte and length.
fn parts(peer: &Peer) -> Vec<(usize, usize)> {
    let ranges = peer.seen().into_iter().filter_map(|seen| asked(seen.header("range")));
    ranges.filter_map(|(first, last)| Some((first, last? + 1 - first))).collect()
}

/// Whether no byte was asked for by two of the parts.
fn are_apart(mut parts: Vec<(usize, usize)>) -> bool {
    parts.sort_unstable();
    parts.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0)
}

#[test]
fn what_comes_slowly_by_one_connection_is_read_by_several() {
    let whole = Arc::new(content(SIZE));
    for from in [0, 1_000_003] {
        let peer = slow(&whole, Vec::new());
        let read = read_from(&peer, &whole, from as u64, 4).read.unwrap();
        assert!(read == whole[from..], "the bytes from {from} on");
        let first = if from == 0 { String::new() } else { format!("bytes={from}-") };
        assert_eq!(peer.seen()[0].header("range"), first);
        let parts = parts(&peer);
        assert!(parts.len() >= 3 && are_apart(parts.clone()), "{parts:?}");
        assert!(parts.iter().all(|(_, length)| *length <= PART), "{parts:?}");
        // Nothing is asked for again at its end: each but the last begins where the one before ends.
        let asked: usize = parts.iter().map(|(_, length)| length).sum();
        let begin = parts.iter().map(|(first, _)| *first).min().unwrap();
        assert_eq!(begin + asked, SIZE, "{parts:?}");
        assert!(begin >= from + PART, "the reader goes on by himself meanwhile: {parts:?}");
    }
}

#[test]
fn a_single_connection_reads_one_stream() {
    let whole = Arc::new(content(6 << 20));
    let peer = slow(&whole, Vec::new());
    assert!(read_from(&peer, &whole, 0, 1).read.unwrap() == *whole);
    assert_eq!(peer.seen().len(), 1);
}

#[test]
fn a_host_without_ranges_is_read_by_the_stream_that_was_begun() {
    let whole = Arc::new(content(SIZE));
    for status in [200, 416] {
        let served = Arc::clone(&whole);
        let peer = Peer::serve(move |seen| {
            let status = if seen.header("range").is_empty() { 200 } else { status };
            Reply::new(status, if status == 200 { served.to_vec() } else { Vec::new() }).paced(PACE)
        });
        assert!(read_from(&peer, &whole, 0, 4).read.unwrap() == *whole, "{status}");
        let seen: Vec<String> = peer.seen().iter().map(|seen| seen.header("range").to_owned()).collect();
        assert_eq!(seen.len(), 2, "it is asked once whether it has ranges: {seen:?}");
        assert!(seen[0].is_empty() && seen[1].starts_with("bytes="), "{seen:?}");
    }
}

#[test]
fn a_part_that_is_cut_short_or_refused_for_a_moment_goes_on_at_its_byte() {
    let whole = Arc::new(content(SIZE));
    let cut: Box<Fault> = Box::new(|reply, _| reply.cut(1_500_000));
    let at_once: Box<Fault> = Box::new(|reply, _| reply.cut(0));
    let short = {
        let whole = Arc::clone(&whole);
        let short = move |_: Reply, (first, _): (usize, usize)| {
            let told = format!("bytes {first}-{}/{SIZE}", first + 1_999_999);
            Reply::new(206, &whole[first..first + 2_000_000]).with("Content-Range", told)
        };
        Box::new(short) as Box<Fault>
    };
    let busy: Box<Fault> = Box::new(|_, _| Reply::new(503, ""));
    for (name, fault, passed) in
        [("cut", cut, 1_500_000), ("cut at once", at_once, 0), ("short", short, 2_000_000), ("busy", busy, 0)]
    {
        let peer = slow(&whole, vec![fault]);
        let reading = read_from(&peer, &whole, 0, 4);
        assert!(reading.read.unwrap() == *whole, "{name}");
        let parts = parts(&peer);
        let (first, length) = parts[0];
        assert!(parts.contains(&(first + passed, length - passed)), "{name}: {parts:?}");
        let again: Vec<_> = parts[1..].to_vec();
        assert!(are_apart(again), "{name}: nothing else is asked for again: {parts:?}");
        let notices = reading.notices.lock().unwrap();
        assert!(matches!(notices[..], [Notice::Retry { failed: 1, .. }]), "{name}: {notices:?}");
    }
}

#[test]
fn a_limit_on_requests_is_waited_for_by_the_part_that_met_it() {
    let whole = Arc::new(content(SIZE));
    let limit: Box<Fault> = Box::new(|_, _| Reply::new(429, "").with("Retry-After", 1));
    let peer = slow(&whole, vec![limit]);
    let reading = read_from(&peer, &whole, 0, 4);
    assert!(reading.read.unwrap() == *whole);
    let notices = reading.notices.lock().unwrap();
    let [Notice::Retry { blob: Some(digest), wait, .. }] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!((digest, *wait), (&blob(&whole).digest, Duration::from_secs(1)));
}

#[test]
fn parts_that_are_never_to_be_had_leave_the_blob_to_one_stream() {
    let whole = Arc::new(content(SIZE));
    for (status, after) in [(403, 0), (500, 0), (429, 3600)] {
        let served = Arc::clone(&whole);
        let peer = Peer::serve(move |seen| match asked(seen.header("range")) {
            Some((_, Some(_))) if after > 0 => Reply::new(status, "").with("Retry-After", after),
            Some((_, Some(_))) => Reply::new(status, ""),
            _ => serve_blob(&served, seen.header("range")).paced(PACE),
        });
        assert!(read_from(&peer, &whole, 0, 4).read.unwrap() == *whole, "{status}");
        let streams = peer.seen().len() - parts(&peer).len();
        assert_eq!(streams, 1, "{status}: {:?}", parts(&peer));
    }
}

#[test]
fn a_part_that_is_given_up_in_its_middle_is_gone_on_with_by_the_reader() {
    let whole = Arc::new(content(SIZE));
    let (served, broken) = (Arc::clone(&whole), Mutex::new(None));
    // A part that is cut, of which the rest is not there when it is asked for the first time.
    let peer = Peer::serve(move |seen| {
        let honest = serve_blob(&served, seen.header("range")).paced(PACE);
        let Some((first, Some(_))) = asked(seen.header("range")) else { return honest };
        let mut broken = broken.lock().unwrap();
        let (start, is_refused) = broken.get_or_insert((first, false));
        if first == *start {
            return honest.cut(1_000_000);
        }
        match first == *start + 1_000_000 && !std::mem::replace(is_refused, true) {
            true => Reply::new(404, ""),
            false => honest,
        }
    });
    assert!(read_from(&peer, &whole, 0, 4).read.unwrap() == *whole);
    let parts = parts(&peer);
    let rest = (parts[0].0 + 1_000_000, parts[0].1 - 1_000_000);
    assert_eq!(parts.iter().filter(|part| **part == rest).count(), 2, "{parts:?}");
}

#[test]
fn a_part_that_is_a_lie_ends_the_reading_by_its_name() {
    let whole = Arc::new(content(SIZE));
    let with = |change: fn(usize, usize) -> (usize, usize, usize)| -> Box<Fault> {
        let whole = Arc::clone(&whole);
        Box::new(move |_, (first, last)| {
            let (first, last, size) = change(first, last);
            let told = format!("bytes {first}-{last}/{size}");
            Reply::new(206, &whole[first..=last]).with("Content-Range", told)
        })
    };
    let longer: Box<Fault> = Box::new(|reply, _| {
        let body = [&reply.body[..], b"x"].concat();
        Reply { body, ..reply }
    });
    for (name, fault, part) in [
        ("other bytes", with(|first, last| (first + 1, last, SIZE)), "Content-Range"),
        ("more bytes", with(|first, _| (first, SIZE - 1, SIZE)), "was asked for"),
        ("of another blob", with(|first, last| (first, last, SIZE + 1)), "expected 25165824"),
        ("more than it says", longer, "Content-Length another number"),
        ("nothing said", Box::new(|_, _| Reply::new(206, "x")), "Content-Range of the answer is missing"),
        ("nonsense", Box::new(|_, _| Reply::new(206, "x").with("Content-Range", "bytes")), "makes no sense"),
    ] {
        let peer = slow(&whole, vec![fault]);
        let error = read_from(&peer, &whole, 0, 4).read.unwrap_err();
        assert!(error.contains(part), "{name}: {error}");
    }
}

#[test]
fn a_reader_that_goes_away_takes_its_connections_along() {
    let whole = Arc::new(content(SIZE));
    let peer = slow(&whole, Vec::new());
    let scratch = Scratch::new();
    let settings = Settings {
        ranges: Ranges { connections: 4, from: 1 },
        ..settings(&scratch, &common::plain(&peer.address()), "{}")
    };
    let repository = Client::new(settings).repository(&reference("registry.test/a")).unwrap();
    let mut reader = repository.blob_in_ranges(&blob(&whole), 0).unwrap();
    let mut buffer = vec![0; 64 << 10];
    let mut read = 0;
    while parts(&peer).len() < 2 {
        read += reader.read(&mut buffer).unwrap();
    }
    assert!(read < SIZE);
    drop(reader);
    let is_there = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim() == "range").count()
    };
    // Others of this program have theirs beside: so it may wait for these, and never sees more.
    testkit::wait_until("no connection reads on", || is_there() == 0);
}
