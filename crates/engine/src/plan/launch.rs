//! What was kept of a container becomes what its monitor enacts.

use std::path::PathBuf;

use runtime::LaunchPlan;
use runtime::plan::{
    Hooks, Mount, MountKind, Namespace, Namespaces, ProcessPlan, Propagation, Root, SeccompFilter,
    TimeOffsets,
};

use super::identity::{self, Identity, identity};
use super::limits::{asks_for_any, device_rules, limits as base};
use super::{
    CgroupPlace, DeviceNode, Hidden, HostFacts, Joined, Peer, Surroundings, capability, device, mounts,
    process, sysctl,
};
use crate::request::{
    AccessRule, CgroupMode, Exec, HostOptions, IpcMode, MountSource, NetworkMode, PidMode, SecurityOptions,
    UtsMode,
};
use crate::spec::ContainerSpec;
use crate::{Error, Result};

/// The plan of a container's next run.
pub(crate) fn launch(
    id: &str,
    spec: &ContainerSpec,
    facts: &HostFacts,
    around: &Surroundings,
) -> Result<LaunchPlan> {
    let host = &spec.host;
    let security = SecurityOptions::parse(&host.security_options)?;
    let Identity { namespace: user, maps } = identity(host, facts, around.id_base, &around.joined)?;
    let namespaces = namespaces(host, user, &around.joined);
    let own_network = namespaces.network == Namespace::New;
    let Hidden { masked, readonly } = hidden(host, facts)?;
    let process =
        process::first(spec, &spec.process.hostname, capabilities(host, facts)?, around.seccomp.clone())?;
    let volumes = mounts::volumes(spec);
    let setting = mounts::Setting {
        host,
        volumes: &volumes,
        namespaces: &namespaces,
        maps: &maps,
        around,
        writable_cgroups: security.writable_cgroups,
        rootless: facts.rootless.is_some(),
        host_mqueue: facts.mqueue,
    };
    let (mounts, id_map) = (mounts::mounts(&setting)?, setting.id_map());
    let mut plan = LaunchPlan {
        id: id.to_owned(),
        mounts,
        devices: device::devices(&around.devices),
        masked_paths: masked,
        readonly_paths: readonly,
        hostname: (namespaces.uts == Namespace::New).then(|| spec.process.hostname.clone()),
        domainname: Some(&spec.process.domainname).filter(|name| !name.is_empty()).cloned(),
        sysctls: sysctl::sysctls(host, own_network, identity::highest(&maps.gid)),
        time_offsets: (namespaces.time == Namespace::New).then(TimeOffsets::default),
        cgroup: cgroup(id, host, facts, around.limits.as_ref(), &around.devices),
        root: Root {
            source: around.root.clone(),
            readonly: host.readonly_root,
            propagation: propagation(host),
        },
        process,
        hooks: Hooks::default(),
        personality: None,
        memory_policy: None,
        loopback: own_network,
        new_session_keyring: true,
        no_pivot: false,
        start_gate: None,
        ends_with_supervisor: false,
        id_maps: maps,
        namespaces,
    };
    around.named.apply(&mut plan, &id_map);
    if plan.hooks != Hooks::default() {
        let folder = around.volumes.parent().unwrap_or(&around.volumes);
        plan.hooks.state.bundle = folder.display().to_string();
    }
    Ok(plan)
}

/// What of the kernel's file systems a container does not get.
pub(crate) fn hidden(host: &HostOptions, facts: &HostFacts) -> Result<Hidden> {
    let open = host.privileged || SecurityOptions::parse(&host.security_options)?.open_system_paths;
    Ok(if open { Hidden::default() } else { Hidden::by_default(facts.thermal_cpus) })
}

/// What of a container is mounted to work on its files while it does not run: its root, its volumes, and what its user
/// bound, in a user and a mount namespace alone.
pub(crate) fn visit(
    id: &str,
    spec: &ContainerSpec,
    facts: &HostFacts,
    around: &Surroundings,
) -> Result<LaunchPlan> {
    let mut alone = spec.clone();
    alone.host.pid_mode = PidMode::Private;
    alone.host.ipc_mode = IpcMode::None;
    alone.host.network_mode = NetworkMode::None;
    let plan = launch(id, &alone, facts, around)?;
    let is_users = |mount: &Mount| match &mount.kind {
        MountKind::Volume { .. } => true,
        MountKind::Bind { .. } => {
            spec.host.mounts.iter().any(|own| mounts::is_target(&own.target, &mount.target))
        }
        MountKind::New { .. } | MountKind::Image { .. } | MountKind::File { .. } | MountKind::Cgroup => false,
    };
    Ok(LaunchPlan {
        namespaces: Namespaces {
            user: plan.namespaces.user.clone(),
            mount: Namespace::New,
            ..Namespaces::default()
        },
        mounts: plan.mounts.iter().filter(|mount| is_users(mount)).cloned().collect(),
        devices: Vec::new(),
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        hostname: None,
        domainname: None,
        sysctls: Vec::new(),
        time_offsets: None,
        cgroup: None,
        process: ProcessPlan { rlimits: Vec::new(), terminal: None, reaper: false, ..plan.process },
        loopback: false,
        new_session_keyring: false,
        ..plan
    })
}

/// What of a container's run follows from the request alone, so that it can be made while the rest is looked up. None
/// where little does: what is joined must be found first, and limits and devices need a look at the host.
pub(crate) fn ahead(
    id: &str,
    host: &HostOptions,
    facts: &HostFacts,
) -> Option<(Namespaces, Option<cgroup::Plan>)> {
    let joins = matches!(host.pid_mode, PidMode::Container(_))
        || matches!(host.ipc_mode, IpcMode::Container(_))
        || matches!(host.network_mode, NetworkMode::Container(_));
    let needs_look = asks_for_any(&host.resources)
        || host.privileged
        || !host.devices.is_empty()
        || !host.named_devices.is_empty();
    // Where a parent is named, it has not been checked yet.
    if joins || needs_look || host.cgroup_parent.is_some() {
        return None;
    }
    // Which range it will have is not for a namespace to know.
    let identity = identity(host, facts, Some(0), &Joined::default()).ok()?;
    let namespaces = namespaces(host, identity.namespace, &Joined::default());
    Some((namespaces, cgroup(id, host, facts, None, &[])))
}

/// The plan of a further process.
pub(crate) fn exec(
    spec: &ContainerSpec,
    request: &Exec,
    facts: &HostFacts,
    seccomp: Option<SeccompFilter>,
) -> Result<ProcessPlan> {
    let host = HostOptions {
        privileged: request.privileged || spec.host.privileged,
        cap_add: spec.host.cap_add.clone(),
        cap_drop: spec.host.cap_drop.clone(),
        user_mode: spec.host.user_mode,
        ..HostOptions::default()
    };
    let capabilities = capabilities(&host, facts)?;
    let seccomp = seccomp.filter(|_| !request.privileged);
    process::further(spec, request, &spec.process.hostname, capabilities, seccomp)
}

/// What a container may do. Who shares the host's ids cannot be given what this process does not have.
pub(crate) fn capabilities(host: &HostOptions, facts: &HostFacts) -> Result<u64> {
    let set = capability::set(host)?;
    let own = identity::own_ids(host) || facts.rootless.is_some();
    Ok(if own { set } else { set & facts.capabilities })
}

fn namespaces(host: &HostOptions, user: Namespace, joined: &Joined) -> Namespaces {
    let join = |peer: &Option<Peer>, kind: &str| match peer {
        Some(peer) => Namespace::Join(PathBuf::from(format!("/proc/{}/ns/{kind}", peer.pid))),
        None => Namespace::New,
    };
    Namespaces {
        user,
        mount: Namespace::New,
        pid: match host.pid_mode {
            PidMode::Private => Namespace::New,
            PidMode::Host => Namespace::Inherit,
            PidMode::Container(_) => join(&joined.pid, "pid"),
        },
        network: match host.network_mode {
            NetworkMode::Default | NetworkMode::None => Namespace::New,
            NetworkMode::Host => Namespace::Inherit,
            NetworkMode::Container(_) => join(&joined.network, "net"),
        },
        ipc: match host.ipc_mode {
            IpcMode::Private | IpcMode::Shareable | IpcMode::None => Namespace::New,
            IpcMode::Host => Namespace::Inherit,
            IpcMode::Container(_) => join(&joined.ipc, "ipc"),
        },
        uts: match host.uts_mode {
            UtsMode::Private => Namespace::New,
            UtsMode::Host => Namespace::Inherit,
        },
        cgroup: match host.cgroup_mode {
            CgroupMode::Private => Namespace::New,
            CgroupMode::Host => Namespace::Inherit,
        },
        time: Namespace::New,
    }
}

fn cgroup(
    id: &str,
    host: &HostOptions,
    facts: &HostFacts,
    supported: Option<&cgroup::Limits>,
    devices: &[DeviceNode],
) -> Option<cgroup::Plan> {
    let path = match (facts.cgroups, &host.cgroup_parent) {
        (CgroupPlace::Nowhere, _) => return None,
        (CgroupPlace::Own, None) => PathBuf::from("skiff").join(id),
        (CgroupPlace::Root, None) => PathBuf::from("/skiff").join(id),
        (CgroupPlace::Own, Some(parent)) => PathBuf::from(parent.trim_matches('/')).join(id),
        (CgroupPlace::Root, Some(parent)) => PathBuf::from("/").join(parent.trim_matches('/')).join(id),
    };
    let mut allowed = supported.cloned().unwrap_or_else(|| base(host));
    allowed.devices = device_rules(host.privileged, devices);
    allowed.devices.extend(host.device_rules.iter().filter_map(AccessRule::rule));
    Some(cgroup::Plan { path, limits: allowed })
}

/// A mount that is to take part in the host's mount events needs a root that does.
fn propagation(host: &HostOptions) -> Propagation {
    let named = |wanted: &[&str]| {
        host.mounts.iter().any(|mount| match &mount.source {
            MountSource::Bind { propagation: Some(name), .. } => wanted.contains(&name.as_str()),
            MountSource::Bind { .. } | MountSource::Tmpfs(_) => false,
        })
    };
    if named(&["shared", "rshared"]) {
        Propagation::RecursiveShared
    } else if named(&["slave", "rslave"]) {
        Propagation::RecursiveSlave
    } else {
        Propagation::RecursivePrivate
    }
}

/// Whether anyone may join the IPC namespace of a container.
pub(crate) fn may_join_ipc(name: &str, host: &HostOptions) -> Result<()> {
    match host.ipc_mode {
        IpcMode::Shareable | IpcMode::Host => Ok(()),
        IpcMode::Private | IpcMode::None | IpcMode::Container(_) => {
            Err(Error::IpcNotShareable { name: name.to_owned(), mode: host.ipc_mode.to_string() })
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(super) mod tests;
