//! Extended attributes: a set that one inode has follows it; what several inodes have is written once, in
//! the shared area, and referred to.
//!
//! ```text
//! after the inode:  [filter 4][shared count 1][0 × 7] [shared reference 4]* [entry]*
//! entry:            [name length 1][prefix 1][value length 2][name without prefix][value][to 4 bytes]
//! ```
//! A reference counts units of four bytes from the start of the shared area.

use crate::disk::{put16, put32};
use crate::{Error, Tree};
use std::collections::HashMap;

/// Bytes before the references.
const HEADER: u64 = 12;
/// The most that an inode's count of units can say.
const MOST_BYTES: u64 = HEADER + 4 * 65_534;

/// Namespaces and their numbers. An ACL has no name beyond its prefix.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// Whether the format can hold an attribute of this name.
#[must_use]
pub fn is_expressible(name: &[u8]) -> bool {
    split(name).is_some()
}

fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|(prefix, number)| {
        let rest = name.strip_prefix(*prefix)?;
        let is_acl = matches!(number, 2 | 3);
        (rest.is_empty() == is_acl).then_some((*number, rest))
    })
}

/// Where every set's attributes are.
pub(crate) struct Xattrs {
    sets: Vec<Set>,
    /// The shared area.
    pub(crate) shared: Vec<u8>,
}

enum Set {
    /// Entries of so many bytes follow the inode.
    Inline(u64),
    /// References follow the inode.
    Shared(Vec<u32>),
}

impl Xattrs {
    /// Places the sets; `uses` counts the inodes of each.
    pub(crate) fn place(tree: &impl Tree, uses: &[u32]) -> Result<Self, Error> {
        let mut places: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut shared = Vec::new();
        let mut sets = Vec::with_capacity(uses.len());
        for (number, &uses) in (0..).zip(uses) {
            let mut entries = Vec::new();
            let mut failed = None;
            tree.xattr_set(number, &mut |name, value| match encode(name, value) {
                Some(entry) => entries.push(entry),
                None => failed = Some(Error::Xattr { name: name.escape_ascii().to_string() }),
            });
            if let Some(error) = failed {
                return Err(error);
            }
            // References are counted in one byte.
            if uses < 2 || entries.len() > 255 {
                sets.push(Set::Inline(entries.iter().map(|entry| entry.len() as u64).sum()));
                continue;
            }
            let references = entries.into_iter().map(|entry| {
                let next = u32::try_from(shared.len() / 4).map_err(|_| Error::LargeIndex)?;
                if !places.contains_key(&entry) {
                    shared.extend_from_slice(&entry);
                }
                Ok(*places.entry(entry).or_insert(next))
            });
            sets.push(Set::Shared(references.collect::<Result<_, Error>>()?));
        }
        let placed = Self { sets, shared };
        match (0..).zip(uses).find(|&(number, _)| placed.bytes(number) > MOST_BYTES) {
            Some((number, _)) => Err(Error::Xattr { name: format!("set {number}") }),
            None => Ok(placed),
        }
    }

    fn set(&self, number: u32) -> Option<&Set> {
        self.sets.get(usize::try_from(number).ok()?)
    }

    /// Bytes that follow an inode of this set.
    pub(crate) fn bytes(&self, set: u32) -> u64 {
        match self.set(set) {
            None | Some(Set::Inline(0)) => 0,
            Some(Set::Inline(bytes)) => HEADER + bytes,
            Some(Set::Shared(references)) if references.is_empty() => 0,
            Some(Set::Shared(references)) => HEADER + 4 * references.len() as u64,
        }
    }

    /// Appends what follows an inode of this set.
    pub(crate) fn put(&self, tree: &impl Tree, set: u32, out: &mut Vec<u8>) {
        if self.bytes(set) == 0 {
            return;
        }
        let references = match self.set(set) {
            Some(Set::Shared(references)) => references.as_slice(),
            Some(Set::Inline(_)) | None => &[],
        };
        put32(out, 0);
        out.push(u8::try_from(references.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(&[0; 7]);
        for &reference in references {
            put32(out, reference);
        }
        if references.is_empty() {
            tree.xattr_set(set, &mut |name, value| out.extend(encode(name, value).unwrap_or_default()));
        }
    }
}

fn encode(name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let (prefix, rest) = split(name)?;
    let mut entry = vec![u8::try_from(rest.len()).ok()?, prefix];
    put16(&mut entry, u16::try_from(value.len()).ok()?);
    entry.extend_from_slice(rest);
    entry.extend_from_slice(value);
    entry.resize(entry.len().next_multiple_of(4), 0);
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_splits_into_prefix_and_rest() {
        assert_eq!(split(b"security.capability"), Some((6, &b"capability"[..])));
        assert_eq!(split(b"system.posix_acl_access"), Some((2, &b""[..])));
        assert_eq!(split(b"system.posix_acl_access2"), None);
        assert_eq!(split(b"user."), None);
        assert_eq!(split(b"system.nfs4_acl"), None);
        assert_eq!(split(b"com.apple.provenance"), None);
    }

    #[test]
    fn an_entry_is_padded_to_units() {
        assert_eq!(encode(b"user.a", b"1").unwrap(), b"\x01\x01\x01\0a1\0\0");
        assert_eq!(encode(b"user.a", &[0; 65_536]), None);
    }
}
