//! Against git itself: what a checkout holds is what git checks out.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Shelf, client, commit, files, files_with, git, link, noise, request, told, write};
use git::{Error, Git, Limits, Request};
use testkit::{Peer, Reply, Scratch};

fn error_of(request: &Request) -> String {
    told(&files(request).unwrap_err())
}

#[test]
fn all_kinds_of_files_come_as_git_has_them() {
    for format in ["sha1", "sha256"] {
        let shelf = Shelf::new();
        let folder = shelf.repository_of("a.git", format);
        write(&folder, "empty", b"");
        write(&folder, "run.sh", b"#!/bin/sh\n");
        std::fs::set_permissions(folder.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        write(&folder, "deep/er/and/deeper", b"x");
        write(&folder, "deep.txt", b"sorts between");
        write(&folder, "odd names/ü\n\\ '\"*", b"odd");
        write(&folder, "text", b"line\r\n");
        write(&folder, ".gitattributes", b"* text=auto eol=crlf\n*.x filter=lfs\n");
        write(&folder, "a.x", b"version https://git-lfs\n");
        link(&folder, "deep/link", "../../../etc/passwd");
        commit(&folder, "second");
        std::fs::remove_file(folder.join(".gitattributes")).unwrap();
        write(&folder, "many/x", &noise(100_000, 1));
        for number in 0..300 {
            write(&folder, &format!("many/{number}"), format!("{number}\n").repeat(number).as_bytes());
        }
        commit(&folder, "third");
        let peer = shelf.serve();
        let found = files(&request(&peer, "a.git")).unwrap();
        assert_eq!(found, common::of_git(&folder, "main"));
        assert_eq!(found["deep/link"], "777 -> ../../../etc/passwd");
        assert_eq!(found["run.sh"], "755 #!/bin/sh\n");
        let fetches = peer.seen().iter().filter(|seen| seen.method == "POST").count();
        assert_eq!(fetches, 2, "the references and the pack: {:?}", peer.lines());
        assert!(peer.seen().iter().all(|seen| seen.header("git-protocol") == "version=2"));
    }
}

#[test]
fn chains_of_deltas_are_followed_in_memory_and_in_files() {
    let shelf = Shelf::new();
    let folder = shelf.repository("a.git");
    // Larger than what is kept in memory, and alike.
    let mut large = noise(17 << 20, 2);
    write(&folder, "large/0", &large);
    for number in 1..4 {
        large[number * 1000] ^= 1;
        large.truncate(large.len() - 10);
        write(&folder, &format!("large/{number}"), &large);
    }
    let mut text: Vec<String> = (0..2000).map(|line| format!("line {line} of many\n")).collect();
    for number in 0..120 {
        text[number * 7] = format!("changed in {number}\n");
        write(&folder, &format!("small/{number}"), text.concat().as_bytes());
    }
    commit(&folder, "alike");
    git(&folder, &["repack", "-adfq", "--depth=200", "--window=200"]);
    let packs = folder.join(".git/objects/pack");
    let index = std::fs::read_dir(packs).unwrap().map(|entry| entry.unwrap().path());
    let index = index.into_iter().find(|path| path.extension().unwrap() == "idx").unwrap();
    let verified = git(&folder, &["verify-pack", "-v", index.to_str().unwrap()]);
    let depth = |depth: u32| verified.contains(&format!("chain length = {depth}"));
    assert!(depth(5), "git makes chains: {}", verified.lines().rev().take(20).collect::<String>());
    let peer = shelf.serve();
    assert_eq!(files(&request(&peer, "a.git")).unwrap(), common::of_git(&folder, "main"));
}

#[test]
fn names_lead_where_git_says() {
    let shelf = Shelf::new();
    let folder = shelf.repository("a.git");
    let first = git(&folder, &["rev-parse", "HEAD"]);
    git(&folder, &["tag", "light"]);
    git(&folder, &["tag", "-a", "-m", "one", "annotated"]);
    git(&folder, &["tag", "-a", "-m", "two", "nested", "annotated"]);
    git(&folder, &["update-ref", "refs/pull/7/head", "HEAD"]);
    write(&folder, "new", b"in the middle");
    let second = commit(&folder, "second");
    write(&folder, "new", b"new");
    let third = commit(&folder, "third");
    git(&folder, &["branch", "topic/x"]);
    git(&folder, &["branch", "both"]);
    git(&folder, &["tag", "both", &first]);
    git(&folder, &["branch", "1234567890abcdef"]);
    let peer = shelf.serve();
    let client = client();
    let secret = |_: &str| None;
    let with = common::git_of(&client, &secret);
    let resolved = |reference: Option<&str>| {
        let request = Request { reference: reference.map(str::to_owned), ..request(&peer, "a.git") };
        with.resolve(&request).map(|revision| {
            let checkout = with.fetch(&request, &revision).unwrap();
            assert_eq!(
                checkout.commit(),
                if revision.commit == revision.id { checkout.commit() } else { revision.commit }
            );
            assert_eq!(checkout.committed(), 1_700_000_000);
            (revision.reference, checkout.commit().to_string())
        })
    };
    let named = |name: &str, id: &str| (Some(name.to_owned()), id.to_owned());
    assert_eq!(resolved(None).unwrap(), named("refs/heads/main", &third));
    for (name, want) in [
        ("main", named("refs/heads/main", &third)),
        ("refs/heads/main", named("refs/heads/main", &third)),
        ("heads/main", named("refs/heads/main", &third)),
        ("topic/x", named("refs/heads/topic/x", &third)),
        ("light", named("refs/tags/light", &first)),
        ("annotated", named("refs/tags/annotated", &first)),
        ("nested", named("refs/tags/nested", &first)),
        ("both", named("refs/heads/both", &third)),
        ("tags/both", named("refs/tags/both", &first)),
        ("refs/pull/7/head", named("refs/pull/7/head", &first)),
        ("1234567890abcdef", named("refs/heads/1234567890abcdef", &third)),
        // Not at the end of any branch, but the server gives it.
        (&second, (None, second.clone())),
        (&third[..9], (None, third.clone())),
        (&first.to_uppercase()[..12], (None, first.clone())),
        (&git(&folder, &["rev-parse", "nested"]), (None, first.clone())),
    ] {
        assert_eq!(resolved(Some(name)).unwrap(), want, "{name}");
    }
    for name in ["missing", "mai", "in", &second[..9], "refs/heads/../x", "a b", "x\ny", "-u", ""] {
        let error = resolved(Some(name)).unwrap_err();
        assert!(told(&error).contains("no branch, tag or other reference"), "{name}: {}", told(&error));
    }
    let absent = Request { reference: Some("12".repeat(20)), ..request(&peer, "a.git") };
    assert!(error_of(&absent).contains("refuses"), "{}", error_of(&absent));
    std::fs::create_dir(shelf.scratch.join("empty.git")).unwrap();
    git(&shelf.scratch.join("empty.git"), &["init", "-q", "--bare", "."]);
    assert!(error_of(&request(&peer, "empty.git")).contains("no default branch"));
    assert!(error_of(&request(&peer, "missing.git")).contains("nothing is there"));
}

#[test]
fn a_checksum_is_that_of_the_commit_or_of_its_tag() {
    let shelf = Shelf::new();
    let folder = shelf.repository("a.git");
    git(&folder, &["tag", "-a", "-m", "one", "v1"]);
    let (first, tag) = (git(&folder, &["rev-parse", "HEAD"]), git(&folder, &["rev-parse", "v1"]));
    let second = commit(&folder, "second");
    let peer = shelf.serve();
    let with = |reference: &str, checksum: &str, by_commit: bool| {
        files(&Request {
            reference: Some(reference.to_owned()),
            checksum: Some(checksum.to_owned()),
            fetch_by_commit: by_commit,
            ..request(&peer, "a.git")
        })
        .map_err(|error| told(&error))
    };
    for checksum in [&first, &tag, &first[..7], &tag.to_uppercase()] {
        with("v1", checksum, false).unwrap();
    }
    with(&tag, &tag, false).unwrap();
    // As in BuildKit a name of an object is held against the checksum itself.
    with(&tag, &first, false).unwrap_err();
    with(&first, &first[..1], false).unwrap();
    let error = with("v1", &second, false).unwrap_err();
    assert!(error.contains("must be") && error.contains(&first) && error.contains(&tag), "{error}");
    assert!(with("main", &first, false).is_err());
    assert!(with("main", &first, true).is_ok(), "fetched by its name, wherever the branch is");
    for checksum in ["", "xyz", &"0".repeat(65)] {
        assert!(with("main", checksum, false).unwrap_err().contains("is no commit's name"), "{checksum}");
    }
}

#[test]
fn servers_that_speak_version_0_alone_are_understood() {
    for format in ["sha1", "sha256"] {
        let shelf = Shelf::new();
        let folder = shelf.repository_of("a.git", format);
        let first = git(&folder, &["rev-parse", "HEAD"]);
        git(&folder, &["tag", "-a", "-m", "one", "v1"]);
        write(&folder, "new", b"new");
        commit(&folder, "second");
        std::fs::create_dir(shelf.scratch.join("empty.git")).unwrap();
        git(&shelf.scratch.join("empty.git"), &["init", "-q", "--bare", "--object-format", format, "."]);
        let root = shelf.scratch.to_path_buf();
        let peer = Peer::serve(move |seen| {
            let mut seen = seen.clone();
            seen.headers.remove("git-protocol");
            testkit::git_backend(&root, &seen)
        });
        assert_eq!(files(&request(&peer, "a.git")).unwrap(), common::of_git(&folder, "main"));
        let at =
            |reference: &str| Request { reference: Some(reference.to_owned()), ..request(&peer, "a.git") };
        for reference in ["v1", "refs/tags/v1", &first[..9]] {
            assert_eq!(files(&at(reference)).unwrap(), common::of_git(&folder, "v1"), "{reference}");
        }
        let checked = Request { checksum: Some(first.clone()), ..at("v1") };
        files(&checked).unwrap();
        assert!(error_of(&at("v2")).contains("no branch, tag or other reference"));
        assert!(error_of(&request(&peer, "empty.git")).contains("no default branch"));
        // The history before it was not sent.
        let shallow = Limits { objects: 4, ..Limits::default() };
        files_with(&request(&peer, "a.git"), shallow, &|_| None).unwrap();
    }
}

#[test]
fn a_subdirectory_lies_in_the_repository() {
    let shelf = Shelf::new();
    let folder = shelf.repository("a.git");
    write(&folder, "a/b/file", b"here");
    write(&folder, "a/b/c/d", b"deeper");
    link(&folder, "to", "a/./b");
    link(&folder, "a/back", "../to/c");
    link(&folder, "out", "../../etc");
    link(&folder, "abs", "/etc");
    link(&folder, "loop", "loop");
    link(&folder, "a/up", "../..");
    commit(&folder, "second");
    let peer = shelf.serve();
    let at = |path: &str| Request { subdirectory: Some(path.to_owned()), ..request(&peer, "a.git") };
    for path in ["a/b", "/a/b/", "./a//b", "to", "a/../a/b", "a/back/.."] {
        let found = files(&at(path)).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["c", "c/d", "file"], "{path}");
    }
    assert_eq!(files(&at("a/back")).unwrap().keys().collect::<Vec<_>>(), ["d"]);
    for path in ["", "/", ".", "a/.."] {
        assert_eq!(files(&at(path)).unwrap(), common::of_git(&folder, "main"));
    }
    for (path, why) in [
        ("out", "leads out of the repository"),
        ("abs", "leads out of the repository"),
        ("..", "leads out of the repository"),
        ("a/../../x", "leads out of the repository"),
        ("a/up/etc", "leads out of the repository"),
        ("loop", "too many links"),
        ("a/b/file", "it is a file"),
        ("a/x", "nothing has that name"),
        (".git", "nothing has that name"),
    ] {
        let error = error_of(&at(path));
        assert!(error.contains(why), "{path}: {error}");
    }
}

#[test]
fn a_git_directory_is_one_for_git() {
    for format in ["sha1", "sha256"] {
        let shelf = Shelf::new();
        let inner = shelf.repository_of("inner.git", format);
        commit(&inner, "more");
        let library = shelf.repository_of("lib.git", format);
        git(&library, &["submodule", "--quiet", "add", "--name", "odd name/x", "../inner.git", "in"]);
        commit(&library, "with another");
        let folder = shelf.repository_of("a.git", format);
        commit(&folder, "more");
        for number in 0..50 {
            write(&folder, &format!("f{number}"), format!("{number}\n").repeat(500).as_bytes());
        }
        link(&folder, "link", "f1");
        write(&folder, &format!("{}x", "long name ".repeat(20)), b"x");
        write(&folder, "ru\"n", b"x");
        git(&folder, &["submodule", "--quiet", "add", "../lib.git", "sub/lib"]);
        commit(&folder, "all");
        git(&folder, &["tag", "-a", "-m", "v", "v1.0"]);
        let peer = shelf.serve();
        for reference in [None, Some("v1.0")] {
            let request = Request {
                reference: reference.map(str::to_owned),
                keep_git_dir: true,
                ..request(&peer, "a.git")
            };
            let client = client();
            let secret = |_: &str| None;
            let with = common::git_of(&client, &secret);
            let revision = with.resolve(&request).unwrap();
            let mut checkout = with.fetch(&request, &revision).unwrap();
            let scratch = Scratch::new();
            common::unpack(&mut checkout, &scratch);
            assert_eq!(git(&scratch, &["status", "--porcelain"]), "");
            assert_eq!(git(&scratch, &["fsck", "--full", "--strict"]), "");
            assert_eq!(git(&scratch, &["rev-parse", "HEAD"]), checkout.commit().to_string());
            assert_eq!(git(&scratch, &["log", "--format=%s"]), "all");
            assert_eq!(git(&scratch, &["rev-parse", "--is-shallow-repository"]), "true");
            assert_eq!(git(&scratch, &["remote", "get-url", "origin"]), request.remote);
            assert_eq!(git(&scratch, &["stash", "list"]), "");
            match reference {
                Some(tag) => assert_eq!(git(&scratch, &["describe"]), tag),
                None => assert_eq!(git(&scratch, &["rev-parse", "main"]), checkout.commit().to_string()),
            }
            let library = scratch.join("sub/lib");
            assert_eq!(git(&library, &["status", "--porcelain"]), "");
            assert_eq!(git(&library, &["log", "--format=%s"]), "with another");
            assert_eq!(git(&library.join("in"), &["log", "--format=%s"]), "more");
            assert_eq!(git(&library.join("in"), &["fsck", "--full"]), "");
            let modules: Vec<_> = std::fs::read_dir(scratch.join(".git/modules")).unwrap().collect();
            assert_eq!(modules.len(), 1);
            let status = git(&scratch, &["submodule", "status", "--recursive"]);
            assert!(status.contains("sub/lib") && status.contains("sub/lib/in"), "{status}");
            assert!(!status.contains(['+', 'U']), "{status}");
        }
        // As in BuildKit, only of the whole.
        let part =
            Request { keep_git_dir: true, subdirectory: Some("sub".to_owned()), ..request(&peer, "a.git") };
        assert!(!files(&part).unwrap().keys().any(|path| path.contains(".git/")));
    }
}

#[test]
fn who_is_no_server_of_git_is_named() {
    let kind = "application/x-git-upload-pack-advertisement";
    for (reply, why) in [
        (Reply::new(200, "<html>").with("Content-Type", "text/html"), "dumb protocol"),
        (Reply::new(200, "000eversion 1\n0000").with("Content-Type", kind), "no version"),
        (Reply::new(200, "").with("Content-Type", kind), "read the server's answer"),
        (Reply::new(200, "000eversion 2\n").with("Content-Type", kind), "read the server's answer"),
        (Reply::new(200, "000eversion 2\n0000").with("Content-Type", kind), "does not know the command"),
        (Reply::new(200, "000fERR closed\n").with("Content-Type", kind), "refuses: closed"),
        (Reply::new(401, ""), "GIT_AUTH_TOKEN"),
        (Reply::new(404, ""), "nothing is there"),
        (Reply::new(418, ""), "418"),
    ] {
        let peer = Peer::serve(move |_| reply.clone());
        let error = error_of(&request(&peer, "a.git"));
        assert!(error.contains(why), "{why}: {error}");
    }
}

#[test]
fn a_cut_in_the_middle_of_a_pack_begins_it_anew() {
    let shelf = Shelf::new();
    let folder = shelf.repository("a.git");
    write(&folder, "noise", &noise(3 << 20, 5));
    commit(&folder, "second");
    let root = shelf.scratch.to_path_buf();
    let fetches = AtomicUsize::new(0);
    let peer = Peer::serve(move |seen| {
        let reply = testkit::git_backend(&root, seen);
        let is_fetch = seen.body.windows(13).any(|part| part == b"command=fetch");
        match is_fetch.then(|| fetches.fetch_add(1, Ordering::SeqCst)) {
            Some(0) => reply.cut(1 << 20),
            Some(1) => reply.cut(10),
            _ => reply,
        }
    });
    // What was thrown away does not count.
    let limits = Limits { pack: 4 << 20, content: 4 << 20, ..Limits::default() };
    let found = files_with(&request(&peer, "a.git"), limits, &|_| None).unwrap();
    assert_eq!(found, common::of_git(&folder, "main"));
}

#[test]
fn limits_are_named() {
    let shelf = Shelf::new();
    let folder = shelf.repository("a.git");
    for number in 0..20 {
        write(&folder, &format!("d/{number}"), &noise(1000, number));
    }
    write(&folder, "again", &noise(1000, 1));
    commit(&folder, "second");
    let peer = shelf.serve();
    let all = Limits::default();
    for (limits, what) in [
        (Limits { pack: 10_000, ..all }, "more than 10000 bytes in its packs"),
        (Limits { content: 10_000, ..all }, "more than 10000 bytes in its objects"),
        (Limits { objects: 20, ..all }, "more than 20 objects"),
        (Limits { entries: 20, ..all }, "more than 20 files and directories"),
        (Limits { checkout: 20_500, ..all }, "more than 20500 bytes in its files"),
    ] {
        let error = files_with(&request(&peer, "a.git"), limits, &|_| None).unwrap_err();
        let error = told(&error);
        assert!(error.contains(what), "{what}: {error}");
    }
    let enough = Limits { pack: 40_000, content: 40_000, objects: 30, entries: 30, checkout: 21_100, ..all };
    files_with(&request(&peer, "a.git"), enough, &|_| None).unwrap();
}

#[test]
fn other_repositories_are_refused_by_name() {
    for remote in ["git@github.com:-a", "ssh://-v/a", "git://u@host/a", "/tmp", "file:///tmp", "ext::id"] {
        let request = Request { remote: remote.to_owned(), ..Request::default() };
        let error = files(&request).unwrap_err();
        assert!(matches!(error, Error::Remote { .. }), "{error}");
    }
}

/// By a hand on the clock, so to say: at the first, the second … question whether it is to end, until it never asks again.
#[test]
fn a_fetch_can_be_cancelled_while_its_pack_comes_and_while_objects_are_made_of_it() {
    let shelf = Shelf::new();
    let folder = shelf.repository("a.git");
    // What cannot be compressed comes in several parts, and what is nearly the same as deltas.
    let noise = noise(800_000, 6);
    for (name, last) in [("one", b"1"), ("two", b"2")] {
        write(&folder, name, &[&noise[..], last].concat());
    }
    commit(&folder, "large");
    let peer = shelf.serve();
    let (client, secret) = (client(), |_: &str| None);
    let request = request(&peer, "a.git");
    let mut asked = 0_u32;
    loop {
        let left = std::cell::Cell::new(asked);
        let is_cancelled = || left.replace(left.get().saturating_sub(1)) == 0;
        let with = Git { is_cancelled: &is_cancelled, ..common::git_of(&client, &secret) };
        let revision = with.resolve(&request).unwrap();
        match with.fetch(&request, &revision) {
            Ok(_) => break,
            Err(error) => assert!(matches!(error.root(), Error::Cancelled), "{error:?}"),
        }
        asked += 1;
    }
    assert!(asked > 3, "{asked} questions alone");
}
