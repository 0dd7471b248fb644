//! What is listed, beside what the kernel knows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::Skiff;

/// How long what is on its way may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

impl Skiff {
    /// Fails unless each container that is listed as alive has a monitor, and each that runs a live process; what is
    /// listed as anything else has neither.
    pub fn assert_listing_is_true(&self) {
        let start = Instant::now();
        loop {
            let rows = self.ok(&["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}}"]);
            let rows: Vec<(&str, &str)> = rows.lines().filter_map(|row| row.split_once(' ')).collect();
            let with = |states: &[&str]| -> BTreeSet<String> {
                let chosen = rows.iter().filter(|(_, state)| states.contains(state));
                chosen.map(|(id, _)| (*id).to_owned()).collect()
            };
            let known = rows.iter().map(|(id, _)| (*id).to_owned()).collect();
            let processes = with(&["running", "paused"]);
            let is_true = self.monitors(&known) == with(&["running", "paused", "restarting"])
                && processes.iter().all(|id| self.has_process(id));
            if is_true {
                return;
            }
            let monitors = self.monitors(&known);
            assert!(start.elapsed() < PATIENCE, "{rows:?}, but there are {monitors:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process id of a container's monitor, if it has one.
    pub fn monitor_of(&self, id: &str) -> Option<i32> {
        monitors().into_iter().find(|(_, of)| of == id).map(|(pid, _)| pid)
    }

    /// Those of these containers that have a monitor.
    fn monitors(&self, known: &BTreeSet<String>) -> BTreeSet<String> {
        monitors().into_iter().map(|(_, id)| id).filter(|id| known.contains(id)).collect()
    }

    fn has_process(&self, id: &str) -> bool {
        let pid = self.run(&["inspect", "-f", "{{.State.Pid}}", id]).stdout;
        std::path::Path::new("/proc").join(pid.trim()).exists()
    }
}

/// Every monitor of this machine: its number, and the container that is its argument.
fn monitors() -> Vec<(i32, String)> {
    let words = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let mut words = line.split('\0');
        (words.next() == Some("skiff-monitor")).then(|| (pid, words.next().unwrap_or_default().to_owned()))
    };
    std::fs::read_dir("/proc").expect("list processes").filter_map(words).collect()
}
