//! The processes of a container: who they are, what they may do, what they see.

use runtime::plan::{CpuAffinity, ProcessPlan, Rlimit, SeccompFilter, TerminalSize, User};

use super::{capability, environment};
use crate::request::{Exec, HostOptions, SecurityOptions, Ulimit};
use crate::spec::ContainerSpec;
use crate::{Error, Result};

/// The first process.
pub(super) fn first(
    spec: &ContainerSpec,
    hostname: &str,
    capabilities: u64,
    seccomp: Option<SeccompFilter>,
) -> Result<ProcessPlan> {
    let process = &spec.process;
    let mut plan = common(spec, hostname)?;
    plan.args = process.args();
    plan.env = environment::of_process(process, hostname);
    plan.create_cwd = true;
    plan.capabilities = capability::sets(capabilities);
    plan.seccomp = seccomp;
    plan.terminal = process.tty.then(TerminalSize::default);
    plan.reaper = spec.host.init;
    Ok(plan)
}

/// A further process.
pub(super) fn further(
    spec: &ContainerSpec,
    request: &Exec,
    hostname: &str,
    capabilities: u64,
    seccomp: Option<SeccompFilter>,
) -> Result<ProcessPlan> {
    if request.command.first().is_none_or(String::is_empty) {
        return Err(Error::NoCommand);
    }
    super::spec::check_texts("exec", request.command.iter().chain(&request.env))?;
    let mut plan = common(spec, hostname)?;
    plan.args.clone_from(&request.command);
    plan.env = environment::of_exec(&spec.process, hostname, &request.env, request.tty);
    if let Some(workdir) = request.workdir.as_ref().filter(|text| !text.is_empty()) {
        plan.cwd = super::spec::absolute(workdir)?.into();
    }
    if let Some(user) = request.user.as_ref().filter(|text| !text.is_empty()) {
        super::spec::check_user(user)?;
        plan.user = User::Named { spec: user.clone(), extra_groups: spec.host.group_add.clone() };
    }
    plan.capabilities = capability::sets(capabilities);
    plan.seccomp = seccomp;
    plan.terminal = request.tty.then(TerminalSize::default);
    Ok(plan)
}

/// What all processes of a container have in common.
fn common(spec: &ContainerSpec, hostname: &str) -> Result<ProcessPlan> {
    let (process, host) = (&spec.process, &spec.host);
    let workdir = if process.workdir.is_empty() { "/" } else { &process.workdir };
    Ok(ProcessPlan {
        args: Vec::new(),
        env: environment::of_process(process, hostname),
        cwd: workdir.into(),
        create_cwd: false,
        user: User::Named { spec: process.user.clone(), extra_groups: host.group_add.clone() },
        umask: Some(0o022),
        capabilities: capability::sets(0),
        no_new_privileges: no_new_privileges(host)?,
        seccomp: None,
        rlimits: rlimits(&host.ulimits)?,
        // Lowering it needs a right that not even root has everywhere: left alone unless asked for.
        oom_score_adj: (host.oom_score_adj != 0).then_some(host.oom_score_adj),
        terminal: None,
        reaper: false,
        io_priority: None,
        scheduler: None,
        cpu_affinity: CpuAffinity::default(),
        apparmor_profile: None,
        selinux_label: None,
        preserve_fds: 0,
    })
}

/// On by default; `--privileged` turns it off unless it was asked for by name.
fn no_new_privileges(host: &HostOptions) -> Result<bool> {
    let named = host.security_options.iter().any(|option| option.starts_with("no-new-privileges"));
    let wanted = SecurityOptions::parse(&host.security_options)?.no_new_privileges;
    Ok(wanted && (named || !host.privileged))
}

fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<Rlimit>> {
    let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    let of_one = |ulimit: &Ulimit| {
        Ok(Rlimit { resource: ulimit.resource()?, soft: value(ulimit.soft), hard: value(ulimit.hard) })
    };
    ulimits.iter().map(of_one).collect()
}
