//! What is kept of builds, for the solver: rows of `state.db`, and locks on bytes of one file.
//!
//! ```text
//! <root>/cache/claims     empty; whoever works on a key has the lock on the byte that its first 62 bits number
//! ```
//!
//! A claim is a lock of an open file of its own: it ends with its process, however that dies, and keeps out other threads of the
//! same process as well as other processes. Nothing is made and nothing left for a key, so there is nothing to clean up. That two keys
//! have the same byte is as good as impossible, and would make one wait for the other.
//!
//! What the solver finds is counted in memory, and written once when the cache is dropped: a hit costs one query.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use build::{Cache, Claim, Key, Record, Step};
use dockerfile::lower::{Node, Op};
use linux::file::{self, Named as _};
use oci::Digest;
use rustix::fs::{Mode, OFlags};
use state::{CacheKind, FoundRecord, NewBuildRecord};

use super::waiting::Queue;
use crate::{Engine, Error, Result};

/// How long is waited between two looks at a claim, at first and at most.
const FIRST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// The cache as one build sees it.
pub(super) struct RecordCache<'e> {
    engine: &'e Engine,
    /// How often each record was found.
    found: Mutex<BTreeMap<String, u64>>,
}

impl<'e> RecordCache<'e> {
    /// The cache of a root.
    pub(super) fn new(engine: &'e Engine) -> Self {
        Self { engine, found: Mutex::default() }
    }

    fn found(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known by a key.
    pub(super) fn look(&self, key: &Key) -> Result<Option<FoundRecord>> {
        let found = self.engine.state().find_build_record(key.digest())?;
        if let Some(found) = &found {
            *self.found().entry(found.id.clone()).or_default() += 1;
        }
        Ok(found)
    }

    /// Keeps a record, and tells by which id it is known.
    pub(super) fn keep_as(&self, keys: &[Key], record: &Record, node: &Node) -> Result<String> {
        let keys: Vec<_> = keys.iter().map(Key::digest).collect();
        let (layer, size, kind) = (&record.layer, record.size, kind_of(node));
        let record = NewBuildRecord { keys: &keys, layer, size, kind, parents: &[], description: &node.name };
        Ok(self.engine.state().keep_build_record(&record)?)
    }

    /// All keys by which a record is known, the newest first.
    pub(super) fn keys_of(&self, id: &str) -> Result<Vec<Digest>> {
        Ok(self.engine.state().keys_of_build_record(id)?)
    }

    fn claims_path(&self) -> PathBuf {
        self.engine.config.root.join("cache/claims")
    }

    /// A file of which one byte can be locked.
    fn claims(&self) -> file::Result<OwnedFd> {
        let path = self.claims_path();
        let open = || {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).named("open", &path)
        };
        match open() {
            Err(error) if error.is_missing() => {
                file::create_dirs(&self.engine.config.root.join("cache"), 0o700)?;
                open()
            }
            opened => opened,
        }
    }
}

impl Cache for RecordCache<'_> {
    type Error = Error;

    fn find(&self, key: &Key) -> Result<Option<Record>> {
        Ok(self.look(key)?.map(|found| Record { layer: found.layer, size: found.size }))
    }

    fn keep(&self, keys: &[Key], record: &Record, node: &Node) -> Result<()> {
        self.keep_as(keys, record, node).map(drop)
    }

    fn claim(&self, key: &Key, step: &Step<'_>) -> Result<Option<Claim>> {
        let file = self.claims().map_err(failed_claim)?;
        let byte = byte_of(key);
        let mut nap = FIRST_NAP;
        let mut queue = Queue::new(&|| "waiting for another build that does the same step".to_owned());
        loop {
            let taken = linux::lock::lock_byte_for_file(&file, byte).named("lock", &self.claims_path());
            if taken.map_err(failed_claim)? {
                queue.ends(&|what| step.progress(what, 0, Some(0)));
                return Ok(Some(Box::new(file)));
            }
            queue.goes_on(&|what| step.progress(what, 0, None));
            if step.cancel.wait(nap) {
                return Ok(None);
            }
            nap = (nap * 2).min(LONGEST_NAP);
        }
    }
}

impl Drop for RecordCache<'_> {
    fn drop(&mut self) {
        let found = std::mem::take(&mut *self.found());
        if found.is_empty() {
            return;
        }
        let found = found.iter().map(|(id, times)| (id.as_str(), *times));
        if let Err(error) = self.engine.state().count_build_uses(found) {
            // The numbers decide which records go first, and nothing else.
            tracing::warn!(%error, "cannot note what a build has used of its cache");
        }
    }
}

/// What Docker calls what a node has made.
fn kind_of(node: &Node) -> CacheKind {
    match node.op {
        Op::Git(_) => CacheKind::SourceGitCheckout,
        Op::Context { .. } => CacheKind::SourceLocal,
        Op::Scratch | Op::Inline { .. } => CacheKind::Internal,
        Op::Image { .. }
        | Op::Http { .. }
        | Op::Run(_)
        | Op::Copy(_)
        | Op::MakeDirectory { .. }
        | Op::Merge => CacheKind::Regular,
    }
}

fn failed_claim(source: file::Error) -> Error {
    Error::File { action: "claim a step of a build", source }
}

/// The byte that stands for a key, within what a file may have.
fn byte_of(key: &Key) -> i64 {
    let digits = key.digest().encoded().get(..16).unwrap_or_default();
    i64::try_from(u64::from_str_radix(digits, 16).unwrap_or(0) >> 2).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests start themselves again")]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use build::Cancel;
    use oci::DiffId;

    use super::*;
    use crate::build::world::engine;

    fn step(cancel: &Cancel) -> Step<'_> {
        Step::new(0, cancel, &|_| {})
    }

    fn key(text: &str) -> Key {
        Key::of("test", [text])
    }

    fn node(op: Op, name: &str) -> Node {
        Node {
            op,
            inputs: Vec::new(),
            digest: Digest::of(name.as_bytes()),
            name: name.to_owned(),
            span: None,
        }
    }

    #[test]
    fn what_is_kept_is_found_and_uses_are_written_at_the_end() {
        let folder = testkit::Scratch::new();
        let engine = engine(&folder);
        let cache = RecordCache::new(&engine);
        let record = Record { layer: DiffId::try_from(Digest::of(b"layer")).unwrap(), size: 5 };
        assert_eq!(cache.find(&key("a")).unwrap(), None);
        cache.keep(&[key("a"), key("b")], &record, &node(Op::Merge, "[2/2] COPY . .")).unwrap();
        for name in ["a", "b", "a"] {
            assert_eq!(cache.find(&key(name)).unwrap(), Some(record.clone()));
        }
        let kept = || engine.state().build_records().unwrap().swap_remove(0);
        assert_eq!((kept().uses, kept().kind), (1, CacheKind::Regular));
        drop(cache);
        assert_eq!((kept().uses, kept().description.as_str()), (4, "[2/2] COPY . ."));
    }

    #[test]
    fn a_claim_keeps_out_other_threads_and_handles_and_nobody_else() {
        let folder = testkit::Scratch::new();
        let (engine, cancel) = (engine(&folder), Cancel::new());
        let at_work = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (engine, cancel, at_work) = (&engine, &cancel, &at_work);
                scope.spawn(move || {
                    let cache = RecordCache::new(engine);
                    for _ in 0..5 {
                        let claim = cache.claim(&key("same"), &step(cancel)).unwrap().unwrap();
                        assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                        let other = cache.claim(&key(&format!("{number}")), &step(cancel)).unwrap();
                        assert!(other.is_some());
                        at_work.fetch_sub(1, Ordering::SeqCst);
                        drop(claim);
                    }
                });
            }
        });
        let names = std::fs::read_dir(folder.join("root/cache")).unwrap().count();
        assert_eq!(names, 1, "nothing is left for a key");
        assert_eq!(std::fs::metadata(folder.join("root/cache/claims")).unwrap().len(), 0);
    }

    #[test]
    fn who_waits_for_a_claim_sees_the_end_of_his_build() {
        let folder = testkit::Scratch::new();
        let engine = engine(&folder);
        let cache = RecordCache::new(&engine);
        let _claim = cache.claim(&key("a"), &step(&Cancel::new())).unwrap().unwrap();
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cache.claim(&key("a"), &step(&cancel)).unwrap().is_none());
            std::thread::sleep(Duration::from_millis(100));
            let begun = Instant::now();
            cancel.cancel();
            assert!(waiting.join().unwrap());
            assert!(begun.elapsed() < Duration::from_secs(5));
        });
    }

    /// A child claims a step, says so, and is killed.
    #[test]
    fn a_claim_ends_with_its_process() {
        let claimed = key("a");
        if let Some(folder) = std::env::var_os("SKIFF_CLAIM_TEST") {
            let engine = engine(folder.as_ref());
            let _claim = RecordCache::new(&engine).claim(&claimed, &step(&Cancel::new())).unwrap().unwrap();
            writeln!(std::io::stdout(), "claimed").unwrap();
            std::thread::sleep(Duration::from_secs(60));
            return;
        }
        let folder = testkit::Scratch::new();
        let engine = engine(&folder);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "build::cache::tests::a_claim_ends_with_its_process"])
            .env("SKIFF_CLAIM_TEST", folder.as_os_str())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines =
            BufReader::new(child.stdout.take().unwrap()).lines().map_while(std::result::Result::ok);
        assert!(lines.any(|line| line.contains("claimed")));
        let cache = RecordCache::new(&engine);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| cache.claim(&claimed, &step(&Cancel::new())).unwrap().is_some());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished(), "the child lives");
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(waiting.join().unwrap());
        });
    }
}
