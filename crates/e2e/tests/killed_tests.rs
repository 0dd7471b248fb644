//! A test that is killed drops nothing; the next run finds what it has left and removes it.

#![allow(clippy::disallowed_methods, reason = "tests handle their own files and processes")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use testkit::{Skiff, User, busybox, sweep};

const NAME: &str = "what_a_killed_test_leaves_is_removed_by_the_next_run";

/// Set where this program is the test that is killed.
const VICTIM: &str = "SKIFF_TEST_VICTIM";

/// The test that is killed; it ends with the one that kills it, too.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn what_a_killed_test_leaves_is_removed_by_the_next_run() {
    if std::env::var_os(VICTIM).is_some() {
        return be_the_victim();
    }
    let mut command = Command::new(std::env::current_exe().expect("a path of my own"));
    command.args(["--exact", NAME, "--nocapture"]).env(VICTIM, "yes");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut victim = Victim(command.spawn().expect("start myself"));
    let maker = victim.0.id();
    let lines = BufReader::new(victim.0.stdout.take().expect("a pipe")).lines();
    let ready = lines.map_while(Result::ok).find_map(|line| Some(line.split_once("folders: ")?.1.to_owned()));
    let ready = ready.expect("the victim never got so far");
    let folders: Vec<&str> = ready.split(' ').collect();

    // While it lives, nothing of it is touched.
    let before = sweep().expect("sweep");
    assert!(folders.iter().all(|folder| std::path::Path::new(folder).join("root").exists()), "{before:?}");
    assert!(folders.iter().all(|folder| runs(folder)));

    drop(victim);
    assert!(folders.iter().all(|folder| runs(folder)), "the containers went with the test");
    let found = sweep().expect("sweep");
    for folder in &folders {
        assert!(found.contains(&format!("file {folder}")), "{found:?}");
        assert!(!std::fs::exists(folder).expect("look") && !runs(folder), "{folder} is still there");
    }
    assert!(found.iter().any(|line| line.starts_with("control group ")), "{found:?}");
    assert!(found.contains(&format!("user skiff{maker}x0")), "{found:?}");
    let users = std::fs::read_to_string("/etc/passwd").expect("users");
    assert!(!users.contains(&format!("skiff{maker}x")), "a user is left");
    let again = sweep().expect("sweep");
    assert!(!again.iter().any(|line| line.contains(&format!("{maker}"))), "{again:?}");
}

/// Makes what tests make: files, a user, a container of root's that starts one program after another, and one of the
/// user's.
fn be_the_victim() {
    let user = User::new();
    let skiffs = [Skiff::with_busybox(), Skiff::of(&user)];
    skiffs[1].load(&busybox());
    skiffs[0].ok(&["run", "-d", "busybox", "sh", "-c", "while busybox sleep 0.01; do true; done"]);
    skiffs[1].ok(&["run", "-d", "busybox", "sh", "-c", "sleep 1000 & sleep 2000"]);
    let folders = skiffs.each_ref().map(|skiff| skiff.folder().display().to_string());
    writeln!(std::io::stdout(), "folders: {}", folders.join(" ")).expect("a reader");
    drop(std::io::stdin().read(&mut [0]));
}

/// Whether a monitor has its container's files below `folder` open.
fn runs(folder: &str) -> bool {
    let is_open = |process: &std::path::Path| {
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|target| target.starts_with(folder))
    };
    std::fs::read_dir("/proc").expect("processes").flatten().any(|process| is_open(&process.path()))
}
