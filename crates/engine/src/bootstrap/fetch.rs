//! Reads addresses: `http`, `https` and `file`, each with a limit. What comes over a network is asked for by the client of
//! registries, which knows certificates and proxies.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use registry_client::{Client, Error};
use rustix::fs::{FileType, Mode, OFlags};

use super::error::BootstrapError as Failure;

/// How often a file is fetched whose transfer breaks off.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// See the head of the file.
pub(super) struct Fetcher<'c> {
    client: &'c Client,
}

impl Fetcher<'_> {
    pub(super) fn new(client: &Client) -> Fetcher<'_> {
        Fetcher { client }
    }

    /// Has `take` read what lies at an address, anew after a transfer that broke off. Reading more than `limit` bytes of it
    /// fails. `None` where there is nothing.
    pub(super) fn fetch<T>(
        &self,
        url: &str,
        limit: u64,
        mut take: impl FnMut(&mut dyn Read) -> io::Result<T>,
    ) -> Result<Option<T>, Failure> {
        let mut attempt = 1;
        loop {
            let Some(mut opened) = self.open(url, limit)? else { return Ok(None) };
            let source = match take(&mut opened) {
                Ok(taken) => return Ok(Some(taken)),
                Err(source) => source,
            };
            if source.kind() == io::ErrorKind::FileTooLarge {
                return Err(Failure::TooLong { url: url.to_owned(), limit });
            }
            // Only failures of the transfer carry an error of the client.
            let is_transfer = source.get_ref().is_some_and(|inner| inner.is::<Error>());
            if !is_transfer || attempt == ATTEMPTS {
                return Err(Failure::Read { url: url.to_owned(), source });
            }
            tracing::debug!(url, %source, attempt, "fetching again");
            std::thread::sleep(PAUSE * attempt);
            attempt += 1;
        }
    }

    /// All of what lies at an address.
    pub(super) fn read(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
        self.fetch(url, limit, |opened| {
            let mut bytes = Vec::new();
            opened.read_to_end(&mut bytes).map(|_| bytes)
        })
    }

    fn open(&self, url: &str, limit: u64) -> Result<Option<Box<dyn Read + Send>>, Failure> {
        if let Some(path) = url.strip_prefix("file://") {
            return match open_file(path) {
                Ok(source) => Ok(Some(Box::new(Limited { source, left: limit }))),
                Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(Failure::Read { url: url.to_owned(), source }),
            };
        }
        match self.client.file(url, limit) {
            Ok(None) => Ok(None),
            Ok(Some(reader)) => Ok(Some(Box::new(reader))),
            Err(Error::Status { status, .. }) => Err(Failure::Status { url: url.to_owned(), status }),
            Err(source) => Err(Failure::Fetch { url: url.to_owned(), source: Box::new(source) }),
        }
    }
}

fn open_file(path: &str) -> io::Result<File> {
    // Never waits for whoever would write into a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(Path::new(path), flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file.into())
}

/// Fails with [`io::ErrorKind::FileTooLarge`] where there is more than the limit.
struct Limited<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(bytes)?;
        self.left = self.left.checked_sub(read as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(read)
    }
}
