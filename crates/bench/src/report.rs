//! Tables of figures.

use std::fmt;

use anyhow::Result;

use crate::measure::{Times, load_average, output};

/// One scenario's figures.
pub(crate) struct Table {
    title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
    goals: Vec<Goal>,
    load: String,
}

/// What was to be reached and what is: at most so many times, milliseconds or mebibytes.
struct Goal {
    what: String,
    wanted: f64,
    reached: f64,
    unit: &'static str,
}

impl Table {
    pub(crate) fn new(title: &str, header: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            header: header.iter().map(|&cell| cell.to_owned()).collect(),
            rows: Vec::new(),
            notes: Vec::new(),
            goals: Vec::new(),
            load: load_average(),
        }
    }

    /// Contestants with median, best and how many times longer than the first one they take.
    pub(crate) fn of_times(title: &str, times: &[(String, Times)]) -> Self {
        let mut table = Self::new(title, &["", "median", "best", "skiff is"]);
        let Some((_, ours)) = times.first() else { return table };
        for (name, theirs) in times {
            let ratio = ours.median().as_secs_f64() / theirs.median().as_secs_f64();
            table.row([
                name.clone(),
                milliseconds(theirs.median()),
                milliseconds(theirs.best()),
                format!("{ratio:.3} ×"),
            ]);
        }
        table
    }

    /// A row for each contestant of one of several comparisons; seconds that the first one takes.
    pub(crate) fn compare(&mut self, what: &str, times: &[(String, Times)]) -> f64 {
        let ours = times.first().map(|(_, times)| times.median()).unwrap_or_default().as_secs_f64();
        for (contestant, theirs) in times {
            let ratio = ours / theirs.median().as_secs_f64();
            self.row([
                what.to_owned(),
                contestant.clone(),
                milliseconds(theirs.median()),
                format!("{ratio:.3} ×"),
            ]);
        }
        ours
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Says how a figure, in `unit` (`×` for a ratio), stands beside the most that it may be.
    pub(crate) fn goal(&mut self, what: &str, wanted: f64, reached: f64, unit: &'static str) {
        self.goals.push(Goal { what: what.to_owned(), wanted, reached, unit });
    }

    /// The same for the first contestant's time over that of the one whose name begins with `theirs`.
    pub(crate) fn goal_beside(&mut self, times: &[(String, Times)], theirs: &str, wanted: f64) {
        let mut of = times.iter().map(|(name, times)| (name, times.median().as_secs_f64()));
        let ours = of.next();
        if let (Some((command, ours)), Some((_, peer))) =
            (ours, of.find(|(name, _)| name.starts_with(theirs)))
        {
            self.goal(&format!("`{command}`, beside {theirs}"), wanted, ours / peer, "×");
        }
    }

    /// The first contestant beside both other engines: faster than the faster of the two.
    pub(crate) fn goal_beside_peers(&mut self, times: &[(String, Times)]) {
        self.goal_beside(times, "podman", 1.0);
        self.goal_beside(times, "docker", 1.0);
    }
}

/// A duration as a cell.
pub(crate) fn milliseconds(duration: std::time::Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1000.0;
    if milliseconds < 100.0 { format!("{milliseconds:.2} ms") } else { format!("{milliseconds:.0} ms") }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(f, "| {} |", self.header.join(" | "))?;
        writeln!(f, "|{}", "---|".repeat(self.header.len()))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        writeln!(f, "\nLoad average {} at the start, {} at the end.", self.load, load_average())?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for goal in &self.goals {
            writeln!(f, "- {}", goal)?;
        }
        Ok(())
    }
}

impl Goal {
    fn is_reached(&self) -> bool {
        self.reached <= self.wanted
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, wanted, reached, unit } = self;
        let verdict = if self.is_reached() { "reached" } else { "missed" };
        write!(f, "{what}: {reached:.3} {unit}, wanted at most {wanted} {unit}: {verdict}.")
    }
}

/// All scenarios of one run.
#[derive(Default)]
pub(crate) struct Report {
    tables: Vec<Table>,
}

impl Report {
    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// The whole as a document.
    pub(crate) fn markdown(&self) -> Result<String> {
        let command = |program: &str, flag: &str| {
            let text = output(std::process::Command::new(program).arg(flag)).unwrap_or_default();
            text.lines().next().unwrap_or("not installed").to_owned()
        };
        let kernel = output(std::process::Command::new("uname").args(["-sr"]))?;
        let cores = std::thread::available_parallelism()?;
        let mut text =
            String::from("# Benchmarks\n\nMade by `cargo xtask bench --markdown docs/benchmarks.md`: ");
        text.push_str("contestants take turns in one run on one machine; figures are medians.\n\n");
        text.push_str(&format!("{kernel}, {cores} cores"));
        for (program, flag) in
            [("crun", "--version"), ("runc", "--version"), ("podman", "--version"), ("dockerd", "--version")]
        {
            text.push_str(&format!("; {}", command(program, flag)));
        }
        text.push_str(".\n\n");
        text.push_str(&self.goals());
        let tables: Vec<String> = self.tables.iter().map(Table::to_string).collect();
        text.push_str(&tables.join("\n"));
        Ok(text)
    }

    fn goals(&self) -> String {
        let mut text = String::from("| | wanted at most | reached | |\n|---|---|---|---|\n");
        for Goal { what, wanted, reached, unit } in self.tables.iter().flat_map(|table| &table.goals) {
            let verdict = if reached <= wanted { "" } else { "**missed**" };
            text.push_str(&format!("| {what} | {wanted} {unit} | {reached:.3} {unit} | {verdict} |\n"));
        }
        text.push('\n');
        text
    }
}
