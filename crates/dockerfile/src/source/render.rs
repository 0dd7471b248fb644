//! Messages as `rustc` shows them.
//!
//! ```text
//! error: unknown instruction: FRON (did you mean FROM?)
//!  --> Dockerfile:3:1
//!   |
//! 3 | FRON alpine
//!   | ^^^^
//!   = help: …
//! ```
//!
//! The text is someone else's: what would move the cursor or turn the direction of writing is shown as U+FFFD,
//! a long line is cut around the mark, so that a message has a bounded size. Credentials of addresses are masked.

use std::fmt::Write as _;

use super::{Diagnostic, Label, Severity, Source, Span};

/// How many columns of a line are shown.
const WIDTH: usize = 160;
/// How many of them come before the mark in a line that is cut.
const BEFORE: usize = 60;
/// The most characters of a message.
const MESSAGE: usize = 4096;
/// The most lines of a place that is shown as a whole.
const EXCERPT: usize = 100;
/// What a tab is shown as.
const TAB: &str = "    ";

pub(super) fn render(diagnostic: &Diagnostic, source: &Source) -> String {
    let word = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut out = String::from(word);
    if let Some(code) = diagnostic.code {
        let _ = write!(out, "[{code}]");
    }
    let _ = writeln!(out, ": {}", plain(&diagnostic.message));
    let lines = diagnostic.labels.iter().map(|label| source.line_of(label.span.start));
    let gutter = lines.max().map_or(1, |line| line.to_string().len());
    let file = plain(source.name());
    if diagnostic.labels.is_empty() {
        let _ = writeln!(out, "{:gutter$}--> {file}", "");
    }
    for (index, label) in diagnostic.labels.iter().enumerate() {
        let position = source.position(label.span.start);
        let arrow = if index == 0 { "-->" } else { ":::" };
        let _ = writeln!(out, "{:gutter$}{arrow} {file}:{}:{}", "", position.line, position.column);
        snippet(&mut out, source, label, gutter, index == 0);
    }
    if let Some(help) = &diagnostic.help {
        let _ = writeln!(out, "{:gutter$} = help: {}", "", plain(help));
    }
    out
}

/// The lines of a place between two rules, as BuildKit shows them: two more around a single line, one around several.
///
/// ```text
/// Dockerfile:2
/// --------------------
///    1 |     FROM alpine
///    2 | >>> RUN false
///    3 |     CMD ["sh"]
/// --------------------
/// ```
pub(super) fn excerpt(source: &Source, span: Span) -> String {
    let (first, last) = source.lines_of(span);
    // What follows the last line end is a line to BuildKit.
    let count = 1 + u32::try_from(source.text().matches('\n').count()).unwrap_or(u32::MAX - 1);
    let around = if first == last { 2 } else { 1 };
    let (from, to) = (first.saturating_sub(around).max(1), last.saturating_add(around).min(count));
    let rule = "-".repeat(20);
    let mut out = format!("{}:{first}\n{rule}\n", plain(source.name()));
    for line in (from..=to).take(EXCERPT) {
        let mark = if (first..=last).contains(&line) { ">>>" } else { "   " };
        let start = source.line_start(line as usize - 1);
        let length = source.line(line as usize - 1).trim_end_matches(['\r', '\n']).len();
        let text: String = source.shown_part(start..start + length).chars().take(MESSAGE).collect();
        let _ = writeln!(out, " {line:3} | {mark} {}", shown(&text));
    }
    if (to - from) as usize >= EXCERPT {
        out.push_str("     | ...\n");
    }
    out.push_str(&rule);
    out.push('\n');
    out
}

/// The line of a label, and the mark below it.
fn snippet(out: &mut String, source: &Source, label: &Label, gutter: usize, main: bool) {
    let number = source.line_of(label.span.start);
    let index = number as usize - 1;
    let line = source.line(index).trim_end_matches(['\r', '\n']);
    let start = source.line_start(index);
    let from = (label.span.start as usize - start).min(line.len());
    let to = (label.span.end as usize).saturating_sub(start).clamp(from, line.len());
    let continues = label.span.end as usize > start + source.line(index).len();
    let part = |from: usize, to: usize| source.shown_part(start + from..start + to);
    let (before, marked, after) = cut(&part(0, from), &part(from, to), &part(to, line.len()));
    let sign = if main { "^" } else { "-" };
    let mark = sign.repeat(width(&marked).max(1));
    let more = if continues { "..." } else { "" };
    let _ = writeln!(out, "{:gutter$} |", "");
    let _ = writeln!(out, "{number:gutter$} | {}", format!("{before}{marked}{after}").trim_end());
    let text = plain(&label.text);
    let below = format!("{:gutter$} | {:indent$}{mark}{more} {text}", "", "", indent = width(&before));
    let _ = writeln!(out, "{}", below.trim_end());
}

/// The three parts of a line as shown, together at most [`WIDTH`] columns and a few dots wide.
fn cut(before: &str, marked: &str, after: &str) -> (String, String, String) {
    let whole = [before, marked, after].iter().map(|part| width(&shown(part))).sum::<usize>() <= WIDTH;
    if whole {
        return (shown(before), shown(marked), shown(after));
    }
    let skipped = before.char_indices().rev().nth(BEFORE).map_or(0, |(at, _)| at);
    let dots = if skipped == 0 { "" } else { "..." };
    let before = format!("{dots}{}", shown(&before[skipped..]));
    let room = WIDTH.saturating_sub(BEFORE);
    let marked_shown: String = shown(&marked.chars().take(room).collect::<String>());
    let rest = room.saturating_sub(marked_shown.chars().count());
    let after_shown = shown(&after.chars().take(rest).collect::<String>());
    let cut_off = marked.chars().nth(room).is_some() || after.chars().nth(rest).is_some();
    let after = if cut_off { format!("{after_shown}...") } else { after_shown };
    (before, marked_shown, after)
}

/// A piece of a line without anything that a terminal would obey.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push_str(TAB),
            character if is_harmful(character) => out.push(char::REPLACEMENT_CHARACTER),
            character => out.push(character),
        }
    }
    out
}

/// A message on one line without anything that a terminal would obey, of bounded length.
pub(crate) fn plain(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(MESSAGE)
        .map(|c| match c {
            '\n' | '\t' => ' ',
            c if is_harmful(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    if text.chars().nth(MESSAGE).is_some() {
        out.push_str("...");
    }
    out
}

/// Control characters, and those that turn the direction in which text is shown.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many columns a terminal gives to a text; an estimate for what is neither Latin nor East Asian.
fn width(text: &str) -> usize {
    text.chars()
        .map(|character| match character {
            '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
            '\u{1100}'..='\u{115f}'
            | '\u{2e80}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe6f}'
            | '\u{ff00}'..='\u{ff60}'
            | '\u{ffe0}'..='\u{ffe6}'
            | '\u{1f300}'..='\u{1faff}'
            | '\u{20000}'..='\u{3fffd}' => 2,
            _ => 1,
        })
        .sum()
}
