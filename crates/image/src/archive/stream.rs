//! A tar that is read once, member by member.

use std::io::{self, BufRead, BufReader, Read};

use crate::error::{Error, Result};
use crate::ingest::{Compression, Window, Windows, decoder, fill};
use crate::tar;

/// Bounds on an archive of images: it has few members, none deep or strange.
pub(super) fn limits() -> tar::Limits {
    tar::Limits { entries: 100_000, file_bytes: crate::ingest::LAYER_LIMIT, ..tar::Limits::default() }
}

/// The parser takes headers in blocks of this size.
const BLOCK: usize = 512;

/// Bytes that may follow the end mark.
const TRAILER_LIMIT: u64 = 64 << 20;

/// The members of an archive, one after the other.
pub(super) struct Members<'a> {
    name: String,
    source: Box<dyn BufRead + Send + 'a>,
    parser: Option<tar::Parser>,
}

impl<'a> Members<'a> {
    /// Begins to read `source`, decompressing it if need be. `name` is for errors.
    pub(super) fn new(name: &str, source: &'a mut (dyn Read + Send), windows: &Windows) -> Result<Self> {
        let source = decompressed_in(name, source, windows)?;
        let name = name.to_owned();
        Ok(Self { name, source, parser: Some(tar::Parser::new(limits())) })
    }

    /// The next member, whose data [`Members::data`] reads. What is left of the last one is passed over.
    pub(super) fn next(&mut self) -> Result<Option<tar::Entry>> {
        let Some(mut parser) = self.parser.take() else { return Ok(None) };
        let refused = |source| Error::Archive { entry: self.name.clone(), source };
        let failed = |source| Error::Read { entry: self.name.clone(), source };
        loop {
            match parser.skippable() {
                None => {
                    // Whoever writes into a pipe is to see it read to its end.
                    io::copy(&mut self.source.as_mut().take(TRAILER_LIMIT), &mut io::sink())
                        .map_err(failed)?;
                    return Ok(None);
                }
                Some(0) => {
                    let mut block = [0; BLOCK];
                    let filled = fill(&mut self.source, &mut block).map_err(failed)?;
                    let mut found = None;
                    let mut take = |entry| {
                        found = Some(entry);
                        Ok::<(), tar::Error>(())
                    };
                    parser.push(&block[..filled], &mut take).map_err(refused)?;
                    if found.is_some() {
                        self.parser = Some(parser);
                        return Ok(found);
                    }
                    if filled < block.len() {
                        parser.finish().map_err(refused)?;
                        return Ok(None);
                    }
                }
                Some(left) => {
                    let passed =
                        io::copy(&mut self.source.as_mut().take(left), &mut io::sink()).map_err(failed)?;
                    skip(&mut parser, passed);
                    if passed < left {
                        parser.finish().map_err(refused)?;
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The data of the member that [`Members::next`] has just given, which is a file of `size` bytes.
    pub(super) fn data(&mut self, size: u64) -> Data<'_, 'a> {
        Data { members: self, left: size }
    }
}

/// What `source` holds, decompressed if need be. `name` is for errors.
///
/// # Errors
/// If its first bytes cannot be read, or ask for more memory than a decoder may have.
pub fn decompressed<'a>(
    name: &str,
    source: &'a mut (dyn Read + Send),
) -> Result<Box<dyn BufRead + Send + 'a>> {
    decompressed_in(name, source, &Windows::default())
}

fn decompressed_in<'a>(
    name: &str,
    source: &'a mut (dyn Read + Send),
    windows: &Windows,
) -> Result<Box<dyn BufRead + Send + 'a>> {
    let name = name.to_owned();
    let mut source = BufReader::with_capacity(64 << 10, source);
    let start = peek(&mut source).map_err(|source| Error::Read { entry: name.clone(), source })?;
    let compression = Compression::detect(&start);
    let window = Window::of(compression, &start);
    windows.reserve_for_archive(window);
    let source = start_again(start, source);
    let source: Box<dyn BufRead + Send + 'a> = if compression == Compression::None {
        Box::new(source)
    } else {
        let decoded = decoder(compression, source, window)
            .map_err(|source| Error::decompress(&name, compression, window, source))?;
        let explain = {
            let name = name.clone();
            move |source| Error::decompress(&name, compression, window, source)
        };
        Box::new(BufReader::with_capacity(64 << 10, Explained { decoded, explain }))
    };
    Ok(source)
}

/// A decoder of which the errors say what was being read, since whoever reads a member does not know.
struct Explained<D, F> {
    decoded: D,
    explain: F,
}

impl<D: Read, F: Fn(io::Error) -> Error> Read for Explained<D, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoded.read(buffer).map_err(|source| {
            if source.kind() == io::ErrorKind::Interrupted {
                return source;
            }
            io::Error::other((self.explain)(source))
        })
    }
}

/// Tells the parser of bytes that it need not see.
fn skip(parser: &mut tar::Parser, mut count: u64) {
    while count > 0 {
        let step = parser.skip(usize::try_from(count).unwrap_or(usize::MAX));
        if step == 0 {
            return;
        }
        count -= step as u64;
    }
}

/// The data of one member.
pub(super) struct Data<'m, 'a> {
    members: &'m mut Members<'a>,
    left: u64,
}

impl Read for Data<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if most == 0 {
            return Ok(0);
        }
        let read = self.members.source.read(&mut buffer[..most])?;
        if read == 0 {
            let reason =
                format!("the archive ends {} bytes before this entry does; it is truncated", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
        }
        if let Some(parser) = &mut self.members.parser {
            skip(parser, read as u64);
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// The bytes that tell how a source is compressed and what its decoder needs; fewer only if the source has fewer.
fn peek(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = vec![0; Compression::HEAD_LENGTH];
    let filled = fill(source, &mut start)?;
    start.truncate(filled);
    Ok(start)
}

fn start_again<R: BufRead>(start: Vec<u8>, rest: R) -> impl BufRead {
    io::Cursor::new(start).chain(rest)
}
