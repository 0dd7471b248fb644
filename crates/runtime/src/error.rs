//! What can go wrong, by step and subject.

use std::fmt;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a process could not be started, released or joined.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step failed, in the supervisor or in the process before its program ran.
    #[error(transparent)]
    Init(#[from] InitFailure),
    /// The process ended without saying why, most likely killed.
    #[error("the process ended before its program ran, without saying why")]
    Vanished,
    /// The plan asks for something that cannot be done.
    #[error("{what} is not possible: {why}")]
    Unsupported {
        /// The setting.
        what: String,
        /// Which rule stands against it.
        why: &'static str,
    },
    /// A hook failed or ran out of time.
    #[error("{kind} hook {path}: {why}")]
    Hook {
        /// `createRuntime` and so on.
        kind: &'static str,
        /// The program.
        path: PathBuf,
        /// Its end.
        why: String,
    },
    /// Nobody waits at a release gate.
    #[error("release the container at {}", path.display())]
    Gate {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        errno: Errno,
    },
}

impl Error {
    /// The step that failed.
    pub fn init_failure(&self) -> Option<&InitFailure> {
        match self {
            Self::Init(failure) => Some(failure),
            Self::Vanished | Self::Unsupported { .. } | Self::Hook { .. } | Self::Gate { .. } => None,
        }
    }
}

/// The step that kept a container's process from its program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitFailure {
    /// What it was doing.
    pub step: Step,
    /// To what: a path, a name, a number.
    pub subject: String,
    /// The kernel's answer; 0 where the kernel was not asked.
    pub errno: i32,
    /// The reason in words where there is more to say than the errno does.
    pub detail: String,
}

impl InitFailure {
    pub(crate) fn new(
        step: Step,
        subject: impl fmt::Display,
        errno: Errno,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            step,
            subject: cut(subject.to_string()),
            errno: errno.raw_os_error(),
            detail: cut(detail.into()),
        }
    }

    /// A failure that no system call reported.
    pub(crate) fn because(step: Step, subject: impl fmt::Display, detail: impl Into<String>) -> Self {
        Self { step, subject: cut(subject.to_string()), errno: 0, detail: cut(detail.into()) }
    }

    /// The status a shell gives for this failure, as Docker reports it: 127 for a program that is not there, and for a
    /// mount of a directory on a file or the other way around; 126 for a program that cannot be executed; `None` for
    /// everything else.
    pub fn command_status(&self) -> Option<u8> {
        if self.step == Step::MountOnto {
            return Some(127);
        }
        if self.step != Step::Exec {
            return None;
        }
        Some(if self.errno == Errno::NOENT.raw_os_error() { 127 } else { 126 })
    }
}

/// What `step` does to `subject`, for `map_err`.
pub(crate) fn failed(step: Step, subject: impl fmt::Display) -> impl FnOnce(Errno) -> InitFailure {
    move |errno| InitFailure::new(step, subject, errno, "")
}

/// Keeps a report within one packet, whatever a hostile name holds.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > 4096 {
        let end = (0..=4096).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

impl fmt::Display for InitFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Which user was not found, and where, the reason says in Docker's words.
        if self.step == Step::User && self.subject.is_empty() {
            return out.write_str(&self.detail);
        }
        write!(out, "{} {}", self.step, self.subject)?;
        if !self.detail.is_empty() {
            write!(out, ": {}", self.detail)?;
        }
        if self.errno != 0 {
            write!(out, ": {}", Errno::from_raw_os_error(self.errno))?;
        }
        Ok(())
    }
}

impl std::error::Error for InitFailure {}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $words:literal,)*) => {
        /// What was being done when something failed; displays as words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Step {
            $($(#[$doc])* $name,)*
        }

        impl fmt::Display for Step {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(match self {
                    $(Self::$name => $words,)*
                })
            }
        }
    };
}

steps! {
    /// Cloning the process.
    Clone = "clone",
    /// The exchange between supervisor and init.
    Dialogue = "talk to the supervisor about",
    /// Entering an existing namespace.
    Join = "join namespace",
    /// Making a namespace.
    Unshare = "make namespace",
    /// Writing id maps, becoming root inside them.
    IdMap = "map ids",
    /// Entering the control group.
    Cgroup = "join control group",
    /// Assembling the root file system.
    Root = "assemble root",
    /// Making or attaching a mount.
    Mount = "mount",
    /// Mounting a directory on a file, or a file on a directory.
    MountOnto = "mount onto",
    /// Making a mount point.
    MountPoint = "make mount point",
    /// Making a device node.
    Device = "make device",
    /// Hiding a path.
    Mask = "mask",
    /// Making a path read-only.
    ReadOnly = "make read-only",
    /// Entering the root file system.
    Pivot = "pivot into",
    /// Host or domain name.
    Hostname = "set host name",
    /// A kernel parameter.
    Sysctl = "set sysctl",
    /// Clock offsets.
    TimeOffsets = "set clock offset of",
    /// The loopback interface.
    Loopback = "bring up",
    /// The pseudo-terminal.
    Terminal = "open terminal",
    /// Looking up the user.
    User = "find user",
    /// The working directory.
    Cwd = "change to working directory",
    /// Resource limits.
    Rlimit = "set resource limit",
    /// `oom_score_adj`.
    OomScore = "set oom_score_adj",
    /// Scheduling policy, I/O priority, affinity.
    Scheduler = "set scheduling",
    /// Execution domain.
    Personality = "set personality",
    /// NUMA memory policy.
    MemoryPolicy = "set memory policy",
    /// Session keyring.
    Keyring = "make session keyring",
    /// Security label.
    Label = "set security label",
    /// User, groups, capabilities, `no_new_privs`.
    Credentials = "set credentials",
    /// The seccomp filter.
    Seccomp = "install seccomp filter",
    /// A hook.
    Hook = "run hook",
    /// Descriptors.
    Descriptors = "arrange descriptors",
    /// Executing the program.
    Exec = "exec",
}
