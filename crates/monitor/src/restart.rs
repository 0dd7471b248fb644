//! Restart policies: whether a container whose run has ended is run again, and how long it rests before. Pure.

use serde::{Deserialize, Serialize};

/// What happens when a run ends that nobody asked to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// Another one, whatever the exit code.
    Always,
    /// The same; but one that its user has ended stays ended over a boot too.
    UnlessStopped,
    /// Another one when its exit code is not 0.
    OnFailure {
        /// How often at most; 0 is no limit.
        retries: u32,
    },
}

/// The end of a run, as far as a policy cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// 0 to 255.
    pub code: i32,
    /// How long the program ran.
    pub ran_ms: u64,
    /// Whether its user has signalled it, without asking for the end.
    pub was_signalled: bool,
}

/// What a policy remembers between runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    /// The rest before the run that is on; 0 before the first one.
    delay_ms: u64,
}

/// The first rest.
const FIRST_MS: u64 = 100;
/// The longest.
const LONGEST_MS: u64 = 60_000;
/// A run of this length was no failure to start: the next rest is the first again.
const STEADY_MS: u64 = 10_000;

impl RestartPolicy {
    /// Whether a run that ended like this is followed by another one, after `restarts` that were.
    pub fn wants(self, end: RunEnd, restarts: u32) -> bool {
        match self {
            RestartPolicy::No => false,
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => !end.was_signalled,
            RestartPolicy::OnFailure { retries } => end.code != 0 && (retries == 0 || restarts < retries),
        }
    }

    /// Whether a container that does not run belongs running after a boot: `stopped` says whether its user has ended
    /// it, `code` how its last run ended.
    pub fn resumes(self, stopped: bool, code: i32, restarts: u32) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::UnlessStopped => !stopped,
            RestartPolicy::No | RestartPolicy::OnFailure { .. } => {
                !stopped && self.wants(RunEnd { code, ran_ms: 0, was_signalled: stopped }, restarts)
            }
        }
    }
}

impl Backoff {
    /// How long to rest after a run of `ran_ms`.
    #[must_use]
    pub fn after(self, ran_ms: u64) -> (Backoff, u64) {
        let before_ms = if ran_ms >= STEADY_MS { 0 } else { self.delay_ms };
        let delay_ms = before_ms.saturating_mul(2).clamp(FIRST_MS, LONGEST_MS);
        (Backoff { delay_ms }, delay_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ended(code: i32) -> RunEnd {
        RunEnd { code, ran_ms: 5, was_signalled: false }
    }

    #[test]
    fn each_policy_wants_what_its_name_says() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        let signalled = |code| RunEnd { was_signalled: true, ..ended(code) };
        for (policy, end, restarts, wanted) in [
            (No, ended(1), 0, false),
            (Always, ended(0), 1000, true),
            (Always, signalled(0), 0, true),
            (UnlessStopped, ended(0), 9, true),
            (UnlessStopped, signalled(0), 0, false),
            (OnFailure { retries: 0 }, ended(1), 1000, true),
            (OnFailure { retries: 0 }, ended(0), 0, false),
            (OnFailure { retries: 2 }, ended(137), 1, true),
            (OnFailure { retries: 2 }, ended(137), 2, false),
            (OnFailure { retries: 2 }, signalled(137), 1, true),
        ] {
            assert_eq!(policy.wants(end, restarts), wanted, "{policy:?} {end:?} {restarts}");
        }
    }

    #[test]
    fn a_boot_brings_back_what_nobody_has_ended() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        for (policy, stopped, code, restarts, resumed) in [
            (No, false, 1, 0, false),
            (Always, true, 0, 0, true),
            (UnlessStopped, true, 137, 0, false),
            (UnlessStopped, false, 0, 0, true),
            (OnFailure { retries: 0 }, false, 255, 7, true),
            (OnFailure { retries: 0 }, true, 137, 0, false),
            (OnFailure { retries: 3 }, false, 1, 3, false),
            (OnFailure { retries: 3 }, false, 0, 0, false),
        ] {
            let found = policy.resumes(stopped, code, restarts);
            assert_eq!(found, resumed, "{policy:?} {stopped} {code} {restarts}");
        }
    }

    #[test]
    fn rests_double_up_to_a_minute_and_begin_anew_after_a_steady_run() {
        let mut backoff = Backoff::default();
        let mut rest = |ran_ms| {
            let (next, delay_ms) = backoff.after(ran_ms);
            backoff = next;
            delay_ms
        };
        let rests: Vec<u64> = (0..12).map(|_| rest(1)).collect();
        let doubled = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000];
        assert_eq!(rests, doubled);
        assert_eq!([rest(9_999), rest(10_000), rest(0)], [60_000, 100, 200]);
    }

    proptest! {
        #[test]
        fn a_rest_is_never_shorter_or_longer_than_its_bounds(runs in proptest::collection::vec(any::<u64>(), 0..80)) {
            let mut backoff = Backoff::default();
            for ran_ms in runs {
                let (next, delay_ms) = backoff.after(ran_ms);
                prop_assert!((FIRST_MS..=LONGEST_MS).contains(&delay_ms));
                prop_assert!(ran_ms < STEADY_MS || delay_ms == FIRST_MS);
                backoff = next;
            }
        }
    }
}
