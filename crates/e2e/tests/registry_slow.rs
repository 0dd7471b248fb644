//! Clients that take nothing, send nothing, or drip: each is cut, and nothing of it stays open.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod registry;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use registry::{Registry, Request, Response};
use testkit::wait_until;

/// Far more than the buffers of a connection take.
const LARGE: usize = 48 << 20;

/// Long enough for an honest client on a busy machine.
fn start() -> Registry {
    Registry::start(&["--client-timeout", "3s"])
}

/// How many of the server's descriptors are files below its folder of blobs.
fn open_blobs(registry: &mut Registry) -> usize {
    let blobs = registry.root().join("blobs");
    let descriptors = format!("/proc/{}/fd", registry.server().id());
    let links = std::fs::read_dir(descriptors).unwrap().flatten();
    links.filter(|link| std::fs::read_link(link.path()).is_ok_and(|to| to.starts_with(&blobs))).count()
}

#[test]
fn a_client_that_takes_nothing_is_cut_and_holds_nothing() {
    let mut registry = start();
    let name = registry.push("a", &vec![7; LARGE]);
    let request = Request::new("GET", &format!("/v2/a/blobs/{name}"));
    let mut stream = TcpStream::connect(registry.address).unwrap();
    stream.write_all(request.head().as_bytes()).unwrap();
    wait_until("the blob is being sent", || open_blobs(&mut registry) == 1);
    wait_until("nobody reads the blob any more", || open_blobs(&mut registry) == 0);
    let mut content = Vec::new();
    // Cut, in whichever way.
    drop(stream.read_to_end(&mut content));
    assert!(content.len() < LARGE, "{} bytes have come to one who did not take them", content.len());
    assert_eq!(registry.send(&request).body.len(), LARGE, "others are served");
}

#[test]
fn a_body_that_does_not_come_is_given_up_and_what_came_stays() {
    let registry = Registry::start(&["--client-timeout", "3s", "--uploads-per-client", "1"]);
    let location = registry.begin("a");
    let mut stream = TcpStream::connect(registry.address).unwrap();
    let patch = Request::new("PATCH", &location).body(&[1; 10]);
    stream.write_all(patch.head().as_bytes()).unwrap();
    stream.write_all(&[1; 5]).unwrap();
    Response::read(&mut stream, false).refused(408, "BLOB_UPLOAD_INVALID");
    let status = registry.get(&location);
    assert_eq!((status.status, status.header("range")), (204, Some("0-4")));
    let rest = Request::new("PATCH", &location).header("content-range", "5-9").body(&[1; 5]);
    assert_eq!(registry.send(&rest).status, 202, "the seat is free again");
}

#[test]
fn a_body_that_drips_is_given_up_too() {
    let registry = start();
    let mut stream = TcpStream::connect(registry.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let patch = Request::new("PATCH", &registry.begin("a")).body(&[1; 10_000]);
    stream.write_all(patch.head().as_bytes()).unwrap();
    let mut answer = Vec::new();
    wait_until("the server has had enough", || {
        std::thread::sleep(Duration::from_millis(50));
        drop(stream.write_all(&[1]));
        let mut part = [0; 1000];
        let count = stream.read(&mut part).unwrap_or(0);
        answer.extend_from_slice(&part[..count]);
        answer.starts_with(b"HTTP/1.1 408")
    });
}

#[test]
fn a_head_that_does_not_come_or_drips_is_not_waited_for() {
    let registry = start();
    let mut silent = TcpStream::connect(registry.address).unwrap();
    silent.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n").unwrap();
    let mut dripping = TcpStream::connect(registry.address).unwrap();
    dripping.write_all(b"GET /v2/ HTTP/1.1\r\nX: ").unwrap();
    wait_until("the dripping head is cut", || {
        std::thread::sleep(Duration::from_millis(50));
        dripping.write_all(b"a").is_err()
    });
    let mut answer = Vec::new();
    // To the end, which only the server can have brought.
    drop(silent.read_to_end(&mut answer));
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    drop(silent.shutdown(Shutdown::Both));
}
