//! The tar parser against archives that GNU tar writes, and against damaged ones.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files and fail by panicking")]

use image::tar::{Entry, Error, Kind, Limits, Parser, Summary};
use std::process::Command;

/// Parses `archive` in pieces of `step` bytes.
fn parse(archive: &[u8], step: usize) -> Result<(Vec<Entry>, Summary), Error> {
    let mut entries = Vec::new();
    let mut parser = Parser::new(Limits::default());
    for piece in archive.chunks(step) {
        parser.push(piece, &mut |entry| {
            entries.push(entry);
            Ok::<_, Error>(())
        })?;
    }
    Ok((entries, parser.finish()?))
}

#[test]
fn smoke() {
    for format in ["v7", "oldgnu", "gnu", "ustar", "pax"] {
        let out = Command::new("tar")
            .args(["--format", format, "-cf", "-", "-C", "/usr/share", "doc/tar"])
            .output()
            .unwrap();
        let (entries, summary) = parse(&out.stdout, 10_000).unwrap();
        assert!(entries.iter().any(|entry| matches!(entry.kind, Kind::File(_))));
        assert!(summary.terminated);
    }
}
