//! Files of any web server: versions that are known, cuts, changes in the middle, limits, and where credentials go.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{asked, content, told};
use oci::Digest;
use registry_client::web::{
    Address, Authorization, Download, DownloadReader, Downloaded, Known, Request, Verb,
};
use registry_client::{Client, Error, Settings};
use testkit::{Peer, Reply, Seen};

fn client() -> Client {
    Client::new(Settings { patience: common::patience(), ..Settings::default() })
}

fn begin(address: &str) -> Result<Downloaded, Error> {
    begin_with(address, 8 << 20, None, &[])
}

fn begin_with(
    address: &str,
    limit: u64,
    checksum: Option<&Digest>,
    known: &[Known],
) -> Result<Downloaded, Error> {
    let address: Address = address.parse().unwrap();
    let authorization = address.authorization.as_ref();
    client().download(&Download { url: &address.url, authorization, limit, checksum, known })
}

fn new(downloaded: Downloaded) -> DownloadReader {
    match downloaded {
        Downloaded::New(reader) => *reader,
        Downloaded::Unchanged { .. } => panic!("{downloaded:?}"),
    }
}

/// All of it, or what reading it fails with; a reader that failed stays failed.
fn read(mut reader: DownloadReader) -> Result<(Vec<u8>, Digest), String> {
    let mut read = Vec::new();
    let outcome = reader.read_to_end(&mut read);
    if let Err(error) = outcome {
        assert!(reader.read(&mut [0; 10]).is_err() && reader.digest().is_none());
        return Err(told(error.get_ref().unwrap()));
    }
    assert_eq!(reader.received(), read.len() as u64);
    Ok((read, reader.digest().unwrap().clone()))
}

/// A server that gives a file with a validator, cut after `cut` bytes of each answer, and honours ranges if it is told to.
fn cutting(file: Vec<u8>, validator: (&'static str, &'static str), cut: usize, ranges: bool) -> Peer {
    Peer::serve(move |seen| {
        let (name, value) = validator;
        let reply = match asked(seen.header("range")) {
            Some((first, _)) if ranges && seen.header("if-range") == value => {
                let told = format!("bytes {first}-{}/{}", file.len() - 1, file.len());
                Reply::new(206, &file[first..]).with("Content-Range", told)
            }
            _ => Reply::new(200, &file[..]),
        };
        let reply = if value.is_empty() { reply } else { reply.with(name, value) };
        reply.with("Date", "Sun, 22 Nov 2026 00:00:00 GMT").cut(cut)
    })
}

#[test]
fn a_download_goes_on_after_cuts_where_its_server_gives_ranges() {
    let file = content(3 << 20);
    for validator in [("ETag", "\"one\""), ("Last-Modified", "Sat, 21 Nov 2026 18:46:24 GMT")] {
        let peer = cutting(file.clone(), validator, 1 << 20, true);
        let downloaded = begin(&format!("http://{}/a/file.bin?x", peer.address())).unwrap();
        let reader = new(downloaded);
        assert_eq!(reader.about().file_name.as_deref(), Some("file.bin"));
        assert_eq!(reader.about().size, Some(3 << 20));
        let (found, digest) = read(reader).unwrap();
        assert!(found == file && digest == Digest::of(&file));
        let ranges: Vec<String> = peer.seen().iter().map(|seen| seen.header("range").to_owned()).collect();
        assert_eq!(ranges, ["", "bytes=1048576-", "bytes=2097152-"], "{validator:?}");
    }
}

#[test]
fn a_beginning_that_comes_again_is_skipped_if_it_is_the_same() {
    // Neither a weak tag, nor a time that is not over, tells that a range is of the same content.
    for validator in [("", ""), ("ETag", "W/\"one\""), ("Last-Modified", "Sun, 22 Nov 2026 00:00:00 GMT")] {
        let file = content(1 << 20);
        let turn = AtomicUsize::new(0);
        let all = file.clone();
        let peer = Peer::serve(move |seen| {
            assert_eq!(seen.header("range"), "");
            let reply = Reply::new(200, &all[..]).with("Date", "Sun, 22 Nov 2026 00:00:00 GMT");
            let reply = if validator.1.is_empty() { reply } else { reply.with(validator.0, validator.1) };
            match turn.fetch_add(1, Ordering::SeqCst) {
                0 => reply.cut(300_000),
                1 => reply.cut(100_000),
                _ => reply,
            }
        });
        let (found, digest) = read(new(begin(&format!("http://{}/", peer.address())).unwrap())).unwrap();
        assert!(found == file && digest == Digest::of(&file));
        assert_eq!(peer.seen().len(), 3);
    }
}

#[test]
fn content_that_changes_in_the_middle_is_an_error() {
    for (tag, size) in [("\"two\"", 1 << 20), ("", 1 << 20), ("", 1000)] {
        let turn = AtomicUsize::new(0);
        let peer = Peer::serve(move |_| match turn.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::new(200, content(1 << 20)).with("ETag", "\"one\"").cut(200_000),
            _ => Reply::new(200, vec![7; size]).with("ETag", tag),
        });
        let error = read(new(begin(&format!("http://{}/x", peer.address())).unwrap())).unwrap_err();
        assert!(error.contains("expected") && error.contains("damaged"), "{error}");
    }
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let turn = AtomicUsize::new(0);
    let peer = Peer::serve(move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(200, content(1000)).with("ETag", "\"one\"").cut(500),
        _ => Reply::new(206, content(900)).with("Content-Range", "bytes 100-999/1000"),
    });
    let error = read(new(begin(&format!("http://{}/x", peer.address())).unwrap())).unwrap_err();
    assert!(error.contains("Content-Range") && error.contains("500"), "{error}");
}

#[test]
fn a_version_that_is_known_is_not_sent_again() {
    let known = |etag: &str| Known { etag: Some(etag.to_owned()), last_modified: None };
    let all = [known("\"zero\""), known("W/\"one\"")];
    // (status, tag of the answer, what is known, the place that is told, or a body)
    let cases: [(u16, &str, &[Known], Option<usize>); 5] = [
        (304, "\"one\"", &all, Some(1)),
        (304, "", &all[1..], Some(0)),
        (200, "W/\"zero\"", &all, Some(0)),
        (200, "\"new\"", &all, None),
        // It does not say which: it is asked again, without conditions.
        (304, "", &all, None),
    ];
    for (status, tag, known, want) in cases {
        let peer = Peer::serve(move |seen| {
            let status = if seen.header("if-none-match").is_empty() { 200 } else { status };
            let body = if status == 304 { &b""[..] } else { b"body" };
            let reply = Reply::new(status, body).with("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
            if tag.is_empty() { reply } else { reply.with("ETag", tag) }
        });
        let address = format!("http://{}/file", peer.address());
        match (begin_with(&address, 100, None, known).unwrap(), want) {
            (Downloaded::Unchanged { place, about }, Some(want)) => {
                assert_eq!((place, about.modified), (want, Some(784_111_777)));
            }
            (Downloaded::New(reader), None) => assert_eq!(read(*reader).unwrap().0, b"body"),
            (found, want) => panic!("{status} {tag}: {found:?}, not {want:?}"),
        }
        assert!(peer.seen()[0].header("if-none-match").contains("\"one\""));
    }
}

#[test]
fn limits_and_checksums_hold() {
    let peer = Peer::serve(|_| Reply::new(200, content(5000)));
    let address = format!("http://{}/x", peer.address());
    let error = begin_with(&address, 4999, None, &[]).unwrap_err();
    assert!(matches!(error, Error::TooMuch { limit: 4999, .. }), "{error}");
    let right = Digest::of(&content(5000));
    let of = |checksum: &Digest| {
        let begun = begin_with(&address, 5000, Some(checksum), &[]);
        begun.map_err(|error| error.to_string()).and_then(|begun| read(new(begun)))
    };
    assert_eq!(of(&right).unwrap().1, right);
    assert!(of(&Digest::of(b"else")).unwrap_err().contains("the digest is"));
    let error = of(&format!("sha384:{}", "0".repeat(96)).parse().unwrap()).unwrap_err();
    assert!(error.contains("sha256"), "{error}");
}

#[test]
fn who_we_are_is_told_to_one_origin_alone() {
    let far = Peer::serve(|seen| Reply::new(200, seen.header("authorization")));
    let target = format!("http://{}/far", far.address());
    let near = Peer::serve(move |seen| match seen.path.as_str() {
        "/away" => Reply::new(302, "").with("Location", &target),
        "/on" => Reply::new(301, "").with("Location", "/near"),
        _ => Reply::new(200, seen.header("authorization")),
    });
    for (path, want) in [("near", "Basic dTpw"), ("on", "Basic dTpw"), ("away", "")] {
        let reader = new(begin(&format!("http://u:p@{}/{path}", near.address())).unwrap());
        assert_eq!(read(reader).unwrap().0, want.as_bytes(), "{path}");
    }
    assert!(near.seen().iter().all(|seen: &Seen| seen.header("accept-encoding") == "identity"));
    assert_eq!(far.seen().len(), 1);
}

#[test]
fn refusals_say_what_they_are() {
    let peer = Peer::serve(|seen| Reply::new(seen.path[1..].parse().unwrap(), "nothing that matters"));
    let of = |status: u16| begin(&format!("http://{}/{status}", peer.address())).unwrap_err();
    assert!(matches!(of(401), Error::Denied { status: 401, shown: false, .. }));
    assert!(matches!(of(404), Error::Missing { status: 404, .. }));
    assert!(matches!(of(206), Error::Status { status: 206, .. }));
    let requests = peer.seen().len();
    assert!(matches!(of(503), Error::Status { status: 503, .. }));
    assert_eq!(peer.seen().len() - requests, 4, "what passes is tried as often as patience says");
}

#[test]
fn a_file_is_asked_about_as_its_server_answers() {
    let peer = Peer::serve(|seen| match (seen.method.as_str(), seen.path.as_str()) {
        ("HEAD", "/signed") => Reply::new(403, ""),
        (_, "/none") => Reply::new(404, ""),
        (_, "/closed") => Reply::new(401, ""),
        _ => {
            Reply::new(200, content(4 << 20)).with("ETag", "\"one\"").with("Content-Type", "Text/Plain; x=y")
        }
    });
    let of = |path: &str| {
        let url = format!("http://{}{path}", peer.address()).parse().unwrap();
        client().about(&url, None)
    };
    for path in ["/plain", "/signed"] {
        let about = of(path).unwrap();
        assert_eq!((about.size, about.media_type.as_deref()), (Some(4 << 20), Some("text/plain")));
        assert_eq!(about.known.etag.as_deref(), Some("\"one\""));
        assert_eq!(about.file_name.as_deref(), Some(&path[1..]));
    }
    assert!(matches!(of("/none").unwrap_err(), Error::Missing { .. }));
    assert!(matches!(of("/closed").unwrap_err(), Error::Denied { .. }));
    let asked = ["HEAD /plain", "HEAD /signed", "GET /signed", "HEAD /none", "HEAD /closed", "GET /closed"];
    assert_eq!(peer.lines(), asked);
}

#[test]
fn loops_of_redirects_end() {
    let peer = Peer::serve(|_| Reply::new(302, "").with("Location", "/again"));
    let error = begin(&format!("http://{}/", peer.address())).unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    assert!(peer.seen().len() < 20);
}

#[test]
fn what_is_asked_with_a_body_goes_where_it_is_told() {
    let peer = Peer::serve(|seen| match seen.path.as_str() {
        "/old" => Reply::new(307, "").with("Location", "/new"),
        _ => Reply::new(200, [seen.method.as_bytes(), b" ", &seen.body].concat())
            .with("X-Kind", seen.header("kind")),
    });
    let url = format!("http://{}/old", peer.address()).parse().unwrap();
    let headers = [("kind", "a b".to_owned())];
    let request =
        Request { verb: Verb::Post, url: &url, authorization: None, headers: &headers, body: b"sent" };
    let mut answer = client().ask(&request).unwrap();
    assert_eq!((answer.status(), answer.header("x-kind")), (200, Some("a b")));
    assert!(answer.url().path == "/new");
    let mut body = String::new();
    answer.read_to_string(&mut body).unwrap();
    assert_eq!(body, "POST sent");
    let broken = [("kind", "a\r\nb".to_owned())];
    assert!(client().ask(&Request { headers: &broken, ..request.clone() }).is_err());
    let secret = Authorization::new("a\r\nb");
    let request = Request { authorization: Some(&secret), headers: &[], ..request };
    let error = told(&client().ask(&request).unwrap_err());
    assert!(!error.contains("a\r\nb"), "{error}");
}
