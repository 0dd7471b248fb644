//! What a turn of the loop waits for.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::clock;
use crate::error::{Error, Result};
use crate::log::Log;
use crate::supervise::container::{Container, LOST_EVERY_MS};
use crate::supervise::drift::Drift;
use crate::supervise::outputs::Output;

/// What was ready. The numbers are positions, which hold for one turn: entries are removed at its end.
#[derive(Clone, Copy)]
pub(crate) enum Ready {
    CheckStarting,
    CheckOutput,
    CheckEnded,
    Init,
    Oom,
    Signals,
    Listener,
    Client(usize),
    Output(usize),
    Log,
    Drift,
    Sink(usize, usize),
    Input,
    Feed(usize),
    Starting(usize),
    Exec(usize),
    ExecTerminal(usize),
}

impl Container {
    /// Waits until something is ready, or due.
    pub(super) fn wait(&self) -> Result<Vec<(Ready, PollFlags)>> {
        let mut watched = vec![
            (Ready::Signals, PollFd::new(&self.signals, PollFlags::IN)),
            (Ready::Listener, PollFd::new(&self.listener, PollFlags::IN)),
        ];
        if let Some(init) = &self.init {
            watched.push((Ready::Init, PollFd::from_borrowed_fd(init.pidfd(), PollFlags::IN)));
        }
        if let Some(oom) = &self.oom {
            watched.push((Ready::Oom, PollFd::new(oom, oom.interest())));
        }
        for (index, client) in self.clients.list.iter().enumerate() {
            watched.push((Ready::Client(index), PollFd::new(&client.socket, PollFlags::IN)));
        }
        if let Some(drift) = &self.drift {
            watched.push((Ready::Drift, PollFd::from_borrowed_fd(drift.as_fd(), PollFlags::IN)));
        }
        self.watch_streams(&mut watched);
        if let Some(checkup) = &self.checkup {
            checkup.watch(&mut watched);
        }
        for (index, starting) in self.execs.starting.iter().enumerate() {
            if let Some(parked) = &starting.parked {
                watched.push((Ready::Starting(index), PollFd::new(parked, PollFlags::IN)));
            }
        }
        for (index, exec) in self.execs.list.iter().enumerate() {
            watched.push((Ready::Exec(index), PollFd::from_borrowed_fd(exec.program.pidfd(), PollFlags::IN)));
            if let Some(terminal) = exec.abandoned_terminal() {
                watched.push((Ready::ExecTerminal(index), PollFd::new(terminal, PollFlags::IN)));
            }
        }
        let (tokens, mut descriptors): (Vec<Ready>, Vec<PollFd<'_>>) = watched.into_iter().unzip();
        match rustix::event::poll(&mut descriptors, self.timeout().as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(Error::System { attempt: "wait for events", errno }),
        }
        let found = tokens.into_iter().zip(descriptors.iter().map(PollFd::revents));
        Ok(found.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn watch_streams<'a>(&'a self, watched: &mut Vec<(Ready, PollFd<'a>)>) {
        let log_has_room = self.log.as_ref().is_none_or(Log::has_room);
        if let Some((socket, flags)) = self.log.as_ref().and_then(Log::interest) {
            watched.push((Ready::Log, PollFd::from_borrowed_fd(socket, flags)));
        }
        for (index, output) in self.outputs.iter().enumerate() {
            if let Some(from) = &output.from
                && output.has_room()
                && log_has_room
            {
                watched.push((Ready::Output(index), PollFd::new(from, PollFlags::IN)));
            }
            for (number, sink) in output.sinks.iter().enumerate() {
                if let Some(interest) = sink.interest() {
                    watched.push((Ready::Sink(index, number), PollFd::new(&sink.to, interest)));
                }
            }
        }
        let Some(input) = &self.input else { return };
        let Some(to) = &input.to else { return };
        if input.has_pending() {
            watched.push((Ready::Input, PollFd::new(to, PollFlags::OUT)));
            return;
        }
        if self.terminal.is_none() {
            watched.push((Ready::Input, PollFd::new(to, PollFlags::empty())));
        }
        for (index, feed) in input.feeds.iter().enumerate() {
            watched.push((Ready::Feed(index), PollFd::new(&feed.from, PollFlags::IN)));
        }
    }

    /// Until the deadline of a stop, the end of a rest, until a client has held up others for too long, or until the
    /// log has something to do.
    fn timeout(&self) -> Option<Timespec> {
        if self.log.as_ref().is_some_and(Log::is_busy) || self.drift.as_ref().is_some_and(Drift::is_busy) {
            return Some(clock::millis(0));
        }
        let stalls = self.outputs.iter().filter_map(Output::stall_ends_ms);
        let is_untold = self.log.as_ref().map_or(0, Log::dropped_lines) > self.status.log_lines_lost;
        let telling = is_untold.then_some(self.lost_told_ms + LOST_EVERY_MS);
        let log = self.log.as_ref().and_then(Log::due_ms).into_iter().chain(telling).min();
        let check = self.checkup.as_ref().and_then(|checkup| checkup.due_ms());
        let next = stalls.chain(self.status.phase.deadline_ms()).chain(log).chain(check).min()?;
        Some(clock::until(next))
    }
}
