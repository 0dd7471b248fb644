//! `update`: other limits and another restart policy, for the run that is on and for all later ones.

use std::path::Path;

use cgroup::{Cgroup, Hierarchy, Limits};

use crate::container::Container;
use crate::request::{HostOptions, Update};
use crate::spec::{ContainerSpec, Summary};
use crate::{Engine, Error, Result, container, plan};

impl Engine {
    /// Changes a container; what will not hold, one sentence each.
    ///
    /// What the kernel refuses of one that runs leaves everything as it was, but for limits that it had taken before.
    pub fn update(&self, name: &str, request: &Update) -> Result<Vec<String>> {
        let found = self.container(name)?;
        if found.state.status.is_leaving() {
            return Err(Error::RemovedToUpdate { id: found.head.id });
        }
        let host = plan::merge_update(&found.spec.host, request)?;
        plan::check_limits(&host.resources, self.facts().cpus)?;
        let warnings = self.limit_warnings(&host)?;
        if found.state.status.is_running() {
            self.update_run(&found, &host)?;
        }
        self.keep_update(&found, request)?;
        self.container_event("update", &found.head.id, found.head.name.as_str(), &found.spec);
        Ok(warnings)
    }

    /// The monitor first, which has to know that its group may grow; then the kernel, which may take its time.
    fn update_run(&self, found: &Container, host: &HostOptions) -> Result<()> {
        let limits = self.limits_of(host)?;
        let tell = |limits: Limits, host: &HostOptions| match self.connect(found) {
            Ok(mut connection) => match connection.update(limits, host.restart) {
                Ok(_) => Ok(true),
                // It ended meanwhile: what is kept is for its next run.
                Err(monitor::Error::Gone | monitor::Error::NotRunning) => Ok(false),
                Err(source) => Err(Error::Monitor { action: "update", id: found.id().clone(), source }),
            },
            Err(Error::Monitor { source: monitor::Error::NotRunning, .. }) => Ok(false),
            Err(error) => Err(error),
        };
        if !tell(limits.clone(), host)? {
            return Ok(());
        }
        let failed = |source| Error::Monitor { action: "observe", id: found.id().clone(), source };
        let status = monitor::status::read(&self.run_directory(found.id())).map_err(failed)?;
        // Between two runs there is none; without root there may never be one.
        let Some(path) = status.and_then(|status| status.cgroup) else { return Ok(()) };
        let Err(error) = apply(&path, &limits) else { return Ok(()) };
        tell(self.limits_of(&found.spec.host)?, &found.spec.host)?;
        Err(error)
    }

    fn limits_of(&self, host: &HostOptions) -> Result<Limits> {
        Ok(self.supported_limits(host)?.unwrap_or_else(|| plan::limits(host)))
    }

    /// Writes the change down, over whatever somebody else has changed meanwhile.
    fn keep_update(&self, found: &Container, request: &Update) -> Result<()> {
        let failed = |source| Error::Record { id: found.id().clone(), source };
        let state = self.state();
        state.atomically(state::Durability::Process, || {
            let Some(record) = state.container(found.id())? else {
                return Err(Error::NoSuchContainer { name: found.id().to_string() });
            };
            let spec = container::parse_spec(&record)?;
            let spec = ContainerSpec { host: plan::merge_update(&spec.host, request)?, ..spec };
            let document = serde_json::to_string(&spec).map_err(failed)?;
            let summary = serde_json::to_string(&Summary::of(&spec)).map_err(failed)?;
            Ok(state.replace_spec(found.id(), &summary, &document)?)
        })
    }
}

/// A group that is gone needs no limits any more.
fn apply(path: &Path, limits: &Limits) -> Result<()> {
    let failed = |source| Error::Cgroup { action: "change the limits", source };
    let hierarchy = Hierarchy::detect().map_err(failed)?;
    // Which devices it may open was decided when it was made.
    let limits = Limits { devices: Vec::new(), ..limits.clone() };
    match Cgroup::open(&hierarchy, path) {
        Ok(mut group) => group.update(&limits).map_err(failed),
        Err(cgroup::Error::Missing { .. }) => Ok(()),
        Err(source) => Err(failed(source)),
    }
}
