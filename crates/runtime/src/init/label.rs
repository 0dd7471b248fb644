//! Security labels, which the kernel takes for the next exec.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::error::failed;
use crate::plan::ProcessPlan;
use crate::{InitFailure, Step, sysctl};

/// A security label to be set at exec: the kernel's file for it, opened while `/proc` is still the host's.
pub(crate) struct Label {
    file: OwnedFd,
    text: String,
}

impl Label {
    pub(crate) fn open(process: &ProcessPlan) -> Result<Option<Self>, InitFailure> {
        let (paths, text) = match (&process.apparmor_profile, &process.selinux_label) {
            (Some(profile), _) => (
                ["/proc/thread-self/attr/apparmor/exec", "/proc/thread-self/attr/exec"],
                format!("exec {profile}"),
            ),
            (None, Some(label)) => (["/proc/thread-self/attr/exec"; 2], label.clone()),
            (None, None) => return Ok(None),
        };
        let at = failed(Step::Label, &text);
        let open = |path: &str| openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let file = open(paths[0]).or_else(|_| open(paths[1])).map_err(at)?;
        if rustix::fs::fstatfs(&file).map_err(failed(Step::Label, &text))?.f_type != sysctl::PROC_MAGIC {
            return Err(InitFailure::because(Step::Label, text, "/proc is not a procfs"));
        }
        Ok(Some(Self { file, text }))
    }

    pub(crate) fn set(&self) -> Result<(), InitFailure> {
        rustix::io::write(&self.file, self.text.as_bytes()).map(drop).map_err(failed(Step::Label, &self.text))
    }
}
