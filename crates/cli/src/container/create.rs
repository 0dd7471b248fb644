//! Flags of `run` and `create` to the engine's request.

use std::path::PathBuf;

use engine::request::{
    AccessRule, AttachStreams, Create, DeviceRate, DeviceRequest, DriftMode, Healthcheck, HostOptions,
    LogOptions, MountRequest, OnUnhealthy, ProcessOptions, Pull, Resources, RestartPolicy, Ulimit,
    is_device_name, parse_bytes, parse_cpus, parse_restart,
};

use crate::configuration::Configuration;
use crate::context::Context;
use crate::context::absolute;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::values::time::duration;
use crate::values::{environment, integer, mount, pair};

/// A file with a seccomp profile is not larger.
const PROFILE_LIMIT: u64 = 4 << 20;

/// The request; `detach` is whether `run` will leave the container alone.
pub(crate) fn request(context: &Context, parsed: &Parsed, detach: bool) -> Result<Create> {
    let mut process = process(parsed, detach)?;
    tell_of_proxies(context.configuration(), &mut process.env);
    let pull = parsed.value("pull", |text| match text {
        "always" => Ok(Pull::Always),
        "missing" => Ok(Pull::Missing),
        "never" => Ok(Pull::Never),
        _ => Err("must be one of \"always\", \"missing\" or \"never\""),
    })?;
    Ok(Create {
        image: parsed.arguments.first().cloned().unwrap_or_default(),
        name: owned(parsed, "name"),
        platform: owned(parsed, "platform").or_else(environment::default_platform),
        pull: pull.unwrap_or_default(),
        process,
        host: host(parsed)?,
    })
}

/// Adds the proxies of the client configuration, where the caller has not said otherwise.
fn tell_of_proxies(configuration: &Configuration, env: &mut Vec<String>) {
    for (name, proxy) in configuration.proxies() {
        let is_given = env.iter().any(|given| given.split('=').next() == Some(&name));
        if !is_given {
            env.push(format!("{name}={proxy}"));
        }
    }
}

fn owned(parsed: &Parsed, flag: &str) -> Option<String> {
    parsed.text(flag).map(str::to_owned).filter(|text| !text.is_empty())
}

fn strings(parsed: &Parsed, flag: &str) -> Vec<String> {
    parsed.list(flag).map(str::to_owned).collect()
}

fn process(parsed: &Parsed, detach: bool) -> Result<ProcessOptions> {
    let open_stdin = parsed.on("interactive");
    let attach = attach(parsed, detach)?;
    Ok(ProcessOptions {
        entrypoint: parsed.text("entrypoint").map(|program| vec![program.to_owned()]),
        command: parsed.arguments.get(1..).unwrap_or_default().to_vec(),
        env: env(parsed)?,
        user: owned(parsed, "user"),
        workdir: owned(parsed, "workdir"),
        hostname: owned(parsed, "hostname"),
        domainname: owned(parsed, "domainname"),
        labels: labels(parsed)?.into_iter().collect(),
        tty: parsed.on("tty"),
        open_stdin,
        stdin_once: open_stdin && attach.stdin,
        attach,
        stop_signal: owned(parsed, "stop-signal"),
        stop_timeout: parsed.value("stop-timeout", integer)?,
        health: health(parsed)?,
    })
}

/// How health is checked, if a flag says anything about it.
fn health(parsed: &Parsed) -> Result<Option<Healthcheck>> {
    let nanoseconds = |flag: &'static str| {
        parsed.value(flag, |text| {
            let time = duration(text).and_then(|time| i64::try_from(time).ok());
            match time.ok_or("want a duration, such as 1m30s")? {
                time if time < 0 => Err("cannot be negative"),
                time => Ok(time),
            }
        })
    };
    let retries = parsed.value("health-retries", |text| match integer::<i64>(text) {
        Ok(retries) if retries < 0 => Err("cannot be negative"),
        Ok(retries) => Ok(retries),
        Err(_) => Err("not a whole number that fits"),
    })?;
    let command = parsed.text("health-cmd").filter(|command| !command.is_empty());
    let check = Healthcheck {
        test: command.map(|command| vec!["CMD-SHELL".to_owned(), command.to_owned()]).unwrap_or_default(),
        interval: nanoseconds("health-interval")?.unwrap_or_default(),
        timeout: nanoseconds("health-timeout")?.unwrap_or_default(),
        start_period: nanoseconds("health-start-period")?.unwrap_or_default(),
        start_interval: nanoseconds("health-start-interval")?.unwrap_or_default(),
        retries: retries.unwrap_or_default(),
    };
    let says_anything = check != Healthcheck::default();
    match parsed.on("no-healthcheck") {
        true if says_anything => Err(Error::Conflict("--no-healthcheck conflicts with --health-* options")),
        true => Ok(Some(Healthcheck { test: vec!["NONE".to_owned()], ..check })),
        false => Ok(says_anything.then_some(check)),
    }
}

fn on_unhealthy(text: &str) -> std::result::Result<OnUnhealthy, &'static str> {
    match text {
        "none" => Ok(OnUnhealthy::Nothing),
        "restart" => Ok(OnUnhealthy::Restart),
        "stop" => Ok(OnUnhealthy::Stop),
        "kill" => Ok(OnUnhealthy::Kill),
        _ => Err("must be one of \"none\", \"restart\", \"stop\" or \"kill\""),
    }
}

/// Which streams are attached: those of `--attach`, else all, standard input only with `-i`.
fn attach(parsed: &Parsed, detach: bool) -> Result<AttachStreams> {
    let mut attach = AttachStreams::default();
    let mut given = false;
    for (flag, name) in parsed.all("attach") {
        given = true;
        match name.to_ascii_lowercase().as_str() {
            "stdin" => attach.stdin = true,
            "stdout" => attach.stdout = true,
            "stderr" => attach.stderr = true,
            _ => return Err(Error::value(flag, name, "valid streams are STDIN, STDOUT and STDERR")),
        }
    }
    match (given, detach) {
        (true, true) => Err(Error::AttachDetached),
        (true, false) => Ok(attach),
        (false, true) => Ok(AttachStreams::default()),
        (false, false) => Ok(AttachStreams { stdin: parsed.on("interactive"), stdout: true, stderr: true }),
    }
}

/// Variables of files first, so that those given one by one win.
pub(crate) fn env(parsed: &Parsed) -> Result<Vec<String>> {
    let mut env = Vec::new();
    for path in parsed.list("env-file") {
        env.extend(environment::read_file(path, Some(&environment::caller))?);
    }
    env.extend(parsed.values("env", |text| environment::variable(text, environment::caller))?);
    Ok(env)
}

fn labels(parsed: &Parsed) -> Result<Vec<(String, String)>> {
    let mut labels = Vec::new();
    for path in parsed.list("label-file") {
        for line in environment::read_file(path, None)? {
            labels.extend(environment::label(&line));
        }
    }
    labels.extend(parsed.values("label", environment::label)?);
    Ok(labels)
}

/// `--device`: nodes of the host, and names of devices.
fn devices(parsed: &Parsed) -> Result<(Vec<DeviceRequest>, Vec<String>)> {
    let (mut nodes, mut names) = (Vec::new(), Vec::new());
    parsed.values("device", |text| {
        match is_device_name(text) {
            true => names.push(text.to_owned()),
            false => nodes.push(DeviceRequest::parse(text)?),
        }
        Ok::<_, engine::Error>(())
    })?;
    Ok((nodes, names))
}

fn host(parsed: &Parsed) -> Result<HostOptions> {
    let mode = |flag| parsed.text(flag).unwrap_or_default();
    let score = parsed.value("oom-score-adj", |text| match integer::<i32>(text) {
        Ok(score @ -1000..=1000) => Ok(score),
        _ => Err("must be between -1000 and 1000"),
    })?;
    let restart = parse_restart(mode("restart"))?;
    let (devices, named_devices) = devices(parsed)?;
    if restart != RestartPolicy::No && parsed.on("rm") {
        return Err(Error::Conflict("cannot specify both --restart and --rm"));
    }
    Ok(HostOptions {
        auto_remove: parsed.on("rm"),
        restart,
        on_unhealthy: parsed.value("on-unhealthy", on_unhealthy)?.unwrap_or_default(),
        privileged: parsed.on("privileged"),
        readonly_root: parsed.on("read-only"),
        init: parsed.on("init"),
        cap_add: strings(parsed, "cap-add"),
        cap_drop: strings(parsed, "cap-drop"),
        security_options: security_options(parsed)?,
        user_mode: mode("userns").parse()?,
        pid_mode: mode("pid").parse()?,
        ipc_mode: mode("ipc").parse()?,
        uts_mode: mode("uts").parse()?,
        cgroup_mode: mode("cgroupns").parse()?,
        network_mode: mode("network").parse()?,
        group_add: strings(parsed, "group-add"),
        mounts: mounts(parsed)?,
        devices,
        named_devices,
        device_rules: parsed.values("device-cgroup-rule", AccessRule::parse)?,
        ulimits: parsed.values("ulimit", Ulimit::parse)?,
        sysctls: parsed.values("sysctl", pair)?.into_iter().collect(),
        shm_size: parsed.value("shm-size", positive_bytes)?,
        oom_score_adj: score.unwrap_or(0),
        cgroup_parent: owned(parsed, "cgroup-parent"),
        cidfile: owned(parsed, "cidfile").map(PathBuf::from),
        resources: resources(parsed)?,
        drift: parsed.value("drift", drift)?.unwrap_or_default(),
        log: LogOptions {
            driver: owned(parsed, "log-driver"),
            options: parsed.values("log-opt", pair)?.into_iter().collect(),
        },
        storage: parsed.values("storage-opt", pair)?.into_iter().collect(),
    })
}

fn drift(text: &str) -> std::result::Result<DriftMode, String> {
    match text {
        "" | "none" => Ok(DriftMode::None),
        "report" => Ok(DriftMode::Report),
        "block" => Ok(DriftMode::Block),
        _ => Err(format!("invalid drift mode: {text}: want none, report or block")),
    }
}

fn positive_bytes(text: &str) -> std::result::Result<u64, String> {
    let bytes = parse_bytes(text).map_err(|error| error.to_string())?;
    u64::try_from(bytes).map_err(|_| format!("invalid size: '{text}'"))
}

pub(super) fn resources(parsed: &Parsed) -> Result<Resources> {
    let number = |flag| parsed.value(flag, integer::<i64>).map(Option::unwrap_or_default);
    let bytes = |flag| {
        let bytes = parsed.value(flag, positive_bytes)?.unwrap_or_default();
        Ok::<i64, Error>(i64::try_from(bytes).unwrap_or(i64::MAX))
    };
    let resources = Resources {
        memory: bytes("memory")?,
        memory_swap: parsed.value("memory-swap", parse_bytes)?.unwrap_or_default(),
        memory_reservation: bytes("memory-reservation")?,
        memory_swappiness: parsed.value("memory-swappiness", integer::<i64>)?.filter(|value| *value != -1),
        oom_kill_disable: parsed.on("oom-kill-disable"),
        nano_cpus: parsed.value("cpus", parse_cpus)?.unwrap_or_default(),
        cpu_shares: number("cpu-shares")?,
        cpu_period: number("cpu-period")?,
        cpu_quota: number("cpu-quota")?,
        cpuset_cpus: owned(parsed, "cpuset-cpus").unwrap_or_default(),
        cpuset_mems: owned(parsed, "cpuset-mems").unwrap_or_default(),
        pids_limit: parsed.value("pids-limit", integer)?,
        blkio_weight: parsed.value("blkio-weight", integer)?.unwrap_or_default(),
        blkio_weight_device: parsed.values("blkio-weight-device", DeviceRate::parse_weight)?,
        device_read_bps: parsed.values("device-read-bps", DeviceRate::parse_bytes)?,
        device_write_bps: parsed.values("device-write-bps", DeviceRate::parse_bytes)?,
        device_read_iops: parsed.values("device-read-iops", DeviceRate::parse_operations)?,
        device_write_iops: parsed.values("device-write-iops", DeviceRate::parse_operations)?,
    };
    if resources.nano_cpus != 0 && (resources.cpu_period != 0 || resources.cpu_quota != 0) {
        return Err(Error::Conflict("--cpus cannot go with --cpu-period or --cpu-quota"));
    }
    Ok(resources)
}

fn mounts(parsed: &Parsed) -> Result<Vec<MountRequest>> {
    let here = absolute("")?;
    let volume = |text: &str| {
        let text = match text.split_once(':') {
            Some((source, rest)) if matches!(source.split('/').next(), Some("." | "..")) => {
                format!("{}:{rest}", mount::join(&here, source)?)
            }
            _ => text.to_owned(),
        };
        MountRequest::parse_volume(&text).map_err(|error| error.to_string())
    };
    let mut mounts = parsed.values("volume", volume)?;
    // The same words twice are one mount, as with Docker; the same target from two sources is a mistake.
    let mut seen = std::collections::HashSet::new();
    mounts.retain(|mount| mount.text.is_none() || seen.insert(mount.text.clone()));
    mounts.extend(parsed.values("mount", |text| mount::parse(text, &here))?);
    mounts.extend(parsed.values("tmpfs", MountRequest::parse_tmpfs)?);
    Ok(mounts)
}

/// Replaces the name of a seccomp profile by its content: files are the front end's business.
fn security_options(parsed: &Parsed) -> Result<Vec<String>> {
    let mut options = Vec::new();
    for option in parsed.list("security-opt") {
        let file = ["seccomp=", "seccomp:"].iter().find_map(|key| option.strip_prefix(key));
        options.push(match file {
            None | Some("" | "unconfined" | "builtin") => option.to_owned(),
            Some(file) => {
                let profile = linux::file::read_bounded(&absolute(file)?, PROFILE_LIMIT)?;
                format!("seccomp={}", String::from_utf8_lossy(&profile))
            }
        });
    }
    Ok(options)
}
