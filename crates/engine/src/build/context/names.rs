//! What was seen in a directory, in one piece of memory: a context has many files, and is walked through several times.

use std::ops::Deref;
use std::sync::Arc;

use super::Item;

/// What is in a directory, sorted by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::build) struct Names(Arc<Vec<Slot>>);

/// One of the names in a directory. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::build) struct Seen {
    names: Names,
    at: usize,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are of the larger kind")]
pub(super) enum Slot {
    Here(Item),
    /// It was looked at before the directory was listed.
    Before(Seen),
}

impl Deref for Slot {
    type Target = Item;

    fn deref(&self) -> &Item {
        match self {
            Slot::Here(item) => item,
            Slot::Before(seen) => seen,
        }
    }
}

impl Names {
    /// Of what is sorted by name.
    pub(super) fn new(sorted: Vec<Slot>) -> Self {
        Self(Arc::new(sorted))
    }

    pub(in crate::build) fn len(&self) -> usize {
        self.0.len()
    }

    /// In order.
    pub(in crate::build) fn items(&self) -> impl Iterator<Item = &Item> {
        self.0.iter().map(|slot| &**slot)
    }

    /// The one at a place.
    pub(in crate::build) fn get(&self, at: usize) -> Option<(&Item, Seen)> {
        let slot = self.0.get(at)?;
        let seen = match slot {
            Slot::Here(_) => Seen { names: self.clone(), at },
            Slot::Before(seen) => seen.clone(),
        };
        Some((slot, seen))
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<Seen> {
        let at = self.0.binary_search_by(|slot| slot.name().cmp(name)).ok()?;
        self.get(at).map(|(_, seen)| seen)
    }
}

impl From<Item> for Seen {
    /// One that was asked for by its name.
    fn from(item: Item) -> Self {
        Self { names: Names::new(vec![Slot::Here(item)]), at: 0 }
    }
}

impl Deref for Seen {
    type Target = Item;

    fn deref(&self) -> &Item {
        // Made for a place that there is, by the two above.
        &self.names.0[self.at]
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests handle their own files")]
mod tests {
    use super::super::Files;
    use super::*;
    use crate::build::world::Remembered;

    #[test]
    fn what_was_asked_for_by_name_is_the_same_when_its_directory_is_listed() {
        let folder = testkit::Scratch::new();
        ["b", "a", "c", "a.b"].iter().for_each(|name| std::fs::write(folder.join(name), name).unwrap());
        std::fs::create_dir(folder.join("a-b")).unwrap();
        let hashes = Arc::new(Remembered::default());
        let files = Files::open(folder.as_ref(), ("context", "nonce"), None, hashes).unwrap();
        let before = files.find(files.top(), b"b").unwrap().unwrap();
        std::fs::write(folder.join("b"), "another size").unwrap();
        let names = files.list(files.top()).unwrap();
        let listed: Vec<&[u8]> = names.items().map(Item::name).collect();
        assert_eq!(listed, [&b"a"[..], b"a-b", b"a.b", b"b", b"c"]);
        for (at, item) in names.items().enumerate() {
            let (here, seen) = names.get(at).unwrap();
            let found = files.find(files.top(), item.name()).unwrap().unwrap();
            assert!(std::ptr::eq(here, item) && std::ptr::eq(&raw const *seen, item));
            assert!(std::ptr::eq(&raw const *found, item));
        }
        let (_, after) = names.get(3).unwrap();
        assert!(std::ptr::eq(&raw const *before, &raw const *after));
        assert_eq!(after.identity().size, 1, "as it was when it was first seen");
        assert!(names.get(5).is_none() && names.find(b"d").is_none());
    }
}
