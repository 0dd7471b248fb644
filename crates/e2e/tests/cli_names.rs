//! What an image is called: by the digest of each of its tags, and by the name that was asked for.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod remote;

use remote::*;
use testkit::{Registry, Skiff, registry};

/// An image that has two manifests in its repository: what it consists of is compressed in two ways. Their digests.
fn put_twice(registry: &Registry) -> [String; 2] {
    let tars = [testkit::busybox_layer(&[]), file("hello", b"hello\n")];
    let plain = tars.each_ref().map(|tar| uncompressed(tar));
    let one = put(registry, "a:1", host(), &hello());
    let two = put(registry, "a:2", host(), &plain);
    [one, two].map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned())
}

/// Tag and digest of each row.
fn rows(skiff: &Skiff) -> String {
    ok(skiff, &["images", "--format", "{{.Tag}} {{.Digest}}"])
}

#[test]
fn each_tag_is_shown_with_its_own_digest() {
    let (registry, _content) = registry();
    let [one, two] = put_twice(&registry);
    assert_ne!(one, two);
    let skiff = Skiff::new();
    let name = |tag: &str| format!("{}/a:{tag}", registry.address());
    ok(&skiff, &["pull", &name("1")]);
    ok(&skiff, &["pull", &name("2")]);
    assert_eq!(skiff.said("{{.Id}}", &name("1")), skiff.said("{{.Id}}", &name("2")));
    assert_eq!(rows(&skiff), format!("1 {one}\n2 {two}\n"));
    // A further tag of the repository is what it was made of; one of another has no digest until it is pushed.
    ok(&skiff, &["tag", &name("1"), &name("3")]);
    assert_eq!(rows(&skiff), format!("1 {one}\n2 {two}\n3 {one}\n"));
    let elsewhere = format!("{}/b:4", registry.address());
    ok(&skiff, &["tag", &name("1"), &elsewhere]);
    assert!(rows(&skiff).ends_with("4 <none>\n"));
    let pushed = ok(&skiff, &["push", &elsewhere]);
    let digest = pushed.lines().last().unwrap().split(' ').nth(2).unwrap();
    assert!(rows(&skiff).ends_with(&format!("4 {digest}\n")), "{pushed}");
    // It moves: what it was called is no more its name.
    put(&registry, "a:1", host(), &[gzip(&file("hello", b"newer\n"))]);
    ok(&skiff, &["pull", &name("1")]);
    assert!(!rows(&skiff).contains(&format!("1 {one}\n")));
}

#[test]
fn what_is_verified_and_repaired_is_called_what_it_was_asked_for_by() {
    let skiff = Skiff::with_busybox();
    ok(&skiff, &["tag", "busybox", "other/name:7"]);
    let id = skiff.said("{{.Id}}", "busybox");
    let short = &id["sha256:".len()..][..12];
    for (asked, shown) in
        [("other/name:7", "other/name:7"), ("busybox", "busybox:latest"), (short, short), (&id, &id)]
    {
        for verb in ["verify", "repair"] {
            assert_eq!(ok(&skiff, &["image", verb, asked]), format!("{shown}: good\n"), "{verb} {asked}");
        }
    }
    let said = ok(&skiff, &["image", "verify", "other/name:7", "busybox"]);
    assert_eq!(said, "other/name:7: good\nbusybox:latest: good\n");
}
