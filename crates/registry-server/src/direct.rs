//! Pieces of files that the kernel sends, without a copy of them ever being here.
//!
//! hyper writes what bodies give it, and knows of bytes in memory alone. So a body that has a piece of a file gives a stand-in
//! of the same length, and puts the piece into its connection's queue; the connection has the kernel send the piece when it is
//! to write the stand-in.
//!
//! ```text
//! body ──── stand-in of n bytes ───► hyper ─── head, stand-in ───► Direct ─── writev(head), sendfile(piece) ───► socket
//!   └────── file, from where, n ──────────► Pieces ───────────────────┘
//! ```
//!
//! What must hold: **nothing of a stand-in is ever sent.** What is to be written while a piece waits has the piece's stand-in in it,
//! and at the byte where the piece is; where it has not, as if hyper had copied it, the connection is cut.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of the largest piece.
pub(crate) const PIECE: usize = 1 << 20;

/// What stands in for all pieces. Nobody reads it, so it takes addresses and no memory.
static STAND_IN: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(vec![0; PIECE]));

/// The pieces that one connection has to send, in their order.
#[derive(Debug, Default)]
pub(crate) struct Pieces(Mutex<VecDeque<Piece>>);

#[derive(Debug)]
struct Piece {
    file: Arc<File>,
    /// Where it begins in the file.
    from: u64,
    length: usize,
    sent: usize,
}

impl Pieces {
    /// Has so many bytes of a file sent in place of those that are returned; at most [`PIECE`].
    pub(crate) fn add(&self, file: &Arc<File>, from: u64, length: usize) -> Bytes {
        let stand_in = STAND_IN.slice(..length.min(PIECE));
        let piece = Piece { file: Arc::clone(file), from, length: stand_in.len(), sent: 0 };
        self.queue().push_back(piece);
        stand_in
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Piece>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done first of writing `slices`.
    fn next(&self, slices: &[IoSlice<'_>]) -> io::Result<Next> {
        let queue = self.queue();
        let stands_at = slices.iter().enumerate().find_map(|(place, slice)| Some((place, offset(slice)?)));
        match (queue.front(), stands_at) {
            (None, None) => Ok(Next::Bytes(slices.len())),
            (Some(piece), Some((place, offset))) if offset == piece.sent => {
                if slices.iter().take(place).any(|slice| !slice.is_empty()) {
                    return Ok(Next::Bytes(place));
                }
                let length = slices.get(place).map_or(0, |slice| slice.len());
                let from = piece.from + piece.sent as u64;
                Ok(Next::Piece(Arc::clone(&piece.file), from, length.min(piece.length - piece.sent)))
            }
            (Some(_) | None, _) => Err(io::Error::other("what is to be sent is not what a body gave")),
        }
    }

    /// So many bytes of the first piece were sent.
    fn advance(&self, bytes: usize) {
        let mut queue = self.queue();
        if let Some(piece) = queue.front_mut() {
            piece.sent += bytes;
            if piece.sent >= piece.length {
                queue.pop_front();
            }
        }
    }
}

/// What can be written at once.
#[derive(Debug)]
enum Next {
    /// So many slices, as they are.
    Bytes(usize),
    /// A part of a file.
    Piece(Arc<File>, u64, usize),
}

/// Where a slice begins within the stand-in.
fn offset(slice: &[u8]) -> Option<usize> {
    let within = slice.as_ptr().addr().checked_sub(STAND_IN.as_ptr().addr())?;
    (!slice.is_empty() && within + slice.len() <= PIECE).then_some(within)
}

/// A connection that sends pieces of files.
#[derive(Debug)]
pub(crate) struct Direct {
    stream: TcpStream,
    pieces: Arc<Pieces>,
}

impl Direct {
    pub(crate) fn new(stream: TcpStream, pieces: Arc<Pieces>) -> Self {
        Self { stream, pieces }
    }

    fn poll_send(
        &self,
        (file, from, length): (&File, u64, usize),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            let sent = self.stream.try_io(Interest::WRITABLE, || {
                let send = || rustix::fs::sendfile(&self.stream, file, Some(&mut { from }), length);
                Ok(rustix::io::retry_on_intr(send)?)
            });
            match sent {
                Ok(0) => {
                    let why = "a blob is shorter than its record says";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)));
                }
                Ok(bytes) => {
                    self.pieces.advance(bytes);
                    return Poll::Ready(Ok(bytes));
                }
                // Readiness was stale: wait for the next.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Direct {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Direct {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        content: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(content)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.pieces.next(slices)? {
            Next::Bytes(count) => {
                let slices = slices.get(..count).unwrap_or_default();
                Pin::new(&mut self.stream).poll_write_vectored(context, slices)
            }
            Next::Piece(file, from, length) => self.poll_send((&file, from, length), context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<File> {
        Arc::new(File::open("/dev/null").unwrap())
    }

    #[test]
    fn heads_go_before_their_piece_and_pieces_in_their_order() {
        let pieces = Pieces::default();
        let head = IoSlice::new(b"head");
        assert!(matches!(pieces.next(&[head, head]).unwrap(), Next::Bytes(2)));
        let (first, second) = (pieces.add(&file(), 7, 100), pieces.add(&file(), 107, 50));
        let (both, rest) = ([head, IoSlice::new(&first), IoSlice::new(&second)], first.slice(60..));
        assert!(matches!(pieces.next(&both).unwrap(), Next::Bytes(1)));
        assert!(matches!(pieces.next(&both[1..]).unwrap(), Next::Piece(_, 7, 100)));
        pieces.advance(60);
        let left = [IoSlice::new(&rest), IoSlice::new(&second)];
        assert!(matches!(pieces.next(&left).unwrap(), Next::Piece(_, 67, 40)));
        pieces.advance(40);
        assert!(matches!(pieces.next(&left[1..]).unwrap(), Next::Piece(_, 107, 50)));
        pieces.advance(50);
        assert!(matches!(pieces.next(&[head]).unwrap(), Next::Bytes(1)));
    }

    #[test]
    fn a_stand_in_that_was_copied_or_is_another_ones_is_never_sent() {
        let pieces = Pieces::default();
        let stray = STAND_IN.slice(..10);
        assert!(pieces.next(&[IoSlice::new(&stray)]).is_err(), "no piece waits for it");
        let given = pieces.add(&file(), 0, 10);
        let copied = given.to_vec();
        assert!(pieces.next(&[IoSlice::new(&copied)]).is_err(), "its copy");
        let flattened = [b"head".as_slice(), &copied].concat();
        assert!(pieces.next(&[IoSlice::new(&flattened)]).is_err());
        assert!(pieces.next(&[IoSlice::new(&given[5..])]).is_err(), "half of it was never sent");
        assert!(pieces.next(&[IoSlice::new(&given)]).is_ok());
    }
}
