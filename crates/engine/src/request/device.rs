//! Texts of flags about single devices: `--device-cgroup-rule`, `--device-read-bps` and its like.

use cgroup::{DeviceKind, DeviceRule};
use serde::{Deserialize, Serialize};

use super::parse_bytes;
use crate::Error;

/// Access to devices by their numbers, as Docker writes it: `c 10:200 rwm`, `b *:* r`, `a 7:1 rm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRule(String);

impl AccessRule {
    /// Reads `type major:minor access`.
    pub fn parse(text: &str) -> Result<AccessRule, Error> {
        match read(text) {
            Some(_) => Ok(AccessRule(text.to_owned())),
            None => Err(Error::InvalidDeviceRule { text: text.to_owned() }),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it allows; none where the record was written by hand.
    pub(crate) fn rule(&self) -> Option<DeviceRule> {
        read(&self.0)
    }
}

fn read(text: &str) -> Option<DeviceRule> {
    let [kind, numbers, access] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
    let kind = match kind {
        "a" => None,
        "b" => Some(DeviceKind::Block),
        "c" => Some(DeviceKind::Char),
        _ => return None,
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<u32>().ok().map(Some),
        _ => None,
    };
    let (major, minor) = numbers.split_once(':')?;
    let known = (1..=3).contains(&access.len()) && access.bytes().all(|byte| b"rwm".contains(&byte));
    known.then_some(DeviceRule {
        allow: true,
        kind,
        major: number(major)?,
        minor: number(minor)?,
        read: access.contains('r'),
        write: access.contains('w'),
        mknod: access.contains('m'),
    })
}

/// A limit or a weight of block I/O on one device of the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    /// Below `/dev`.
    pub path: String,
    /// Bytes or operations per second, or a weight.
    pub rate: u64,
}

impl DeviceRate {
    /// Reads `path:rate`, the rate in bytes with a unit.
    pub fn parse_bytes(text: &str) -> Result<DeviceRate, Error> {
        let reason = "want a whole number of bytes with kb, mb or gb";
        parse(text, reason, |rate| u64::try_from(parse_bytes(rate).ok()?).ok())
    }

    /// Reads `path:rate`, the rate in operations.
    pub fn parse_operations(text: &str) -> Result<DeviceRate, Error> {
        parse(text, "want a whole number", |rate| rate.parse().ok())
    }

    /// Reads `path:weight`.
    pub fn parse_weight(text: &str) -> Result<DeviceRate, Error> {
        let within = |weight: &u64| *weight == 0 || (10..=1000).contains(weight);
        parse(text, "want a weight from 10 to 1000", |weight| weight.parse().ok().filter(within))
    }
}

fn parse(
    text: &str,
    reason: &'static str,
    number: impl FnOnce(&str) -> Option<u64>,
) -> Result<DeviceRate, Error> {
    let invalid = |reason| Error::InvalidDeviceRate { text: text.to_owned(), reason };
    let (path, rate) = text.rsplit_once(':').ok_or_else(|| invalid("want path:number"))?;
    if !path.starts_with("/dev/") {
        return Err(invalid("the path must begin with /dev/"));
    }
    let rate = number(rate).ok_or_else(|| invalid(reason))?;
    Ok(DeviceRate { path: path.to_owned(), rate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_a_kind_numbers_and_what_may_be_done() {
        let rule = AccessRule::parse("c 10:200 rm").unwrap().rule().unwrap();
        assert_eq!((rule.kind, rule.major, rule.minor), (Some(DeviceKind::Char), Some(10), Some(200)));
        assert!(rule.allow && rule.read && !rule.write && rule.mknod);
        let all = AccessRule::parse("a *:* w").unwrap().rule().unwrap();
        assert_eq!((all.kind, all.major, all.minor, all.write), (None, None, None, true));
        for wrong in
            ["", "c", "c 1:2", "x 1:2 r", "c 1 r", "c 1:x r", "c 1:2 x", "c 1:2 rwmr", "c 1:+2 r", "c  1:2 r"]
        {
            assert!(AccessRule::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_are_of_devices() {
        let rate = |found: Result<DeviceRate, Error>| found.map(|found| (found.path, found.rate)).ok();
        assert_eq!(rate(DeviceRate::parse_bytes("/dev/sda:1mb")), Some(("/dev/sda".into(), 1 << 20)));
        assert_eq!(rate(DeviceRate::parse_operations("/dev/a:b:7")), Some(("/dev/a:b".into(), 7)));
        assert_eq!(rate(DeviceRate::parse_weight("/dev/sda:10")), Some(("/dev/sda".into(), 10)));
        for wrong in ["/dev/sda", "/dev/sda:", "/dev/sda:x", "/dev/sda:-1", "/tmp/sda:1"] {
            assert_eq!(rate(DeviceRate::parse_bytes(wrong)), None, "{wrong}");
            assert_eq!(rate(DeviceRate::parse_operations(wrong)), None, "{wrong}");
        }
        assert_eq!(rate(DeviceRate::parse_weight("/dev/sda:9")), None);
    }
}
