//! `commit`: an image of what a container has become.
//!
//! ```text
//! frozen ─► writable layer ─► tar ─► hashed and written ─► thawed ─► index, config ─► names
//! ```
//!
//! The container's monitor thaws it as well when this process dies: it is frozen only for as long as this process keeps its
//! connection.

use image::{CommitOptions, LoadedLayer};
use monitor::Connection;
use oci::{ContainerConfig, Reference};

use crate::container::Container;
use crate::images::{failed, parse_tag};
use crate::info::Status;
use crate::request::Commit;
use crate::spec::ProcessSpec;
use crate::{Engine, Error, Result};

impl Engine {
    /// Makes an image of a container; returns its id.
    pub fn commit(&self, name: &str, request: &Commit) -> Result<String> {
        let reference = request.reference.as_deref().map(parse_tag).transpose()?;
        let found = self.container(name)?;
        found.must_stay("commit")?;
        let record = self.image_record(&found.head.image)?;
        let base = self.image_config(&found.head.image)?;
        let options = CommitOptions {
            config: config_of(&found.spec.process, &base.config),
            base,
            base_layers: record
                .layers
                .into_iter()
                .map(|layer| LoadedLayer { diff_id: layer.diff_id, size: layer.size, blob: layer.blob })
                .collect(),
            changes: request.changes.clone(),
            author: request.author.clone(),
            comment: request.message.clone(),
            created_by: found.spec.process.args().join(" "),
            created: state::now(),
        };
        let layer = self.writable_layer(&found)?;
        let frozen = if request.pause { self.freeze(&found)? } else { None };
        const ACTION: &str = "commit the writable layer";
        let mut loaded = if self.has_layer(found.id()) {
            layer.tar(|tar| {
                let thaw = || drop(frozen);
                image::commit(&self.store, tar, &options, thaw).map_err(failed(ACTION))
            })?
        } else {
            image::commit(&self.store, &mut &image::tar::END[..], &options, || drop(frozen))
                .map_err(failed(ACTION))?
        };
        for image in &mut loaded.images {
            image.references.extend(reference.clone());
        }
        let named = loaded.images.first().map(|image| self.name(image, "create"));
        drop(loaded.hold);
        let id = named.unwrap_or_else(|| Err(Error::NoSuchImage { name: name.to_owned() }))?.id;
        let tag = reference.map(|reference: Reference| reference.familiar()).unwrap_or_default();
        let more = [("comment", request.message.as_str()), ("imageID", &id), ("imageRef", &tag)];
        let name = found.head.name.as_str();
        self.container_event_with("commit", found.id(), name, &found.spec, &more);
        Ok(id)
    }

    /// Freezes a running container until what this returns is dropped.
    fn freeze<'a>(&'a self, found: &'a Container) -> Result<Option<Frozen<'a>>> {
        if found.state.status != Status::Running {
            return Ok(None);
        }
        let failed = |source| Error::Monitor { action: "pause", id: found.id().clone(), source };
        let mut connection = match self.connect(found) {
            Ok(connection) => connection,
            // It has ended meanwhile.
            Err(Error::Monitor { source: monitor::Error::NotRunning, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match connection.pause_meanwhile() {
            Ok(_) => {
                self.container_event("pause", found.id(), found.head.name.as_str(), &found.spec);
                Ok(Some(Frozen { engine: self, found, connection }))
            }
            // Somebody else has frozen it, or it is about to end.
            Err(monitor::Error::Refused(_) | monitor::Error::NotRunning | monitor::Error::Gone) => Ok(None),
            // Without a control group nothing can be frozen, and there would be no commit at all.
            Err(error @ monitor::Error::Remote { .. }) if self.facts().rootless.is_some() => {
                tracing::warn!(container = %found.id(), %error, "it runs while it is committed");
                Ok(None)
            }
            Err(source) => Err(failed(source)),
        }
    }
}

/// A container that is frozen; dropping this thaws it.
struct Frozen<'a> {
    engine: &'a Engine,
    found: &'a Container,
    connection: Connection,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Where this is not heard, the end of the connection is; unless somebody else has thawed it, or ended it.
        if self.connection.unpause().is_ok() {
            let (engine, found) = (self.engine, self.found);
            engine.container_event("unpause", found.id(), found.head.name.as_str(), &found.spec);
        }
    }
}

/// What containers of the new image get unless told otherwise: what this one got. What is mounted in it is its own.
fn config_of(process: &ProcessSpec, base: &ContainerConfig) -> ContainerConfig {
    let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    ContainerConfig {
        user: process.user.clone(),
        exposed_ports: process.exposed_ports.iter().cloned().collect(),
        env: process.env.clone(),
        entrypoint: some(&process.entrypoint),
        cmd: some(&process.command),
        volumes: process.volumes.iter().cloned().collect(),
        working_dir: process.workdir.clone(),
        labels: process.labels.clone(),
        stop_signal: process.stop_signal_name.clone().unwrap_or_else(|| base.stop_signal.clone()),
        healthcheck: base.healthcheck.clone(),
        // These were for builds on the image below.
        on_build: Vec::new(),
        shell: base.shell.clone(),
    }
}
