//! What is known of files of the web before they are fetched, from a server that changes its mind.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use build::{Source, Step};
use oci::Digest;

use super::{fetch_http, http};
use crate::Result;
use crate::build::session::Session;
use crate::build::tree::Tree;
use crate::build::world::{World, quiet, words};

/// A server that gives these answers, a connection each: the headers that tell of the version, and the file.
fn server(answers: &'static [(&'static str, &'static str)]) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        for (about, file) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines =
                BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::result::Result::ok);
            let is_head = lines.next().unwrap().starts_with("HEAD ");
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let length = file.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n{about}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            if !is_head {
                stream.write_all(file.as_bytes()).unwrap();
            }
        }
    });
    (url, thread)
}

fn identity(session: &Session<'_>, url: &str) -> Digest {
    match http(session, url, None).unwrap() {
        Source::There { identity } => identity,
        Source::Here { tree, .. } => panic!("{tree:?} is here already"),
    }
}

fn fetch(session: &Session<'_>, url: &str) -> Result<Tree> {
    let record = fetch_http(session, url, "file", None, &Step::new(0, session.cancel, &quiet))?;
    Ok(crate::build::world::with(&Tree::empty(), record))
}

/// Else the new file would be kept under the key of the old one, and every later build be given it for that.
#[test]
fn a_file_that_is_replaced_after_it_was_looked_up_is_refused() {
    let world = World::new();
    let (url, server) = server(&[("etag: \"1\"\r\n", "old"), ("etag: \"2\"\r\n", "new")]);
    let session = world.session();
    identity(&session, &url);
    let error = words(&fetch(&session, &url).unwrap_err());
    assert_eq!(error, format!("{url} was changed between two questions; build again"));
    server.join().unwrap();
}

#[test]
fn a_tag_may_become_weak_on_the_way() {
    let world = World::new();
    let (url, server) = server(&[("etag: \"1\"\r\n", "same"), ("etag: W/\"1\"\r\n", "same")]);
    let session = world.session();
    identity(&session, &url);
    fetch(&session, &url).unwrap();
    server.join().unwrap();
}

#[test]
fn a_tag_tells_versions_apart_and_a_time_does_not() {
    const TIME: &str = "last-modified: Thu, 01 Jan 1970 00:00:01 GMT\r\n";
    let world = World::new();
    let (url, tagged) =
        server(&[("etag: \"1\"\r\n", "file"), ("etag: \"1\"\r\n", "file"), ("etag: \"2\"\r\n", "file")]);
    let each = [(); 3].map(|()| identity(&world.session(), &url));
    tagged.join().unwrap();
    assert!(each[0] == each[1] && each[1] != each[2], "{each:?}");
    let (url, timed) = server(&[(TIME, "one"), (TIME, "two")]);
    let each = [(); 2].map(|()| identity(&world.session(), &url));
    timed.join().unwrap();
    assert_ne!(each[0], each[1], "each build looks for itself");
}
