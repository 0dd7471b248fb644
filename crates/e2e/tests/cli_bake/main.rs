//! `bake` with the real program: definitions of all three kinds become images, side by side and upon each other.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

mod allowed;
mod attributes;
mod compose;
mod elsewhere;
#[path = "../repositories/mod.rs"]
mod repositories;
mod results;
mod targets;
mod together;
mod workshop;
