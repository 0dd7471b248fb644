//! `inspect`: everything about one container.

use crate::info::{ContainerInfo, VolumeMount};
use crate::{Engine, Result, Snapshotter, plan};

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
        Ok(ContainerInfo {
            hostname_path: run.join("hostname"),
            hosts_path: run.join("hosts"),
            resolv_conf_path: run.join("resolv.conf"),
            snapshotter: match self.snapshotter()? {
                Snapshotter::Erofs => "erofs",
                Snapshotter::Trees => "trees",
            },
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
}
