//! What an output makes of an image: names, compression, annotations, where it goes.

use image::Codec;
use oci::Reference;

use super::super::annotations::Annotations;
use super::ImageOptions;
use crate::build::asked::Asked;
use crate::images::parse_tag;
use crate::request::Build;
use crate::{Error, Result};

pub(super) fn image(asked: &mut Asked<'_>, request: &Build, is_registry: bool) -> Result<ImageOptions> {
    let push = asked.flag("push", is_registry)?;
    let by_digest = asked.flag("push-by-digest", false)?;
    let codec = codec(asked)?;
    let is_oci = asked.flag("oci-mediatypes", true)?;
    let mut annotations = Annotations::of_request(&request.annotations)?;
    for (key, value) in asked.take_all(Annotations::is_key) {
        annotations.add_key(key, value)?;
    }
    let named = asked.take("name").unwrap_or_default();
    // What was said by -t counts, as with buildx.
    let names: Vec<&str> = match request.tags.as_slice() {
        [] => named.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
        tags => tags.iter().map(String::as_str).collect(),
    };
    let names = names.into_iter().map(|name| reference(name, by_digest)).collect::<Result<Vec<_>>>()?;
    if push && names.is_empty() {
        return Err(asked.refuse("tag is needed when pushing to registry".to_owned()));
    }
    let dangling = asked.take("dangling-name-prefix").filter(|name| !name.is_empty());
    let options = ImageOptions {
        names,
        codec,
        forces_codec: asked.flag("force-compression", false)?,
        has_docker_types: !is_oci,
        annotations,
        push,
        by_digest,
        store: asked.flag("store", true)? && !by_digest,
        dangling: dangling.map(|name| reference(name, true)).transpose()?,
        canonical: asked.flag("name-canonical", false)?,
        is_artifact: asked.flag("oci-artifact", false)?,
    };
    // An image here needs no unpacking, and times of files are those that were asked for in any case.
    for key in ["unpack", "rewrite-timestamp", "prefer-nondist-layers"] {
        asked.flag(key, false)?;
    }
    if asked.flag("registry.insecure", false)? {
        let reason = "registry.insecure: say so for the registry, in hosts.toml or daemon.json";
        return Err(asked.refuse(reason.to_owned()));
    }
    for key in ["buildinfo", "buildinfo-attrs"] {
        if asked.take(key).is_some() {
            return Err(asked.refuse(format!("{key} is gone from BuildKit; use --provenance")));
        }
    }
    Ok(options)
}

/// A name of an image; a repository alone where it is known by its digest there.
fn reference(name: &str, is_repository: bool) -> Result<Reference> {
    if !is_repository {
        return parse_tag(name);
    }
    let source = |source| Error::InvalidReference { text: name.chars().take(80).collect(), source };
    name.parse::<Reference>().map_err(source)
}

/// How layers are compressed; nothing if nothing was said of it.
pub(in crate::build) fn codec_of(
    kind: Option<&str>,
    level: Option<&str>,
) -> std::result::Result<Option<Codec>, String> {
    let level = match level.map(|text| (text, text.parse::<i32>())) {
        None => None,
        Some((_, Ok(level))) => Some(level),
        Some((text, Err(_))) => return Err(format!("compression-level={text:?} is no number")),
    };
    let beyond = |most: i32| match level {
        Some(level) if !(0..=most).contains(&level) => {
            Err(format!("compression-level={level} is not between 0 and {most}"))
        }
        _ => Ok(()),
    };
    Ok(Some(match kind {
        None if level.is_none() => return Ok(None),
        None | Some("gzip") => {
            beyond(9)?;
            level.and_then(|level| u32::try_from(level).ok()).map_or(Codec::GZIP, Codec::Gzip)
        }
        Some("uncompressed") => Codec::Tar,
        Some("zstd") => {
            beyond(22)?;
            level.map_or(Codec::ZSTD, Codec::Zstd)
        }
        Some("estargz") => return Err("compression=estargz is not supported; use gzip or zstd".to_owned()),
        Some(other) => {
            return Err(format!("there is no compression {other:?}; there are uncompressed, gzip and zstd"));
        }
    }))
}

fn codec(asked: &mut Asked<'_>) -> Result<Option<Codec>> {
    let (kind, level) = (asked.take("compression"), asked.take("compression-level"));
    codec_of(kind, level).map_err(|reason| asked.refuse(reason))
}
