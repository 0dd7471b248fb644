//! Definitions from repositories, archives and addresses of files.

use testkit::{Entry, Peer, Reply, Seen, layer};

use crate::repositories::Repositories;
use crate::workshop::{DOCKERFILE, Workshop};

#[test]
fn a_definition_from_a_repository_builds_what_is_there() {
    let repositories = Repositories::new();
    let hcl = r#"
variable "BAKE_CMD_CONTEXT" {}
target "default" { tags = ["there:1"] }
target "sub" {
  context = "sub"
  dockerfile = "Other"
  contexts = { more = "more" }
  tags = ["sub:1"]
}
target "here" {
  context = "cwd://here"
  tags = ["here:1"]
  args = { WHO = BAKE_CMD_CONTEXT }
}
target "outside" { context = "cwd://.." }
target "climbs" { context = "../x" }
"#;
    let url = repositories.commit(
        "project",
        &[
            ("docker-bake.hcl", hcl),
            ("Dockerfile", "FROM busybox\nCOPY file /said\n"),
            ("file", "there\n"),
            ("sub/Other", "FROM busybox\nCOPY file /said\nCOPY --from=more more /more\n"),
            ("sub/file", "sub\n"),
            ("more/more", "more\n"),
            ("other.hcl", "target \"default\" { tags = [\"there:2\"] }\n"),
        ],
    );
    let workshop = Workshop::new(&[
        ("here/Dockerfile", DOCKERFILE),
        ("local.hcl", "target \"default\" { labels = { local = \"yes\" } }\n"),
    ]);
    workshop.bake(&[&url]);
    assert_eq!(workshop.in_image("there:1", "cat /said"), "there\n");
    workshop.bake(&[&format!("{url}#main"), "sub"]);
    assert_eq!(workshop.in_image("sub:1", "cat /said /more"), "sub\nmore\n");
    workshop.bake(&[&url, "here"]);
    assert_eq!(workshop.in_image("here:1", "cat /said"), "cwd:// 0\n");
    workshop.bake(&[&url, &url, "here"]);
    assert_eq!(workshop.in_image("here:1", "cat /said"), format!("{url} 0\n"));
    workshop.bake(&["-f", "other.hcl", "-f", "cwd://local.hcl", &url]);
    assert_eq!(workshop.skiff.said("{{.Config.Labels.local}}", "there:2"), "yes");
    workshop.fails(&[&url, "outside"], &["target outside", "is outside of this folder"]);
    workshop.fails(&[&url, "climbs"], &["target climbs", "leads out of"]);
    workshop.fails(&["-f", "none.hcl", &url], &["has no bake file none.hcl"]);
    workshop.fails(&[&format!("{url}#none")], &["none"]);
}

#[test]
fn a_compose_file_of_a_repository_takes_from_files_there() {
    let repositories = Repositories::new();
    let url = repositories.commit(
        "composed",
        &[
            ("compose.yaml", "include: [sub/compose.yaml]\n"),
            ("sub/compose.yaml", "services: { there: { image: there, env_file: who.env, build: { context: ., network: none, args: [WHO, \"VERSION=${TAG}\"] } } }\n"),
            ("sub/who.env", "WHO=there\n"),
            ("sub/.env", "TAG=5\n"),
            ("sub/Dockerfile", DOCKERFILE),
            ("out.yaml", "services: { out: { env_file: /etc/hostname, build: { args: [X] } } }\n"),
        ],
    );
    // Files of this folder are none of its.
    let workshop = Workshop::new(&[("sub/who.env", "WHO=here\n"), (".env", "TAG=here\n")]);
    workshop.bake(&[&url]);
    assert_eq!(workshop.in_image("there", "cat /said"), "there 5\n");
    workshop.fails(&["-f", "out.yaml", &url], &["env file /etc/hostname not found"]);
}

/// A server of files by their paths.
fn files(files: Vec<(&'static str, Vec<u8>)>) -> Peer {
    Peer::serve(move |seen: &Seen| match files.iter().find(|(path, _)| *path == seen.path) {
        Some((_, content)) => Reply::new(200, content.clone()),
        None => Reply::new(404, "no such file"),
    })
}

#[test]
fn parts_of_an_archive_are_contexts() {
    let hcl = br#"
group "default" { targets = ["top", "sub"] }
target "top" { tags = ["top"] }
target "sub" {
  context = "sub"
  dockerfile = "Other"
  contexts = { more = "more/inner", whole = ".", linked = "link" }
  tags = ["sub"]
}
target "here" {
  context = "cwd://here"
  tags = ["here"]
}
target "none" { context = "none" }
target "file" { context = "file" }
target "climbs" { context = "link/../.." }
"#;
    let archive = layer(&[
        Entry::File("docker-bake.hcl", 0o644, hcl),
        Entry::File("Dockerfile", 0o644, b"FROM busybox\nCOPY file /said\n"),
        Entry::File("file", 0o644, b"top\n"),
        Entry::Directory("sub", 0o755),
        Entry::File(
            "sub/Other",
            0o644,
            b"FROM busybox\nCOPY file /said\nCOPY --from=more . /more\nCOPY --from=whole file /whole\nCOPY --from=linked more /linked\n",
        ),
        Entry::File("sub/file", 0o644, b"sub\n"),
        Entry::File("sub/.dockerignore", 0o644, b"secret\n"),
        Entry::Directory("more", 0o755),
        Entry::Directory("more/inner", 0o755),
        Entry::File("more/inner/more", 0o644, b"more\n"),
        // As far as it leads, it leads to the top of the archive.
        Entry::Symlink("link", "../../../more/inner"),
    ]);
    let peer = files(vec![("/source.tar", archive)]);
    let url = format!("http://{}/source.tar", peer.address());
    let workshop = Workshop::new(&[("here/Dockerfile", DOCKERFILE)]);
    workshop.bake(&[&url]);
    assert_eq!(workshop.in_image("top", "cat /said"), "top\n");
    assert_eq!(workshop.in_image("sub", "cat /said /more/more /whole /linked"), "sub\nmore\ntop\nmore\n");
    workshop.bake(&[&url, "here"]);
    assert_eq!(workshop.in_image("here", "cat /said"), "nobody 0\n");
    workshop.fails(&[&url, "none"], &["target none", "is no archive with a folder \"none\""]);
    workshop.fails(&[&url, "file"], &["target file", "is no archive with a folder \"file\""]);
    workshop.fails(&[&url, "climbs"], &["target climbs", "leads out of"]);
    // The same by hand.
    workshop.skiff.ok(&[
        "build",
        "-q",
        "-t",
        "hand",
        "-f",
        "Other",
        "--build-context",
        &format!("more={url}#:more/inner"),
        "--build-context",
        &format!("whole={url}#:"),
        "--build-context",
        &format!("linked={url}#:link"),
        &format!("{url}#:sub"),
    ]);
    assert_eq!(workshop.skiff.said("{{.Id}}", "hand"), workshop.skiff.said("{{.Id}}", "sub"));
}

#[test]
fn a_file_from_elsewhere_may_use_this_folder_alone() {
    let hcl: &[u8] = b"target \"default\" { tags = [\"made\"] }\n\
        target \"outside\" { context = \"..\" }\n\
        target \"root\" { contexts = { all = \"/\" } }\n\
        target \"file\" { dockerfile = \"../Dockerfile\" }\n";
    let compose: &[u8] = b"services: { here: { image: here, env_file: who.env, build: { args: [WHO] } }, out: { env_file: /etc/hostname, build: { args: [X] } } }\n";
    let peer = files(vec![("/bake.hcl", hcl.to_vec()), ("/compose.yaml", compose.to_vec())]);
    let address = |name: &str| format!("http://{}/{name}", peer.address());
    let workshop = Workshop::new(&[("Dockerfile", DOCKERFILE), ("who.env", "WHO=me\n")]);
    workshop.bake(&[&address("bake.hcl")]);
    assert_eq!(workshop.in_image("made", "cat /said"), "nobody 0\n");
    for target in ["outside", "root", "file"] {
        let says = [&format!("target {target}: ")[..], "is outside of this folder"];
        workshop.fails(&[&address("bake.hcl"), target], &says);
    }
    workshop
        .fails(&[&address("compose.yaml")], &["a file from elsewhere may name files of this folder alone"]);
}
