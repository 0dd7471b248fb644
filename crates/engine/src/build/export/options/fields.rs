//! The fields of one output, taken out one by one.

use std::path::PathBuf;

use super::Target;
use crate::build::BuildError;
use crate::request::parse_bool;
use crate::{Error, Result};

/// The fields of one output, to be taken out one by one.
pub(super) struct Asked<'a> {
    pub(super) kind: &'a str,
    pub(super) left: Vec<(&'a str, &'a str)>,
}

impl<'a> Asked<'a> {
    pub(super) fn take(&mut self, key: &str) -> Option<&'a str> {
        let mut found = None;
        // Of several the last one counts.
        self.left.retain(|(name, value)| {
            let is_it = name.eq_ignore_ascii_case(key);
            if is_it {
                found = Some(*value);
            }
            !is_it
        });
        found
    }

    pub(super) fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        let Some(text) = self.take(key) else { return Ok(default) };
        // `push` alone means `push=true`.
        if text.is_empty() {
            return Ok(true);
        }
        let parsed = parse_bool(text);
        parsed.ok_or_else(|| self.refuse(format!("{key}={text:?} is neither true nor false")))
    }

    pub(super) fn refuse(&self, reason: String) -> Error {
        BuildError::Output { output: format!("type={}", self.kind), reason }.into()
    }

    /// Where the bytes of an archive go.
    pub(super) fn target(&mut self) -> Option<Target> {
        self.take("dest").filter(|dest| !dest.is_empty()).map(|dest| match dest {
            "-" => Target::Stream,
            dest => Target::File(rooted(dest)),
        })
    }

    /// Nothing may be left.
    pub(super) fn finish(self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => Err(self.refuse(format!("there is no option {key:?}"))),
        }
    }
}

/// A path with a directory in it.
fn rooted(dest: &str) -> PathBuf {
    let path = PathBuf::from(dest);
    if path.is_absolute() { path } else { PathBuf::from(".").join(path) }
}
