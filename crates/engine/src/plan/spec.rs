//! A request and its image become what is kept of a container; what cannot be is refused here.

use oci::{ContainerId, Digest, ImageConfig, Platform};

use super::{HostFacts, capability, environment, health, limits, log, mounts, quota, sysctl};
use crate::request::{
    Create, DriftMode, HostOptions, IpcMode, NetworkMode, ProcessOptions, RestartPolicy, SecurityOptions,
    UtsMode,
};
use crate::spec::{ContainerSpec, ProcessSpec};
use crate::{Error, Result, signal};

/// An image, as far as it matters to a container.
pub(crate) struct ImageFacts<'a> {
    /// As the user named it.
    pub(crate) name: &'a str,
    pub(crate) id: &'a Digest,
    pub(crate) config: &'a ImageConfig,
}

/// Merges and checks. Returns what is asked for and will not hold, one sentence each.
pub(crate) fn spec(
    request: &Create,
    image: &ImageFacts<'_>,
    id: &ContainerId,
    facts: &HostFacts,
) -> Result<(ContainerSpec, Vec<String>)> {
    let mut warnings = check_platform(request, image)?;
    let process = process(&request.process, &image.config.config, id, &request.host, facts)?;
    check_host(&request.host, facts)?;
    mounts::check_volumes(&process.volumes)?;
    warnings.extend(unenforced(&request.host, facts));
    let spec = ContainerSpec {
        image: image.name.to_owned(),
        image_id: image.id.to_string(),
        platform: image.config.platform.normalized().to_string(),
        process,
        host: request.host.clone(),
    };
    Ok((spec, warnings))
}

fn check_platform(request: &Create, image: &ImageFacts<'_>) -> Result<Vec<String>> {
    let host = Platform::host();
    let own = image.config.platform.normalized();
    let Some(text) = &request.platform else {
        if host.runs(&own) || own.architecture.is_empty() {
            return Ok(Vec::new());
        }
        return Ok(vec![format!(
            "The requested image's platform ({own}) does not match the detected host platform ({host}) and no \
             specific platform was requested"
        )]);
    };
    let wanted: Platform =
        text.parse().map_err(|source| Error::InvalidPlatform { text: text.clone(), source })?;
    if wanted.runs(&own) {
        return Ok(Vec::new());
    }
    Err(Error::WrongPlatform {
        image: image.name.to_owned(),
        wanted: wanted.to_string(),
        found: own.to_string(),
    })
}

fn process(
    request: &ProcessOptions,
    image: &oci::ContainerConfig,
    id: &ContainerId,
    host: &HostOptions,
    facts: &HostFacts,
) -> Result<ProcessSpec> {
    let (entrypoint, command) = program(request, image)?;
    let chosen = |own: &Option<String>, images: &String| {
        own.as_ref().filter(|text| !text.is_empty()).unwrap_or(images).clone()
    };
    let user = chosen(&request.user, &image.user);
    check_user(&user)?;
    let workdir = match request.workdir.as_deref() {
        Some(workdir) if !workdir.is_empty() => absolute(workdir)?,
        // What an image says need not be absolute; Docker takes it from the root.
        _ if image.working_dir.is_empty() => String::new(),
        _ => absolute(&format!("/{}", image.working_dir.trim_start_matches('/')))?,
    };
    let env = environment::merge(&request.env, &image.env);
    check_env(&env)?;
    check_texts("argument", entrypoint.iter().chain(&command))?;
    let stop_signal_name = request
        .stop_signal
        .clone()
        .or_else(|| Some(image.stop_signal.clone()).filter(|name| !name.is_empty()));
    let stop_signal = match &stop_signal_name {
        Some(name) if !name.is_empty() => signal::parse(name)?,
        _ => 15,
    };
    if request.stop_timeout.is_some_and(|timeout| timeout < -1) {
        return Err(Error::InvalidStopTimeout);
    }
    let mut labels = image.labels.clone();
    labels.extend(request.labels.clone());
    Ok(ProcessSpec {
        entrypoint,
        command,
        env,
        user,
        workdir,
        hostname: hostname(request, id, host, facts)?,
        domainname: request.domainname.clone().unwrap_or_default(),
        labels,
        tty: request.tty,
        open_stdin: request.open_stdin,
        stdin_once: request.stdin_once,
        attach: request.attach,
        stop_signal,
        stop_signal_name,
        stop_timeout: request.stop_timeout,
        health: health::merge(request.health.as_ref(), image.healthcheck.as_ref())?,
        shell: image.shell.clone(),
        volumes: image.volumes.iter().cloned().collect(),
        exposed_ports: image.exposed_ports.iter().cloned().collect(),
    })
}

/// Entry point and command: the user's entry point drops the image's command, and `[""]` is none at all.
fn program(request: &ProcessOptions, image: &oci::ContainerConfig) -> Result<(Vec<String>, Vec<String>)> {
    let images_command = || image.cmd.clone().unwrap_or_default();
    let (entrypoint, command) = match &request.entrypoint {
        Some(own) => {
            let cleared = own.iter().all(String::is_empty);
            (if cleared { Vec::new() } else { own.clone() }, request.command.clone())
        }
        None => {
            let entrypoint = image.entrypoint.clone().unwrap_or_default();
            let command = if request.command.is_empty() { images_command() } else { request.command.clone() };
            (entrypoint, command)
        }
    };
    match entrypoint.iter().chain(&command).next() {
        None => Err(Error::NoCommand),
        Some(_) => Ok((entrypoint, command)),
    }
}

fn hostname(
    request: &ProcessOptions,
    id: &ContainerId,
    host: &HostOptions,
    facts: &HostFacts,
) -> Result<String> {
    let own = request.hostname.as_deref().filter(|name| !name.is_empty());
    for (what, name) in [("hostname", own), ("domainname", request.domainname.as_deref())] {
        if let Some(name) = name
            && !is_host_name(name)
        {
            return Err(Error::InvalidHostname { what, name: name.chars().take(80).collect() });
        }
    }
    if host.uts_mode == UtsMode::Host {
        return match own {
            Some(_) => Err(Error::Conflicting { options: "hostname and the UTS mode" }),
            None => Ok(facts.hostname.clone()),
        };
    }
    match (&host.network_mode, own) {
        (NetworkMode::Container(_), Some(_)) => {
            Err(Error::Conflicting { options: "hostname and the network mode" })
        }
        (NetworkMode::Host, None) => Ok(facts.hostname.clone()),
        (_, Some(name)) => Ok(name.to_owned()),
        (_, None) => Ok(id.short().to_owned()),
    }
}

/// Fit for the kernel, and for `/etc/hosts` and `/etc/hostname`, where a space or a line feed would be more.
fn is_host_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    plain && name.len() <= 64 && !name.starts_with(['-', '.'])
}

/// A user as Docker's clients write one; whether it exists is known inside alone.
pub(super) fn check_user(text: &str) -> Result<()> {
    if text.len() > 256 || text.contains(['\0', '\n', '/']) || text.matches(':').count() > 1 {
        return Err(Error::InvalidUser { text: text.chars().take(80).collect() });
    }
    for part in text.split(':') {
        // Names that are all digits are ids, and ids end below the two that mean "none".
        let number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if number && part.parse::<u32>().map_or(true, |id| id > 0x7fff_ffff) {
            return Err(Error::InvalidUser { text: text.chars().take(80).collect() });
        }
    }
    Ok(())
}

/// An absolute path without a `..`; the runtime resolves it below the root whatever it says.
pub(super) fn absolute(path: &str) -> Result<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Error::InvalidWorkdir { path: path.to_owned() });
    }
    Ok(path.to_owned())
}

fn check_env(env: &[String]) -> Result<()> {
    for entry in env {
        if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
            return Err(Error::InvalidVariable { text: entry.chars().take(80).collect() });
        }
    }
    Ok(())
}

/// Texts that become arguments end at a NUL for the kernel: one in the middle would hide the rest.
pub(super) fn check_texts<'a>(what: &'static str, texts: impl IntoIterator<Item = &'a String>) -> Result<()> {
    match texts.into_iter().find(|text| text.contains('\0')) {
        Some(text) => Err(Error::HoldsNul { what, text: text.chars().take(80).collect() }),
        None => Ok(()),
    }
}

fn check_host(host: &HostOptions, facts: &HostFacts) -> Result<()> {
    capability::set(host)?;
    SecurityOptions::parse(&host.security_options)?;
    mounts::check(&host.mounts)?;
    sysctl::check(host)?;
    if host.auto_remove && host.restart != RestartPolicy::No {
        return Err(Error::Conflicting {
            options: "can't create 'AutoRemove' container with restart policy",
        });
    }
    limits::check(&host.resources, facts.cpus)?;
    for ulimit in &host.ulimits {
        ulimit.resource()?;
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(Error::InvalidOomScore { value: host.oom_score_adj });
    }
    for group in &host.group_add {
        if group.is_empty() || group.contains(':') {
            return Err(Error::InvalidUser { text: group.chars().take(80).collect() });
        }
        check_user(group)?;
    }
    if host.shm_size.is_some_and(|size| size > 0)
        && matches!(host.ipc_mode, IpcMode::Host | IpcMode::Container(_) | IpcMode::None)
    {
        // Docker ignores it there; so nothing is lost, and nothing is promised.
        tracing::debug!(mode = %host.ipc_mode, "the size of /dev/shm has no effect");
    }
    if let Some(parent) = &host.cgroup_parent {
        check_cgroup_parent(parent)?;
    }
    if host.drift != DriftMode::None && facts.rootless.is_some() {
        return Err(Error::DriftNeedsRoot);
    }
    if quota(host)?.is_some() && facts.rootless.is_some() {
        return Err(Error::QuotaNeedsRoot);
    }
    log(&host.log).map(drop).map_err(|source| Error::Logging { source })
}

fn check_cgroup_parent(parent: &str) -> Result<()> {
    let bad = parent.contains(['\0', '\n', ':'])
        || parent.ends_with(".slice")
        || parent.split('/').any(|p| p == "..");
    if bad { Err(Error::InvalidCgroupParent { path: parent.to_owned() }) } else { Ok(()) }
}

/// Limits that nothing will enforce, because the caller may make no control group.
fn unenforced(host: &HostOptions, facts: &HostFacts) -> Vec<String> {
    let nowhere = facts.cgroups == super::CgroupPlace::Nowhere;
    let asked = limits::asks_for_any(&host.resources) || host.resources.pids_limit.is_some();
    if nowhere && asked {
        return vec![
            "Limits have no effect: there is no control group that this user may set them in".to_owned(),
        ];
    }
    Vec::new()
}
