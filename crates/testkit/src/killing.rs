//! Killing a command at one of the system calls that it makes, or holding it up there. Needs strace, which does either.
//!
//! What a command makes in its first thread, [`calls_of`] tells and [`kill_at`] kills it at. One that has several threads and
//! starts others is looked at whole by [`moments_of`]; [`kill_those_at`] holds up whoever comes to that moment, and meanwhile kills
//! those that are to die of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};

use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal, kill_process};

use crate::Skiff;

/// One system call of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// How many of its kind came before it, and itself: what strace counts by.
    pub number: u32,
}

impl Call {
    /// The first of its kind.
    pub fn first(name: &str) -> Call {
        Call { name: name.to_owned(), number: 1 }
    }
}

/// The system calls that the command makes when nobody kills it, without the exec, before which there is no program.
pub fn calls_of(skiff: &Skiff, arguments: &[&str]) -> Vec<Call> {
    let log = skiff.folder().join("calls");
    let status = traced(skiff, &["-qq", "-o", log.to_str().expect("a name")], arguments).status();
    let status = status.expect("this test needs strace: install the package of that name");
    assert!(status.success(), "{arguments:?}: {status}");
    let text = std::fs::read(&log).expect("read what strace wrote");
    std::fs::remove_file(log).expect("remove what strace wrote");
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let text = String::from_utf8_lossy(&text).into_owned();
    let names = text.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name);
    let is_name = |name: &&str| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    let call = |name: &str| {
        let number = counts.entry(name.to_owned()).or_default();
        *number += 1;
        Call { name: name.to_owned(), number: *number }
    };
    names.filter(is_name).map(call).skip(1).collect()
}

/// Runs the command and kills it when it makes `call`. It succeeds where it does not come to that.
pub fn kill_at(skiff: &Skiff, call: &Call, arguments: &[&str]) -> ExitStatus {
    let kill = format!("inject={}:signal=KILL:when={}", call.name, call.number);
    traced(skiff, &["-qq", "-o", "/dev/null", "-e", &kill], arguments).status().expect("start strace")
}

/// The command, held up for `delay_ms` when it makes `call`.
pub fn held_up_at(skiff: &Skiff, call: &Call, delay_ms: u32, arguments: &[&str]) -> Command {
    let delay =
        format!("inject={}:delay_enter={}:when={}", call.name, u64::from(delay_ms) * 1000, call.number);
    traced(skiff, &["-qq", "-o", "/dev/null", "-e", &delay], arguments)
}

/// Runs the command and kills the first of it and of all that it starts to make `call`. Returns when all of them have ended.
pub fn kill_any_at(skiff: &Skiff, call: &Call, arguments: &[&str]) -> ExitStatus {
    let kill = format!("inject={}:signal=KILL:when={}", call.name, call.number);
    traced(skiff, &["-f", "-qq", "-o", "/dev/null", "-e", &kill], arguments).status().expect("start strace")
}

/// The command behind `strace` with more of its flags.
fn traced(skiff: &Skiff, flags: &[&str], arguments: &[&str]) -> Command {
    let command = skiff.command(arguments);
    let mut strace = Command::new("strace");
    strace.args(flags).arg(command.get_program()).args(arguments);
    strace.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    strace.current_dir(skiff.folder());
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    strace
}

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// A thread of the command.
    Caller,
    /// A monitor that it has started.
    Monitor,
    /// What runs in a container, or is about to.
    Program,
}

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    /// The command.
    Caller,
    /// All monitors that it has started so far.
    Monitors,
    /// All of them.
    Both,
}

/// A call of one of those that work on a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Whose.
    pub whose: Whose,
    /// Which of that thread's.
    pub call: Call,
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

/// Calls after which something is there that was not, or is gone; those by which processes talk to each other; and waits.
const TELLING: &str = "write,pwrite64,writev,pwritev,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,\
    symlinkat,mknodat,fsync,fdatasync,ftruncate,fallocate,fchmod,chmod,fchmodat,fchown,fchownat,utimensat,ioctl,openat,openat2,open,\
    clone,clone3,vfork,execve,execveat,mount,mount_setattr,move_mount,open_tree,fsmount,fsconfig,umount2,flock,fcntl,sendmsg,sendto,recvmsg,\
    setns,unshare,pidfd_send_signal,kill,waitid,wait4,memfd_create,socketpair,pipe,pipe2,copy_file_range,sendfile,splice,exit_group";

/// How long somebody is held up: far longer than it takes to kill.
const HELD_UP_MICROSECONDS: u32 = 200_000;

/// The moments of a command that nobody kills: each thread's calls but reads and their like, once each however many threads
/// make them.
pub fn moments_of(skiff: &Skiff, arguments: &[&str]) -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::new();
    let status = watched(skiff, &[], arguments, &mut |seen, _| {
        if !moments.contains(seen) {
            moments.push(seen.clone());
        }
    });
    assert!(status.success(), "{arguments:?}: {status}");
    // The first exec is strace's own.
    moments.retain(|moment| moment.call.name != "execve" || moment.whose != Whose::Caller);
    moments
}

/// Runs the command, and kills `victims` when somebody comes to `moment`. Returns when all that it had started have ended.
pub fn kill_those_at(skiff: &Skiff, moment: &Moment, victims: Victims, arguments: &[&str]) -> Killed {
    let Call { name, number } = &moment.call;
    let hold_up = format!("inject={name}:delay_enter={HELD_UP_MICROSECONDS}:when={number}");
    let mut came_to_it = false;
    let mut containers = Vec::new();
    let status = watched(skiff, &["-e", &hold_up], arguments, &mut |seen, tracees| {
        containers.clone_from(&tracees.containers);
        if came_to_it || seen != moment {
            return;
        }
        came_to_it = true;
        let caller = tracees.caller.filter(|_| victims != Victims::Monitors);
        let monitors = tracees.monitors.iter().copied().filter(|_| victims != Victims::Caller);
        for process in caller.into_iter().chain(monitors) {
            // One that has ended already is as dead as it is to be.
            let _killed = Pid::from_raw(process).map(|process| kill_process(process, Signal::KILL));
        }
    });
    Killed { status, came_to_it, containers }
}

/// What is known of those that are watched.
#[derive(Default)]
struct Tracees {
    caller: Option<i32>,
    monitors: BTreeSet<i32>,
    containers: Vec<String>,
    counts: BTreeMap<(i32, String), u32>,
}

/// Runs the command under strace with more of its flags, and tells of each call as soon as it is begun.
fn watched(
    skiff: &Skiff,
    flags: &[&str],
    arguments: &[&str],
    hear: &mut dyn FnMut(&Moment, &Tracees),
) -> ExitStatus {
    let told = skiff.folder().join("told-calls");
    rustix::fs::mknodat(CWD, &told, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("make a pipe");
    let trace = format!("trace={TELLING}");
    let name = told.to_str().expect("a name");
    let common = ["-f", "--seccomp-bpf", "-qq", "-Y", "-s", "80", "-o", name, "-e", &trace];
    let mut child = traced(skiff, &[&common, flags].concat(), arguments).spawn().expect("start strace");
    let mut tracees = Tracees::default();
    // Opened when strace does; its end comes when strace ends.
    let mut stream = std::fs::File::open(&told).expect("open a pipe");
    let (mut line, mut is_told, mut part) = (String::new(), false, vec![0; 64 << 10]);
    while let Ok(read @ 1..) = stream.read(&mut part) {
        for character in String::from_utf8_lossy(&part[..read]).chars() {
            if character == '\n' {
                tracees.started(&line);
                (line, is_told) = (String::new(), false);
                continue;
            }
            line.push(character);
            // Of a call that takes long, the line has no end yet.
            if character == '(' && !is_told {
                is_told = true;
                if let Some(moment) = tracees.moment(&line) {
                    hear(&moment, &tracees);
                }
            }
        }
    }
    std::fs::remove_file(&told).expect("remove a pipe");
    child.wait().expect("wait for strace")
}

impl Tracees {
    /// `1234<comm> openat(`: whose call that is.
    fn moment(&mut self, begun: &str) -> Option<Moment> {
        let (thread, rest) = begun.split_once('<')?;
        let thread: i32 = thread.trim().parse().ok()?;
        let (program, call) = rest.rsplit_once("> ")?;
        let name = call.strip_suffix('(')?;
        if !name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
            return None;
        }
        self.caller.get_or_insert(thread);
        let count = self.counts.entry((thread, name.to_owned())).or_default();
        *count += 1;
        let whose = match program {
            _ if self.monitors.contains(&thread) => Whose::Monitor,
            // Threads have names of their own; what was started by them has the name of its program.
            "skiff" | "build" | "compress" | "read a layer" | "strace" => Whose::Caller,
            _ => Whose::Program,
        };
        Some(Moment { whose, call: Call { name: name.to_owned(), number: *count } })
    }

    /// Notes a monitor: `1234<comm> execveat(5, "", ["skiff-monitor", "<id>"`.
    fn started(&mut self, line: &str) {
        let Some((begun, words)) = line.split_once("[\"skiff-monitor\", \"") else { return };
        let (Some((thread, _)), Some((id, _))) = (begun.split_once('<'), words.split_once('"')) else {
            return;
        };
        self.monitors.extend(thread.trim().parse::<i32>());
        self.containers.push(id.to_owned());
    }
}
