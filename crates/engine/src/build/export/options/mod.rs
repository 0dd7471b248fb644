//! `-o`: what comes out of a build, as it was asked for.
//!
//! | type | goes to | several platforms |
//! |---|---|---|
//! | `image` | the image store, and a registry with `push=true` | an index |
//! | `registry` | the same, with `push=true` | an index |
//! | `docker` | an archive for `docker load`; the image store if it names no file | an index in the store; no archive |
//! | `oci` | an OCI layout: a tar, or a directory with `tar=false` | an index |
//! | `tar` | a tar of the file system | a directory each |
//! | `local` | a directory | a directory each |
//! | `cacheonly` | nowhere | |
//!
//! Options are those of BuildKit. One that nobody knows is refused: it is more likely a slip than a wish.

mod images;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use image::Codec;
use oci::Reference;

use self::images::image;
use super::annotations::Annotations;
use crate::Result;
use crate::build::BuildError;
use crate::build::asked::Asked;
use crate::request::{Build, Fields, parse_bool};

pub(in crate::build) use images::codec_of;

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
    /// What is attested is an artifact that names the image as its subject.
    pub(super) is_artifact: bool,
}

impl ImageOptions {
    /// What it is called here.
    pub(super) fn stored_names(&self) -> &[Reference] {
        if self.store && !self.by_digest { &self.names } else { &[] }
    }
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
}

fn invalid(output: &str, reason: &str) -> BuildError {
    BuildError::Output { output: output.to_owned(), reason: reason.to_owned() }
}

fn output(fields: &Fields, request: &Build) -> Result<Output> {
    let mut asked = Asked::of("", fields);
    let output = match asked.kind {
        "image" => Output::Image(image(&mut asked, request, false)?),
        "registry" => Output::Image(image(&mut asked, request, true)?),
        "docker" => docker(&mut asked, request)?,
        "oci" => oci(&mut asked, request)?,
        "tar" => {
            let options = tree(&mut asked)?;
            Output::Tar { target: target(&mut asked).unwrap_or(Target::Stream), options }
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
    let target = target(asked);
    let options = image(asked, request, false)?;
    Ok(match target {
        Some(target) => Output::Archive { format: Format::Docker, target, options },
        None => Output::Image(options),
    })
}

fn oci(asked: &mut Asked<'_>, request: &Build) -> Result<Output> {
    let is_tar = asked.flag("tar", true)?;
    let target = match (target(asked), is_tar) {
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
    match target(asked) {
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

/// Where the bytes of an archive go.
fn target(asked: &mut Asked<'_>) -> Option<Target> {
    asked.take("dest").filter(|dest| !dest.is_empty()).map(|dest| match dest {
        "-" => Target::Stream,
        dest => Target::File(rooted(dest)),
    })
}

/// A path with a directory in it.
fn rooted(dest: &str) -> PathBuf {
    let path = PathBuf::from(dest);
    if path.is_absolute() { path } else { PathBuf::from(".").join(path) }
}
