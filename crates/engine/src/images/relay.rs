//! A blob on its way from one registry to another. Each has its own connection, and whoever sends cannot wait for another one
//! meanwhile: a thread reads, a little ahead.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use oci::Descriptor;
use registry_client::Repository;

/// Bytes that are handed over at once, and how many such pieces wait at most.
const PIECE: usize = 256 << 10;
const AHEAD: usize = 4;

/// The content of a blob, as another thread reads it; that ends with this.
pub(super) struct Relay {
    pieces: Receiver<io::Result<Vec<u8>>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Relay {
    /// Begins to read a blob behind so many bytes. What goes wrong is told by the first read.
    pub(super) fn begin(source: &Repository, blob: &Descriptor, from: u64) -> Relay {
        let (given, pieces) = sync_channel(AHEAD);
        let (source, blob) = (source.clone(), blob.clone());
        std::thread::spawn(move || {
            if let Err(error) = read(&source, &blob, from, &given) {
                // Nobody may be there any more to hear of it.
                drop(given.send(Err(error)));
            }
        });
        Relay { pieces, piece: io::Cursor::default() }
    }
}

fn read(
    source: &Repository,
    blob: &Descriptor,
    from: u64,
    given: &SyncSender<io::Result<Vec<u8>>>,
) -> io::Result<()> {
    let mut content = source.rest_of_blob(blob, from).map_err(io::Error::other)?;
    loop {
        let mut piece = vec![0; PIECE];
        let length = content.read(&mut piece)?;
        piece.truncate(length);
        if length == 0 || given.send(Ok(piece)).is_err() {
            return Ok(());
        }
    }
}

impl Read for Relay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.piece.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.pieces.recv() {
                Ok(piece) => self.piece = io::Cursor::new(piece?),
                Err(_) => return Ok(0),
            }
        }
    }
}
