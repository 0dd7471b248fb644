//! `--cache-from` and `--cache-to`, `--cache-mounts-from` and `--cache-mounts-to`, as they were asked for.

use std::fmt;
use std::path::PathBuf;

use image::Codec;
use oci::{Digest, Reference};

use crate::Result;
use crate::build::asked::Asked;
use crate::build::export::codec_of;
use crate::images::parse_tag;
use crate::request::Build;

/// Where a cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::build) enum Place {
    /// In a registry.
    Registry(Reference),
    /// In an OCI layout, by a tag or a digest.
    Local { directory: PathBuf, tag: String, digest: Option<Digest> },
    /// In an OCI layout that is one tar, and has nothing else in it.
    Tar(PathBuf),
    /// In the image that is exported.
    Inline,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Registry(reference) => reference.fmt(f),
            Place::Local { directory, digest: Some(digest), .. } => {
                write!(f, "local:{}@{digest}", directory.display())
            }
            Place::Local { directory, tag, digest: None } => write!(f, "local:{}:{tag}", directory.display()),
            Place::Tar(path) => write!(f, "tar:{}", path.display()),
            Place::Inline => f.write_str("inline"),
        }
    }
}

/// A cache to be written.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) place: Place,
    /// All layers of the build, not only those of its result.
    pub(super) is_max: bool,
    pub(super) codec: Codec,
    /// What goes wrong is told, and the build succeeds.
    pub(super) ignores_errors: bool,
    /// As an image's manifest, in place of an index.
    pub(super) is_manifest: bool,
}

/// Cache mounts that are read.
#[derive(Clone, Debug)]
pub(in crate::build) struct MountsFrom {
    pub(in crate::build) place: Place,
    ids: Vec<String>,
}

/// Cache mounts that are to be written.
#[derive(Clone, Debug)]
pub(in crate::build) struct MountsTo {
    pub(in crate::build) place: Place,
    pub(in crate::build) codec: Codec,
    /// What goes wrong is told, and the build succeeds.
    pub(in crate::build) ignores_errors: bool,
    ids: Vec<String>,
}

impl MountsFrom {
    /// Whether a mount of this id is meant.
    pub(in crate::build) fn wants(&self, id: &str) -> bool {
        self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id)
    }
}

impl MountsTo {
    /// Whether a mount of this id is meant.
    pub(in crate::build) fn wants(&self, id: &str) -> bool {
        self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id)
    }
}

/// Refuses what cannot be done, before anything is built.
pub(in crate::build) fn check(request: &Build) -> Result<()> {
    imports(request)?;
    exports(request)?;
    mounts_from(request)?;
    mounts_to(request).map(drop)
}

/// Cache mounts that are read.
pub(in crate::build) fn mounts_from(request: &Build) -> Result<Vec<MountsFrom>> {
    let asked = request.cache_mounts_from.iter();
    asked.map(|fields| Asked::of("--cache-mounts-from", fields).mounts_from()).collect()
}

/// Cache mounts that are to be written.
pub(in crate::build) fn mounts_to(request: &Build) -> Result<Vec<MountsTo>> {
    let asked = request.cache_mounts_to.iter();
    asked.map(|fields| Asked::of("--cache-mounts-to", fields).mounts_to()).collect()
}

/// Caches that are read.
pub(super) fn imports(request: &Build) -> Result<Vec<Place>> {
    request.cache_from.iter().map(|fields| Asked::of("--cache-from", fields).import()).collect()
}

/// Caches that are written.
pub(super) fn exports(request: &Build) -> Result<Vec<Target>> {
    let inline = vec![("type".to_owned(), "inline".to_owned())];
    let is_asked = request.wants_inline_cache() && !request.cache_to.contains(&inline);
    let all = request.cache_to.iter().chain(is_asked.then_some(&inline));
    all.map(|fields| Asked::of("--cache-to", fields).export()).collect()
}

/// What each option makes of its fields.
impl Asked<'_> {
    fn place(&mut self, directory: &str) -> Result<Place> {
        match self.kind {
            "registry" => {
                let name = self.take("ref").ok_or_else(|| self.refuse("it takes ref=…".to_owned()))?;
                Ok(Place::Registry(parse_tag(name)?))
            }
            "local" => {
                let path = self.take(directory).filter(|path| !path.is_empty());
                let path = path.ok_or_else(|| self.refuse(format!("it takes a directory: {directory}=…")))?;
                let digest = match self.take("digest") {
                    None => None,
                    Some(text) => {
                        Some(text.parse().map_err(|_| self.refuse(format!("{text:?} is no digest")))?)
                    }
                };
                let tag = self.take("tag").unwrap_or("latest").to_owned();
                Ok(Place::Local { directory: PathBuf::from(path), tag, digest })
            }
            "tar" => {
                let path = self.take(directory).filter(|path| !path.is_empty());
                let path = path.ok_or_else(|| self.refuse(format!("it takes a file: {directory}=…")))?;
                Ok(Place::Tar(PathBuf::from(path)))
            }
            "gha" | "s3" | "azblob" => {
                let reason = "it is kept by a service of one company; use type=registry or type=local";
                Err(self.refuse(reason.to_owned()))
            }
            "" => Err(self.refuse("it has no type".to_owned())),
            _ if self.option.starts_with("--cache-mounts") => {
                Err(self.refuse("there is no such type; there are registry, local and tar".to_owned()))
            }
            _ => {
                Err(self
                    .refuse("there is no such type; there are registry, local, tar and inline".to_owned()))
            }
        }
    }

    fn import(mut self) -> Result<Place> {
        if self.kind == "inline" {
            return Err(self.refuse("an image that has its own cache is type=registry".to_owned()));
        }
        let place = self.place("src")?;
        self.finish()?;
        Ok(place)
    }

    fn mounts_from(mut self) -> Result<MountsFrom> {
        let place = self.mounts_place("src")?;
        let ids = self.ids();
        self.finish()?;
        Ok(MountsFrom { place, ids })
    }

    fn mounts_to(mut self) -> Result<MountsTo> {
        let place = self.mounts_place("dest")?;
        let (kind, level) = (self.take("compression"), self.take("compression-level"));
        // Nobody but builds of this kind reads them, so the better one is the usual one.
        let codec = codec_of(kind, level).map_err(|reason| self.refuse(reason))?.unwrap_or(Codec::ZSTD);
        let ignores_errors = self.flag("ignore-error", false)?;
        let ids = self.ids();
        self.finish()?;
        Ok(MountsTo { place, codec, ignores_errors, ids })
    }

    fn mounts_place(&mut self, directory: &str) -> Result<Place> {
        match self.kind {
            "inline" => {
                Err(self.refuse("an image has no cache mounts; use type=registry or type=local".to_owned()))
            }
            _ => self.place(directory),
        }
    }

    /// The caches that are meant: `id=` may stand several times.
    fn ids(&mut self) -> Vec<String> {
        let taken = self.take_all(|name| name.eq_ignore_ascii_case("id")).into_iter();
        taken.map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty()).collect()
    }

    fn export(mut self) -> Result<Target> {
        let place = if self.kind == "inline" { Place::Inline } else { self.place("dest")? };
        let is_max = match self.take("mode").unwrap_or("min") {
            "min" => false,
            "max" if place == Place::Inline => {
                return Err(self.refuse("an image has the layers of its result alone: mode=min".to_owned()));
            }
            "max" => true,
            other => return Err(self.refuse(format!("mode={other:?} is neither min nor max"))),
        };
        let (kind, level) = (self.take("compression"), self.take("compression-level"));
        let codec = codec_of(kind, level).map_err(|reason| self.refuse(reason))?.unwrap_or_default();
        // All layers are compressed here, and all documents are OCI's.
        self.flag("force-compression", false)?;
        self.flag("oci-mediatypes", true)?;
        let ignores_errors = self.flag("ignore-error", false)?;
        let is_manifest = self.flag("image-manifest", true)?;
        self.finish()?;
        Ok(Target { place, is_max, codec, ignores_errors, is_manifest })
    }
}
