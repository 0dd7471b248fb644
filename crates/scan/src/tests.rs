//! What is found in files as their makers write them, and that nothing comes of those that are damaged.

#![allow(clippy::cast_possible_truncation, reason = "numbers of these files are small")]

mod log;

use std::io::Write as _;

use expect_test::{Expect, expect};
use flate2::Compression;
use flate2::write::{DeflateEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

/// What is found in one file.
fn found(path: &str, content: &[u8], is_executable: bool) -> Found {
    let mut inventory = Inventory::default();
    show(&mut inventory, path, content, is_executable);
    inventory.finish()
}

fn show(inventory: &mut Inventory, path: &str, content: &[u8], is_executable: bool) {
    show_with(inventory, path, content, None, is_executable);
}

/// Shows a file with the log that lies beside it.
fn show_with(inventory: &mut Inventory, path: &str, content: &[u8], log: Option<&[u8]>, is_executable: bool) {
    fn read(content: &[u8], offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = content.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
    let read_at = |offset: u64, buffer: &mut [u8]| read(content, offset, buffer);
    let bytes = log.unwrap_or_default();
    let read_log = |offset: u64, buffer: &mut [u8]| read(bytes, offset, buffer);
    let beside = log_of(path).unwrap_or_default();
    let size = bytes.len() as u64;
    let log = log.map(|_| File { path: &beside, size, is_executable: false, read_at: &read_log, log: None });
    let size = content.len() as u64;
    let file = File { path, size, is_executable, read_at: &read_at, log: log.as_ref() };
    inventory.look(&file).unwrap();
}

fn shown(found: &Found) -> String {
    let line = |package: &Package| {
        let license = package.license.as_deref().unwrap_or("-");
        format!("{} {license} {}\n", package.purl(&found.system), package.supplier.as_deref().unwrap_or("-"))
    };
    let bad = found.passed_over.iter().map(|path| format!("passed over: {path}\n"));
    found.packages.iter().map(line).chain(bad).collect()
}

fn check(path: &str, content: &[u8], expected: Expect) {
    expected.assert_eq(&shown(&found(path, content, true)));
}

#[test]
fn packages_of_distributions_are_named_with_their_distribution() {
    let mut inventory = Inventory::default();
    show(
        &mut inventory,
        "var/lib/dpkg/status",
        b"Package: libc6\nStatus: install ok installed\nSource: glibc (2.41-1)\nVersion: 2.41-12\nArchitecture: amd64\n\
          Maintainer: GNU Libc <a@b>\nDescription: x\n Version: 0\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
          Package: g++\nVersion: 4:14.2.0\nSource: gcc-defaults\nArchitecture: amd64\n\nVersion: 1\n",
        false,
    );
    show(
        &mut inventory,
        "lib/apk/db/installed",
        b"P:musl-utils\nV:1.2.5-r1\nA:x86_64\nL:MIT AND GPL-2.0-or-later\no:musl\n\n",
        false,
    );
    // Shown last, it counts for all.
    show(
        &mut inventory,
        "etc/os-release",
        b"ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME=\"Debian 13\"\n",
        false,
    );
    show(&mut inventory, "usr/lib/os-release", b"ID=other\n", false);
    expect![[r#"
        pkg:deb/debian/g%2B%2B@4:14.2.0?arch=amd64&distro=debian-13&upstream=gcc-defaults - -
        pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13&upstream=glibc%402.41-1 - GNU Libc <a@b>
        pkg:apk/debian/musl-utils@1.2.5-r1?arch=x86_64&distro=debian-13&upstream=musl MIT AND GPL-2.0-or-later -
    "#]]
    .assert_eq(&shown(&inventory.finish()));
}

#[test]
fn documents_of_languages_are_read() {
    check(
        "usr/lib/python3/dist-packages/A_b.c-1.0.dist-info/METADATA",
        b"Name: A_b.c\nVersion: 1.0\nLicense-Expression: MIT\n\nName: no\n",
        expect![[r#"
        pkg:pypi/a-b-c@1.0 MIT -
    "#]],
    );
    check(
        "app/node_modules/@s/n/package.json",
        br#"{"name":"@s/n","version":"3.0.0","license":"MIT"}"#,
        expect![[r#"
        pkg:npm/%40s/n@3.0.0 MIT -
    "#]],
    );
    for (path, content) in [
        ("app/node_modules/@s/n/test/package.json", &br#"{"name":"fixture","version":"0"}"#[..]),
        ("app/node_modules/bad/package.json", b"{"),
        ("app/package.json", br#"{"name":"app","version":"1"}"#),
    ] {
        check(path, content, expect![""]);
    }
    check(
        "usr/lib/ruby/gems/3.3.0/specifications/net-http-0.4.1.gemspec",
        b"",
        expect![[r#"
        pkg:gem/net-http@0.4.1 - -
    "#]],
    );
    check(
        "app/vendor/composer/installed.json",
        br#"{"packages":[{"name":"Monolog/Monolog","version":"v3.5.0","license":["MIT"]},{"name":"x"}]}"#,
        expect![[r#"
        pkg:composer/Monolog/monolog@3.5.0 MIT -
    "#]],
    );
    check(
        "app/a.deps.json",
        br#"{"libraries":{"Serilog/2.1.0":{"type":"package"},"a/1.0":{"type":"project"}}}"#,
        expect![[r#"
        pkg:nuget/Serilog@2.1.0 - -
    "#]],
    );
    check(
        "app/a.deps.json",
        b"[",
        expect![[r#"
        passed over: /app/a.deps.json
    "#]],
    );
}

/// The header of a package of rpm.
fn header(name: &str, version: &str, epoch: u32, padding: usize) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::<u8>::new(), Vec::<u8>::new());
    let mut add = |tag: u32, kind: u32, value: &[u8]| {
        for number in [tag, kind, data.len() as u32, 1] {
            entries.extend(number.to_be_bytes());
        }
        data.extend(value);
    };
    add(1000, 6, format!("{name}\0").as_bytes());
    add(1001, 6, format!("{version}\0").as_bytes());
    add(1002, 6, b"3.el9\0");
    add(1003, 4, &epoch.to_be_bytes());
    add(1011, 6, b"Rocky\0");
    add(1014, 6, b"GPLv2+ and MIT\0");
    add(1022, 6, b"x86_64\0");
    add(1044, 6, b"glibc-2.34-3.el9.src.rpm\0");
    add(1004, 9, &vec![b'x'; padding]);
    let mut bytes = (entries.len() as u32 / 16).to_be_bytes().to_vec();
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(entries);
    bytes.extend(data);
    bytes
}

/// A database as rpm lays it out in SQLite.
fn sqlite(headers: &[Vec<u8>]) -> Vec<u8> {
    let scratch = testkit::Scratch::new();
    let path = scratch.join("rpmdb.sqlite");
    let mut connection = rusqlite::Connection::open(&path).unwrap();
    let schema = "CREATE TABLE Name (k TEXT);
        CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)";
    connection.execute_batch(schema).unwrap();
    let transaction = connection.transaction().unwrap();
    for header in headers {
        transaction.execute("INSERT INTO Packages (blob) VALUES (?1)", [header]).unwrap();
    }
    transaction.commit().unwrap();
    drop(connection);
    linux::file::read(&path).unwrap()
}

fn ndb(headers: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"RpmP".to_vec();
    for number in [0_u32, 1, 1, headers.len() as u32 + 1, 0, 0, 0] {
        out.extend(number.to_le_bytes());
    }
    let (mut blobs, mut slots) = (Vec::new(), Vec::new());
    for (number, header) in headers.iter().enumerate() {
        let place = (4096 + blobs.len()) as u32 / 16;
        blobs.extend(b"BlbS");
        for field in [number as u32 + 1, 0, header.len() as u32] {
            blobs.extend(field.to_le_bytes());
        }
        blobs.extend(header);
        blobs.resize(blobs.len().next_multiple_of(16), 0);
        slots.extend(b"Slot");
        let length = (4096 + blobs.len()) as u32 / 16 - place;
        for field in [number as u32 + 1, place, length] {
            slots.extend(field.to_le_bytes());
        }
    }
    out.extend(&slots);
    while out.len() < 4096 {
        out.extend(b"Slot");
        out.extend([0; 12]);
    }
    out.extend(blobs);
    out
}

/// A hash with one page of entries, whose values lie in chains of others.
fn berkeley(headers: &[Vec<u8>]) -> Vec<u8> {
    const PAGE: usize = 512;
    let mut pages: Vec<Vec<u8>> = vec![vec![0; PAGE], vec![0; PAGE]];
    let (mut entries, mut end) = (Vec::new(), PAGE);
    for (number, header) in headers.iter().enumerate() {
        let first = pages.len() as u32;
        let chunks: Vec<&[u8]> = header.chunks(PAGE - 26).collect();
        for (place, chunk) in chunks.iter().enumerate() {
            let mut page = vec![0; PAGE];
            let next = if place + 1 == chunks.len() { 0 } else { first + place as u32 + 1 };
            page[16..20].copy_from_slice(&next.to_le_bytes());
            page[22..24].copy_from_slice(&(chunk.len() as u16).to_le_bytes());
            page[25] = 7;
            page[26..26 + chunk.len()].copy_from_slice(chunk);
            pages.push(page);
        }
        let mut value = vec![3, 0, 0, 0];
        value.extend(first.to_le_bytes());
        value.extend((header.len() as u32).to_le_bytes());
        for bytes in [[&[1][..], &(number as u32).to_le_bytes()].concat(), value] {
            end -= bytes.len();
            pages[1][end..end + bytes.len()].copy_from_slice(&bytes);
            entries.push(end as u16);
        }
    }
    pages[1][20..22].copy_from_slice(&(entries.len() as u16).to_le_bytes());
    pages[1][25] = 13;
    for (place, entry) in entries.iter().enumerate() {
        pages[1][26 + 2 * place..28 + 2 * place].copy_from_slice(&entry.to_le_bytes());
    }
    let last = pages.len() as u32 - 1;
    pages[0][12..16].copy_from_slice(&0x0006_1561_u32.to_le_bytes());
    pages[0][20..24].copy_from_slice(&(PAGE as u32).to_le_bytes());
    pages[0][25] = 8;
    pages[0][32..36].copy_from_slice(&last.to_le_bytes());
    pages.concat()
}

/// Makes a database of headers.
type Database = fn(&[Vec<u8>]) -> Vec<u8>;

const RPM: [(&str, Database); 3] = [
    ("var/lib/rpm/rpmdb.sqlite", sqlite),
    ("usr/lib/sysimage/rpm/Packages.db", ndb),
    ("var/lib/rpm/Packages", berkeley),
];

#[test]
fn rpm_has_three_databases() {
    let headers =
        [header("glibc", "2.34", 0, 40), header("bash", "5.1", 2, 30_000), header("gpg-pubkey", "1", 0, 0)];
    for (path, database) in RPM {
        check(
            path,
            &database(&headers),
            expect![[r#"
            pkg:rpm/bash@5.1-3.el9?arch=x86_64&epoch=2&upstream=glibc-2.34-3.el9.src.rpm GPLv2+ and MIT Rocky
            pkg:rpm/glibc@2.34-3.el9?arch=x86_64&upstream=glibc-2.34-3.el9.src.rpm GPLv2+ and MIT Rocky
        "#]],
        );
        let bad = found(path, b"no database at all", false);
        assert_eq!((bad.packages, bad.passed_over), (Vec::new(), vec![format!("/{path}")]));
    }
    // Rows that fill pages on several levels, of sizes on both sides of what a page holds.
    let headers: Vec<Vec<u8>> =
        (0..1500).map(|number| header(&format!("p{number}"), "1", 0, number * 7)).collect();
    let found = found(RPM[0].0, &sqlite(&headers), false);
    assert_eq!((found.packages.len(), found.passed_over.len()), (1500, 0));
}

/// A program of 64 bits with one section, beside that of names.
fn elf(section: &str, content: &[u8]) -> Vec<u8> {
    let names = format!("\0{section}\0.shstrtab\0");
    let mut out = vec![0; 64];
    out[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let start = out.len() as u64;
    out.extend(content);
    let named = out.len() as u64;
    out.extend(names.as_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
    let table = out.len() as u64;
    for (name, offset, size) in [
        (0_u32, 0, 0),
        (1, start, content.len() as u64),
        (section.len() as u32 + 2, named, names.len() as u64),
    ] {
        let mut row = [0; 64];
        row[..4].copy_from_slice(&name.to_le_bytes());
        row[24..32].copy_from_slice(&offset.to_le_bytes());
        row[32..40].copy_from_slice(&size.to_le_bytes());
        out.extend(row);
    }
    out[40..48].copy_from_slice(&table.to_le_bytes());
    for (place, number) in [(58, 64_u16), (60, 3), (62, 2)] {
        out[place..place + 2].copy_from_slice(&number.to_le_bytes());
    }
    out
}

fn go() -> Vec<u8> {
    let modules = "path\texample.com/cmd/app\nmod\texample.com/app\t(devel)\t\ndep\tgithub.com/a/b\tv1.2.3\th1:x=\n\
                   dep\tgolang.org/x/old\tv0.1.0\n=>\tgolang.org/x/new\tv0.2.0\th1:y=\nbuild\t-compiler=gc\n";
    let framed = [&[7; 16][..], modules.as_bytes(), &[9; 16]].concat();
    let mut data = b"\xff Go buildinf:\x08\x02".to_vec();
    data.resize(32, 0);
    for text in [b"go1.22.5 X:x".as_slice(), &framed] {
        let mut length = text.len();
        while length >= 0x80 {
            data.push(length as u8 | 0x80);
            length >>= 7;
        }
        data.push(length as u8);
        data.extend(text);
    }
    elf(".go.buildinfo", &data)
}

fn rust() -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(br#"{"packages":[{"name":"serde","version":"1.0.1","source":"crates.io"},{"name":"cc","version":"1.0.0","kind":"build"}]}"#).unwrap();
    elf(".dep-v0", &encoder.finish().unwrap())
}

#[test]
fn programs_name_what_they_are_made_of() {
    check(
        "usr/bin/app",
        &go(),
        expect![[r#"
        pkg:golang/stdlib@1.22.5 - -
        pkg:golang/github.com/a/b@v1.2.3 - -
        pkg:golang/golang.org/x/new@v0.2.0 - -
    "#]],
    );
    check(
        "usr/bin/tool",
        &rust(),
        expect![[r#"
        pkg:cargo/serde@1.0.1 - -
    "#]],
    );
    assert_eq!(found("usr/bin/app", &go(), false), Found::default(), "nobody could run it");
    check("usr/bin/sh", &elf(".text", b"x"), expect![""]);
}

/// A zip archive; each member deflated or stored.
fn zip(members: &[(&str, bool, &[u8])]) -> Vec<u8> {
    let (mut out, mut list) = (b"#!/bin/sh\n".to_vec(), Vec::new());
    for (name, is_deflated, content) in members {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        let deflated = encoder.finish().unwrap();
        let bytes = if *is_deflated { &deflated } else { *content };
        // What lies before an archive is not counted in it.
        let place = out.len() as u32 - 10;
        let mut fields = vec![20, 0, 0, 0, if *is_deflated { 8 } else { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fields.extend((bytes.len() as u32).to_le_bytes());
        fields.extend((content.len() as u32).to_le_bytes());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        let head = [fields[0], 0, 0, 0, fields[4], 0, 0, 0, 0, 0];
        out.extend(b"PK\x03\x04");
        out.extend(head);
        out.extend([0; 4]);
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend((content.len() as u32).to_le_bytes());
        out.extend((name.len() as u16).to_le_bytes());
        out.extend([0, 0]);
        out.extend(name.as_bytes());
        out.extend(bytes);
        list.extend(b"PK\x01\x02");
        list.extend([20, 0]);
        list.extend(head);
        list.extend([0; 4]);
        list.extend((bytes.len() as u32).to_le_bytes());
        list.extend((content.len() as u32).to_le_bytes());
        list.extend((name.len() as u16).to_le_bytes());
        list.extend([0; 12]);
        list.extend(place.to_le_bytes());
        list.extend(name.as_bytes());
    }
    let place = out.len() as u32 - 10;
    out.extend(&list);
    out.extend(b"PK\x05\x06\0\0\0\0");
    for _ in 0..2 {
        out.extend((members.len() as u16).to_le_bytes());
    }
    out.extend((list.len() as u32).to_le_bytes());
    out.extend(place.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn jar() -> Vec<u8> {
    let maven = b"#Generated\nversion=6.1.2\ngroupId = org.spring\nartifactId=web\n";
    let web = zip(&[("META-INF/maven/org.spring/web/pom.properties", true, maven)]);
    let manifest = b"Manifest-Version: 1.0\r\nImplementation-Ve\r\n rsion: 2.0\r\nImplementation-Vendor-Id: com.a\r\n\r\nName: x\r\nImplementation-Version: 9\r\n";
    let lib = zip(&[("META-INF/MANIFEST.MF", false, manifest)]);
    let bare = zip(&[("x", false, b"x")]);
    zip(&[
        ("META-INF/MANIFEST.MF", true, b"Manifest-Version: 1.0\n"),
        ("BOOT-INF/lib/web-6.1.2.jar", false, &web),
        ("BOOT-INF/lib/lib.jar", true, &lib),
        ("BOOT-INF/lib/commons-io-2.15.1.jar", false, &bare),
    ])
}

#[test]
fn java_archives_lie_in_each_other() {
    check(
        "app/app-1.0.jar",
        &jar(),
        expect![[r#"
        pkg:maven/app/app@1.0 - -
        pkg:maven/com.a/lib@2.0 - -
        pkg:maven/commons-io/commons-io@2.15.1 - -
        pkg:maven/org.spring/web@6.1.2 - -
    "#]],
    );
    let mut nested = zip(&[("x", false, b"x")]);
    for depth in 0..6 {
        nested = zip(&[(&format!("n-{depth}.jar"), depth % 2 == 0, &nested)]);
    }
    let found = found("a.war", &nested, false);
    assert_eq!(found.packages.len(), 3, "no deeper than is sensible: {found:?}");
    check(
        "a-1.jar",
        b"PK\x05\x06",
        expect![[r#"
        passed over: /a-1.jar
    "#]],
    );
}

#[test]
fn words_that_nobody_would_choose_are_left_out() {
    let long = "x".repeat(600);
    check(
        "lib/apk/db/installed",
        format!("P:a\nV:{long}\n\nP:a\x1b[2J\nV:1\n\nP:\nV:1\n").as_bytes(),
        expect![""],
    );
}

#[test]
fn order_does_not_matter() {
    let files = [("a-1.jar", jar()), ("usr/bin/go", go()), (RPM[1].0, ndb(&[header("a", "1", 0, 0)]))];
    let list = |files: &[(&str, Vec<u8>)]| {
        let mut inventory = Inventory::default();
        files.iter().for_each(|(path, content)| show(&mut inventory, path, content, true));
        inventory.finish()
    };
    let mut turned = files.clone();
    turned.reverse();
    assert_eq!(list(&files), list(&turned));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damage_is_no_panic(kind in 0..6_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>(), is_cut in any::<bool>()) {
        let headers = [header("a", "1", 0, 900), header("b", "2", 1, 9000)];
        let (path, mut content) = match kind {
            0 => (RPM[0].0, sqlite(&headers)),
            1 => (RPM[1].0, ndb(&headers)),
            2 => (RPM[2].0, berkeley(&headers)),
            3 => ("usr/bin/a", go()),
            4 => ("usr/bin/a", rust()),
            _ => ("a-1.jar", jar()),
        };
        for (place, byte) in changes {
            // Most of what decides lies at the beginning.
            let place = if byte % 2 == 0 { place.index(content.len().min(128)) } else { place.index(content.len()) };
            content[place] = byte;
        }
        if is_cut {
            content.truncate(cut.index(content.len()));
        }
        found(path, &content, true);
    }

    #[test]
    fn noise_is_no_panic(content in prop::collection::vec(any::<u8>(), 0..2048), path in "[a-z./-]{0,20}") {
        for path in [path.as_str(), "a.jar", "var/lib/rpm/Packages", "usr/bin/a", "a.dist-info/METADATA", "x/a.deps.json"] {
            found(path, &content, true);
        }
    }
}
