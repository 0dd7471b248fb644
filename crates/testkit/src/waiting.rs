//! Waiting for what others do, and for what others have.

use std::path::Path;
use std::process::Command;
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
    install.args(["install", "-y", "-qq", "--no-install-recommends", package]);
    let done = install.output().expect("start apt-get");
    assert!(done.status.success() && found(), "{program} is missing and cannot be installed: {done:?}");
}
