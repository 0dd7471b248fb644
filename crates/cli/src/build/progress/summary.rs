//! What is said when a build is over: what the checks found, and where the time went.

use std::fmt::Write as _;
use std::time::Duration;

use super::colors::Colors;
use super::trace::{Finding, Trace, Vertex};

/// How many steps are named.
const STEPS: usize = 5;
/// A step that took less is not worth a line.
const LEAST: Duration = Duration::from_millis(100);

/// The checks' findings in a line each; with `expanded`, all that is known about them.
pub(super) fn warnings(found: &[Finding], expanded: bool, color: &str) -> String {
    let mut out = String::new();
    let count = match found.len() {
        0 => return out,
        1 => "1 warning found".to_owned(),
        count => format!("{count} warnings found"),
    };
    let hint = if expanded { "" } else { " (use skiff --debug to expand)" };
    let _ = writeln!(out, "\n {}", Colors::paint(&format!("{count}{hint}:"), color));
    for finding in found {
        let _ = writeln!(out, " - {}", finding.short);
        if expanded {
            let _ = writeln!(out, "{}\nMore info: {}\n{}", finding.description, finding.url, finding.excerpt);
        }
    }
    out
}

/// Where the time went: the steps that took longest, and how many the cache had.
pub(super) fn times(trace: &Trace, now: Duration) -> String {
    let total = now.saturating_sub(trace.begun.unwrap_or(now));
    let steps = trace
        .vertices()
        .iter()
        .filter(|vertex| vertex.name.starts_with('[') && !vertex.name.starts_with("[internal]"));
    let steps: Vec<&Vertex> = steps.collect();
    let cached = steps.iter().filter(|step| step.is_cached).count();
    let mut out =
        format!("\n Time: {:.1}s ({cached} of {} steps cached)\n", total.as_secs_f64(), steps.len());
    let mut longest: Vec<&Vertex> =
        trace.vertices().iter().filter(|vertex| vertex.completed.is_some() && vertex.ran >= LEAST).collect();
    longest.sort_by_key(|vertex| std::cmp::Reverse(vertex.ran));
    for vertex in longest.into_iter().take(STEPS) {
        let share = 100.0 * vertex.ran.as_secs_f64() / total.as_secs_f64().max(0.001);
        let _ = writeln!(out, " {:>6.1}s {share:>4.0}%  {}", vertex.ran.as_secs_f64(), vertex.name);
    }
    out
}
