//! Device rules, for both versions.
//!
//! Rules are applied in order to a group that starts with everything denied, and the last rule that speaks about
//! a device and a kind of access decides it; asking for several kinds at once needs all of them. Version 2 runs this
//! literally, as a BPF program that goes through the rules from the last to the first. Version 1 keeps a default and
//! a set of exceptions, so the outcome of the rules is worked out beforehand; where it would need an exception from an
//! exception, which version 1 cannot hold and would silently ignore, the rules are refused.

use std::fmt;

use crate::error::{Error, Result};
use crate::plan::{DeviceKind, DeviceRule};

/// Bits of access, as in the kernel's `BPF_DEVCG_ACC_*`.
pub(crate) const MKNOD: u8 = 1;
pub(crate) const READ: u8 = 2;
pub(crate) const WRITE: u8 = 4;
const EVERYTHING: u8 = MKNOD | READ | WRITE;

/// The bits of access that a rule speaks about.
pub(crate) fn access(rule: &DeviceRule) -> u8 {
    [(rule.mknod, MKNOD), (rule.read, READ), (rule.write, WRITE)]
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, bit)| bit)
        .sum()
}

/// Whether a rule speaks about every access to every device.
pub(crate) fn is_about_everything(rule: &DeviceRule) -> bool {
    rule.kind.is_none() && rule.major.is_none() && rule.minor.is_none() && access(rule) == EVERYTHING
}

/// What version 1 keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LegacyAccess {
    /// Whether a device without an exception may be used.
    pub(crate) allowed: bool,
    /// Devices that differ from the default.
    pub(crate) exceptions: Vec<Exception>,
}

/// Devices of one kind, and the access in which they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

impl Exception {
    /// Whether every device of `other` is one of ours.
    fn covers(&self, other: &Self) -> bool {
        let within = |mine: Option<u32>, other: Option<u32>| mine.is_none() || mine == other;
        self.kind == other.kind && within(self.major, other.major) && within(self.minor, other.minor)
    }

    /// Whether some device of `other` is one of ours.
    fn meets(&self, other: &Self) -> bool {
        let common =
            |mine: Option<u32>, other: Option<u32>| mine.is_none() || other.is_none() || mine == other;
        self.kind == other.kind && common(self.major, other.major) && common(self.minor, other.minor)
    }
}

/// As `devices.allow` and `devices.deny` take it.
impl fmt::Display for Exception {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = match self.kind {
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        write!(text, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        let letters = [(READ, "r"), (WRITE, "w"), (MKNOD, "m")];
        letters
            .iter()
            .filter(|(bit, _)| self.access & bit != 0)
            .try_for_each(|(_, letter)| text.write_str(letter))
    }
}

impl LegacyAccess {
    /// What `rules` come to.
    pub(crate) fn of(rules: &[DeviceRule]) -> Result<Self> {
        let mut result = Self { allowed: false, exceptions: Vec::new() };
        for rule in rules {
            if is_about_everything(rule) {
                result = Self { allowed: rule.allow, exceptions: Vec::new() };
                continue;
            }
            let kinds = [DeviceKind::Block, DeviceKind::Char];
            for kind in kinds.into_iter().filter(|kind| rule.kind.is_none_or(|only| only == *kind)) {
                let subject = Exception { kind, major: rule.major, minor: rule.minor, access: access(rule) };
                if rule.allow == result.allowed {
                    result.back_to_default(&subject)?
                } else {
                    result.except(subject)
                }
            }
        }
        Ok(result)
    }

    fn except(&mut self, subject: Exception) {
        let same = |one: &&mut Exception| one.covers(&subject) && subject.covers(one);
        match self.exceptions.iter_mut().find(same) {
            Some(known) => known.access |= subject.access,
            None if subject.access != 0 => self.exceptions.push(subject),
            None => {}
        }
    }

    fn back_to_default(&mut self, subject: &Exception) -> Result<()> {
        for known in self.exceptions.iter_mut().filter(|known| known.access & subject.access != 0) {
            if subject.covers(known) {
                known.access &= !subject.access;
            } else if subject.meets(known) {
                return Err(Error::Unenforceable {
                    limit: "devices".to_owned(),
                    reason: format!(
                        "control groups of version 1 cannot except {subject} from {known}; name the devices one by one"
                    ),
                });
            }
        }
        self.exceptions.retain(|known| known.access != 0);
        Ok(())
    }

    /// What `devices.list` says of a group, as far as it says it: exceptions from an allowed default are not listed.
    pub(crate) fn parse(list: &str) -> Option<Self> {
        let mut result = Self { allowed: false, exceptions: Vec::new() };
        for line in list.lines() {
            if line.starts_with('a') {
                return Some(Self { allowed: true, exceptions: Vec::new() });
            }
            result.exceptions.push(parse_exception(line)?);
        }
        Some(result)
    }

    /// Writes that turn a group that is as `present` says into one as `self` says: the file, and the line.
    ///
    /// Between two closed groups what stays allowed is never taken away, not even for a moment.
    pub(crate) fn writes(&self, present: Option<&Self>) -> Vec<(&'static str, String)> {
        let (except, undo) = if self.allowed { (ALLOW, DENY) } else { (DENY, ALLOW) };
        match present {
            Some(present) if !present.allowed && !self.allowed => {
                let added = self.exceptions.iter().filter(|one| !present.exceptions.contains(one));
                let mut writes: Vec<_> = added.map(|one| (ALLOW, one.to_string())).collect();
                writes.extend(present.surplus(self).iter().map(|one| (DENY, one.to_string())));
                writes
            }
            _ => {
                let mut writes = vec![(except, "a".to_owned())];
                writes.extend(self.exceptions.iter().map(|one| (undo, one.to_string())));
                writes
            }
        }
    }

    /// Exceptions, or bits of them, that `wanted` does not have for the very same devices.
    fn surplus(&self, wanted: &Self) -> Vec<Exception> {
        let leftover = |known: &Exception| {
            let same = wanted.exceptions.iter().find(|one| one.covers(known) && known.covers(one));
            Exception { access: known.access & !same.map_or(0, |one| one.access), ..*known }
        };
        self.exceptions.iter().map(leftover).filter(|one| one.access != 0).collect()
    }
}

const ALLOW: &str = "devices.allow";
const DENY: &str = "devices.deny";

/// `c 1:3 rwm`.
fn parse_exception(line: &str) -> Option<Exception> {
    let mut fields = line.split([' ', ':']);
    let kind = match fields.next()? {
        "b" => DeviceKind::Block,
        "c" => DeviceKind::Char,
        _ => return None,
    };
    let number = |field: &str| if field == "*" { Some(None) } else { field.parse().ok().map(Some) };
    let (major, minor) = (number(fields.next()?)?, number(fields.next()?)?);
    let letters = fields.next()?;
    let bits = [('r', READ), ('w', WRITE), ('m', MKNOD)];
    let access = bits.iter().filter(|(letter, _)| letters.contains(*letter)).map(|(_, bit)| bit).sum();
    Some(Exception { kind, major, minor, access })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A rule from `+c 1:3 rw` or `-a`.
    pub(crate) fn rule(text: &str) -> DeviceRule {
        let (sign, rest) = text.split_at(1);
        let rest = if rest == "a" { "a *:* rwm" } else { rest };
        let fields: Vec<&str> = rest.split([' ', ':']).collect();
        let number = |field: &str| (field != "*").then(|| field.parse().unwrap());
        DeviceRule {
            allow: sign == "+",
            kind: match fields[0] {
                "b" => Some(DeviceKind::Block),
                "c" => Some(DeviceKind::Char),
                _ => None,
            },
            major: number(fields[1]),
            minor: number(fields[2]),
            read: fields[3].contains('r'),
            write: fields[3].contains('w'),
            mknod: fields[3].contains('m'),
        }
    }

    pub(crate) fn rules(texts: &[&str]) -> Vec<DeviceRule> {
        texts.iter().map(|text| rule(text)).collect()
    }

    fn written(texts: &[&str]) -> Vec<String> {
        let access = LegacyAccess::of(&rules(texts)).unwrap();
        access.writes(None).into_iter().map(|(file, line)| format!("{file} {line}")).collect()
    }

    #[test]
    fn rules_become_a_default_and_its_exceptions() {
        let cases: [(&[&str], &[&str]); 8] = [
            (&[], &["devices.deny a"]),
            (&["-a", "+c 1:3 rwm"], &["devices.deny a", "devices.allow c 1:3 rwm"]),
            (&["+c 1:3 r", "+c 1:3 w"], &["devices.deny a", "devices.allow c 1:3 rw"]),
            (&["+c 1:3 rwm", "-c 1:3 m"], &["devices.deny a", "devices.allow c 1:3 rw"]),
            (
                &["+c 1:3 rwm", "+c 1:5 rwm", "-c *:* wm"],
                &["devices.deny a", "devices.allow c 1:3 r", "devices.allow c 1:5 r"],
            ),
            (&["+a", "-c 10:229 rwm"], &["devices.allow a", "devices.deny c 10:229 rwm"]),
            (&["+a", "-c 10:229 rwm", "+c 10:* rw"], &["devices.allow a", "devices.deny c 10:229 m"]),
            (&["+a *:* m"], &["devices.deny a", "devices.allow b *:* m", "devices.allow c *:* m"]),
        ];
        for (rules, writes) in cases {
            assert_eq!(written(rules), writes, "{rules:?}");
        }
    }

    #[test]
    fn an_exception_from_an_exception_is_refused_by_name() {
        for texts in [&["+c 1:* rwm", "-c 1:3 w"][..], &["+a", "-c *:3 rwm", "+c 1:* r"]] {
            let error = LegacyAccess::of(&rules(texts)).unwrap_err().to_string();
            assert!(error.contains("cannot except c 1:"), "{texts:?}: {error}");
        }
    }

    #[test]
    fn an_update_of_a_closed_group_never_closes_what_stays_open() {
        let present = LegacyAccess::parse("c 1:3 rwm\nb 8:* r\nc 136:* rw\n").unwrap();
        let wanted = LegacyAccess::of(&rules(&["+c 1:3 rw", "+c 136:* rw", "+c 10:200 rwm"])).unwrap();
        let writes = wanted.writes(Some(&present));
        let expected = [
            ("devices.allow", "c 1:3 rw"),
            ("devices.allow", "c 10:200 rwm"),
            ("devices.deny", "c 1:3 m"),
            ("devices.deny", "b 8:* r"),
        ];
        assert_eq!(writes, expected.map(|(file, line)| (file, line.to_owned())));
    }

    #[test]
    fn an_open_group_is_closed_in_full() {
        let present = LegacyAccess::parse("a *:* rwm\n").unwrap();
        assert!(present.allowed);
        let wanted = LegacyAccess::of(&rules(&["+c 1:3 rw"])).unwrap();
        assert_eq!(wanted.writes(Some(&present))[0], ("devices.deny", "a".to_owned()));
    }
}
