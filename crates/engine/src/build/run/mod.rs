//! RUN: a program in a container that has no record, and the layer of what it has changed.
//!
//! ```text
//! monitor started ─► namespaces, group ─────────┐
//!   │ meanwhile: index of the layers, plan      ├─► launched ─► output, exit ─► upper directory ─► layer
//!   └─ upper/ work/ etc/ in the session's draft ┘
//! ```
//!
//! It is the container of `skiff run` with another owner: its files are half-done work of the session, its run directory lies
//! apart from those of recorded containers (`<run>/builds/<id>`), no event tells of it, and it ends with whoever builds,
//! however that ends: its monitor kills it when the connection closes, and removes all that there was. Where the monitor was
//! killed too, the next build finds the run directory without its lock, and does the same ([`remains`]).
//!
//! What differs from a container of a user's:
//! - Programs have the host's network unless `--network none` is asked for, as a builder has that knows no bridges: packages
//!   are fetched by almost every build. `RUN --network=none` has its loopback alone; `RUN --network=host` says aloud what is
//!   so anyway, and is refused all the same without `--allow network.host`.
//! - They may gain privileges by set-user-id programs (`sudo`), within their own user namespace, as in other builders.
//! - They are root over one range of ids that all builds share and nobody else has: what has no record cannot reserve
//!   one of the pool. Their files lie on disk with the ids that they see, as those of all containers do.
//!
//! **Times.** A layer keeps the times that files got, cut to seconds, as those of other builders are: cutting keeps the order
//! that `make` looks at, and compiled files of Python name the second of their source. With `SOURCE_DATE_EPOCH` none is
//! later than that; with it, equal work gives equal bytes. What is mounted into the container, and what had to be made to mount it
//! on, is no part of the layer.

mod agent;
mod clip;
mod devices;
mod emulator;
mod error;
mod follow;
mod layer;
mod mounts;
mod remains;
mod request;
mod room;
#[cfg(test)]
mod tests;

use build::{Key, Record, Step};
use dockerfile::lower::RunOp;
use oci::Digest;

use super::session::Session;
use super::tree::Tree;
use crate::Result;

pub(super) use devices::granted as devices;
pub use error::RunError;
pub(super) use request::{check, refused};

/// The digest of all that a program gets from the content of its inputs: the layers that it runs in, and those of what is
/// mounted. No secret, agent or cache is part of it.
pub(super) fn content(session: &Session<'_>, op: &RunOp, inputs: &[Tree], step: &Step<'_>) -> Result<Digest> {
    let mut parts: Vec<String> = inputs.first().map(|root| root.chain().to_string()).into_iter().collect();
    mounts::contents(session, op, inputs, step, &mut |text| parts.push(text.to_owned()))?;
    Ok(Key::of("run", parts.iter().map(String::as_str)).digest().clone())
}

/// The digest of what a program has mounted of some of its inputs.
pub(super) fn taken(
    session: &Session<'_>,
    op: &RunOp,
    given: &[Option<Tree>],
    step: &Step<'_>,
) -> Result<Digest> {
    let is_given = |input: usize| given.get(input).is_some_and(Option::is_some);
    let mut op = op.clone();
    op.mounts.retain(|(_, input)| input.is_some_and(is_given));
    op.document = op.document.filter(|(input, _)| is_given(*input));
    let inputs: Vec<Tree> = given.iter().map(|tree| tree.clone().unwrap_or_else(Tree::empty)).collect();
    let mut parts = Vec::new();
    mounts::contents(session, &op, &inputs, step, &mut |text| parts.push(text.to_owned()))?;
    Ok(Key::of("mounted", parts.iter().map(String::as_str)).digest().clone())
}

/// Runs a program to its end, and stores what it has changed as a layer.
pub(super) fn perform(session: &Session<'_>, op: &RunOp, inputs: &[Tree], step: &Step<'_>) -> Result<Record> {
    check(session, op)?;
    let mut room = room::Room::prepare(session, op, inputs, step)?;
    room.run(session, op, step)?;
    let layer = room.layer(session)?;
    Ok(Record { layer: layer.diff_id, size: layer.size })
}

/// The program and its arguments, as errors show them.
fn words(op: &RunOp) -> String {
    format!("{:?}", op.args.join(" "))
}
