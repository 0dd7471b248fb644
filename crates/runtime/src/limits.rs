//! What is set on a process from outside.

use linux::process::SchedulerAttributes;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::failed;
use crate::plan::{IoPriority, ProcessPlan, Rlimit, Scheduler};
use crate::{InitFailure, Step};

/// What is set from outside just before the program runs, when it can no longer hinder init itself.
#[derive(Debug)]
pub(crate) struct Limits {
    rlimits: Vec<Rlimit>,
    oom_score_adj: Option<i32>,
    scheduler: Option<Scheduler>,
    io_priority: Option<IoPriority>,
}

impl Limits {
    pub(crate) fn of(process: &ProcessPlan) -> Self {
        Self {
            rlimits: process.rlimits.clone(),
            oom_score_adj: process.oom_score_adj,
            scheduler: process.scheduler,
            io_priority: process.io_priority,
        }
    }

    /// From outside: in a user namespace of its own the process itself would be refused what root may grant.
    ///
    /// The kernel lets only a holder of CAP_SYS_RESOURCE change the limits of another user's process: where it
    /// refuses, the process sets them itself ([`set_own_rlimits`]).
    pub(crate) fn apply(&self, pid: Pid) -> Result<(), InitFailure> {
        self.schedule(pid)?;
        for limit in &self.rlimits {
            match linux::process::set_rlimit(Some(pid), limit.resource, limit.soft, limit.hard) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(rlimit_failure(*limit, errno)),
            }
        }
        self.adjust_oom_score(pid)
    }

    fn schedule(&self, pid: Pid) -> Result<(), InitFailure> {
        if let Some(wanted) = self.scheduler {
            linux::process::set_scheduler(pid, attributes(wanted))
                .map_err(failed(Step::Scheduler, format!("policy {}", wanted.policy)))?;
        }
        let Some(IoPriority { class, priority }) = self.io_priority else { return Ok(()) };
        linux::process::set_io_priority(pid, class, priority)
            .map_err(failed(Step::Scheduler, format!("I/O class {class}")))
    }

    /// Lowers it, which root may; raising it is the process's own affair ([`raise_own_oom_score`]).
    fn adjust_oom_score(&self, pid: Pid) -> Result<(), InitFailure> {
        let Some(wanted) = self.oom_score_adj else { return Ok(()) };
        let at = |errno| {
            let why = if errno == Errno::ACCESS { "lowering it needs CAP_SYS_RESOURCE" } else { "" };
            InitFailure::new(Step::OomScore, wanted, errno, why)
        };
        let path = format!("/proc/{}/oom_score_adj", pid.as_raw_pid());
        if oom_score(&path).map_err(at)? == wanted {
            Ok(())
        } else {
            set_oom_score(&path, wanted).map_err(at)
        }
    }
}

/// Sets what could not be set from outside: anyone may lower his own limits.
pub(crate) fn set_own_rlimits(wanted: &[Rlimit]) -> Result<(), InitFailure> {
    for limit in wanted {
        let is = linux::process::rlimit(limit.resource).map_err(|errno| rlimit_failure(*limit, errno))?;
        if is != (limit.soft, limit.hard) {
            linux::process::set_rlimit(None, limit.resource, limit.soft, limit.hard)
                .map_err(|errno| rlimit_failure(*limit, errno))?;
        }
    }
    Ok(())
}

fn rlimit_failure(limit: Rlimit, errno: Errno) -> InitFailure {
    let why = if errno == Errno::PERM { "raising a hard limit needs CAP_SYS_RESOURCE" } else { "" };
    let subject = format!("{} to {}:{}", rlimit_name(limit.resource), limit.soft, limit.hard);
    InitFailure::new(Step::Rlimit, subject, errno, why)
}

/// Raises the calling process's score, which anyone may; what would lower it is left to the supervisor.
pub(crate) fn raise_own_oom_score(wanted: Option<i32>) -> Result<(), InitFailure> {
    let Some(wanted) = wanted else { return Ok(()) };
    let path = "/proc/self/oom_score_adj";
    let at = |errno| failed(Step::OomScore, wanted)(errno);
    if oom_score(path).map_err(at)? < wanted { set_oom_score(path, wanted).map_err(at) } else { Ok(()) }
}

fn oom_score(path: &str) -> Result<i32, Errno> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = [0; 16];
    let length = rustix::io::read(&file, &mut text)?;
    let text = std::str::from_utf8(text[..length].trim_ascii()).map_err(|_| Errno::INVAL)?;
    text.parse().map_err(|_| Errno::INVAL)
}

fn set_oom_score(path: &str, wanted: i32) -> Result<(), Errno> {
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(file, wanted.to_string().as_bytes()).map(drop)
}

fn attributes(wanted: Scheduler) -> SchedulerAttributes {
    SchedulerAttributes {
        policy: wanted.policy,
        flags: wanted.flags,
        nice: wanted.nice,
        priority: wanted.priority,
        runtime: wanted.runtime,
        deadline: wanted.deadline,
        period: wanted.period,
        ..SchedulerAttributes::default()
    }
}

fn rlimit_name(resource: u32) -> String {
    const NAMES: [&str; 16] = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let name = usize::try_from(resource).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| resource.to_string(), |name| format!("RLIMIT_{name}"))
}
