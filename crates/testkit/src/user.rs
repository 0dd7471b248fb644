//! An ordinary user of this host, for as long as a test needs one.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long the users may be locked.
const PATIENCE: Duration = Duration::from_secs(20);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A user with subordinate ids, as the distribution's `useradd` makes them. Dropping it removes the user.
#[derive(Debug)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// Makes a user without a home. Needs root.
    pub fn new() -> User {
        let name = loop {
            let name = format!("skiff{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            match change(Command::new("useradd").args(["--no-create-home", "--shell", "/bin/sh", &name])) {
                Ok(()) => break name,
                // Left by one that was killed, whose number this process has now.
                Err(error) if error.contains("already exists") => {}
                Err(error) => panic!("make user {name}: {error}"),
            }
        };
        let number = |flag: &str| -> u32 {
            let text = run(Command::new("id").arg(flag).arg(&name));
            text.trim().parse().unwrap_or_else(|_| panic!("id {flag} {name} said {text:?}"))
        };
        let user = User { uid: number("-u"), gid: number("-g"), name };
        let lent = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
        assert!(lent.contains(&user.name), "useradd lent no ids; install the uidmap package first");
        user
    }

    /// The ranges of ids that are lent to the user: first and how many, of users and groups alike.
    pub fn lent(&self) -> Vec<(u32, u32)> {
        let text = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
        let line = |line: &str| {
            let (first, count) = line.strip_prefix(&format!("{}:", self.name))?.split_once(':')?;
            Some((first.parse().ok()?, count.parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }

    /// Lends the user one more range of ids.
    pub fn lend(&self, first: u32, count: u32) {
        self.modify(["--add-subuids", "--add-subgids"], first, count);
    }

    /// Takes a range of ids back.
    pub fn take_back(&self, first: u32, count: u32) {
        self.modify(["--del-subuids", "--del-subgids"], first, count);
    }

    fn modify(&self, flags: [&str; 2], first: u32, count: u32) {
        let range = format!("{first}-{}", first + count - 1);
        let mut command = Command::new("usermod");
        command.args([flags[0], &range, flags[1], &range, &self.name]);
        change(&mut command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }

    /// The user's number.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of the user's group.
    pub fn gid(&self) -> u32 {
        self.gid
    }
}

impl Default for User {
    fn default() -> User {
        User::new()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let removed = remove(&self.name);
        if !std::thread::panicking() {
            assert_eq!(removed, Ok(()), "remove user {}", self.name);
        }
    }
}

/// The users that tests have made and not removed, each with the process that made it.
pub(crate) fn all() -> Vec<(String, u32)> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let maker = |name: &str| name.strip_prefix("skiff")?.split_once('x')?.0.parse().ok();
    let names = text.lines().filter_map(|line| line.split(':').next());
    names.filter_map(|name| Some((name.to_owned(), maker(name)?))).collect()
}

/// Removes a user by name.
pub(crate) fn remove(name: &str) -> Result<(), String> {
    change(Command::new("userdel").arg(name))
}

/// Runs a program that changes the host's users. They lock each other out, without waiting.
fn change(command: &mut Command) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let output = command.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // A monitor of the user's may be about to end.
        let is_passing = said.contains("lock") || said.contains("currently used");
        if !is_passing || start.elapsed() > PATIENCE {
            return Err(said);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
