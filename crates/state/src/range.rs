//! The pool of host ids that containers' user namespaces map to.
//!
//! Every container has a range of 65,536 ids for itself, so that no two containers share an id and none shares
//! one with the host. The pool is the upper half of the id space, which nobody else hands out: useradd's
//! subordinate ids end at 600,100,000 and systemd's containers at 1,879,048,191.
//!
//! A container's slot follows from its random id, so ranges are spread over the pool and one that became free
//! is not taken again at once: a file that a removed container left in a bind mount is not the next one's.

use oci::ContainerId;
use rusqlite::OptionalExtension;

use crate::container::bytes_of;
use crate::{Error, Result, State};

/// A run of id ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdPool {
    base: u32,
    count: u32,
}

impl IdPool {
    /// Ids in one range.
    pub const RANGE: u32 = 65_536;

    /// 0x80000000 to 0xfffdffff. The last two ranges stay free: they hold -1 and -2, which mean "no id".
    pub const DEFAULT: IdPool = IdPool { base: 0x8000_0000, count: 0x7ffe };

    /// The first id of the range that programs of builds run with, below the pool: they have no record that could name one
    /// of their own. Nobody else has it: systemd's foreign ids end right before.
    pub const BUILDS: u32 = 0x7fff_0000;

    /// The first id of a range.
    pub fn base_of(self, slot: u32) -> u32 {
        self.base + (slot % self.count) * Self::RANGE
    }
}

impl State {
    /// A slot of the pool that no container has. Almost always the first look finds one.
    pub(crate) fn free_slot(&self, pool: IdPool, id: &ContainerId) -> Result<u32> {
        let bytes = bytes_of(id);
        let wanted = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) % pool.count;
        if !self.slot_taken(wanted)? {
            return Ok(wanted);
        }
        let after = self.gap_from(wanted)?;
        if after < pool.count {
            return Ok(after);
        }
        let first = if self.slot_taken(0)? { self.gap_from(0)? } else { 0 };
        if first < pool.count {
            return Ok(first);
        }
        Err(Error::NoRange { base: pool.base, count: pool.count })
    }

    fn slot_taken(&self, slot: u32) -> Result<bool> {
        self.query("look for a free id range", |connection| {
            connection.prepare_cached("SELECT 1 FROM containers WHERE slot = ?1")?.exists([slot])
        })
    }

    /// The first free slot after `slot`, which is taken: it follows the end of the run of taken ones.
    fn gap_from(&self, slot: u32) -> Result<u32> {
        let end = self.query("look for a free id range", |connection| {
            connection
                .prepare_cached(
                    "SELECT slot FROM containers AS here WHERE slot >= ?1 AND NOT EXISTS \
                     (SELECT 1 FROM containers WHERE slot = here.slot + 1) ORDER BY slot LIMIT 1",
                )?
                .query_row([slot], |row| row.get::<_, u32>(0))
                .optional()
        })?;
        Ok(end.unwrap_or(slot) + 1)
    }
}
