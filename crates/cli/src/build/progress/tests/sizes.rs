//! The window in terminals of any size, which may change: what stands there is what was drawn last, and nothing above it is touched.

use testkit::Picture;

use super::*;

/// Characters of two columns and of none, and what programs do to show progress or to do harm.
const SCRIPT: &str = "
    0 1 +[internal] load build definition from Dockerfile
    0 1 >
    10 1 transferring dockerfile: 150/.
    20 1 =
    30 2 +[1/4] FROM docker.io/library/alpine
    30 2 c
    40 3 +[2/4] RUN echo \u{65e5}\u{672c}\u{8a9e} \u{2705}\u{2705}\u{2705} \u{1f680}\u{1f680}\u{1f680} e\u{301}\u{202e}
    50 3 >
    60 3 \"\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\u{2705}\\n\"
    70 3 \"\x1b[2J\x1b[31mred \u{1f680}\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}\u{65e5}\u{672c}\u{8a9e}\\n10%\\r20%\\r\"
    80 4 +[3/4] RUN sleep 100
    80 4 >
    90 4 \"one\\ntwo\\nthree\\nfour\\nfive\\nsix\\nseven\\n\"
    100 3 =
    110 5 +exporting layers
    110 5 >
    120 5 sending 1000000/2000000
    130 4 !exit code: 1
";
/// What stands above.
const PROMPT: &str = "$";

fn tty() -> Tty {
    Tty::new(Colors::of(None, None), None, BUILDER_SHORT)
}

fn terminal(size: Size) -> Picture {
    let mut picture = Picture::new(size.width, size.height);
    picture.write(PROMPT);
    picture.write("\n");
    picture
}

/// What a terminal shows on which the window is drawn once, at the end.
fn once(size: Size, now: Duration, all: bool) -> Picture {
    let (mut trace, mut picture) = (Trace::new(false, true), terminal(size));
    events(SCRIPT, |event, at| trace.apply(event, at));
    picture.write(&tty().draw(&trace, now, size, all));
    picture
}

#[test]
fn in_a_terminal_of_any_size_one_drawing_replaces_the_other() {
    let now = Duration::from_millis(1200);
    let heights = [1, 2, 3, 4, 5, 6, 9, 24];
    for (width, height) in
        (1..=41).chain([80]).flat_map(|width| heights.iter().map(move |height| (width, *height)))
    {
        let size = Size { width, height };
        let (mut trace, mut tty, mut picture) = (Trace::new(false, true), tty(), terminal(size));
        events(SCRIPT, |event, at| {
            trace.apply(event, at);
            picture.write(&tty.draw(&trace, at, size, false));
            assert_eq!(picture.wrapped(), 0, "{size:?}: {:#?}", picture.rows());
            assert!(height == 1 || picture.is_at_rest(), "{size:?}");
        });
        picture.write(&tty.draw(&trace, now, size, false));
        assert_eq!(picture.rows(), once(size, now, false).rows(), "{size:?}");
        assert!(picture.rows().len() <= 1 + height, "{size:?}: {:#?}", picture.rows());
        // The end is whole, however much of it leaves the terminal above.
        picture.write(&tty.draw(&trace, now, size, true));
        assert_eq!(picture.rows(), once(size, now, true).rows(), "{size:?}");
        assert!(picture.is_at_rest() && picture.wrapped() == 0, "{size:?}");
        // In a narrow one there is room for the first row alone.
        let drawn = if width < 23 { usize::from(width > 1) } else { 8 };
        assert_eq!(picture.rows().len(), 1 + drawn, "{size:?}: {:#?}", picture.rows());
        assert_eq!(picture.rows()[0], PROMPT);
    }
}

#[test]
fn a_window_is_drawn_over_as_it_stands_in_a_terminal_that_was_resized() {
    let (height, now) = (1000, Duration::from_millis(1200));
    let widths = [2, 7, 23, 24, 25, 40, 41, 80, 133];
    for (before, after) in widths.iter().flat_map(|before| widths.map(|after| (*before, after))) {
        let (mut trace, mut tty) = (Trace::new(false, true), tty());
        let mut size = Size { width: before, height };
        let mut picture = terminal(size);
        events(SCRIPT, |event, at| {
            trace.apply(event, at);
            // In the middle.
            if at.as_millis() == 100 {
                size.width = after;
                picture.resize(after, height);
            }
            picture.write(&tty.draw(&trace, at, size, false));
        });
        picture.write(&tty.draw(&trace, now, size, true));
        assert_eq!(picture.rows(), once(size, now, true).rows(), "from {before} to {after}");
    }
}

#[test]
fn a_terminal_that_became_lower_has_a_lower_window() {
    let now = Duration::from_millis(1200);
    for height in 1..10 {
        let (mut trace, mut tty) = (Trace::new(false, true), tty());
        events(SCRIPT, |event, at| trace.apply(event, at));
        let mut picture = terminal(Size { width: 60, height: 24 });
        picture.write(&tty.draw(&trace, now, Size { width: 60, height: 24 }, false));
        picture.resize(60, height);
        let stood = picture.rows().len();
        for _ in 0..5 {
            picture.write(&tty.draw(&trace, now, Size { width: 60, height }, false));
        }
        // Some of the old window may have left the terminal above, but nothing is added to that.
        assert!(picture.rows().len() <= stood + 1, "{height}: {:#?}", picture.rows());
        assert!(height == 1 || picture.is_at_rest(), "{height}");
    }
}
