//! This program as a worker: started for one order, gone when it is done.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::client::{Connection, spawn};
use crate::error::{Error, Result};
use crate::{lent, packet, visit};

/// What a worker is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// On files of lent ids.
    Lent(lent::Order),
    /// On the files of a container, as it sees them.
    Visit(Box<visit::Order>),
}

/// Starts the monitor `program` with an order and what that is about.
pub(crate) fn begin(program: &Path, order: &Order, with: &[OwnedFd]) -> Result<Connection> {
    let sealed = packet::seal(order)?;
    spawn::prepare(program, "worker")?.work(&sealed, with)
}

/// The worker's own side. The process must have no other thread.
pub(crate) fn work(control: &OwnedFd, descriptors: &[OwnedFd]) -> Result<()> {
    let [order, with @ ..] = descriptors else {
        return Err(Error::Protocol { reason: "the first message has no order" });
    };
    match packet::unseal(order.as_fd())? {
        Order::Lent(order) => lent::work(control, order, with),
        Order::Visit(order) => visit::work(control, *order, with),
    }
}
