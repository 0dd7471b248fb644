//! Servers behind ssh: the user's own program leads there, with his configuration, as it does for git (git-config, `core.sshCommand`).
//!
//! ```text
//! ssh … [-p port] [user@]host "git-upload-pack '/path'"        standard input and output: the conversation
//!                                                              standard error: why there is none
//! ```
//!
//! What must hold:
//! - Nobody is asked for anything: neither passwords nor whether a strange host is to be trusted. Known are the hosts that ssh knows.
//! - The program gets our end of nothing but the conversation, and ends with it, together with what it has started.
//! - What it says is told in our error: its end, printable and short.

#![allow(clippy::disallowed_methods, reason = "this is who starts ssh")]

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::error::{Error, Result, excerpt};
use crate::place::Server;

/// How much of what a program says is kept, its end.
const SAID: usize = 4 << 10;
/// How long a program may take to say its last words, and to end when it is told to.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What it fails with when it does not get there, by its manual.
const NOT_THERE: i32 = 255;

/// How servers are reached over ssh.
#[derive(Clone, Copy, Debug)]
pub struct Ssh<'a> {
    /// What leads there.
    pub program: &'a SshProgram,
    /// The socket of the agent that answers for the user; else whatever the program finds by itself.
    pub agent: Option<&'a Path>,
    /// For which repositories.
    pub serves: Serves,
}

/// What leads to servers over ssh. It takes the options of OpenSSH.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SshProgram {
    /// `ssh`.
    #[default]
    Ssh,
    /// Another program (`GIT_SSH`).
    Path(PathBuf),
    /// The beginning of a command of the shell's (`GIT_SSH_COMMAND`).
    Shell(OsString),
}

/// Whose keys are for what: whoever may name repositories that the user's keys open may have what is in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serves {
    /// Nothing is fetched over ssh.
    #[default]
    Nothing,
    /// The repository that is asked for, but none of its submodules.
    Named,
    /// Submodules, too.
    All,
}

/// A program that leads to a server. Dropping it ends it.
pub(crate) struct Program {
    child: Child,
    /// Where it says what is wrong; `None` after its end.
    pub(crate) said: Option<ChildStderr>,
    words: Vec<u8>,
}

impl Program {
    /// Starts one that has `git-upload-pack` run there.
    pub(crate) fn start(ssh: Ssh<'_>, server: &Server) -> Result<(Self, OwnedFd, OwnedFd)> {
        let mut command = command(ssh, server);
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |source| Error::Program { program: program.clone(), source };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that all of it can be ended.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (to, from, said) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let program = Self { child, said, words: Vec::new() };
        match (from, to) {
            (Some(from), Some(to)) => Ok((program, from.into(), to.into())),
            _ => Err(failed(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Takes what it has said, which there must be some of.
    pub(crate) fn listen(&mut self) {
        let mut portion = [0; SAID];
        match self.said.as_mut().map(|said| said.read(&mut portion)) {
            Some(Ok(read @ 1..)) => {
                self.words.extend_from_slice(&portion[..read]);
                let surplus = self.words.len().saturating_sub(SAID);
                self.words.drain(..surplus);
            }
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Some(_) => self.said = None,
            None => {}
        }
    }

    /// Why it has hung up: its last words.
    pub(crate) fn failure(&mut self, server: &str) -> Error {
        let end = Instant::now() + LAST_WORDS;
        while let Some(said) = &self.said {
            let left = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let mut watched = [PollFd::new(said, PollFlags::IN)];
            let ready = rustix::event::poll(&mut watched, Some(&left)).unwrap_or_default();
            if ready > 0 {
                self.listen();
            } else if Instant::now() >= end {
                // Somebody else holds it open.
                self.said = None;
            }
        }
        let status = self.waited(end);
        let words = String::from_utf8_lossy(&self.words);
        let advice = match &*words {
            words if words.contains("Host key verification failed") => Some(
                "; ssh does not know that host, or another key of it: compare its key with what its owner publishes, and add it to known_hosts",
            ),
            words if words.contains("Permission denied") => {
                Some("; start an agent, add a key by ssh-add, and give it to the build by --ssh default")
            }
            _ => None,
        };
        Error::Ssh {
            server: server.to_owned(),
            end: ended(status),
            // Its end says most.
            said: last_lines(&words),
            advice: advice.unwrap_or_default(),
        }
    }

    /// Waits for its end, for some time.
    fn waited(&mut self, end: Instant) -> Option<ExitStatus> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Whether it has ended; it stays to be waited for.
    fn has_ended(&self) -> bool {
        let Some(id) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(rustix::process::waitid(WaitId::Pid(id), options), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            // There may be nobody left.
            let _gone = rustix::process::kill_process_group(id, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nobody has waited for it as long as this is not known, so that the group is its own.
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::TERM);
        let end = Instant::now() + LAST_WORDS;
        while !self.has_ended() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        // What it has started may not have heard of it. As long as it is not waited for, its number is nobody else's.
        self.signal(Signal::KILL);
        drop(self.child.wait());
    }
}

/// All that is said to the program.
fn command(ssh: Ssh<'_>, server: &Server) -> Command {
    let mut command = match ssh.program {
        SshProgram::Ssh => Command::new("ssh"),
        SshProgram::Path(path) => Command::new(path),
        SshProgram::Shell(text) => {
            let mut command = Command::new("/bin/sh");
            let mut text = text.clone();
            text.push(" \"$@\"");
            command.arg("-c").arg(text).arg("ssh");
            command
        }
    };
    // The first value of a setting counts: what a user's own command says before comes first.
    for setting in SETTINGS {
        command.args(["-o", setting]);
    }
    command.env("GIT_PROTOCOL", "version=2").env("SSH_ASKPASS_REQUIRE", "never");
    if let Some(socket) = ssh.agent {
        command.env("SSH_AUTH_SOCK", socket).args(["-o", "IdentityAgent=SSH_AUTH_SOCK"]);
    }
    if let Some(port) = server.port {
        command.arg("-p").arg(port.to_string());
    }
    let user = server.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    command.arg(format!("{user}{}", server.host));
    command.arg(format!("git-upload-pack {}", quoted(&server.path)));
    command
}

/// Nobody is asked; nothing stays behind; nothing is led anywhere; the protocol's newer version is offered.
const SETTINGS: [&str; 8] = [
    "BatchMode=yes",
    "ControlMaster=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "SendEnv=GIT_PROTOCOL",
];

/// One word of the shell over there, as git quotes it.
fn quoted(path: &str) -> String {
    let mut text = "'".to_owned();
    for character in path.chars() {
        match character {
            '\'' | '!' => text.extend(["'\\", character.encode_utf8(&mut [0; 4]), "'"]),
            _ => text.push(character),
        }
    }
    text.push('\'');
    text
}

fn ended(status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return "ends what it has to say".to_owned() };
    match (status.code(), status.signal()) {
        (Some(NOT_THERE), _) => "does not get there".to_owned(),
        (Some(127), _) => "finds no git there".to_owned(),
        (Some(code), _) => format!("ends with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ends".to_owned(),
    }
}

/// The last lines of a text, printable and short.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.is_empty() {
        true => "it says nothing".to_owned(),
        false => excerpt(lines[lines.len().saturating_sub(4)..].join("; ").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(program: &SshProgram, agent: Option<&Path>, server: Server) -> String {
        let command = command(Ssh { program, agent, serves: Serves::All }, &server);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        words.join(" ").replace(&SETTINGS.map(|setting| format!("-o {setting}")).join(" "), "…")
    }

    #[test]
    fn programs_are_told_where_to_go() {
        let server = |user: Option<&str>, port, path: &str| Server {
            user: user.map(str::to_owned),
            host: "host".to_owned(),
            port,
            path: path.to_owned(),
        };
        for (program, agent, server, want) in [
            (SshProgram::Ssh, None, server(None, None, "/a"), "ssh … host git-upload-pack '/a'"),
            (
                SshProgram::Path("/opt/my ssh".into()),
                Some(Path::new("/run/%h")),
                server(Some("git"), Some(2222), "a b"),
                "/opt/my ssh … -o IdentityAgent=SSH_AUTH_SOCK -p 2222 git@host git-upload-pack 'a b'",
            ),
            (
                SshProgram::Shell("ssh -i 'k y'".into()),
                None,
                server(None, None, "~me/it's!;$(id)"),
                "/bin/sh -c ssh -i 'k y' \"$@\" ssh … host git-upload-pack '~me/it'\\''s'\\!';$(id)'",
            ),
        ] {
            assert_eq!(said(&program, agent, server), want);
        }
    }

    #[test]
    fn what_a_program_says_is_short_and_does_nothing_to_a_terminal() {
        for (text, want) in [
            ("", "it says nothing"),
            (" \r\n", "it says nothing"),
            ("a\nb\r\n\nc\nd\ne\n", "b; c; d; e"),
            ("\x1b[2Jx\u{9b}31my\n", " [2Jx 31my"),
        ] {
            assert_eq!(last_lines(text).trim(), want.trim(), "{text:?}");
        }
        assert!(last_lines(&"x".repeat(5000)).chars().count() <= 301);
    }
}
