//! Images for several platforms: pulled by an index from Debian's `docker-registry`, shown, run, removed and collected.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod remote;

use remote::*;
use serde_json::Value;
use testkit::{Skiff, calls_of, kill_at, require};

/// What lies below a folder of the root.
fn count(skiff: &Skiff, folder: &str) -> usize {
    std::fs::read_dir(skiff.root().join(folder)).into_iter().flatten().count()
}

fn blobs(skiff: &Skiff) -> Vec<String> {
    let names = std::fs::read_dir(skiff.root().join("blobs/sha256")).into_iter().flatten().flatten();
    names.map(|entry| format!("sha256:{}", entry.file_name().to_str().unwrap())).collect()
}

/// Nothing lies there that no image needs, and everything that one needs.
fn assert_nothing_but_what_is_needed(skiff: &Skiff) {
    let before = (count(skiff, "layers"), count(skiff, "images"), blobs(skiff).len());
    ok(skiff, &["image", "prune", "-f"]);
    assert_eq!((count(skiff, "layers"), count(skiff, "images"), blobs(skiff).len()), before);
    let output = run(skiff, &["image", "verify"]);
    assert_eq!(output.code, 0, "{output:?}");
}

#[test]
fn all_platforms_of_an_image_are_pulled_under_one_name() {
    let multi = Multi::new();
    let skiff = Skiff::new();
    let name = multi.name();
    let said = ok(&skiff, &["pull", "--all-platforms", &name]);
    assert_eq!(said.matches(": Pull complete").count(), 4, "{said}");
    assert!(said.contains(&format!("Status: Downloaded newer image for {name}\n")), "{said}");
    // One row, that of this host; all of them where nameless ones are asked for.
    assert_eq!(ok(&skiff, &["images", "-q"]).lines().count(), 1);
    assert_eq!(ok(&skiff, &["images", "-aq"]).lines().count(), 2);
    assert_eq!(ok(&skiff, &["images", "-q", "-f", "dangling=true"]), "");
    assert_eq!(ok(&skiff, &["run", "--rm", "--pull=never", &name]), "hello\n");
    let (own, other) = (id_of(&skiff, &name, &own_platform()), id_of(&skiff, &name, OTHER));
    assert_eq!(skiff.said("{{.Id}} {{.Architecture}}", &name), format!("{own} {}", host()));
    assert_eq!(skiff.said("{{.Architecture}}", &other), "s390x");
    assert_eq!(id_of(&skiff, &multi.by_digest(), OTHER), other);
    assert_eq!(skiff.said("{{.Id}}", &multi.by_digest()), own);
    // The index is kept byte for byte; what is attested is not.
    let documents = blobs(&skiff);
    for digest in [&multi.index["digest"], &multi.own["digest"], &multi.other["digest"]] {
        assert!(documents.iter().any(|document| document == digest.as_str().unwrap()), "{documents:?}");
    }
    assert_eq!(documents.len(), 5, "an index, two manifests and two configurations: {documents:?}");
    let again = ok(&skiff, &["pull", "--all-platforms", &name]);
    assert!(again.contains(&format!("Status: Image is up to date for {name}\n")), "{again}");
    assert_nothing_but_what_is_needed(&skiff);
    ok(&skiff, &["tag", &name, "copy:1"]);
    assert_eq!(id_of(&skiff, "copy:1", OTHER), other, "a further name leads to all that the first does");
}

#[test]
fn a_container_is_made_for_the_platform_that_is_asked_for_from_what_is_here() {
    let multi = Multi::new();
    let skiff = Skiff::new();
    let name = multi.name();
    ok(&skiff, &["pull", &name]);
    let tree = ok(&skiff, &["images", "--tree"]);
    assert!(tree.contains("├─ linux/s390x") && tree.contains(&format!("└─ {}", own_platform())), "{tree}");
    let missing = run(&skiff, &["create", "--pull=never", "--platform", OTHER, &name]);
    assert!(missing.code == 1 && missing.stderr.contains("does not provide the specified platform"));
    assert_eq!(run(&skiff, &["image", "inspect", "--platform", OTHER, &name]).code, 1);
    // It is fetched then, beside the first, and the name still stands for that.
    let made = run(&skiff, &["create", "--name", "far", "--platform", OTHER, &name]);
    assert!(made.code == 0 && made.stderr.contains("Pulling from a/multi"), "{made:?}");
    let other = id_of(&skiff, &name, OTHER);
    assert_eq!(skiff.said("{{.Image}}", "far"), other);
    assert_eq!(ok(&skiff, &["run", "--rm", "--pull=never", &name]), "hello\n");
    drop(multi);
    // The registry is gone: it is here.
    ok(&skiff, &["create", "--name", "again", "--platform", OTHER, &name]);
    assert_eq!(skiff.said("{{.Image}}", "again"), other);
    let by_id = run(&skiff, &["create", "--platform", &own_platform(), &other]);
    assert!(by_id.stderr.contains("does not provide the specified platform"), "{by_id:?}");
    ok(&skiff, &["rm", "far", "again"]);
}

#[test]
fn the_other_platform_alone_becomes_what_the_name_stands_for_until_the_hosts_comes() {
    let multi = Multi::new();
    let skiff = Skiff::new();
    let name = multi.name();
    ok(&skiff, &["pull", "--platform", OTHER, &name]);
    assert_eq!(skiff.said("{{.Architecture}}", &name), "s390x");
    ok(&skiff, &["pull", &name]);
    assert_eq!(skiff.said("{{.Architecture}}", &name), host());
    ok(&skiff, &["pull", "--platform", OTHER, &name]);
    assert_eq!(skiff.said("{{.Architecture}}", &name), host());
    assert_eq!(ok(&skiff, &["images", "-q"]).lines().count(), 1);
    assert_nothing_but_what_is_needed(&skiff);
    let conflict = run(&skiff, &["pull", "--all-platforms", "--platform", OTHER, &name]);
    assert!(conflict.code != 0 && conflict.stderr.contains("--all-platforms"), "{conflict:?}");
}

#[test]
fn what_a_name_leads_to_goes_with_it_and_stays_for_other_names() {
    let multi = Multi::new();
    let skiff = Skiff::new();
    let name = multi.name();
    let pull = || drop(ok(&skiff, &["pull", "--all-platforms", &name]));
    let gone = |what: &str| {
        assert_eq!(ok(&skiff, &["images", "-aq"]), "", "{what}");
        for folder in ["layers", "images", "blobs/sha256"] {
            assert_eq!(count(&skiff, folder), 0, "{what}: {folder}");
        }
    };
    pull();
    let said = ok(&skiff, &["rmi", &name]);
    assert_eq!((said.matches("Untagged: ").count(), said.matches("Deleted: ").count()), (1, 6), "{said}");
    gone("by its name");
    pull();
    ok(&skiff, &["rmi", &id_of(&skiff, &name, &own_platform())]);
    gone("by the id of what it stands for");
    ok(&skiff, &["pull", "--all-platforms", &multi.by_digest()]);
    ok(&skiff, &["rmi", &multi.by_digest()]);
    gone("by the digest of the index");
    pull();
    ok(&skiff, &["image", "prune", "-af"]);
    gone("as an unused image");
    pull();
    // Another name leads to the same index; a third one stands for the other platform alone.
    ok(&skiff, &["tag", &name, "second"]);
    let other = id_of(&skiff, &name, OTHER);
    ok(&skiff, &["tag", &other, "third"]);
    assert_eq!(ok(&skiff, &["rmi", &name]), format!("Untagged: {name}\n"));
    assert_eq!(id_of(&skiff, "second", OTHER), other);
    assert_nothing_but_what_is_needed(&skiff);
    ok(&skiff, &["rmi", "second"]);
    assert_eq!(ok(&skiff, &["images", "--format", "{{.Repository}}"]), "third\n");
    assert_nothing_but_what_is_needed(&skiff);
    ok(&skiff, &["rmi", "third"]);
    gone("one after another");
}

#[test]
fn one_platform_is_removed_and_the_name_stands_for_the_next() {
    let (_multi, skiff, name) = Multi::pulled();
    let own = id_of(&skiff, &name, &own_platform());
    ok(&skiff, &["create", "--name", "user", &name]);
    // As long as a container uses one, all of the name stay.
    ok(&skiff, &["image", "prune", "-af"]);
    assert_eq!(ok(&skiff, &["images", "-aq"]).lines().count(), 2);
    let refused = run(&skiff, &["rmi", "--platform", &own_platform(), &name]);
    assert!(refused.code == 1 && refused.stderr.contains("is being used by"), "{refused:?}");
    ok(&skiff, &["rm", "user"]);
    let said = ok(&skiff, &["rmi", "--platform", &own_platform(), &name]);
    assert!(said.starts_with(&format!("Deleted: {own}\n")), "{said}");
    assert_eq!(skiff.said("{{.Architecture}}", &name), "s390x");
    assert_nothing_but_what_is_needed(&skiff);
    let newer = run(&skiff, &["rmi", "--platform", &format!("{OTHER}/z13"), &name]);
    assert!(newer.code == 1 && newer.stderr.contains("does not provide"), "{newer:?}");
    ok(&skiff, &["rmi", "--platform", OTHER, &name]);
    assert_eq!(ok(&skiff, &["images", "-aq"]), "");
    assert_eq!(blobs(&skiff), [""; 0]);
}

#[test]
fn an_image_that_only_a_moved_name_led_to_is_dangling() {
    let (multi, skiff, name) = Multi::pulled();
    let own = id_of(&skiff, &name, &own_platform());
    let newer = put(&multi.registry, "a/multi:newer", "s390x", &[gzip(&file("hello", b"newer\n"))]);
    put_index(&multi.registry, "a/multi:latest", &[(host(), &multi.own), ("s390x", &newer)]);
    ok(&skiff, &["pull", "--all-platforms", &name]);
    assert_eq!(ok(&skiff, &["images", "-q", "-f", "dangling=true"]).lines().count(), 1);
    assert_eq!(skiff.said("{{.Id}}", &name), own);
    let said = ok(&skiff, &["image", "prune", "-f"]);
    assert_eq!(said.matches("deleted: ").count(), 3, "the old one and its two layers: {said}");
    assert_nothing_but_what_is_needed(&skiff);
    assert_eq!(ok(&skiff, &["images", "-aq"]).lines().count(), 2);
}

#[test]
fn what_a_damaged_index_leads_to_is_not_lost() {
    let (multi, skiff, name) = Multi::pulled();
    let digest = multi.index["digest"].as_str().unwrap();
    let path = skiff.root().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let whole = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"{}").unwrap();
    let verified = run(&skiff, &["image", "verify", &name]);
    assert!(verified.code == 1 && verified.stdout.contains(digest), "{verified:?}");
    assert_eq!(ok(&skiff, &["run", "--rm", "--pull=never", &name]), "hello\n");
    std::fs::remove_file(&path).unwrap();
    let verified = run(&skiff, &["image", "verify", &name]);
    assert!(verified.code == 1 && verified.stdout.contains(digest), "{verified:?}");
    // Pulled again it is whole.
    ok(&skiff, &["pull", &name]);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    assert_nothing_but_what_is_needed(&skiff);
}

#[test]
fn an_archive_holds_all_that_a_name_leads_to_and_gives_it_back() {
    let (_multi, skiff, name) = Multi::pulled();
    let (own, other) = (id_of(&skiff, &name, &own_platform()), id_of(&skiff, &name, OTHER));
    let archive = skiff.folder().join("all.tar");
    let archive = archive.to_str().unwrap();
    ok(&skiff, &["save", "-o", archive, &name]);
    let alone = skiff.folder().join("one.tar");
    ok(&skiff, &["save", "--platform", OTHER, "-o", alone.to_str().unwrap(), &name]);
    let missing = run(&skiff, &["save", "--platform", "linux/arm64/v9", "-o", "none.tar", &name]);
    assert!(missing.code == 1 && missing.stderr.contains("does not provide"), "{missing:?}");
    // By default what this host runs; all that are there for the asking.
    let both = format!("{OTHER},{}", own_platform());
    for (flags, images) in [(&[][..], 1), (&["--all-platforms"][..], 2), (&["--platform", &both][..], 2)] {
        let second = Skiff::new();
        let said = ok(&second, &[&["load", "-i", archive], flags].concat());
        assert_eq!(said, format!("Loaded image: {name}\n"), "{flags:?}");
        assert_eq!(ok(&second, &["images", "-aq"]).lines().count(), images, "{flags:?}");
        assert_eq!(ok(&second, &["images", "-q"]).lines().count(), 1, "{flags:?}");
        assert_eq!(second.said("{{.Id}}", &name), own);
        if images == 2 {
            assert_eq!(id_of(&second, &name, OTHER), other);
        }
        assert_eq!(ok(&second, &["run", "--rm", "--pull=never", &name]), "hello\n");
        assert_nothing_but_what_is_needed(&second);
        // What is saved again is the same.
        let again = second.folder().join("again.tar");
        if images == 2 {
            ok(&second, &["save", "-o", again.to_str().unwrap(), &name]);
            assert!(std::fs::read(&again).unwrap() == std::fs::read(archive).unwrap());
        }
        ok(&second, &["rmi", &name]);
        assert_eq!((count(&second, "layers"), blobs(&second).len()), (0, 0), "{flags:?}");
    }
    let third = Skiff::new();
    ok(&third, &["load", "-i", alone.to_str().unwrap()]);
    assert_eq!(third.said("{{.Architecture}}", &name), "s390x");
    // Other programs read it: as a docker-archive the image of the name, as an OCI layout each of them.
    require("skopeo", "skopeo");
    let skopeo = |words: &[&str]| {
        let mut command = std::process::Command::new("skopeo");
        let output = testkit::Output::of(command.arg("--insecure-policy").args(words).output().unwrap());
        assert_eq!(output.code, 0, "{words:?}: {output:?}");
        output.stdout
    };
    let from = format!("docker-archive:{archive}");
    let seen: Value = serde_json::from_str(&skopeo(&["inspect", &from])).unwrap();
    assert_eq!(seen["Architecture"], host());
    let folder = skiff.folder().join("layout");
    let from = format!("oci-archive:{archive}");
    let to = format!("oci:{}:copy", folder.display());
    skopeo(&["copy", "--all", "-q", &from, &to]);
    let fourth = Skiff::new();
    let said = ok(&fourth, &["load", "--all-platforms", "-i", folder.to_str().unwrap()]);
    assert_eq!(said.matches("Loaded image ID: ").count(), 2, "it has a bare word for a name: {said}");
    ok(&fourth, &["image", "prune", "-af"]);
}

/// Moments at which a command is killed, evenly over its system calls.
const MOMENTS: usize = 24;

fn kill_everywhere(skiff: &Skiff, arguments: &[&str], set_up: &dyn Fn(), check: &dyn Fn()) {
    set_up();
    let calls = calls_of(skiff, arguments);
    check();
    for call in calls.iter().step_by(calls.len() / MOMENTS + 1) {
        set_up();
        kill_at(skiff, call, arguments);
        check();
    }
}

#[test]
fn pull_and_removal_of_all_platforms_may_be_killed_at_any_moment() {
    let multi = Multi::new();
    let skiff = Skiff::new();
    let name = multi.name();
    // What is named is whole, and all that is left is garbage that the next collection takes.
    let is_whole = || {
        let output = run(&skiff, &["image", "verify"]);
        assert_eq!(output.code, 0, "{output:?}");
        if run(&skiff, &["image", "inspect", &name]).code == 0 {
            assert_eq!(ok(&skiff, &["run", "--rm", "--pull=never", &name]), "hello\n");
            id_of(&skiff, &name, OTHER);
        }
        ok(&skiff, &["image", "prune", "-f"]);
        assert_nothing_but_what_is_needed(&skiff);
        assert_eq!(count(&skiff, "tmp"), 0);
    };
    let remove = || {
        run(&skiff, &["rmi", "-f", &name]);
        ok(&skiff, &["image", "prune", "-af"]);
        assert_eq!((count(&skiff, "layers"), blobs(&skiff).len()), (0, 0));
    };
    kill_everywhere(&skiff, &["pull", "-q", "--all-platforms", &name], &remove, &is_whole);
    let pull = || drop(ok(&skiff, &["pull", "-q", "--all-platforms", &name]));
    kill_everywhere(&skiff, &["rmi", &name], &pull, &is_whole);
}
