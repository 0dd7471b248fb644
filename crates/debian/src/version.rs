//! Versions of packages and their order (deb-version(7)).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// `[epoch:]upstream[-revision]`. Equal versions may be written differently (`1.0` and `1.00`, `1` and `1-0`).
#[derive(Clone, Debug)]
pub struct Version {
    text: Box<str>,
    epoch: u32,
    /// Where the upstream part begins and ends in the text.
    upstream: (usize, usize),
}

/// Longer ones are no versions of anybody's.
const LENGTH_LIMIT: usize = 255;

impl Version {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Without the epoch, as it stands in the names of files.
    #[must_use]
    pub fn without_epoch(&self) -> &str {
        &self.text[self.upstream.0..]
    }

    fn upstream(&self) -> &str {
        &self.text[self.upstream.0..self.upstream.1]
    }

    fn revision(&self) -> &str {
        self.text.get(self.upstream.1 + 1..).unwrap_or("")
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Version> {
        let wrong = |reason| Error::field("Version", text, reason);
        if text.is_empty() || text.len() > LENGTH_LIMIT {
            return Err(wrong("it is empty, or too long"));
        }
        let (epoch, start) = match text.split_once(':') {
            None => (0, 0),
            Some((epoch, _)) if !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit()) => {
                // dpkg keeps it in an int.
                let number = epoch.parse::<i32>().map_err(|_| wrong("its epoch is too large"))?;
                (number.unsigned_abs(), epoch.len() + 1)
            }
            Some(_) => return Err(wrong("its epoch is no number")),
        };
        let rest = &text[start..];
        let end = rest.rfind('-').map_or(text.len(), |dash| start + dash);
        let (upstream, revision) = (&text[start..end], text.get(end + 1..));
        if upstream.is_empty() || revision == Some("") {
            return Err(wrong("a part of it is empty"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+.~".contains(&byte);
        let upstream_fits = upstream.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b':');
        if !upstream_fits || !revision.unwrap_or("").bytes().all(plain) {
            return Err(wrong("it has a character that no version has"));
        }
        Ok(Version { text: text.into(), epoch, upstream: (start, end) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Version) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(self.upstream(), other.upstream()))
            .then_with(|| compare(self.revision(), other.revision()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Version) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// Runs of other characters and runs of digits alternate: those are compared character by character, these as numbers.
fn compare(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    while !left.is_empty() || !right.is_empty() {
        let words =
            (take(&mut left, |byte| !byte.is_ascii_digit()), take(&mut right, |byte| !byte.is_ascii_digit()));
        let numbers =
            (take(&mut left, |byte| byte.is_ascii_digit()), take(&mut right, |byte| byte.is_ascii_digit()));
        let order = compare_words(words.0, words.1).then_with(|| compare_numbers(numbers.0, numbers.1));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

fn take<'a>(text: &mut &'a [u8], belongs: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().position(|byte| !belongs(byte)).unwrap_or(text.len());
    let (taken, rest) = text.split_at(end);
    *text = rest;
    taken
}

fn compare_words(left: &[u8], right: &[u8]) -> Ordering {
    // A tilde comes before the end, which comes before letters, which come before everything else.
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    (0..left.len().max(right.len()))
        .map(|at| weight(left.get(at)).cmp(&weight(right.get(at))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Of any length.
fn compare_numbers(left: &[u8], right: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    let (left, right) = (&left[significant(left)..], &right[significant(right)..]);
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_version_is_refused() {
        for text in
            ["", ":1", "a:1", "-1:1", "1:", "1-", "-1", "1 2", "1/2", "1_2", "3000000000:1", "1:2\n", "ü"]
        {
            assert!(text.parse::<Version>().is_err(), "{text:?}");
        }
        let version: Version = "2:1.0-rc1-3+b1".parse().unwrap();
        assert_eq!((version.upstream(), version.revision()), ("1.0-rc1", "3+b1"));
        assert_eq!(version.without_epoch(), "1.0-rc1-3+b1");
    }
}
