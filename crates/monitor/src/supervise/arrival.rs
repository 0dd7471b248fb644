//! What the caller sends that has started a monitor: maybe what can be made ahead of the plan, then the plan.

use std::os::fd::{AsFd, OwnedFd};

use linux::signal::SignalFd;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::ahead::Ahead;
use super::clients::OWNER;
use super::enable_trace;
use super::requests::{Attachment, Given};
use crate::error::{Error, Result};
use crate::packet;
use crate::protocol::Request;

/// A request and its descriptors.
pub(super) type Message = (Request, Vec<OwnedFd>);

/// What the caller that started us sends: maybe what can be made ahead of the plan, then the plan.
pub(super) fn receive_launch(
    (first, descriptors): Message,
    control: &OwnedFd,
    signals: &SignalFd,
) -> (Option<Ahead>, Result<Launch>) {
    let Request::Prepare(plan) = first else { return (None, read_launch(first, descriptors)) };
    enable_trace(plan.trace.as_deref());
    let ahead = Ahead::make(*plan, control.as_fd());
    let launch = receive_request(control, signals);
    (ahead, launch.and_then(|(request, descriptors)| read_launch(request, descriptors)))
}

/// The plan's memfd, and the streams to connect at the start.
pub(super) type Launch = (OwnedFd, Option<Attachment>);

fn read_launch(request: Request, mut descriptors: Vec<OwnedFd>) -> Result<Launch> {
    let Request::Launch { attach } = request else {
        return Err(Error::Protocol { reason: "the first message is no plan" });
    };
    if descriptors.is_empty() {
        return Err(Error::Protocol { reason: "the first message has no plan" });
    }
    let plan = descriptors.remove(0);
    let given = Given::new(attach.unwrap_or_default(), descriptors)?;
    let attachment = attach.map(|_| Attachment::new(OWNER, given)).transpose()?;
    Ok((plan, attachment))
}

/// A message of the caller's, who may still be writing it; without it there is nothing to do.
pub(super) fn receive_request(control: &OwnedFd, signals: &SignalFd) -> Result<Message> {
    loop {
        let mut watched = [PollFd::new(control, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match rustix::event::poll(&mut watched, None) {
            Ok(_) if watched[0].revents().is_empty() => return Err(Error::Gone),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::System { attempt: "wait for a plan", errno }),
        }
    }
    packet::receive(control.as_fd(), RecvFlags::DONTWAIT)?.map_err(|_| Error::Gone)
}
