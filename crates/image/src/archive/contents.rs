//! The members of an archive, by name: where each lies and how it is read.
//!
//! A member's name is its path, normalised; links between members, which old versions of `docker save` write,
//! are resolved by name and never leave the archive. A name that occurs twice is ambiguous: what one program
//! checks another might not load. It is refused unless the content is named by its digest.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use linux::file::{self, Named as _};
use oci::Digest;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::members::{ByName, Content, Place, place};
use super::stream::{self, Members};
use crate::error::{Error, Result};
use crate::ingest::{Compression, Expected, Ingested, Layer, fill, ingest};
use crate::store::Staged;
use crate::tar::{self, EntryPath};

/// The largest member of a stream that is spooled although it is no layer.
const SPOOL_LIMIT: u64 = oci::CONFIG_LIMIT;
/// Bytes of all members of a stream that are spooled.
const SPOOLED_LIMIT: u64 = 256 << 20;
/// Bytes of all documents that are read, each as often as it is: a small archive may refer to one large document a
/// thousand times.
const DOCUMENTS_LIMIT: u64 = 16 << 20;
/// Values of all documents that are read, counted by the commas between them: in memory the shortest take fifty times
/// their bytes.
const VALUES_LIMIT: u64 = 300_000;
/// Bytes of all statements about images that are kept with them; they are not parsed.
const ATTESTED_LIMIT: u64 = 64 << 20;
/// An archive, opened.
pub(super) struct Contents {
    name: String,
    form: Form,
    /// Bytes and values of documents read so far.
    documents: AtomicU64,
    values: AtomicU64,
    /// Bytes of what is attested.
    attested: AtomicU64,
}

enum Form {
    /// A directory.
    Directory(OwnedFd),
    /// A tar that can be read anywhere.
    Tar { file: File, members: ByName },
    /// A stream that has been read to its end.
    Read { members: ByName },
}

/// A layer that was found and is what was expected; the path is that of a new staged file.
pub(super) type Found = (Ingested, Option<PathBuf>);

impl Contents {
    /// Opens a directory or a tar by path. A compressed tar is read as a stream.
    pub(super) fn open(path: &Path, staged: &Staged<'_>) -> Result<Self> {
        let name = path.display().to_string();
        let mut file = file::open(path)?;
        let metadata = file.metadata().named("examine", path)?;
        if metadata.is_dir() {
            return Ok(Self::new(name, Form::Directory(file.into())));
        }
        // A pipe or a device cannot be read twice.
        if !metadata.is_file() || is_compressed(&file, path)? {
            return Self::read(&name, &mut file, staged);
        }
        let mut members = ByName::default();
        let mut take = |entry: tar::Entry| -> Result<()> {
            let content = match place(&entry)? {
                Place::Data { offset, size } => Content::Section { offset, size },
                Place::Link(target) => Content::Link(target),
                Place::Nothing => return Ok(()),
            };
            members.insert(&name, entry.path, content)
        };
        read_headers(&name, &file, &mut take)?;
        Ok(Self::new(name, Form::Tar { file, members }))
    }

    /// Reads a stream to its end: ingests what looks like layers, spools the rest.
    pub(super) fn read(name: &str, source: &mut (dyn Read + Send), staged: &Staged<'_>) -> Result<Self> {
        let mut stream = Members::new(name, source, staged.windows())?;
        let mut members = ByName::default();
        let mut spooled = 0;
        while let Some(entry) = stream.next()? {
            let content = match place(&entry)? {
                Place::Data { size, .. } => {
                    let content = take_member(&entry.path, size, &mut stream.data(size), staged)?;
                    if matches!(content, Content::Spooled { .. }) {
                        spooled += size;
                    }
                    content
                }
                Place::Link(target) => Content::Link(target),
                Place::Nothing => continue,
            };
            members.insert(name, entry.path, content)?;
            if spooled > SPOOLED_LIMIT {
                let reason = "so much have its members that are no layers together at most";
                return Err(Error::TooLarge { entry: name.to_owned(), limit: SPOOLED_LIMIT, reason });
            }
        }
        Ok(Self::new(name.to_owned(), Form::Read { members }))
    }

    fn new(name: String, form: Form) -> Self {
        Self {
            name,
            form,
            documents: AtomicU64::new(0),
            values: AtomicU64::new(0),
            attested: AtomicU64::new(0),
        }
    }

    /// The archive's own name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The names of all members, for the oldest form of archive, which is always a tar.
    pub(super) fn names(&self) -> Vec<String> {
        match &self.form {
            Form::Directory(_) => Vec::new(),
            Form::Tar { members, .. } | Form::Read { members } => members.names(),
        }
    }

    /// A document, if it is there; more than `limit` bytes are an error.
    pub(super) fn document(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let content = self.read_document(name, limit, false)?;
        content.map(|content| self.count(name, content)).transpose()
    }

    /// What is attested of an image, unparsed; none where it is missing, not what it is named, or too much.
    pub(super) fn attested(&self, descriptor: &oci::Descriptor) -> Option<Vec<u8>> {
        let before = self.attested.fetch_add(descriptor.size, Ordering::Relaxed);
        if before.saturating_add(descriptor.size) > ATTESTED_LIMIT {
            return None;
        }
        let content = self.read_document(&blob_name(&descriptor.digest), oci::CONFIG_LIMIT, true).ok()??;
        descriptor.verify(&content).ok()?;
        Some(content)
    }

    /// The document that a digest names, in a layout, checked.
    pub(super) fn blob(&self, descriptor: &oci::Descriptor, limit: u64, needed_by: &str) -> Result<Vec<u8>> {
        let name = blob_name(&descriptor.digest);
        let Some(content) = self.read_document(&name, limit, true)? else {
            return Err(Error::MissingEntry { entry: name, needed_by: needed_by.to_owned() });
        };
        descriptor.verify(&content).map_err(|source| Error::Document { entry: name.clone(), source })?;
        self.count(&name, content)
    }

    /// Keeps the documents of one archive within bounds all together.
    fn count(&self, name: &str, content: Vec<u8>) -> Result<Vec<u8>> {
        let size = content.len() as u64;
        if self.documents.fetch_add(size, Ordering::Relaxed) + size > DOCUMENTS_LIMIT {
            let reason = "so much have all documents of an archive together at most";
            return Err(Error::TooLarge { entry: self.name.clone(), limit: DOCUMENTS_LIMIT, reason });
        }
        let values = content.iter().map(|&byte| u64::from(byte == b',')).sum::<u64>();
        if self.values.fetch_add(values, Ordering::Relaxed) + values > VALUES_LIMIT {
            let reason = format!("the documents of the archive hold more than {VALUES_LIMIT} values");
            return Err(Error::Entry { entry: name.to_owned(), reason });
        }
        Ok(content)
    }

    fn read_document(&self, name: &str, limit: u64, may_repeat: bool) -> Result<Option<Vec<u8>>> {
        let too_large = || Error::TooLarge {
            entry: name.to_owned(),
            limit,
            reason: "no document of its kind may be larger",
        };
        let (file, members) = match &self.form {
            Form::Directory(root) => {
                let Some(file) = open_beneath(root, name, &self.name)? else { return Ok(None) };
                return read_bounded(name, &mut File::from(file), limit)?.ok_or_else(too_large).map(Some);
            }
            Form::Tar { file, members } => (Some(file), members),
            Form::Read { members } => (None, members),
        };
        let Some(member) = members.follow(name)? else { return Ok(None) };
        if member.again && !may_repeat {
            let reason = "it occurs more than once, so what it says is ambiguous".to_owned();
            return Err(Error::Entry { entry: name.to_owned(), reason });
        }
        let content = match (&member.content, file) {
            (Content::Section { offset, size }, Some(file)) => {
                read_bounded(name, &mut Section { file, offset: *offset, left: *size }, limit)?
            }
            (Content::Spooled { path }, _) => read_bounded(name, &mut file::open(path)?, limit)?,
            (Content::TooLarge, _) => None,
            _ => {
                return Err(Error::Entry {
                    entry: name.to_owned(),
                    reason: "it is not a document".to_owned(),
                });
            }
        };
        content.ok_or_else(too_large).map(Some)
    }

    /// A layer: ingested now or, from a stream, before; in either case it is what is expected.
    pub(super) fn layer(
        &self,
        name: &str,
        expected: Expected<'_>,
        staged: &Staged<'_>,
        needed_by: &str,
    ) -> Result<Found> {
        let missing = || Error::MissingEntry { entry: name.to_owned(), needed_by: needed_by.to_owned() };
        let (file, members) = match &self.form {
            Form::Directory(root) => {
                let mut file = File::from(open_beneath(root, name, &self.name)?.ok_or_else(missing)?);
                return ingest_into(name, &mut file, expected, staged);
            }
            Form::Tar { file, members } => (Some(file), members),
            Form::Read { members } => (None, members),
        };
        let member = members.follow(name)?.ok_or_else(missing)?;
        match (&member.content, file) {
            (Content::Section { offset, size }, Some(file)) => {
                ingest_into(name, &mut Section { file, offset: *offset, left: *size }, expected, staged)
            }
            (Content::Spooled { path }, _) => ingest_into(name, &mut file::open(path)?, expected, staged),
            (Content::Layer { ingested, path }, _) => {
                check_read(name, ingested, path.as_ref(), expected, staged)
            }
            (Content::NoLayer(error), _) => Err(why_no_layer(name, error)),
            _ => Err(Error::Entry { entry: name.to_owned(), reason: "it cannot be a layer".to_owned() }),
        }
    }
}

/// Why a member is no layer. The error itself is told once, which ends the load.
fn why_no_layer(name: &str, error: &Mutex<Option<Error>>) -> Error {
    let error = error.lock().unwrap_or_else(PoisonError::into_inner).take();
    error.unwrap_or_else(|| Error::Entry { entry: name.to_owned(), reason: "it is not a layer".to_owned() })
}

/// The name of a blob in an OCI layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm_name(), digest.encoded())
}

/// Takes a file from a stream, as what it looks like.
fn take_member(
    path: &EntryPath,
    size: u64,
    data: &mut (dyn Read + Send),
    staged: &Staged<'_>,
) -> Result<Content> {
    let name = String::from_utf8_lossy(path.as_bytes()).into_owned();
    let failed = |source| Error::Read { entry: name.clone(), source };
    let mut start = [0; 512];
    let filled = fill(data, &mut start).map_err(failed)?;
    let start = &start[..filled];
    if looks_like_layer(start) {
        let digest = blob_digest(&name);
        let expected = Expected { blob_digest: digest.as_ref(), ..Expected::default() };
        let mut data = start.chain(data);
        return match ingest_into(&name, &mut data, expected, staged) {
            Ok((ingested, path)) => Ok(Content::Layer { ingested: Box::new(ingested), path }),
            Err(error) if error.is_content() => Ok(Content::NoLayer(Mutex::new(Some(error)))),
            Err(error) => Err(error),
        };
    }
    if size > SPOOL_LIMIT {
        return Ok(Content::TooLarge);
    }
    let content = read_bounded(&name, &mut start.chain(data), SPOOL_LIMIT)?.unwrap_or_default();
    let path = staged.scratch().fresh("spool");
    let effects = staged.store().effects();
    let file = effects.create(&path, 0o600)?;
    effects.write(&file, &content, &path)?;
    Ok(Content::Spooled { path })
}

/// Compressed, or the header of a tar: with its checksum, since old tars have no magic.
fn looks_like_layer(start: &[u8]) -> bool {
    if Compression::detect(start) != Compression::None {
        return true;
    }
    let Some(header) = start.first_chunk::<512>() else { return false };
    let digits = &header[148..156];
    let stored = digits.iter().skip_while(|b| **b == b' ').take_while(|b| (b'0'..=b'7').contains(*b));
    let stored =
        stored.fold(0_u32, |value, digit| value.wrapping_mul(8).wrapping_add(u32::from(digit - b'0')));
    let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
    let blanked = sum - digits.iter().map(|b| u32::from(*b)).sum::<u32>() + 8 * u32::from(b' ');
    // Nothing but zeros is a tar without entries.
    stored == blanked || sum == 0
}

/// The digest that a blob's name in a layout tells.
fn blob_digest(name: &str) -> Option<Digest> {
    let (algorithm, encoded) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{encoded}").parse().ok()
}

/// Ingests a blob into a new staged file, or only checks it if the layer is stored already.
pub(super) fn ingest_into(
    name: &str,
    blob: &mut (dyn Read + Send),
    expected: Expected<'_>,
    staged: &Staged<'_>,
) -> Result<Found> {
    let store = staged.store();
    let stored = match expected.diff_id {
        Some(layer) => store.layer_size(layer)?,
        None => None,
    };
    let path = stored.is_none().then(|| staged.scratch().fresh("layer"));
    let ingested =
        ingest(Layer { name, blob, expected, target: path.as_deref() }, staged.windows(), store.effects());
    match (ingested, path) {
        (Ok(ingested), path) => {
            if let Some(size) = stored
                && size != ingested.size
            {
                let reason = format!("it has {size} bytes, the layer has {}", ingested.size);
                return Err(Error::Damaged { path: store.layer_path(&ingested.diff_id), reason });
            }
            if let Some(path) = &path {
                staged.sync_meanwhile(path);
            }
            Ok((ingested, path))
        }
        (Err(error), path) => {
            // Space is freed at once; what cannot be removed now goes with the scratch directory.
            drop(path.map(|path| file::remove_if_exists(&path)));
            Err(error)
        }
    }
}

/// Checks what was ingested from a stream, before it was known what it should be.
fn check_read(
    name: &str,
    ingested: &Ingested,
    path: Option<&PathBuf>,
    expected: Expected<'_>,
    staged: &Staged<'_>,
) -> Result<Found> {
    if let Some(blob) = expected.blob
        && blob.size != ingested.blob_size
    {
        let (expected, found) = (blob.size.to_string(), ingested.blob_size.to_string());
        return Err(Error::Mismatch { entry: name.to_owned(), what: "size", expected, found });
    }
    match expected.diff_id {
        Some(wanted) if *wanted != ingested.diff_id => {
            let same = |a: &Digest, b: &Digest| a.algorithm() == b.algorithm();
            if let Some(path) = path
                && !same(wanted.digest(), ingested.diff_id.digest())
            {
                // It was hashed by the usual algorithm, but is named by another.
                let expected = Expected { diff_id: Some(wanted), ..Expected::default() };
                let layer = Layer { name, blob: &mut file::open(path)?, expected, target: None };
                return Ok((ingest(layer, staged.windows(), staged.store().effects())?, Some(path.clone())));
            }
            Err(Error::Mismatch {
                entry: name.to_owned(),
                what: "digest of the uncompressed layer",
                expected: wanted.to_string(),
                found: ingested.diff_id.to_string(),
            })
        }
        _ => Ok((ingested.clone(), path.cloned())),
    }
}

/// Opens a file of a directory, following links only within it; `None` if it is not there.
fn open_beneath(root: &OwnedFd, name: &str, archive: &str) -> Result<Option<OwnedFd>> {
    let path = Path::new(archive).join(name);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(root, name, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno).named("open", &path).map_err(Error::from),
    };
    let stat = rustix::fs::fstat(&file).named("examine", &path)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
        return Err(Error::Entry {
            entry: path.display().to_string(),
            reason: "it is not a file".to_owned(),
        });
    }
    Ok(Some(file))
}

/// The whole content; `None` if it is more than `limit` bytes.
fn read_bounded(name: &str, source: &mut dyn Read, limit: u64) -> Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    let mut source = source.take(limit + 1);
    source.read_to_end(&mut content).map_err(|source| Error::Read { entry: name.to_owned(), source })?;
    Ok((content.len() as u64 <= limit).then_some(content))
}

fn is_compressed(file: &File, path: &Path) -> Result<bool> {
    let mut start = [0; Compression::MAGIC_LENGTH];
    let mut section = Section { file, offset: 0, left: start.len() as u64 };
    let filled = fill(&mut section, &mut start).named("read", path)?;
    Ok(Compression::detect(&start[..filled]) != Compression::None)
}

/// A part of a file, as a stream.
struct Section<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// All headers of a tar, without its data.
fn read_headers(name: &str, file: &File, take: &mut dyn FnMut(tar::Entry) -> Result<()>) -> Result<()> {
    struct Failure(Error);
    impl From<tar::ReadError> for Failure {
        fn from(error: tar::ReadError) -> Self {
            match error {
                tar::ReadError::Archive(error) => error.into(),
                tar::ReadError::Io { source, .. } => Self(Error::Read { entry: String::new(), source }),
            }
        }
    }
    impl From<tar::Error> for Failure {
        fn from(source: tar::Error) -> Self {
            Self(Error::Archive { entry: String::new(), source })
        }
    }
    let read = tar::read_entries(file, stream::limits(), &mut |entry| take(entry).map_err(Failure));
    match read {
        Ok(_) => Ok(()),
        Err(Failure(Error::Read { source, .. })) => Err(Error::Read { entry: name.to_owned(), source }),
        Err(Failure(Error::Archive { source, .. })) => Err(Error::Archive { entry: name.to_owned(), source }),
        Err(Failure(error)) => Err(error),
    }
}
