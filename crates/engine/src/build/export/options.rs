//! `-o`: what comes out of a build, as it was asked for.
//!
//! | type | goes to | several platforms |
//! |---|---|---|
//! | `image` | the image store, and a registry with `push=true` | an index |
//! | `registry` | the same, with `push=true` | an index |
//! | `docker` | an archive for `docker load`; the image store if it names no file | an index beside one image |
//! | `oci` | an OCI layout: a tar, or a directory with `tar=false` | an index |
//! | `tar` | a tar of the file system | a directory each |
//! | `local` | a directory | a directory each |
//! | `cacheonly` | nowhere | |
//!
//! Options are those of BuildKit. One that nobody knows is refused: it is more likely a slip than a wish.

use std::path::PathBuf;

use image::Codec;
use oci::Reference;

use super::annotations::Annotations;
use crate::build::BuildError;
use crate::images::parse_tag;
use crate::request::{Build, Fields, parse_bool};
use crate::{Error, Result};

/// One output.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// Into the store, and from there perhaps to a registry.
    Image(ImageOptions),
    /// An archive of images.
    Archive { format: Format, target: Target, options: ImageOptions },
    /// The file system as a tar.
    Tar { target: Target, options: TreeOptions },
    /// The file system as a directory.
    Local { directory: PathBuf, deletes: bool, options: TreeOptions },
    /// Nothing.
    None,
}

/// What kind of archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For `docker load`.
    Docker,
    /// An OCI layout.
    Oci,
}

/// Where bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The caller's stream.
    Stream,
    /// A file.
    File(PathBuf),
    /// A directory, which is an OCI layout then.
    Directory(PathBuf),
}

/// What an image is to be.
#[derive(Clone, Debug)]
pub(super) struct ImageOptions {
    /// What it is called, each with a tag, but for pushes by digest.
    pub(super) names: Vec<Reference>,
    /// How its layers are compressed, if that was said.
    pub(super) codec: Option<Codec>,
    /// Layers of base images, too, in place of what they were.
    pub(super) forces_codec: bool,
    /// Docker's media types in place of OCI's.
    pub(super) has_docker_types: bool,
    pub(super) annotations: Annotations,
    /// It goes to the registry that its names say.
    pub(super) push: bool,
    /// There it gets no tag.
    pub(super) by_digest: bool,
    /// It stays here.
    pub(super) store: bool,
    /// It is known here by its digest in this repository, too, if it has no name.
    pub(super) dangling: Option<Reference>,
    /// It is known here by its digest in the repositories of its names, too.
    pub(super) canonical: bool,
}

/// How a file system is laid out.
#[derive(Clone, Debug)]
pub(super) struct TreeOptions {
    /// Each platform in a directory of its own; where there are several, if nothing was said.
    pub(super) splits: Option<bool>,
    /// What stands before the names of what is attested.
    pub(super) attestation_prefix: String,
}

/// All outputs of a request; the image store if it asks for none.
pub(super) fn outputs(request: &Build) -> Result<Vec<Output>> {
    let default = vec![("type".to_owned(), "image".to_owned())];
    let asked: Vec<&Fields> = match request.outputs.as_slice() {
        [] => vec![&default],
        asked => asked.iter().collect(),
    };
    let mut outputs = Vec::with_capacity(asked.len());
    for fields in asked {
        outputs.push(output(fields, request)?);
    }
    let streams = outputs.iter().filter(|output| output.target() == Some(&Target::Stream)).count();
    if streams > 1 {
        return Err(invalid("-", "only one output can go to the standard output").into());
    }
    if streams == 1 && request.output.is_none() {
        return Err(
            invalid("-", "there is nothing that a stream could be written to; name a file by dest=").into()
        );
    }
    Ok(outputs)
}

impl Output {
    fn target(&self) -> Option<&Target> {
        match self {
            Output::Archive { target, .. } | Output::Tar { target, .. } => Some(target),
            Output::Image(_) | Output::Local { .. } | Output::None => None,
        }
    }

    /// What it makes of an image, where it makes one.
    pub(super) fn image(&self) -> Option<&ImageOptions> {
        match self {
            Output::Image(options) | Output::Archive { options, .. } => Some(options),
            Output::Tar { .. } | Output::Local { .. } | Output::None => None,
        }
    }
}

fn invalid(output: &str, reason: &str) -> BuildError {
    BuildError::Output { output: output.to_owned(), reason: reason.to_owned() }
}

/// The fields of one output, to be taken out one by one.
struct Asked<'a> {
    kind: &'a str,
    left: Vec<(&'a str, &'a str)>,
}

impl<'a> Asked<'a> {
    fn take(&mut self, key: &str) -> Option<&'a str> {
        let mut found = None;
        // Of several the last one counts.
        self.left.retain(|(name, value)| {
            let is_it = name.eq_ignore_ascii_case(key);
            if is_it {
                found = Some(*value);
            }
            !is_it
        });
        found
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        let Some(text) = self.take(key) else { return Ok(default) };
        // `push` alone means `push=true`.
        if text.is_empty() {
            return Ok(true);
        }
        let parsed = parse_bool(text);
        parsed.ok_or_else(|| self.refuse(format!("{key}={text:?} is neither true nor false")))
    }

    fn refuse(&self, reason: String) -> Error {
        BuildError::Output { output: format!("type={}", self.kind), reason }.into()
    }

    /// Where the bytes of an archive go.
    fn target(&mut self) -> Option<Target> {
        self.take("dest").filter(|dest| !dest.is_empty()).map(|dest| match dest {
            "-" => Target::Stream,
            dest => Target::File(rooted(dest)),
        })
    }

    /// Nothing may be left.
    fn finish(self) -> Result<()> {
        match self.left.first() {
            None => Ok(()),
            Some((key, _)) => Err(self.refuse(format!("there is no option {key:?}"))),
        }
    }
}

/// A path with a directory in it.
fn rooted(dest: &str) -> PathBuf {
    let path = PathBuf::from(dest);
    if path.is_absolute() { path } else { PathBuf::from(".").join(path) }
}

fn output(fields: &Fields, request: &Build) -> Result<Output> {
    let kind = fields.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case("type"));
    let kind = kind.map(|(_, value)| value.as_str()).unwrap_or_default();
    let left = fields.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let left = left.filter(|(key, _)| !key.eq_ignore_ascii_case("type")).collect();
    let mut asked = Asked { kind, left };
    let output = match kind {
        "image" | "registry" => Output::Image(image(&mut asked, request, kind == "registry")?),
        "docker" => docker(&mut asked, request)?,
        "oci" => oci(&mut asked, request)?,
        "tar" => {
            let options = tree(&mut asked)?;
            Output::Tar { target: asked.target().unwrap_or(Target::Stream), options }
        }
        "local" => local(&mut asked)?,
        "cacheonly" => Output::None,
        "" => return Err(asked.refuse("it has no type".to_owned())),
        _ => {
            let known = "image, registry, docker, oci, tar, local and cacheonly";
            return Err(asked.refuse(format!("there is no such type; there are {known}")));
        }
    };
    asked.finish()?;
    Ok(output)
}

fn docker(asked: &mut Asked<'_>, request: &Build) -> Result<Output> {
    // Which of the docker program's contexts it is loaded into: here is one alone.
    let _context = asked.take("context");
    let target = asked.target();
    let options = image(asked, request, false)?;
    Ok(match target {
        Some(target) => Output::Archive { format: Format::Docker, target, options },
        None => Output::Image(options),
    })
}

fn oci(asked: &mut Asked<'_>, request: &Build) -> Result<Output> {
    let is_tar = asked.flag("tar", true)?;
    let target = match (asked.target(), is_tar) {
        (target, true) => target.unwrap_or(Target::Stream),
        (Some(Target::File(path)), false) => Target::Directory(path),
        (_, false) => return Err(asked.refuse("tar=false takes a directory: dest=…".to_owned())),
    };
    let options = image(asked, request, false)?;
    Ok(Output::Archive { format: Format::Oci, target, options })
}

fn local(asked: &mut Asked<'_>) -> Result<Output> {
    let options = tree(asked)?;
    let deletes = match asked.take("mode").unwrap_or("copy") {
        "copy" => false,
        "delete" => true,
        other => return Err(asked.refuse(format!("mode={other:?} is neither copy nor delete"))),
    };
    match asked.target() {
        Some(Target::File(directory)) => Ok(Output::Local { directory, deletes, options }),
        _ => Err(asked.refuse("it takes a directory: dest=…".to_owned())),
    }
}

fn tree(asked: &mut Asked<'_>) -> Result<TreeOptions> {
    let splits = match asked.take("platform-split") {
        None => None,
        Some(text) => Some(
            parse_bool(text)
                .ok_or_else(|| asked.refuse(format!("platform-split={text:?} is neither true nor false")))?,
        ),
    };
    let attestation_prefix = asked.take("attestation-prefix").unwrap_or_default().to_owned();
    if attestation_prefix.contains(['/', '\0']) {
        return Err(asked.refuse("attestation-prefix is a part of a file's name".to_owned()));
    }
    Ok(TreeOptions { splits, attestation_prefix })
}

fn image(asked: &mut Asked<'_>, request: &Build, is_registry: bool) -> Result<ImageOptions> {
    let push = asked.flag("push", is_registry)?;
    let by_digest = asked.flag("push-by-digest", false)?;
    let codec = codec(asked)?;
    let is_oci = asked.flag("oci-mediatypes", true)?;
    let mut annotations = Annotations::of_request(&request.annotations)?;
    let (of_output, left): (Vec<_>, Vec<_>) =
        asked.left.iter().partition(|(key, _)| Annotations::is_key(key));
    asked.left = left;
    for (key, value) in of_output {
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
    };
    // An image here needs no unpacking, times of files are those that were asked for in any case, and statements are referrers or
    // not as registries can.
    for key in ["unpack", "rewrite-timestamp", "oci-artifact", "prefer-nondist-layers"] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn parsed(text: &str) -> Result<Vec<Output>> {
        let fields = text.split(',').map(|field| {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            (key.to_owned(), value.to_owned())
        });
        outputs(&Build { outputs: vec![fields.collect()], ..Build::default() })
    }

    fn check_refused(texts: &[&str], expected: Expect) {
        let told = texts.iter().map(|text| match parsed(text) {
            Ok(output) => format!("{text}: {output:?}\n"),
            Err(error) => {
                format!("{}\n", linux::chain(&error).trim_start_matches("failed to solve: "))
            }
        });
        expected.assert_eq(&told.collect::<String>());
    }

    #[test]
    fn what_is_wrong_is_told() {
        check_refused(
            &[
                "dest=x",
                "type=zip",
                "type=image,nmae=x",
                "type=image,push=maybe",
                "type=registry",
                "type=image,compression=lzma",
                "type=image,compression=estargz",
                "type=image,compression=gzip,compression-level=10",
                "type=image,compression=zstd,compression-level=x",
                "type=image,buildinfo=true",
                "type=image,registry.insecure=true",
                "type=local",
                "type=local,dest=-",
                "type=local,dest=x,mode=move",
                "type=oci,tar=false",
                "type=tar",
                "type=tar,dest=x,attestation-prefix=../",
                "type=cacheonly,dest=x",
            ],
            expect![[r#"
                output type=: it has no type
                output type=zip: there is no such type; there are image, registry, docker, oci, tar, local and cacheonly
                output type=image: there is no option "nmae"
                output type=image: push="maybe" is neither true nor false
                output type=registry: tag is needed when pushing to registry
                output type=image: there is no compression "lzma"; there are uncompressed, gzip and zstd
                output type=image: compression=estargz is not supported; use gzip or zstd
                output type=image: compression-level=10 is not between 0 and 9
                output type=image: compression-level="x" is no number
                output type=image: buildinfo is gone from BuildKit; use --provenance
                output type=image: registry.insecure: say so for the registry, in hosts.toml or daemon.json
                output type=local: it takes a directory: dest=…
                output type=local: it takes a directory: dest=…
                output type=local: mode="move" is neither copy nor delete
                output type=oci: tar=false takes a directory: dest=…
                output -: there is nothing that a stream could be written to; name a file by dest=
                output type=tar: attestation-prefix is a part of a file's name
                output type=cacheonly: there is no option "dest"
            "#]],
        );
    }

    #[test]
    fn options_are_buildkits() {
        let outputs = parsed(
            "type=image,push=true,compression=zstd,compression-level=7,force-compression,oci-mediatypes=false,name=a:1",
        );
        let outputs = outputs.unwrap();
        let options = outputs[0].image().unwrap();
        assert!(options.push && options.forces_codec && options.has_docker_types && options.store);
        assert_eq!(options.codec, Some(Codec::Zstd(7)));
        assert_eq!(options.names[0].to_string(), "docker.io/library/a:1");
        assert!(matches!(parsed("type=docker").unwrap()[0], Output::Image(_)), "it is loaded");
        assert!(matches!(
            parsed("type=oci,dest=d,tar=false").unwrap()[0],
            Output::Archive { format: Format::Oci, target: Target::Directory(_), .. }
        ));
        let by_digest = parsed("type=image,push-by-digest=true,name=reg/x,push=true").unwrap();
        let options = by_digest[0].image().unwrap();
        assert!(options.by_digest && !options.store && options.names[0].tag().is_none());
    }
}
