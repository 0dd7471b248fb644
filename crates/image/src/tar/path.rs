//! Names of entries, normalised so that they cannot leave the root.

use super::Limits;
use super::error::{Defect, Field, Shown};
use std::fmt;

/// A path below the root: components joined by single slashes, none of them empty, `.` or `..`, none longer
/// than 255 bytes, no NUL. Bytes, not necessarily UTF-8. Empty for the root itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryPath(Box<[u8]>);

impl EntryPath {
    /// Normalises an entry's name: `./a//b/` is `a/b`; `/`, `.` and `./` are the root.
    ///
    /// # Errors
    /// Absolute names, `..`, NUL, overlong names and the empty name are refused.
    pub fn from_name(name: &[u8], limits: &Limits) -> Result<Self, Defect> {
        if name.is_empty() {
            return Err(Defect::NoName);
        }
        if name.first() == Some(&b'/') && name.iter().any(|&byte| byte != b'/') {
            return Err(Defect::AbsoluteName);
        }
        normalise(name, Field::Name, limits)
    }

    /// Normalises the target of a hard link, which names an entry: a leading slash means the root of the
    /// layers, as in Docker.
    ///
    /// # Errors
    /// As [`EntryPath::from_name`], but absolute targets are taken below the root.
    pub fn from_link_target(target: &[u8], limits: &Limits) -> Result<Self, Defect> {
        if target.is_empty() {
            return Err(Defect::NoTarget);
        }
        normalise(target, Field::LinkTarget, limits)
    }

    /// Whether this is the root itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, outermost first; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        // The only empty piece that splitting can give is that of the empty path.
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// The components joined by `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The parent and the last component; nothing for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[u8], &[u8])> {
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => Some((&self.0[..slash], &self.0[slash + 1..])),
            None if self.0.is_empty() => None,
            None => Some((&[], &self.0)),
        }
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str("\"/\"") } else { Shown(&self.0).fmt(f) }
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn normalise(raw: &[u8], field: Field, limits: &Limits) -> Result<EntryPath, Defect> {
    if raw.len() > limits.path_bytes {
        return Err(Defect::Limit { what: "the length of a path", limit: limits.path_bytes as u64 });
    }
    if raw.contains(&0) {
        return Err(Defect::NulByte(field));
    }
    let mut path = Vec::with_capacity(raw.len());
    let mut depth = 0;
    for component in raw.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(Defect::ParentComponent(field)),
            long if long.len() > 255 => return Err(Defect::LongComponent(field)),
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
        depth += 1;
    }
    if depth > limits.path_depth {
        return Err(Defect::Limit { what: "the depth of a path", limit: limits.path_depth as u64 });
    }
    Ok(EntryPath(path.into_boxed_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(names: &[&[u8]], expected: Expect) {
        let mut table = String::new();
        for name in names {
            let shown = match EntryPath::from_name(name, &Limits::default()) {
                Ok(path) => format!("{path}"),
                Err(defect) => format!("{defect}"),
            };
            table += &format!("{} -> {shown}\n", name[..name.len().min(20)].escape_ascii());
        }
        expected.assert_eq(&table);
    }

    #[test]
    fn names_are_normalised_or_refused() {
        check(
            &[
                b"a/b",
                b"./a//b/",
                b"a/./b",
                b"/",
                b"//",
                b".",
                b"./",
                b"",
                b"/a",
                b"../a",
                b"a/..",
                b"...",
                b"a\0b",
                &[b'x'; 256],
                &[b'/'; 5000],
            ],
            expect![[r#"
                a/b -> "a/b"
                ./a//b/ -> "a/b"
                a/./b -> "a/b"
                / -> "/"
                // -> "/"
                . -> "/"
                ./ -> "/"
                 -> it has no name
                /a -> the name is absolute; names in a layer are relative to its root
                ../a -> the name contains '..', which could leave the root
                a/.. -> the name contains '..', which could leave the root
                ... -> "..."
                a\x00b -> the name contains a NUL byte
                xxxxxxxxxxxxxxxxxxxx -> a component of the name is longer than 255 bytes
                //////////////////// -> the length of a path exceeds the limit of 4095
            "#]],
        );
    }

    #[test]
    fn a_path_splits_into_parent_and_name() {
        let path = |name: &[u8]| EntryPath::from_name(name, &Limits::default()).unwrap();
        assert_eq!(path(b"a/b/c").split_last(), Some((&b"a/b"[..], &b"c"[..])));
        assert_eq!(path(b"a").split_last(), Some((&b""[..], &b"a"[..])));
        assert_eq!(path(b".").split_last(), None);
        assert_eq!(path(b"a/b").components().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(path(b".").components().count(), 0);
    }
}
