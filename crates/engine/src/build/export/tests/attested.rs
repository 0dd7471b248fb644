//! What is attested of images: where it lies, what it says, and where it goes with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use registry_client::Client;
use serde_json::Value;
use testkit::{Entry, Scratch};

use super::{FILES, engine, export, fields, request, skopeo};
use crate::Archive;
use crate::request::{Build, Fields, LoadImages};

/// The statements of an index, by their types.
fn statements(place: &str, folder: &Path) -> (Value, BTreeMap<String, Value>) {
    let copy = folder.join("attested");
    drop(std::fs::remove_dir_all(&copy));
    skopeo(&[
        "copy",
        "-q",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        place,
        &format!("oci:{}", copy.display()),
    ]);
    let blob = |digest: &Value| -> Value {
        let (algorithm, hex) = digest.as_str().unwrap().split_once(':').unwrap();
        serde_json::from_slice(&std::fs::read(copy.join("blobs").join(algorithm).join(hex)).unwrap()).unwrap()
    };
    let top: Value = serde_json::from_slice(&std::fs::read(copy.join("index.json")).unwrap()).unwrap();
    let index = blob(&top["manifests"][0]["digest"]);
    let mut found = BTreeMap::new();
    for entry in index["manifests"].as_array().unwrap() {
        if entry["platform"]["os"] != "unknown" {
            continue;
        }
        assert_eq!(entry["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
        let manifest = blob(&entry["digest"]);
        let config = blob(&manifest["config"]["digest"]);
        for (place, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
            assert_eq!(config["rootfs"]["diff_ids"][place], layer["digest"]);
            let statement = blob(&layer["digest"]);
            assert_eq!(statement["predicateType"], layer["annotations"]["in-toto.io/predicate-type"]);
            let about = entry["annotations"]["vnd.docker.reference.digest"].as_str().unwrap();
            assert_eq!(
                format!("sha256:{}", statement["subject"][0]["digest"]["sha256"].as_str().unwrap()),
                about
            );
            assert!(index["manifests"].as_array().unwrap().iter().any(|image| image["digest"] == about));
            found.insert(statement["predicateType"].as_str().unwrap().to_owned(), statement);
        }
    }
    (index, found)
}

const PACKAGES: &[Entry<'_>] = &[
    Entry::File("etc/os-release", 0o644, b"ID=debian\nVERSION_ID=\"13\"\n"),
    Entry::File(
        "var/lib/dpkg/status",
        0o644,
        b"Package: libc6\nStatus: install ok installed\nSource: glibc (2.41-1)\nVersion: 2.41-12\nArchitecture: amd64\nDescription: x\n y\n\n\
          Package: gone\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n",
    ),
    Entry::File("lib/apk/db/installed", 0o644, b"P:musl\nV:1.2.5-r1\nA:x86_64\nL:MIT\n\n"),
    Entry::File("usr/lib/python3/a_b-1.0.dist-info/METADATA", 0o644, b"Metadata-Version: 2.1\nName: A_b\nVersion: 1.0\n\nName: no\n"),
    Entry::File("app/node_modules/@s/n/package.json", 0o644, br#"{"name":"@s/n","version":"3.0.0","license":"MIT"}"#),
    Entry::File("app/node_modules/@s/n/test/package.json", 0o644, br#"{"name":"fixture","version":"0"}"#),
    Entry::File("app/node_modules/bad/package.json", 0o644, b"{"),
];

#[test]
fn what_is_attested_is_in_the_index_of_archives_registries_and_the_store() {
    let base = Scratch::new();
    let engine = engine(&base);
    let (registry, _folder) = testkit::registry();
    let name = format!("{}/app:1", registry.address());
    let archive = base.join("oci.tar");
    let output = format!("type=oci,dest={}", archive.display());
    let mut request = Build { tags: vec![name.clone()], ..request(&[&output, "type=registry"]) };
    request.attestations.insert("sbom".to_owned(), Fields::new());
    request.attestations.insert("provenance".to_owned(), fields("mode=max"));
    request.arguments.insert("VERSION".to_owned(), "7".to_owned());
    request.arguments.insert("https_proxy".to_owned(), "http://user:password@proxy".to_owned());
    request.secrets.insert("token".to_owned(), crate::request::Secret::new(b"very secret"));
    let built = export(&engine, &request, &["linux/amd64"], &[PACKAGES]).unwrap();
    for place in [format!("docker://{name}"), format!("oci-archive:{}:1", archive.display())] {
        let (index, found) = statements(&place, &base);
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
        let provenance = &found["https://slsa.dev/provenance/v1"];
        let told = &provenance["predicate"]["buildDefinition"]["externalParameters"]["request"];
        assert_eq!(told["args"]["build-arg:VERSION"], "7", "{told}");
        assert!(
            !provenance.to_string().contains("password") && !provenance.to_string().contains("very secret")
        );
        let packages = found["https://spdx.dev/Document"]["predicate"]["packages"].as_array().unwrap();
        let locators: Vec<&str> =
            packages.iter().filter_map(|one| one["externalRefs"][0]["referenceLocator"].as_str()).collect();
        assert_eq!(
            locators,
            [
                "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13&upstream=glibc%402.41-1",
                "pkg:apk/debian/musl@1.2.5-r1?arch=x86_64&distro=debian-13",
                "pkg:pypi/a-b@1.0",
                "pkg:npm/%40s/n@3.0.0",
            ]
        );
    }
    assert!(built.metadata()["buildx.build.provenance"]["buildDefinition"].is_object());
    // What is kept stays while the name does, and goes on to other registries.
    engine.prune_images(false, &|_| false).unwrap();
    let other = format!("{}/other:1", registry.address());
    engine.tag(&name, &other).unwrap();
    let client = Client::new(registry_client::Settings::default());
    let push = crate::request::PushImage { reference: other.clone(), ..Default::default() };
    engine.push(&client, &push, &|_| {}).unwrap();
    assert_eq!(statements(&format!("docker://{other}"), &base).1.len(), 2);
    assert_eq!(engine.image_inspect(&name, None).unwrap().summary.id, built.images[0].id.to_string());
}

#[test]
fn by_default_only_what_leaves_is_attested_and_tells_no_arguments() {
    let base = Scratch::new();
    let engine = engine(&base);
    let (archive, files) = (base.join("oci.tar"), base.join("files"));
    let outputs = [
        format!("type=oci,dest={}", archive.display()),
        format!("type=local,dest={},attestation-prefix=x-", files.display()),
        "type=image".to_owned(),
    ];
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let mut request = Build { tags: vec!["a:1".to_owned()], ..request(&outputs) };
    request.arguments.insert("VERSION".to_owned(), "7".to_owned());
    request.attestations.clear();
    request.labels.insert("l".to_owned(), "v".to_owned());
    let built = export(&engine, &request, &["linux/amd64"], &[FILES]).unwrap();
    assert!(built.descriptor.unwrap().media_type.is_manifest(), "the store's has no index");
    let (_, found) = statements(&format!("oci-archive:{}:1", archive.display()), &base);
    let told = found.values().next().unwrap();
    let definition = &told["predicate"]["buildDefinition"];
    assert_eq!(definition["externalParameters"]["request"]["args"], serde_json::json!({}));
    assert_eq!(told["predicate"]["runDetails"]["metadata"]["buildkit_completeness"]["request"], false);
    assert!(!files.join("x-provenance.json").exists());
    request.attestations.insert("provenance".to_owned(), fields("inline-only=true"));
    export(&engine, &request, &["linux/amd64"], &[FILES]).unwrap();
    assert!(!files.join("x-provenance.json").exists(), "it is for images alone");
    assert_eq!(statements(&format!("oci-archive:{}:1", archive.display()), &base).1.len(), 1);
    request.attestations.insert("provenance".to_owned(), fields("version=v0.2"));
    export(&engine, &request, &["linux/amd64"], &[FILES]).unwrap();
    let told: Value =
        serde_json::from_slice(&std::fs::read(files.join("x-provenance.json")).unwrap()).unwrap();
    assert_eq!(told["predicateType"], "https://slsa.dev/provenance/v0.2");
    assert_eq!(told["predicate"]["invocation"]["parameters"]["frontend"], "dockerfile.v0");
    let about = told["subject"].as_array().unwrap();
    let names: Vec<&str> = about.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["etc/motd", "su"]);
    assert_eq!(about[0]["digest"]["sha256"], oci::Digest::of(b"hello\n").encoded());
    request.attestations.insert("provenance".to_owned(), fields("disabled=true"));
    export(&engine, &request, &["linux/amd64"], &[FILES]).unwrap();
    let raw = skopeo(&["inspect", "--raw", &format!("oci-archive:{}:1", archive.display())]);
    assert!(raw["config"].is_object(), "{raw}");
}

#[test]
fn attestations_can_be_artifacts_with_a_subject() {
    let base = Scratch::new();
    let engine = engine(&base);
    let (registry, _folder) = testkit::registry();
    let name = format!("{}/app:1", registry.address());
    let mut request = Build { tags: vec![name.clone()], ..request(&["type=registry,oci-artifact=true"]) };
    request.attestations.clear();
    let built = export(&engine, &request, &["linux/amd64"], &[FILES]).unwrap();
    let raw = |place: &str| skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{place}")]);
    let entry = &raw(&name)["manifests"][1];
    let (repository, _) = name.rsplit_once(':').unwrap();
    let manifest = raw(&format!("{repository}@{}", entry["digest"].as_str().unwrap()));
    assert_eq!(manifest["artifactType"], "application/vnd.docker.attestation.manifest.v1+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(manifest["subject"]["digest"], built.images[0].manifest.digest.as_str());
    assert!(manifest["subject"]["platform"].is_null());
    // A registry that knows subjects tells of it as a referrer.
    let client = Client::new(registry_client::Settings::default());
    let reference: oci::Reference = name.parse().unwrap();
    let referrers =
        client.repository(&reference).unwrap().referrers(&built.images[0].manifest.digest, None).unwrap();
    assert_eq!(referrers.len(), 1);
}

#[test]
fn equal_builds_with_an_epoch_attest_the_same() {
    let digests = [(); 2].map(|()| {
        let base = Scratch::new();
        let engine = engine(&base);
        let output = format!("type=oci,dest={}", base.join("oci.tar").display());
        let mut request = Build { tags: vec!["a:1".to_owned()], ..request(&[&output]) };
        request.attestations.insert("provenance".to_owned(), fields("mode=max"));
        request.attestations.insert("sbom".to_owned(), Fields::new());
        let built = export(&engine, &request, &["linux/amd64", "linux/arm64"], &[PACKAGES]).unwrap();
        assert_eq!(
            statements(&format!("oci-archive:{}:1", base.join("oci.tar").display()), &base).1.len(),
            2
        );
        built.descriptor.unwrap().digest
    });
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn what_is_attested_is_saved_loaded_and_pushed_on() {
    let base = Scratch::new();
    let new_engine = engine;
    let engine = new_engine(&base);
    let (registry, _folder) = testkit::registry();
    let name = format!("{}/app:1", registry.address());
    // In the store layers are as they are saved; those of what was pushed are compressed, and become others in an archive.
    for (output, is_same) in [("type=image", true), ("type=registry", false)] {
        let mut request = Build {
            tags: vec![name.clone()],
            annotations: vec!["index,manifest,manifest-descriptor:note=here".to_owned()],
            ..request(&[output])
        };
        request.attestations.insert("sbom".to_owned(), Fields::new());
        request.attestations.insert("provenance".to_owned(), fields("mode=max"));
        let built = export(&engine, &request, &["linux/amd64", "linux/arm64"], &[PACKAGES]).unwrap();
        let archive = base.join("saved.tar");
        let mut file = std::fs::File::create(&archive).unwrap();
        engine.save(std::slice::from_ref(&name), &[], &mut file).unwrap();
        let place = format!("oci-archive:{}:1", archive.display());
        let (index, found) = statements(&place, &base);
        assert_eq!((index["manifests"].as_array().unwrap().len(), found.len()), (4, 2), "{index}");
        assert_eq!(index["annotations"]["note"], "here");
        let top = skopeo(&["inspect", "--raw", &place]);
        assert_eq!(top["manifests"][1]["annotations"]["note"], "here");
        let before = &built.images[0].manifest.digest;
        assert_eq!(top["manifests"][0]["digest"] == before.as_str(), is_same, "{output}");
        // Elsewhere it is the same, and goes on from there.
        let elsewhere = new_engine(&base.join(output.replace('=', "-")));
        let every = LoadImages { all_platforms: true, ..LoadImages::default() };
        let mut file = std::fs::File::open(&archive).unwrap();
        elsewhere.load(Archive::Stream(&mut file), &every).unwrap();
        elsewhere.prune_images(false, &|_| false).unwrap();
        for platform in ["linux/amd64", "linux/arm64"] {
            let told = elsewhere.image_inspect(&name, Some(platform)).unwrap().attestations;
            let kinds: BTreeSet<&str> = told.iter().map(|one| one.predicate_type.as_str()).collect();
            assert_eq!(kinds.len(), 2, "{platform}: {told:?}");
        }
        let other = format!("{}/other:1", registry.address());
        elsewhere.tag(&name, &other).unwrap();
        let push = crate::request::PushImage { reference: other.clone(), ..Default::default() };
        elsewhere.push(&Client::new(registry_client::Settings::default()), &push, &|_| {}).unwrap();
        let (index, found) = statements(&format!("docker://{other}"), &base);
        assert_eq!((index["manifests"].as_array().unwrap().len(), found.len()), (4, 2), "{output}: {index}");
        let again = base.join("again.tar");
        let mut file = std::fs::File::create(&again).unwrap();
        elsewhere.save(std::slice::from_ref(&name), &["linux/arm64".to_owned()], &mut file).unwrap();
        let (index, found) = statements(&format!("oci-archive:{}:1", again.display()), &base);
        assert_eq!((index["manifests"].as_array().unwrap().len(), found.len()), (2, 2), "{output}: {index}");
    }
}
