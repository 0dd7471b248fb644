//! Large blobs, which the kernel sends from their files: every byte of them, in any part, order and company.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod registry;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use registry::{Registry, Request, Response, digest};

/// Bytes that no two places have alike, some more than whole pieces of what is sent at once.
fn large() -> Vec<u8> {
    let mut state = 1_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..(5 << 20) + 4097).map(step).collect()
}

fn path(content: &[u8]) -> String {
    format!("/v2/app/blobs/{}", digest(content))
}

#[test]
fn any_part_of_a_large_blob_is_that_part() {
    let registry = Registry::start(&[]);
    let content = large();
    registry.push("app", &content);
    assert!(registry.get(&path(&content)).body == content);
    let last = content.len() - 1;
    for (first, end) in [
        (0, last),
        (1, last),
        (4095, 4096 + (64 << 10)),
        (0, (64 << 10) - 1),
        (0, (64 << 10) - 2),
        (1 << 20, (2 << 20) - 1),
        ((1 << 20) - 1, (3 << 20) + 1),
        (last - 100_000, last),
        (last, last),
    ] {
        let part = Request::new("GET", &path(&content)).header("range", &format!("bytes={first}-{end}"));
        assert!(registry.send(&part).body == content[first..=end], "{first} to {end}");
    }
}

#[test]
fn answers_on_one_connection_come_in_their_order_and_whole() {
    let registry = Registry::start(&[]);
    let (content, small) = (large(), b"small".as_slice());
    registry.push("app", &content);
    registry.push("app", small);
    let mut stream = TcpStream::connect(registry.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let kept = |method: &str, path: &str, more: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: registry\r\n{more}\r\n")
    };
    // All of them at once, before anything is read.
    let wanted: [(&str, &[u8], &str, &[u8]); 6] = [
        ("GET", small, "", small),
        ("GET", &content, "", &content),
        ("HEAD", &content, "", b""),
        ("GET", &content, "Range: bytes=300000-4000000\r\n", &content[300_000..=4_000_000]),
        ("GET", small, "", small),
        ("GET", &content, "", &content),
    ];
    let asked: String =
        wanted.iter().map(|(method, blob, more, _)| kept(method, &path(blob), more)).collect();
    stream.write_all(asked.as_bytes()).unwrap();
    // A reader that takes its time, so that what is sent is sent in parts.
    let mut reader = Slow(stream);
    for (method, _, more, body) in wanted {
        let answer = Response::read_one(&mut reader, method == "HEAD");
        assert!(answer.body == body, "{method} {more}: {} bytes", answer.body.len());
    }
}

/// Gives odd numbers of bytes, and not all at once.
struct Slow(TcpStream);

impl std::io::Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(77_777);
        if most == 77_777 {
            std::thread::yield_now();
        }
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn a_blob_that_the_disk_has_lost_a_part_of_ends_in_a_cut_and_nothing_else() {
    let registry = Registry::start(&[]);
    let (content, other) = (large(), vec![7; 300_000]);
    registry.push("app", &content);
    registry.push("app", &other);
    let folder = registry.root().join("blobs").join(&digest(&content)[7..9]);
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut stream = TcpStream::connect(registry.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(2_000_001).unwrap();
    stream.write_all(Request::new("GET", &path(&content)).head().as_bytes()).unwrap();
    let mut got = Vec::new();
    drop(stream.read_to_end(&mut got));
    let head = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(content.starts_with(&got[head..]) && got.len() - head <= 2_000_001, "{} bytes", got.len() - head);
    assert!(registry.get(&path(&other)).body == other, "others are served");
}

#[test]
fn clients_that_go_in_the_middle_take_nothing_from_others() {
    let registry = Registry::start(&[]);
    let content = large();
    registry.push("app", &content);
    std::thread::scope(|scope| {
        for number in 0..8_usize {
            let (registry, content) = (&registry, &content);
            scope.spawn(move || {
                for _ in 0..3 {
                    let mut stream = TcpStream::connect(registry.address).unwrap();
                    stream.write_all(Request::new("GET", &path(content)).head().as_bytes()).unwrap();
                    let mut some = vec![0; 1000 + number * 100_000];
                    stream.read_exact(&mut some).unwrap();
                    drop(stream);
                    assert!(registry.get(&path(content)).body == *content);
                }
            });
        }
    });
}
