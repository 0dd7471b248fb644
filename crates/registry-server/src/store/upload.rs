//! Half-done blobs: one file each below `uploads/`, named by its repository and its id.
//!
//! What a client was told is received is in the file, so a server that was killed goes on where it stopped: the hash, which
//! was in memory, is computed anew from the file. A file nobody has written to for a while is expired.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use linux::file::{self, Named as _};
use oci::{Algorithm, Digest, Hasher};
use rustix::fs::{Mode, OFlags};

use super::error::{Error, Purpose, Result};
use crate::names::{Repository, UploadId};

/// After so long without a request the file is closed and the hash forgotten; both come back when they are needed.
const IDLE: Duration = Duration::from_secs(120);

/// How the files of blobs begin that are fetched from other registries. What is left of one that broke, the next fetch of the
/// same blob goes on with, also after its server has ended.
const FETCHED: &str = "fetched.";

/// All uploads of one root.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    open: Mutex<HashMap<String, Arc<Upload>>>,
}

/// One upload, shared by the requests about it, of which one may write.
#[derive(Debug)]
pub struct Upload {
    name: String,
    /// How much has been received; read without waiting for the one who writes.
    length: AtomicU64,
    used: Mutex<Instant>,
    session: Arc<tokio::sync::Mutex<Option<Session>>>,
}

/// Whoever has this writes the upload.
#[derive(Debug)]
pub struct Writer {
    upload: Arc<Upload>,
    session: tokio::sync::OwnedMutexGuard<Option<Session>>,
}

#[derive(Debug)]
struct Session {
    path: PathBuf,
    file: File,
    length: u64,
    hasher: Hasher,
}

impl Uploads {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, open: Mutex::default() }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Upload>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one. `algorithm` is what its content will be named by, if that is known; else SHA-256 is assumed.
    pub(crate) fn begin(
        &self,
        repository: &Repository,
        algorithm: Option<Algorithm>,
    ) -> Result<(UploadId, Arc<Upload>)> {
        let id = UploadId::random().map_err(|source| Error::System { action: "name an upload", source })?;
        let upload = self.create(file_name(repository, &id), algorithm)?;
        Ok((id, upload))
    }

    /// The one that no client knows, by which a blob is fetched: what is left of an earlier fetch, or a new one.
    pub(crate) fn fetch(&self, repository: &Repository, digest: &Digest) -> Result<Arc<Upload>> {
        let name = fetch_name(repository, digest);
        match self.take_up(name.clone())? {
            Some(upload) => Ok(upload),
            None => self.create(name, Some(digest.algorithm())),
        }
    }

    fn create(&self, name: String, algorithm: Option<Algorithm>) -> Result<Arc<Upload>> {
        let path = self.folder.join(&name);
        let file = file::create_new(&path, 0o600).to("begin an upload")?;
        let hasher = match algorithm {
            Some(Algorithm::Sha512) => sha512(),
            Some(Algorithm::Sha256 | Algorithm::Other) | None => Hasher::sha256(),
        };
        let upload = Upload::new(name.clone(), Session { path, file, length: 0, hasher });
        self.table().insert(name, upload.clone());
        Ok(upload)
    }

    /// One that was begun, perhaps by a server that has ended since.
    pub(crate) fn find(&self, repository: &Repository, id: &UploadId) -> Result<Option<Arc<Upload>>> {
        self.take_up(file_name(repository, id))
    }

    fn take_up(&self, name: String) -> Result<Option<Arc<Upload>>> {
        if let Some(upload) = self.table().get(&name) {
            upload.touch();
            return Ok(Some(upload.clone()));
        }
        let path = self.folder.join(&name);
        let Some(session) = Session::resume(path)? else { return Ok(None) };
        // Another request may have been faster, and written since: its session is the one that counts.
        let mut table = self.table();
        if !table.contains_key(&name) && session.is_removed()? {
            return Ok(None);
        }
        let upload = table.entry(name.clone()).or_insert_with(|| Upload::new(name, session));
        upload.touch();
        Ok(Some(upload.clone()))
    }

    /// Takes an upload out of the table: what is left of it is its caller's, or a file that is taken up again.
    fn forget(&self, name: &str) {
        self.table().remove(name);
    }

    /// How many are held open.
    pub(crate) fn count(&self) -> usize {
        self.table().len()
    }

    /// Bytes of blobs that are fetched, or were begun to be.
    pub(crate) fn fetched(&self) -> Result<u64> {
        Ok(self.list_fetched()?.iter().map(|(_, bytes, _)| bytes).sum())
    }

    /// Removes what is left of fetches that broke, the oldest first, until all have at most so many bytes; returns how many they
    /// have then. What is being fetched stays.
    pub(crate) fn discard_fetched(&self, most: u64) -> Result<u64> {
        let mut found = self.list_fetched()?;
        found.sort_by_key(|(_, _, changed)| *changed);
        let mut total: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        for (name, bytes, _) in found {
            // The lock keeps others from taking it up meanwhile.
            let table = self.table();
            if total <= most || table.contains_key(&name) {
                continue;
            }
            file::remove_if_exists(&self.folder.join(&name)).to("remove what broke off")?;
            total -= bytes;
        }
        Ok(total)
    }

    /// Files of fetches with their sizes, and when they were changed.
    fn list_fetched(&self) -> Result<Vec<(String, u64, SystemTime)>> {
        let action = "look for what is fetched";
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).named("list", &self.folder).to(action)? {
            let Ok(entry) = entry else { continue };
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            // It may have got its place meanwhile.
            let Ok(known) = entry.metadata() else { continue };
            if name.starts_with(FETCHED) {
                found.push((name, known.len(), known.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
            }
        }
        Ok(found)
    }

    /// Closes what nobody uses, and removes what nobody has written to since `expiry` ago. Returns how many were removed.
    pub(crate) fn tidy(&self, expiry: Duration) -> Result<u64> {
        self.table().retain(|_, upload| Arc::strong_count(upload) > 1 || upload.idle() < IDLE);
        let mut expired = 0;
        let now = SystemTime::now();
        for entry in std::fs::read_dir(&self.folder).named("list", &self.folder).to("look for old uploads")? {
            let Ok(entry) = entry else { continue };
            let age =
                entry.metadata().and_then(|found| found.modified()).map(|then| now.duration_since(then));
            let Ok(Ok(age)) = age else { continue };
            let name = entry.file_name();
            let mut table = self.table();
            let idle = name.to_str().and_then(|name| table.get(name));
            // The lock keeps others from taking it up meanwhile.
            if age < expiry || idle.is_some_and(|upload| Arc::strong_count(upload) > 1) {
                continue;
            }
            if let Some(name) = name.to_str() {
                table.remove(name);
            }
            expired += u64::from(file::remove_if_exists(&entry.path()).to("remove an old upload")?);
        }
        Ok(expired)
    }
}

impl Upload {
    fn new(name: String, session: Session) -> Arc<Self> {
        Arc::new(Self {
            name,
            length: AtomicU64::new(session.length),
            used: Mutex::new(Instant::now()),
            session: Arc::new(tokio::sync::Mutex::new(Some(session))),
        })
    }

    /// How many bytes have been received.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Waits until nobody else writes it. `None` when it was finished or removed meanwhile.
    pub async fn writer(self: Arc<Self>) -> Option<Writer> {
        let session = self.session.clone().lock_owned().await;
        session.is_some().then(|| Writer { upload: self, session })
    }

    /// As [`Upload::writer`], in a thread that may wait.
    pub fn writer_blocking(self: Arc<Self>) -> Option<Writer> {
        let session = self.session.clone().blocking_lock_owned();
        session.is_some().then(|| Writer { upload: self, session })
    }
}

impl Writer {
    /// How many bytes have been received.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.upload.length()
    }

    /// The file, for somebody who reads it while it grows, and after it has got its place.
    pub(crate) fn reader(&self) -> Result<File> {
        let Some(session) = self.session.as_ref() else { return Err(Error::Closing) };
        file::open(&session.path).to("read a blob that is being received")
    }

    /// Appends. After an error the upload goes on from what its file holds.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn append(&mut self, content: &[u8]) -> Result<()> {
        let Some(session) = self.session.as_mut() else { return Err(Error::Closing) };
        let outcome = session.append(content);
        self.upload.length.store(session.length, Ordering::Release);
        self.upload.touch();
        outcome
    }

    /// Whether the content is what `digest` names; else what it is.
    pub(crate) fn verify(&mut self, digest: &Digest) -> Result<std::result::Result<(), Digest>> {
        let Some(session) = self.session.as_mut() else { return Err(Error::Closing) };
        let found = session.hash_by(digest)?.finish();
        Ok(if found == *digest { Ok(()) } else { Err(found) })
    }

    /// Makes the content durable and gives it its place.
    pub(crate) fn publish(&mut self, uploads: &Uploads, place: &Path) -> Result<()> {
        let Some(session) = self.session.as_mut() else { return Err(Error::Closing) };
        session.file.sync_all().named("sync", &session.path).to("keep a blob")?;
        rustix::fs::fchmod(&session.file, Mode::RUSR)
            .named("change mode of", &session.path)
            .to("keep a blob")?;
        file::rename(&session.path, place).to("keep a blob")?;
        *self.session = None;
        uploads.forget(&self.upload.name);
        file::sync_parent(place).to("keep a blob")
    }

    /// Closes it; its file stays to be taken up again.
    pub(crate) fn set_aside(mut self, uploads: &Uploads) {
        uploads.forget(&self.upload.name);
        *self.session = None;
    }

    /// Removes it.
    pub(crate) fn cancel(&mut self, uploads: &Uploads) -> Result<()> {
        uploads.forget(&self.upload.name);
        match self.session.take() {
            Some(session) => file::remove_if_exists(&session.path).map(drop).to("remove an upload"),
            None => Ok(()),
        }
    }
}

impl Session {
    /// Takes up what a file holds; `None` where there is none.
    fn resume(path: PathBuf) -> Result<Option<Self>> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).named("open", &path).to("take up an upload"),
        };
        let mut session = Self { path, file, length: 0, hasher: Hasher::sha256() };
        session.rehash(Hasher::sha256())?;
        Ok(Some(session))
    }

    /// Whether its file has lost its name since it was opened.
    fn is_removed(&self) -> Result<bool> {
        let found = rustix::fs::fstat(&self.file).named("look at", &self.path).to("take up an upload")?;
        Ok(found.st_nlink == 0)
    }

    fn append(&mut self, content: &[u8]) -> Result<()> {
        match self.file.write_all(content) {
            Ok(()) => {
                self.hasher.update(content);
                self.length += content.len() as u64;
                Ok(())
            }
            Err(error) => {
                // How much of it was written is not known: back to what was there before.
                self.file.set_len(self.length).named("truncate", &self.path).to("receive a blob")?;
                let _end = std::io::Seek::seek(&mut self.file, std::io::SeekFrom::End(0))
                    .named("seek in", &self.path)
                    .to("receive a blob")?;
                Err(error).named("write", &self.path).to("receive a blob")
            }
        }
    }

    /// The hash of all content by the algorithm of `digest`.
    fn hash_by(&mut self, digest: &Digest) -> Result<Hasher> {
        let wanted = digest.hasher().unwrap_or_else(Hasher::sha256);
        if std::mem::discriminant(&wanted) != std::mem::discriminant(&self.hasher) {
            self.rehash(wanted)?;
        }
        Ok(self.hasher.clone())
    }

    fn rehash(&mut self, mut hasher: Hasher) -> Result<()> {
        let mut from = file::open(&self.path).to("hash an upload")?;
        let mut buffer = vec![0; 256 << 10];
        self.length = 0;
        loop {
            let count = from.read(&mut buffer).named("read", &self.path).to("hash an upload")?;
            if count == 0 {
                break;
            }
            hasher.update(buffer.get(..count).unwrap_or_default());
            self.length += count as u64;
        }
        self.hasher = hasher;
        Ok(())
    }
}

fn sha512() -> Hasher {
    Digest::from_sha512([0; 64]).hasher().unwrap_or_else(Hasher::sha256)
}

/// A fetch goes on with its own repository's beginning, so that no two ever write one file.
fn fetch_name(repository: &Repository, digest: &Digest) -> String {
    let key = Digest::of(repository.as_str().as_bytes());
    let key = key.encoded().get(..32).unwrap_or_default();
    format!("{FETCHED}{key}.{}.{}", digest.algorithm_name(), digest.encoded())
}

/// Nobody reaches an upload by way of another repository, since its name would be another one.
fn file_name(repository: &Repository, id: &UploadId) -> String {
    let key = Digest::of(repository.as_str().as_bytes());
    format!("{}.{id}", key.encoded().get(..32).unwrap_or_default())
}
