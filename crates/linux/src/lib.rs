//! Safe, fd-typed wrappers for what `rustix` lacks; the only crate with `unsafe` code.
//!
//! One module per family of system calls.

#![allow(unsafe_code, reason = "this crate exists to keep unsafe code in one place")]

pub mod bpf;
mod chain;
pub mod clock;
pub mod detach;
pub mod fanotify;
pub mod file;
pub mod held;
pub mod lease;
pub mod lock;
pub mod loopback;
pub mod mapping;
pub mod memory;
pub mod mount;
pub mod pages;
pub mod partial;
pub mod process;
pub mod project;
pub mod signal;
pub mod terminal;
pub mod thread;
pub mod writeback;

pub use chain::chain;
