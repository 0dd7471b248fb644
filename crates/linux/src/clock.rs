//! The host's time zone.

/// How many seconds the host's clocks are ahead of UTC at `seconds` since 1970: what `/etc/localtime` or `TZ` says, 0
/// where they say nothing.
pub fn utc_offset(seconds: i64) -> i32 {
    // SAFETY: tm is integers and a pointer that may be null, for all of which zero is a value.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of ours, the first to 64 bits as the C library's own type has on every
    // target that we build for; it keeps neither.
    let filled = unsafe { libc::localtime_r((&raw const seconds).cast(), &raw mut parts) };
    if filled.is_null() { 0 } else { i32::try_from(parts.tm_gmtoff).unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_offset_is_less_than_a_day() {
        assert!(super::utc_offset(1_770_000_000).abs() <= 14 * 3600);
    }
}
