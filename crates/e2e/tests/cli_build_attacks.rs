//! Builds of files and on images that were made to harm: what builders elsewhere fell to, tried with the real program.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{Entry, Output, Skiff, archive_of_layers, busybox_layer};

/// A Skiff, a context, and a folder of the host that attacks aim at.
struct Range {
    skiff: Skiff,
    context: PathBuf,
    victim: PathBuf,
}

impl Range {
    fn new() -> Range {
        let skiff = Skiff::with_busybox().that_builds();
        let (context, victim) = (skiff.folder().join("context"), skiff.folder().join("victim"));
        std::fs::create_dir(&context).unwrap();
        std::fs::create_dir_all(victim.join("empty")).unwrap();
        std::fs::write(victim.join("file"), "untouched\n").unwrap();
        let range = Range { skiff, context, victim };
        range.write("one", "1\n");
        range
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.context.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Loads an image `evil`: busybox, and upon it a layer of these members.
    fn base(&self, members: &[(tar::EntryType, &str, &str)], config: Value) {
        let mut layer = tar::Builder::new(Vec::new());
        for (kind, path, content) in members {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_device_major(1).unwrap();
            header.set_device_minor(5).unwrap();
            header.set_size(0);
            if *kind == tar::EntryType::Symlink {
                layer.append_link(&mut header, path, content).unwrap();
            } else {
                // Nothing else but files has any content.
                header.set_size(content.len() as u64);
                layer.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
        }
        let layer = layer.into_inner().unwrap();
        let below = busybox_layer(&[Entry::Directory("data", 0o755)]);
        self.skiff.load(&archive_of_layers("evil:latest", &[&below, &layer], config));
    }

    fn build(&self, dockerfile: &str, flags: &[&str]) -> Output {
        self.write("Dockerfile", dockerfile);
        let context = self.context.to_str().unwrap();
        let fixed = ["build", "--progress=plain", "--network=none", "--provenance=false", "-t", "made"];
        self.skiff.run(&[&fixed, flags, &[context]].concat())
    }

    fn builds(&self, dockerfile: &str, flags: &[&str]) -> String {
        let output = self.build(dockerfile, flags);
        assert_eq!(output.code, 0, "{dockerfile}\n{}", output.stderr);
        output.stderr
    }

    fn fails(&self, dockerfile: &str, words: &str) {
        let output = self.build(dockerfile, &[]);
        assert_eq!(output.code, 1, "{dockerfile}\n{}", output.stderr);
        assert!(output.stderr.contains(words), "{dockerfile}\nno {words:?} in:\n{}", output.stderr);
    }

    /// Nothing was added, removed or written, and nothing of it is in the image.
    fn is_untouched(&self) {
        assert_eq!(listed(&self.victim), ["empty", "file"]);
        assert_eq!(listed(&self.victim.join("empty")), [""; 0]);
        assert_eq!(std::fs::read_to_string(self.victim.join("file")).unwrap(), "untouched\n");
        assert_eq!(self.skiff.left_by_containers(), "");
    }
}

fn listed(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// From anywhere in a container to a path of the host, if anything followed it.
fn out_to(path: &Path) -> String {
    format!("{}{}", "/..".repeat(20), path.display())
}

#[test]
fn links_of_a_base_lead_no_step_and_no_mount_out() {
    use tar::EntryType::Symlink;
    let range = Range::new();
    let out = out_to(&range.victim);
    let relative = format!("..{out}");
    range.base(&[(Symlink, "app", &out), (Symlink, "rel", &relative)], json!({ "Cmd": ["sh"] }));
    for way in ["app", "rel"] {
        range.builds(&format!("FROM evil\nCOPY one /{way}/one\nADD one /{way}/two\nCOPY one /{way}/\n"), &[]);
        range.builds(&format!("FROM evil\nWORKDIR /{way}/work\nRUN echo x > here\n"), &[]);
        range.builds(
            &format!(
                "FROM evil\nRUN --mount=type=cache,target=/{way}/cache echo x > /{way}/cache/x\n\
                 RUN --mount=type=tmpfs,target=/{way}/empty true\nRUN --mount=target=/{way}/bound true\n\
                 RUN --mount=source=one,target=/{way}/file cat /{way}/file\n"
            ),
            &[],
        );
        for taken in [
            format!("FROM evil AS e\nFROM busybox\nCOPY --from=e /{way}/file /x\n"),
            format!("FROM busybox\nRUN --mount=from=evil,source=/{way},target=/m cat /m/file\n"),
        ] {
            range.fails(&taken, "not found");
        }
    }
    range.is_untouched();
}

#[test]
fn a_place_that_a_program_swaps_for_a_link_is_cleaned_up_inside_alone() {
    let range = Range::new();
    let out = out_to(&range.victim);
    // The directory that was made to mount on is empty, and would be removed by its path.
    range.builds(
        &format!(
            "FROM busybox\nRUN --mount=type=tmpfs,target=/x/empty mv /x /y && ln -s {out} /x\n\
             RUN test -L /x && test ! -e /x/file\n"
        ),
        &[],
    );
    range.builds(
        &format!("FROM busybox\nRUN --mount=source=one,target=/x/file mv /x /y && ln -s {out} /x\n"),
        &[],
    );
    range.is_untouched();
}

#[test]
fn users_are_looked_up_in_files_alone_and_these_are_the_images() {
    use tar::EntryType::{Char, Fifo, Symlink};
    let range = Range::new();
    std::fs::write(range.victim.join("file"), "untouched\n").unwrap();
    let hosts = range.skiff.folder().join("passwd");
    std::fs::write(&hosts, "app:x:4242:4242::/:/bin/sh\n").unwrap();
    let out = out_to(&hosts);
    let missing = "unable to find user app";
    for (kind, target, words) in [
        (Fifo, "", "not a regular file"),
        (Char, "", ""),
        (Symlink, "passwd", ""),
        (Symlink, out.as_str(), missing),
        (Symlink, "/proc/self/environ", missing),
    ] {
        range.base(&[(kind, "etc/passwd", target)], json!({ "Cmd": ["sh"] }));
        for step in ["COPY --chown=app one /x", "USER app\nWORKDIR /w", "USER app\nRUN id"] {
            range.fails(&format!("FROM evil\n{step}\n"), words);
        }
    }
    range.is_untouched();
}

#[test]
fn what_a_base_triggers_is_no_more_than_a_dockerfile_could_say() {
    let range = Range::new();
    for (trigger, words) in [
        ("FROM busybox", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD RUN id", "ONBUILD isn't allowed as an ONBUILD trigger"),
        ("RUN true\nRUN true", "onbuild trigger should be a single expression"),
        ("RUN --security=insecure id", "security.insecure is not allowed"),
        ("RUN --network=host id", "network.host is not allowed"),
        ("RUN --mount=type=secret,id=s,required cat /run/secrets/s", "secret s: not found"),
        ("COPY --from=evil /nothing /", "not found"),
        ("\u{1b}[2J", "unknown instruction"),
    ] {
        range.base(&[], json!({ "OnBuild": [trigger] }));
        range.fails("FROM evil\n", words);
    }
    let many: Vec<&str> = vec!["RUN true"; 20_000];
    range.base(&[], json!({ "OnBuild": many }));
    range.fails("FROM evil\n", "more than 10000 ONBUILD triggers");
    range.is_untouched();
}

#[test]
fn a_directory_is_written_to_without_following_what_lies_there() {
    let range = Range::new();
    let output = range.skiff.folder().join("out");
    for mode in ["copy", "delete"] {
        let _absent = std::fs::remove_dir_all(&output);
        std::fs::create_dir(&output).unwrap();
        for (name, target) in
            [("folder", ""), ("file", "file"), ("new", "not-there"), ("within", "empty"), ("gone", "")]
        {
            symlink(range.victim.join(target), output.join(name)).unwrap();
        }
        std::fs::hard_link(range.victim.join("file"), output.join("hard")).unwrap();
        let flag = format!("--output=type=local,mode={mode},dest={}", output.display());
        let dockerfile = "FROM scratch\nCOPY one /folder/one\nCOPY one /file\nCOPY one /new\n\
                          COPY one /within/deep/one\nCOPY one /hard\n";
        range.builds(dockerfile, &[&flag]);
        assert_eq!(std::fs::read_to_string(output.join("hard")).unwrap(), "1\n");
        assert_eq!(std::fs::read_to_string(output.join("folder/one")).unwrap(), "1\n");
        assert_eq!(output.join("gone").is_symlink(), mode == "copy");
        range.is_untouched();
    }
}

#[test]
fn the_password_of_an_address_is_in_no_history_and_no_statement() {
    let range = Range::new();
    let peer = testkit::Peer::serve(|_| testkit::Reply::new(200, "x"));
    let (metadata, archive) = (range.skiff.folder().join("metadata"), range.skiff.folder().join("made.tar"));
    let dockerfile = format!("FROM busybox\nADD http://me:hunter2@{}/file /x\n", peer.address());
    range.builds(
        &dockerfile,
        &[
            &format!("--metadata-file={}", metadata.display()),
            &format!("--output=type=oci,dest={}", archive.display()),
            "--provenance=mode=min",
        ],
    );
    for file in [metadata, archive] {
        let content = std::fs::read(&file).unwrap();
        let found = content.windows(7).any(|window| window == b"hunter2");
        assert!(!found, "in {}", file.display());
    }
    assert!(peer.seen().iter().all(|seen| seen.header("authorization").starts_with("Basic ")));
}
