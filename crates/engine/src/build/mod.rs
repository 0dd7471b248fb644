//! `build`: from a Dockerfile to an image.
//!
//! ```text
//! request ─► session ─► frontend: Dockerfile, ignore file, images' configs ─► graph (pure) ─► build::solve ─► export
//!                                                                              │ Worker          │ Cache
//!                                                              copy, run, sources, …             state.db
//! ```
//!
//! A file tree of a build ([`tree::Tree`]) is a list of layers, or the caller's files. What copies and runs make are layers of the
//! store like those of images: nothing is mounted for a copy, and a step that the cache knows costs a row.

#![allow(dead_code, reason = "the parts come one after the other; to be taken out with the last")]

mod cache;
mod context;
mod copy;
mod error;
mod export;
mod frontend;
mod images;
mod parallel;
mod progress;
mod run;
mod session;
mod sources;
mod tree;
mod view;
mod watch;

pub use copy::CopyError;
pub use error::{BuildError, Faulty, Place};
pub use run::RunError;
pub use watch::{BuildEvent, BuildWatch, Vertex};
