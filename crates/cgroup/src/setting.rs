//! A limit as the kernel takes it: one value for one file.
//!
//! [`crate::legacy`] and [`crate::unified`] turn [`Limits`](crate::Limits) into settings without touching anything; here they are written.

use std::borrow::Cow;

use rustix::io::Errno;

use crate::dir::Dir;
use crate::error::{Error, Result};

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The limit's name in the OCI runtime specification, below `linux.resources`.
    pub(crate) limit: &'static str,
    /// The files that can take it, best first: kernels differ. Each with the value it wants.
    pub(crate) choices: Vec<(Cow<'static, str>, String)>,
    /// Where a kernel lacks the file, the limit holds all the same.
    pub(crate) optional: bool,
}

impl Setting {
    /// A value for the one file that takes it.
    pub(crate) fn new(limit: &'static str, file: impl Into<Cow<'static, str>>, value: impl ToString) -> Self {
        let choices = vec![(file.into(), value.to_string())];
        Self { limit, choices, optional: false }
    }

    /// Another file, for kernels that lack those before.
    pub(crate) fn or(mut self, file: &'static str, value: impl ToString) -> Self {
        self.choices.push((file.into(), value.to_string()));
        self
    }

    /// Does without it where the kernel lacks the file.
    pub(crate) fn if_present(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Writes it to the first of its files that exists.
    fn apply(&self, dir: &Dir) -> Result<()> {
        for (file, value) in &self.choices {
            return match dir.write(file, value) {
                Ok(()) => Ok(()),
                Err(Errno::NOENT) => continue,
                Err(NOT_SUPPORTED | Errno::OPNOTSUPP) => {
                    Err(self.unenforceable("the kernel has given it up"))
                }
                Err(errno) => Err(Error::Set {
                    limit: self.limit,
                    file: dir.path().join(&**file),
                    value: value.clone(),
                    errno,
                }),
            };
        }
        if self.optional {
            return Ok(());
        }
        let files: Vec<_> = self.choices.iter().map(|(file, _)| &**file).collect();
        Err(self.unenforceable(&format!(
            "the kernel has no {} in {}",
            files.join(" or "),
            dir.path().display()
        )))
    }

    fn unenforceable(&self, reason: &str) -> Error {
        Error::Unenforceable { limit: self.limit.to_owned(), reason: reason.to_owned() }
    }
}

/// The kernel's own `ENOTSUPP`, which its manual pages do not know.
const NOT_SUPPORTED: Errno = Errno::from_raw_os_error(524);

/// Writes all settings of one directory.
///
/// Some constrain each other (memory ≤ memory and swap, burst ≤ quota, no shares while idle), and which has to move
/// first depends on the values that hold now. The kernel refuses the wrong order with `EINVAL`, so what was refused
/// is tried again for as long as others get through.
pub(crate) fn apply_all(settings: &[Setting], dir: &Dir) -> Result<()> {
    let mut pending: Vec<&Setting> = settings.iter().collect();
    loop {
        let before = pending.len();
        let mut refused = Vec::new();
        let mut first_error = None;
        for setting in pending {
            match setting.apply(dir) {
                Ok(()) => {}
                Err(error @ Error::Set { errno: Errno::INVAL, .. }) => {
                    refused.push(setting);
                    first_error.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match first_error {
            None => return Ok(()),
            Some(error) if refused.len() == before => return Err(error),
            Some(_) => pending = refused,
        }
    }
}
