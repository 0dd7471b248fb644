//! Files from elsewhere: addresses of the web, and repositories of git.
//!
//! Looking one up costs a question at most: what the server says of it at present (its `ETag`, the commit of a branch), or
//! nothing where a checksum says what it is. It is fetched when its files are wanted, and becomes a layer of its own.

mod git;
mod remote;
mod web;

pub(super) use git::{fetch as fetch_git, find as git};
pub(super) use remote::remote;
pub(super) use web::{fetch_http, http};
