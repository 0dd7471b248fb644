//! What builds have left goes: by hand (`builder prune`), when it is more than it may be, and when the disk is too full.
//!
//! Entries go from the one that was used longest ago. What is in use stays, whatever is asked for: the layers that a running build
//! has leased, and cache mounts that a program has. Without `all` stay, too, what images share, for nothing would be won, and what the
//! builder has made for itself.
//!
//! The store's collector is held from before it is looked at what is in use until the layers are gone: so no build can begin to rely on
//! one in between.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use linux::file::{self, Named as _};
use oci::Timestamp;
use state::CacheKind;

use super::cache_mounts::Lock;
use super::kept::{BuildCacheEntry, What};
use crate::images::failed;
use crate::images::pressure::{Space, before};
use crate::info::Pruned;
use crate::{Engine, Error, Result};

/// What of the cache of builds is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneBuildCache {
    /// Also what images share, and what the builder has made for itself.
    pub all: bool,
    /// What was used within this time stays.
    pub unused_for: Duration,
    /// How much may stay; without any limit, nothing.
    pub limits: CacheLimits,
}

/// How much of the cache of builds may stay, in bytes. None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheLimits {
    /// So much stays in any case.
    pub reserved_space: Option<u64>,
    /// It is to take no more than this.
    pub max_used_space: Option<u64>,
    /// So much of the disk is to be free.
    pub min_free_space: Option<u64>,
}

impl CacheLimits {
    /// To how many bytes a cache of `total` is to shrink; none if there is no limit at all.
    fn target(&self, total: u64, free: u64) -> Option<u64> {
        if *self == CacheLimits::default() {
            return None;
        }
        let least = self.reserved_space.unwrap_or(0);
        let excess = self.min_free_space.map(|wanted| wanted.saturating_sub(free));
        let by_free_space = excess.map(|excess| total.saturating_sub(excess));
        // What is reserved alone is the size that it is to have.
        let most = [self.max_used_space, by_free_space].into_iter().flatten().min();
        Some(most.unwrap_or(least).max(least))
    }
}

/// What has gone of the cache of builds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunedBuildCache {
    /// In the order in which it went.
    pub removed: Vec<BuildCacheEntry>,
    /// Bytes freed.
    pub reclaimed: u64,
}

/// A cache mount that has lost its name: where it is, and the lock on it.
type Unnamed = (PathBuf, OwnedFd);

/// Of a disk, what the cache of builds may take if nobody says otherwise: a tenth, and 20 GB where that is more, but never
/// more than a half.
const SHARE: u64 = 10;
const LEAST: u64 = 20_000_000_000;

impl Engine {
    /// Removes what builds have left, except what `keep` keeps.
    ///
    /// # Errors
    /// If something cannot be removed; what was removed before that is gone.
    pub fn prune_build_cache(
        &self,
        request: &PruneBuildCache,
        keep: &dyn Fn(&BuildCacheEntry) -> bool,
    ) -> Result<PrunedBuildCache> {
        let collector = self.store.collector().map_err(failed("lock the store"))?;
        let space = self.space()?;
        let chosen = choose(self.build_cache()?, request, space, state::now(), keep);
        let mut pruned = PrunedBuildCache::default();
        let unnamed = self.forget_kept(chosen, &mut pruned)?;
        let Pruned { reclaimed, .. } = self.collect_by(collector)?;
        pruned.reclaimed += reclaimed;
        // Now that others may publish again: a cache mount may have a million files.
        let paths: Vec<_> = unnamed.iter().map(|(path, _)| path.clone()).collect();
        // The locks go last, and let sweeps have what could not be removed.
        self.remove_trees(&paths)
            .map_err(|source| Error::File { action: "remove what builds have cached", source })?;
        drop(unnamed);
        self.event("builder", "prune", "", &[("reclaimed", &pruned.reclaimed.to_string())]);
        Ok(pruned)
    }

    /// Takes their names from entries; adds those, and the bytes of those that are no layers, to what was `pruned`. The cache mounts
    /// that are to be removed.
    fn forget_kept(
        &self,
        chosen: Vec<BuildCacheEntry>,
        pruned: &mut PrunedBuildCache,
    ) -> Result<Vec<Unnamed>> {
        let records = chosen.iter().filter(|entry| entry.what == What::Record);
        self.state().remove_build_records(records.map(|entry| entry.id.as_str()))?;
        let mut unnamed = Vec::new();
        for entry in chosen {
            match &entry.what {
                What::Record => {}
                What::Context(number) => {
                    self.state().remove_context(*number)?;
                    pruned.reclaimed += entry.size;
                }
                What::Mount(key) => {
                    let Some(taken) = self.take_mount(key)? else { continue };
                    pruned.reclaimed += entry.size;
                    unnamed.extend(taken);
                }
            }
            pruned.removed.push(entry);
        }
        Ok(unnamed)
    }

    /// Takes its name from a cache mount, if nobody uses it; the inner none, if there was no directory.
    fn take_mount(&self, key: &str) -> Result<Option<Option<Unnamed>>> {
        let failed = |source: file::Error| Error::File { action: "remove a cache mount", source };
        let path = self.cache_mount_path(key);
        let taken = match self.lock_cache_mount(key)? {
            Lock::Taken => return Ok(None),
            Lock::Missing => None,
            Lock::Ours(lock) => {
                // An entry of `tmp/` that nobody has locked is garbage: what is not removed below, a sweep removes.
                let unique =
                    crate::create::random::<8>()?.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
                let target = self.config.root.join("tmp").join(format!("mount-{unique:016x}"));
                rustix::fs::rename(&path, &target).named("rename", &path).map_err(failed)?;
                Some((target, lock))
            }
        };
        self.state().remove_cache_mount(key)?;
        Ok(Some(taken))
    }

    /// What the cache of builds may take on this disk if nobody says otherwise.
    ///
    /// # Errors
    /// If the file system cannot be looked at.
    pub fn default_cache_limit(&self) -> Result<u64> {
        Ok(default_limit(self.space()?))
    }

    /// So many percent of the disk, in bytes.
    ///
    /// # Errors
    /// If the file system cannot be looked at.
    pub fn part_of_disk(&self, percent: u8) -> Result<u64> {
        let space = self.space()?;
        Ok(space.used.saturating_add(space.available) / 100 * u64::from(percent))
    }

    /// Removes what was used longest ago as long as the cache of builds takes more than `most` bytes. Costs a query where it does not.
    ///
    /// # Errors
    /// As [`Engine::prune_build_cache`].
    pub fn bound_build_cache(&self, most: u64) -> Result<PrunedBuildCache> {
        if self.state().build_cache_size()? <= most {
            return Ok(PrunedBuildCache::default());
        }
        let limits = CacheLimits { max_used_space: Some(most), ..CacheLimits::default() };
        self.shrink(limits, Duration::ZERO)
    }

    /// Frees so many bytes, as far as what builds have left allows it.
    pub(crate) fn relieve_by_cache(&self, excess: u64, unused_for: Duration) -> Result<PrunedBuildCache> {
        let used = self.state().build_cache_size()?;
        if used == 0 {
            return Ok(PrunedBuildCache::default());
        }
        let free = self.space()?.available;
        let limits =
            CacheLimits { min_free_space: Some(free.saturating_add(excess)), ..CacheLimits::default() };
        self.shrink(limits, unused_for)
    }

    fn shrink(&self, limits: CacheLimits, unused_for: Duration) -> Result<PrunedBuildCache> {
        let request = PruneBuildCache { all: true, unused_for, limits };
        let chosen = choose(self.build_cache()?, &request, self.space()?, state::now(), &|_| false);
        if chosen.is_empty() {
            return Ok(PrunedBuildCache::default());
        }
        // Chosen once more, when nobody can begin to rely on any of it.
        self.prune_build_cache(&request, &|_| false)
    }
}

/// What is to go, in this order, of entries of which the last used comes first.
fn choose(
    entries: Vec<BuildCacheEntry>,
    request: &PruneBuildCache,
    space: Space,
    now: Timestamp,
    keep: &dyn Fn(&BuildCacheEntry) -> bool,
) -> Vec<BuildCacheEntry> {
    let mut total: u64 = entries.iter().filter(|entry| !entry.shared).map(|entry| entry.size).sum();
    let target = request.limits.target(total, space.available);
    let latest = before(now, request.unused_for);
    let mut chosen = Vec::new();
    for entry in entries.into_iter().rev() {
        let is_usual = !entry.shared && !matches!(entry.kind, CacheKind::Internal | CacheKind::Frontend);
        if entry.in_use || entry.last_used > latest || !(request.all || is_usual) || keep(&entry) {
            continue;
        }
        if let Some(target) = target {
            if total <= target {
                break;
            }
            // What is shared makes no room.
            if entry.shared {
                continue;
            }
            total -= entry.size;
        }
        chosen.push(entry);
    }
    chosen
}

fn default_limit(space: Space) -> u64 {
    let size = space.used.saturating_add(space.available);
    (size / SHARE).max(LEAST).min(size / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, size: u64, used: i64) -> BuildCacheEntry {
        let time = |seconds| Timestamp::new(seconds, 0).unwrap();
        BuildCacheEntry {
            id: id.to_owned(),
            parents: Vec::new(),
            kind: CacheKind::Regular,
            description: String::new(),
            in_use: false,
            shared: false,
            mutable: false,
            size,
            created: time(1),
            last_used: time(used),
            uses: 1,
            what: What::Record,
        }
    }

    /// What goes of some entries on a disk with 1000 bytes free, at second 100.
    fn goes(entries: &[BuildCacheEntry], request: &PruneBuildCache) -> String {
        let space = Space { used: 0, available: 1000 };
        let now = Timestamp::new(100, 0).unwrap();
        let chosen = choose(entries.to_vec(), request, space, now, &|entry| entry.id == "kept");
        chosen.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn limits(reserved: Option<u64>, most: Option<u64>, free: Option<u64>) -> PruneBuildCache {
        let limits = CacheLimits { reserved_space: reserved, max_used_space: most, min_free_space: free };
        PruneBuildCache { limits, ..PruneBuildCache::default() }
    }

    #[test]
    fn without_limits_goes_all_but_what_is_in_use_or_kept_the_oldest_first() {
        let mut used = entry("used", 7, 20);
        used.in_use = true;
        let mut shared = entry("shared", 7, 30);
        shared.shared = true;
        let mut internal = entry("internal", 7, 40);
        internal.kind = CacheKind::Internal;
        let entries =
            [entry("new", 1, 90), internal, shared, used, entry("kept", 1, 11), entry("old", 1, 10)];
        let request = PruneBuildCache::default();
        assert_eq!(goes(&entries, &request), "old new");
        assert_eq!(
            goes(&entries, &PruneBuildCache { all: true, ..request.clone() }),
            "old shared internal new"
        );
        let unused_for = Duration::from_secs(60);
        assert_eq!(
            goes(&entries, &PruneBuildCache { all: true, unused_for, ..request.clone() }),
            "old shared internal"
        );
        assert_eq!(goes(&entries, &PruneBuildCache { unused_for: Duration::from_secs(95), ..request }), "");
    }

    #[test]
    fn limits_are_those_of_buildkit() {
        let entries = [entry("d", 40, 4), entry("c", 30, 3), entry("b", 20, 2), entry("a", 10, 1)];
        for (request, want) in [
            (limits(None, Some(100), None), ""),
            (limits(None, Some(99), None), "a"),
            (limits(None, Some(70), None), "a b"),
            (limits(None, Some(0), None), "a b c d"),
            (limits(Some(70), None, None), "a b"),
            (limits(Some(70), Some(10), None), "a b"),
            (limits(Some(0), Some(100), None), ""),
            (limits(None, None, Some(1000)), ""),
            (limits(None, None, Some(1001)), "a"),
            (limits(None, None, Some(1025)), "a b"),
            (limits(None, None, Some(5000)), "a b c d"),
            (limits(Some(90), None, Some(5000)), "a"),
            (limits(None, Some(40), Some(1001)), "a b c"),
            (limits(None, Some(95), Some(1025)), "a b"),
        ] {
            assert_eq!(goes(&entries, &request), want, "{request:?}");
        }
        // What is shared does not count and makes no room.
        let mut shared = entries.to_vec();
        shared[3].shared = true;
        let all = |most| PruneBuildCache { all: true, ..limits(None, Some(most), None) };
        assert_eq!(goes(&shared, &all(90)), "");
        assert_eq!(goes(&shared, &all(89)), "b");
    }

    #[test]
    fn what_a_living_draft_relies_on_stays() {
        use std::io::Write as _;

        use oci::Digest;
        use state::NewBuildRecord;

        let folder = testkit::Scratch::new();
        let engine = crate::build::world::engine(&folder);
        let draft = engine.store.draft().unwrap();
        let mut writer = draft.layer().unwrap();
        writer.write_all(&[0; 1024]).unwrap();
        let layer = writer.finish().unwrap();
        let record = NewBuildRecord {
            keys: &[&Digest::of(b"key")],
            layer: &layer.diff_id,
            size: layer.size,
            kind: CacheKind::Regular,
            parents: &[],
            description: "RUN true",
        };
        engine.state().keep_build_record(&record).unwrap();
        let prune = || {
            let request = PruneBuildCache { all: true, ..PruneBuildCache::default() };
            engine.prune_build_cache(&request, &|_| false).unwrap().removed.len()
        };
        let path = engine.store.layer_path(&layer.diff_id);
        assert_eq!((prune(), path.exists(), engine.build_cache().unwrap()[0].in_use), (0, true, true));
        drop(draft);
        // What has a record outlives its maker.
        drop(engine.store.draft().unwrap());
        assert!(path.exists() && !engine.build_cache().unwrap()[0].in_use);
        assert_eq!((prune(), path.exists()), (1, false));
    }

    #[test]
    fn by_default_it_may_take_a_tenth_or_twenty_gigabytes_and_never_more_than_a_half() {
        const GB: u64 = 1_000_000_000;
        let of = |size: u64| default_limit(Space { used: size / 3, available: size - size / 3 });
        assert_eq!(
            [of(10 * GB), of(30 * GB), of(100 * GB), of(1000 * GB)],
            [5, 15, 20, 100].map(|gb| gb * GB)
        );
        assert_eq!(of(0), 0);
        assert_eq!(default_limit(Space { used: u64::MAX, available: u64::MAX }), u64::MAX / 10);
    }
}
