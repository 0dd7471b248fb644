//! Who waits for what somebody else has, maybe another build: that is told as progress of the step that waits, once it takes long.

use std::time::{Duration, Instant};

/// Who waits no longer than this says nothing of it.
const SILENCE: Duration = Duration::from_secs(1);

/// Somebody who waits.
pub(super) struct Queue<'a> {
    what: &'a dyn Fn() -> String,
    since: Instant,
    told: Option<String>,
}

impl<'a> Queue<'a> {
    /// `what` is shown: what is waited for, and who has it.
    pub(super) fn new(what: &'a dyn Fn() -> String) -> Self {
        Queue { what, since: Instant::now(), told: None }
    }

    /// It still has to be waited for. `tell` shows what begins, once.
    pub(super) fn goes_on(&mut self, tell: &dyn Fn(&str)) {
        if self.told.is_none() && self.since.elapsed() >= SILENCE {
            let what = (self.what)();
            tell(&what);
            self.told = Some(what);
        }
    }

    /// It is to be had, or nobody waits any more. `tell` shows that what was told of is over.
    pub(super) fn ends(self, tell: &dyn Fn(&str)) {
        if let Some(what) = self.told {
            tell(&what);
        }
    }
}
