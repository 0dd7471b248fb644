//! Collection under pressure: when the disk is fuller than it may be, images go until it is as empty as it should be.
//!
//! Those that a container was last made from longest ago go first. What containers use, or the caller keeps, stays, however
//! full the disk is.

use std::time::Duration;

use oci::{Digest, Timestamp};

use crate::build::BuildCacheEntry;
use crate::info::{ImageSummary, Pruned};
use crate::usage::Parts;
use crate::{Engine, Error, Result};

/// How full the file system of the root may be, and what of images may go then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Percent above which images go.
    pub high: u8,
    /// Percent at which no more go.
    pub low: u8,
    /// What was used within this time stays.
    pub unused_for: Duration,
}

/// What collection under pressure has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relief {
    /// Percent of the file system that were taken.
    pub full: u8,
    /// What is gone, and all that was freed; nothing where there was no pressure.
    pub pruned: Pruned,
    /// What is gone of the cache of builds, which goes before any image.
    pub cache: Vec<BuildCacheEntry>,
}

impl Engine {
    /// Removes what builds have kept, and then images, while the disk is fuller than `pressure` allows, except those images that
    /// `keep` keeps.
    pub fn relieve(&self, pressure: &Pressure, keep: &dyn Fn(&ImageSummary) -> bool) -> Result<Relief> {
        let space = self.space()?;
        let mut relief = Relief { full: space.percent(), ..Relief::default() };
        let mut excess = space.excess(pressure);
        if excess == 0 {
            return Ok(relief);
        }
        if self.store.has_begun() {
            // Before anything that somebody has wanted whole.
            relief.pruned = self.collect(true)?;
            excess = self.space()?.excess(pressure);
        }
        // Then what can be made again from what is here.
        let cache = self.relieve_by_cache(excess, pressure.unused_for)?;
        if !cache.removed.is_empty() {
            relief.pruned.reclaimed += cache.reclaimed;
            relief.cache = cache.removed;
            excess = excess.saturating_sub(cache.reclaimed);
        }
        if excess == 0 {
            self.tell_of(&relief);
            return Ok(relief);
        }
        let latest = before(state::now(), pressure.unused_for);
        let images = self.images()?;
        let mut parts = Parts::default();
        for image in &images {
            let id = self.resolve_image(&image.id)?;
            if !image.is_platform() {
                parts.add(self, &id, &image.id)?;
            }
            // It goes with the names that lead to it.
            let leads = |other: &&ImageSummary| other.tags.iter().any(|tag| image.through.contains(tag));
            for other in images.iter().filter(leads) {
                parts.add(self, &id, &other.id)?;
            }
        }
        let mut candidates: Vec<&ImageSummary> = images
            .iter()
            .filter(|image| {
                !image.in_use && !image.is_platform() && image.last_used <= latest && !keep(image)
            })
            .collect();
        candidates.sort_by_key(|image| image.last_used);
        let ids: Vec<&str> = candidates.iter().map(|image| image.id.as_str()).collect();
        let count = parts.first_that_free(&ids, excess);
        let chosen: Vec<Digest> =
            ids.into_iter().take(count).map(|id| self.resolve_image(id)).collect::<Result<_>>()?;
        relief.pruned.removed.extend(self.forget_with_platforms(&chosen)?);
        if count > 0 {
            let collected = self.collect(true)?;
            relief.pruned.removed.extend(collected.removed);
            relief.pruned.reclaimed += collected.reclaimed;
        }
        self.tell_of(&relief);
        Ok(relief)
    }

    fn tell_of(&self, relief: &Relief) {
        if relief.pruned != Pruned::default() {
            self.event("image", "prune", "", &[("reclaimed", &relief.pruned.reclaimed.to_string())]);
        }
    }

    pub(crate) fn space(&self) -> Result<Space> {
        let found = rustix::fs::statvfs(&self.config.root).map_err(|errno| Error::File {
            action: "see how full the disk is",
            source: linux::file::Error {
                action: "look at the file system of",
                path: self.config.root.clone(),
                source: errno.into(),
            },
        })?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space {
            used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
            available: bytes(found.f_bavail),
        })
    }
}

/// Bytes of a file system, as df(1) sees it: what is set aside for root is neither used nor available.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) used: u64,
    pub(crate) available: u64,
}

impl Space {
    /// Rounded up, as df(1) does.
    fn percent(self) -> u8 {
        let total = u128::from(self.used) + u128::from(self.available);
        u8::try_from((u128::from(self.used) * 100).div_ceil(total.max(1))).unwrap_or(100)
    }

    /// Bytes to free until the low mark is reached; none as long as the high one is not passed.
    fn excess(self, marks: &Pressure) -> u64 {
        let total = u128::from(self.used) + u128::from(self.available);
        let at = |percent: u8| u64::try_from(total * u128::from(percent) / 100).unwrap_or(u64::MAX);
        if self.used <= at(marks.high) {
            return 0;
        }
        self.used - at(marks.low.min(marks.high))
    }
}

pub(crate) fn before(now: Timestamp, age: Duration) -> Timestamp {
    let seconds = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    Timestamp::new(now.seconds().saturating_sub(seconds), now.nanoseconds()).unwrap_or(Timestamp::EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(high: u8, low: u8) -> Pressure {
        Pressure { high, low, unused_for: Duration::ZERO }
    }

    #[test]
    fn nothing_is_too_much_up_to_the_high_mark_and_beyond_it_everything_above_the_low_one() {
        let space = |used| Space { used, available: 1000 - used };
        assert_eq!(space(850).excess(&marks(85, 80)), 0);
        assert_eq!(space(851).excess(&marks(85, 80)), 51);
        assert_eq!(space(900).excess(&marks(85, 85)), 50);
        // A low mark above the high one is the high one.
        assert_eq!(space(900).excess(&marks(85, 95)), 50);
        assert_eq!(space(0).excess(&marks(0, 0)), 0);
        assert_eq!(Space { used: 0, available: 0 }.excess(&marks(85, 80)), 0);
        let vast = Space { used: u64::MAX, available: u64::MAX };
        assert_eq!((vast.percent(), vast.excess(&marks(100, 0))), (50, 0));
        assert_eq!((space(851).percent(), space(1000).percent(), space(0).percent()), (86, 100, 0));
    }

    #[test]
    fn an_age_reaches_back_as_far_as_time_does() {
        let now = Timestamp::new(1_000, 7).unwrap();
        assert_eq!(before(now, Duration::from_secs(60)), Timestamp::new(940, 7).unwrap());
        assert!(before(now, Duration::MAX) <= Timestamp::EPOCH);
    }
}
