//! A line to a server that breaks: what goes through is passed on byte for byte, until a connection has carried as much as it
//! may.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The line, at a port of `127.0.0.1`; it ends when this is dropped.
pub struct Cutter {
    address: SocketAddr,
    cuts: Arc<Mutex<Vec<u64>>>,
    carried: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Cutter {
    /// A line to the server at `server`. The first connection that has sent more than the first of `cuts` bytes is cut there,
    /// then the first one that has sent more than the second, and so on; those that come later last.
    pub fn new(server: &str, cuts: &[u64]) -> Cutter {
        let socket = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = socket.local_addr().expect("an address");
        let cuts = Arc::new(Mutex::new(cuts.to_vec()));
        let (carried, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (left, count, over) = (Arc::clone(&cuts), Arc::clone(&carried), Arc::clone(&is_over));
        let server = server.to_owned();
        let listener = std::thread::spawn(move || {
            for client in socket.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(client) = client else { continue };
                let (server, left, count) = (server.clone(), Arc::clone(&left), Arc::clone(&count));
                // Both ways end with their ends.
                std::thread::spawn(move || {
                    let Ok(upstream) = TcpStream::connect(server) else { return };
                    let ends =
                        (client.try_clone().expect("a socket"), upstream.try_clone().expect("a socket"));
                    let back = std::thread::spawn(move || pass(&ends.1, &ends.0, None, &AtomicU64::new(0)));
                    pass(&client, &upstream, Some(&left), &count);
                    drop(back.join());
                });
            }
        });
        Cutter { address, cuts, carried, is_over, listener: Some(listener) }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts that have not happened.
    pub fn left(&self) -> usize {
        self.cuts.lock().expect("the cuts").len()
    }

    /// Bytes that clients have sent through it.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

/// Passes on what comes until its end, or a cut.
fn pass(mut from: &TcpStream, mut to: &TcpStream, cuts: Option<&Mutex<Vec<u64>>>, carried: &AtomicU64) {
    let mut sent = 0_u64;
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        sent += read as u64;
        let cut = cuts.and_then(|cuts| {
            let mut cuts = cuts.lock().expect("the cuts");
            cuts.first().is_some_and(|cut| sent > *cut).then(|| cuts.remove(0))
        });
        if let Some(cut) = cut {
            let before = read.saturating_sub(usize::try_from(sent - cut).unwrap_or(read));
            carried.fetch_add(before as u64, Ordering::SeqCst);
            drop(to.write_all(&buffer[..before]));
            drop(to.shutdown(Shutdown::Both));
            drop(from.shutdown(Shutdown::Both));
            return;
        }
        carried.fetch_add(read as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
    drop(from.shutdown(Shutdown::Read));
}
