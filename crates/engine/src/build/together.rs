//! Several builds of one command, side by side: what a bake file asks for.
//!
//! ```text
//! builds, in an order in which each comes after those that it has as contexts
//!    │ taken one after the other by a few threads
//!    ├─► session ─► frontend ─► solve ─► put: configs and trees ─► export
//!    └─► session ─► frontend: waits for what it has as a context ─► solve ─► …
//! ```
//!
//! Each is a build of its own, with its own graph: equal steps of several are done once all the same, as by builds of different
//! commands, since whoever works on a step has a claim on its key. The first that fails ends the others, as one that waits for
//! a result would wait for ever otherwise; and it ends the client, as whoever waits in the network hears of nothing else. Vertices of
//! all have numbers of one row, and names with the build's. Programs of all share one number of places: each build takes no more than it
//! would alone, and a program begins when it has one of the common ones, too.
//!
//! Layers that one has made for another stay by a draft of this module's until all are done. Nobody waits in a circle: a build
//! only waits for one that comes before it, which some thread has taken by then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use build::Cancel;
use image::Draft;
use oci::Platform;
use registry_client::Client;

use super::export::{Origin, Product};
use super::parallel::with_help;
use super::progress::{Numbers, Progress};
use super::{BuildError, BuildWatch, PROGRAMS};
use crate::images::failed;
use crate::info::Built;
use crate::request::{Build, NamedContext};
use crate::{Engine, Error, Result};

/// Builds that are worked on at once.
const MOST: usize = 16;
/// How often who waits for a result looks whether the build was cancelled.
const NAP: Duration = Duration::from_millis(20);

/// Why builds of one command did not all succeed.
#[derive(Debug, thiserror::Error)]
#[error("target {name}")]
pub struct TargetFailed {
    /// The first that failed.
    pub name: String,
    /// Why.
    #[source]
    pub error: Box<Error>,
}

/// What the builds of one command know of each other.
pub(super) struct Together<'e> {
    results: Mutex<BTreeMap<String, Arc<Made>>>,
    changed: Condvar,
    draft: Draft<'e>,
    /// The builds that others have as contexts.
    wanted: BTreeSet<&'e str>,
    places: Places,
}

/// What a build has made, for others that have it as a context.
pub(super) struct Made {
    pub(super) products: Vec<Product>,
    /// Where each of them comes from.
    pub(super) origins: Vec<Origin>,
}

impl Made {
    /// The product for a platform: the very one, or the only one that there is.
    pub(super) fn product(&self, platform: &Platform) -> Option<&Product> {
        self.products.get(self.number(platform)?)
    }

    /// Where that product comes from.
    pub(super) fn origin(&self, platform: &Platform) -> Option<&Origin> {
        self.origins.get(self.number(platform)?)
    }

    fn number(&self, platform: &Platform) -> Option<usize> {
        let is_it = |product: &Product| product.platform.normalized() == platform.normalized();
        self.products.iter().position(is_it).or_else(|| (self.products.len() == 1).then_some(0))
    }
}

/// Places of programs, of which each that runs has one.
struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The place of a program, until it is dropped.
pub(super) struct Place<'p>(&'p Places);

impl Places {
    fn new(places: usize) -> Self {
        Self { free: Mutex::new(places.max(1)), freed: Condvar::new() }
    }

    /// Waits for one.
    fn take(&self, cancel: &Cancel) -> Result<Place<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
            if *free > 0 {
                *free -= 1;
                return Ok(Place(self));
            }
            free = self.freed.wait_timeout(free, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

impl<'e> Together<'e> {
    /// What builds know of each other at their beginning.
    fn new(builds: &'e [(String, Build)], draft: Draft<'e>) -> Self {
        let contexts = builds.iter().flat_map(|(_, build)| build.contexts.values());
        let made = contexts.filter_map(|context| match context {
            NamedContext::Made(target) => Some(target.as_str()),
            NamedContext::Directory(_)
            | NamedContext::Image(_)
            | NamedContext::Layout { .. }
            | NamedContext::Remote(_) => None,
        });
        // Where they do not agree, who wants most gets it.
        let most = builds.iter().map(|(_, build)| build.parallel.unwrap_or(PROGRAMS)).max();
        Together {
            results: Mutex::default(),
            changed: Condvar::new(),
            draft,
            wanted: made.collect(),
            places: Places::new(most.unwrap_or(PROGRAMS)),
        }
    }

    /// A place for a program.
    pub(super) fn place(&self, cancel: &Cancel) -> Result<Place<'_>> {
        self.places.take(cancel)
    }

    /// Whether another build has this one as a context.
    pub(super) fn is_wanted(&self, name: &str) -> bool {
        self.wanted.contains(name)
    }

    fn results(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Made>>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the others what a build has made.
    pub(super) fn put(&self, name: &str, made: Made) -> Result<()> {
        let layers = made.products.iter().flat_map(|product| product.tree.layers());
        self.draft.keep_layers(layers.map(|layer| &layer.diff_id)).map_err(failed("keep a result"))?;
        self.results().insert(name.to_owned(), Arc::new(made));
        self.changed.notify_all();
        Ok(())
    }

    /// Waits for what a build makes.
    pub(super) fn wait(&self, name: &str, cancel: &Cancel) -> Result<Arc<Made>> {
        let mut results = self.results();
        loop {
            if let Some(made) = results.get(name) {
                return Ok(Arc::clone(made));
            }
            if cancel.is_cancelled() {
                return Err(BuildError::Cancelled.into());
            }
            results = self.changed.wait_timeout(results, NAP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Engine {
    /// Makes several builds at once, of which some may have what others make as contexts ([`NamedContext::Made`]): those stand
    /// before them. Blocks; `cancel` ends all of them from another thread. What came of each, in their order.
    ///
    /// # Errors
    /// The first failure; what was done by then stays. The client has ended then ([`Client::end`]), for the other builds do not go on.
    pub fn build_together(
        &self,
        client: &Client,
        builds: &[(String, Build)],
        watch: &BuildWatch<'_>,
        cancel: &Cancel,
    ) -> std::result::Result<Vec<Built>, TargetFailed> {
        for (place, (name, request)) in builds.iter().enumerate() {
            let target_failed = |error| TargetFailed { name: name.clone(), error: Box::new(error) };
            check_order(&builds[..place], request).map_err(target_failed)?;
            super::check(request).map_err(target_failed)?;
        }
        let first = builds.first().map(|(name, _)| name.clone()).unwrap_or_default();
        let draft = self.store.draft().map_err(failed("begin builds"));
        let draft = draft.map_err(|error| TargetFailed { name: first, error: Box::new(error) })?;
        let together = Together::new(builds, draft);
        let (numbers, inner) = (Numbers::default(), cancel.child());
        let next = AtomicUsize::new(0);
        let (done, failure) = (Mutex::new(BTreeMap::new()), Mutex::new(None));
        let work = || {
            while let Some((name, request)) = builds.get(next.fetch_add(1, Ordering::SeqCst)) {
                let prefix = Some(name.as_str()).filter(|_| builds.len() > 1);
                let progress = Progress::of_several(watch, &numbers, prefix).ended_by(&inner);
                match self.build_one(client, request, (&progress, &inner), Some((name, &together))) {
                    Ok(built) => {
                        done.lock().unwrap_or_else(PoisonError::into_inner).insert(name.as_str(), built);
                    }
                    Err(error) => {
                        // Before the others hear of it, whose failures follow from this one.
                        let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                        failure.get_or_insert(TargetFailed { name: name.clone(), error: Box::new(error) });
                        inner.cancel();
                        client.end();
                        return;
                    }
                }
            }
        };
        with_help(builds.len().min(MOST).saturating_sub(1), &work);
        if let Some(failure) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(match cancel.is_cancelled() {
                true => TargetFailed { error: Box::new(BuildError::Cancelled.into()), ..failure },
                false => failure,
            });
        }
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(builds.iter().filter_map(|(name, _)| done.remove(name.as_str())).collect())
    }
}

/// Refuses to wait for what does not come before.
fn check_order(before: &[(String, Build)], request: &Build) -> Result<()> {
    for context in request.contexts.values() {
        if let NamedContext::Made(target) = context
            && !before.iter().any(|(name, _)| name == target)
        {
            return Err(BuildError::NoContext { name: format!("target:{target}") }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::ImageConfig;

    use crate::build::tree::Tree;

    #[test]
    fn nobody_waits_for_what_does_not_come_before() {
        let mut request = Build::default();
        request.contexts.insert("base".to_owned(), NamedContext::Made("a".to_owned()));
        let before = [("a".to_owned(), Build::default())];
        assert!(check_order(&before, &request).is_ok());
        let error = check_order(&[], &request).unwrap_err();
        let told = "there is no context \"target:a\"; only `bake` has other targets, and builds \"a\" before those that name it";
        assert_eq!(linux::chain(&error), told);
    }

    #[test]
    fn a_context_that_was_made_is_that_of_the_platform_or_the_only_one() {
        let product = |platform: &str| Product {
            platform: platform.parse().unwrap(),
            config: ImageConfig::default(),
            tree: Tree::empty(),
            layer_names: Vec::new(),
        };
        let made = |products| Made { products, origins: Vec::new() };
        let chosen = |made: &Made, platform: &str| {
            made.product(&platform.parse().unwrap()).map(|product| product.platform.to_string())
        };
        let one = made(vec![product("linux/arm64")]);
        assert_eq!(chosen(&one, "linux/amd64").as_deref(), Some("linux/arm64"));
        let two = made(vec![product("linux/amd64"), product("linux/arm64")]);
        assert_eq!(chosen(&two, "linux/arm64/v8").as_deref(), Some("linux/arm64"));
        assert_eq!(chosen(&two, "linux/riscv64"), None);
    }

    #[test]
    fn so_many_programs_run_as_there_are_places() {
        let (places, cancel) = (Places::new(2), Cancel::new());
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let place = places.take(&cancel).unwrap();
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                    drop(place);
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 2);
        // Who waits hears that nobody wants it any more.
        let _both = (places.take(&cancel).unwrap(), places.take(&cancel).unwrap());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| places.take(&cancel).is_err());
            std::thread::sleep(NAP);
            cancel.cancel();
            assert!(waits.join().unwrap());
        });
    }
}
