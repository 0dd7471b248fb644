//! Blobs on their way to a registry: several at once, each told of while it moves, all given up when one fails.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder};
use std::time::Duration;

use super::push::{PushEvent, PushStep, PushWatch};

/// Parts that are sent at once at most.
const AT_ONCE: usize = 4;
/// How often those who watch are told of what has been sent.
const EVERY: Duration = Duration::from_millis(100);

/// Something that is sent.
pub(super) trait Part: Sync {
    /// What those who watch know it by.
    fn name(&self) -> &str;
    /// How far it is.
    fn course(&self) -> &Arc<Course>;
}

/// How far something is.
#[derive(Default)]
pub(super) struct Course {
    sent: AtomicU64,
    /// How much there is; zero where nobody knows.
    size: AtomicU64,
    told: AtomicU64,
    is_given_up: AtomicBool,
}

impl Course {
    /// It begins, and is so long, if anybody knows.
    pub(super) fn begin(&self, size: Option<u64>) {
        self.sent.store(0, Ordering::Relaxed);
        self.size.store(size.unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether it is not sent to its end, as another part has failed.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::SeqCst)
    }
}

/// Tells of a part.
pub(super) fn tell(watch: &PushWatch<'_>, part: &dyn Part, step: PushStep<'_>) {
    watch(PushEvent::Layer { layer: part.name(), step });
}

/// Tells how a part has ended: whatever has been told of it, nothing is told after this.
pub(super) fn tell_end(watch: &PushWatch<'_>, part: &dyn Part, step: PushStep<'_>) {
    let Course { sent, told, .. } = &**part.course();
    told.store(sent.load(Ordering::Relaxed), Ordering::Relaxed);
    tell(watch, part, step);
}

/// Sends all parts, the first first; returns what `send` made of each, in their order.
pub(super) fn send_all<P: Part, T: Send>(
    parts: &[P],
    watch: &PushWatch<'_>,
    send: &(dyn Fn(&P) -> registry_client::Result<T> + Sync),
) -> registry_client::Result<Vec<T>> {
    for part in parts {
        tell(watch, part, PushStep::Planned);
    }
    let (next, running) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let outcome = Mutex::new(Ok(Vec::new()));
    let watcher = thread::current();
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::SeqCst);
            let Some(part) = parts.get(place) else { break };
            let sent = send(part);
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            match (sent, &mut *outcome) {
                (Ok(sent), Ok(all)) => all.push((place, sent)),
                (Err(error), Ok(_)) => {
                    // The first failure is told; the others are given up for it.
                    *outcome = Err(error);
                    next.store(parts.len(), Ordering::SeqCst);
                    for part in parts {
                        part.course().is_given_up.store(true, Ordering::SeqCst);
                    }
                }
                (_, Err(_)) => {}
            }
        }
        running.fetch_sub(1, Ordering::SeqCst);
        watcher.unpark();
    };
    thread::scope(|scope| {
        for number in 0..AT_ONCE.min(parts.len()) {
            running.fetch_add(1, Ordering::SeqCst);
            if Builder::new().spawn_scoped(scope, work).is_ok() {
                continue;
            }
            // With fewer threads where there are no more to be had; without any here, untold of meanwhile.
            match number {
                0 => work(),
                _ => drop(running.fetch_sub(1, Ordering::SeqCst)),
            }
            break;
        }
        while running.load(Ordering::SeqCst) > 0 {
            thread::park_timeout(EVERY);
            parts.iter().for_each(|part| tell_sent(watch, part));
        }
    });
    let mut sent = outcome.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    sent.sort_by_key(|(place, _)| *place);
    Ok(sent.into_iter().map(|(_, sent)| sent).collect())
}

/// Tells of a part that has moved since.
fn tell_sent(watch: &PushWatch<'_>, part: &dyn Part) {
    let Course { sent, size, told, .. } = &**part.course();
    let bytes = sent.load(Ordering::Relaxed);
    if told.swap(bytes, Ordering::Relaxed) != bytes {
        let size = Some(size.load(Ordering::Relaxed)).filter(|size| *size > 0);
        tell(watch, part, PushStep::Sent { bytes, size });
    }
}

/// Counts what is read, which is sent at once, and ends when everything is given up.
struct Watched {
    content: Box<dyn Read + Send>,
    course: Arc<Course>,
}

/// Content that is sent from its byte `at` on.
pub(super) fn watched(content: Box<dyn Read + Send>, at: u64, course: &Arc<Course>) -> Box<dyn Read + Send> {
    course.sent.store(at, Ordering::Relaxed);
    Box::new(Watched { content, course: Arc::clone(course) })
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.course.is_given_up() {
            return Err(io::Error::other("another one could not be sent"));
        }
        let read = self.content.read(buffer)?;
        self.course.sent.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
