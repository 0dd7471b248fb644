//! Places in a text, and how messages are shown.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn source(text: &str) -> Source {
    Source::new("Dockerfile", text.as_bytes().to_vec()).unwrap()
}

fn check(text: &str, marked: &str, expected: Expect) {
    let source = source(text);
    let at = source.text().find(marked).unwrap();
    let error = Diagnostic::error("it is wrong", Span::new(at, at + marked.len())).with_help("do better");
    expected.assert_eq(&error.render(&source));
}

#[test]
fn a_message_shows_the_line_and_marks_the_place() {
    check(
        "FROM a\nRUN\tfoo bar\n",
        "foo",
        expect![[r#"
            error: it is wrong
             --> Dockerfile:2:5
              |
            2 | RUN    foo bar
              |        ^^^
              = help: do better
        "#]],
    );
}

#[test]
fn a_place_of_several_lines_shows_the_first() {
    check(
        "FROM a\nRUN x \\\n  y\n",
        "x \\\n  y",
        expect![[r#"
            error: it is wrong
             --> Dockerfile:2:5
              |
            2 | RUN x \
              |     ^^^...
              = help: do better
        "#]],
    );
}

#[test]
fn wide_characters_take_two_columns() {
    check(
        "# \u{4e2d}\u{6587} x y",
        "x",
        expect![[r#"
            error: it is wrong
             --> Dockerfile:1:6
              |
            1 | # 中文 x y
              |        ^
              = help: do better
        "#]],
    );
}

#[test]
fn what_a_terminal_would_obey_is_not_shown() {
    let source = Source::new("a\x1b[2Jb", b"RUN \x1b[31m\xe2\x80\xaeoh\r\n".to_vec()).unwrap();
    let error = Diagnostic::error("bad\r\x07\nthing", Span::new(0, 3));
    let shown = error.render(&source);
    let allowed = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
    assert!(shown.chars().all(allowed), "{shown:?}");
    assert!(shown.contains("[31m"), "{shown}");
}

#[test]
fn long_lines_are_cut_around_the_mark() {
    let text = format!("{}HERE{}", "a".repeat(30_000), "b".repeat(30_000));
    let source = source(&text);
    let error = Diagnostic::error("x", Span::new(30_000, 30_004));
    let shown = error.render(&source);
    assert!(shown.len() < 1000, "{}", shown.len());
    assert!(shown.contains("...aaa") && shown.contains("HEREbbb") && shown.contains("b..."), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[3].find("HERE"), lines[4].find("^^^^"), "{shown}");
    let all = Diagnostic::error("x", Span::new(0, text.len())).render(&source);
    assert!(all.len() < 1000, "{}", all.len());
}

#[test]
fn a_message_about_the_whole_file_names_it() {
    let shown = Diagnostic::error("file with no instructions", None).render(&source(""));
    assert_eq!(shown, "error: file with no instructions\n --> Dockerfile\n");
}

#[test]
fn several_places_are_shown_one_after_the_other() {
    let source = source("FROM a AS x\nFROM b AS x\n");
    let warning = Diagnostic::warning("twice", Span::new(22, 23)).with_label(Span::new(10, 11), "the first");
    expect![[r#"
        warning: twice
         --> Dockerfile:2:11
          |
        2 | FROM b AS x
          |           ^
         ::: Dockerfile:1:11
          |
        1 | FROM a AS x
          |           - the first
    "#]]
    .assert_eq(&warning.render(&source));
}

#[test]
fn lines_are_counted_without_the_one_that_the_last_end_begins() {
    for (text, lines) in [("", 0), ("\n", 1), ("a", 1), ("a\n", 1), ("a\n\n", 2), ("a\nb", 2)] {
        assert_eq!(source(text).line_count(), lines, "{text:?}");
    }
}

#[test]
fn a_mark_at_the_beginning_is_dropped_and_damage_is_found() {
    assert_eq!(source("\u{feff}FROM a").text(), "FROM a");
    let source = Source::new("x", b"\xef\xbb\xbf# caf\xe9\nRUN \xff\xfe".to_vec()).unwrap();
    assert_eq!(source.text(), "# caf\u{fffd}\nRUN \u{fffd}\u{fffd}");
    let first = source.damage_in(Span::new(0, 8)).unwrap();
    assert_eq!(source.position(first.start), Position { line: 1, column: 6 });
    assert_eq!(source.damage_in(Span::new(9, 12)), None);
    assert!(source.damage_in(Span::new(9, 20)).is_some());
    // A replacement character that somebody wrote is text like any other.
    let written = Source::new("x", "RUN \u{fffd}".as_bytes().to_vec()).unwrap();
    assert_eq!(written.damage_in(Span::new(0, 7)), None);
}

#[test]
fn a_file_that_is_too_large_is_refused_at_once() {
    let error = Source::new("Dockerfile", vec![b'\n'; 100 << 20]).unwrap_err();
    assert_eq!(error.message, "the Dockerfile has 104857600 bytes, more than 16777216");
}

proptest! {
    #[test]
    fn any_bytes_and_any_place_can_be_shown(bytes in proptest::collection::vec(any::<u8>(), 0..400), a in 0usize..500, b in 0usize..500) {
        let source = Source::new("f", bytes).unwrap();
        let floor = |at: usize| (0..=at.min(source.text().len())).rev().find(|at| source.text().is_char_boundary(*at)).unwrap();
        let error = Diagnostic::error("e", Span::new(floor(a.min(b)), floor(a.max(b))));
        let shown = error.render(&source);
        prop_assert!(shown.ends_with('\n'));
        let position = source.position(error.span().unwrap().start);
        prop_assert!(position.line as usize <= source.line_count() + 1);
    }
}
