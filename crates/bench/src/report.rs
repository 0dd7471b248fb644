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
    load: String,
}

impl Table {
    pub(crate) fn new(title: &str, header: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            header: header.iter().map(|&cell| cell.to_owned()).collect(),
            rows: Vec::new(),
            notes: Vec::new(),
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

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
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
        Ok(())
    }
}

/// All scenarios of one run.
#[derive(Default)]
pub(crate) struct Report {
    tables: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table.to_string());
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
        text.push_str(&self.tables.join("\n"));
        Ok(text)
    }
}
