//! Failures, cancels, panics, and two builds of the same at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dockerfile::lower::Op;

use super::*;
use crate::Step;

/// Waits for a state, or for the end of the build.
fn until(step: &Step<'_>, state: impl Fn() -> bool) -> Result<(), Oops> {
    for _ in 0..20_000 {
        if state() {
            return Ok(());
        }
        if step.cancel.wait(Duration::from_millis(1)) {
            return Err(Oops::Cancelled);
        }
    }
    panic!("what was waited for does not come");
}

/// A world whose programs do this besides; by the last word of their names.
fn world_where(deed: impl Fn(&str, &Step<'_>) -> Result<(), Oops> + Send + Sync + 'static) -> World {
    let deed = move |node: &Node, step: &Step<'_>| {
        if matches!(node.op, Op::Run(_)) { deed(node.name.rsplit(' ').next().unwrap(), step) } else { Ok(()) }
    };
    World::with(deed)
}

fn last_of(graph: &Graph, diary: &Diary, word: &str) -> Option<&'static str> {
    let node = graph.nodes().iter().position(|node| node.name.ends_with(word)).unwrap();
    diary.of(node).and_then(|told| told.last)
}

const TWO: &str = "FROM a AS s1\nRUN waits\nFROM a AS s2\nRUN fails\nRUN after\nFROM scratch\nCOPY --from=s1 /x /\nCOPY --from=s2 /x /";

#[test]
fn the_first_failure_ends_the_rest() {
    let begun = Arc::new(AtomicBool::new(false));
    let world = world_where(move |word, step| match word {
        "waits" => {
            begun.store(true, Ordering::SeqCst);
            until(step, || false)
        }
        "fails" => {
            until(step, || begun.load(Ordering::SeqCst))?;
            Err(Oops::Failed("it".to_owned()))
        }
        _ => Ok(()),
    });
    let (graph, target) = lowered(TWO);
    let (store, cancel) = (Store::default(), Cancel::new());
    let (result, diary) = build_of((&graph, &[target]), (&world, &store), &|_| false, &cancel);
    let failure = result.unwrap_err();
    assert!(
        matches!(&failure, Failure::Node { error: Oops::Failed(_), name, .. } if name.ends_with("fails"))
    );
    assert_eq!(failure.to_string(), "[s2 2/3] RUN fails");
    assert!(!cancel.is_cancelled(), "the caller's wish is the caller's");
    let last = |word: &str| last_of(&graph, &diary, word);
    assert_eq!((last("waits"), last("fails"), last("after")), (Some("cancelled"), Some("failed"), None));
}

#[test]
fn the_caller_ends_it_all() {
    let cancel = Cancel::new();
    let wish = cancel.clone();
    let world = world_where(move |word, step| match word {
        "waits" => until(step, || false),
        "fails" => {
            wish.cancel();
            Err(Oops::Failed("it".to_owned()))
        }
        _ => Ok(()),
    });
    let (graph, target) = lowered(TWO);
    let store = Store::default();
    let build = || build_of((&graph, &[target]), (&world, &store), &|_| false, &cancel);
    let (result, diary) = build();
    assert!(matches!(result.unwrap_err(), Failure::Cancelled));
    assert_eq!(last_of(&graph, &diary, "fails"), Some("cancelled"));
    // Nothing begins that nobody wants.
    let (result, diary) = build();
    assert!(matches!(result.unwrap_err(), Failure::Cancelled));
    assert!(diary.0.lock().unwrap().is_empty());
}

#[test]
fn a_cache_that_fails_is_told_of() {
    let (world, store) = (World::default(), Store::default());
    store.broken.store(true, Ordering::SeqCst);
    let (graph, target) = lowered(TWO);
    let (result, _) = build_of((&graph, &[target]), (&world, &store), &|_| false, &Cancel::new());
    assert!(matches!(result.unwrap_err(), Failure::Cache(Oops::Failed(_))));
}

#[test]
fn a_layer_that_goes_at_once_is_told_of() {
    let world = World::forgetful();
    let (graph, target) = lowered(TWO);
    let (result, _) = build_of((&graph, &[target]), (&world, &Store::default()), &|_| false, &Cancel::new());
    assert!(matches!(result.unwrap_err(), Failure::Lost { .. }));
}

#[test]
fn a_panic_reaches_the_caller_and_nobody_waits_for_ever() {
    let begun = Arc::new(AtomicBool::new(false));
    let world = world_where(move |word, step| match word {
        "waits" => {
            begun.store(true, Ordering::SeqCst);
            until(step, || false)
        }
        "fails" => {
            until(step, || begun.load(Ordering::SeqCst))?;
            std::panic::panic_any("oh")
        }
        _ => Ok(()),
    });
    let (graph, target) = lowered(TWO);
    let store = Store::default();
    let solved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let options = Options { programs: 2, anew: &|_| false, salt: &|_| String::new(), asks_all: false };
        solve(&graph, &[target], (&world, &store), &options, (&Cancel::new(), &|_| {}))
    }));
    assert_eq!(solved.err().unwrap().downcast_ref::<&str>(), Some(&"oh"));
    assert_eq!(store.claimed(), 0);
}

#[test]
fn programs_run_at_once_and_no_more_than_asked_for() {
    let world = Arc::new(std::sync::OnceLock::<Arc<World>>::new());
    let seen = Arc::clone(&world);
    // The first two wait for each other.
    let made = world_where(move |_, step| {
        until(step, || seen.get().is_some_and(|world| world.most.load(Ordering::SeqCst) >= 2))
    });
    let made = Arc::new(made);
    assert!(world.set(Arc::clone(&made)).is_ok());
    let stages: String = (0..30).map(|stage| format!("FROM a AS s{stage}\nRUN x{stage}\n")).collect();
    let copies: String = (0..30).map(|stage| format!("COPY --from=s{stage} /x /\n")).collect();
    let (graph, target) = lowered(&format!("{stages}FROM scratch\n{copies}"));
    let (result, _) = build_of((&graph, &[target]), (&made, &Store::default()), &|_| false, &Cancel::new());
    result.unwrap();
    assert_eq!(made.most.load(Ordering::SeqCst), 2);
}

/// Two builds at once, the first of which holds what the second waits for.
struct Pair {
    world: World,
    store: Arc<Store>,
    graph: Graph,
    target: usize,
}

impl Pair {
    fn new(text: &str, world: World, store: Arc<Store>) -> Self {
        let (graph, target) = lowered(text);
        Self { world, store, graph, target }
    }

    fn build(&self, cancel: &Cancel) -> Result<Vec<Tree>, Failure<Oops>> {
        let options = Options { programs: 1, anew: &|_| false, salt: &|_| String::new(), asks_all: false };
        let diary = Diary::default();
        let work = (&self.world, &*self.store);
        solve(&self.graph, &[self.target], work, &options, (cancel, &|event| diary.hear(event)))
    }
}

#[test]
fn two_builds_at_once_share_what_they_have_in_common() {
    let store = Arc::new(Store::default());
    let seen = Arc::clone(&store);
    // Who comes first goes on when the other waits for him.
    let world = world_where(move |word, step| match word {
        "slow" => until(step, || seen.waiting.load(Ordering::SeqCst) > 0),
        _ => Ok(()),
    });
    let pair = Pair::new("FROM a\nRUN slow\nRUN after", world, store);
    let cancel = Cancel::new();
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| pair.build(&cancel));
        (pair.build(&cancel), other.join().unwrap())
    });
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(pair.world.count("perform"), 2);
    assert_eq!(pair.store.claimed(), 0);
}

#[test]
fn who_waits_for_another_build_takes_no_place() {
    let store = Arc::new(Store::default());
    let freed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&freed);
    let world = world_where(move |word, step| match word {
        // Only the second build gets to what frees this one.
        "slow" => until(step, || seen.load(Ordering::SeqCst)),
        "free" => {
            seen.store(true, Ordering::SeqCst);
            Ok(())
        }
        _ => Ok(()),
    });
    let slow = Pair::new("FROM a\nRUN slow", world, Arc::clone(&store));
    let (graph, target) = lowered(
        "FROM a AS s1\nRUN slow\nFROM b AS s2\nRUN free\nFROM scratch\nCOPY --from=s1 /x /\nCOPY --from=s2 /x /",
    );
    std::thread::scope(|scope| {
        let first = scope.spawn(|| slow.build(&Cancel::new()));
        while store.claimed() == 0 {
            std::thread::yield_now();
        }
        let options = Options { programs: 1, anew: &|_| false, salt: &|_| String::new(), asks_all: false };
        let work = (&slow.world, &*store);
        solve(&graph, &[target], work, &options, (&Cancel::new(), &|_| {})).unwrap();
        first.join().unwrap().unwrap();
    });
    assert!(freed.load(Ordering::SeqCst));
    assert_eq!(slow.world.products("RUN slow"), 1);
}

#[test]
fn who_waits_can_be_cancelled_and_takes_over_from_who_fails() {
    for fails in [false, true] {
        let store = Arc::new(Store::default());
        let (seen, done) = (Arc::clone(&store), Arc::new(AtomicBool::new(false)));
        let (first, go) = (AtomicBool::new(true), Arc::clone(&done));
        let world = world_where(move |_, step| {
            if !first.swap(false, Ordering::SeqCst) {
                return Ok(());
            }
            until(step, || seen.waiting.load(Ordering::SeqCst) > 0)?;
            if fails {
                return Err(Oops::Failed("it".to_owned()));
            }
            until(step, || go.load(Ordering::SeqCst))
        });
        let pair = Pair::new("FROM a\nRUN slow", world, Arc::clone(&store));
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| pair.build(&Cancel::new()));
            while store.claimed() == 0 {
                std::thread::yield_now();
            }
            let second = scope.spawn(|| pair.build(&cancel));
            if fails {
                assert!(matches!(first.join().unwrap().unwrap_err(), Failure::Node { .. }));
                assert!(second.join().unwrap().is_ok());
            } else {
                while store.waiting.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                cancel.cancel();
                assert!(matches!(second.join().unwrap().unwrap_err(), Failure::Cancelled));
                done.store(true, Ordering::SeqCst);
                assert!(first.join().unwrap().is_ok());
            }
        });
        assert_eq!(store.claimed(), 0);
    }
}

#[test]
fn a_wish_reaches_the_parts_and_not_the_whole() {
    let whole = Cancel::new();
    let (part, other) = (whole.child(), whole.child());
    let inner = part.child();
    part.cancel();
    assert!(part.is_cancelled() && inner.is_cancelled() && part.child().is_cancelled());
    assert!(!whole.is_cancelled() && !other.is_cancelled());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| other.wait(Duration::from_secs(60)));
        whole.cancel();
        assert!(waiting.join().unwrap());
    });
    assert!(whole.child().is_cancelled());
}
