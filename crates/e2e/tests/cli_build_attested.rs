//! What a build says about itself: provenance with all that came from elsewhere, what is attested where, and metadata files.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use oci::Digest;
use serde_json::{Value, json};
use testkit::{Output, Peer, Registry, RegistryOptions, Reply, Scratch, Skiff, git_backend};

/// A Skiff with busybox, a folder with a context, and a server of files and repositories.
struct Workshop {
    skiff: Skiff,
    context: PathBuf,
    peer: Peer,
    commit: String,
    _served: Scratch,
}

const FILE: &[u8] = b"from the web\n";

impl Workshop {
    fn new() -> Workshop {
        let skiff = Skiff::with_busybox().that_builds();
        let context = skiff.folder().join("context");
        std::fs::create_dir(&context).unwrap();
        let served = Scratch::new();
        let repository = served.join("a.git");
        std::fs::create_dir(&repository).unwrap();
        git(&repository, &["init", "-q", "-b", "main", "."]);
        std::fs::write(repository.join("README"), "read me\n").unwrap();
        std::fs::write(repository.join("Dockerfile"), "FROM scratch\nCOPY README /\n").unwrap();
        git(&repository, &["add", "-A"]);
        git(&repository, &["commit", "-q", "-m", "first"]);
        let commit = git(&repository, &["rev-parse", "HEAD"]);
        let root = served.to_path_buf();
        let peer = Peer::serve(move |seen| match seen.path.as_str() {
            "/file" | "/checked" => Reply::new(200, FILE).with("ETag", "\"1\""),
            _ => git_backend(&root, seen),
        });
        Workshop { skiff, context, peer, commit, _served: served }
    }

    fn at(&self, path: &str) -> String {
        format!("http://{}/{path}", self.peer.address())
    }

    fn dockerfile(&self, text: &str) {
        std::fs::write(self.context.join("Dockerfile"), text.replace("{at}", &self.at(""))).unwrap();
    }

    fn build(&self, flags: &[&str]) -> Output {
        self.build_of(self.context.to_str().unwrap(), flags, &[])
    }

    fn build_of(&self, context: &str, flags: &[&str], variables: &[(&str, &str)]) -> Output {
        let words = [&["build", "--progress=plain"], flags, &[context]].concat();
        let mut command = self.skiff.command(&words);
        command.envs(variables.iter().copied());
        let output = Output::of(command.output().unwrap());
        assert_eq!(output.code, 0, "{}", output.stderr);
        output
    }

    /// The provenance that is written beside files.
    fn provenance(&self, context: &str, options: &str, flags: &[&str]) -> Value {
        let out = self.skiff.folder().join("out");
        let (output, provenance) =
            (format!("type=local,dest={}", out.display()), format!("--provenance={options}"));
        self.build_of(context, &[&["-o", &output, &provenance], flags].concat(), &[]);
        let told = std::fs::read(out.join("provenance.json")).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
        serde_json::from_slice(&told).unwrap()
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@b"])
        .args(arguments)
        .envs([("HOME", "/nonexistent"), ("GIT_CONFIG_SYSTEM", "/dev/null")])
        .output()
        .expect("git is needed (scripts/install-packages test)");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn inspected(name: &str) -> Value {
    let place = format!("docker://{name}");
    let output =
        Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &place]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const EVERYTHING: &str = "FROM busybox AS base
ARG VERSION
ADD {at}file /file
ADD --checksum=sha256:SUM {at}checked /checked
ADD {at}a.git#main /repository
RUN --network=none --mount=type=secret,id=token,required,env=TOKEN --mount=type=secret,id=none test ${#TOKEN} = 6 && cat /file
FROM base AS unused
ADD {at}never /
FROM base
";

#[test]
fn all_that_came_from_elsewhere_is_told_with_its_digest() {
    let workshop = Workshop::new();
    let sum = Digest::of(FILE);
    workshop.dockerfile(&EVERYTHING.replace("SUM", sum.encoded()));
    let secret = workshop.skiff.folder().join("token");
    std::fs::write(&secret, "geheim").unwrap();
    let secret = format!("id=token,src={}", secret.display());
    let flags = [
        "--secret",
        &secret,
        "--build-arg=VERSION=7",
        "--build-arg=https_proxy=http://u:passwort@h",
        "--label=l=v",
    ];
    let context = workshop.context.to_str().unwrap();
    let digest = json!({ "sha256": sum.encoded() });
    let dependencies = |told: &Value| {
        let list = told["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap().clone();
        let (images, others): (Vec<_>, Vec<_>) = list.into_iter().partition(|one| {
            one["uri"].as_str().unwrap().starts_with("pkg:docker/busybox@latest?platform=linux%2F")
        });
        assert_eq!(images.len(), 1);
        assert_eq!(images[0]["digest"]["sha256"].as_str().unwrap().len(), 64);
        others
    };
    let wanted = [
        json!({ "uri": workshop.at("a.git#main"), "digest": { "sha1": workshop.commit } }),
        json!({ "uri": workshop.at("checked"), "digest": digest }),
        json!({ "uri": workshop.at("file"), "digest": digest }),
    ];
    let first = workshop.provenance(context, "mode=max,builder-id=https://ci.example/1", &flags);
    assert_eq!(dependencies(&first), wanted);
    let (definition, details) = (&first["predicate"]["buildDefinition"], &first["predicate"]["runDetails"]);
    let request = &definition["externalParameters"]["request"];
    assert_eq!(request["args"], json!({ "build-arg:VERSION": "7", "label:l": "v" }));
    assert_eq!(request["locals"], json!([{ "name": "context" }, { "name": "dockerfile" }]));
    assert_eq!(
        request["secrets"],
        json!([{ "id": "GIT_AUTH_HEADER", "optional": true }, { "id": "GIT_AUTH_TOKEN", "optional": true }, { "id": "none", "optional": true }, { "id": "token" }])
    );
    assert_eq!(details["builder"]["id"], "https://ci.example/1");
    let metadata = &details["metadata"];
    assert_eq!(
        metadata["buildkit_completeness"],
        json!({ "request": true, "resolvedDependencies": false }),
        "the caller's files have no address"
    );
    assert!(metadata["startedOn"].as_str().unwrap() <= metadata["finishedOn"].as_str().unwrap());
    let steps = definition["internalParameters"]["buildConfig"]["llbDefinition"].as_array().unwrap();
    let run = steps.iter().find(|step| step["op"]["Op"]["exec"].is_object()).unwrap();
    assert!(
        run["op"]["Op"]["exec"]["meta"]["args"][2].as_str().unwrap().starts_with("test ${#TOKEN}"),
        "{run}"
    );
    let place = &metadata["buildkit_metadata"]["source"]["locations"][run["id"].as_str().unwrap()];
    assert_eq!(place["locations"][0]["ranges"][0]["start"]["line"], 6, "{metadata}");
    let text = first.to_string();
    assert!(!text.contains("geheim") && !text.contains("passwort") && !text.contains("never"), "{text}");

    // Of what is cached nothing is fetched, and all of it is told.
    let gets =
        || workshop.peer.seen().iter().filter(|seen| seen.method == "GET" && seen.path == "/file").count();
    let before = gets();
    let again = workshop.provenance(context, "mode=min", &flags);
    assert_eq!((dependencies(&again), gets()), (wanted.to_vec(), before));
    let request = &again["predicate"]["buildDefinition"]["externalParameters"]["request"];
    assert_eq!((&request["args"], &request["secrets"]), (&json!({}), &Value::Null));
    assert!(again["predicate"]["buildDefinition"]["internalParameters"]["buildConfig"].is_null());
    assert_eq!(again["predicate"]["runDetails"]["metadata"]["buildkit_completeness"]["request"], false);
    let old = workshop.provenance(context, "mode=min,version=v0.2", &flags);
    assert_eq!(old["predicateType"], "https://slsa.dev/provenance/v0.2");
    let materials = old["predicate"]["materials"].as_array().unwrap();
    assert!(wanted.iter().all(|one| materials.contains(one)), "{materials:?}");
}

#[test]
fn a_build_of_a_repository_is_complete_and_hermetic() {
    let workshop = Workshop::new();
    let url = workshop.at("a.git#main");
    let told = workshop.provenance(&url, "mode=max", &[]);
    let definition = &told["predicate"]["buildDefinition"];
    let commit = json!({ "sha1": workshop.commit });
    assert_eq!(
        definition["externalParameters"]["configSource"],
        json!({ "path": "Dockerfile", "uri": url, "digest": commit })
    );
    assert_eq!(definition["resolvedDependencies"], json!([{ "uri": url, "digest": commit }]));
    let metadata = &told["predicate"]["runDetails"]["metadata"];
    assert_eq!(metadata["buildkit_completeness"]["resolvedDependencies"], true);
    assert_eq!(metadata["buildkit_hermetic"], true);
    assert_eq!(
        told["subject"],
        json!([{ "name": "README", "digest": { "sha256": Digest::of(b"read me\n").encoded() } }])
    );
    // A part of it is told as it was named, with the same commit.
    let part = workshop.provenance(&format!("{url}:"), "mode=min,version=v0.2", &[]);
    assert_eq!(part["predicate"]["invocation"]["configSource"]["digest"], commit);
}

#[test]
fn by_default_what_leaves_says_how_it_was_made_and_nothing_else_does() {
    let workshop = Workshop::new();
    workshop.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let (folder, out) = (Scratch::new(), workshop.skiff.folder().join("out"));
    let registry = Registry::start(&folder, &RegistryOptions::default());
    let name = format!("{}/app:1", registry.address());
    let metadata = workshop.skiff.folder().join("metadata.json");
    let noted = || -> Value { serde_json::from_slice(&std::fs::read(&metadata).unwrap()).unwrap() };
    let context = workshop.context.to_str().unwrap();
    let flags = ["-t", &name, "--metadata-file", metadata.to_str().unwrap()];
    let build = |more: &[&str], variables: &[(&str, &str)]| {
        workshop.build_of(context, &[&flags, more].concat(), variables);
        noted()
    };
    // Here: the image and nothing else.
    let here = build(&[], &[]);
    assert!(here["containerimage.descriptor"]["mediaType"].as_str().unwrap().ends_with("manifest.v1+json"));
    assert_eq!(build(&[], &[])["containerimage.digest"], here["containerimage.digest"]);
    assert_ne!(build(&[], &[])["buildx.build.ref"], here["buildx.build.ref"]);
    // There: with how it was made, told in short.
    let there = build(&["--push"], &[]);
    let index = inspected(&name);
    assert_eq!(index["manifests"][1]["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
    let kinds = ["image", "inspect", "-f", "{{range .Attestations}}{{.PredicateType}}{{end}}", &name];
    assert_eq!(workshop.skiff.ok(&kinds).trim(), "https://slsa.dev/provenance/v1");
    let copy = format!("{}/copy:1", registry.address());
    assert_eq!(workshop.skiff.run(&["image", "copy", &name, &copy]).code, 0);
    assert_eq!(inspected(&copy), index);
    assert_eq!(there["image.name"], name.as_str());
    assert_eq!(there["containerimage.config.digest"], here["containerimage.config.digest"]);
    let told = &there["buildx.build.provenance"];
    assert_eq!(
        told["buildDefinition"]["internalParameters"],
        json!({ "builderPlatform": oci::Platform::host().to_string() })
    );
    assert!(told["runDetails"]["metadata"].is_null(), "{told}");
    let all = build(&["--push"], &[("BUILDX_METADATA_PROVENANCE", "max")]);
    assert!(all["buildx.build.provenance"]["runDetails"]["metadata"]["startedOn"].is_string());
    // Equal builds are equal where no times are told.
    let epoch = [("SOURCE_DATE_EPOCH", "1700000000")];
    let equal = [(); 2].map(|()| build(&["--push"], &epoch)["containerimage.digest"].clone());
    assert_eq!(equal[0], equal[1]);
    for (more, variables) in [
        (&["--push", "--provenance=false"][..], &[][..]),
        (&["--push"], &[("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")]),
    ] {
        build(more, variables);
        assert!(inspected(&name)["config"].is_object(), "{more:?}");
    }
    workshop.build(&["-o", out.to_str().unwrap()]);
    assert!(out.join("Dockerfile").exists() && !out.join("provenance.json").exists());
}

/// As `docker buildx imagetools inspect --format` has it, of what is here and of what a registry has.
#[test]
fn what_is_attested_can_be_read_here_and_there() {
    let workshop = Workshop::new();
    workshop.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let folder = Scratch::new();
    let registry = Registry::start(&folder, &RegistryOptions::default());
    let [one, several, none] =
        ["one", "several", "none"].map(|name| format!("{}/{name}:1", registry.address()));
    workshop.build(&["-t", &one, "--push", "--sbom=true", "--provenance=mode=max"]);
    workshop.build(&["-t", &several, "--push", "--sbom=true", "--platform=linux/amd64,linux/arm64"]);
    workshop.build(&["-t", &none, "--push", "--provenance=false"]);
    for command in [["image", "inspect"], ["manifest", "inspect"]] {
        let said = |name: &str, template: &str| {
            let words = [&command[..], &["--format", template, name]].concat();
            workshop.skiff.ok(&words).trim_end().to_owned()
        };
        let json =
            |name: &str, template: &str| -> Value { serde_json::from_str(&said(name, template)).unwrap() };
        let definition = &json(&one, "{{json .Provenance.SLSA}}")["buildDefinition"];
        assert!(definition["internalParameters"]["buildConfig"].is_object(), "{definition}");
        assert_eq!(json(&one, "{{json .Provenance}}").as_object().unwrap().len(), 1);
        assert_eq!(said(&one, "{{.SBOM.SPDX.spdxVersion}}"), "SPDX-2.3");
        let platforms = json(&several, "{{json .Provenance}}");
        let names: Vec<&String> = platforms.as_object().unwrap().keys().collect();
        assert_eq!(names, ["linux/amd64", "linux/arm64"]);
        assert!(platforms["linux/arm64"]["SLSA"]["runDetails"].is_object());
        assert_eq!(said(&several, r#"{{(index .SBOM "linux/arm64").SPDX.spdxVersion}}"#), "SPDX-2.3");
        assert_eq!(said(&none, "{{json .Provenance}} {{json .SBOM}} {{json .SBOM.SPDX}}"), "{} {} null");
        assert!(!said(&one, "{{json .}}").contains("SLSA"), "nobody has asked for it");
    }
    let said = |words: &[&str]| workshop.skiff.ok(words).trim_end().to_owned();
    let here =
        ["image", "inspect", "--platform=linux/arm64", "--format", "{{.SBOM.SPDX.spdxVersion}}", &several];
    assert_eq!(said(&here), "SPDX-2.3");
    let digest = said(&["manifest", "inspect", "--format", "{{.Manifest.Digest}}", &several]);
    assert_eq!(
        said(&["manifest", "inspect", "--format", "{{.Name}} {{len .Manifest.Manifests}}", &several]),
        format!("{several} 4")
    );
    assert!(said(&["image", "inspect", "--format", "{{json .RepoDigests}}", &several]).contains(&digest));
    let architectures = r#"{{range $name, $image := .Image}}{{$name}}={{$image.architecture}} {{end}}"#;
    assert_eq!(
        said(&["manifest", "inspect", "--format", architectures, &several]),
        "linux/amd64=amd64 linux/arm64=arm64"
    );
}
