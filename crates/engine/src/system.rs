//! `info`, `version`, and the limits of this host.

use std::path::Path;

use cgroup::Hierarchy;
use linux::file;
use oci::Platform;
use state::State;

use crate::info::{Info, Status, Version};
use crate::request::{HostOptions, List};
use crate::{Engine, Error, Result, Snapshotter, plan};

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
        Ok(Info {
            version: self.version(),
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
            root: self.config.root.clone(),
            run: self.config.run.clone(),
            cgroup_version: if unified { 2 } else { 1 },
            rootless: facts.rootless.is_some(),
            cpus: u64::from(facts.cpus),
            memory: memory.totalram.saturating_mul(u64::from(memory.mem_unit)),
            operating_system: operating_system(),
            os_type: "linux",
            machine: system.machine().to_string_lossy().into_owned(),
            warnings: self.host_warnings(),
        })
    }

    fn host_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(user) = &self.facts().rootless {
            if !runtime::helpers_exist() {
                warnings.push(
                    "newuidmap or newgidmap is missing: containers have no users but root, who owns all files"
                        .to_owned(),
                );
            } else if user.uids.is_empty() || user.gids.is_empty() {
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
        cgroup::check(&plan::limits(host), &capabilities)
            .map(Some)
            .map_err(|source| Error::Cgroup { action: "check the limits", source })
    }
}

fn cgroups(source: cgroup::Error) -> Error {
    Error::Cgroup { action: "look at the control groups", source }
}

fn operating_system() -> String {
    let text = file::read_to_string(Path::new("/etc/os-release")).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}
