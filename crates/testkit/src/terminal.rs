//! A program on a pseudo-terminal, driven by a test.

use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// How long a test waits for something to appear.
const PATIENCE: Duration = Duration::from_secs(15);

/// A program that has a terminal, seen from the terminal's other side.
#[derive(Debug)]
pub struct Terminal {
    controller: OwnedFd,
    child: Child,
    output: Vec<u8>,
    /// How much of the output earlier expectations have passed.
    seen: usize,
}

impl Terminal {
    /// Starts `command` as the leader of a session of its own, with a new terminal as its controlling one.
    pub fn start(command: &Command, columns: u16, rows: u16) -> Terminal {
        let controller =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&controller).expect("grant the terminal");
        unlockpt(&controller).expect("unlock the terminal");
        let name = ptsname(&controller, Vec::new()).expect("the terminal's name");
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let side =
            rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).expect("open the terminal");
        let copy = || side.try_clone().expect("another descriptor");
        // util-linux's setsid makes standard input the controlling terminal, which only unsafe code could do here.
        let mut wrapped = Command::new("setsid");
        wrapped.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args()).env_clear();
        wrapped.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        // Before anybody can look at it.
        set_size(&controller, columns, rows);
        let child = spawn(wrapped, [copy(), copy(), copy()]);
        Terminal { controller, child, output: Vec::new(), seen: 0 }
    }

    /// Changes the size of the window.
    pub fn resize(&self, columns: u16, rows: u16) {
        set_size(&self.controller, columns, rows);
    }

    /// The terminal's settings, as the program has left them.
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.controller).expect("the settings")
    }

    /// Number of the process on the terminal.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn send(&self, keys: &[u8]) {
        let mut rest = keys;
        while !rest.is_empty() {
            let written = rustix::io::write(&self.controller, rest).expect("type");
            rest = &rest[written..];
        }
    }

    /// Waits until `text` appears behind what was expected before, and returns what stood in between.
    pub fn expect(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let new = &self.output[self.seen..];
            if let Some(at) = new.windows(text.len().max(1)).position(|window| window == text.as_bytes()) {
                let before = String::from_utf8_lossy(&new[..at]).into_owned();
                self.seen += at + text.len();
                return before;
            }
            let ended = !self.read(PATIENCE.saturating_sub(start.elapsed()));
            if ended || start.elapsed() > PATIENCE {
                panic!("{text:?} never appeared; there was {:?}", String::from_utf8_lossy(&self.output));
            }
        }
    }

    /// Bytes that were printed so far.
    pub fn so_far(&mut self) -> usize {
        let is_more = |controller: &OwnedFd| {
            let mut fds = [PollFd::new(controller, PollFlags::IN)];
            poll(&mut fds, Some(&Timespec::default())).unwrap_or(0) > 0
        };
        while is_more(&self.controller) && self.read(Duration::ZERO) {}
        self.output.len()
    }

    /// Waits for the end; the exit code and everything that was printed.
    pub fn finish(mut self) -> (i32, String) {
        let start = Instant::now();
        while self.read(PATIENCE.saturating_sub(start.elapsed())) {
            assert!(
                start.elapsed() < PATIENCE,
                "it does not end; there was {:?}",
                String::from_utf8_lossy(&self.output)
            );
        }
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait().expect("wait for the program");
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        (code, String::from_utf8_lossy(&self.output).into_owned())
    }

    /// Reads once; no when the program has gone from the terminal.
    fn read(&mut self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).expect("a short time");
        let mut fds = [PollFd::new(&self.controller, PollFlags::IN)];
        if poll(&mut fds, Some(&timeout)).unwrap_or(0) == 0 {
            return true;
        }
        let mut buffer = [0; 64 << 10];
        match rustix::io::read(&self.controller, &mut buffer) {
            Ok(length) => self.output.extend_from_slice(&buffer[..length]),
            // Linux reports the last close of the other side so.
            Err(rustix::io::Errno::IO) => return false,
            Err(errno) => panic!("read the terminal: {errno}"),
        }
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Of a test that failed: the program must not outlive it. One that has ended is not there to be killed.
        if let Ok(None) = self.child.try_wait() {
            let _killed = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

fn spawn(mut command: Command, [stdin, stdout, stderr]: [OwnedFd; 3]) -> Child {
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    command.spawn().expect("start setsid (package util-linux)")
}

fn set_size(controller: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(controller, size).expect("set the size");
}
