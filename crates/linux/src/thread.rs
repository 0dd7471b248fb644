//! Threads, which the system may refuse: by the limit of processes of a user (`ulimit -u`), of a control group (`pids.max`), or for want of
//! memory.
//!
//! `std::thread::spawn` and `Scope::spawn` panic then. Who needs a thread says for what, and gets an error with a way out; who merely
//! is faster with one goes on without: [`std::thread::Builder`] tells.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

/// There is no thread to be had.
#[derive(Debug, thiserror::Error)]
#[error("start a thread to {purpose}")]
pub struct Refused {
    purpose: &'static str,
    #[source]
    source: Reason,
}

/// The system's reason, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", advice(error))]
struct Reason {
    error: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match rustix::io::Errno::from_io_error(error) {
        Some(rustix::io::Errno::AGAIN) => {
            "; raise the limit of processes (ulimit -u, or pids.max of the control group)"
        }
        _ => "",
    }
}

impl Refused {
    /// What somebody gets from [`Builder`] who wants more of a thread than the functions here know.
    pub fn to(purpose: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::new(purpose, error)
    }

    fn new(purpose: &'static str, error: io::Error) -> Self {
        Self { purpose, source: Reason { error } }
    }
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        io::Error::other(refused)
    }
}

/// Starts a thread. `purpose` completes "start a thread to …".
///
/// # Errors
/// If there is none to be had; `work` is dropped then.
pub fn spawn<T: Send + 'static>(
    purpose: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Refused> {
    Builder::new().spawn(work).map_err(Refused::to(purpose))
}

/// The same within a scope.
///
/// # Errors
/// If there is none to be had; `work` is dropped then.
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    purpose: &'static str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Refused> {
    Builder::new().spawn_scoped(scope, work).map_err(Refused::to(purpose))
}

#[cfg(test)]
mod tests {
    use super::Refused;

    #[test]
    fn who_gets_no_thread_is_told_which_limit_to_raise() {
        let refused = Refused::new("write a layer", rustix::io::Errno::AGAIN.into());
        let told = "start a thread to write a layer: Resource temporarily unavailable (os error 11); \
             raise the limit of processes (ulimit -u, or pids.max of the control group)";
        assert_eq!(crate::chain(&refused), told);
        assert_eq!(crate::chain(&std::io::Error::from(refused)), told);
        let refused = Refused::new("write a layer", rustix::io::Errno::PERM.into());
        assert!(crate::chain(&refused).ends_with("(os error 1)"));
    }
}
