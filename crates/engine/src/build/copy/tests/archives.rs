//! Archives that are added: unpacked, copied where they are none, refused where they would leave their place.

use super::*;

/// An archive of these members: kind, name, and content or target.
fn archive(members: &[(char, &str, &str)]) -> Vec<u8> {
    use image::tar::{Body, END, Member, Time, padding, write_member};
    let mut tar = Vec::new();
    for (kind, name, content) in members {
        let body = match kind {
            'd' => Body::Directory,
            'l' => Body::Symlink(content.as_bytes()),
            'h' => Body::Hardlink(content.as_bytes()),
            _ => Body::File(content.len() as u64),
        };
        let (mode, mtime) = (if *kind == 'd' { 0o700 } else { 0o640 }, Time { secs: 7, nanos: 0 });
        let path = name.as_bytes();
        write_member(&Member { path, body, mode, uid: 11, gid: 12, mtime, xattrs: &[] }, &mut tar);
        if *kind == 'f' {
            tar.extend_from_slice(content.as_bytes());
            tar.resize(tar.len() + padding(content.len() as u64), 0);
        }
    }
    tar.extend_from_slice(&END);
    tar
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Plays scenes whose context is a file `a` with this content.
#[allow(clippy::disallowed_methods, reason = "tests handle their own files")]
fn check_added(content: &[u8], scenes: Expect) {
    let context = |world: &World| {
        let directory = world.directory("context", "");
        std::fs::write(directory.join("a"), content).unwrap();
        world.open(&directory, "")
    };
    check_in(&context, &scenes);
}

#[test]
fn archives_are_unpacked_where_they_are_added() {
    let tar = archive(&[
        ('d', "dir", ""),
        ('f', "dir/file", "one"),
        ('h', "dir/hard", "dir/file"),
        ('l', "link", "dir/file"),
        ('f', "new/deep", "two"),
    ]);
    check_added(
        &tar,
        expect![[r#"
        ADD a /x
            0755 0:0 /x/
            0700 11:12 /x/dir/
            0640 11:12 /x/dir/file = one (2 links)
            0640 11:12 /x/dir/hard = one (2 links)
            0777 11:12 /x/link -> dir/file
            0755 0:0 /x/new/
            0640 11:12 /x/new/deep = two
    "#]],
    );
    check_added(
        &gzipped(&tar),
        expect![[r#"
        ADD a /x/
            0755 0:0 /x/
            0700 11:12 /x/dir/
            0640 11:12 /x/dir/file = one (2 links)
            0640 11:12 /x/dir/hard = one (2 links)
            0777 11:12 /x/link -> dir/file
            0755 0:0 /x/new/
            0640 11:12 /x/new/deep = two
    "#]],
    );
    check_added(
        &tar,
        expect![[r#"
        ADD --chown=1:2 a /x
            0755 1:2 /x/
            0700 1:2 /x/dir/
            0640 1:2 /x/dir/file = one (2 links)
            0640 1:2 /x/dir/hard = one (2 links)
            0777 1:2 /x/link -> dir/file
            0755 1:2 /x/new/
            0640 1:2 /x/new/deep = two

        COPY a /x
            0644 0:0 /x = 4608 bytes

        # What is in the way goes, whatever it is.
        over f dir 644 file
        over f link/below 644 below
        over f new 644 file
        ADD a /
            0700 11:12 /dir/
            0640 11:12 /dir/file = one (2 links)
            0640 11:12 /dir/hard = one (2 links)
            0777 11:12 /link -> dir/file
            0755 0:0 /new/
            0640 11:12 /new/deep = two

        # A directory without an entry of its own goes through a link of the base; one with, replaces it.
        over l new other
        over l dir other
        over d other 755
        ADD a /
            0700 11:12 /dir/
            0640 11:12 /dir/file = one (2 links)
            0640 11:12 /dir/hard = one (2 links)
            0777 11:12 /link -> dir/file
            0777 0:0 /new -> other
            0755 0:0 /other/
            0640 11:12 /other/deep = two
    "#]],
    );
}

#[test]
fn what_is_no_archive_is_copied() {
    check_added(
        b"",
        expect![[r#"
        ADD a /x
            0644 0:0 /x = 
    "#]],
    );
    check_added(
        b"text",
        expect![[r#"
        ADD a /x
            0644 0:0 /x = text
    "#]],
    );
    check_added(
        &gzipped(b"no tar"),
        expect![[r#"
        ADD a /x
            0644 0:0 /x = 26 bytes, no text
    "#]],
    );
    check_added(
        &[0; 1024],
        expect![[r#"
        ADD a /x
            0644 0:0 /x = 1024 bytes
    "#]],
    );
}

#[test]
fn archives_stay_below_their_destination() {
    check_added(
        &archive(&[('f', "../etc/passwd", "evil")]),
        expect![[r#"
        over f etc/passwd 644 root
        ADD a /x
            unpack a: archive a is refused: tar entry "../etc/passwd" (offset 0): the name contains '..', which could leave the root
    "#]],
    );
    check_added(
        &archive(&[('f', "/etc/passwd", "evil")]),
        expect![[r#"
        over f etc/passwd 644 root
        ADD a /x
            unpack a: archive a is refused: tar entry "/etc/passwd" (offset 0): the name is absolute; names in a layer are relative to its root
    "#]],
    );
    check_added(
        &archive(&[('l', "out", "/etc"), ('f', "out/passwd", "evil")]),
        expect![[r#"
        over f etc/passwd 644 root
        ADD a /x
            0755 0:0 /etc/
            0644 0:0 /etc/passwd = root
            0755 0:0 /x/
            0755 0:0 /x/out/
            0640 11:12 /x/out/passwd = evil
    "#]],
    );
    check_added(
        &archive(&[('l', "out", "../etc"), ('h', "in", "out/passwd")]),
        expect![[r#"
        over f etc/passwd 644 root
        ADD a /x
            unpack a: archive entry a: "in": its link target "out/passwd" does not exist, or comes later
    "#]],
    );
    check_added(
        &archive(&[('h', "in", "../etc/passwd")]),
        expect![[r#"
        over f etc/passwd 644 root
        ADD a /x
            unpack a: archive a is refused: tar entry "in" (offset 0): the link target contains '..', which could leave the root
    "#]],
    );
    let cut = &archive(&[('f', "a", "one"), ('f', "b", &"two".repeat(1000))])[..2000];
    check_added(
        cut,
        expect![[r#"
        ADD a /x
            unpack a: archive a is refused: tar entry "b" (offset 1024): the archive ends inside this entry: 2608 more bytes are needed; it is truncated
    "#]],
    );
    let gzip = gzipped(&archive(&[('f', "a", "one"), ('f', "b", &"two".repeat(1000))]));
    check_added(
        &gzip[..gzip.len() - 9],
        expect![[r#"
        ADD a /x
            unpack a: read a: decompress a as gzip: incomplete deflate stream
    "#]],
    );
}
