//! The window of `skiff build` on real terminals: tiny ones, and one whose size changes while a step runs.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod building;

use building::Workshop;
use testkit::{Picture, Terminal};

/// A step whose name and output have wide characters, and sequences that no terminal may get.
const DOCKERFILE: &str = "FROM busybox
RUN --mount=type=cache,target=/c printf '\\033[2J\\033[31m\u{2705}\u{1f680}\\n\u{65e5}\u{672c}\u{8a9e}\\n'; touch /c/here; while [ -e /c/here ]; do sleep 0.05; done
RUN true \u{2705} \u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}
";
/// How a drawing ends.
const END: &str = "\x1b[?25h";

fn start(workshop: &Workshop, columns: u16, rows: u16) -> Terminal {
    let context = workshop.context.to_str().unwrap();
    let words = ["build", "--progress=tty", "--network=none", "--timings=false", "-t", "made", context];
    workshop.skiff.terminal(&words, columns, rows)
}

/// All up to the end of the last drawing.
fn drawn(text: &str) -> &str {
    &text[..text.rfind(END).unwrap() + END.len()]
}

#[test]
fn a_window_that_is_resized_stands_once_and_whole() {
    let workshop = Workshop::new(DOCKERFILE);
    let mut terminal = start(&workshop, 80, 60);
    let mark = workshop.wait_for_mark("here");
    let mut sizes = Vec::new();
    for columns in [30, 100, 24, 61] {
        // At the end of a drawing, so that the next one is a while off: each is of the size that the terminal has.
        terminal.expect(END);
        terminal.expect(END);
        sizes.push((terminal.so_far(), columns));
        terminal.resize(columns, 60);
    }
    terminal.expect(END);
    terminal.expect(END);
    std::fs::remove_file(mark).unwrap();
    let (code, text) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    let mut picture = Picture::new(80, 60);
    picture.write("$ skiff build\n");
    let mut seen = 0;
    for (until, columns) in sizes {
        picture.write(&text[seen..until]);
        picture.resize(columns.into(), 60);
        seen = until;
    }
    picture.write(&drawn(&text)[seen..]);
    let rows = picture.rows();
    assert!(picture.is_at_rest() && picture.wrapped() == 0 && rows[0] == "$ skiff build", "{rows:#?}");
    assert!(rows[1].starts_with("[+] Building"), "{rows:#?}");
    let parts = [
        "[+] Building",
        ") FINISHED",
        "[1/3] FROM",
        "[2/3] RUN --mount",
        "[3/3] RUN true \u{2705}",
        "exporting to image",
    ];
    for part in parts {
        assert_eq!(rows.iter().filter(|row| row.contains(part)).count(), 1, "{part}: {rows:#?}");
    }
}

#[test]
fn tiny_terminals_are_not_written_over() {
    let workshop = Workshop::new("FROM busybox\nRUN echo \u{2705}\u{65e5}\u{672c}\u{8a9e}; sleep 0.3\n");
    for (columns, rows) in [(1, 1), (2, 1), (9, 2), (12, 3), (20, 5), (23, 2), (24, 1), (26, 4)] {
        let (code, text) = start(&workshop, columns, rows).finish();
        assert_eq!(code, 0, "{text}");
        let mut picture = Picture::new(columns.into(), rows.into());
        picture.write("$\n");
        picture.write(drawn(&text));
        let shown = picture.rows();
        assert!(picture.is_at_rest() && picture.wrapped() == 0 && shown[0] == "$", "{columns}: {shown:#?}");
        let head = "[+] Building".get(..usize::from(columns) - 1).unwrap_or("[+] Building");
        let heads = shown.iter().filter(|row| row.starts_with(head)).count();
        assert!(columns == 1 || (heads == 1 && shown[1].starts_with(head)), "{columns}: {shown:#?}");
        workshop.forget();
    }
}
