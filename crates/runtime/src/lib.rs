//! A [`LaunchPlan`] becomes a process: namespaces, mounts, capabilities, seccomp, exec.
//!
//! ```text
//! supervisor                               init (first process of the container)
//!   clone3 ──────────────────────────────►   enters its control group, forgets the supervisor's descriptors
//!   writes the id maps ── Mapped ────────►   becomes root inside; names, loopback, clocks
//!   opens the root and bind mounts           makes proc, sysfs, tmpfs, … as detached mounts
//!     ── Mounts + descriptors ───────────►   attaches everything below the root; devices, sysctls, masks
//!   [attaches the network meanwhile]         │
//!   ◄─────────────────────────── HooksDue    │   (with hooks alone)
//!   prestart, createRuntime ── HooksDone ►   createContainer hooks, pivot, user, working directory, program found
//!   ◄─────────────────── Parked + terminal   waits
//!   [records the status]                     │
//!   sets limits ── Release ──────────────►   [start gate] startContainer hooks, capabilities, seccomp,
//!   ◄──────────────────────────── the end    exec: the socket closes; or Failed, with step, subject and errno
//! ```
//!
//! The first line can be done before there is a plan: see [`clone_ahead`].
//!
//! What must hold:
//! - The caller is single-threaded: a cloned child allocates.
//! - No mount is ever attached in the caller's mount namespace.
//! - Nothing of the container is reached by a path string: all below the root goes through `openat2`.
//! - Dropping [`ParkedInit`] or [`Running`] kills and reaps; a supervisor that dies takes a parked init along.
//!
//! The crate knows no image and no database.

mod ahead;
mod below;
pub mod bundle;
mod credentials;
mod disk;
mod entry;
mod error;
mod exec;
mod gate;
mod handle;
pub mod hooks;
mod id_map;
mod init;
mod launch;
mod limits;
mod link;
mod mounts;
mod namespaces;
mod owned;
mod pivot;
pub mod plan;
mod program;
pub mod project;
mod protect;
mod reaper;
mod root;
pub mod seccomp;
mod seccomp_listener;
mod staging;
mod sysctl;
mod terminal;
pub mod trace;
mod user;
pub mod visit;

pub use ahead::{Ahead, clone_ahead};
pub use error::{Error, InitFailure, Result, Step};
pub use exec::{Target, begin_exec, exec};
pub use gate::release_at;
pub use handle::{Exit, ParkedInit, Running};
pub use id_map::helpers_exist;
pub use launch::{Stdio, clone_init};
pub use owned::{inside, remove_tree};
pub use plan::LaunchPlan;
pub use protect::protect_own_program;
pub use root::{open_layers, open_writable};
