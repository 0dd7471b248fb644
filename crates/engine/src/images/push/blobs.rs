//! How one layer comes to a registry, in the cheapest way there is.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use image::{Gzip, Store};
use linux::file;
use oci::{Descriptor, DiffId, Digest, MediaType, Reference};
use registry_client::{Client, Repository};

use super::{PushStep, PushWatch};
use crate::images::transfer::{Course, Part, tell_end, watched};

/// A layer, and the blobs that it is known to be.
pub(super) struct Blob {
    pub(super) layer: DiffId,
    /// Each with the repositories that have it.
    pub(super) forms: Vec<(Descriptor, Vec<Reference>)>,
    /// The first of them is what the manifest names.
    pub(super) is_wanted: bool,
    course: Arc<Course>,
}

impl Part for Blob {
    fn name(&self) -> &str {
        self.layer.digest().encoded()
    }

    fn course(&self) -> &Arc<Course> {
        &self.course
    }
}

/// Where layers go.
pub(super) struct Layers<'a> {
    pub(super) store: &'a Store,
    pub(super) client: &'a Client,
    pub(super) target: &'a Repository,
    pub(super) reference: &'a Reference,
    pub(super) watch: &'a PushWatch<'a>,
    /// Files with blobs, by their digests.
    pub(super) ready: &'a BTreeMap<Digest, PathBuf>,
}

impl Blob {
    pub(super) fn new(layer: &DiffId) -> Self {
        Self { layer: layer.clone(), forms: Vec::new(), is_wanted: false, course: Arc::default() }
    }

    /// The form that it is to have, if that matters.
    fn wanted(&self) -> Option<&Digest> {
        self.forms.first().filter(|_| self.is_wanted).map(|(form, _)| &form.digest)
    }

    /// Whether it is this layer, to be sent in this form.
    pub(super) fn is(&self, layer: &DiffId, wanted: Option<&Digest>) -> bool {
        self.layer == *layer && self.wanted() == wanted
    }

    /// Whether another one needs not be sent beside this.
    pub(super) fn is_same(&self, other: &Blob) -> bool {
        self.is(&other.layer, other.wanted())
    }
}

impl Layers<'_> {
    /// Sees to it that the registry has the layer; returns what it is there. What the manifest names is tried in all ways before
    /// anything else: as long as the registry has that, the manifest keeps its digest.
    pub(super) fn send(&self, blob: &Blob) -> registry_client::Result<Descriptor> {
        // Those who watch know it as the layer, whatever blob it goes as.
        let target = self.target.about(blob.layer.digest());
        let (wanted, others) = blob.forms.split_at(usize::from(blob.is_wanted));
        for (forms, is_wanted) in [(wanted, true), (others, false)] {
            if let Some((form, step)) = self.send_as(&target, blob, forms, is_wanted)? {
                tell_end(self.watch, blob, step);
                return Ok(form.clone());
            }
        }
        let form = self.compress(&target, blob)?;
        tell_end(self.watch, blob, PushStep::Complete);
        Ok(form)
    }

    /// The same in one of some forms, which are looked for in the cheapest ways first; `None` if it cannot be had in any.
    fn send_as<'a>(
        &self,
        target: &Repository,
        blob: &Blob,
        forms: &'a [(Descriptor, Vec<Reference>)],
        is_wanted: bool,
    ) -> registry_client::Result<Option<(&'a Descriptor, PushStep<'a>)>> {
        for (form, _) in forms {
            if target.has_blob(form)? {
                return Ok(Some((form, PushStep::Exists)));
            }
        }
        for (form, repositories) in forms {
            for from in repositories.iter().filter(|from| self.is_beside(from)) {
                if target.mount_blob(&form.digest, from.repository())? {
                    return Ok(Some((form, PushStep::Mounted(from.repository()))));
                }
            }
        }
        for (form, _) in forms {
            if let Some(path) = self.ready.get(&form.digest) {
                self.send_file(target, blob, form, path)?;
                return Ok(Some((form, PushStep::Complete)));
            }
        }
        for (form, repositories) in forms {
            // A tar is here. Where nobody wants it to be one it is better sent compressed.
            if form.digest == *blob.layer.digest() {
                if is_wanted {
                    self.send_tar(target, blob, form)?;
                    return Ok(Some((form, PushStep::Complete)));
                }
                continue;
            }
            for from in repositories.iter().filter(|from| from.name() != self.reference.name()) {
                if self.stream(target, blob, form, from)? {
                    return Ok(Some((form, PushStep::Complete)));
                }
            }
        }
        Ok(None)
    }

    /// Sends a layer as it is stored.
    fn send_tar(&self, target: &Repository, blob: &Blob, form: &Descriptor) -> registry_client::Result<()> {
        self.send_file(target, blob, form, &self.store.layer_path(&blob.layer))
    }

    fn send_file(
        &self,
        target: &Repository,
        blob: &Blob,
        form: &Descriptor,
        path: &Path,
    ) -> registry_client::Result<()> {
        let course = &blob.course;
        course.begin(Some(form.size));
        let open = |at: u64| {
            let mut tar = file::open(path).map_err(io::Error::other)?;
            tar.seek(SeekFrom::Start(at))?;
            Ok(watched(Box::new(tar), at, course))
        };
        target.put_blob(form, &open)
    }

    /// Whether a repository is another one of the same registry.
    fn is_beside(&self, from: &Reference) -> bool {
        from.registry() == self.reference.registry() && from.name() != self.reference.name()
    }

    /// Sends a blob while it is read from where it is; `false` if it cannot be had there.
    fn stream(
        &self,
        target: &Repository,
        blob: &Blob,
        form: &Descriptor,
        from: &Reference,
    ) -> registry_client::Result<bool> {
        let Ok(source) = self.client.repository(from) else { return Ok(false) };
        let source = source.about(blob.layer.digest());
        let course = &blob.course;
        course.begin(Some(form.size));
        let open = |at: u64| {
            let content = source.rest_of_blob(form, at).map_err(io::Error::other)?;
            Ok(watched(Box::new(content), at, course))
        };
        match target.put_blob(form, &open) {
            Ok(()) => Ok(true),
            // Another place may have it, and here is the layer itself.
            Err(
                error @ (registry_client::Error::Content { .. } | registry_client::Error::Mismatch { .. }),
            ) if !course.is_given_up() => {
                tracing::debug!(%error, source = %from.name(), "a blob is not to be had where it came from");
                course.begin(None);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn compress(&self, target: &Repository, blob: &Blob) -> registry_client::Result<Descriptor> {
        let course = &blob.course;
        course.begin(None);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let gzip = Gzip::new(self.store, &blob.layer, threads);
        let open = |at: u64| Ok(watched(gzip.open(at)?, at, course));
        let (digest, size) = target.put_new_blob(&open)?;
        Ok(Descriptor::new(MediaType::OCI_LAYER_GZIP, digest, size))
    }
}

/// Content that is here already.
pub(super) fn in_memory(content: Vec<u8>) -> impl Fn(u64) -> io::Result<Box<dyn Read + Send>> {
    let content = Arc::<[u8]>::from(content);
    move |at| {
        let mut open = io::Cursor::new(Arc::clone(&content));
        open.set_position(at);
        Ok(Box::new(open))
    }
}
