//! From the units of the OCI runtime specification, which are version 1's, to those of version 2.

/// CPU shares (2 to 262144, usual 1024) as a weight (1 to 10000, usual 100).
///
/// A straight line between the ends would turn the usual 1024 into 39, and a container that asks for nothing special
/// would lose to every neighbour that has no setting at all. Since both scales are ratios, the curve is quadratic
/// between their logarithms, through (2, 1), (1024, 100) and (262144, 10000), rounded up:
/// `log10(weight) = (l² + 125·l) / 612 − 7/34` with `l = log2(shares)`. runc and crun convert alike.
pub(crate) fn shares_to_weight(shares: u64) -> u64 {
    let Some(shares) = u32::try_from(shares).ok().filter(|shares| *shares < 262_144) else { return 10_000 };
    let log = f64::from(shares.max(2)).log2();
    let exact = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0);
    // 1024 must not become 101 because a logarithm was off in its last bit.
    let weight = (1..10_000_u32).find(|weight| f64::from(*weight) >= exact - 1e-6);
    weight.map_or(10_000, u64::from)
}

/// A block I/O weight (10 to 1000, usual 500) as `io.weight` (1 to 10000, usual 100). A straight line, as in runc.
pub(crate) fn block_io_weight_to_io(weight: u16) -> u64 {
    1 + u64::from(weight.clamp(10, 1000) - 10) * 9999 / 990
}

/// A number of bytes, processes or microseconds where -1 is no limit.
pub(crate) fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Version 2's swap alone from version 1's memory and swap together; `memory` is the limit that will hold.
pub(crate) fn swap_alone(together: i64, memory: Option<i64>) -> Result<String, &'static str> {
    match (together, memory) {
        (..0, _) => Ok("max".to_owned()),
        (_, None | Some(..0)) => Err("swap can only be limited together with memory; set memory.limit too"),
        (together, Some(memory)) if together < memory => {
            Err("is memory and swap together, and less than memory.limit")
        }
        (together, Some(memory)) => Ok((together - memory).to_string()),
    }
}

/// Whether `size` is a page size as the kernel's files spell it (`64KB`, `2MB`, `1GB`): it becomes part of a file name.
pub(crate) fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    digits.is_some_and(|digits| {
        (1..=6).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_through_the_three_fixed_points() {
        let cases = [
            (0, 1),
            (2, 1),
            (3, 2),
            (10, 4),
            (100, 17),
            (512, 59),
            (1023, 100),
            (1024, 100),
            (1025, 101),
            (2048, 174),
            (4096, 303),
            (262_143, 10_000),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ];
        for (shares, weight) in cases {
            assert_eq!(shares_to_weight(shares), weight, "{shares}");
        }
    }

    #[test]
    fn more_shares_never_weigh_less() {
        let mut last = 0;
        for shares in (2..262_200).step_by(97) {
            let weight = shares_to_weight(shares);
            assert!(weight >= last, "{shares}: {weight} < {last}");
            last = weight;
        }
    }

    #[test]
    fn block_io_weights_span_the_range() {
        for (weight, io) in [(0, 1), (10, 1), (100, 910), (500, 4950), (1000, 10_000), (5000, 10_000)] {
            assert_eq!(block_io_weight_to_io(weight), io, "{weight}");
        }
    }

    #[test]
    fn swap_is_what_remains_beside_memory() {
        let cases = [
            (-1, Some(100), Ok("max")),
            (-1, None, Ok("max")),
            (300, Some(100), Ok("200")),
            (100, Some(100), Ok("0")),
        ];
        for (together, memory, swap) in cases {
            assert_eq!(swap_alone(together, memory), swap.map(str::to_owned), "{together} {memory:?}");
        }
        for (together, memory) in [(100, None), (100, Some(-1)), (99, Some(100))] {
            assert!(swap_alone(together, memory).is_err(), "{together} {memory:?}");
        }
    }

    #[test]
    fn page_sizes_cannot_smuggle_a_path() {
        for good in ["64KB", "2MB", "1GB", "512MB"] {
            assert!(is_page_size(good), "{good}");
        }
        for bad in ["", "MB", "2M", "02MB", "-2MB", "../2MB", "2MB/..", "2mb", "1234567KB", "2 MB"] {
            assert!(!is_page_size(bad), "{bad}");
        }
    }
}
