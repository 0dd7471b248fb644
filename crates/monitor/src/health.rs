//! Health checks: when a check is due, what its result means, and what is kept of it. Pure, but for the plan of the
//! program that checks, which is data.
//!
//! ```text
//!             ┌── fails (inside the start period: not counted) ──┐
//! starting ───┴───────── succeeds ─────────► healthy ◄── succeeds ── unhealthy
//!    └───────── fails, `retries` times in a row ────┴──────────────────►
//! ```

use std::collections::VecDeque;

use runtime::plan::ProcessPlan;
use serde::{Deserialize, Serialize};

/// How a container's health is checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthPlan {
    /// The program that tells: well by exit code 0.
    pub process: ProcessPlan,
    /// Program and arguments, for events.
    pub command: String,
    /// How often, and what is made of it.
    pub schedule: Schedule,
    /// What is done about a container that is not well.
    pub on_unhealthy: OnUnhealthy,
}

/// When checks are due, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// From the end of one check to the next.
    pub interval_ms: u64,
    /// How long a check may take.
    pub timeout_ms: u64,
    /// From the container's start: so long, until it has been well once, failures do not count.
    pub start_period_ms: u64,
    /// The interval meanwhile.
    pub start_interval_ms: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            interval_ms: 30_000,
            timeout_ms: 30_000,
            start_period_ms: 0,
            start_interval_ms: 5_000,
            retries: 3,
        }
    }
}

/// What is done once a container is found unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnUnhealthy {
    /// Nothing: it is shown.
    #[default]
    Nothing,
    /// It is stopped, and begun anew.
    Restart,
    /// It is stopped.
    Stop,
    /// It is killed, as if it had failed: its restart policy decides what follows.
    Kill,
}

/// How a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are Docker's")]
pub enum HealthState {
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthState {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthState::Starting => "starting",
            HealthState::Healthy => "healthy",
            HealthState::Unhealthy => "unhealthy",
        }
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Nanoseconds since 1970.
    pub started_at_ns: i64,
    /// Nanoseconds since 1970.
    pub ended_at_ns: i64,
    /// Of the program; -1 when it could not be started or took too long.
    pub code: i32,
    /// What it printed, cut, or why it failed.
    pub output: String,
}

/// What is told about a container's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// How it is.
    pub state: HealthState,
    /// Failures in a row that counted.
    pub streak: u32,
    /// The last results, oldest first.
    pub log: VecDeque<Probe>,
}

/// So many results are kept.
const KEPT: usize = 5;
/// So many bytes of a check's output.
pub(crate) const OUTPUT_LIMIT: usize = 4096;

impl HealthReport {
    /// That of a container that has just been started.
    pub fn new() -> HealthReport {
        HealthReport { state: HealthState::Starting, streak: 0, log: VecDeque::new() }
    }

    /// Takes a result in, of a check that began so long after the container; true when the state is another one now.
    pub fn take(&mut self, schedule: &Schedule, probe: Probe, since_start_ms: u64) -> bool {
        let before = self.state;
        if probe.code == 0 {
            self.streak = 0;
            self.state = HealthState::Healthy;
        } else if before != HealthState::Starting || since_start_ms >= schedule.start_period_ms {
            self.streak = self.streak.saturating_add(1);
            if self.streak >= schedule.retries {
                self.state = HealthState::Unhealthy;
            }
        }
        if self.log.len() >= KEPT {
            self.log.drain(..=self.log.len() - KEPT);
        }
        self.log.push_back(probe);
        self.state != before
    }

    /// How long to wait for the next check, so long after the container's start.
    pub fn next_after_ms(&self, schedule: &Schedule, since_start_ms: u64) -> u64 {
        let begins = self.state == HealthState::Starting && since_start_ms < schedule.start_period_ms;
        if begins { schedule.start_interval_ms } else { schedule.interval_ms }
    }
}

impl Default for HealthReport {
    fn default() -> HealthReport {
        HealthReport::new()
    }
}

/// What a check has printed, up to the limit.
#[derive(Debug, Default)]
pub(crate) struct Said {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Said {
    pub(crate) fn push(&mut self, more: &[u8]) {
        let room = OUTPUT_LIMIT - self.bytes.len();
        self.is_cut |= more.len() > room;
        self.bytes.extend_from_slice(more.get(..room).unwrap_or(more));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_cut
    }

    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        if self.is_cut { format!("{text}...") } else { text.into_owned() }
    }
}

/// A duration as Go writes it: `1m30s`, `1.5s`, `20ms`.
pub(crate) fn go_duration(millis: u64) -> String {
    let fraction = |whole: u64, rest: u64, digits: usize| {
        let rest = format!("{rest:0digits$}");
        let rest = rest.trim_end_matches('0');
        if rest.is_empty() { whole.to_string() } else { format!("{whole}.{rest}") }
    };
    if millis < 1000 {
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    let seconds = fraction(rest / 1000, rest % 1000, 3);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn probe(code: i32) -> Probe {
        Probe { started_at_ns: 0, ended_at_ns: 1, code, output: String::new() }
    }

    /// Results and states as letters: `f` at 5 s, `F` at 20 s of a start period of 10 s; `s` a success.
    fn story(results: &str) -> String {
        let schedule = Schedule { start_period_ms: 10_000, retries: 2, ..Schedule::default() };
        let mut report = HealthReport::new();
        let state = |report: &HealthReport| report.state.as_str().chars().next().unwrap();
        results
            .chars()
            .map(|result| {
                let since_ms = if result == 'f' { 5_000 } else { 20_000 };
                report.take(&schedule, probe(i32::from(result != 's')), since_ms);
                format!("{}{}", state(&report), report.streak)
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn results_make_a_state() {
        for (results, states) in [
            ("s", "h0"),
            ("F", "s1"),
            ("FF", "s1 u2"),
            ("ffff", "s0 s0 s0 s0"),
            ("ffFF", "s0 s0 s1 u2"),
            // Once it has been well, the start period is over.
            ("sff", "h0 h1 u2"),
            ("FFs", "s1 u2 h0"),
            ("sFsF", "h0 h1 h0 h1"),
            ("FFFF", "s1 u2 u3 u4"),
        ] {
            assert_eq!(story(results), states, "{results}");
        }
    }

    #[test]
    fn checks_are_more_frequent_until_it_is_well_or_the_start_period_is_over() {
        let schedule = Schedule { start_period_ms: 10_000, ..Schedule::default() };
        let mut report = HealthReport::new();
        assert_eq!(report.next_after_ms(&schedule, 0), 5_000);
        assert_eq!(report.next_after_ms(&schedule, 9_999), 5_000);
        assert_eq!(report.next_after_ms(&schedule, 10_000), 30_000);
        assert!(report.take(&schedule, probe(0), 1_000));
        assert_eq!(report.next_after_ms(&schedule, 1_000), 30_000);
        assert_eq!(HealthReport::new().next_after_ms(&Schedule::default(), 0), 30_000);
    }

    #[test]
    fn output_is_cut_with_a_mark() {
        let mut said = Said::default();
        said.push(&[b'x'; OUTPUT_LIMIT - 1]);
        said.push(b"y");
        assert_eq!(said.text().len(), OUTPUT_LIMIT);
        said.push(b"");
        assert!(said.text().ends_with("xy"));
        said.push(b"z");
        assert!(said.text().ends_with("xy...") && said.text().len() == OUTPUT_LIMIT + 3);
    }

    #[test]
    fn durations_are_gos() {
        for (millis, text) in [
            (0, "0s"),
            (20, "20ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (90_000, "1m30s"),
            (60_000, "1m0s"),
            (3_600_001, "1h0m0.001s"),
        ] {
            assert_eq!(go_duration(millis), text);
        }
    }

    proptest! {
        #[test]
        fn no_sequence_of_results_breaks_the_rules(
            codes in proptest::collection::vec((-1..3i32, 0..40_000u64), 0..60), retries in 1..5u32
        ) {
            let schedule = Schedule { start_period_ms: 10_000, retries, ..Schedule::default() };
            let mut report = HealthReport::new();
            let mut was_well = false;
            for (code, since_ms) in codes {
                let before = report.clone();
                let changed = report.take(&schedule, probe(code), since_ms);
                prop_assert_eq!(changed, before.state != report.state);
                prop_assert!(report.log.len() <= KEPT && report.log.back().unwrap().code == code);
                was_well |= code == 0;
                if code == 0 {
                    prop_assert_eq!((report.state, report.streak), (HealthState::Healthy, 0));
                } else {
                    prop_assert!(report.state == HealthState::Unhealthy || report.streak < retries);
                    prop_assert!(report.state != HealthState::Healthy || before.state == HealthState::Healthy);
                }
                prop_assert!(was_well || report.state != HealthState::Healthy);
            }
        }
    }
}
