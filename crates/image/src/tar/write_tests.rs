//! What is written is what is read back, and what GNU tar reads too.

use super::*;
use crate::tar::{Kind, Limits, Parser};
use proptest::collection::vec;
use proptest::prelude::*;

fn name() -> impl Strategy<Value = Vec<u8>> {
    let letter = prop_oneof![Just(b'a'), Just(b'.'), Just(0xe4_u8), Just(b' '), Just(b'\n'), Just(b'z')];
    vec(letter, 1..60).prop_filter("no dots", |name| name != b"." && name != b"..")
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(name(), 1..5).prop_map(|names| names.join(&b'/'))
}

fn time_of() -> impl Strategy<Value = Time> {
    (-9_000_000_000_i64..90_000_000_000, prop_oneof![Just(0_u32), 0_u32..1_000_000_000])
        .prop_map(|(secs, nanos)| Time { secs, nanos })
}

fn xattrs() -> impl Strategy<Value = Vec<Xattr>> {
    vec(vec(any::<u8>(), 0..40), 0..3).prop_map(|values| {
        let named = |(number, value): (usize, Vec<u8>)| Xattr {
            name: format!("user.{number}").into_bytes().into(),
            value: value.into(),
        };
        values.into_iter().enumerate().map(named).collect()
    })
}

fn read(archive: &[u8]) -> Vec<crate::tar::Entry> {
    let mut entries = Vec::new();
    let mut parser = Parser::new(Limits::default());
    parser
        .push(archive, &mut |entry| {
            entries.push(entry);
            Ok::<(), crate::tar::Error>(())
        })
        .unwrap();
    assert!(parser.finish().unwrap().terminated);
    entries
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        path in path(), link in path(), mode in 0_u32..0o10000, uid: u32, gid: u32, mtime in time_of(),
        xattrs in xattrs(), which in 0..7_usize, size in prop_oneof![0_u64..2000, Just(0o777_7777_7777), Just(0o1000_0000_0000)],
        device in (0_u32..4096, 0_u32..1 << 20),
    ) {
        // The kernel has no such owner.
        prop_assume!(uid != u32::MAX && gid != u32::MAX);
        let device = Device { major: device.0, minor: device.1 };
        let bodies = [
            Body::File(size), Body::Directory, Body::Symlink(&link), Body::Hardlink(&link),
            Body::CharDevice(device), Body::BlockDevice(device), Body::Fifo,
        ];
        let body = bodies[which];
        let mut archive = Vec::new();
        write_member(&Member { path: &path, body, mode, uid, gid, mtime, xattrs: &xattrs }, &mut archive);
        let mut entries = Vec::new();
        let mut parser = Parser::new(Limits::default());
        parser.push(&archive, &mut |entry| { entries.push(entry); Ok::<(), crate::tar::Error>(()) }).unwrap();
        prop_assert_eq!(entries.len(), 1);
        let entry = &entries[0];
        prop_assert_eq!(entry.path.as_bytes(), &path[..]);
        prop_assert_eq!((u32::from(entry.mode), entry.uid, entry.gid, entry.mtime), (mode, uid, gid, mtime));
        prop_assert_eq!(&entry.xattrs, &xattrs);
        match (&entry.kind, body) {
            (Kind::File(content), Body::File(size)) => prop_assert_eq!(content.size, size),
            (Kind::Directory, Body::Directory) | (Kind::Fifo, Body::Fifo) => {}
            (Kind::Symlink(target), Body::Symlink(wanted)) => prop_assert_eq!(&target[..], wanted),
            (Kind::Hardlink(target), Body::Hardlink(wanted)) => prop_assert_eq!(target.as_bytes(), wanted),
            (Kind::CharDevice(found), Body::CharDevice(wanted))
            | (Kind::BlockDevice(found), Body::BlockDevice(wanted)) => prop_assert_eq!(*found, wanted),
            (found, wanted) => prop_assert!(false, "{:?} for {:?}", found, wanted),
        }
    }
}

#[test]
fn a_sparse_file_is_its_pieces() {
    let mut archive = Vec::new();
    let pieces = [(4096, 3), (1 << 33, 5)];
    let body = Body::Sparse { size: (1 << 33) + 5, pieces: &pieces };
    let mtime = Time { secs: 7, nanos: 0 };
    write_member(
        &Member { path: b"dir/holes", body, mode: 0o600, uid: 1, gid: 2, mtime, xattrs: &[] },
        &mut archive,
    );
    let data = archive.len() as u64;
    archive.extend_from_slice(b"abcdefgh");
    archive.resize(archive.len() + padding(8), 0);
    archive.extend_from_slice(&END);
    let entries = read(&archive);
    assert_eq!(entries[0].path.as_bytes(), b"dir/holes");
    let Kind::File(content) = &entries[0].kind else { panic!("{:?}", entries[0]) };
    assert_eq!(content.size, (1 << 33) + 5);
    let found: Vec<_> =
        content.extents().iter().map(|extent| (extent.offset, extent.source, extent.length)).collect();
    assert_eq!(found, [(4096, data, 3), (1 << 33, data + 3, 5)]);
}

#[test]
fn times_before_1970_count_backwards() {
    let text = |secs, nanos| time(Time { secs, nanos });
    assert_eq!(text(5, 0), "5");
    assert_eq!(text(5, 250_000_000), "5.25");
    assert_eq!(text(-1, 750_000_000), "-0.25");
    assert_eq!(text(-2, 0), "-2");
    assert_eq!(text(-2, 1), "-1.999999999");
}

#[test]
fn plain_members_take_one_block() {
    let mut archive = Vec::new();
    let mtime = Time { secs: 1, nanos: 0 };
    let body = Body::Directory;
    write_member(
        &Member { path: b"etc", body, mode: 0o755, uid: 0, gid: 0, mtime, xattrs: &[] },
        &mut archive,
    );
    assert_eq!(archive.len(), 512);
    assert_eq!(&archive[..5], b"etc/\0");
}

#[test]
fn a_member_is_whole_blocks_wherever_it_stands() {
    let mtime = Time { secs: 1, nanos: 5 };
    let member =
        Member { path: b"f", body: Body::Directory, mode: 0o755, uid: 0, gid: 0, mtime, xattrs: &[] };
    let (mut alone, mut behind) = (Vec::new(), vec![1; 7]);
    write_member(&member, &mut alone);
    write_member(&member, &mut behind);
    assert_eq!(alone.len() % 512, 0);
    assert_eq!(behind[7..], alone);
}
