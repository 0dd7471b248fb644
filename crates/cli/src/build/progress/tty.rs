//! The live window of a build on a terminal, as BuildKit draws it.
//!
//! ```text
//! [+] Building 1.2s (5/9)                                 skiff:default
//!  => CACHED [build 2/5] RUN apt-get update                       0.0s
//!  => [build 3/5] RUN make                                        0.7s
//!  => => # gcc -c a.c
//! ```
//!
//! Pure: state, time and the terminal's size in, bytes out. Each drawing begins where the last one did: the cursor goes up as many
//! rows as that takes at the width of now, as terminals have it that lay out their lines anew when they become narrower. No row is wider
//! than the terminal, and should one count the columns of a character otherwise, it cuts the row: nothing wraps while it is drawn. No
//! row stands below the terminal: of a single row there is the first alone, and the cursor stays in it. Wrapping is off and the cursor hidden
//! while it is drawn alone, in one write, so that both are there again whatever ends the program.

use std::fmt::Write as _;
use std::time::Duration;

use super::characters::is_shown;
use super::colors::Colors;
use super::trace::{End, Part, Trace, Vertex};
use crate::output::units;

/// Rows of what a program says, where nobody has said otherwise.
const LOG_ROWS: usize = 6;
/// Columns at the left and right of them.
const LOG_MARGIN: usize = 10;

/// What stands on the terminal.
#[derive(Debug)]
pub(super) struct Tty {
    colors: Colors,
    /// Rows of what a program says (`BUILDKIT_TTY_LOG_LINES`).
    log_rows: usize,
    /// At the right of the first row.
    description: String,
    /// Each row that was drawn, without colours.
    drawn: Vec<String>,
    /// Whether the cursor stands below them, and not in the last one.
    is_below: bool,
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// A row below the first.
struct Job<'t> {
    name: String,
    amount: String,
    took: Duration,
    is_over: bool,
    color: Tint,
    vertex: Option<&'t Vertex>,
    log_rows: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tint {
    Run,
    Cancel,
    Warning,
    Error,
}

impl Tty {
    pub(super) fn new(colors: Colors, log_rows: Option<usize>, description: &str) -> Tty {
        let log_rows = log_rows.unwrap_or(LOG_ROWS);
        Tty { colors, log_rows, description: description.to_owned(), drawn: Vec::new(), is_below: true }
    }

    /// Draws over what stands there; with `all`, everything and for the last time.
    pub(super) fn draw(&mut self, trace: &Trace, now: Duration, size: Size, all: bool) -> String {
        let mut jobs: Vec<Job<'_>> = trace
            .vertices()
            .iter()
            .filter(|vertex| vertex.started.is_some())
            .flat_map(|vertex| jobs(vertex, trace, now))
            .collect();
        if !all {
            jobs = self.fit(jobs, size.height);
        }
        let mut rows = vec![self.head(trace, now, size.width, all)];
        for job in jobs {
            let Some(row) = self.row(&job, size.width) else { continue };
            rows.push(row);
            let Some(vertex) = job.vertex.filter(|_| job.log_rows > 0 && !all) else { continue };
            for line in vertex.screen.last(job.log_rows) {
                let text = format!(" => => # {}", cut(&line, size.width.saturating_sub(LOG_MARGIN)));
                rows.push((Colors::paint(&text, self.colors.faint), text));
            }
        }
        self.replace(rows, size, all)
    }

    /// Writes rows, each with its text alone, in place of those that were drawn before.
    fn replace(&mut self, rows: Vec<(String, String)>, size: Size, all: bool) -> String {
        let mut out = String::from("\x1b[?25l\x1b[?7l");
        let stands: usize = self.drawn.iter().map(|row| rows_of(row, size.width)).sum();
        let up = if self.is_below { stands } else { stands.saturating_sub(1) };
        if up > 0 {
            let _ = write!(out, "\x1b[{up}A");
        }
        // Where there is but one row, the cursor would push it out.
        self.is_below = all || size.height > 1;
        let last = rows.len().saturating_sub(1);
        for (at, (row, _)) in rows.iter().enumerate() {
            let end = if at < last || self.is_below { "\n" } else { "" };
            let _ = write!(out, "\r{row}\x1b[K{end}");
        }
        out.push_str("\x1b[J\x1b[?7h\x1b[?25h");
        self.drawn = rows.into_iter().map(|(_, text)| text).collect();
        out
    }

    fn head(&self, trace: &Trace, now: Duration, width: usize, all: bool) -> (String, String) {
        let (over, count) = trace.count();
        let elapsed = now.saturating_sub(trace.begun.unwrap_or(now)).as_secs_f64();
        let finished = if all && over > 0 && over == count { "FINISHED" } else { "" };
        let left = format!("[+] Building {elapsed:.1}s ({over}/{count}) {finished}");
        let text = aligned(left.trim_end(), &self.description, width.saturating_sub(1));
        (text.clone(), text)
    }

    fn row(&self, job: &Job<'_>, width: usize) -> Option<(String, String)> {
        const PREFIX: &str = " => ";
        let took = if job.took < Duration::from_millis(50) { Duration::ZERO } else { job.took };
        let timer = format!(" {:.1}s", took.as_secs_f64());
        let mut room = width.checked_sub(PREFIX.len() + timer.len() + 2)?;
        let mut amount = "";
        if !job.amount.is_empty() && room > 20 + job.amount.len() {
            amount = &job.amount;
            room -= amount.len();
        }
        // Too small a terminal to say anything.
        if room < 12 {
            return None;
        }
        let text =
            aligned(&format!("{PREFIX}{}{amount}", cut(&job.name, room)), timer.trim_start(), width - 1);
        let color = match job.color {
            Tint::Run => &self.colors.run,
            Tint::Cancel => &self.colors.cancel,
            Tint::Warning => &self.colors.warning,
            Tint::Error => &self.colors.error,
        };
        let shown = if job.is_over { Colors::paint(&text, color) } else { text.clone() };
        Some((shown, text))
    }

    /// As many rows as there is room for: the last ones, what is under way before what is over, and what the busiest programs say.
    fn fit<'t>(&self, mut jobs: Vec<Job<'t>>, height: usize) -> Vec<Job<'t>> {
        let running = jobs.iter().filter(|job| !job.is_over).count();
        let mut free = height.saturating_sub(2).saturating_sub(running);
        let log_rows = self.log_rows.min(height.saturating_sub(3)).max(1);
        let mut talking: Vec<usize> = (0..jobs.len())
            .filter(|at| !jobs[*at].is_over && jobs[*at].vertex.is_some_and(|vertex| vertex.said > 0))
            .collect();
        talking.sort_by_key(|at| std::cmp::Reverse(jobs[*at].vertex.map_or(0, |vertex| vertex.said)));
        let mut hidden = 0;
        for at in talking {
            if free <= log_rows + 3 {
                break;
            }
            jobs[at].log_rows = log_rows;
            hidden += jobs[at].vertex.map_or(0, |vertex| vertex.screen.last(log_rows).len());
            free -= log_rows + 3;
        }
        wrapped(jobs, height.saturating_sub(2).saturating_sub(hidden))
    }
}

/// The last so many jobs; in place of the first of them that are over, those cut off that are not.
fn wrapped(mut jobs: Vec<Job<'_>>, limit: usize) -> Vec<Job<'_>> {
    let Some(cut) = jobs.len().checked_sub(limit).filter(|cut| *cut > 0) else { return jobs };
    let shown = jobs.split_off(cut);
    let mut invisible: Vec<Job<'_>> = jobs.into_iter().filter(|job| !job.is_over).collect();
    let mut to_free = invisible.len();
    let (mut kept, before) = (Vec::with_capacity(shown.len()), shown.len());
    for job in shown {
        if job.is_over && to_free > 0 {
            to_free -= 1;
        } else {
            kept.push(job);
        }
    }
    let freed = before - kept.len();
    let mut all = invisible.split_off(invisible.len().saturating_sub(freed));
    all.append(&mut kept);
    all
}

/// The rows of one vertex: itself, its parts, what the checks found.
fn jobs<'t>(vertex: &'t Vertex, trace: &Trace, now: Duration) -> Vec<Job<'t>> {
    let is_over = vertex.completed.is_some();
    let (word, color) = match &vertex.end {
        End::Well => ("", Tint::Run),
        End::Cancelled => ("CANCELED ", Tint::Cancel),
        End::Failed(_) => ("ERROR ", Tint::Error),
    };
    let cached = if vertex.is_cached { "CACHED " } else { "" };
    let mut jobs = vec![Job {
        name: format!("{cached}{word}{}", vertex.name),
        amount: String::new(),
        took: vertex.took(now),
        is_over,
        color,
        vertex: Some(vertex),
        log_rows: 0,
    }];
    jobs.extend(vertex.parts.iter().map(|part| of_part(part, now)));
    for finding in vertex.findings.iter().filter_map(|number| trace.warnings.get(*number)) {
        jobs.push(Job {
            name: format!("WARN: {}", finding.short),
            amount: String::new(),
            took: vertex.took(now),
            is_over: true,
            color: Tint::Warning,
            vertex: None,
            log_rows: 0,
        });
    }
    jobs
}

fn of_part<'t>(part: &Part, now: Duration) -> Job<'t> {
    Job {
        name: format!("=> {}", part.name),
        amount: part.amount(),
        took: part.completed.unwrap_or(now).saturating_sub(part.started),
        is_over: part.completed.is_some(),
        color: Tint::Run,
        vertex: None,
        log_rows: 0,
    }
}

/// One text at the left and one at the right, together so wide, or cut.
fn aligned(left: &str, right: &str, width: usize) -> String {
    let room = width.saturating_sub(units::columns(right) + 1);
    if room < 12 {
        return cut(left, width);
    }
    let left = cut(left, room);
    let blanks = room - units::columns(&left);
    format!("{left}{}{right}", " ".repeat(blanks + 1))
}

/// How many rows a text takes on a terminal so wide, which puts no half of a character at the end of one.
fn rows_of(text: &str, width: usize) -> usize {
    let (mut rows, mut used) = (1, 0);
    for character in text.chars() {
        let columns = units::columns(character.encode_utf8(&mut [0; 4]));
        if used + columns > width && used > 0 {
            (rows, used) = (rows + 1, 0);
        }
        used += columns;
    }
    rows
}

/// So many columns of a text.
fn cut(text: &str, columns: usize) -> String {
    let mut used = 0;
    let fits = |character: &char| {
        used += units::columns(character.encode_utf8(&mut [0; 4]));
        used <= columns
    };
    text.chars().filter(|character| is_shown(*character)).take_while(fits).collect()
}
