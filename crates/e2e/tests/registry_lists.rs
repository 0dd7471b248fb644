//! Lists that our registry keeps, made, copied and read by our own client and by others: indexes, referrers, tags.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

mod oci;
mod registry;
mod remote;

use std::process::Command;

use oci::dockerd::Dockerd;
use oci::{Done, Lab, require};
use registry::{INDEX, MANIFEST, Registry, Request, digest, manifest};
use remote::{file, gzip, hello, host, ok, put, put_index, run};
use serde_json::{Value, json};
use testkit::{Shelf, Skiff};

#[track_caller]
fn fine(done: &Done) -> &str {
    assert_eq!(done.code, 0, "{done:?}");
    done.out.trim()
}

fn shelf(registry: &Registry) -> Shelf {
    Shelf::at(registry.address)
}

fn count(said: &str, status: &str) -> usize {
    said.lines().filter(|line| line.contains(status)).count()
}

/// An image for two platforms, each with a tag of its own; their descriptors, and the index's.
fn two(shelf: &Shelf, repository: &str) -> [Value; 3] {
    let own = put(shelf, &format!("{repository}:own"), host(), &hello());
    let other = put(shelf, &format!("{repository}:other"), "s390x", &[gzip(&file("hello", b"other\n"))]);
    let index = put_index(shelf, &format!("{repository}:1"), &[(host(), &own), ("s390x", &other)]);
    [own, other, index]
}

/// Something that refers to `subject`; its descriptor.
fn attach(shelf: &Shelf, repository: &str, subject: &Value, kind: &str, content: &[u8]) -> Value {
    let empty = shelf.put_blob(repository, "application/vnd.oci.empty.v1+json", b"{}");
    let content = shelf.put_blob(repository, kind, content);
    let document = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": empty,
        "layers": [content], "subject": subject });
    let name = digest(document.to_string().as_bytes());
    shelf.put_manifest(repository, &name, &document)
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_list_made_here_is_pushed_to_our_registry_and_read_by_everybody() {
    for program in ["skopeo", "podman", "buildah"] {
        require(program, program);
    }
    let registry = Registry::start(&[]);
    let [own, other, _] = two(&shelf(&registry), "parts");
    let skiff = Skiff::new();
    let at = |name: &str| format!("{}/{name}", registry.address);
    let list = at("team/app:1");
    ok(&skiff, &["manifest", "create", &list, &at("parts:own"), &at("parts:other")]);
    ok(&skiff, &["manifest", "annotate", "--os-features", "a", &list, &at("parts:other")]);
    let said = ok(&skiff, &["manifest", "push", "--purge", &list]);
    assert_eq!(run(&skiff, &["manifest", "rm", &list]).code, 1, "it is there alone now");
    let raw = registry.get("/v2/team/app/manifests/1");
    assert_eq!((raw.status, raw.header("content-type")), (200, Some(INDEX)));
    assert_eq!(said.lines().last().unwrap(), digest(&raw.body));
    let entries = raw.json()["manifests"].clone();
    assert_eq!((&entries[0]["digest"], &entries[1]["digest"]), (&own["digest"], &other["digest"]));
    assert_eq!(entries[1]["platform"]["os.features"], json!(["a"]));
    // All platforms, and from there to another repository, which has it byte for byte.
    ok(&skiff, &["pull", "--all-platforms", &list]);
    assert_eq!(ok(&skiff, &["run", "--rm", &list]), "hello\n");
    assert_eq!(ok(&skiff, &["images", "-aq"]).lines().count(), 2);
    let lab = Lab::new("lists-podman");
    let storage = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(["--root", &lab.text("root"), "--runroot", &lab.text("runroot")]);
        oci::run(command.args(["--storage-driver", "vfs"]).args(words))
    };
    let architecture = ["image", "inspect", "--format", "{{.Architecture}}", &list];
    fine(&storage("podman", &["pull", "--tls-verify=false", &list]));
    assert_eq!(fine(&storage("podman", &architecture)), host());
    fine(&storage("podman", &["rmi", "--all", "--force"]));
    fine(&storage("podman", &["pull", "--tls-verify=false", "--arch", "s390x", &list]));
    assert_eq!(fine(&storage("podman", &architecture)), "s390x");
    fine(&storage("podman", &["rmi", "--all", "--force"]));
    fine(&storage("buildah", &["pull", "--tls-verify=false", &format!("docker://{list}")]));
    fine(&storage("buildah", &["rmi", "--all", "--force"]));
    let skopeo = |words: &[&str]| oci::run(Command::new("skopeo").arg("--insecure-policy").args(words));
    let (from, to) = (format!("docker://{list}"), format!("docker://{}", at("copied/app:1")));
    fine(&skopeo(&["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", &from, &to]));
    assert_eq!(registry.get("/v2/copied/app/manifests/1").body, raw.body);
    let docker = Dockerd::start("registry-lists", |_| Vec::new());
    fine(&docker.run(&["pull", &list]));
    assert_eq!(fine(&docker.run(&["run", "--rm", "--network=none", &list])), "hello");
    fine(&docker.run(&["rmi", "--force", &list]));
    fine(&docker.run(&["pull", "--platform", "linux/s390x", &list]));
    assert_eq!(fine(&docker.run(&["image", "inspect", "--format", "{{.Architecture}}", &list])), "s390x");
}

#[test]
fn an_index_is_refused_without_its_images_and_removed_without_them() {
    let registry = Registry::start(&[]);
    let absent = json!({ "mediaType": MANIFEST, "digest": digest(b"none"), "size": 4 });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [absent] }).to_string();
    registry.put_manifest("app", "1", &index).refused(400, "MANIFEST_BLOB_UNKNOWN");
    let [own, _, index] = two(&shelf(&registry), "team/app");
    let name = |of: &Value| format!("/v2/team/app/manifests/{}", of["digest"].as_str().unwrap());
    assert_eq!(registry.delete("/v2/team/app/manifests/own").status, 202);
    let skiff = Skiff::new();
    let at = format!("{}/team/app", registry.address);
    assert_eq!(sorted(&ok(&skiff, &["image", "tags", &at])), ["1", "other"]);
    ok(&skiff, &["pull", &format!("{at}:1")]);
    assert_eq!(registry.delete(&name(&index)).status, 202);
    registry.get("/v2/team/app/manifests/1").refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(registry.get(&name(&own)).status, 200, "who pulls by digest needs neither tag nor index");
    let gone = run(&skiff, &["pull", &format!("{at}:1")]);
    assert!(gone.code == 1 && gone.stderr.contains("not found"), "{gone:?}");
}

#[test]
fn images_are_copied_with_what_refers_to_them_to_our_registry_from_it_and_within_it() {
    let (debian, _content) = testkit::registry();
    let (ours, second) = (Registry::start(&[]), Registry::start(&[]));
    let skiff = Skiff::new();
    let [own, _, index] = two(&debian, "team/app");
    let (sbom, signature) = ("application/vnd.example.sbom", "application/vnd.example.signature");
    let entries = [
        attach(&debian, "team/app", &index, sbom, b"all that is in it"),
        attach(&debian, "team/app", &index, signature, b"signed"),
    ];
    let mut attached = entries.each_ref().map(|entry| entry["digest"].as_str().unwrap());
    // Debian's keeps no lists: whoever pushes keeps one under a tag.
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    debian.put_manifest("team/app", &index["digest"].as_str().unwrap().replace(':', "-"), &list);
    let from = format!("{}/team/app", debian.address());
    let to = format!("{}/mirror/app", ours.address);
    ok(&skiff, &["image", "copy", "--referrers", &format!("{from}:1"), &to]);
    attached.sort();
    let referrers =
        |name: &str, words: &[&str]| ok(&skiff, &[&["image", "referrers", "-q"], words, &[name]].concat());
    assert_eq!(sorted(&referrers(&format!("{to}:1"), &[])), attached);
    let signatures = referrers(&format!("{to}:1"), &["--artifact-type", signature]);
    assert_eq!(signatures.lines().count(), 1, "{signatures}");
    assert_eq!(ok(&skiff, &["image", "tags", &to]), "1\n", "no tag stands for a list here");
    let digest_of = |registry: &Registry, path: &str| {
        registry.head(path).header("docker-content-digest").unwrap_or_default().to_owned()
    };
    assert_eq!(digest_of(&ours, "/v2/mirror/app/manifests/1"), index["digest"].as_str().unwrap());
    // To another one of ours, every tag; and within it, where everything is mounted.
    let other = format!("{}/all", second.address);
    ok(&skiff, &["image", "copy", "--referrers", "-a", &to, &other]);
    assert_eq!(sorted(&referrers(&format!("{other}:1"), &[])), attached);
    let beside = format!("{}/beside", second.address);
    let said = ok(&skiff, &["image", "copy", "--referrers", &format!("{other}:1"), &format!("{beside}:1")]);
    assert_eq!(count(&said, ": Pushed"), 0, "{said}");
    assert!(count(&said, ": Mounted from all") >= 5, "{said}");
    assert_eq!(sorted(&referrers(&format!("{beside}:1"), &[])), attached);
    ok(&skiff, &["pull", "--platform", &format!("linux/{}", host()), &format!("{beside}:1")]);
    assert_eq!(ok(&skiff, &["run", "--rm", &format!("{beside}:1")]), "hello\n");
    // Back to where no lists are kept.
    let back = format!("{}/back", debian.address());
    ok(&skiff, &["image", "copy", "--referrers", &format!("{beside}:1"), &format!("{back}:1")]);
    assert_eq!(sorted(&referrers(&format!("{back}:1"), &[])), attached);
    // What refers to something goes with its own digest, and leaves what it is about.
    assert_eq!(second.delete(&format!("/v2/beside/manifests/{}", attached[0])).status, 202);
    assert_eq!(sorted(&referrers(&format!("{beside}:1"), &[])), attached[1..]);
    assert_eq!(second.get(&format!("/v2/beside/manifests/{}", own["digest"].as_str().unwrap())).status, 200);
}

#[test]
fn a_push_mounts_what_another_repository_has_and_needs_nothing_twice() {
    let registry = Registry::start(&[]);
    put(&shelf(&registry), "base/app:1", host(), &hello());
    let skiff = Skiff::new();
    let (base, name) =
        (format!("{}/base/app:1", registry.address), format!("{}/team/app:1", registry.address));
    ok(&skiff, &["pull", &base]);
    ok(&skiff, &["tag", &base, &name]);
    let said = ok(&skiff, &["push", &name]);
    assert_eq!((count(&said, ": Mounted from base/app"), count(&said, ": Pushed")), (2, 0), "{said}");
    let again = ok(&skiff, &["push", &name]);
    assert_eq!(count(&again, ": Layer already exists"), 2, "{again}");
    let digest_of = |path: &str| registry.head(path).header("docker-content-digest").map(str::to_owned);
    assert_eq!(digest_of("/v2/team/app/manifests/1"), digest_of("/v2/base/app/manifests/1"));
    // Each has its own: what is taken from the one stays with the other.
    assert_eq!(registry.delete("/v2/base/app/manifests/1").status, 202);
    let other = Skiff::new();
    ok(&other, &["pull", &name]);
    assert_eq!(ok(&other, &["run", "--rm", &name]), "hello\n");
}

#[test]
fn more_tags_and_repositories_than_a_page_has_are_all_listed() {
    let registry = Registry::start(&[]);
    registry.push("many", b"{}");
    let text = manifest(b"{}", &[], "");
    let name = digest(text.as_bytes());
    // More than our client asks for at once, 64 in a request.
    let tags: Vec<String> = (0..1_100).map(|number| format!("t{number:04}")).collect();
    for some in tags.chunks(64) {
        let query: Vec<String> = some.iter().map(|tag| format!("tag={tag}")).collect();
        let path = format!("/v2/many/manifests/{name}?{}", query.join("&"));
        let put = Request::new("PUT", &path).header("content-type", MANIFEST).body(text.as_bytes());
        assert_eq!(registry.send(&put).status, 201);
    }
    let skiff = Skiff::new();
    let listed = ok(&skiff, &["image", "tags", &format!("{}/many", registry.address)]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), tags);
    for number in 0..3 {
        registry.push(&format!("some/app{number}"), b"{}");
        assert_eq!(registry.put_manifest(&format!("some/app{number}"), "1", &text).status, 201);
    }
    let found = ok(&skiff, &["search", "--format", "{{.Name}}", &format!("{}/some", registry.address)]);
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn referrers_with_much_to_say_come_in_pages_that_clients_read() {
    let registry = Registry::start(&[]);
    registry.push("app", b"{}");
    let image = manifest(b"{}", &[], "");
    assert_eq!(registry.put_manifest("app", "v1", &image).status, 201);
    let subject = json!({ "mediaType": MANIFEST, "digest": digest(image.as_bytes()), "size": image.len() });
    let mut attached = Vec::new();
    // One that fills a page, and some of which few fill one: ten megabytes, where a client reads four at once.
    for bytes in [3_900_000, 700_000, 700_000, 700_000, 700_000, 2_000_000, 2_000_000] {
        let filling = format!("{}{}", attached.len(), "x".repeat(bytes));
        let more = format!(r#","subject":{subject},"annotations":{{"filling":"{filling}"}}"#);
        let text = manifest(b"{}", &[], &more);
        assert_eq!(registry.put_manifest("app", &digest(text.as_bytes()), &text).status, 201);
        attached.push(digest(text.as_bytes()));
    }
    let path = format!("/v2/app/referrers/{}", digest(image.as_bytes()));
    let (mut next, mut paged) = (Some(path), Vec::new());
    while let Some(path) = next {
        let page = registry.get(&path);
        assert!(page.body.len() <= 4 << 20, "a page of {} bytes", page.body.len());
        let entries = page.json()["manifests"].as_array().unwrap().clone();
        paged.extend(entries.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()));
        next = page.header("link").map(|link| link[1..link.find('>').unwrap()].to_owned());
    }
    attached.sort();
    assert_eq!(paged, attached, "each once, in the order of their digests");
    let name = format!("{}/app:v1", registry.address);
    let found = registry.skiff.ok(&["image", "referrers", "--quiet", &name]);
    assert_eq!(found.lines().collect::<Vec<_>>(), attached);
}
