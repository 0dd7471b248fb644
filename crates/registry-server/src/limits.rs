//! What one client, and all of them, may have at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::{HeaderValue, RETRY_AFTER};

use crate::http::refusal::{Code, Refusal};

/// Uploads that may be open at once, each with a descriptor and a hash in memory.
const OPEN_UPLOADS: usize = 4096;

/// Bodies that are being received, by client.
#[derive(Debug)]
pub(crate) struct Limits {
    per_client: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Leave to send a body; given back on drop.
#[derive(Debug)]
pub(crate) struct Seat {
    peer: IpAddr,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Limits {
    /// Each client may send `per_client` bodies at once.
    pub(crate) fn new(per_client: usize) -> Self {
        Self { per_client, taken: Arc::default() }
    }

    /// Takes a seat for a client.
    pub(crate) fn seat(&self, peer: IpAddr) -> Result<Seat, Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(peer).or_default();
        if *count >= self.per_client {
            let why = format!("more than {} uploads at once", self.per_client);
            return Err(later(why));
        }
        *count += 1;
        Ok(Seat { peer, taken: self.taken.clone() })
    }

    /// Whether one more upload may be begun beside those that are open.
    pub(crate) fn check_open(&self, open: usize) -> Result<(), Refusal> {
        if open >= OPEN_UPLOADS {
            return Err(later(format!("more than {OPEN_UPLOADS} uploads are open")));
        }
        Ok(())
    }
}

fn later(why: String) -> Refusal {
    Refusal::new(Code::TooManyRequests, why).header(RETRY_AFTER, HeaderValue::from_static("1"))
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_seats_and_gets_them_back() {
        let limits = Limits::new(2);
        let (one, two): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let first = limits.seat(one).unwrap();
        let _second = limits.seat(one).unwrap();
        assert!(limits.seat(one).is_err());
        assert!(limits.seat(two).is_ok());
        drop(first);
        assert!(limits.seat(one).is_ok());
    }
}
