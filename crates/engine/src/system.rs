//! `info`, `version`, and the limits of this host.

use std::path::Path;

use cgroup::Hierarchy;
use linux::file;
use oci::{Digest, Platform};
use state::State;

use crate::info::{Info, Status, Version};
use crate::request::{HostOptions, List};
use crate::{Engine, Error, Result, Snapshotter, devices, plan};

impl Engine {
    /// Versions of everything that matters.
    pub fn version(&self) -> Version {
        let system = rustix::system::uname();
        Version {
            version: env!("CARGO_PKG_VERSION"),
            kernel: system.release().to_string_lossy().into_owned(),
            architecture: Platform::host().architecture,
            schema: state::SCHEMA_VERSION,
            sqlite: State::sqlite_version().to_owned(),
        }
    }

    /// This host, and how much there is on it.
    pub fn info(&self) -> Result<Info> {
        let containers = self.list(&List { all: true, last: None })?;
        let count = |wanted: fn(Status) -> bool| {
            containers.iter().filter(|container| wanted(container.state.status)).count() as u64
        };
        let system = rustix::system::uname();
        let memory = rustix::system::sysinfo();
        let hierarchy = Hierarchy::detect().map_err(cgroups)?;
        let unified = hierarchy.version() == Some(cgroup::Version::V2);
        let facts = self.facts();
        let has_cgroups = facts.cgroups != plan::CgroupPlace::Nowhere;
        let limits = match has_cgroups {
            true => hierarchy.capabilities().map_err(cgroups)?,
            false => cgroup::Capabilities::default(),
        };
        let release = file::read_to_string(Path::new("/etc/os-release")).unwrap_or_default();
        Ok(Info {
            version: self.version(),
            id: self.id(),
            name: facts.hostname.clone(),
            containers: containers.len() as u64,
            running: count(|status| matches!(status, Status::Running | Status::Restarting)),
            paused: count(|status| status == Status::Paused),
            stopped: count(|status| !status.is_running()),
            images: self.state().images()?.len() as u64,
            snapshotter: match self.snapshotter()? {
                Snapshotter::Erofs => "erofs",
                Snapshotter::Trees => "trees",
            },
            backing_filesystem: filesystem(&self.config.root),
            log_drivers: plan::LOG_DRIVERS,
            root: self.config.root.clone(),
            run: self.config.run.clone(),
            cgroup_version: if unified { 2 } else { 1 },
            warnings: self.host_warnings(&limits, unified),
            limits,
            has_cgroups,
            ipv4_forwarding: file::read_to_string(Path::new("/proc/sys/net/ipv4/ip_forward"))
                .is_ok_and(|text| text.trim() == "1"),
            rootless: facts.rootless.is_some(),
            cpus: u64::from(facts.cpus),
            memory: memory.totalram.saturating_mul(u64::from(memory.mem_unit)),
            operating_system: release_field(&release, "PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
            os_version: release_field(&release, "VERSION_ID").unwrap_or_default(),
            os_type: "linux",
            machine: system.machine().to_string_lossy().into_owned(),
        })
    }

    /// What `machine-id(5)` asks for: not the machine's id itself, but a hash of it with something of our own.
    fn id(&self) -> String {
        let machine = file::read_to_string(Path::new("/etc/machine-id")).unwrap_or_default();
        let machine = machine.trim();
        if machine.is_empty() {
            return String::new();
        }
        let hash = Digest::of(format!("skiff {machine} {}", self.config.root.display()).as_bytes());
        let hash = hash.encoded();
        // Version 8 of RFC 9562: made as its maker sees fit.
        format!("{}-{}-8{}-8{}-{}", &hash[..8], &hash[8..12], &hash[12..15], &hash[15..18], &hash[18..30])
    }

    fn host_warnings(&self, limits: &cgroup::Capabilities, unified: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.facts().cgroups != plan::CgroupPlace::Nowhere {
            let missing = [
                (limits.memory, "memory limit"),
                (limits.swap, "swap limit"),
                (limits.oom_kill_disable || unified, "oom kill disable"),
                (limits.cpu_quota, "cpu cfs quota"),
                (limits.cpu_shares, "cpu shares"),
                (limits.cpuset, "cpuset"),
                (limits.pids, "pids limit"),
            ];
            let missing = missing.iter().filter(|(there, _)| !there);
            warnings.extend(missing.map(|(_, what)| format!("No {what} support")));
        }
        if let Some(user) = &self.facts().rootless {
            let lacks_ids = user.uids.is_empty() || user.gids.is_empty();
            if user.uid == 0 {
                if lacks_ids {
                    warnings.push(
                        "/proc/self/uid_map and gid_map have no ids but root's: containers have no users but root, and images no files of others; \
                         see unshare --map-auto"
                            .to_owned(),
                    );
                }
            } else if !runtime::helpers_exist() {
                warnings.push(
                    "newuidmap or newgidmap is missing: containers have no users but root, who owns all files"
                        .to_owned(),
                );
            } else if lacks_ids {
                warnings.push(
                    "/etc/subuid or /etc/subgid lends this user no ids: containers have no users but root, who owns all files"
                        .to_owned(),
                );
            }
            if self.facts().cgroups == plan::CgroupPlace::Nowhere {
                warnings.push("No control group is delegated to this user: limits have no effect".to_owned());
            }
        }
        warnings
    }

    /// Limits as the kernel can enforce them; missing when none were asked for.
    pub(crate) fn supported_limits(&self, host: &HostOptions) -> Result<Option<cgroup::Limits>> {
        Ok(self.checked_limits(host)?.map(|(limits, _)| limits))
    }

    /// One sentence for each limit that had to be dropped.
    pub(crate) fn limit_warnings(&self, host: &HostOptions) -> Result<Vec<String>> {
        let warnings = self.checked_limits(host)?.map(|(_, warnings)| warnings).unwrap_or_default();
        Ok(warnings.into_iter().map(|warning| warning.0).collect())
    }

    fn checked_limits(&self, host: &HostOptions) -> Result<Option<(cgroup::Limits, Vec<cgroup::Warning>)>> {
        if !plan::asks_for_any(&host.resources) || self.facts().cgroups != plan::CgroupPlace::Root {
            return Ok(None);
        }
        let capabilities = Hierarchy::detect().and_then(|found| found.capabilities()).map_err(cgroups)?;
        plan::check_memory_nodes(&host.resources, &capabilities.memory_nodes)?;
        let mut limits = plan::limits(host);
        devices::limit_block_io(&host.resources, &mut limits.block_io)?;
        cgroup::check(&limits, &capabilities)
            .map(Some)
            .map_err(|source| Error::Cgroup { action: "check the limits", source })
    }
}

fn cgroups(source: cgroup::Error) -> Error {
    Error::Cgroup { action: "look at the control groups", source }
}

/// A field of os-release.
fn release_field(release: &str, name: &str) -> Option<String> {
    let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// The file system below a path, by its number in `linux/magic.h`.
fn filesystem(path: &Path) -> String {
    const NAMES: [(u32, &str); 8] = [
        (0xef53, "extfs"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x794c_7630, "overlayfs"),
        (0x2fc1_2fc1, "zfs"),
        (0xf2f5_2010, "f2fs"),
        (0x6969, "nfs"),
    ];
    let Ok(found) = rustix::fs::statfs(path) else { return "<unknown>".to_owned() };
    // Some kernels sign-extend it.
    let magic = u32::try_from(found.f_type & 0xffff_ffff).unwrap_or_default();
    let known = NAMES.iter().find(|(number, _)| *number == magic);
    known.map_or_else(|| format!("{magic:#x}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_with_and_without_quotes() {
        let text = "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID='12'\nID=debian\n";
        assert_eq!(release_field(text, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12"));
        assert_eq!(release_field(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(release_field(text, "VERSION"), None, "another field begins alike");
    }

    #[test]
    fn file_systems_have_dockers_names() {
        assert_eq!(filesystem(Path::new("/proc")), "0x9fa0");
        assert_eq!(filesystem(Path::new("/dev/shm")), "tmpfs");
        assert_eq!(filesystem(Path::new("/no/such/place")), "<unknown>");
    }
}
