//! Which ids exist in the user namespace that layers are unpacked in.

use linux::file;
use std::fmt;
use std::path::Path;

/// The two kinds of ids that a file's owner has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Of users.
    User,
    /// Of groups.
    Group,
}

impl Ids {
    /// The file in which root lends ids of this kind to users.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::User => "/etc/subuid",
            Self::Group => "/etc/subgid",
        }
    }

    /// Where the kernel says which of them a process's user namespace has.
    #[must_use]
    pub fn map(self) -> &'static str {
        match self {
            Self::User => "/proc/self/uid_map",
            Self::Group => "/proc/self/gid_map",
        }
    }

    /// The highest id of this process's user namespace; 0 where that cannot be found out.
    pub(super) fn highest(self) -> u32 {
        highest(&file::read_to_string(Path::new(self.map())).unwrap_or_default())
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::User => "user",
            Self::Group => "group",
        })
    }
}

/// Lines of `first inside, first outside, count`.
fn highest(map: &str) -> u32 {
    let last = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (first, count) = (numbers.next()?.ok()?, numbers.nth(1)?.ok()?);
        Some(first.saturating_add(count.saturating_sub(1)))
    };
    map.lines().filter_map(last).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_id_is_the_last_of_any_range() {
        assert_eq!(highest("         0       1000          1\n         1     100000      65536\n"), 65_536);
        assert_eq!(highest("         0          0 4294967295\n"), 4_294_967_294);
        assert_eq!(highest(""), 0);
    }
}
