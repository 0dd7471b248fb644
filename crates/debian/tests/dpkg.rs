//! The rules of versions against dpkg itself, and every reader against what nobody meant to write.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test starts dpkg and may fail")]

use std::cmp::Ordering;
use std::io::{Cursor, Write};
use std::process::{Command, Stdio};

use debian::{Release, Universe, Version, deb, parse_date, parse_relations};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

/// What dpkg says of pairs, all asked by one shell.
fn dpkg(pairs: &[(String, String)]) -> Vec<Ordering> {
    let script = "while read -r a b; do if dpkg --compare-versions $a lt $b; then echo lt; \
                  elif dpkg --compare-versions $a eq $b; then echo eq; else echo gt; fi; done";
    let mut shell =
        Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = pairs.iter().map(|(left, right)| format!("{left} {right}\n")).collect();
    let mut input = shell.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = shell.wait_with_output().unwrap();
    writer.join().unwrap();
    let order = |word| match word {
        "lt" => Ordering::Less,
        "eq" => Ordering::Equal,
        _ => Ordering::Greater,
    };
    String::from_utf8(output.stdout).unwrap().lines().map(order).collect()
}

#[test]
fn versions_are_ordered_as_dpkg_orders_them() {
    let known = [
        ("1.0", "1.0-0"),
        ("1.0~rc1", "1.0"),
        ("1.0~~", "1.0~"),
        ("1.0~~a", "1.0~"),
        ("0:1", "1"),
        ("1:0", "2"),
        ("1.00", "1.0"),
        ("1a", "1+"),
        ("1.a", "1.+"),
        ("1-1", "1-1+b1"),
        ("1.2.3", "1.2.10"),
        ("1a1", "1a01"),
        ("1.0-1~bpo12+1", "1.0-1"),
        ("1-1-1", "1-2"),
        ("99999999999999999999", "100000000000000000000"),
        ("a", "1"),
    ];
    let mut pairs: Vec<(String, String)> =
        known.iter().map(|(left, right)| ((*left).to_owned(), (*right).to_owned())).collect();
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    // Few characters, so that the two often have much in common.
    let one = "([01]:)?[0-2][0-2.~+a]{0,4}(-[0-1a~.]{1,3})?";
    for _ in 0..300 {
        pairs.push((one, one).new_tree(&mut runner).unwrap().current());
    }
    let ours = pairs
        .iter()
        .map(|(left, right)| left.parse::<Version>().unwrap().cmp(&right.parse::<Version>().unwrap()));
    let ours: Vec<Ordering> = ours.collect();
    let theirs = dpkg(&pairs);
    assert_eq!(theirs.len(), pairs.len());
    for ((pair, ours), theirs) in pairs.iter().zip(&ours).zip(&theirs) {
        assert_eq!(ours, theirs, "{pair:?}");
    }
    assert!(ours.iter().filter(|order| order.is_eq()).count() > 5);
}

#[test]
fn the_packages_of_this_host_are_read() {
    let status = std::fs::read_to_string("/var/lib/dpkg/status").unwrap();
    let mut packages = 0;
    for stanza in debian::control::stanzas(&status) {
        let stanza = stanza.unwrap();
        stanza.require("Version").unwrap().parse::<Version>().unwrap();
        for field in ["Depends", "Pre-Depends", "Provides", "Conflicts", "Breaks"] {
            parse_relations(field, stanza.get(field).unwrap_or("")).unwrap();
        }
        packages += 1;
    }
    let known = Command::new("dpkg-query").args(["-f", ".", "-W"]).output().unwrap().stdout.len();
    assert!(packages >= known && known > 50, "{packages} {known}");
}

proptest! {
    #[test]
    fn versions_have_an_order(a in "[0-2a~+.-]{1,6}", b in "[0-2a~+.-]{1,6}", c in "[0-2a~+.-]{1,6}") {
        if let (Ok(a), Ok(b), Ok(c)) = (a.parse::<Version>(), b.parse::<Version>(), c.parse::<Version>()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert!(!(a <= b && b <= c) || a <= c);
            prop_assert_eq!(a.as_str().parse::<Version>().unwrap(), a);
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "(Package|SHA256|Date|Version|Depends|[ \n:(=)|,.a-z0-9-]|\\PC){0,60}") {
        drop(Release::parse(&text));
        drop(Universe::default().add(&text, "amd64", 0));
        drop(parse_relations("Depends", &text));
        drop(parse_date(&text));
        for stanza in debian::control::stanzas(&text).flatten() {
            prop_assert!(text.contains(stanza.text()));
        }
    }

    #[test]
    fn relations_are_printed_as_they_are_read(text in "[a-c]{2}( \\((<<|<=|=|>=|>>) [0-9]{1,2}\\))?") {
        let groups = parse_relations("Depends", &text).unwrap();
        prop_assert_eq!(groups[0][0].to_string(), text);
    }

    #[test]
    fn no_bytes_make_the_reader_of_package_files_panic(change in 0usize..200, to in any::<u8>()) {
        let mut bytes = b"!<arch>\n".to_vec();
        for (name, data) in [("debian-binary", "2.0\n"), ("control.tar", "ab"), ("data.tar.xz", "cd")] {
            bytes.extend(format!("{name:<16}{:<32}{:<10}`\n{data}", 0, data.len()).bytes());
        }
        let at = change % bytes.len();
        bytes[at] = to;
        if let Ok(found) = deb::layout(&mut Cursor::new(&bytes)) {
            prop_assert!(found.data.range.end <= bytes.len() as u64);
        }
    }
}
