//! What clients were told is there, and rely on without pushing it.
//!
//! Kept in memory: a lease is renewed by every pull, and losing them all only means to wait. A collector holds the table
//! from before it decides until its decision is committed, so that whoever renews a lease does so before the decision, which
//! then spares the blob, or after the commit, and finds it gone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use oci::Digest;

use crate::names::Repository;

/// Leases that are kept. Beyond that, nothing is collected for a grace period: cheaper than memory without bound.
const MOST: usize = 200_000;

#[derive(Debug)]
pub(crate) struct Leases {
    grace: Duration,
    table: Mutex<Table>,
}

/// The leases as a collector sees them.
#[derive(Debug)]
pub(crate) struct Table {
    renewed: HashMap<(Repository, Digest), Instant>,
    /// Until then there may be leases that are not in the table.
    unsure_until: Instant,
}

impl Leases {
    pub(crate) fn new(grace: Duration) -> Self {
        let table = Table { renewed: HashMap::new(), unsure_until: Instant::now() + grace };
        Self { grace, table: Mutex::new(table) }
    }

    pub(crate) fn renew(&self, repository: &Repository, digest: &Digest) {
        let mut table = self.hold();
        if table.renewed.len() >= MOST {
            table.renewed.clear();
            table.unsure_until = Instant::now() + self.grace;
        }
        table.renewed.insert((repository.clone(), digest.clone()), Instant::now());
    }

    /// Keeps everybody from renewing.
    pub(crate) fn hold(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn grace(&self) -> Duration {
        self.grace
    }

    /// Forgets what has run out.
    pub(crate) fn prune(&self) {
        let grace = self.grace;
        self.hold().renewed.retain(|_, renewed| renewed.elapsed() < grace);
    }
}

impl Table {
    /// Whether the table holds every lease there is.
    pub(crate) fn is_sure(&self) -> bool {
        Instant::now() >= self.unsure_until
    }

    /// Whether a client may still rely on the blob.
    pub(crate) fn holds(&self, repository: &Repository, digest: &Digest, grace: Duration) -> bool {
        // The key has to be owned; candidates are few.
        let key = (repository.clone(), digest.clone());
        self.renewed.get(&key).is_some_and(|renewed| renewed.elapsed() < grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_leases_stop_collection_and_not_the_server() {
        let leases = Leases::new(Duration::from_millis(50));
        assert!(!leases.hold().is_sure(), "a server that has just begun knows no leases");
        std::thread::sleep(Duration::from_millis(60));
        assert!(leases.hold().is_sure());
        let repository = Repository::parse("a").unwrap();
        for number in 0..=MOST {
            leases.renew(
                &repository,
                &Digest::from_sha256(std::array::from_fn(|at| number.to_le_bytes()[at % 8])),
            );
        }
        assert!(!leases.hold().is_sure());
        assert!(leases.hold().renewed.len() <= MOST);
        std::thread::sleep(Duration::from_millis(60));
        leases.prune();
        assert!(leases.hold().is_sure() && leases.hold().renewed.is_empty());
    }
}
