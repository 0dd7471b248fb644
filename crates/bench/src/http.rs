//! A client of registries that costs next to nothing: it shares the machine with the server that it measures. One connection
//! that is kept, plain HTTP/1.1, and bodies that the kernel throws away without copying them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::net::RecvFlags;

/// Bytes that are thrown away at once.
const DISCARD: usize = 1 << 20;
/// A server that says nothing for so long is stuck.
const SILENCE: Duration = Duration::from_secs(60);

/// A connection to one server.
pub(crate) struct Client {
    address: String,
    stream: TcpStream,
    head: Vec<u8>,
    discarded: Vec<u8>,
}

/// What a server has answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Bytes of the body.
    pub(crate) length: u64,
    /// Where to go on.
    pub(crate) location: Option<String>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let address = address.to_owned();
        Ok(Self { address, stream, head: Vec::with_capacity(8 << 10), discarded: vec![0; DISCARD] })
    }

    /// One request, and its answer to the last byte, which must have the status `wanted`. `more` are lines of the head.
    pub(crate) fn ask(
        &mut self,
        (method, path): (&str, &str),
        more: &str,
        body: &[&[u8]],
        wanted: u16,
    ) -> Result<Reply> {
        let length: usize = body.iter().map(|piece| piece.len()).sum();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{more}", self.address);
        if !matches!(method, "GET" | "HEAD") {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        self.stream.write_all(head.as_bytes())?;
        for piece in body {
            self.stream.write_all(piece)?;
        }
        let reply = self.read(method == "HEAD")?;
        if reply.status != wanted {
            bail!("{method} {path}: {} instead of {wanted}", reply.status);
        }
        Ok(reply)
    }

    fn read(&mut self, no_body: bool) -> Result<Reply> {
        self.head.clear();
        let end = loop {
            let mut part = [0; 8 << 10];
            let count = self.stream.read(&mut part)?;
            if count == 0 {
                bail!("the server has closed the connection");
            }
            self.head.extend_from_slice(part.get(..count).unwrap_or_default());
            if let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(self.head.get(..end).unwrap_or_default())?;
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let location = field("location");
        let length = field("content-length").map_or(Ok(0), |text| text.parse::<u64>())?;
        let length = if no_body { 0 } else { length };
        let there = (self.head.len() - end) as u64;
        self.discard(length.checked_sub(there).context("more than was announced")?)?;
        Ok(Reply { status, length, location })
    }

    fn discard(&mut self, mut left: u64) -> Result<()> {
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(DISCARD).min(DISCARD);
            let room = self.discarded.get_mut(..most).unwrap_or_default();
            // TCP throws away what is asked for so, up to the length of the buffer, which stays as it is (tcp(7)).
            let (_, count) = rustix::net::recv(&self.stream, room, RecvFlags::TRUNC)?;
            if count == 0 {
                bail!("the server has closed the connection in the middle");
            }
            left -= count as u64;
        }
        Ok(())
    }
}
