//! Skiff as a library: one file per verb, composing the crates below.
//!
//! An [`Engine`] is a database handle and a few paths; any number of them, in any number of processes, may work on
//! the same root at once. Front ends turn what users type into [`request`] types and what comes back ([`info`])
//! into text: the engine reads neither environment nor terminal and prints nothing.
//!
//! ```text
//!  request ──plan::spec──► ContainerSpec ──commit──► state.db
//!     (pure)                    │
//!                        plan::launch (pure) ──► MonitorPlan ──► monitor::spawn
//! ```
//!
//! A missing image is an error: whoever asks for a container decides whether to pull it, and shows how far that is.
//!
//! What is not here yet: bridge networks (a container that
//! names no network has none but its loopback), and volumes that a user names (what an image declares as one is a
//! directory of the container's own, which goes with it).
//!
//! What must hold:
//! - A container's record is committed before anything of it lies on disk, and removed before its files are:
//!   whatever dies in between leaves files without a record, which the next sweep removes.
//! - Whoever reads a container's state and finds it lost reaps and records it.

mod boot;
mod bootstrap;
pub mod build;
mod cdi;
mod commit;
mod container;
mod copy;
mod create;
mod devices;
mod diff;
mod error;
pub mod events;
mod exec;
mod files;
mod host;
mod images;
pub mod info;
mod inspect;
mod layer;
mod lent;
mod list;
mod logs;
mod name;
mod plan;
mod quota;
mod remove;
mod rename;
pub mod request;
mod seccomp;
mod signal;
pub mod spec;
mod start;
pub mod stats;
mod stop;
mod system;
mod territory;
mod top;
mod update;
pub mod usage;
mod wait;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock};

use image::Store;
use linux::file;
use state::{Event, EventLog, State};

pub use boot::Handled;
pub use bootstrap::BootstrapError;
pub use cdi::DeviceError;
pub use diff::{Change, ChangeKind};
pub use error::{Error, Kind, Result};
pub use exec::Executed;
pub use image::KeptFor;
pub use images::{
    Archive, Inspected, ListedManifest, Predicate, Pressure, PullEvent, PullStep, PullWatch, PushEvent,
    PushStep, PushWatch, PushedList, Relief, RemoteImages, Statements, WantedPredicates, copy_image,
};
use oci::Digest;
pub use oci::{ContainerId, ContainerName, Timestamp};
pub use plan::LogError;
pub use registry_client as registries;
pub use start::{Launcher, Started};
pub use top::{ClockOffset, Top};

use plan::HostFacts;
use spec::ContainerSpec;
use territory::Territory;

/// Where an engine works. Front ends fill it from flags and environment.
#[derive(Clone, Debug)]
pub struct Config {
    /// `/var/lib/skiff`, …: what outlives a reboot.
    pub root: PathBuf,
    /// `/run/skiff`, …: what does not.
    pub run: PathBuf,
    /// The monitor's program.
    pub monitor: PathBuf,
    /// Forces one way of preparing root file systems; missing is probed.
    pub snapshotter: Option<Snapshotter>,
    /// Each start appends one line per step to this file, for measurements.
    pub trace: Option<PathBuf>,
    /// Folders of CDI specifications, those of the lowest precedence first.
    pub cdi_folders: Vec<PathBuf>,
    /// How long a layer that a pull has begun is kept for one that goes on.
    pub kept_for: KeptFor,
}

/// How root file systems are prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshotter {
    /// EROFS indexes over layer tars.
    Erofs,
    /// Unpacked layers.
    Trees,
}

/// Whether a request changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Changed,
    /// It was so already.
    Unchanged,
}

/// A handle on one root; any thread may use it.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    state: Mutex<State>,
    store: Store,
    events: EventLog,
    facts: OnceLock<HostFacts>,
    snapshotter: OnceLock<Snapshotter>,
    _territory: Territory,
}

impl Engine {
    /// Gives the engine up in a process that is about to end: whose memory and descriptors the kernel takes back sooner
    /// than they could be given back one by one.
    pub fn leave(self) {
        self.state().tidy_if_long();
        std::mem::forget(self);
    }

    /// Opens a root, which is made when missing.
    pub fn open(config: Config) -> Result<Engine> {
        let state = State::open(&config.root)?;
        let store = Store::open(&config.root).map_err(images::failed("open the image store"))?;
        let store = store.with_remover(lent::remover(&config.monitor)).with_kept_for(config.kept_for.clone());
        let failed = |source| Error::File { action: "make the engine's directories", source };
        file::create_dir(&config.root.join("containers"), 0o700).map_err(failed)?;
        let territory = territory::settle(&config.run, &config.root)?;
        Ok(Engine {
            state: Mutex::new(state),
            store,
            events: EventLog::new(&config.run),
            facts: OnceLock::new(),
            snapshotter: OnceLock::new(),
            _territory: territory,
            config,
        })
    }

    /// The database. Held for one statement or transaction, never across anything that waits.
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere cannot leave it half-changed: SQLite rolls back what was not committed.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn facts(&self) -> &HostFacts {
        self.facts.get_or_init(host::facts)
    }

    /// Tells of something that happened. The log is for watchers: nothing depends on it, so a failure is only noted.
    fn event(&self, subject: &str, action: &str, id: &str, attributes: &[(&str, &str)]) {
        if let Err(error) = self.events.append(&Event::new(subject, action, id, attributes)) {
            tracing::warn!(%error, "cannot tell of an event");
        }
    }

    /// Tells of something that happened to an image: with its labels, and what it is called.
    fn image_event(&self, action: &str, id: &Digest, name: &str) {
        self.labelled_image_event(action, id, name, &self.labels_of_image(id));
    }

    /// The same for an image that may be gone.
    fn labelled_image_event(&self, action: &str, id: &Digest, name: &str, labels: &BTreeMap<String, String>) {
        let labels = labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let attributes: Vec<_> = labels.chain([("name", name)]).collect();
        self.event("image", action, id.as_str(), &attributes);
    }

    /// None where its configuration cannot be read: then other words are said about that.
    fn labels_of_image(&self, id: &Digest) -> BTreeMap<String, String> {
        self.store.config(id).map(|image| image.config.labels).unwrap_or_default()
    }

    /// Tells of something that happened to a container: with its image, its name and its labels.
    fn container_event(&self, action: &str, id: &ContainerId, name: &str, spec: &ContainerSpec) {
        self.container_event_with(action, id, name, spec, &[]);
    }

    /// The same, with what else there is to say.
    fn container_event_with(
        &self,
        action: &str,
        id: &ContainerId,
        name: &str,
        spec: &ContainerSpec,
        more: &[(&str, &str)],
    ) {
        let labels = spec.process.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let own = [("image", spec.image.as_str()), ("name", name)];
        let attributes: Vec<_> = labels.chain(own).chain(more.iter().copied()).collect();
        self.event("container", action, id.as_str(), &attributes);
    }
}
