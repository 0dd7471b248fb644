//! From an operation and the build that it is part of to the request of a container; pure.

use std::fmt::Write as _;
use std::net::IpAddr;

use dockerfile::lower::RunOp;
use dockerfile::syntax::{Network, Security};

use super::devices;
use super::error::RunError;
use crate::Result;
use crate::build::BuildError;
use crate::build::session::Session;
use crate::request::{
    Build, BuildLimits, BuildNetwork, Create, Entitlement, HostOptions, NetworkMode, ProcessOptions,
    Resources,
};

/// What programs of builds are told that their host is called, as other builders have it: some write it into files.
pub(super) const HOSTNAME: &str = "buildkitsandbox";
/// Where programs are looked up unless the image says so.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Refuses what the build was not allowed, and what there is not.
pub(in crate::build) fn check(session: &Session<'_>, op: &RunOp) -> Result<()> {
    let build = session.request;
    let has = |entitlement| build.entitlements.contains(&entitlement);
    if op.network == Network::Host && !has(Entitlement::NetworkHost) {
        return Err(refused(RunError::NotAllowed { entitlement: "network.host" }));
    }
    if op.security == Security::Insecure && !has(Entitlement::SecurityInsecure) {
        return Err(refused(RunError::NotAllowed { entitlement: "security.insecure" }));
    }
    devices::granted(session, op).map(drop)
}

pub(in crate::build) fn refused(error: RunError) -> crate::Error {
    BuildError::from(error).into()
}

/// Whether a program shares the host's network.
pub(super) fn has_network(build: &Build, op: &RunOp) -> bool {
    match op.network {
        Network::Default => build.network != BuildNetwork::None,
        Network::None => false,
        Network::Host => true,
    }
}

/// The container that an operation asks for, without its mounts; with the devices of these names.
pub(super) fn create(build: &Build, op: &RunOp, devices: &[String]) -> Create {
    let network_mode = if has_network(build, op) { NetworkMode::Host } else { NetworkMode::None };
    let limits = &build.limits;
    Create {
        process: ProcessOptions {
            command: op.args.clone(),
            env: environment(op),
            user: Some(op.user.clone()),
            workdir: Some(op.cwd.clone()),
            hostname: Some(hostname(build).to_owned()),
            ..ProcessOptions::default()
        },
        host: HostOptions {
            auto_remove: true,
            privileged: op.security == Security::Insecure,
            security_options: vec!["no-new-privileges=false".to_owned()],
            network_mode,
            named_devices: devices.to_vec(),
            ulimits: limits.ulimits.clone(),
            shm_size: limits.shm_size,
            cgroup_parent: limits.cgroup_parent.clone(),
            resources: resources(limits),
            ..HostOptions::default()
        },
        ..Create::default()
    }
}

fn resources(limits: &BuildLimits) -> Resources {
    let signed = |value: Option<u64>| value.map_or(0, |value| i64::try_from(value).unwrap_or(i64::MAX));
    let list = |text: &Option<String>| text.clone().unwrap_or_default();
    Resources {
        memory: signed(limits.memory),
        memory_swap: limits.memory_swap.unwrap_or(0),
        nano_cpus: signed(limits.nano_cpus),
        cpu_shares: signed(limits.cpu_shares),
        cpu_period: signed(limits.cpu_period),
        cpu_quota: limits.cpu_quota.unwrap_or(0),
        cpuset_cpus: list(&limits.cpuset_cpus),
        cpuset_mems: list(&limits.cpuset_mems),
        pids_limit: limits.pids,
        ..Resources::default()
    }
}

/// The variables of the program: those of the Dockerfile, and the proxies under both of their spellings, as programs differ
/// in which one they look at.
pub(super) fn environment(op: &RunOp) -> Vec<String> {
    let name = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name).to_owned();
    let mut env = op.env.clone();
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.insert(0, PATH.to_owned());
    }
    for proxy in &op.proxies {
        let Some((key, value)) = proxy.split_once('=') else { continue };
        for key in [key.to_ascii_uppercase(), key.to_ascii_lowercase()] {
            if !env.iter().any(|entry| name(entry) == key) {
                env.push(format!("{key}={value}"));
            }
        }
    }
    env
}

fn hostname(build: &Build) -> &str {
    build.hostname().unwrap_or(HOSTNAME)
}

/// The program's `/etc/hosts`: its own name, and what `--add-host` names.
pub(super) fn hosts(build: &Build) -> std::result::Result<String, RunError> {
    let own = hostname(build);
    let mut text = format!("127.0.0.1\tlocalhost {own}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for entry in &build.extra_hosts {
        let wrong = || RunError::ExtraHost { text: entry.chars().take(80).collect() };
        // Addresses have colons too, so the first of either parts the two.
        let (name, address) = entry.split_once(['=', ':']).ok_or_else(wrong)?;
        let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        // What is reached at the gateway of a bridge elsewhere is reached at the loopback address here.
        let address = if address == "host-gateway" { "127.0.0.1" } else { address };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace() || byte == b'#' || byte == 0)
        {
            return Err(wrong());
        }
        // Writing to a string cannot fail.
        let _written = writeln!(text, "{address}\t{name}");
    }
    Ok(text)
}
