//! How one layer comes to a registry, in the cheapest way there is.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;

use image::{Gzip, Store};
use oci::{Descriptor, DiffId, MediaType, Reference};
use registry_client::{Client, Repository};

use super::{PushStep, PushWatch};
use crate::images::transfer::{Course, Part, tell_end, watched};

/// A layer, and the blobs that it is known to be.
pub(super) struct Blob {
    pub(super) layer: DiffId,
    /// Each with the repositories that have it.
    pub(super) forms: Vec<(Descriptor, Vec<Reference>)>,
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
}

impl Blob {
    pub(super) fn new(layer: &DiffId) -> Self {
        Self { layer: layer.clone(), forms: Vec::new(), course: Arc::default() }
    }
}

impl Layers<'_> {
    /// Sees to it that the registry has the layer; returns what it is there.
    pub(super) fn send(&self, blob: &Blob) -> registry_client::Result<Descriptor> {
        let done = |form: &Descriptor, step| {
            tell_end(self.watch, blob, step);
            Ok(form.clone())
        };
        for (form, _) in &blob.forms {
            if self.target.has_blob(form)? {
                return done(form, PushStep::Exists);
            }
        }
        for (form, repositories) in &blob.forms {
            for from in repositories.iter().filter(|from| self.is_beside(from)) {
                if self.target.mount_blob(&form.digest, from.repository())? {
                    return done(form, PushStep::Mounted(from.repository()));
                }
            }
        }
        for (form, repositories) in &blob.forms {
            // A tar is here, and is better sent compressed.
            if form.digest == *blob.layer.digest() {
                continue;
            }
            for from in repositories.iter().filter(|from| from.name() != self.reference.name()) {
                if self.stream(blob, form, from)? {
                    return done(form, PushStep::Complete);
                }
            }
        }
        let form = self.compress(blob)?;
        done(&form, PushStep::Complete)
    }

    /// Whether a repository is another one of the same registry.
    fn is_beside(&self, from: &Reference) -> bool {
        from.registry() == self.reference.registry() && from.name() != self.reference.name()
    }

    /// Sends a blob while it is read from where it is; `false` if it cannot be had there.
    fn stream(&self, blob: &Blob, form: &Descriptor, from: &Reference) -> registry_client::Result<bool> {
        let Ok(source) = self.client.repository(from) else { return Ok(false) };
        let course = &blob.course;
        course.begin(Some(form.size));
        let open = |at: u64| {
            let content = source.rest_of_blob(form, at).map_err(io::Error::other)?;
            Ok(watched(Box::new(content), at, course))
        };
        match self.target.put_blob(form, &open) {
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

    fn compress(&self, blob: &Blob) -> registry_client::Result<Descriptor> {
        let course = &blob.course;
        course.begin(None);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let gzip = Gzip::new(self.store, &blob.layer, threads);
        let open = |at: u64| Ok(watched(gzip.open(at)?, at, course));
        let (digest, size) = self.target.put_new_blob(&open)?;
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
