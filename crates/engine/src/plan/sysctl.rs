//! `--sysctl`: kernel parameters that belong to a namespace of the container's own, and no others.

use std::collections::BTreeMap;

use crate::request::{HostOptions, IpcMode, NetworkMode};
use crate::{Error, Result};

/// Parameters of an IPC namespace (sysctl(8), kernel/ipc).
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Refuses what is not of a namespace that the container has for itself.
pub(crate) fn check(host: &HostOptions) -> Result<()> {
    for (name, value) in &host.sysctls {
        let refuse = |reason| Err(Error::InvalidSysctl { name: name.clone(), reason });
        // A slash or `..` could name a parameter that no list here knows.
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !plain || name.split('.').any(str::is_empty) || value.contains('\0') {
            return refuse("is not a name of a parameter");
        }
        if IPC.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
            if matches!(host.ipc_mode, IpcMode::Host | IpcMode::Container(_)) {
                return refuse("not allowed in host ipc namespace");
            }
        } else if name.starts_with("net.") {
            if matches!(host.network_mode, NetworkMode::Host | NetworkMode::Container(_)) {
                return refuse("not allowed in host network namespace");
            }
        } else {
            return refuse("is not allowed: it is not of a namespace of the container's");
        }
    }
    Ok(())
}

/// What is set: Docker's two defaults for a network namespace, and what was asked for.
///
/// `highest_gid` is the highest group that exists inside: the kernel refuses a range beyond it.
pub(crate) fn sysctls(host: &HostOptions, own_network: bool, highest_gid: u32) -> Vec<(String, String)> {
    let mut all = BTreeMap::new();
    if own_network {
        all.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        all.insert("net.ipv4.ping_group_range".to_owned(), format!("0 {}", highest_gid.min(0x7fff_ffff)));
    }
    all.extend(host.sysctls.iter().map(|(name, value)| (name.clone(), value.clone())));
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, host: HostOptions) -> String {
        let host = HostOptions { sysctls: BTreeMap::from([(name.to_owned(), "1".to_owned())]), ..host };
        check(&host).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn only_parameters_of_own_namespaces_are_set() {
        for name in
            ["net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "net.ipv4.conf.eth0.forwarding"]
        {
            assert_eq!(outcome(name, HostOptions::default()), "fine", "{name}");
        }
        for name in ["kernel.core_pattern", "vm.swappiness", "kernel.hostname", "fs.file-max", "netx"] {
            assert!(outcome(name, HostOptions::default()).contains("is not allowed"), "{name}");
        }
        for name in ["net.ipv4/../../kernel/core_pattern", "net..x", "net.", "", "/proc", "net.a b"] {
            assert!(outcome(name, HostOptions::default()).contains("is not a name"), "{name}");
        }
    }

    #[test]
    fn a_shared_namespace_is_not_changed() {
        let host = HostOptions { network_mode: NetworkMode::Host, ..HostOptions::default() };
        assert_eq!(
            outcome("net.core.somaxconn", host),
            "sysctl 'net.core.somaxconn' not allowed in host network namespace"
        );
        let host = HostOptions { ipc_mode: IpcMode::Host, ..HostOptions::default() };
        assert_eq!(outcome("kernel.sem", host), "sysctl 'kernel.sem' not allowed in host ipc namespace");
    }

    #[test]
    fn what_is_asked_for_replaces_a_default() {
        let mut host = HostOptions::default();
        assert_eq!(sysctls(&host, false, 65535), []);
        host.sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "1024".to_owned());
        let found = sysctls(&host, true, 65535);
        assert_eq!(found[0].1, "1024");
        assert_eq!(found[1].1, "0 65535");
    }
}
