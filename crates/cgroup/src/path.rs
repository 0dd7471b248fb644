//! Paths of control groups: parsed once, so that no other code meets a bad one.
//!
//! Two forms exist. The kernel's own (`/skiff/ID`) names directories. systemd's (`SLICE:PREFIX:NAME`) names a unit that
//! systemd would make; it is recognised in order to be refused by name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// A path below the roots of the hierarchies; without `..`, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupPath {
    /// Whether it starts at the root of the hierarchy.
    pub(crate) absolute: bool,
    /// The directories above the group.
    pub(crate) parents: Vec<OsString>,
    /// The group's own directory.
    pub(crate) name: OsString,
}

impl GroupPath {
    /// Parses what a plan says.
    pub(crate) fn parse(path: &Path) -> Result<Self> {
        if SystemdPath::parse(path).is_some() {
            return Err(Error::Systemd { path: path.to_string_lossy().into_owned() });
        }
        let wrong = |reason| Error::Path { path: path.to_owned(), reason };
        let (mut absolute, mut parents) = (false, Vec::new());
        for component in path.components() {
            match component {
                Component::RootDir => absolute = true,
                Component::CurDir => {}
                Component::Normal(name) => parents.push(parse_name(name).map_err(wrong)?),
                Component::ParentDir => return Err(wrong("holds \"..\"; name the group itself")),
                Component::Prefix(_) => return Err(wrong("is not a Linux path")),
            }
        }
        let name = parents.pop().ok_or_else(|| wrong("names no group; add a name, as in /skiff/ID"))?;
        Ok(Self { absolute, parents, name })
    }

    /// Below `base`, from which it then is absolute.
    pub(crate) fn below(mut self, base: &Path) -> Self {
        let mut parents: Vec<_> = base.iter().map(OsStr::to_owned).collect();
        parents.append(&mut self.parents);
        Self { absolute: true, parents, name: self.name }
    }

    /// From the hierarchy's root, with a leading slash.
    pub(crate) fn to_path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        path.extend(&self.parents);
        path.push(&self.name);
        path
    }
}

/// The kernel refuses newlines in names of version 2, and no file system takes more than 255 bytes.
fn parse_name(name: &OsStr) -> std::result::Result<OsString, &'static str> {
    match name.as_bytes() {
        bytes if bytes.len() > 255 => Err("has a component of more than 255 bytes"),
        bytes if bytes.contains(&b'\n') || bytes.contains(&0) => Err("holds a newline or NUL"),
        _ => Ok(name.to_owned()),
    }
}

/// A group as systemd names it: `system.slice:docker:ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemdPath {
    /// The slice; empty is systemd's default.
    pub slice: String,
    /// What the unit's name starts with.
    pub prefix: String,
    /// What it ends with.
    pub name: String,
}

impl SystemdPath {
    /// Recognises systemd's form: three fields with colons between and no slash.
    pub fn parse(path: &Path) -> Option<Self> {
        let text = path.to_str().filter(|text| !text.contains('/'))?;
        let mut fields = text.split(':');
        let (slice, prefix, name) = (fields.next()?, fields.next()?, fields.next()?);
        let whole = fields.next().is_none() && !name.is_empty();
        whole.then(|| Self { slice: slice.into(), prefix: prefix.into(), name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_paths_are_normalised() {
        let cases = [
            ("/skiff/a", true, "/skiff/a"),
            ("skiff//a/", false, "/skiff/a"),
            ("a", false, "/a"),
            ("./a", false, "/a"),
            ("/kubepods/cri:x", true, "/kubepods/cri:x"),
            ("/a:b:c", true, "/a:b:c"),
        ];
        for (path, absolute, normal) in cases {
            let parsed = GroupPath::parse(Path::new(path)).unwrap();
            assert_eq!((parsed.absolute, parsed.to_path()), (absolute, normal.into()), "{path}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_or_nowhere_are_refused() {
        let long = "x".repeat(256);
        for path in ["", "/", ".", "..", "/skiff/..", "/../skiff/a", "a/../../b", "/a\nb", "/a\0b", &long] {
            let error = GroupPath::parse(Path::new(path)).unwrap_err();
            assert!(matches!(error, Error::Path { .. }), "{path:?}: {error}");
        }
    }

    #[test]
    fn the_form_of_systemd_is_told_apart_and_refused() {
        let parsed = SystemdPath::parse(Path::new("system.slice:docker:1234")).unwrap();
        assert_eq!((&*parsed.slice, &*parsed.prefix, &*parsed.name), ("system.slice", "docker", "1234"));
        assert!(SystemdPath::parse(Path::new(":p:n")).is_some());
        for path in ["/system.slice:docker:1", "a:b", "a:b:", "a:b:c:d", "a/b:c:d", "plain"] {
            assert_eq!(SystemdPath::parse(Path::new(path)), None, "{path}");
        }
        let error = GroupPath::parse(Path::new("system.slice:docker:1234")).unwrap_err();
        assert!(error.to_string().contains("systemd"), "{error}");
    }

    #[test]
    fn a_relative_path_goes_below_its_base() {
        let path = GroupPath::parse(Path::new("skiff/a")).unwrap().below(Path::new("user.slice/x"));
        assert_eq!(path.to_path(), Path::new("/user.slice/x/skiff/a"));
    }
}
