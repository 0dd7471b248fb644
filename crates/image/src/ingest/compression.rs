//! How content is compressed, by its first bytes, and the decoders.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::window::Window;

/// How content is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, perhaps of several members.
    Gzip,
    /// zstd, perhaps of several frames.
    Zstd,
    /// bzip2, perhaps of several streams.
    Bzip2,
    /// xz, perhaps of several streams.
    Xz,
}

impl Compression {
    /// How many first bytes [`Compression::detect`] wants to see.
    pub(crate) const MAGIC_LENGTH: usize = 10;
    /// How many first bytes [`Window::of`] wants to see.
    pub(crate) const HEAD_LENGTH: usize = 4096;

    /// Tells by the first bytes of the content.
    #[must_use]
    pub fn detect(start: &[u8]) -> Self {
        // bzip2 begins with a digit and then a block or, if empty, the end of the stream.
        let bzip2 = |rest: &[u8]| {
            matches!(rest.split_first(), Some((b'1'..=b'9', block))
                if block.starts_with(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59]) || block.starts_with(&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]))
        };
        match start {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            // A skippable frame may come first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => Self::Xz,
            [b'B', b'Z', b'h', rest @ ..] if bzip2(rest) => Self::Bzip2,
            _ => Self::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "plain",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
        })
    }
}

/// Reads what `source` holds compressed. Every stream, member or frame in it is read, not only the first. `window` is
/// what its start asks for.
///
/// # Errors
/// If a decoder cannot be made for lack of memory.
pub(crate) fn decoder<'a, R: BufRead + Send + 'a>(
    compression: Compression,
    source: R,
    window: Window,
) -> io::Result<Box<dyn Decode<R> + Send + 'a>> {
    let decoder: Box<dyn Decode<R> + Send + 'a> = match compression {
        Compression::None => Box::new(Plain(source)),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
            decoder.window_log_max(window.zstd_log())?;
            Box::new(decoder)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                window.xz_memory(),
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
    };
    Ok(match window.most() {
        Some(left) => Box::new(Bounded { decoder, left }),
        None => decoder,
    })
}

/// Whether a decoder stopped because the content wants a larger window than it may have.
pub(crate) fn wants_larger_window(error: &io::Error) -> bool {
    let Some(reason) = error.get_ref() else { return false };
    reason.is::<WindowFull>()
        || matches!(reason.downcast_ref(), Some(liblzma::stream::Error::MemLimit))
        // libzstd's own words for its error `frameParameter_windowTooLarge`.
        || reason.to_string().contains("Frame requires too much memory")
}

/// A decoder of which the content must end before it fills so much of its window.
struct Bounded<'a, R> {
    decoder: Box<dyn Decode<R> + Send + 'a>,
    left: u64,
}

/// Why a [`Bounded`] decoder stops.
#[derive(Debug, thiserror::Error)]
#[error("the content fills more of its window than may be held")]
struct WindowFull;

impl<R> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(WindowFull)),
        }
        Ok(read)
    }
}

impl<R> Decode<R> for Bounded<'_, R> {
    fn source(&mut self) -> &mut R {
        self.decoder.source()
    }
}

/// A decoder that gives back its source, in which nothing may be left.
pub(crate) trait Decode<R>: Read {
    /// The source.
    fn source(&mut self) -> &mut R;
}

struct Plain<R>(R);

impl<R: BufRead> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: BufRead> Decode<R> for Plain<R> {
    fn source(&mut self) -> &mut R {
        &mut self.0
    }
}

impl<R: BufRead> Decode<R> for flate2::bufread::MultiGzDecoder<R> {
    fn source(&mut self) -> &mut R {
        self.get_mut()
    }
}

impl<R: BufRead> Decode<R> for zstd::stream::read::Decoder<'_, R> {
    fn source(&mut self) -> &mut R {
        self.get_mut()
    }
}

impl<R: BufRead> Decode<R> for bzip2::bufread::MultiBzDecoder<R> {
    fn source(&mut self) -> &mut R {
        self.get_mut()
    }
}

impl<R: BufRead> Decode<R> for liblzma::bufread::XzDecoder<R> {
    fn source(&mut self) -> &mut R {
        self.get_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    pub(crate) fn compress(compression: Compression, content: &[u8]) -> Vec<u8> {
        match compression {
            Compression::None => content.to_vec(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(content, 1).unwrap(),
            Compression::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    const ALL: [Compression; 4] = [Compression::Gzip, Compression::Zstd, Compression::Bzip2, Compression::Xz];

    #[test]
    fn every_part_of_a_concatenated_stream_is_read() {
        for kind in ALL {
            let joined = [compress(kind, b"one,"), compress(kind, b""), compress(kind, b"two")].concat();
            assert_eq!(Compression::detect(&joined), kind);
            let mut text = Vec::new();
            let mut reader = decoder(kind, joined.as_slice(), Window::of(kind, &joined)).unwrap();
            reader.read_to_end(&mut text).unwrap();
            assert_eq!(text, b"one,two", "{kind}");
            assert!(reader.source().is_empty(), "{kind}");
        }
    }

    #[test]
    fn a_cut_stream_is_an_error_wherever_it_is_cut() {
        let content: Vec<u8> =
            (0..5000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for kind in ALL {
            let whole = compress(kind, &content);
            for cut in (1..whole.len()).step_by(997).chain([whole.len() - 1, whole.len() - 4]) {
                let mut sink = Vec::new();
                let result =
                    decoder(kind, &whole[..cut], Window::of(kind, &whole)).unwrap().read_to_end(&mut sink);
                assert!(result.is_err(), "{kind} cut at {cut} of {}", whole.len());
            }
        }
    }

    #[test]
    fn plain_content_is_not_taken_for_compressed() {
        for start in [&b""[..], b"BZh9 notes.txt", b"BZ", b"\x1f\x8b\x00", b"etc/passwd", b"\x28\xb5\x2f"] {
            assert_eq!(Compression::detect(start), Compression::None);
        }
    }
}
