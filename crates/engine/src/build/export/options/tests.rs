//! Which options are taken, and what is said of the others.

use expect_test::{Expect, expect};

use super::*;

fn parsed(text: &str) -> Result<Vec<Output>> {
    let fields = text.split(',').map(|field| {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        (key.to_owned(), value.to_owned())
    });
    outputs(&Build { outputs: vec![fields.collect()], ..Build::default() })
}

/// What an output makes of an image.
fn image_of(output: &Output) -> &ImageOptions {
    let (Output::Image(options) | Output::Archive { options, .. }) = output else { panic!("{output:?}") };
    options
}

fn check_refused(texts: &[&str], expected: Expect) {
    let told = texts.iter().map(|text| match parsed(text) {
        Ok(output) => format!("{text}: {output:?}\n"),
        Err(error) => linux::chain(&error) + "\n",
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
    let options = image_of(&outputs[0]);
    assert!(options.push && options.forces_codec && options.has_docker_types && options.store);
    assert_eq!(options.codec, Some(Codec::Zstd(7)));
    assert_eq!(options.names[0].to_string(), "docker.io/library/a:1");
    assert!(matches!(parsed("type=docker").unwrap()[0], Output::Image(_)), "it is loaded");
    assert!(matches!(
        parsed("type=oci,dest=d,tar=false").unwrap()[0],
        Output::Archive { format: Format::Oci, target: Target::Directory(_), .. }
    ));
    let by_digest = parsed("type=image,push-by-digest=true,name=reg/x,push=true").unwrap();
    let options = image_of(&by_digest[0]);
    assert!(options.by_digest && !options.store && options.names[0].tag().is_none());
}
