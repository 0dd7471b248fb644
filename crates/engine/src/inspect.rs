//! `inspect`: everything about one container.

use crate::container::Container;
use crate::info::{ContainerInfo, HealthReport, HealthState, VolumeMount};
use crate::{Engine, Error, Result, Snapshotter, plan, quota};

impl Engine {
    /// Everything about the container that `name` stands for.
    pub fn inspect(&self, name: &str) -> Result<ContainerInfo> {
        let found = self.container(name)?;
        let directory = self.directory(found.id());
        let log_path = plan::log(&found.spec.host.log)
            .ok()
            .and_then(|logging| logging.kept)
            .map(|kept| kept.path(&directory));
        let volume = |volume: plan::Volume| VolumeMount {
            source: directory.join("volumes").join(&volume.name),
            target: volume.target,
        };
        let run = self.run_directory(found.id());
        let health = self.health(&found)?;
        Ok(ContainerInfo {
            health,
            hostname_path: run.join("hostname"),
            hosts_path: run.join("hosts"),
            resolv_conf_path: run.join("resolv.conf"),
            snapshotter: match self.snapshotter()? {
                Snapshotter::Erofs => "erofs",
                Snapshotter::Trees => "trees",
            },
            disk: quota::disk(&directory),
            hidden: plan::hidden(&found.spec.host, self.facts())?,
            volumes: plan::volumes(&found.spec).into_iter().map(volume).collect(),
            id_base: found.head.id_base,
            created: found.head.created,
            name: found.head.name,
            id: found.head.id,
            state: found.state,
            spec: found.spec,
            log_path,
            directory,
        })
    }

    /// Docker calls one unhealthy that is not checked any more.
    fn health(&self, found: &Container) -> Result<Option<HealthReport>> {
        if plan::health_command(&found.spec.process).is_none() || found.state.started_at.is_none() {
            return Ok(None);
        }
        let Some(state) = found.state.health else {
            return Ok(Some(HealthReport { state: HealthState::Unhealthy, ..HealthReport::new() }));
        };
        let failed = |source| Error::Monitor { action: "observe", id: found.id().clone(), source };
        let report = monitor::status::read_health(&self.run_directory(found.id())).map_err(failed)?;
        Ok(Some(report.unwrap_or(HealthReport { state, ..HealthReport::new() })))
    }
}
