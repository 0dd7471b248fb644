//! What the parts of one build have in common.

use std::sync::{Arc, OnceLock};

use build::Cancel;
use image::Draft;
use oci::Timestamp;
use registry_client::Client;

use super::BuildError;
use super::cache_mounts::Used;
use super::carried::Carried;
use super::copy::{Digests, Parts};
use super::removals::Removals;
use super::sources::Found;
use super::together::{Made, Place, Together};
use crate::images::failed;
use crate::lent::remover;
use crate::request::Build;
use crate::{Engine, Result};

/// One build, from its request to its outputs.
pub(super) struct Session<'e> {
    /// Where it happens.
    pub(super) engine: &'e Engine,
    /// For images, and for files of the web.
    pub(super) client: &'e Client,
    /// What was asked for.
    pub(super) request: &'e Build,
    /// Files of programs that have ended: they lie among what is half done of the draft, and go before it does.
    pub(super) removals: Arc<Removals>,
    /// The layers that it makes and relies on: they stay as long as it lives.
    pub(super) draft: Draft<'e>,
    /// Whether it is to end.
    pub(super) cancel: &'e Cancel,
    /// What no other build has: for what may be another thing each time.
    pub(super) nonce: String,
    /// The time that the Dockerfile wants for all that is made, unless the request says another.
    pub(super) declared: OnceLock<Timestamp>,
    /// Digests of files in layers.
    pub(super) digests: Digests,
    /// Layers of parts of contexts.
    pub(super) parts: Parts,
    /// Cache mounts that its programs have had.
    pub(super) caches: Used,
    /// What names elsewhere meant when they were looked up: that is what is fetched.
    pub(super) found: Found,
    /// The builds of the same command; none if it is alone.
    pub(super) together: Option<&'e Together<'e>>,
    /// Cache mounts of others.
    carried: OnceLock<Carried>,
    /// The devices that have names here.
    devices: OnceLock<cdi::Registry>,
}

impl<'e> Session<'e> {
    /// Begins a build.
    pub(super) fn new(
        engine: &'e Engine,
        client: &'e Client,
        request: &'e Build,
        cancel: &'e Cancel,
    ) -> Result<Session<'e>> {
        engine.end_lost_builds();
        let draft = engine.store.draft().map_err(failed("begin a build"))?;
        let nonce: [u8; 16] = crate::create::random()?;
        let nonce = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Session {
            engine,
            client,
            request,
            draft,
            cancel,
            nonce,
            declared: OnceLock::new(),
            removals: Arc::new(Removals::new(remover(&engine.config.monitor))),
            digests: Digests::default(),
            parts: Parts::default(),
            caches: Used::default(),
            found: Found::default(),
            together: None,
            carried: OnceLock::new(),
            devices: OnceLock::new(),
        })
    }

    /// What another build of the same command makes, once it is made.
    pub(super) fn made(&self, target: &str) -> Result<Arc<Made>> {
        let alone = || BuildError::NoContext { name: format!("target:{target}") };
        self.together.ok_or_else(alone)?.wait(target, self.cancel)
    }

    /// A place among the programs of all builds of the same command; of one that is alone, its own limit is enough.
    pub(super) fn place(&self) -> Result<Option<Place<'_>>> {
        self.together.map(|together| together.place(self.cancel)).transpose()
    }

    /// Has cache mounts filled with those of others. To be called once, before the first is opened.
    pub(super) fn carry(&self, carried: Carried) {
        // Nobody has asked before.
        let _first = self.carried.set(carried);
    }

    /// Cache mounts of others, and which ones this build has opened.
    pub(super) fn carried(&self) -> &Carried {
        self.carried.get_or_init(Carried::default)
    }

    /// The devices that have names here, as they were when the first was asked for: all programs of a build have the same.
    pub(super) fn devices(&self) -> &cdi::Registry {
        self.devices.get_or_init(|| self.engine.named_devices())
    }

    /// No time in what is made is later, and what is not a file has this one.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        self.request.epoch().or_else(|| self.declared.get().copied())
    }

    /// The same in seconds.
    pub(super) fn epoch(&self) -> Option<i64> {
        self.timestamp().map(|epoch| epoch.seconds())
    }
}
