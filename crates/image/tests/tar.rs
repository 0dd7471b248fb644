//! The tar parser: what it makes of archives, of damaged ones, and of hostile ones.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail by panicking"
)]

mod snapshots_support;

use expect_test::{Expect, expect};
use image::tar::{Entry, Error, Kind, Limits, Parser, Summary};
use proptest::prelude::*;
use snapshots_support::{Member, archive, directory, file, hardlink, member, pax, seal, symlink};
use std::process::Command;

/// Parses `archive` in pieces of `step` bytes.
fn parse_with(limits: Limits, archive: &[u8], step: usize) -> Result<(Vec<Entry>, Summary), Error> {
    let mut entries = Vec::new();
    let mut parser = Parser::new(limits);
    for piece in archive.chunks(step) {
        parser.push(piece, &mut |entry| {
            entries.push(entry);
            Ok::<_, Error>(())
        })?;
    }
    Ok((entries, parser.finish()?))
}

fn parse(archive: &[u8]) -> Result<(Vec<Entry>, Summary), Error> {
    parse_with(Limits::default(), archive, 10_000)
}

/// One line per entry, or the error.
fn show(archive: &[u8]) -> String {
    match parse(archive) {
        Ok((entries, _)) => entries.iter().map(|entry| format!("{}\n", line(entry))).collect(),
        Err(error) => format!("{error}\n"),
    }
}

fn line(entry: &Entry) -> String {
    let Entry { path, offset, kind, mode, uid, gid, mtime, xattrs } = entry;
    let mut line = format!("{offset} {path} {mode:o} {uid}:{gid} {}.{:09}", mtime.secs, mtime.nanos);
    line += &match kind {
        Kind::File(content) => {
            let extents: Vec<String> = content
                .extents()
                .iter()
                .map(|extent| format!("{}+{}@{}", extent.offset, extent.length, extent.source))
                .collect();
            format!(" file of {} [{}]", content.size, extents.join(" "))
        }
        Kind::Directory => " directory".into(),
        Kind::Symlink(target) => format!(" -> {}", target.escape_ascii()),
        Kind::Hardlink(target) => format!(" = {target}"),
        Kind::CharDevice(device) => format!(" char {}:{}", device.major, device.minor),
        Kind::BlockDevice(device) => format!(" block {}:{}", device.major, device.minor),
        Kind::Fifo => " fifo".into(),
    };
    for xattr in xattrs {
        line += &format!(" {}={}", xattr.name.escape_ascii(), xattr.value.escape_ascii());
    }
    line
}

fn check(archive: &[u8], expected: Expect) {
    expected.assert_eq(&show(archive));
}

/// The table of what comes of `members`, each in an archive of its own.
fn check_each(archives: &[(&str, Vec<u8>)], expected: Expect) {
    let table: String = archives.iter().map(|(name, bytes)| format!("{name}: {}", show(bytes))).collect();
    expected.assert_eq(&table);
}

/// The blocks of a member, after `change` had its way with the header.
fn changed(base: &Member<'_>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut blocks = member(base);
    change(&mut blocks[..512]);
    seal(&mut blocks[..512]);
    blocks
}

fn closed(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = parts.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn every_kind_of_member() {
    let device = |name, kind: u8| {
        changed(&Member { name, kind, link: b"", data: b"", mode: 0o600 }, |header| {
            header[329..336].copy_from_slice(b"0000010");
            header[337..344].copy_from_slice(b"0000003");
        })
    };
    check(
        &closed(&[
            member(&directory("./")),
            member(&directory("d/")),
            member(&file("d/f", "hello")),
            member(&file("d/empty", "")),
            member(&symlink("d/s", "../anywhere/../at all")),
            member(&hardlink("d/h", "/d/./f")),
            device(b"d/c", b'3'),
            device(b"d/b", b'4'),
            member(&Member { name: b"d/p", kind: b'6', link: b"", data: b"", mode: 0o644 }),
            member(&Member { name: b"contiguous", kind: b'7', link: b"", data: b"x", mode: 0o4755 }),
            member(&Member { name: b"v7-directory/", kind: 0, link: b"", data: b"", mode: 0o755 }),
            member(&Member { name: b"label", kind: b'V', link: b"", data: b"", mode: 0 }),
        ]),
        expect![[r#"
            0 "/" 755 0:0 1000000000.000000000 directory
            512 "d" 755 0:0 1000000000.000000000 directory
            1024 "d/f" 644 0:0 1000000000.000000000 file of 5 [0+5@1536]
            2048 "d/empty" 644 0:0 1000000000.000000000 file of 0 []
            2560 "d/s" 777 0:0 1000000000.000000000 -> ../anywhere/../at all
            3072 "d/h" 600 0:0 1000000000.000000000 = "d/f"
            3584 "d/c" 600 0:0 1000000000.000000000 char 8:3
            4096 "d/b" 600 0:0 1000000000.000000000 block 8:3
            4608 "d/p" 644 0:0 1000000000.000000000 fifo
            5120 "contiguous" 4755 0:0 1000000000.000000000 file of 1 [0+1@5632]
            6144 "v7-directory" 755 0:0 1000000000.000000000 directory
        "#]],
    );
}

#[test]
fn extended_headers_override() {
    check(
        &closed(&[
            pax("path", b"from/pax"),
            pax("mtime", b"5.25"),
            pax("uid", b"3000000"),
            pax("SCHILY.xattr.security.capability", b"\x01\n="),
            pax("LIBARCHIVE.xattr.user.n%61me", b"AQI"),
            pax("comment", b"nothing"),
            member(&file("in header", "abc")),
            pax("linkpath", b"a long target"),
            member(&symlink("s", "short")),
            pax("path", b""),
            member(&file("an empty value withdraws", "")),
            // Where the header says 3 and the record 600, the record is right.
            pax("size", b"600"),
            changed(&file("big", "abc"), |_| {}),
            vec![b'x'; 512],
            member(&file("next", "")),
        ]),
        expect![[r#"
            0 "from/pax" 644 3000000:0 5.250000000 file of 3 [0+3@6656] security.capability=\x01\n= user.name=\x01\x02
            7168 "s" 777 0:0 1000000000.000000000 -> a long target
            8704 "an empty value withdraws" 644 0:0 1000000000.000000000 file of 0 []
            10240 "big" 644 0:0 1000000000.000000000 file of 600 [0+600@11776]
            12800 "next" 644 0:0 1000000000.000000000 file of 0 []
        "#]],
    );
}

#[test]
fn global_headers_hold_until_overridden() {
    let global = |key, value| {
        let mut header = pax(key, value);
        header[156] = b'g';
        seal(&mut header[..512]);
        header
    };
    check(
        &closed(&[
            global("uid", b"7"),
            global("mtime", b"1"),
            member(&file("a", "")),
            pax("uid", b"8"),
            member(&file("b", "")),
            global("uid", b"9"),
            member(&file("c", "")),
        ]),
        expect![[r#"
            2048 "a" 644 7:0 1.000000000 file of 0 []
            2560 "b" 644 8:0 1.000000000 file of 0 []
            5120 "c" 644 9:0 1.000000000 file of 0 []
        "#]],
    );
    check_each(
        &[
            ("path", global("path", b"x")),
            ("size", global("size", b"1")),
            ("attribute", global("SCHILY.xattr.user.x", b"1")),
            ("large", global("comment", &[b'x'; 70_000])),
        ],
        expect![[r#"
            path: tar header at the start of the archive (offset 0): the PAX key path in a global header would apply to every entry
            size: tar header at the start of the archive (offset 0): the PAX key size in a global header would apply to every entry
            attribute: tar header at the start of the archive (offset 0): the PAX key SCHILY.xattr in a global header would apply to every entry
            large: tar header at the start of the archive (offset 0): the size of global PAX headers exceeds the limit of 65536
        "#]],
    );
}

#[test]
fn gnu_long_names_and_links() {
    let long = |kind, text: &[u8]| {
        member(&Member {
            name: b"././@LongLink",
            kind,
            link: b"",
            data: &[text, b"\0"].concat(),
            mode: 0o644,
        })
    };
    let name = [b"d/".as_slice(), &[b'n'; 200]].concat();
    let archive = closed(&[long(b'K', &[b't'; 300]), long(b'L', &name), member(&symlink("cut", "cut"))]);
    let (entries, _) = parse(&archive).unwrap();
    assert_eq!(entries[0].path.as_bytes(), name);
    assert_eq!(entries[0].kind, Kind::Symlink([b't'; 300].into()));
    assert_eq!(entries[0].offset, 0, "the entry starts with its first extension");
}

#[test]
fn numbers_beyond_octal() {
    let base_256 = changed(&file("f", ""), |header| {
        header[108..116].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe]);
        header[136..148].copy_from_slice(&[&[0xff; 11][..], &[0xfb]].concat());
    });
    check(
        &closed(&[base_256]),
        expect![[r#"
            0 "f" 644 4294967294:0 -5.000000000 file of 0 []
        "#]],
    );
}

#[test]
fn hostile_archives_are_refused_by_name() {
    let named = |name: &[u8]| member(&Member { name, kind: b'0', link: b"", data: b"", mode: 0o644 });
    let field = |at: usize, text: &'static [u8]| {
        changed(&file("f", ""), |header| header[at..at + text.len()].copy_from_slice(text))
    };
    let link = |kind, link| member(&Member { name: b"l", kind, link, data: b"", mode: 0o644 });
    let sparse = |map: &str| {
        [
            pax("GNU.sparse.size", b"1000"),
            pax("GNU.sparse.map", map.as_bytes()),
            member(&file("f", "0123456789")),
        ]
        .concat()
    };
    let sparse_text = |map: &str, data: &str| {
        let mut text = map.to_owned();
        text.extend(std::iter::repeat_n('\0', map.len().next_multiple_of(512) - map.len()));
        [
            pax("GNU.sparse.major", b"1"),
            pax("GNU.sparse.realsize", b"1000"),
            member(&file("f", &(text + data))),
        ]
        .concat()
    };
    let sparse_old = |items: &'static [u8], more: u8| {
        changed(&Member { name: b"f", kind: b'S', link: b"", data: b"", mode: 0o644 }, |header| {
            header[257..265].copy_from_slice(b"ustar  \0");
            header[386..386 + items.len()].copy_from_slice(items);
            header[482] = more;
            header[483..494].copy_from_slice(b"00000001750");
        })
    };
    let mut damaged = member(&file("f", "x"));
    damaged[0] = b'g';
    check_each(
        &[
            ("absolute", named(b"/etc/passwd")),
            ("parent", named(b"a/../../etc/passwd")),
            ("root file", named(b".")),
            ("root link", [pax("path", b"."), link(b'2', b"x")].concat()),
            ("no name", named(b"")),
            ("NUL", [pax("path", b"a\0b"), named(b"f")].concat()),
            ("long component", [pax("path", &[b'x'; 256]), named(b"f")].concat()),
            ("long path", [pax("path", &b"x/".repeat(2048)), named(b"f")].concat()),
            ("deep path", [pax("path", &b"x/".repeat(513)), named(b"f")].concat()),
            ("hard link to parent", link(b'1', b"../../etc/passwd")),
            ("hard link to nothing", link(b'1', b"")),
            ("link to nothing", link(b'2', b"")),
            ("link to NUL", [pax("linkpath", b"a\0b"), link(b'2', b"x")].concat()),
            ("socket", link(b's', b"")),
            ("multi-volume", link(b'M', b"")),
            ("whiteout device", link(b'3', b"")),
            (
                "large device",
                changed(&Member { name: b"c", kind: b'3', link: b"", data: b"", mode: 0 }, |header| {
                    header[329..336].fill(b'7')
                }),
            ),
            ("damaged", damaged),
            ("octal", field(100, b"00009")),
            ("uid -1", [pax("uid", b"4294967295"), named(b"f")].concat()),
            ("uid 2^32", [pax("uid", b"4294967296"), named(b"f")].concat()),
            ("negative size", field(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
            ("vast size", field(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")),
            ("vast PAX size", [pax("size", b"18446744073709551615"), named(b"f")].concat()),
            ("PAX size lies", closed(&[pax("size", b"5000"), member(&file("f", "x"))])),
            ("long xattr", [pax("SCHILY.xattr.user.x", &[0; 65_536]), named(b"f")].concat()),
            ("xattr name", [pax("SCHILY.xattr.", b""), named(b"f")].concat()),
            ("xattr encoding", [pax("LIBARCHIVE.xattr.user.x", b"!"), named(b"f")].concat()),
            ("overlap", sparse("0,5,4,5")),
            ("beyond", sparse("0,5,996,5")),
            ("overflow", sparse("0,5,18446744073709551615,5")),
            ("too little", sparse("0,5")),
            ("odd", sparse("0,5,6")),
            ("no number", sparse("0,-5")),
            ("alternation", [pax("GNU.sparse.numbytes", b"1"), named(b"f")].concat()),
            ("map without size", [pax("GNU.sparse.map", b"0,1"), named(b"f")].concat()),
            ("format 2", [pax("GNU.sparse.major", b"2"), pax("GNU.sparse.size", b"1"), named(b"f")].concat()),
            ("text map beyond", sparse_text("1\n999\n2\n", "xx")),
            ("text map overlaps", sparse_text("2\n0\n2\n1\n1\n", "xxx")),
            ("text map of too many", sparse_text("65537\n", "")),
            ("text map without end", sparse_text("2\n0\n1\n", "x")),
            ("text map of no number", sparse_text("1\n-1\n1\n", "x")),
            ("text map of a long number", sparse_text("1\n000000000000000000000\n1\n", "x")),
            ("old map beyond", sparse_old(b"00000001750\x0000000000001\0", 0)),
            (
                "old map overflows",
                sparse_old(
                    b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                    0,
                ),
            ),
            ("old map of data that is not there", sparse_old(b"00000000000\x0000000000001\0", 0)),
            ("old map without end", [sparse_old(b"", 1), vec![0; 504], vec![1; 8]].concat()),
            ("lone zero block", [vec![0; 512], named(b"f")].concat()),
            ("extension alone", closed(&[pax("path", b"x")])),
            ("large extension", pax("comment", &vec![b'x'; 1 << 20])),
        ],
        expect![[r#"
            absolute: tar entry "/etc/passwd" (offset 0): the name is absolute; names in a layer are relative to its root
            parent: tar entry "a/../../etc/passwd" (offset 0): the name contains '..', which could leave the root
            root file: tar entry "." (offset 0): the root of a layer must be a directory
            root link: tar entry "." (offset 0): the root of a layer must be a directory
            no name: tar entry "" (offset 0): it has no name
            NUL: tar entry "a\0b" (offset 0): the name contains a NUL byte
            long component: tar entry "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…" (offset 0): a component of the name is longer than 255 bytes
            long path: tar entry "x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/…" (offset 0): the length of a path exceeds the limit of 4095
            deep path: tar entry "x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x/…" (offset 0): the depth of a path exceeds the limit of 512
            hard link to parent: tar entry "l" (offset 0): the link target contains '..', which could leave the root
            hard link to nothing: tar entry "l" (offset 0): the link has no target
            link to nothing: tar entry "l" (offset 0): the link has no target
            link to NUL: tar entry "l" (offset 0): the link target contains a NUL byte
            socket: tar entry "l" (offset 0): entries of type 's' are not supported
            multi-volume: tar entry "l" (offset 0): entries of type 'M' are not supported
            whiteout device: tar entry "l" (offset 0): a character device 0:0 is what overlayfs uses to mark a deleted file; a layer deletes with '.wh.'
            large device: tar entry "c" (offset 0): the device field is out of range
            damaged: tar header at the start of the archive (offset 0): the header checksum does not match; this is not a tar header, or it is damaged
            octal: tar entry "f" (offset 0): the mode field is not a number
            uid -1: tar header at the start of the archive (offset 0): the uid field is out of range
            uid 2^32: tar header at the start of the archive (offset 0): the uid field is out of range
            negative size: tar entry "f" (offset 0): the size field is out of range
            vast size: tar entry "f" (offset 0): the size of a file exceeds the limit of 8796093022208
            vast PAX size: tar entry "f" (offset 0): the size of a file exceeds the limit of 8796093022208
            PAX size lies: tar entry "f" (offset 0): the archive ends inside this entry: 3584 more bytes are needed; it is truncated
            long xattr: tar header at the start of the archive (offset 0): the size of an extended attribute exceeds the limit of 65535
            xattr name: tar header at the start of the archive (offset 0): an extended attribute's name is empty, longer than 255 bytes or contains a NUL byte
            xattr encoding: tar header at the start of the archive (offset 0): a LIBARCHIVE.xattr record is not base64, or its name is not URL-encoded
            overlap: tar entry "f" (offset 0): the sparse map is inconsistent: its pieces overlap or are out of order
            beyond: tar entry "f" (offset 0): the sparse map is inconsistent: a piece lies beyond the end of the file
            overflow: tar entry "f" (offset 0): the sparse map is inconsistent: a piece lies beyond the end of the file
            too little: tar entry "f" (offset 0): the sparse map is inconsistent: its pieces do not add up to the size of the data
            odd: tar entry "f" (offset 0): the sparse map is inconsistent: an offset has no length
            no number: tar header at the start of the archive (offset 0): the sparse map field is not a number
            alternation: tar header at the start of the archive (offset 0): the sparse map is inconsistent: offsets and lengths do not alternate
            map without size: tar entry "f" (offset 0): the sparse map is inconsistent: it lacks the map or the real size
            format 2: tar entry "f" (offset 0): the sparse map is inconsistent: its format is unknown, or it lacks the real size
            text map beyond: tar entry "f" (offset 0): the sparse map is inconsistent: a piece lies beyond the end of the file
            text map overlaps: tar entry "f" (offset 0): the sparse map is inconsistent: its pieces overlap or are out of order
            text map of too many: tar entry "f" (offset 0): the number of pieces of a sparse file exceeds the limit of 65536
            text map without end: tar entry "f" (offset 0): the sparse map field is not a number
            text map of no number: tar entry "f" (offset 0): the sparse map field is not a number
            text map of a long number: tar entry "f" (offset 0): the sparse map field is not a number
            old map beyond: tar entry "f" (offset 0): the sparse map is inconsistent: a piece lies beyond the end of the file
            old map overflows: tar entry "f" (offset 0): the sparse map is inconsistent: a piece lies beyond the end of the file
            old map of data that is not there: tar entry "f" (offset 0): the sparse map is inconsistent: its pieces do not add up to the size of the data
            old map without end: tar entry "f" (offset 0): the sparse map is inconsistent: a block of it holds no piece, so it might never end
            lone zero block: tar header at the start of the archive (offset 0): a single zero block stands in the middle of the archive; the end is marked by two
            extension alone: tar header at the start of the archive (offset 0): the archive ends after an extension header, before the entry that it describes; it is truncated
            large extension: tar header at the start of the archive (offset 0): the size of extension headers exceeds the limit of 1048576
        "#]],
    );
}

#[test]
fn the_number_of_entries_is_limited() {
    let one = member(&file("f", ""));
    let mut parser = Parser::new(Limits::default());
    let mut count = 0_u64;
    // Ten million empty files, never all in memory.
    let piece = one.repeat(1000);
    let error = (0..10_000)
        .find_map(|_| {
            parser
                .push(&piece, &mut |_| {
                    count += 1;
                    Ok::<_, Error>(())
                })
                .err()
        })
        .unwrap();
    assert_eq!(count, 1_000_000);
    assert_eq!(
        error.to_string(),
        "tar entry \"f\" (offset 512000000): the number of entries exceeds the limit of 1000000"
    );
}

#[test]
fn an_archive_cut_anywhere_is_truncated_or_unterminated() {
    let whole = closed(&[
        member(&directory("d")),
        pax("path", b"d/long"),
        member(&file("x", &"x".repeat(1000))),
        member(&file("d/last", "y")),
    ]);
    let (all, _) = parse(&whole).unwrap();
    for cut in 0..whole.len() {
        match parse(&whole[..cut]) {
            // Between entries nothing tells but the missing end mark.
            Ok((entries, summary)) => {
                assert_eq!(cut % 512, 0, "{cut}");
                assert_eq!(entries, all[..entries.len()]);
                assert!(!summary.terminated, "{cut}");
                assert!(entries.len() == all.len() || all[entries.len()].offset == cut as u64, "{cut}");
            }
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains("it is truncated"), "{cut}: {message}");
                let begun =
                    all.iter().rfind(|entry| entry.offset < cut as u64).map_or(0, |entry| entry.offset);
                assert!(error.offset >= begun && error.offset <= cut as u64, "{cut}: {message}");
            }
        }
    }
    assert!(parse(&whole).unwrap().1.terminated);
    assert_eq!(
        parse(&whole[..2500]).unwrap_err().to_string(),
        "tar entry \"d/long\" (offset 512): the archive ends inside this entry: 572 more bytes are needed; it is truncated"
    );
}

#[test]
fn what_follows_the_end_mark_is_passed_over() {
    let mut bytes = archive(&[file("f", "x")]);
    bytes.extend_from_slice(b"garbage of any length");
    let (entries, summary) = parse(&bytes).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(summary, Summary { entries: 1, bytes: bytes.len() as u64, terminated: true });
}

#[test]
fn a_stored_archive_reads_like_a_streamed_one() {
    let scratch = snapshots_support::Scratch::new();
    let tar = scratch.layer(&snapshots_support::Source {
        script: "mkdir d; for i in {1..300}; do head -c $((i * i)) /dev/urandom > d/$i; done; truncate -s 1M d/s; echo >> d/s",
        xattrs: &[("d/1", "user.x", b"y")],
        options: &["--sparse"],
    });
    let (streamed, summary) = parse(&std::fs::read(&tar.path).unwrap()).unwrap();
    let mut stored = Vec::new();
    let read = image::tar::read_entries(&tar.file, Limits::default(), &mut |entry| {
        stored.push(entry);
        Ok::<_, image::tar::ReadError>(())
    });
    assert_eq!(read.unwrap(), summary);
    assert_eq!(stored, streamed);
}

/// An archive of GNU tar with everything in it.
fn sample() -> Vec<u8> {
    let script = "mkdir -p $0/d/e; cd $0; echo x > d/f; ln d/f d/h; ln -s f d/s; mkfifo d/p; truncate -s 100k d/e/sparse; echo >> d/e/sparse
         touch d/$(printf 'n%.0s' {1..180}); tar --create --sparse --format=pax d; tar --create --sparse --format=gnu d; rm -r $PWD";
    let name = std::env::temp_dir().join(testkit::own_name("sample"));
    let output = Command::new("bash").args(["-euc", script]).arg(name).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..5000), step in 1_usize..2000) {
        drop(parse_with(Limits::default(), &bytes, step));
    }

    #[test]
    fn the_size_of_the_pieces_does_not_matter(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        reseal in any::<bool>(), step in 1_usize..2000)
    {
        thread_local!(static SAMPLE: Vec<u8> = sample());
        let mut bytes = SAMPLE.with(Clone::clone);
        for (index, value) in changes {
            // Headers are where damage matters; a sum that matches gets it past the first check.
            let at = index.index(bytes.len());
            bytes[at] = value;
            if reseal {
                let start = at / 512 * 512;
                seal(&mut bytes[start..start + 512]);
            }
        }
        prop_assert_eq!(parse_with(Limits::default(), &bytes, step), parse_with(Limits::default(), &bytes, usize::MAX));
    }
}
