//! Programs started in the running container, and who waits for each.

use std::os::fd::OwnedFd;

use runtime::Exit;
use rustix::io::Errno;

use crate::protocol::Reply;
use crate::supervise::clients::Clients;

/// One program.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) program: runtime::Running,
    /// Who is told of its end; None once that client is gone.
    client: Option<u64>,
    /// The master of its terminal. The client has one too and serves it; when the client leaves, we read on,
    /// so that the program neither loses its terminal nor waits for ever when it prints.
    terminal: Option<OwnedFd>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    pub(crate) list: Vec<Exec>,
    ended: Vec<usize>,
}

impl Exec {
    pub(crate) fn abandoned_terminal(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref().filter(|_| self.client.is_none())
    }
}

impl Execs {
    pub(crate) fn add(&mut self, program: runtime::Running, client: u64, terminal: Option<OwnedFd>) {
        self.list.push(Exec { program, client: Some(client), terminal });
    }

    /// Reaps one that has ended and tells its client.
    pub(crate) fn reap(&mut self, index: usize, clients: &mut Clients) {
        let Some(exec) = self.list.get_mut(index) else { return };
        let code = match exec.program.try_wait() {
            Ok(None) => return,
            Ok(Some(exit)) => i32::from(Exit::status(exit)),
            Err(_) => 255,
        };
        if let Some(client) = exec.client {
            clients.reply(client, &Reply::ExecEnded { code }, &[]);
            if let Some(client) = clients.get(client) {
                client.has_exec = false;
            }
        }
        self.ended.push(index);
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
        for exec in &mut self.list {
            exec.client = exec.client.filter(|&client| clients.is_connected(client));
        }
    }
}
