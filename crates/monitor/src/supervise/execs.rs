//! Programs started in the running container, and who waits for each.

use std::os::fd::{AsFd, OwnedFd};

use runtime::{Exit, ParkedInit};
use rustix::io::Errno;

use crate::exit::LaunchFailure;
use crate::protocol::Reply;
use crate::supervise::clients::Clients;
use crate::supervise::record::Records;

/// One program.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) program: runtime::Running,
    /// Who is told of its end; None once that client is gone.
    client: Option<u64>,
    /// What events call it; empty when they do not tell of it.
    id: String,
    /// The master of its terminal. The client has one too and serves it; when the client leaves, we read on,
    /// so that the program neither loses its terminal nor waits for ever when it prints.
    terminal: Option<OwnedFd>,
}

/// A program that is being set up. What it does until it runs is in the container's hands (its memory, its share
/// of the processor, its file systems): so nobody waits for it.
#[derive(Debug)]
pub(crate) struct Starting {
    /// None once it runs or has failed.
    pub(crate) parked: Option<ParkedInit>,
    client: u64,
    id: String,
    terminal: Option<OwnedFd>,
    released: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    pub(crate) starting: Vec<Starting>,
    pub(crate) list: Vec<Exec>,
    ended: Vec<usize>,
}

impl Exec {
    pub(crate) fn abandoned_terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref().filter(|_| self.client.is_none())
    }
}

impl Starting {
    /// One that no client waits for.
    pub(crate) fn of_nobody(parked: ParkedInit) -> Starting {
        Starting { parked: Some(parked), client: 0, id: String::new(), terminal: None, released: false }
    }

    /// Takes the next step; the program, once it runs.
    pub(crate) fn proceed(&mut self) -> runtime::Result<Option<runtime::Running>> {
        let Some(mut parked) = self.parked.take() else { return Ok(None) };
        if self.released {
            return parked.finish_release().map(Some);
        }
        if parked.advance()? {
            self.terminal = parked.terminal()?;
            parked.begin_release()?;
            self.released = true;
        }
        self.parked = Some(parked);
        Ok(None)
    }
}

impl Execs {
    pub(crate) fn len(&self) -> usize {
        self.starting.len() + self.list.len()
    }

    pub(crate) fn add(&mut self, parked: ParkedInit, client: u64, id: String) {
        self.starting.push(Starting { parked: Some(parked), client, id, terminal: None, released: false });
    }

    /// Kills a program that nobody wants any more. It is reaped when it has ended, which takes as long as it takes.
    pub(crate) fn abandon(&mut self, program: runtime::Running) {
        // One that is dead already needs no signal.
        let _sent = linux::process::pidfd_signal(program.pidfd(), linux::signal::KILL);
        self.list.push(Exec { program, client: None, id: String::new(), terminal: None });
    }

    /// Takes a program that is being set up a step further, and tells its client what came of it.
    pub(crate) fn proceed(&mut self, index: usize, clients: &mut Clients) {
        let Some(starting) = self.starting.get_mut(index) else { return };
        let client = starting.client;
        match starting.proceed() {
            Ok(None) => {}
            Ok(Some(program)) => {
                let terminal = starting.terminal.take();
                let id = std::mem::take(&mut starting.id);
                let handed: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
                let pid = program.pid().as_raw_nonzero().get();
                clients.reply(client, &Reply::ExecStarted { pid }, &handed);
                self.list.push(Exec { program, client: Some(client), id, terminal });
            }
            Err(error) => {
                clients.reply(client, &Reply::ExecFailed(LaunchFailure::from(&error)), &[]);
                if let Some(client) = clients.get(client) {
                    client.has_exec = false;
                }
            }
        }
    }

    /// Kills what is still being set up: the container has ended.
    pub(crate) fn give_up_starting(&mut self, clients: &mut Clients) {
        for starting in self.starting.drain(..) {
            let failure = LaunchFailure {
                step: "start".to_owned(),
                message: "the container ended".to_owned(),
                errno: None,
                exit_code: 128,
            };
            clients.reply(starting.client, &Reply::ExecFailed(failure), &[]);
        }
    }

    /// Reaps one that has ended, tells of it, and tells its client.
    pub(crate) fn reap(&mut self, index: usize, clients: &mut Clients, records: &Records) {
        let Some(exec) = self.list.get_mut(index) else { return };
        let code = match exec.program.try_wait() {
            Ok(None) => return,
            Ok(Some(exit)) => i32::from(Exit::status(exit)),
            Err(_) => 255,
        };
        if !exec.id.is_empty() {
            records.event("exec_die", &[("execID", &exec.id), ("exitCode", &code.to_string())]);
        }
        if let Some(client) = exec.client {
            clients.reply(client, &Reply::ExecEnded { code }, &[]);
            if let Some(client) = clients.get(client) {
                client.has_exec = false;
            }
        }
        self.ended.push(index);
    }

    /// Nobody reads the terminal of the program that `client` has started: it is hung up.
    pub(crate) fn hang_up(&mut self, client: u64) {
        for exec in self.list.iter_mut().filter(|exec| exec.client == Some(client)) {
            exec.terminal = None;
        }
    }

    /// Reads what a program prints to a terminal that nobody serves.
    pub(crate) fn discard(&mut self, index: usize) {
        let Some(exec) = self.list.get_mut(index) else { return };
        let Some(terminal) = &exec.terminal else { return };
        match rustix::io::read(terminal, &mut [0; 4096]) {
            Ok(1..) | Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(_) | Err(_) => exec.terminal = None,
        }
    }

    /// Forgets what has ended, and clients that are gone.
    pub(crate) fn sweep(&mut self, clients: &Clients) {
        self.ended.sort_unstable();
        for index in self.ended.drain(..).rev() {
            drop(self.list.swap_remove(index));
        }
        // Nobody wants a program any more whose client left before it ran.
        self.starting.retain(|starting| starting.parked.is_some() && clients.is_connected(starting.client));
        for exec in &mut self.list {
            exec.client = exec.client.filter(|&client| clients.is_connected(client));
        }
    }
}
