//! `create`: a container is resolved, planned, checked and recorded. Nothing of it lies on disk yet.

use std::path::Path;

use oci::{ContainerId, ContainerName, Digest, ImageConfig};
use state::{IdPool, NewContainer};

use crate::info::Created;
use crate::plan::{self, ImageFacts};
use crate::request::{Create, MountSource, NetworkMode, Pull};
use crate::spec::{ContainerSpec, Summary};
use crate::{Engine, Error, Result, container, name};

/// How often a made-up name may turn out to be taken.
const ATTEMPTS: usize = 16;

/// A container that was just recorded.
pub(crate) struct Recorded {
    pub(crate) id: ContainerId,
    pub(crate) name: ContainerName,
    pub(crate) spec: ContainerSpec,
    pub(crate) id_base: Option<u32>,
    pub(crate) warnings: Vec<String>,
    /// The configuration of its image.
    pub(crate) image: ImageConfig,
}

impl Engine {
    /// Makes a container.
    pub fn create(&self, request: &Create) -> Result<Created> {
        let made = self.make(ContainerId::from_bytes(random()?), request)?;
        Ok(Created { id: made.id, name: made.name, warnings: made.warnings })
    }

    /// Makes a container and tells what starting it needs.
    pub(crate) fn make(&self, id: ContainerId, request: &Create) -> Result<Recorded> {
        let wanted = request.name.as_deref().map(parse_name).transpose()?;
        let (image_id, image) = self.image_for(request)?;
        let facts = ImageFacts { name: &request.image, id: &image_id, config: &image };
        let (mut spec, mut warnings) = plan::spec(request, &facts, &id, self.facts())?;
        warnings.extend(self.limit_warnings(&spec.host)?);
        if let (NetworkMode::Container(peer), None) = (&request.host.network_mode, &request.process.hostname)
        {
            spec.process.hostname = container::parse_spec(&self.record(peer)?)?.process.hostname;
        }
        check_sources(&spec)?;
        self.look_up_devices(&spec.host)?;
        self.device_edits(&spec.host)?;
        let (name, id_base) = self.enter(&id, wanted, &image_id, &spec)?;
        self.container_event("create", &id, name.as_str(), &spec);
        Ok(Recorded { id, name, spec, id_base, warnings, image })
    }

    fn image_for(&self, request: &Create) -> Result<(Digest, ImageConfig)> {
        let found = self.resolve_for(&request.image, request.platform.as_deref());
        let id = match (found, request.pull) {
            (Ok(id), Pull::Missing | Pull::Never) => id,
            // Its registry may have it for the platform that is wanted.
            (Err(Error::WrongPlatform { .. }), Pull::Always | Pull::Missing)
                if self.resolve_reference(&request.image)?.1.is_some() =>
            {
                return Err(Error::ImageNotHere { name: crate::images::familiar(&request.image) });
            }
            // Without a registry "always" cannot be done, and the local image is not what was asked for.
            (Ok(_), Pull::Always) | (Err(Error::NoSuchImage { .. }), Pull::Always | Pull::Missing) => {
                return Err(Error::ImageNotHere { name: crate::images::familiar(&request.image) });
            }
            (Err(error), _) => return Err(error),
        };
        let config = self.image_config(&id)?;
        Ok((id, config))
    }

    /// Records the container, under a name that it makes up where none is wanted.
    fn enter(
        &self,
        id: &ContainerId,
        wanted: Option<ContainerName>,
        image: &Digest,
        spec: &ContainerSpec,
    ) -> Result<(ContainerName, Option<u32>)> {
        let failed = |source| Error::Record { id: id.clone(), source };
        let document = serde_json::to_string(spec).map_err(failed)?;
        let summary = serde_json::to_string(&Summary::of(spec)).map_err(failed)?;
        let pool = plan::needs_range(&spec.host, self.facts()).then_some(IdPool::DEFAULT);
        let mut attempt = 0;
        loop {
            let name = match &wanted {
                Some(name) => name.clone(),
                None => parse_name(&name::made_up(random()?, attempt))?,
            };
            let new = NewContainer {
                id,
                name: &name,
                image,
                created: state::now(),
                pool,
                summary: &summary,
                spec: &document,
            };
            match self.state().create_container(&new) {
                Ok(id_base) => return Ok((name, id_base)),
                Err(state::Error::NameTaken { .. }) if wanted.is_none() && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

pub(crate) fn parse_name(text: &str) -> Result<ContainerName> {
    text.parse().map_err(|_| Error::InvalidName { text: text.chars().take(80).collect() })
}

/// With `--mount` a missing source is an error at once; with `-v` it is made at the start.
fn check_sources(spec: &ContainerSpec) -> Result<()> {
    for mount in &spec.host.mounts {
        if let MountSource::Bind { path, create: false, .. } = &mount.source
            && !Path::new(path).exists()
        {
            return Err(Error::NoBindSource { path: path.clone() });
        }
    }
    Ok(())
}

/// Bytes nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    filled.map_err(|errno| Error::System {
        action: "read",
        path: "getrandom(2)".into(),
        source: errno.into(),
    })?;
    Ok(bytes)
}
