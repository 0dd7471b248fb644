//! Has the engine build, while a thread of its own watches the clock and the signals.
//!
//! An interrupt cancels the build and whatever it waits for in the network; it ends as a failed one does, with nothing left behind. A
//! second one ends the program.

use std::os::fd::AsFd;

use ::build::Cancel;
use engine::Engine;
use engine::build::BuildWatch;
use engine::info::Built;
use engine::registries::Client;
use engine::request::Build;
use linux::signal::{self, SignalFd};
use linux::thread::spawn_scoped;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::progress::{Display, EVERY};
use super::results;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::image::registries;

/// What ends a build early.
pub(super) const ENDING: [i32; 3] = [signal::INT, signal::TERM, signal::HUP];

/// Builds. A failure is told of here, and so is its exit code: 1, or that of the signal.
pub(super) fn execute(context: &Context, request: &Build, display: &Display) -> Result<Built> {
    attempt(context, display, results::tell, |engine, client, watch, cancel| {
        engine.build(client, request, watch, cancel)
    })
}

/// The same of several builds at once, each with its name.
pub(super) fn execute_all(
    context: &Context,
    builds: &[(String, Build)],
    display: &Display,
) -> Result<Vec<Built>> {
    attempt(context, display, results::tell_of_target, |engine, client, watch, cancel| {
        engine.build_together(client, builds, watch, cancel)
    })
}

/// Has `work` done.
fn attempt<T, E>(
    context: &Context,
    display: &Display,
    tell: impl Fn(&E),
    work: impl FnOnce(&Engine, &Client, &BuildWatch<'_>, &Cancel) -> std::result::Result<T, E>,
) -> Result<T> {
    let failed = |attempt| move |source| Error::System { attempt, source };
    let client = registries::client(context)?;
    let engine = context.engine()?;
    let signals = SignalFd::new(&ENDING).map_err(failed("receive signals"))?;
    let (over, keep) = pipe_with(PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
    let cancel = Cancel::new();
    let end = || {
        cancel.cancel();
        client.end();
    };
    let (built, signal) = std::thread::scope(|scope| {
        let watcher = spawn_scoped(scope, "wait for signals", || watch(&signals, &over, &end, display))?;
        let built = work(engine, &client, &|event| display.show(event), &cancel);
        // The watcher hears of the end by this.
        drop(keep);
        Ok::<_, Error>((built, watcher.join().unwrap_or_default()))
    })?;
    signal::unblock(&ENDING);
    display.finish();
    match (built, signal) {
        (Ok(built), _) => Ok(built),
        (Err(error), Some(signal)) => {
            tell(&error);
            Err(Error::Printed(u8::try_from(128 + signal).unwrap_or(1)))
        }
        (Err(error), None) => {
            tell(&error);
            Err(Error::Printed(1))
        }
    }
}

/// Draws as time goes by, until the build is over; the signal that ended it, if one did.
fn watch(signals: &SignalFd, over: &impl AsFd, end: &dyn Fn(), display: &Display) -> Option<i32> {
    let timeout = Timespec::try_from(EVERY).ok();
    let mut first = None;
    loop {
        let mut polled = [PollFd::new(signals, PollFlags::IN), PollFd::new(over, PollFlags::IN)];
        // An interruption of the wait is a turn like any other.
        let _ready = poll(&mut polled, timeout.as_ref());
        if !polled[1].revents().is_empty() {
            return first;
        }
        if let Ok(Some(signal)) = signal::next(signals.as_fd()) {
            if first.is_some() {
                display.finish();
                signal::end_by(signal);
            }
            first = Some(signal);
            end();
        }
        display.refresh();
    }
}
