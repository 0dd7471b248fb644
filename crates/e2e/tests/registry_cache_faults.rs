//! A registry that stands in for another one, when that one stops in the middle or lies, clients go away, or it is killed itself.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod registry;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use registry::{Registry, Request, digest};
use testkit::{Peer, Reply, wait_until};

/// An upstream of one blob, that stops in the middle of it until it is let go.
struct Halting {
    address: SocketAddr,
    /// From where on it was asked for.
    asked: Arc<Mutex<Vec<usize>>>,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Halting {
    /// Sends `content`, whatever it is asked for, or what is left of it behind a byte.
    fn start(content: Vec<u8>) -> Halting {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, gate) = (Arc::default(), Arc::new((Mutex::new(false), Condvar::new())));
        let (count, opened) = (Arc::clone(&asked), Arc::clone(&gate));
        // It ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, count, opened) = (content.clone(), Arc::clone(&count), Arc::clone(&opened));
                std::thread::spawn(move || serve_halting(stream, &content, &count, &opened));
            }
        });
        Halting { address, asked, gate }
    }

    fn go_on(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve_halting(
    mut stream: TcpStream,
    content: &[u8],
    asked: &Mutex<Vec<usize>>,
    gate: &(Mutex<bool>, Condvar),
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
    let from = request.split("range: bytes=").nth(1).map(|rest| rest.split('-').next().unwrap());
    let from: usize = from.map_or(0, |from| from.parse().unwrap());
    let (size, rest) = (content.len(), &content[from..]);
    let status = match from {
        0 => "200 OK".to_owned(),
        _ => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}", size - 1),
    };
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", rest.len());
    if request.starts_with("head") {
        drop(stream.write_all(head.as_bytes()));
        return;
    }
    asked.lock().unwrap().push(from);
    let (first, second) = rest.split_at((size / 2).saturating_sub(from));
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(first)));
    let mut is_open = gate.0.lock().unwrap();
    while !*is_open {
        is_open = gate.1.wait(is_open).unwrap();
    }
    drop(is_open);
    drop(stream.write_all(second));
}

/// Large enough that halves of it pass through all buffers.
fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect()
}

/// A client that has asked for a blob and read so many bytes of it.
struct Reading(TcpStream, Vec<u8>);

impl Reading {
    fn begin(cache: &Registry, name: &str) -> Reading {
        let mut stream = TcpStream::connect(cache.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let request = Request::new("GET", &format!("/v2/app/blobs/{name}"));
        stream.write_all(request.head().as_bytes()).unwrap();
        Reading(stream, Vec::new())
    }

    /// Reads until so many bytes have come, with those of the head.
    fn read(&mut self, bytes: usize) {
        while self.1.len() < bytes {
            let mut part = vec![0; 64 << 10];
            let count = self.0.read(&mut part).unwrap();
            assert!(count > 0, "cut at {}", self.1.len());
            self.1.extend_from_slice(&part[..count]);
        }
    }

    /// Reads to the end, which may be a cut; the body.
    fn rest(mut self) -> Vec<u8> {
        drop(self.0.read_to_end(&mut self.1));
        let head = self.1.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        self.1.split_off(head)
    }
}

#[test]
fn clients_that_ask_for_one_blob_at_once_share_one_fetch_and_read_while_it_comes() {
    let content = large();
    let upstream = Halting::start(content.clone());
    let cache = Registry::standing_in_for(&upstream.url(), &[]);
    let mut readers: Vec<Reading> = (0..4).map(|_| Reading::begin(&cache, &digest(&content))).collect();
    // Upstream has stopped in the middle, and everybody has what it has sent.
    readers.iter_mut().for_each(|reader| reader.read(content.len() / 2));
    assert_eq!(upstream.asked(), 1);
    // Who goes away takes nothing from the others, nor from the fetch.
    drop(readers.pop());
    upstream.go_on();
    for reader in readers {
        assert!(reader.rest() == content);
    }
    assert!(cache.get(&format!("/v2/app/blobs/{}", digest(&content))).body == content);
    assert_eq!(upstream.asked(), 1, "and it is kept");
}

#[test]
fn a_fetch_goes_on_when_its_only_client_has_gone() {
    let content = large();
    let upstream = Halting::start(content.clone());
    let cache = Registry::standing_in_for(&upstream.url(), &[]);
    let mut reader = Reading::begin(&cache, &digest(&content));
    reader.read(content.len() / 2);
    drop(reader);
    upstream.go_on();
    wait_until("the blob is kept", || cache.files("blobs") == 1 && cache.files("uploads") == 0);
    assert!(cache.get(&format!("/v2/app/blobs/{}", digest(&content))).body == content);
    assert_eq!(upstream.asked(), 1);
}

#[test]
fn a_lie_of_upstreams_reaches_nobody_whole_and_is_not_kept() {
    let content = large();
    let upstream = Halting::start(content.clone());
    let cache = Registry::standing_in_for(&upstream.url(), &[]);
    let name = digest(b"something else");
    let mut reader = Reading::begin(&cache, &name);
    reader.read(content.len() / 2);
    let part = Request::new("GET", &format!("/v2/app/blobs/{name}")).header("range", "bytes=0-99");
    let mut second = TcpStream::connect(cache.address).unwrap();
    second.write_all(part.head().as_bytes()).unwrap();
    upstream.go_on();
    let got = reader.rest();
    assert!(got.len() < content.len(), "all {} bytes of a lie", got.len());
    let mut answer = Vec::new();
    drop(second.read_to_end(&mut answer));
    let body =
        answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |head| answer.len() - head - 4);
    assert!(body < 100, "a part of a lie came whole");
    wait_until("nothing of it is left", || cache.files("uploads") == 0);
    assert_eq!(cache.files("blobs"), 0);
    assert!(cache.log().contains("it is not kept"), "{}", cache.log());
}

/// A cache that was killed when half of `content` had come.
fn killed_halfway(upstream: &Halting, content: &[u8]) -> Registry {
    let mut cache = Registry::standing_in_for(&upstream.url(), &[]);
    let mut reader = Reading::begin(&cache, &digest(content));
    reader.read(content.len() / 2);
    assert_eq!(cache.files("uploads"), 1);
    cache.kill_and_restart();
    assert_eq!((cache.files("uploads"), cache.files("blobs")), (1, 0));
    cache
}

#[test]
fn a_cache_that_is_killed_in_a_fetch_goes_on_where_it_was() {
    let content = large();
    let upstream = Halting::start(content.clone());
    let mut cache = killed_halfway(&upstream, &content);
    // What has come is there at once, before upstream goes on.
    let mut reader = Reading::begin(&cache, &digest(&content));
    reader.read(content.len() / 4);
    upstream.go_on();
    assert!(reader.rest() == content);
    let asked = upstream.asked.lock().unwrap().clone();
    assert!(asked.len() == 2 && asked[1] > content.len() / 4, "asked from {asked:?} on");
    wait_until("nothing else is left", || (cache.files("uploads"), cache.files("blobs")) == (0, 1));
    cache.kill_and_restart();
    assert!(cache.get(&format!("/v2/app/blobs/{}", digest(&content))).body == content);
    assert_eq!(upstream.asked(), 2, "what was served to its end is there after a kill");
}

#[test]
fn what_a_killed_cache_has_left_is_not_believed() {
    let content = large();
    // As after a loss of power, and as no fetch leaves it.
    for (damaged, length) in [("zeros", content.len() / 4), ("too much", content.len() + 1)] {
        let upstream = Halting::start(content.clone());
        let cache = killed_halfway(&upstream, &content);
        upstream.go_on();
        let left = std::fs::read_dir(cache.root().join("uploads")).unwrap().next().unwrap().unwrap().path();
        std::fs::write(&left, vec![0; length]).unwrap();
        let got = Reading::begin(&cache, &digest(&content)).rest();
        assert!(got.len() < content.len(), "{damaged}: all {} bytes of what is wrong", got.len());
        wait_until("it is not kept", || cache.files("uploads") == 0);
        assert!(cache.get(&format!("/v2/app/blobs/{}", digest(&content))).body == content, "{damaged}");
    }
}

/// An upstream of one blob, that breaks off in the middle and is away then, as long as it is told so; or does not have it at all.
fn breaking(content: &[u8], is_broken: &Arc<AtomicBool>, is_gone: &Arc<AtomicBool>) -> Peer {
    let (content, is_broken, is_gone) = (content.to_vec(), Arc::clone(is_broken), Arc::clone(is_gone));
    Peer::serve(move |seen| {
        if is_gone.load(Ordering::SeqCst) {
            return Reply::new(404, "{}");
        }
        let from = seen.header("range").strip_prefix("bytes=").map(|range| range.trim_end_matches('-'));
        let from: usize = from.map_or(0, |from| from.parse().unwrap());
        let broken = is_broken.load(Ordering::SeqCst);
        if broken && from > 0 {
            return Reply::new(503, "");
        }
        let last = content.len() - 1;
        let reply = match from {
            0 => Reply::new(200, content.clone()),
            _ => Reply::new(206, &content[from..])
                .with("content-range", format!("bytes {from}-{last}/{}", content.len())),
        };
        if broken { reply.cut(content.len() / 2) } else { reply }
    })
}

#[test]
fn a_fetch_that_broke_goes_on_at_the_byte_where_it_broke() {
    let content = large();
    let is_broken = Arc::new(AtomicBool::new(true));
    let peer = breaking(&content, &is_broken, &Arc::default());
    let cache = Registry::standing_in_for(&format!("http://{}", peer.address()), &[]);
    let path = format!("/v2/app/blobs/{}", digest(&content));
    let got = Reading::begin(&cache, &digest(&content)).rest();
    assert!(got.len() <= content.len() / 2, "{} bytes came of {}", got.len(), content.len() / 2);
    assert!(content.starts_with(&got));
    wait_until("the fetch is given up", || cache.log().contains("given up"));
    is_broken.store(false, Ordering::SeqCst);
    let before = peer.seen().len();
    assert!(cache.get(&path).body == content);
    let ranges: Vec<String> = peer.seen()[before..]
        .iter()
        .map(|seen| format!("{} {}", seen.method, seen.header("range")))
        .collect();
    assert_eq!(ranges, ["HEAD ".to_owned(), format!("GET bytes={}-", content.len() / 2)]);
    wait_until("nothing else is left", || (cache.files("uploads"), cache.files("blobs")) == (0, 1));
}

#[test]
fn what_is_left_of_a_fetch_goes_when_nobody_goes_on_with_it_or_upstream_has_it_no_more() {
    let content = large();
    let (is_broken, is_gone) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let peer = breaking(&content, &is_broken, &is_gone);
    let url = format!("http://{}", peer.address());
    let (short, long) =
        (Registry::standing_in_for(&url, &["--upload-expiry", "1s"]), Registry::standing_in_for(&url, &[]));
    for cache in [&short, &long] {
        drop(Reading::begin(cache, &digest(&content)).rest());
        wait_until("the fetch is given up", || cache.log().contains("given up"));
    }
    wait_until("what came of it has expired", || short.files("uploads") == 0);
    assert_eq!(long.files("uploads"), 1);
    is_gone.store(true, Ordering::SeqCst);
    long.get(&format!("/v2/app/blobs/{}", digest(&content))).refused(404, "BLOB_UNKNOWN");
    assert_eq!(long.files("uploads"), 0);
}
