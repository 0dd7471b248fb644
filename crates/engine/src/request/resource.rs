//! Limits, in Docker's units; and the texts they are written in.

use serde::{Deserialize, Serialize};

use super::DeviceRate;
use crate::Error;

/// Limits as asked for. 0 is "not set", as in Docker's API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes.
    pub memory: i64,
    /// Bytes of memory and swap together; -1 is no limit.
    pub memory_swap: i64,
    /// Bytes.
    pub memory_reservation: i64,
    /// 0 to 100, or missing.
    pub memory_swappiness: Option<i64>,
    /// No OOM killer (cgroup version 1).
    pub oom_kill_disable: bool,
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Relative weight.
    pub cpu_shares: i64,
    /// Microseconds.
    pub cpu_period: i64,
    /// Microseconds per period.
    pub cpu_quota: i64,
    /// A list like `0-3,7`; empty is not set.
    pub cpuset_cpus: String,
    /// A list like `0-3,7`; empty is not set.
    pub cpuset_mems: String,
    /// Processes and threads; missing is the engine's default, 0 and -1 are no limit.
    pub pids_limit: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: u16,
    /// Weights of single devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blkio_weight_device: Vec<DeviceRate>,
    /// Bytes per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_read_bps: Vec<DeviceRate>,
    /// Bytes per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_write_bps: Vec<DeviceRate>,
    /// Operations per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_read_iops: Vec<DeviceRate>,
    /// Operations per second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_write_iops: Vec<DeviceRate>,
}

/// Reads a size as Docker's flags take it: `64m`, `1.5g`, `512`, with an optional `b` or `ib`; units are powers
/// of 1024, letters of either case. `-1` is passed through.
pub fn parse_bytes(text: &str) -> Result<i64, Error> {
    parse_size(text, 1024)
}

/// The same with powers of 1000, as Docker reads the sizes of log files.
pub fn parse_decimal_bytes(text: &str) -> Result<i64, Error> {
    parse_size(text, 1000)
}

fn parse_size(text: &str, base: i128) -> Result<i64, Error> {
    let invalid = || Error::InvalidSize { text: text.to_owned() };
    let trimmed = text.trim();
    if trimmed == "-1" {
        return Ok(-1);
    }
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(invalid()),
    };
    let billionths = decimal(number, 9).ok_or_else(invalid)?;
    let bytes = billionths.checked_mul(base.pow(power)).ok_or_else(invalid)? / 1_000_000_000;
    i64::try_from(bytes).map_err(|_| invalid())
}

/// Reads `--cpus` into billionths.
pub fn parse_cpus(text: &str) -> Result<i64, Error> {
    let invalid = || Error::InvalidCpus { text: text.to_owned() };
    let whole = text.split('.').nth(1).unwrap_or("");
    if whole.len() > 9 && whole[9..].bytes().any(|digit| digit != b'0') {
        return Err(invalid());
    }
    let nano = decimal(text.trim(), 9).ok_or_else(invalid)?;
    i64::try_from(nano).map_err(|_| invalid())
}

/// A decimal number, scaled by ten to the power of `places`; further digits are cut.
fn decimal(text: &str, places: u32) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || whole.len() > 19 {
        return None;
    }
    let mut value: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    for place in 0..places as usize {
        let digit = fraction.as_bytes().get(place).map_or(0, |byte| i128::from(byte - b'0'));
        value = value * 10 + digit;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("1.5g", 3 << 29),
            ("6 MiB", 6 << 20),
            ("2T", 2 << 40),
            (".5k", 512),
            ("-1", -1),
            ("10b", 10),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
        }
        for wrong in ["", "x", "1x", "-2", "1.2.3", "m", "99999999999999999999", "9999999p", "1e3", "."] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn cpus_are_read_in_billionths() {
        for (text, nano) in
            [("1", 1_000_000_000), ("0.5", 500_000_000), ("1.25", 1_250_000_000), (".1", 100_000_000)]
        {
            assert_eq!(parse_cpus(text).unwrap(), nano, "{text}");
        }
        for wrong in ["", "x", "-1", "0.0000000001", "1/2"] {
            assert!(parse_cpus(wrong).is_err(), "{wrong}");
        }
    }
}
