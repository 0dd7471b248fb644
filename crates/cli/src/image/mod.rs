//! Commands about images: each asks the engine and prints.

pub(crate) mod archive;
pub(crate) mod bootstrap;
pub(crate) mod copy;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod manifest;
mod notice;
pub(crate) mod pressure;
mod progress;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod referrers;
pub(crate) mod registries;
pub(crate) mod remove;
pub(crate) mod repair;
mod rows;
pub(crate) mod search;
mod tree;
