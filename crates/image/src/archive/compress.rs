//! A stored layer as a compressed file, for an archive or an upload that has to know its digest before it is sent.
//!
//! The same layer and the same codec give the same bytes, on any number of processors.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use linux::file::{self, Named as _};
use oci::{Descriptor, DiffId, Hasher, MediaType};

use super::Gzip;
use super::gzip::LEVEL;
use crate::error::{Error, Result};
use crate::stop::{self, Stop};
use crate::store::{Draft, Store};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Not at all.
    Tar,
    /// gzip of a level up to 9.
    Gzip(u32),
    /// zstd of a level up to 22.
    Zstd(i32),
}

impl Default for Codec {
    fn default() -> Self {
        Codec::Gzip(LEVEL)
    }
}

impl Codec {
    /// gzip as it is usual here; what a push makes, too.
    pub const GZIP: Codec = Codec::Gzip(LEVEL);
    /// zstd as it is usual.
    pub const ZSTD: Codec = Codec::Zstd(3);

    /// What OCI calls a layer of this kind.
    #[must_use]
    pub fn media_type(self) -> MediaType {
        match self {
            Codec::Tar => MediaType::OCI_LAYER,
            Codec::Gzip(_) => MediaType::OCI_LAYER_GZIP,
            Codec::Zstd(_) => MediaType::OCI_LAYER_ZSTD,
        }
    }
}

/// A compressed layer in the scratch directory of a draft, with which it goes.
#[derive(Clone, Debug)]
pub struct Compressed {
    /// What it is.
    pub descriptor: Descriptor,
    /// Where it is.
    pub path: PathBuf,
}

/// Compresses a layer of the store, by so many threads, unless it is to stop.
///
/// # Errors
/// If the layer is missing or damaged, the disk is full, or it was stopped.
pub fn compress(
    draft: &Draft<'_>,
    layer: &DiffId,
    codec: Codec,
    (threads, stop): (usize, &Stop<'_>),
) -> Result<Compressed> {
    let path = draft.fresh("blob");
    let written = write(draft, layer, codec, (threads, stop), &path);
    if written.is_err() {
        // The first error is the one to tell.
        drop(file::remove_if_exists(&path));
    }
    Ok(Compressed { descriptor: written?, path })
}

fn write(
    draft: &Draft<'_>,
    layer: &DiffId,
    codec: Codec,
    (threads, stop): (usize, &Stop<'_>),
    path: &Path,
) -> Result<Descriptor> {
    let out = stop::Stopping::new(file::create_new(path, 0o600)?, stop);
    let mut out =
        Hashing { out: BufWriter::with_capacity(256 << 10, out), hasher: Hasher::sha256(), size: 0 };
    // Published or not.
    let tar = draft.layer_path(layer);
    let done = match codec {
        Codec::Tar => io::copy(&mut Verified::at(&tar, layer)?, &mut out).map(drop),
        Codec::Gzip(level) => Gzip::at(tar, layer, threads)
            .with_level(level)
            .open(0)
            .and_then(|mut gzip| io::copy(&mut gzip, &mut out).map(drop)),
        Codec::Zstd(level) => zstd(&mut Verified::at(&tar, layer)?, level, &mut out),
    };
    done.and_then(|()| out.out.flush()).named("write", path)?;
    let digest = out.hasher.finish();
    Ok(Descriptor::new(codec.media_type(), digest, out.size))
}

fn zstd(tar: &mut Verified, level: i32, out: &mut impl Write) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(out, level.clamp(0, 22))?;
    encoder.include_checksum(true)?;
    io::copy(tar, &mut encoder)?;
    encoder.finish().map(drop)
}

/// What is written, with its digest.
struct Hashing<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let written = self.out.write(content)?;
        self.hasher.update(&content[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A stored layer whose end is an error if it is not what its name says.
pub(super) struct Verified {
    tar: File,
    hasher: Option<Hasher>,
    layer: DiffId,
}

impl Verified {
    pub(super) fn open(store: &Store, layer: &DiffId) -> Result<Self> {
        Self::at(&store.layer_path(layer), layer)
    }

    /// A layer that lies there.
    fn at(path: &Path, layer: &DiffId) -> Result<Self> {
        let tar = match file::open(path) {
            Ok(tar) => tar,
            Err(error) if error.is_missing() => {
                return Err(Error::NotStored { what: "layer", digest: layer.to_string() });
            }
            Err(error) => return Err(error.into()),
        };
        let hasher = Some(layer.digest().hasher().unwrap_or_else(Hasher::sha256));
        Ok(Self { tar, hasher, layer: layer.clone() })
    }
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.tar.read(buffer)?;
        if read > 0 {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..read]);
            }
        } else if !buffer.is_empty()
            && let Some(hasher) = self.hasher.take()
            && hasher.finish() != *self.layer.digest()
        {
            let why = format!("the stored layer {} is damaged", self.layer);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Scratch;

    #[test]
    fn what_is_compressed_is_the_layer_again_and_the_same_each_time() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch).unwrap();
        let tar = b"some tar ".repeat(300_000);
        let layer = DiffId::try_from(oci::Digest::of(&tar)).unwrap();
        file::write(&store.layer_path(&layer), &tar).unwrap();
        let draft = store.draft().unwrap();
        for codec in [Codec::Tar, Codec::Gzip(1), Codec::GZIP, Codec::Gzip(9), Codec::ZSTD, Codec::Zstd(19)] {
            let one = compress(&draft, &layer, codec, (1, &|| false)).unwrap();
            let other = compress(&draft, &layer, codec, (3, &|| false)).unwrap();
            assert_eq!(one.descriptor, other.descriptor, "{codec:?}");
            let bytes = file::read(&one.path).unwrap();
            one.descriptor.verify(&bytes).unwrap();
            let mut back = Vec::new();
            let mut packed = &bytes[..];
            crate::decompressed("blob", &mut packed).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == tar, "{codec:?}");
        }
    }

    #[test]
    fn a_damaged_layer_is_an_error_and_leaves_no_file() {
        let scratch = Scratch::new();
        let store = Store::open(&scratch).unwrap();
        let layer = DiffId::try_from(oci::Digest::of(b"what it says")).unwrap();
        file::write(&store.layer_path(&layer), b"what it is").unwrap();
        let draft = store.draft().unwrap();
        for codec in [Codec::Tar, Codec::GZIP, Codec::ZSTD] {
            let error = compress(&draft, &layer, codec, (2, &|| false)).unwrap_err();
            assert!(format!("{:?}", error).contains("is damaged"), "{codec:?}: {error:?}");
        }
        let left = draft.fresh("x").parent().unwrap().read_dir().unwrap().count();
        assert_eq!(left, 0, "only what leases something may stay");
    }

    #[test]
    fn one_that_is_stopped_ends_and_leaves_no_file() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let scratch = Scratch::new();
        let store = Store::open(&scratch).unwrap();
        let mut state = 1_u64;
        let noise = (0..8 << 20).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let tar: Vec<u8> = noise.collect();
        let layer = DiffId::try_from(oci::Digest::of(&tar)).unwrap();
        file::write(&store.layer_path(&layer), &tar).unwrap();
        let draft = store.draft().unwrap();
        for codec in [Codec::Tar, Codec::Gzip(1), Codec::Zstd(1)] {
            let asked = AtomicUsize::new(0);
            let stop = || asked.fetch_add(1, Ordering::SeqCst) > 3;
            let error = compress(&draft, &layer, codec, (2, &stop)).unwrap_err();
            assert!(linux::chain(&error).ends_with(": it was stopped"), "{codec:?}: {error:?}");
            assert!(asked.into_inner() < 10, "{codec:?}: it went on");
        }
        assert_eq!(draft.fresh("x").parent().unwrap().read_dir().unwrap().count(), 0);
    }
}
