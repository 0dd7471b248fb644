//! Pulls and pushes as they are seen on a terminal: their rows, the waits in them, and what stands there in the end.

#![allow(clippy::unwrap_used, reason = "tests may fail")]

mod remote;

use std::collections::BTreeMap;
use std::sync::Mutex;

use oci::Digest;
use remote::*;
use testkit::{Peer, Reply, Skiff, peer, registry};

/// What a terminal of so many rows shows of what was written to it; no row is longer than the terminal is wide.
struct Screen {
    rows: Vec<String>,
    cursor: usize,
    height: usize,
}

impl Screen {
    fn of(text: &str, height: usize) -> Screen {
        let mut screen = Screen { rows: vec![String::new()], cursor: 0, height };
        // As the terminal's driver ends lines.
        let text = text.replace("\r\n", "\n");
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            match first {
                '\r' => screen.begin_row(),
                '\n' => screen.down(),
                '\x1b' => {
                    let sequence = rest.strip_prefix('[').unwrap();
                    let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    screen.obey(sequence[..end].parse().unwrap_or(1), &sequence[end..=end]);
                    rest = &sequence[end + 1..];
                }
                _ => screen.rows[screen.cursor].push(first),
            }
        }
        screen
    }

    /// What is written next stands in place of what is there. All of it is: every row ends with an erasure.
    fn begin_row(&mut self) {
        self.rows[self.cursor].clear();
    }

    fn down(&mut self) {
        self.cursor += 1;
        if self.cursor == self.rows.len() {
            self.rows.push(String::new());
        }
    }

    fn obey(&mut self, number: usize, command: &str) {
        match command {
            // What has left the screen above cannot be reached.
            "A" => {
                let top = self.rows.len().saturating_sub(self.height);
                self.cursor = self.cursor.saturating_sub(number).max(top);
            }
            "J" => self.rows.truncate(self.cursor + 1),
            "K" => {}
            other => panic!("a sequence that no pull writes: {other}"),
        }
    }
}

#[test]
fn a_wait_stands_in_the_row_of_its_layer_until_it_is_over() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    put(&registry, "a:1", host(), &hello());
    let (address, turns) = (registry.address(), Mutex::new(BTreeMap::<String, u32>::new()));
    let second = Digest::of(&hello()[1].bytes);
    let late = second.to_string();
    let peer = Peer::serve(move |seen| {
        let honest = peer::exchange(&address, seen);
        let mut turns = turns.lock().unwrap();
        let turn = turns.entry(seen.path.clone()).or_default();
        *turn += 1;
        match seen.path.ends_with(&late) && *turn == 1 {
            true => Reply::new(429, "").with("Retry-After", 1),
            false => honest,
        }
    });
    let name = format!("{}/a:1", peer.address());
    let mut terminal = skiff.terminal(&["pull", &name], 160, 24);
    let id = &second.encoded()[..12];
    // A row is drawn from its beginning, and a line that stands above the rows is not.
    let wait = format!("\r{id}: Retrying in 1 second (attempt 2 of 6): ");
    terminal.expect(&wait);
    let (code, said) = terminal.finish();
    assert_eq!(code, 0, "{said:?}");
    let screen = Screen::of(&said, 24);
    let rows: Vec<&str> = screen.rows.iter().map(|row| row.trim_end()).collect();
    let first = Digest::of(&hello()[0].bytes);
    let first = &first.encoded()[..12];
    let done = |id: &str| format!("{id}: Pull complete");
    assert_eq!(rows.iter().filter(|row| **row == done(id) || **row == done(first)).count(), 2, "{rows:?}");
    assert!(!rows.iter().any(|row| row.contains("Retrying")), "{rows:?}");
    assert_eq!(rows.iter().filter(|row| row.starts_with(id)).count(), 1, "{rows:?}");
    assert!(rows.contains(&format!("Status: Downloaded newer image for {name}").as_str()), "{rows:?}");
}

#[test]
fn a_wait_of_the_whole_pull_stands_above_the_rows() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    put(&registry, "a:1", host(), &hello());
    let (address, asked) = (registry.address(), Mutex::new(0));
    let peer = Peer::serve(move |seen| {
        let mut asked = asked.lock().unwrap();
        *asked += u32::from(seen.path.contains("/manifests/"));
        match seen.path.contains("/manifests/") && *asked == 1 {
            true => Reply::new(503, ""),
            false => peer::exchange(&address, seen),
        }
    });
    let name = format!("{}/a:1", peer.address());
    let (code, said) = skiff.terminal(&["pull", &name], 160, 24).finish();
    assert_eq!(code, 0, "{said:?}");
    let screen = Screen::of(&said, 24);
    let place = |part: &str| screen.rows.iter().position(|row| row.contains(part));
    let wait =
        place("Retrying in 1 second (attempt 2 of 6): ").unwrap_or_else(|| panic!("{:?}", screen.rows));
    assert!(wait < place(": Pull complete").unwrap(), "{:?}", screen.rows);
}

#[test]
fn more_layers_than_the_terminal_has_rows_are_shown_once_each() {
    let (registry, _content) = registry();
    let skiff = Skiff::new();
    let mut layers = hello().to_vec();
    layers.extend((0..20).map(|number| gzip(&file(&format!("file-{number}"), b"content"))));
    put(&registry, "a:1", host(), &layers);
    let name = format!("{}/a:1", registry.address());
    let shown_once = |words: &[&str], rows: &[String]| {
        let (code, said) = skiff.terminal(words, 80, 10).finish();
        assert_eq!(code, 0, "{said:?}");
        let screen = Screen::of(&said, 10);
        for wanted in rows {
            let id = &wanted[..12];
            let found: Vec<&String> = screen.rows.iter().filter(|row| row.contains(id)).collect();
            assert_eq!(found, [wanted], "{:#?}", screen.rows);
        }
    };
    let row = |digest: &str, state: &str| format!("{}: {state}", &digest["sha256:".len()..][..12]);
    let of = |state: &str| -> Vec<String> {
        layers.iter().map(|layer| row(Digest::of(&layer.bytes).as_str(), state)).collect()
    };
    shown_once(&["pull", &name], &of("Pull complete"));
    let pushed = format!("{}/b/c:1", registry.address());
    ok(&skiff, &["tag", &name, &pushed]);
    let rows: Vec<String> = layers.iter().map(|layer| row(&layer.diff_id, "Mounted from a")).collect();
    shown_once(&["push", &pushed], &rows);
}
