//! `build --build-context`: what a name may stand for, and in whose place it comes.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

mod repositories;

use std::path::{Path, PathBuf};

use oci::Digest;
use serde_json::{Value, json};
use testkit::{Entry, Output, Peer, Reply, Skiff, layer};

use repositories::Repositories;

/// A Skiff, and folders of files.
struct Workshop {
    skiff: Skiff,
}

impl Workshop {
    fn new(dockerfile: &str) -> Workshop {
        let workshop = Workshop { skiff: Skiff::with_busybox().that_builds() };
        workshop.write("context/Dockerfile", dockerfile);
        workshop
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.skiff.folder().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.skiff.folder().join(name)
    }

    fn try_build(&self, flags: &[&str]) -> Output {
        let fixed = ["build", "--progress=plain", "--network=none", "-t", "made"];
        self.skiff.run(&[&fixed[..], flags, &["context"]].concat())
    }

    fn build(&self, flags: &[&str]) -> String {
        let output = self.try_build(flags);
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    fn fails(&self, flags: &[&str], words: &str) {
        let output = self.try_build(flags);
        assert!(output.code == 1 && output.stderr.contains(words), "no {words:?} in:\n{}", output.stderr);
    }

    fn in_image(&self, script: &str) -> String {
        self.skiff.ok(&["run", "--rm", "made", "sh", "-c", script])
    }
}

#[test]
fn a_folder_stands_in_for_a_name_a_stage_or_an_image() {
    let workshop = Workshop::new(
        "FROM nosuchimage:1 AS tools\nFROM scratch AS stage\nCOPY nosuchfile /\nFROM busybox\n\
         COPY --from=tools tool /tool\nCOPY --from=stage file /file\nCOPY --from=plain dir /dir\n\
         RUN --mount=from=plain,target=/m ls /m > /listed\n",
    );
    workshop.write("tools/tool", "tool\n");
    workshop.write("stage/file", "file\n");
    workshop.write("plain/dir/kept", "kept\n");
    workshop.write("plain/dir/secret", "secret\n");
    workshop.write("plain/.dockerignore", "**/secret\n");
    let contexts =
        ["--build-context=nosuchimage:1=tools", "--build-context=Stage=stage", "--build-context=plain=plain"];
    workshop.build(&contexts);
    assert_eq!(workshop.in_image("cat /tool /file; ls /dir; cat /listed"), "tool\nfile\nkept\ndir\n");
    // What changes in it is seen, and what it leaves out is not.
    workshop.write("plain/dir/secret", "other\n");
    let again = workshop.build(&contexts);
    assert_eq!(again.matches(" CACHED\n").count(), 4, "{again}");
    workshop.write("plain/dir/kept", "changed\n");
    workshop.build(&contexts);
    assert_eq!(workshop.in_image("cat /dir/kept"), "changed\n");
    workshop.fails(&[], "nosuchimage:1");
    for (value, words) in [("none", "it is no directory"), ("target:x", "only bake files have targets")] {
        let refused = workshop.try_build(&[&format!("--build-context=plain={value}")]);
        assert!(refused.code != 0 && refused.stderr.contains(words), "{}", refused.stderr);
    }
}

/// An image in a layout: busybox with a variable and a file.
fn layout(workshop: &Workshop) -> PathBuf {
    workshop.write("base/Dockerfile", "FROM busybox\nENV FROM_LAYOUT=yes\nWORKDIR /in\nCOPY Dockerfile .\n");
    let output = "type=oci,dest=layout,tar=false,name=docker.io/library/base:1";
    workshop.skiff.ok(&["build", "-q", "-o", output, "base"]);
    workshop.path("layout")
}

fn index(layout: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap()
}

#[test]
fn an_image_of_a_layout_is_a_base_with_its_config() {
    let maker = Workshop::new("FROM scratch\n");
    let layout = layout(&maker);
    let entry = index(&layout)["manifests"][0].clone();
    let digest = entry["digest"].as_str().unwrap().to_owned();
    let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap().to_owned();
    // Elsewhere, where nobody knows busybox.
    let workshop = Workshop { skiff: Skiff::new().that_builds() };
    workshop.write(
        "context/Dockerfile",
        "FROM base\nRUN echo $FROM_LAYOUT > said; pwd >> said\nCOPY --from=base /in/Dockerfile copied\n",
    );
    let shown = layout.display();
    for place in [
        format!("{shown}:{tag}"),
        format!("{shown}@{digest}"),
        format!("{shown}:x@{digest}"),
        format!("{shown}"),
    ] {
        workshop.build(&["--no-cache", &format!("--build-context=base=oci-layout://{place}")]);
        assert_eq!(workshop.in_image("cat said; head -n1 copied"), "yes\n/in\nFROM busybox\n", "{place}");
        workshop.skiff.ok(&["rmi", "made"]);
    }
    assert_eq!(
        workshop.skiff.ok(&["images", "-aq"]),
        "",
        "a layout's image is a context, no image of the store"
    );
    let none = Digest::of(b"none");
    workshop.fails(&[&format!("--build-context=base=oci-layout://{shown}:other")], "it has no other");
    workshop.fails(&[&format!("--build-context=base=oci-layout://{shown}@{none}")], "it has no sha256:");
    workshop.fails(&["--build-context=base=oci-layout:///nonexistent"], "/nonexistent");
}

/// Writes a layout of an image with this layer, of which the documents say what `change` makes of them.
fn crafted(folder: &Path, tar: &[u8], change: impl Fn(&mut Value, &mut Value)) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |kind: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.encoded()), bytes).unwrap();
        json!({ "mediaType": kind, "digest": digest.to_string(), "size": bytes.len() })
    };
    let blob = put("application/vnd.oci.image.layer.v1.tar", tar);
    let mut config = json!({
        "architecture": oci::Platform::host().architecture, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(tar).to_string()] },
    });
    let mut manifest = json!({ "schemaVersion": 2, "layers": [blob] });
    change(&mut config, &mut manifest);
    manifest["config"] = put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let entry = put("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    std::fs::write(
        folder.join("index.json"),
        json!({ "schemaVersion": 2, "manifests": [entry] }).to_string(),
    )
    .unwrap();
}

#[test]
fn a_layout_that_lies_is_refused_and_leaves_nothing() {
    let workshop = Workshop::new("FROM base\nCOPY --from=base / /copy\n");
    let tar = layer(&[Entry::File("file", 0o644, b"content\n")]);
    let flag = "--build-context=base=oci-layout://bad";
    let bad = workshop.path("bad");
    crafted(&bad, &tar, |_, _| {});
    workshop.build(&[flag]);
    workshop.skiff.ok(&["rmi", "made"]);
    workshop.skiff.ok(&["builder", "prune", "-af"]);
    let secret = workshop.path("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    let other = Digest::of(b"other").to_string();
    type Change<'a> = &'a dyn Fn(&mut Value, &mut Value);
    let cases: &[(Change<'_>, &str)] = &[
        (&|config, _| config["rootfs"]["diff_ids"] = json!([other]), "has the digest"),
        (&|config, _| config["rootfs"]["diff_ids"] = json!([]), "its manifest has 1 layers, its config 0"),
        (&|config, _| config["rootfs"]["diff_ids"] = json!(["../../x"]), "ERROR"),
        (&|_, manifest| manifest["layers"][0]["digest"] = json!(other), "No such file"),
        (&|_, manifest| manifest["layers"][0]["digest"] = json!("sha256:../../secret"), "ERROR"),
    ];
    for (number, (change, words)) in cases.iter().enumerate() {
        // Of its own, for a layer that is here is fetched from nowhere.
        let tar = layer(&[Entry::File("file", 0o644, number.to_string().as_bytes())]);
        std::fs::remove_dir_all(&bad).unwrap();
        crafted(&bad, &tar, change);
        workshop.fails(&[flag], words);
    }
    // A blob that is a link leads nowhere, and a pipe is not waited for.
    for is_link in [true, false] {
        let tar = layer(&[Entry::File("file", 0o644, is_link.to_string().as_bytes())]);
        std::fs::remove_dir_all(&bad).unwrap();
        crafted(&bad, &tar, |_, _| {});
        let blob = bad.join("blobs/sha256").join(Digest::of(&tar).encoded());
        std::fs::remove_file(&blob).unwrap();
        if is_link {
            std::os::unix::fs::symlink(&secret, &blob).unwrap();
        } else {
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &blob, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        let output = workshop.try_build(&[flag]);
        assert_eq!(output.code, 1, "{}", output.stderr);
    }
    // Indexes in a circle have an end.
    let index = std::fs::read(bad.join("index.json")).unwrap();
    let entry = json!({
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": Digest::of(&index).to_string(), "size": index.len(),
    });
    std::fs::write(bad.join("index.json"), json!({ "schemaVersion": 2, "manifests": [entry] }).to_string())
        .unwrap();
    let output = workshop.try_build(&[flag]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    let left: Vec<_> = std::fs::read_dir(workshop.skiff.root().join("tmp")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_repository_has_the_files_of_its_commit() {
    let repositories = Repositories::new();
    let url = repositories.commit("tools", &[("sub/tool", "one\n"), ("top", "top\n")]);
    let workshop = Workshop::new("FROM busybox\nCOPY --from=tools . /tools/\n");
    let whole = format!("--build-context=tools={url}");
    workshop.build(&[&whole]);
    assert_eq!(
        workshop.in_image("cat /tools/top /tools/sub/tool; ls -a /tools | grep -c git || true"),
        "top\none\n0\n"
    );
    let part = format!("--build-context=tools={url}#main:sub");
    workshop.build(&[&part]);
    assert_eq!(workshop.in_image("ls /tools"), "tool\n");
    let again = workshop.build(&[&part]);
    assert!(again.contains(" CACHED\n"), "{again}");
    repositories.commit("tools", &[("sub/tool", "two\n")]);
    workshop.build(&[&part]);
    assert_eq!(workshop.in_image("cat /tools/tool"), "two\n");
    workshop.fails(&[&format!("--build-context=tools={url}#nosuchbranch")], "nosuchbranch");
}

#[test]
fn a_file_of_the_web_is_alone_in_its_context() {
    let tar = layer(&[Entry::File("inner", 0o644, b"inner\n")]);
    let peer = Peer::serve(move |seen| match seen.path.as_str() {
        "/files/data.tar" => Reply::new(200, tar.clone()).with("ETag", "\"1\""),
        _ => Reply::new(404, "none"),
    });
    let url = format!("http://{}/files/data.tar", peer.address());
    let workshop = Workshop::new(
        "FROM busybox\nCOPY --from=web data.tar /\nRUN stat -c %a /data.tar > /said; tar -tf /data.tar >> /said\n",
    );
    let flag = format!("--build-context=web={url}");
    workshop.build(&[&flag]);
    assert_eq!(workshop.in_image("cat /said"), "600\ninner\n");
    let again = workshop.build(&[&flag]);
    assert!(again.contains("[3/3] RUN stat") && again.contains(" CACHED\n"), "{again}");
    workshop.fails(&[&format!("--build-context=web=http://{}/none", peer.address())], "404");
}

#[test]
fn an_image_by_name_is_that_of_the_stages_platform() {
    let (registry, _folder) = testkit::registry();
    let shelf = testkit::Shelf::at(registry.address());
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let tar = layer(&[Entry::File("arch", 0o644, architecture.as_bytes())]);
        let blob = shelf.put_blob("app", "application/vnd.oci.image.layer.v1.tar", &tar);
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Env": [format!("ARCH={architecture}")] },
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&tar).to_string()] },
        });
        let config =
            shelf.put_blob("app", "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [blob],
        });
        let mut entry = shelf.put_manifest("app", architecture, &manifest);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entries.push(entry);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
    });
    shelf.put_manifest("app", "1", &index);
    let workshop = Workshop::new("FROM base\nCOPY --from=base /arch /copied\n");
    let context = format!("--build-context=base=docker-image://{}/app:1", registry.address());
    let dest = workshop.path("out");
    let flags = ["--platform=linux/amd64,linux/arm64", "-o", dest.to_str().unwrap()];
    workshop.build(&[&flags[..], &[&context]].concat());
    for architecture in ["amd64", "arm64"] {
        for file in ["arch", "copied"] {
            let path = dest.join(format!("linux_{architecture}")).join(file);
            assert_eq!(std::fs::read_to_string(path).unwrap(), architecture);
        }
    }
}
