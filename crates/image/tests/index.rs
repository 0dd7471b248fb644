//! The merged index, mounted: what the kernel reads from it is what GNU tar unpacks from the layers.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail by panicking"
)]

mod snapshots_support;

use snapshots_support::{
    Mount, Scratch, Source, Tar, archive, assert_same, directory, directory_links, file, layers, listing,
    member as member_of, pax, reference, xattrs,
};
use std::path::PathBuf;

fn index(scratch: &Scratch, tars: &[Tar]) -> (PathBuf, Vec<PathBuf>) {
    let path = scratch.join("index.erofs");
    let mut file = std::fs::File::create(&path).unwrap();
    image::index::write(&layers(tars), &mut file).unwrap();
    (path, tars.iter().map(|tar| tar.path.clone()).collect())
}

fn check(source: &Source<'_>) {
    let scratch = Scratch::new();
    let tars = [scratch.layer(source)];
    let (index, devices) = index(&scratch, &tars);
    let mount = Mount::erofs(&index, &devices);
    let reference = reference(&scratch, &tars);
    assert_same(&listing(&reference), &listing(&mount.root()));
    assert_same(&directory_links(&reference), &directory_links(&mount.root()));
}

#[test]
fn every_kind_of_entry_arrives() {
    check(&Source::script(
        r"mkdir -p d/e/f empty-dir; echo hello > d/file; : > d/empty; ln -s ../d/file d/link
          ln -s $(printf 'x%.0s' {1..400}) d/long-link; ln -s $(printf 'x%.0s' {1..4095}) d/longest-link
          ln d/file d/e/hard; ln d/link d/e/hard-link-to-symlink; mkfifo d/fifo
          mknod d/null c 1 3; mknod d/large c 4095 1048575; mknod d/disk b 8 1
          chmod 1777 d/e; chmod 2750 d/e/f; chmod 0 d/empty
          chown 4294967294:2000000 d/empty; chown 70000:1 d/e; chown -h 5:6 d/link; chown 3:3 d/file; chmod 4755 d/file
          touch -d @-5.25 d/empty; touch -d @4294967296.5 d/e/f; touch -h -d @123456789.987654321 d/link
          head -c 100000 /dev/urandom > big; head -c 4096 /dev/urandom > page; head -c 512 /dev/urandom > block",
    ));
}

#[test]
fn names_of_all_bytes_and_lengths_arrive() {
    check(&Source::script(
        r"touch -- '!' - .a ... 'with space' $'new\nline' $'\xff\xfe' $'\x01' $(printf 'n%.0s' {1..255})
          mkdir many; for i in {1..700}; do : > many/file-with-a-name-$i; done
          p=.; for i in {1..30}; do p=$p/$(printf 'd%.0s' {1..100}); done; mkdir -p $p; echo deep > $p/x
          for n in {1..80}; do mkdir -p sizes/$n; for i in $(seq 1 $n); do : > sizes/$n/$i; done; done",
    ));
}

#[test]
fn extended_attributes_arrive() {
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let all: Vec<u8> = (0..=255).collect();
    check(&Source {
        script: "touch none one two three; mkdir d; mknod c c 1 3; ln -s x l",
        xattrs: &[
            ("one", "security.capability", capability),
            ("two", "security.capability", capability),
            ("one", "user.empty", b""),
            ("two", "user.long", &[b'v'; 3000]),
            ("three", "trusted.binary", &all),
            ("d", "user.dir", b"1"),
            ("c", "trusted.device", b"2"),
            ("l", "trusted.link", b"3"),
        ],
        options: &[],
    });
}

#[test]
fn every_format_of_gnu_tar_is_understood() {
    for format in ["gnu", "oldgnu", "pax", "ustar", "v7"] {
        let longest = if matches!(format, "v7" | "ustar") { 90 } else { 220 };
        let mut script = format!(
            "mkdir d; echo x > d/$(printf 'l%.0s' {{1..{longest}}}); ln d/l* d/hard; ln -s $(printf 't%.0s' {{1..{longest}}}) d/s;"
        );
        if longest > 90 {
            script += "chown 3000000:4000000000 d/l*; touch -d @-100 d; touch -d @9000000000 d/l*;";
        }
        if format != "pax" {
            // Formats without fractions cut them off.
            script += "find . -depth -exec touch -h -d 2001-01-01 {} +";
        }
        check(&Source { script: &script, xattrs: &[], options: &["--format", format] });
    }
}

#[test]
fn sparse_files_of_all_formats_arrive() {
    let script = "
        truncate -s 10M holes; truncate -s 100M huge; printf tail | dd of=huge bs=1 seek=90000001 conv=notrunc status=none
        truncate -s 1M odd; printf a | dd of=odd bs=1 seek=700 conv=notrunc status=none
        printf bcd | dd of=odd bs=1 seek=500001 conv=notrunc status=none
        for i in {1..60}; do printf x | dd of=many bs=1 seek=$((i * 40000)) conv=notrunc status=none; done; truncate -s 5M many
        head -c 65536 /dev/urandom > plain; truncate -s 200001 plain; touch -d 2001-01-01 *";
    for version in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let options = [&["--sparse"], version].concat();
        check(&Source { script: &format!("{script} ."), xattrs: &[], options: &options });
    }
}

#[test]
fn acls_arrive() {
    // Version 2; owner rw, user 7 r, group r, mask rw, others none.
    let mut acl = vec![2, 0, 0, 0];
    for (tag, permissions, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 7), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)]
    {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&permissions.to_le_bytes());
        acl.extend_from_slice(&id.to_le_bytes());
    }
    let scratch = Scratch::new();
    let mut bytes = Vec::new();
    for (key, member) in [("access", file("f", "")), ("default", directory("d")), ("access", file("g", ""))] {
        bytes.extend(pax(&format!("SCHILY.xattr.system.posix_acl_{key}"), &acl));
        bytes.extend(member_of(&member));
    }
    bytes.resize(bytes.len() + 1024, 0);
    let tars = [scratch.raw_layer("layer.tar", &bytes)];
    let (index, devices) = index(&scratch, &tars);
    let mount = Mount::erofs(&index, &devices);
    for (name, key) in [("f", "access"), ("g", "access"), ("d", "default")] {
        assert_eq!(
            xattrs(&mount.root().join(name)),
            [(format!("system.posix_acl_{key}").into(), acl.clone())]
        );
    }
}

#[test]
fn as_many_layers_as_docker_allows_are_mounted() {
    let scratch = Scratch::new();
    let make = |number: usize| {
        let (name, data) = (format!("file-{number}"), format!("data of {number}").repeat(number * 50));
        scratch.raw_layer(&format!("{number}.tar"), &archive(&[file(&name, &data)]))
    };
    let tars: Vec<Tar> = (0..127).map(make).collect();
    let (index, devices) = index(&scratch, &tars);
    let mount = Mount::erofs(&index, &devices);
    for number in 0..127 {
        let data = std::fs::read_to_string(mount.root().join(format!("file-{number}"))).unwrap();
        assert_eq!(data, format!("data of {number}").repeat(number * 50));
    }
}

#[test]
fn an_image_without_layers_is_an_empty_root() {
    let scratch = Scratch::new();
    let (index, devices) = index(&scratch, &[]);
    assert_eq!(listing(&Mount::erofs(&index, &devices).root()), [". 40755 0:0 0.000000000"]);
}

#[test]
fn equal_layers_give_equal_bytes() {
    let scratch = Scratch::new();
    let script =
        "mkdir a b; for i in {1..200}; do echo $i > a/$i; touch -d @$((i % 3)) a/$i; done; touch -d @1 a b .";
    let xattrs: &[(&str, &str, &[u8])] =
        &[("a/1", "user.x", b"1"), ("a/2", "user.x", b"1"), ("a/3", "user.y", b"2")];
    let tars = [scratch.layer(&Source { script, xattrs, options: &[] })];
    let bytes = || {
        let mut bytes = Vec::new();
        assert_eq!(image::index::write(&layers(&tars), &mut bytes).unwrap(), bytes.len() as u64);
        bytes
    };
    assert_eq!(bytes(), bytes());
}

/// A map of holes that a few kilobytes of header describe must not become gigabytes of index.
#[test]
fn scattered_holes_are_refused() {
    let scratch = Scratch::new();
    let map: Vec<String> = (0..20_000_u64).map(|piece| format!("{},1", piece * 400_000_001)).collect();
    let mut bytes = Vec::new();
    for name in ["one", "two"] {
        bytes.extend(pax("GNU.sparse.size", b"8000000000000"));
        bytes.extend(pax("GNU.sparse.map", map.join(",").as_bytes()));
        bytes.extend(member_of(&file(name, &"x".repeat(20_000))));
    }
    bytes.resize(bytes.len() + 1024, 0);
    let tars = [scratch.raw_layer("layer.tar", &bytes)];
    let error = image::index::write(&layers(&tars), &mut std::io::sink()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.starts_with("mapping the holes of sparse files takes"), "{source}");
}
