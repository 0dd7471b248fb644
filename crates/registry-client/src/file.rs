//! Files at any address: what goes into an image without coming from a registry, as the packages of an archive do.
//!
//! They are asked for with the certificates, the proxies and the patience of the client. No credential goes along, and no
//! header of a configuration: those are for registries. Whoever begins with TLS stays with it, over all redirects.

use std::io::{self, Read};

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::ACCEPT_ENCODING;

use crate::error::Result;
use crate::hosts::Host;
use crate::payload::Sending;
use crate::session::{Answer, Ask};
use crate::{Client, Error, Url};

/// The content of a file; the end of it only where the server says that it is.
#[derive(Debug)]
pub struct FileReader {
    answer: Answer,
    part: Bytes,
    received: u64,
    limit: u64,
}

impl Client {
    /// What lies at an address, of at most `limit` bytes; `None` where there is nothing.
    ///
    /// # Errors
    /// If the server cannot be asked, or answers anything else than the file or its absence.
    pub fn file(&self, address: &str, limit: u64) -> Result<Option<FileReader>> {
        let url: Url = address.parse()?;
        let host = Host::nobody(url.origin.clone());
        let headers = [(ACCEPT_ENCODING, "identity".to_owned())];
        let ask = Ask { method: Method::GET, url, host: &host, scope: "", headers: &headers };
        let answer = self.session.persist(u32::MAX, None, || {
            let answer = self.session.follow(&ask, None, Sending::Whole(&Bytes::new()))?;
            match answer.status {
                200 => Ok(Some(answer)),
                404 | 410 => answer.discard().map(|()| None),
                _ => Err(answer.unexpected()),
            }
        })?;
        let reader = |answer| FileReader { answer, part: Bytes::new(), received: 0, limit };
        Ok(answer.map(reader))
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.part.is_empty() {
            let Some(part) = self.answer.next().map_err(io::Error::other)? else { return Ok(0) };
            self.received += part.len() as u64;
            if self.received > self.limit {
                let url = self.answer.url.shown();
                let error = Error::TooMuch { url, limit: self.limit, what: "bytes" };
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
            }
            self.part = part;
        }
        let part = self.part.split_to(self.part.len().min(buffer.len()));
        buffer[..part.len()].copy_from_slice(&part);
        Ok(part.len())
    }
}
