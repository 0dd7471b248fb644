//! Fixtures for tests against the real programs.
//!
//! ```text
//! Skiff::new("name") ── own --root and --run in a folder of its own
//!   .run(["ps", "-a"]) ─► Output     .start([...]) ─► Child     .terminal([...]) ─► Terminal (a pty)
//! drop ── removes containers and images, then proves that no process, mount, group or file is left
//! ```
//!
//! The programs are those that were built with the tests (`target/…/skiff`, `skiff-monitor`), or those of the
//! folder that `SKIFF_TEST_PROGRAMS` names. A program that is missing fails the test; nothing is skipped.

#![allow(clippy::disallowed_methods, reason = "tests start programs and handle their own files")]

mod abandoned;
mod context;
mod cutter;
mod disk;
mod image;
mod killing;
mod leftovers;
mod moments;
pub mod peer;
mod picture;
mod registry;
mod repositories;
mod repository_servers;
mod scratch;
mod skiff;
mod terminal;
mod truth;
mod user;
mod waiting;

pub use abandoned::{own_name, sweep};
pub use context::build_context;
pub use cutter::Cutter;
pub use disk::Disk;
pub use image::{Entry, archive, archive_of_layers, archive_with_blob, busybox, busybox_layer, layer};
pub use killing::{Call, calls_of, held_up_at, kill_any_at, kill_at};
pub use moments::{Killed, Kind, Moment, Victims, Whose, kill_those_at, moments_of, moments_of_threads};
pub use peer::{Peer, Reply, Seen};
pub use picture::Picture;
pub use registry::{Registry, RegistryOptions, Shelf, registry};
pub use repositories::git_backend;
pub use repository_servers::{Listener, SshAgent, Sshd, git_daemon};
pub use scratch::Scratch;
pub use skiff::{Output, Skiff, programs};
pub use terminal::Terminal;
pub use user::User;
pub use waiting::{require, wait_until, wait_until_it_waits};
