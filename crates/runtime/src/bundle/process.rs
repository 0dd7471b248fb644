//! `process`: also what `exec --process` reads.

use std::path::PathBuf;

use oci::runtime as spec;

use super::error::{Result, invalid, missing, unsupported};
use super::{no_nul, numbers};
use crate::plan::{Capabilities, IoPriority, ProcessPlan, Rlimit, Scheduler, TerminalSize, User};

/// Turns a process document into a plan, without a seccomp filter and without descriptors to keep.
///
/// # Errors
/// The first field that is missing, wrong or not supported.
pub fn process(document: &spec::Process, warnings: &mut Vec<String>) -> Result<ProcessPlan> {
    if document.args.is_empty() {
        return missing("process.args");
    }
    for text in document.args.iter().chain(&document.env) {
        no_nul("process.args or process.env", text)?;
    }
    if !document.cwd.starts_with('/') {
        return invalid("process.cwd", &document.cwd, "must be absolute");
    }
    no_nul("process.cwd", &document.cwd)?;
    Ok(ProcessPlan {
        args: document.args.clone(),
        env: document.env.clone(),
        cwd: PathBuf::from(&document.cwd),
        create_cwd: true,
        user: User::Ids {
            uid: document.user.uid,
            gid: document.user.gid,
            groups: document.user.additional_gids.clone(),
        },
        umask: umask(document.user.umask)?,
        capabilities: capabilities(document.capabilities.as_ref(), warnings),
        no_new_privileges: document.no_new_privileges,
        seccomp: None,
        rlimits: rlimits(&document.rlimits)?,
        oom_score_adj: oom_score(document.oom_score_adj)?,
        terminal: terminal(document)?,
        reaper: false,
        io_priority: io_priority(document.io_priority.as_ref())?,
        scheduler: scheduler(document.scheduler.as_ref())?,
        cpu_affinity: numbers::cpu_affinity(document.exec_cpu_affinity.as_ref())?,
        apparmor_profile: Some(document.apparmor_profile.clone()).filter(|name| !name.is_empty()),
        selinux_label: Some(document.selinux_label.clone()).filter(|label| !label.is_empty()),
        preserve_fds: 0,
    })
}

fn umask(umask: Option<u32>) -> Result<Option<u32>> {
    match umask {
        Some(mask) if mask > 0o777 => {
            invalid("process.user.umask", mask, "has more than the nine permission bits")
        }
        mask => Ok(mask),
    }
}

fn oom_score(score: Option<i32>) -> Result<Option<i32>> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => {
            invalid("process.oomScoreAdj", score, "must be from -1000 to 1000")
        }
        score => Ok(score),
    }
}

fn terminal(document: &spec::Process) -> Result<Option<TerminalSize>> {
    if !document.terminal {
        return Ok(None);
    }
    let Some(size) = document.console_size else { return Ok(Some(TerminalSize::default())) };
    match (u16::try_from(size.width), u16::try_from(size.height)) {
        (Ok(columns), Ok(rows)) => Ok(Some(TerminalSize { columns, rows })),
        _ => invalid("process.consoleSize", format!("{}x{}", size.width, size.height), "must be below 65536"),
    }
}

/// Sets of names to sets of bits. A name that no kernel we know has is left out, as the specification wants.
fn capabilities(names: Option<&spec::Capabilities>, warnings: &mut Vec<String>) -> Capabilities {
    // Without the section a process gets none.
    let Some(names) = names else { return Capabilities::default() };
    let mut bits = |set: &str, names: &[String]| {
        let mut bits = 0;
        for name in names {
            match spec::capability(name) {
                Some(number) => bits |= 1 << number,
                None => warnings.push(format!("process.capabilities.{set}: {name:?} is unknown and ignored")),
            }
        }
        bits
    };
    Capabilities {
        bounding: bits("bounding", &names.bounding),
        effective: bits("effective", &names.effective),
        permitted: bits("permitted", &names.permitted),
        inheritable: bits("inheritable", &names.inheritable),
        ambient: bits("ambient", &names.ambient),
        root_alone: false,
    }
}

fn rlimits(limits: &[spec::Rlimit]) -> Result<Vec<Rlimit>> {
    let mut planned: Vec<Rlimit> = Vec::new();
    for limit in limits {
        let field = || "process.rlimits".to_owned();
        let Some(resource) = spec::rlimit(&limit.kind) else {
            return invalid(field(), &limit.kind, "is no resource limit");
        };
        if planned.iter().any(|other| other.resource == resource) {
            return invalid(field(), &limit.kind, "is there twice");
        }
        if limit.soft > limit.hard {
            return invalid(field(), &limit.kind, "has a soft limit above its hard one");
        }
        planned.push(Rlimit { resource, soft: limit.soft, hard: limit.hard });
    }
    Ok(planned)
}

fn io_priority(priority: Option<&spec::IoPriority>) -> Result<Option<IoPriority>> {
    let Some(document) = priority else { return Ok(None) };
    let class = match document.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        _ => return invalid("process.ioPriority.class", &document.class, "is no class of I/O priority"),
    };
    match u8::try_from(document.priority) {
        Ok(priority) if priority < 8 => Ok(Some(IoPriority { class, priority })),
        _ => invalid("process.ioPriority.priority", document.priority, "must be from 0 to 7"),
    }
}

fn scheduler(scheduler: Option<&spec::Scheduler>) -> Result<Option<Scheduler>> {
    let Some(document) = scheduler else { return Ok(None) };
    let policy = match document.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => return unsupported("process.scheduler.policy SCHED_ISO", "no Linux kernel has it"),
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        _ => return invalid("process.scheduler.policy", &document.policy, "is no scheduling policy"),
    };
    let mut flags = 0;
    for name in &document.flags {
        flags |= match name.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            _ => return invalid("process.scheduler.flags", name, "is no flag of sched_setattr(2)"),
        };
    }
    if !(-20..=19).contains(&document.nice) {
        return invalid("process.scheduler.nice", document.nice, "must be from -20 to 19");
    }
    let Ok(priority) = u32::try_from(document.priority) else {
        return invalid("process.scheduler.priority", document.priority, "must not be negative");
    };
    Ok(Some(Scheduler {
        policy,
        nice: document.nice,
        priority,
        flags,
        runtime: document.runtime,
        deadline: document.deadline,
        period: document.period,
    }))
}
