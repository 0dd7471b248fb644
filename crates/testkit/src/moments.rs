//! Killing a command, or what it has started, at any of the system calls by which they change something.
//!
//! ```text
//! command, its threads, monitors, programs ──each such call is held──► this process: whose, which, where? ──► kills, or lets it be made
//! ```
//!
//! A filter of seccomp(2) holds each call that may change anything until it is answered here, so that calls have one order, each is
//! seen before it is made, and who is killed at one has not made it. Calls are told apart by who makes them, by their name and by the
//! place they change, in which whatever differs from run to run (digests, numbers) is `#`. Of several of the same kind, the number
//! tells which: threads may make them in another order in each run, so that a moment is not always the same thread's, but of the same
//! kind each time.
//!
//! What was left out: reads, waits, locks of ranges (SQLite's, which the kernel releases), and what goes into pipes: nothing of that
//! outlives a process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::c_long;
use std::fmt;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;

use linux::held::{CHANGES, HeldCall, Listener, OLD_CHANGES, hold};
use rustix::process::{Pid, Signal, kill_process};

use crate::Skiff;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// A thread of the command.
    Caller,
    /// Who does for the command what only lent ids may, without root.
    Worker,
    /// A monitor that it has started.
    Monitor,
    /// What runs in a container, or is about to; or another program that one of them has started.
    Program,
}

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    /// The command.
    Caller,
    /// All workers that it has started so far.
    Workers,
    /// All monitors that it has started so far.
    Monitors,
    /// The command and its monitors.
    Both,
}

/// A kind of call: whose, its name, and what it changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Whose.
    pub whose: Whose,
    /// The name of the call.
    pub call: &'static str,
    /// The file, without what is another each time; below the folder of the Skiff without that folder.
    pub place: String,
}

/// One call of a command and of what it has started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Of which kind.
    pub kind: Kind,
    /// How many of its kind came before it, and itself.
    pub number: u32,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind { whose, call, place } = &self.kind;
        write!(f, "{whose:?} {call} {place} ({})", self.number)
    }
}

/// What came of a command of which some were killed.
#[derive(Debug)]
pub struct Killed {
    /// How the command ended.
    pub status: ExitStatus,
    /// Whether it came to that moment, so that somebody was killed.
    pub came_to_it: bool,
    /// The ids of the containers that it had started.
    pub containers: Vec<String>,
}

/// The moments of a command that nobody kills, in the order in which they came.
pub fn moments_of(skiff: &Skiff, arguments: &[&str]) -> Vec<Moment> {
    moments_of_threads(skiff, arguments).into_iter().map(|(_, moment)| moment).collect()
}

/// The same, each with the number of its thread.
pub fn moments_of_threads(skiff: &Skiff, arguments: &[&str]) -> Vec<(i32, Moment)> {
    let mut moments = Vec::new();
    let status = watched(skiff, arguments, &mut |moment, those| {
        moments.push((those.thread, moment.clone()));
        Vec::new()
    });
    assert!(status.0.success(), "{arguments:?}: {}", status.0);
    moments
}

/// Runs the command, and kills `victims` when somebody comes to `moment`. Returns when all that it had started have ended.
pub fn kill_those_at(skiff: &Skiff, moment: &Moment, victims: Victims, arguments: &[&str]) -> Killed {
    let mut came_to_it = false;
    let (status, containers) = watched(skiff, arguments, &mut |seen, those| {
        if came_to_it || seen != moment {
            return Vec::new();
        }
        let dying = those.victims(victims);
        came_to_it = !dying.is_empty();
        dying
    });
    Killed { status, came_to_it, containers }
}

/// Those that are watched, by the numbers of their processes.
#[derive(Default)]
struct Those {
    /// Who makes the present call.
    thread: i32,
    caller: Option<i32>,
    workers: BTreeSet<i32>,
    monitors: BTreeSet<i32>,
    containers: Vec<String>,
    /// The process of a thread.
    processes: HashMap<i32, i32>,
    counts: BTreeMap<Kind, u32>,
}

/// Runs the command, and tells of each of its moments before it comes; the processes in the answer are killed instead. Returns with
/// the ids of the containers, when all have ended.
fn watched(
    skiff: &Skiff,
    arguments: &[&str],
    hear: &mut dyn FnMut(&Moment, &Those) -> Vec<i32>,
) -> (ExitStatus, Vec<String>) {
    let mut command = skiff.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let program = PathBuf::from(command.get_program());
    let (sender, listeners) = channel();
    // The filter is this thread's and its children's: who listens must have none.
    let starter = std::thread::spawn(move || start(command, &sender));
    let listener = listeners.recv().expect("a filter of seccomp");
    let names: HashMap<c_long, &'static str> =
        CHANGES.iter().chain(&OLD_CHANGES).map(|(name, number)| (*number, *name)).collect();
    let mut those = Those::default();
    let watch = Watch { base: skiff.folder(), program: &program };
    while let Some(call) = listener.next().expect("hear of a call") {
        let name = names.get(&call.number).copied().unwrap_or("unknown");
        let dying =
            watch.moment(&mut those, call, name).map_or_else(Vec::new, |moment| hear(&moment, &those));
        let process = those.process_of(call.thread);
        for victim in &dying {
            // One that has ended already is as dead as it is to be.
            let _killed = Pid::from_raw(*victim).map(|process| kill_process(process, Signal::KILL));
        }
        // Who dies makes no call any more.
        if !dying.contains(&process) {
            listener.release(call).expect("let a call be made");
        }
    }
    let mut child = starter.join().expect("a thread that starts a program");
    (child.wait().expect("wait for a command"), those.containers)
}

fn start(mut command: Command, listeners: &std::sync::mpsc::Sender<Listener>) -> Child {
    let all = CHANGES.iter().chain(&OLD_CHANGES).map(|(_, number)| *number);
    listeners
        .send(hold(all).expect("this test needs root, and a kernel with notifications of seccomp"))
        .expect("somebody who listens");
    command.spawn().expect("start skiff")
}

/// What is watched.
struct Watch<'a> {
    base: &'a Path,
    program: &'a Path,
}

impl Watch<'_> {
    /// Which moment a call is; none if it changes nothing, or is made before the command begins.
    fn moment(&self, those: &mut Those, call: HeldCall, name: &'static str) -> Option<Moment> {
        those.thread = call.thread;
        let process = those.process_of(call.thread);
        if matches!(name, "execve" | "execveat") {
            self.begins(those, process, call, name);
        }
        those.caller?;
        let place = place(call, name, self.base)?;
        let whose = match process {
            process if Some(process) == those.caller => Whose::Caller,
            process if those.monitors.contains(&process) => Whose::Monitor,
            process if those.workers.contains(&process) => Whose::Worker,
            _ => Whose::Program,
        };
        let kind = Kind { whose, call: name, place };
        let number = those.counts.entry(kind.clone()).or_default();
        *number += 1;
        Some(Moment { kind, number: *number })
    }

    /// Notes who is about to become the command, a monitor or a worker.
    fn begins(&self, those: &mut Those, process: i32, call: HeldCall, name: &str) {
        let (path, words) = match name {
            "execve" => (text(call, call.arguments[0]), call.arguments[1]),
            _ => (text(call, call.arguments[1]), call.arguments[2]),
        };
        if those.caller.is_none() {
            if path.is_some_and(|path| path == self.program) {
                those.caller = Some(process);
            }
            return;
        }
        let word = |nth: u64| {
            let address = number(call, words + nth * 8).filter(|address| *address != 0)?;
            text(call, address)?.to_str().map(str::to_owned)
        };
        let Some(first) = word(0).filter(|word| word.ends_with("skiff-monitor")) else { return };
        drop(first);
        match word(1).filter(|word| word.len() == 64) {
            Some(id) => {
                those.monitors.insert(process);
                those.containers.push(id);
            }
            None => drop(those.workers.insert(process)),
        }
    }
}

impl Those {
    /// The process of a thread. Numbers are used again, but by threads that live: one that is asked for has just made a call.
    fn process_of(&mut self, thread: i32) -> i32 {
        let read = || {
            let text = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
            line.trim().parse().ok()
        };
        match read() {
            Some(process) => *self.processes.entry(thread).insert_entry(process).get(),
            // Killed meanwhile.
            None => self.processes.get(&thread).copied().unwrap_or(thread),
        }
    }

    fn victims(&self, victims: Victims) -> Vec<i32> {
        let (monitors, workers) = (self.monitors.iter().copied(), self.workers.iter().copied());
        match victims {
            Victims::Caller => self.caller.into_iter().collect(),
            Victims::Workers => workers.collect(),
            Victims::Monitors => monitors.collect(),
            Victims::Both => self.caller.into_iter().chain(monitors).collect(),
        }
    }
}

/// What a call changes: `""` where that is no file; none if it changes nothing.
fn place(call: HeldCall, name: &str, base: &Path) -> Option<String> {
    const NEW_THREAD: u64 = 0x10000;
    const WRITES: u64 = 0o1100 | 0o20_000_000;
    let of = |nth: usize| call.arguments[nth];
    let here = |nth: usize| path_at(call, None, of(nth));
    let at = |nth: usize| path_at(call, Some(of(nth)), of(nth + 1));
    let path = match name {
        "open" if of(1) & WRITES == 0 => return None,
        "openat" if of(2) & WRITES == 0 => return None,
        "openat2" if number(call, of(2)).is_none_or(|flags| flags & WRITES == 0) => return None,
        "clone" if of(0) & NEW_THREAD != 0 => return None,
        "clone3" if number(call, of(0)).is_none_or(|flags| flags & NEW_THREAD != 0) => return None,
        "ioctl" if !changes_by_ioctl(of(1)) => return None,
        "open" | "creat" | "mkdir" | "mknod" | "unlink" | "rmdir" | "chmod" | "chown" | "lchown"
        | "utime" | "utimes" | "truncate" | "setxattr" | "lsetxattr" | "removexattr" | "lremovexattr"
        | "execve" | "umount2" => here(0),
        "symlink" | "link" | "rename" | "mount" => here(1),
        "openat" | "openat2" | "mkdirat" | "mknodat" | "unlinkat" | "fchmodat" | "fchownat" | "utimensat"
        | "futimesat" | "execveat" | "mount_setattr" => at(0),
        "symlinkat" => at(1),
        "linkat" | "renameat" | "renameat2" | "move_mount" => at(2),
        "copy_file_range" | "splice" => file(call, of(2))?,
        "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" | "sendfile" => file(call, of(0))?,
        "fsync" | "fdatasync" | "syncfs" | "sync_file_range" | "ftruncate" | "fallocate" | "fchmod"
        | "fchown" | "fsetxattr" | "fremovexattr" | "flock" | "ioctl" => descriptor(call, of(0)),
        _ => return Some(String::new()),
    };
    Some(without_numbers(&path, base))
}

/// `FS_IOC_SETFLAGS`, `FS_IOC_FSSETXATTR`, `FICLONE`, and those of loop devices.
fn changes_by_ioctl(request: u64) -> bool {
    matches!(request & 0xffff_ffff, 0x4008_6602 | 0x401c_5820 | 0x4004_9409 | 0x4c00..=0x4cff)
}

/// A descriptor that leads to a file with a name: what goes elsewhere ends with its reader.
fn file(call: HeldCall, number: u64) -> Option<PathBuf> {
    let path = descriptor(call, number);
    let is_file = path.is_absolute() && !path.starts_with("/dev") && !path.starts_with("/memfd:");
    is_file.then_some(path)
}

fn descriptor(call: HeldCall, number: u64) -> PathBuf {
    let number = number & 0xffff_ffff;
    let path = std::fs::read_link(format!("/proc/{}/fd/{number}", call.thread)).unwrap_or_default();
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => PathBuf::from(path),
        None => path,
    }
}

/// A path as it is given: from a directory, or from where its caller is.
fn path_at(call: HeldCall, directory: Option<u64>, address: u64) -> PathBuf {
    const HERE: u64 = 0xffff_ff9c;
    let path = text(call, address).unwrap_or_default();
    if path.is_absolute() {
        return path;
    }
    let from = match directory.map(|directory| directory & 0xffff_ffff) {
        None | Some(HERE) => std::fs::read_link(format!("/proc/{}/cwd", call.thread)).unwrap_or_default(),
        Some(directory) => descriptor(call, directory),
    };
    if path.as_os_str().is_empty() { from } else { from.join(path) }
}

/// Text in the memory of who makes a call, up to its zero byte.
fn text(call: HeldCall, address: u64) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    let memory = std::fs::File::open(format!("/proc/{}/mem", call.thread)).ok()?;
    let (mut bytes, mut part) = (Vec::new(), [0; 256]);
    loop {
        // Not beyond the page, behind which nothing may be.
        let place = address + bytes.len() as u64;
        let rest = usize::try_from(4096 - place % 4096).unwrap_or(1).min(part.len());
        let read = memory.read_at(&mut part[..rest], place).ok().filter(|read| *read > 0)?;
        match part[..read].iter().position(|byte| *byte == 0) {
            Some(end) => {
                bytes.extend(&part[..end]);
                return Some(std::ffi::OsString::from_vec(bytes).into());
            }
            None if bytes.len() > 8192 => return None,
            None => bytes.extend(&part[..read]),
        }
    }
}

/// Eight bytes there.
fn number(call: HeldCall, address: u64) -> Option<u64> {
    let memory = std::fs::File::open(format!("/proc/{}/mem", call.thread)).ok()?;
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, address).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

/// A path below `base` from there, with `#` for digests and numbers, and no deeper than what is the same each time.
fn without_numbers(path: &Path, base: &Path) -> String {
    const DEPTH: usize = 6;
    let path = path.strip_prefix(base).unwrap_or(path);
    let names = path.components().filter(|part| !matches!(part, Component::CurDir)).take(DEPTH);
    let names: Vec<String> = names.map(|part| without_number(&part.as_os_str().to_string_lossy())).collect();
    names.join("/").replacen("//", "/", 1)
}

fn without_number(name: &str) -> String {
    let mut kept = String::new();
    let mut rest = name;
    while !rest.is_empty() {
        let length = |is_one: fn(&u8) -> bool| rest.bytes().take_while(is_one).count();
        let (digits, hex) = (length(u8::is_ascii_digit), length(u8::is_ascii_hexdigit));
        let taken = if hex >= 8 { hex } else { digits };
        if taken > 0 {
            kept.push('#');
            rest = &rest[taken..];
        } else {
            let first = rest.chars().next().map_or(1, char::len_utf8);
            kept.push_str(&rest[..first]);
            rest = &rest[first..];
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_the_same_in_each_run() {
        let digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for (path, expected) in [
            (format!("/b/root/layers/{digest}.tar"), "root/layers/#.tar"),
            ("/b/root/tmp/4711-3/layer-7".to_owned(), "root/tmp/#-#/layer-#"),
            ("/b/./root/state.db-wal".to_owned(), "root/state.db-wal"),
            ("/sys/fs/cgroup/skiff/12".to_owned(), "/sys/fs/cgroup/skiff/#"),
        ] {
            assert_eq!(without_numbers(Path::new(&path), Path::new("/b")), expected);
        }
    }
}
