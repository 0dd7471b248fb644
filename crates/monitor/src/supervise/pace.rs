//! How many findings of one container are told of: the log of events is everybody's, and a container could fill it.

/// In one second.
pub(crate) const A_SECOND: u32 = 50;

/// What was told of, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The second that is counted.
    second: u64,
    told: u32,
    untold: u64,
}

impl Pace {
    /// Whether one more is told of at `now_ms`; if not, it is counted.
    pub(crate) fn admits(&mut self, now_ms: u64) -> bool {
        let second = now_ms / 1000;
        if second != self.second {
            (self.second, self.told) = (second, 0);
        }
        let admitted = self.told < A_SECOND;
        if admitted {
            self.told += 1;
        } else {
            self.untold += 1;
        }
        admitted
    }

    /// How many were not told of since this was asked last, if any.
    pub(crate) fn take_untold(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.untold)).filter(|&count| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_share_and_the_rest_is_counted() {
        let mut pace = Pace::default();
        let admitted = (0..200_u64).filter(|_| pace.admits(7_000)).count();
        assert_eq!((admitted, pace.take_untold(), pace.take_untold()), (50, Some(150), None));
        assert!(!pace.admits(7_999));
        assert!(pace.admits(8_000));
        assert_eq!(pace.take_untold(), Some(1));
    }
}
