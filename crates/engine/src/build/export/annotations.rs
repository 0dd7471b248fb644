//! Annotations: where each belongs, and for which platform.
//!
//! ```text
//! --annotation [TYPE[PLATFORM],…:]KEY=VALUE            of a request
//! annotation[-TYPE][[PLATFORM]].KEY=VALUE              of an output
//! ```
//!
//! The types are `manifest` (where none is told), `manifest-descriptor`, `index` and `index-descriptor`.

use std::collections::BTreeMap;

use oci::Platform;

use crate::Result;
use crate::build::BuildError;

/// What an annotation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Manifests of images.
    Manifest,
    /// The index's entries of them.
    ManifestDescriptor,
    /// The index.
    Index,
    /// What leads to the index in a layout.
    IndexDescriptor,
}

/// All annotations of an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Annotations {
    all: Vec<(Place, Option<Platform>, String, String)>,
}

/// The most that a request may have, and the longest in bytes: all of them are in one document.
const COUNT: usize = 4096;
const LENGTH: usize = 64 << 10;

impl Annotations {
    /// Those of a request, as they were written.
    pub(super) fn of_request(texts: &[String]) -> Result<Annotations> {
        let mut annotations = Annotations::default();
        for text in texts {
            let refuse = |reason: &str| refused(text, reason);
            let (key, value) = text.split_once('=').ok_or_else(|| refuse("expected key=value"))?;
            let (types, key) = key.split_once(':').unwrap_or(("manifest", key));
            for place in types.split(',') {
                annotations.add(text, place, key, value)?;
            }
        }
        Ok(annotations)
    }

    /// Whether an option of an output is one.
    pub(super) fn is_key(key: &str) -> bool {
        key.strip_prefix("annotation").is_some_and(|rest| rest.starts_with(['.', '-', '[']))
    }

    /// Adds one of an output.
    pub(super) fn add_key(&mut self, option: &str, value: &str) -> Result<()> {
        let rest = option.strip_prefix("annotation").unwrap_or(option);
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        // A platform may have no dot in it.
        let (place, key) = rest.split_once('.').ok_or_else(|| refused(option, "it has no key"))?;
        let place = if place.is_empty() || place.starts_with('[') {
            format!("manifest{place}")
        } else {
            place.to_owned()
        };
        self.add(option, &place, key, value)
    }

    fn add(&mut self, text: &str, place: &str, key: &str, value: &str) -> Result<()> {
        let (kind, platform) = match place.split_once('[') {
            None => (place, None),
            Some((kind, platform)) => match platform.strip_suffix(']') {
                Some(platform) => (kind, Some(platform)),
                None => return Err(refused(text, "its platform has no end")),
            },
        };
        let place = match kind {
            "manifest" => Place::Manifest,
            "manifest-descriptor" => Place::ManifestDescriptor,
            "index" => Place::Index,
            "index-descriptor" => Place::IndexDescriptor,
            _ => {
                let known = "manifest, manifest-descriptor, index and index-descriptor";
                return Err(refused(text, &format!("there is no type {kind:?}; there are {known}")));
            }
        };
        if key.is_empty() {
            return Err(refused(text, "it has no key"));
        }
        if self.all.len() == COUNT || key.len() + value.len() > LENGTH {
            return Err(refused(text, "it is too much"));
        }
        let platform = platform
            .map(|text| text.parse::<Platform>().map(|platform| platform.normalized()))
            .transpose()
            .map_err(|error| refused(text, &error.to_string()))?;
        if platform.is_some() && matches!(place, Place::Index | Place::IndexDescriptor) {
            return Err(refused(text, "an index is for all platforms"));
        }
        self.all.push((place, platform, key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Those of a place, for a platform. What is told for one counts more than what is told for all.
    pub(super) fn of(&self, place: Place, platform: Option<&Platform>) -> BTreeMap<String, String> {
        let platform = platform.map(Platform::normalized);
        let mut found = BTreeMap::new();
        for is_special in [false, true] {
            for (at, only, key, value) in &self.all {
                let is_meant = only.is_none() || *only == platform;
                if *at == place && only.is_some() == is_special && is_meant {
                    found.insert(key.clone(), value.clone());
                }
            }
        }
        found
    }

    /// Whether some are on an index.
    pub(super) fn need_index(&self) -> bool {
        self.all.iter().any(|(place, ..)| matches!(place, Place::Index | Place::IndexDescriptor))
    }

    /// Whether there are any.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

fn refused(text: &str, reason: &str) -> crate::Error {
    let text = text.chars().take(80).collect();
    BuildError::Annotation { text, reason: reason.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(annotations: &Annotations, place: Place, platform: &str) -> String {
        let platform: Platform = platform.parse().unwrap();
        let all = annotations.of(place, Some(&platform));
        all.iter().map(|(key, value)| format!("{key}={value} ")).collect()
    }

    #[test]
    fn each_goes_where_it_says() {
        let texts = [
            "a=1",
            "index:b=x=y",
            "manifest[linux/arm64],index-descriptor:a=2",
            "manifest-descriptor:c.d/e=https://z",
        ];
        let mut annotations = Annotations::of_request(&texts.map(str::to_owned)).unwrap();
        for (key, value) in [
            ("annotation.f", "3"),
            ("annotation-manifest[linux/amd64].g", "4"),
            ("annotation[linux/arm64].h.i", "5"),
        ] {
            assert!(Annotations::is_key(key));
            annotations.add_key(key, value).unwrap();
        }
        assert_eq!(of(&annotations, Place::Manifest, "linux/amd64"), "a=1 f=3 g=4 ");
        assert_eq!(of(&annotations, Place::Manifest, "linux/arm64/v8"), "a=2 f=3 h.i=5 ");
        assert_eq!(of(&annotations, Place::Index, "linux/amd64"), "b=x=y ");
        assert_eq!(of(&annotations, Place::IndexDescriptor, "linux/amd64"), "a=2 ");
        assert_eq!(of(&annotations, Place::ManifestDescriptor, "linux/amd64"), "c.d/e=https://z ");
        assert!(annotations.need_index() && !Annotations::is_key("annotations"));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "a",
            "=b",
            "x:a=1",
            "manifest[linux/amd64:a=1",
            "manifest[!]:a=1",
            "index[linux/amd64]:a=1",
            "index:=1",
        ] {
            assert!(Annotations::of_request(&[bad.to_owned()]).is_err(), "{bad}");
        }
        for bad in ["annotation-layer.a", "annotation.", "annotation[linux/amd64.a"] {
            assert!(Annotations::default().add_key(bad, "1").is_err(), "{bad}");
        }
    }
}
