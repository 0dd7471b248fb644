//! System call filters: a profile becomes a BPF program.
//!
//! ```text
//! profile file, linux.seccomp, built-in ──► Profile ──► decisions by number ──► balanced tree ──► program
//!                                          (profile)        (rules)               (emit, bpf)
//! ```
//!
//! Pure: what the outcome depends on (architecture, capabilities, kernel version) is handed in as a [`Context`].
//! A filter is on the way of every system call, so call numbers are searched by halving, never in a row.
//!
//! What must hold:
//! - A calling convention that the profile does not name (x32, 32-bit) is killed, not let through.
//! - 64-bit arguments are compared whole; a condition of ours on an `int` looks at the half the kernel looks at.
//! - Our own profile refuses socket families on every entry point: `socketcall` of i386, whose arguments no
//!   filter can see, may not make sockets (see [`Profile::builtin`]).

mod arch;
mod bpf;
mod builtin;
mod emit;
mod profile;
mod rules;
mod syscalls;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use arch::Abi;
pub use profile::{
    ACTIONS, Action, Architectures, Condition, FLAGS, OPERATORS, Operator, Profile, Requirements, Rule,
    kernel_version,
};

use crate::plan::SeccompFilter;

/// For calling conventions that a profile does not name.
const FOREIGN: Action = Action::KillProcess;

/// Changes whenever the same profile may compile to another program.
const COMPILER: u32 = 1;

/// What a profile's outcome depends on besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The machine's own calling convention.
    pub arch: Abi,
    /// The bounding set of the container's process, a bit per capability number.
    pub capabilities: u64,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
}

/// Compiles a profile: instructions as the kernel wants them, eight bytes each.
///
/// # Errors
/// A profile that no filter can express: too large, or a use of notification that cannot work.
pub fn compile(profile: &Profile, context: &Context) -> Result<Vec<u8>, ProfileError> {
    emit::program(&rules::sections(profile, context)?)
}

/// [`compile`], with the flags and the listener that go with the program.
///
/// # Errors
/// As [`compile`].
pub fn filter(profile: &Profile, context: &Context) -> Result<SeccompFilter, ProfileError> {
    let notifies = profile.rules.iter().any(|rule| rule.action == Action::Notify);
    Ok(SeccompFilter {
        program: compile(profile, context)?,
        flags: profile.flags,
        listener: profile.listener.clone().filter(|_| notifies),
    })
}

/// Names the outcome of [`compile`]: equal keys, equal programs. 64 hex digits, fit for a file name.
pub fn cache_key(profile: &Profile, context: &Context) -> String {
    let mut hash = Sha256::new();
    // Plain data always serialises; if it did not, the error's text would still tell no two profiles alike.
    let bytes = postcard::to_stdvec(&(COMPILER, profile, context));
    hash.update(bytes.unwrap_or_else(|error| format!("{error}{profile:?}{context:?}").into_bytes()));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not the JSON of a profile.
    #[error("read the seccomp profile")]
    Json {
        /// What and where.
        #[source]
        source: serde_json::Error,
    },
    /// An action nobody knows.
    #[error("seccomp action {name:?} is unknown")]
    Action {
        /// As written.
        name: String,
    },
    /// A comparison nobody knows.
    #[error("seccomp operator {name:?} is unknown")]
    Operator {
        /// As written.
        name: String,
    },
    /// An architecture nobody knows.
    #[error("seccomp architecture {name:?} is unknown")]
    Architecture {
        /// As written.
        name: String,
    },
    /// A flag nobody knows.
    #[error("seccomp flag {name:?} is unknown")]
    Flag {
        /// As written.
        name: String,
    },
    /// System calls have six arguments.
    #[error("seccomp argument index {index} is not below 6")]
    ArgumentIndex {
        /// As written.
        index: u32,
    },
    /// Beyond what the kernel returns.
    #[error("seccomp errno {value} is above 4095")]
    Errno {
        /// As written.
        value: u32,
    },
    /// An action that returns no errno was given one.
    #[error("seccomp action {action} takes no errnoRet")]
    ErrnoNotTaken {
        /// As written.
        action: String,
    },
    /// Two ways of saying which architectures.
    #[error("the seccomp profile has both architectures and archMap; use one")]
    BothArchitectures,
    /// Two ways of saying which calls.
    #[error("a seccomp rule has both name {name:?} and names; use one")]
    BothNames {
        /// The single one.
        name: String,
    },
    /// `minKernel` is no version.
    #[error("seccomp minKernel {version:?} is not of the form MAJOR.MINOR")]
    KernelVersion {
        /// As written.
        version: String,
    },
    /// Everything would have to be asked, the runtime's own calls included.
    #[error("SCMP_ACT_NOTIFY cannot be the default action of a seccomp profile")]
    NotifyDefault,
    /// The listener could never be reached.
    #[error("SCMP_ACT_NOTIFY cannot be used for the write system call")]
    NotifyWrite,
    /// Nobody to ask.
    #[error("SCMP_ACT_NOTIFY needs a listenerPath")]
    NotifyWithoutListener,
    /// More than the kernel takes.
    #[error(
        "the seccomp filter has {instructions} instructions, the kernel takes {limit}; simplify its conditions"
    )]
    TooLarge {
        /// How many it came to.
        instructions: usize,
        /// The kernel's limit.
        limit: usize,
    },
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "the interpreter splits words as the kernel does")]
mod tests;
