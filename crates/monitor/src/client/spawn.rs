//! Starting a monitor.
//!
//! The monitor is no child of its caller's that could be waited for or hung up on: it is exec'd by a
//! grandchild in a session of its own, with `/dev/null` for standard streams, no environment, and one end of a
//! socket pair. Over that socket it gets its plan, says when the container runs and how it ended. It needs no plan to
//! be started: whoever is in a hurry prepares it first and plans meanwhile.
//!
//! ```text
//! descriptor 3: the socket      descriptor 4: the mount that the program lies on
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use linux::detach::{self, Detached};
use linux::process::CStringArray;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::client::stdio::AttachStdio;
use crate::client::{Connection, Ended, Received, unexpected};
use crate::error::{Error, Result};
use crate::packet;
use crate::plan::{AheadPlan, MonitorPlan};
use crate::protocol::{Reply, Request};

/// A monitor that waits for its plan. Dropping this ends it.
#[derive(Debug)]
#[must_use]
pub struct Waiting {
    connection: Connection,
}

/// A monitor that sets a container up. Dropping this leaves it at it.
#[derive(Debug)]
#[must_use]
pub struct Starting {
    connection: Connection,
}

/// A container that runs, and the caller that started it.
///
/// Dropping this leaves the container running, without the streams that were attached at the start.
#[derive(Debug)]
pub struct Running {
    /// The first process, as the host numbers it.
    pub pid: i32,
    /// Nanoseconds since 1970 when the program began.
    pub started_at_ns: i64,
    /// For further requests.
    pub connection: Connection,
}

/// Starts the monitor `program` with `plan` and returns while it works; see [`Waiting::launch`].
pub fn spawn(program: &Path, plan: &MonitorPlan, attach: Option<AttachStdio>) -> Result<Starting> {
    prepare(program, &plan.id)?.launch(plan, attach)
}

/// Starts the monitor `program` for a container whose plan will follow. `id` is for those who list processes.
pub fn prepare(program: &Path, id: &str) -> Result<Waiting> {
    let failed = |errno| Error::Spawn { program: program.to_owned(), errno };
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
    let file = protected(program).map_err(failed)?;
    let null =
        rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let arguments = CStringArray::new(["skiff-monitor", id]).ok_or_else(|| failed(Errno::INVAL))?;
    let environment = CStringArray::new::<&str>([]).ok_or_else(|| failed(Errno::INVAL))?;
    detach::spawn(Detached {
        program: file.as_fd(),
        arguments: &arguments,
        environment: &environment,
        null: null.as_fd(),
        // The last holder of a detached mount waits for its dissolution: let that be the monitor at its end.
        descriptors: &[theirs.as_fd(), file.as_fd()],
    })
    .map_err(failed)?;
    Ok(Waiting { connection: Connection::over(ours) })
}

impl Waiting {
    /// Lets the monitor make what `plan` says while the rest is planned. What the plan then wants otherwise is made anew.
    pub fn prepare(&self, plan: AheadPlan) -> Result<()> {
        self.connection.send(&Request::Prepare(Box::new(plan)), &[])
    }

    /// Hands over an order and what it is about, for a process that is to be no monitor; see [`crate::lent`].
    pub(crate) fn work(self, order: &OwnedFd, with: &[OwnedFd]) -> Result<Connection> {
        self.connection.send(&Request::Work, &packet::borrow_all(std::iter::once(order).chain(with)))?;
        Ok(self.connection)
    }

    /// Hands over the plan and returns while the monitor works. With `attach`, the streams are connected before the
    /// container's program runs, so that nothing of its output is missed.
    pub fn launch(self, plan: &MonitorPlan, attach: Option<AttachStdio>) -> Result<Starting> {
        let mut descriptors = vec![match sized(plan, attach.as_ref()) {
            Some(sized) => packet::seal(&sized)?,
            None => packet::seal(plan)?,
        }];
        let attach = attach.map(|attach| {
            let (streams, attached) = attach.into_parts();
            descriptors.extend(attached);
            streams
        });
        self.connection.send(&Request::Launch { attach }, &packet::borrow_all(&descriptors))?;
        Ok(Starting { connection: self.connection })
    }
}

/// The plan with the size of the caller's terminal; None where it needs no change. A size that came as a
/// message would come after the program has looked.
fn sized(plan: &MonitorPlan, attach: Option<&AttachStdio>) -> Option<MonitorPlan> {
    let size = attach?.terminal_size?;
    plan.launch.process.terminal?;
    let mut plan = plan.clone();
    plan.launch.process.terminal = Some(size);
    Some(plan)
}

/// The program in a form that no container can overwrite, whatever it makes of `/proc/<pid>/exe`: on a
/// read-only mount; or, who may not mount, as it is when its caller could not overwrite it either, and else as
/// a sealed copy in memory.
fn protected(program: &Path) -> std::result::Result<OwnedFd, Errno> {
    match linux::mount::protected_program(program) {
        Err(Errno::PERM | Errno::NOSYS | Errno::INVAL) => {}
        outcome => return outcome,
    }
    let file = rustix::fs::open(program, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::fs::accessat(CWD, program, Access::WRITE_OK, AtFlags::EACCESS) {
        Err(Errno::ACCESS | Errno::ROFS) => Ok(file),
        // Nobody can write a program while it runs, but a container may wait until none does.
        Ok(()) | Err(_) => packet::seal_program(file),
    }
}

impl Starting {
    /// Waits until the container's program runs. [`Error::Launch`] says why it does not, and its
    /// [`Error::exit_code`] what Docker's exit code for that is; then nothing is left of the start but the
    /// record, and with `auto_remove` not even that.
    pub fn wait_running(mut self) -> Result<Running> {
        match self.connection.receive()? {
            Received::Reply(Reply::Running { pid, started_at_ns }, _) => {
                Ok(Running { pid, started_at_ns, connection: self.connection })
            }
            Received::Reply(reply, _) => Err(unexpected(reply)),
            Received::Ended => Err(Error::Gone),
        }
    }
}

impl Running {
    /// Waits until the container has ended. A caller with streams to copy uses [`crate::Session::run`].
    pub fn wait_exit(&mut self) -> Result<Ended> {
        self.connection.ended()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests handle their own files")]

    use super::*;
    use std::io::Read;

    #[test]
    fn a_sealed_copy_of_a_program_runs_and_cannot_be_written() {
        let program = std::fs::File::open("/bin/busybox").expect("install busybox-static");
        let copy = packet::seal_program(program.into()).unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let script = "echo ran >&3; true 2>/dev/null >>/proc/$$/exe && echo written >&3";
        detach::spawn(Detached {
            program: copy.as_fd(),
            arguments: &CStringArray::new(["sh", "-c", script]).unwrap(),
            environment: &CStringArray::new::<&str>([]).unwrap(),
            null: null.as_fd(),
            descriptors: &[writer.as_fd()],
        })
        .unwrap();
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "ran\n");
        drop(reader);
        let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
        let error = rustix::fs::open(again, OFlags::RDWR, Mode::empty())
            .and_then(|copy| rustix::io::write(&copy, b"x"))
            .unwrap_err();
        assert!(matches!(error, Errno::PERM | Errno::TXTBSY | Errno::ACCESS), "{error}");
    }
}
