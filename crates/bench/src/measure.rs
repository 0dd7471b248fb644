//! Times commands, in turns.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Between two contestants.
const SETTLE: Duration = Duration::from_millis(50);

/// One contestant's times.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The middle one.
    pub(crate) fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    /// The fastest one, nearest to what an idle machine would show.
    pub(crate) fn best(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }
}

/// What a contestant does once, timed from outside.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    pub(crate) once: Box<dyn FnMut() -> Result<Duration> + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: &str, once: impl FnMut() -> Result<Duration> + 'a) -> Self {
        Self { name: name.to_owned(), once: Box::new(once) }
    }
}

/// Lets the contestants take turns, `rounds` times after one that does not count.
pub(crate) fn in_turns(mut contestants: Vec<Contestant<'_>>, rounds: usize) -> Result<Vec<(String, Times)>> {
    let mut times: Vec<Vec<Duration>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for (contestant, times) in contestants.iter_mut().zip(&mut times) {
            // What the one before goes on with in its background is not this one's burden.
            std::thread::sleep(SETTLE);
            let time = (contestant.once)().with_context(|| contestant.name.clone())?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    let names = contestants.into_iter().map(|contestant| contestant.name);
    Ok(names.zip(times.into_iter().map(Times::new)).collect())
}

/// Runs a command to its end, output thrown away; fails when it fails.
pub(crate) fn time(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let output = child.wait_with_output()?;
    let elapsed = start.elapsed();
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(elapsed)
}

/// Runs commands at once to the end of the last one, as [`time`] runs one.
pub(crate) fn time_at_once(commands: &mut [Command]) -> Result<Duration> {
    let start = Instant::now();
    let mut running = Vec::new();
    for command in commands.iter_mut() {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        running.push(command.spawn().with_context(|| format!("start {command:?}"))?);
    }
    let ended: Vec<_> = running.into_iter().map(std::process::Child::wait_with_output).collect();
    let elapsed = start.elapsed();
    for (command, output) in commands.iter().zip(ended) {
        let output = output?;
        if !output.status.success() {
            bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(elapsed)
}

/// Runs a command that is not timed; returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Processor time that the whole machine has spent since boot, over all cores.
pub(crate) fn busy() -> Result<Duration> {
    let table = std::fs::read_to_string("/proc/stat")?;
    let line = table.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, then idle and iowait, then irq, softirq; a tick is 10 ms on every Linux that Debian ships.
    let ticks: u64 = fields.iter().take(3).chain(fields.iter().skip(5).take(2)).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// The load averages, as the kernel prints them.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Nanoseconds since the machine began.
pub(crate) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
