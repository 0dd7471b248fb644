//! The threads that solve a graph.
//!
//! There is one [`Schedule`], under a lock. A thread takes a job from it, does it, reports, and takes the next one; the caller's is the
//! first, and further ones begin when there is more to do than threads that wait. So a chain of known nodes is gone through by one thread
//! without a handover, and nobody has to dispatch.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};

use dockerfile::lower::{Graph, Node, Op};
use oci::DiffId;

use crate::job::Crew;
use crate::reach::Reach;
use crate::schedule::Schedule;
use crate::{Cache, Cancel, Watch, Worker};

/// What decides over what an operation makes and is no part of it.
pub type Salt<'a> = dyn Fn(&Op) -> String + Sync + 'a;

/// How a graph is solved.
pub struct Options<'a> {
    /// Programs that run at once; one if zero.
    pub programs: usize,
    /// Whether a node is to be done anew, whatever is known of it. What it makes is kept. Those that stand on it are found again if
    /// they get from it what they got before.
    pub anew: &'a (dyn Fn(&Node) -> bool + Sync),
    /// What else decides over what an operation makes, such as the latest time that files may have, or the network of programs. What
    /// was made with something else is not found. Asked for before anything is done; empty where there is nothing.
    pub salt: &'a Salt<'a>,
    /// Whether the cache is asked, at the end of a build that went well, for what no target needed as well.
    pub asks_all: bool,
}

/// Why a graph has no solution.
#[derive(Debug, thiserror::Error)]
pub enum Failure<E: std::error::Error + 'static> {
    /// A node failed.
    #[error("{name}")]
    Node {
        /// Which, by its number.
        node: usize,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        error: E,
    },
    /// The cache failed.
    #[error("look for earlier results, or keep one")]
    Cache(#[source] E),
    /// A layer went while the build relied on it.
    #[error("use layer {layer} of {name}: it is gone")]
    Lost {
        /// The node that made it, by its number.
        node: usize,
        /// Its name.
        name: String,
        /// The layer.
        layer: DiffId,
    },
    /// The caller wanted an end.
    #[error("the build was cancelled")]
    Cancelled,
}

/// Makes the file trees of some nodes; of each, in order. Blocks until it is done, or all that ran has ended. What a worker, a cache or a
/// watch panics with goes on to the caller, once all threads have ended.
///
/// # Errors
/// The first failure.
///
/// # Panics
/// If the graph has no node of a target's number.
pub fn solve<W: Worker, C: Cache<Error = W::Error>>(
    graph: &Graph,
    targets: &[usize],
    (worker, cache): (&W, &C),
    options: &Options<'_>,
    (cancel, watch): (&Cancel, &Watch<'_>),
) -> Result<Vec<W::Tree>, Failure<W::Error>> {
    let reach = Reach::new(graph, targets, options.anew);
    let schedule = Schedule::new(graph, targets, reach, (options.programs, options.salt), cancel);
    let inner = schedule.cancel.clone();
    let crew = Crew { graph, worker, cache, cancel: &inner, watch, salt: options.salt };
    let shared = Shared {
        most: schedule.most_threads(),
        state: Mutex::new(State { schedule, idle: 0, threads: 1, panic: None }),
        ready: Condvar::new(),
    };
    std::thread::scope(|scope| shared.work(&crew, scope));
    let State { schedule, panic, .. } = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
    let mut schedule = schedule;
    let surveyed = if options.asks_all && schedule.is_well() { schedule.survey(cache) } else { Ok(()) };
    let (result, news) = schedule.finish(targets);
    news.into_iter().for_each(watch);
    surveyed.map_err(Failure::Cache).and(result)
}

/// What the threads of a build share.
struct Shared<'g, W: Worker> {
    state: Mutex<State<'g, W>>,
    /// There is something to do, or nothing ever more.
    ready: Condvar,
    most: usize,
}

struct State<'g, W: Worker> {
    schedule: Schedule<'g, W::Tree, W::Error>,
    /// Threads that wait.
    idle: usize,
    threads: usize,
    /// What one of them has panicked with.
    panic: Option<Box<dyn Any + Send>>,
}

impl<'g, W: Worker> Shared<'g, W> {
    fn lock(&self) -> MutexGuard<'_, State<'g, W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until the end.
    fn work<'scope, 'env, C: Cache<Error = W::Error>>(
        &'scope self,
        crew: &'scope Crew<'env, W, C>,
        scope: &'scope Scope<'scope, 'env>,
    ) {
        let worked = catch_unwind(AssertUnwindSafe(|| while self.turn(crew, scope) {}));
        let mut state = self.lock();
        if let Err(panic) = worked {
            state.schedule.cancel.cancel();
            state.panic.get_or_insert(panic);
        }
        drop(state);
        // Whoever leaves has seen the end, which others may be waiting for.
        self.ready.notify_all();
    }

    /// One job; whether there may be more.
    fn turn<'scope, 'env, C: Cache<Error = W::Error>>(
        &'scope self,
        crew: &'scope Crew<'env, W, C>,
        scope: &'scope Scope<'scope, 'env>,
    ) -> bool {
        let mut state = self.lock();
        let (job, place) = loop {
            if state.panic.is_some() || state.schedule.is_over() {
                return false;
            }
            if let Some(found) = state.schedule.next() {
                break found;
            }
            if state.schedule.is_over() {
                return false;
            }
            assert!(!state.schedule.is_stuck(), "a build that is not done has nothing left to do");
            state.idle += 1;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        };
        self.call_another(&mut state, crew, scope);
        drop(state);
        let report = crew.run(job);
        let mut state = self.lock();
        state.schedule.report(report, place);
        let news = state.schedule.news();
        drop(state);
        news.into_iter().for_each(crew.watch);
        true
    }

    /// Has somebody else look, if there is something for him: one at a time, for he does so too.
    fn call_another<'scope, 'env, C: Cache<Error = W::Error>>(
        &'scope self,
        state: &mut State<'g, W>,
        crew: &'scope Crew<'env, W, C>,
        scope: &'scope Scope<'scope, 'env>,
    ) {
        if !state.schedule.has_next() {
            return;
        }
        if state.idle > 0 {
            self.ready.notify_one();
        } else if state.threads < self.most {
            let begun =
                Builder::new().name("build".to_owned()).spawn_scoped(scope, || self.work(crew, scope));
            // Without another thread those that there are do it.
            state.threads += usize::from(begun.is_ok());
        }
    }
}
