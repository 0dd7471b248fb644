//! Waiting for what others do, and for what others have.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Far above what anything takes on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `probe` holds; `what` is the sentence that must come true.
pub fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    let start = Instant::now();
    while !probe() {
        assert!(start.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a client has found what it was started for and does nothing but wait: it has the records open and sleeps.
///
/// # Panics
///
/// When it ends instead.
pub fn wait_until_it_waits(client: &mut Child) {
    /// A nap for a lock of the records is far shorter.
    const LOOKS: u32 = 5;
    let process = Path::new("/proc").join(client.id().to_string());
    let mut quiet = 0;
    wait_until("a client waits", || {
        let ended = client.try_wait().expect("look after a client");
        assert!(ended.is_none(), "a client that should wait has ended: {ended:?}");
        quiet = if has_records_open(&process) && is_asleep(&process) { quiet + 1 } else { 0 };
        quiet == LOOKS
    });
}

fn has_records_open(process: &Path) -> bool {
    let Ok(descriptors) = std::fs::read_dir(process.join("fd")) else { return false };
    let targets = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.into_iter().any(|target| target.file_name().is_some_and(|name| name == "state.db"))
}

/// Whether all of its threads sleep: proc(5), the third field of `stat`, which stands behind the name in brackets.
fn is_asleep(process: &Path) -> bool {
    let Ok(threads) = std::fs::read_dir(process.join("task")) else { return false };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('S'))
    })
}

/// Makes sure that a program is there, from the distribution's package if need be.
pub fn require(program: &str, package: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = || std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if found() || Path::new("/usr/sbin").join(program).exists() {
        return;
    }
    // Installed, an engine's own service must not start.
    let mut install = Command::new("apt-get");
    install.env("RUNLEVEL", "1").env("DEBIAN_FRONTEND", "noninteractive");
    // Another test may be installing something.
    install.args([
        "-o",
        "DPkg::Lock::Timeout=300",
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        package,
    ]);
    let done = install.output().expect("start apt-get");
    assert!(done.status.success() && found(), "{program} is missing and cannot be installed: {done:?}");
}
