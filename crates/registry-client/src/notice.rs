//! What somebody who waits for a client may want to know meanwhile.

use std::sync::Arc;
use std::time::Duration;

use oci::Digest;

/// Something that makes an exchange take longer, or soon will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An attempt has failed, and another one follows after a wait.
    Retry {
        /// The blob that is read or sent, if it is one, or what it is read or sent for ([`Repository::about`](crate::Repository::about)).
        blob: Option<Digest>,
        /// How long the wait is.
        wait: Duration,
        /// The attempts that failed.
        failed: u32,
        /// The most attempts there will be.
        attempts: u32,
        /// Why the last one failed.
        why: String,
    },
    /// The registry counts requests, and few are left.
    Limit {
        /// Which registry.
        registry: String,
        /// So many are left, …
        remaining: u64,
        /// … of so many.
        limit: u64,
        /// The time that they are for.
        window: Option<Duration>,
    },
}

type Hear = dyn Fn(&Notice) + Send + Sync;

/// Who hears of it, from any thread.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<Hear>>);

impl std::fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.0.is_some() { "Listener" } else { "nobody" })
    }
}

impl Listener {
    /// Calls `hear`.
    pub fn new(hear: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    pub(crate) fn tell(&self, notice: impl FnOnce() -> Notice) {
        if let Some(hear) = &self.0 {
            hear(&notice());
        }
    }
}

/// What `ratelimit-limit` and `ratelimit-remaining` say, as Docker's registry has them: `100;w=21600`, the window in seconds.
#[must_use]
pub fn rate_limit(limit: &str, remaining: &str) -> Option<(u64, u64, Option<Duration>)> {
    let number = |text: &str| -> Option<u64> { text.split(';').next()?.trim().parse().ok() };
    let window = limit.split(';').skip(1).find_map(|part| part.trim().strip_prefix("w=")?.parse().ok());
    Some((number(limit)?, number(remaining)?, window.map(Duration::from_secs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_or_passed_over() {
        let hours = Some(Duration::from_secs(21_600));
        assert_eq!(rate_limit("100;w=21600", "76;w=21600"), Some((100, 76, hours)));
        assert_eq!(rate_limit(" 10 ", "0"), Some((10, 0, None)));
        for (limit, remaining) in [("", ""), ("x", "1"), ("1", "-1"), (";w=1", "1")] {
            assert_eq!(rate_limit(limit, remaining), None, "{limit} {remaining}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_does_harm(limit in "\\PC{0,20}|[0-9;w=]{0,20}", remaining in "\\PC{0,20}") {
            let first = rate_limit(&limit, &remaining);
            proptest::prop_assert_eq!(rate_limit(&limit, &remaining), first);
        }
    }
}
