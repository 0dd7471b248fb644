//! One registry that is stood in for: how it is called, asked and believed.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use oci::{Descriptor, Digest, MediaType, Reference as Remote};
use registry_client::hosts::{Capabilities, Host, Tls};
use registry_client::{BlobReader, Client, Credentials, Error as ClientError, Fetched, Patience, Settings};

use super::{Failure, Notes};
use crate::config::Remote as Configured;
use crate::names::{Reference, Repository, Tag};

/// How long an upstream that does not answer is left alone, where what is here will do.
const REST: Duration = Duration::from_secs(5);

/// One registry that is stood in for.
pub(crate) struct Upstream {
    pub(super) remote: Configured,
    /// What the file of its authorities holds.
    pub(super) authority: Option<Vec<u8>>,
    pub(super) tag_ttl: Duration,
    /// When its tags were compared with it last.
    pub(super) compared: Notes<(Repository, Tag)>,
    host: Host,
    client: Client,
    /// One that waits for little, where what is here would do as well.
    prompt: Client,
    /// When it did not answer last.
    silent: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} at {}", self.remote.ns, self.host.base)
    }
}

/// What upstream says of a manifest.
pub(super) enum News {
    /// It is the one that is here.
    Same,
    /// It is this one now.
    Moved(Box<Fetched>),
}

impl Upstream {
    pub(super) fn new(
        remote: Configured,
        authority: Option<Vec<u8>>,
        tag_ttl: Duration,
        client: &Settings,
    ) -> Self {
        let credentials = match &remote.credential {
            Some(credential) => Credentials::only(&remote.ns, credential.clone()),
            None => Credentials::default(),
        };
        // A client waits behind us.
        let patience = Patience {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            attempts: 4,
            first: Duration::from_millis(200),
            longest: Duration::from_secs(5),
            longest_asked: Duration::from_secs(5),
        };
        let host = Host {
            name: remote.ns.clone(),
            base: remote.url.clone(),
            capabilities: Capabilities { pull: true, resolve: true, push: false },
            tls: Tls { ca: remote.ca.iter().cloned().collect(), ..Tls::default() },
            headers: Vec::new(),
            stands_for: None,
        };
        let little = Patience {
            connect: Duration::from_secs(3),
            silence: Duration::from_secs(5),
            attempts: 1,
            ..patience
        };
        let settings = Settings { credentials, patience, ..client.clone() };
        let prompt = Client::new(Settings { patience: little, ..settings.clone() });
        Self {
            remote,
            authority,
            tag_ttl,
            compared: Notes::default(),
            host,
            client: Client::new(settings),
            prompt,
            silent: Mutex::default(),
        }
    }

    /// Whether it did not answer a moment ago, so that those who can do without it need not wait for it.
    pub(crate) fn is_silent(&self) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.is_some_and(|since| since.elapsed() < REST)
    }

    pub(super) fn heard(&self, failure: Option<Failure>) {
        *self.silent.lock().unwrap_or_else(PoisonError::into_inner) = match failure {
            Some(Failure::Away | Failure::Limited(_)) => Some(Instant::now()),
            Some(_) | None => None,
        };
    }

    /// Notes that what a tag names here is what it names there.
    pub(super) fn note_compared(&self, name: &Repository, reference: &Reference) {
        if let Reference::Tag(tag) = reference {
            self.compared.set((name.clone(), tag.clone()));
        }
    }

    /// What upstream calls a repository of ours; `None` where it is not below the prefix.
    pub(super) fn remote_name<'a>(&self, name: &'a Repository) -> Option<&'a str> {
        match self.remote.prefix.as_str() {
            "" => Some(name.as_str()),
            prefix => name.as_str().strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// The repository there, and a reference to something in it.
    fn repository(&self, name: &Repository) -> registry_client::Repository {
        self.repository_by(&self.client, name)
    }

    fn repository_by(&self, client: &Client, name: &Repository) -> registry_client::Repository {
        let remote = self.remote_name(name).unwrap_or(name.as_str());
        // Docker's own images have a name without a slash in references, and with one in its registry.
        let remote = match self.remote.ns.as_str() {
            "docker.io" if !remote.contains('/') => format!("library/{remote}"),
            _ => remote.to_owned(),
        };
        client.repository_of(self.host.clone(), &remote)
    }

    /// Asks for a manifest, of which `known` is here. A tag costs a HEAD when it has not moved.
    pub(super) fn look(
        &self,
        name: &Repository,
        reference: &Reference,
        known: Option<&Digest>,
    ) -> Result<News, ClientError> {
        if let (Some(known), Reference::Tag(_)) = (known, reference) {
            match self.repository_by(&self.prompt, name).resolve(&remote_reference(reference)?) {
                Ok(found) if found.digest == *known => return Ok(News::Same),
                // It has moved, or the registry does not tell by HEAD.
                Ok(_) | Err(ClientError::Header { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.repository(name)
            .manifest(&remote_reference(reference)?)
            .map(|fetched| News::Moved(Box::new(fetched)))
    }

    /// The size of a blob, as upstream says it.
    pub(crate) fn blob_size(&self, name: &Repository, digest: &Digest) -> Result<u64, ClientError> {
        self.repository(name).blob_size(digest)
    }

    /// The content of a blob, which whoever keeps it checks.
    pub(super) fn blob(&self, name: &Repository, digest: &Digest) -> Result<BlobReader, ClientError> {
        self.repository(name).blob_by_digest(digest)
    }

    /// The same behind so many bytes. `None` where the blob has fewer.
    pub(super) fn rest_of_blob(
        &self,
        name: &Repository,
        digest: &Digest,
        from: u64,
    ) -> Result<Option<BlobReader>, ClientError> {
        let repository = self.repository(name);
        let size = repository.blob_size(digest)?;
        if from > size {
            return Ok(None);
        }
        let blob = Descriptor::new(MediaType::default(), digest.clone(), size);
        repository.rest_of_blob(&blob, from).map(Some)
    }

    /// All that refer to a manifest, of one kind or of any.
    pub(crate) fn referrers(
        &self,
        name: &Repository,
        subject: &Digest,
        kind: Option<&str>,
    ) -> Result<Vec<Descriptor>, ClientError> {
        self.repository(name).referrers(subject, kind)
    }

    /// All tags, in upstream's order.
    pub(crate) fn tags(&self, name: &Repository) -> Result<Vec<String>, ClientError> {
        self.repository(name).tags()
    }
}

impl Drop for Upstream {
    /// Its connections have executors of their own, which must not end within the server's: a thread ends them.
    fn drop(&mut self) {
        let retire = |client| std::mem::replace(client, Client::new(Settings::default()));
        let retired = [&mut self.client, &mut self.prompt].map(retire);
        let ended = std::thread::Builder::new().name("farewell".to_owned()).spawn(move || drop(retired));
        if let Err(error) = ended {
            tracing::warn!(%error, "connections to a registry that is stood in for no longer were cut");
        }
    }
}

/// A reference in the client's terms. Only its tag and its digest are looked at.
fn remote_reference(reference: &Reference) -> Result<Remote, ClientError> {
    let text = match reference {
        Reference::Tag(tag) => format!("upstream.invalid/repository:{tag}"),
        Reference::Digest(digest) => format!("upstream.invalid/repository@{digest}"),
    };
    text.parse().map_err(|source| ClientError::Document { url: text.clone(), source })
}
