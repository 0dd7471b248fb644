//! A [`LaunchPlan`] becomes a process: namespaces, mounts, capabilities, seccomp, exec.

pub mod plan;

pub use plan::LaunchPlan;
