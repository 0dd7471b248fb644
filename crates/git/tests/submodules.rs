//! Repositories in repositories: which are fetched, from where, and with whose credentials.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::path::Path;

use common::{Shelf, commit, files, files_with, git, git_with, request, told, write};
use git::{Limits, Request};
use testkit::{Peer, Reply};

/// Puts a commit of some repository at a path, and `.gitmodules` beside it.
fn add(folder: &Path, path: &str, id: &str, modules: &str) {
    write(folder, ".gitmodules", modules.as_bytes());
    git(folder, &["add", ".gitmodules"]);
    git(folder, &["update-index", "--add", "--cacheinfo", &format!("160000,{id},{path}")]);
    git(folder, &["commit", "-q", "-m", "with a submodule"]);
}

fn module(path: &str, url: &str) -> String {
    format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n")
}

fn keys(request: &Request) -> Result<Vec<String>, String> {
    files(request).map(|files| files.into_keys().collect()).map_err(|error| told(&error))
}

#[test]
fn submodules_come_where_they_belong() {
    let shelf = Shelf::new();
    let inner = shelf.repository("group/inner.git");
    let id = git(&inner, &["rev-parse", "HEAD"]);
    // Not what any branch leads to now.
    commit(&inner, "later");
    let library = shelf.repository("group/lib.git");
    add(&library, "deep/in", &id, &module("deep/in", "./../inner.git"));
    let library_id = git(&library, &["rev-parse", "HEAD"]);
    let folder = shelf.repository("a.git");
    let peer = shelf.serve();
    let absolute = format!("http://{}/group/lib.git", peer.address());
    let both = module("one", &absolute) + &module("two", "../group/lib.git");
    add(&folder, "one", &library_id, &both);
    add(&folder, "two", &library_id, &both);
    let all = request(&peer, "a.git");
    let found = files(&all).unwrap();
    for path in ["one/README", "two/deep/in/README", "one/deep/in/README", ".gitmodules"] {
        assert!(found.contains_key(path), "{path}: {found:?}");
    }
    assert_eq!(found["two/deep/in/README"], "644 group/inner.git");
    assert!(!found.keys().any(|path| path.split('/').any(|name| name == ".git")));
    let without = Request { submodules: false, ..all.clone() };
    assert_eq!(files(&without).unwrap()["one"], "755 directory");
    assert_eq!(keys(&without).unwrap(), [".gitmodules", "README", "one", "two"]);
    let at = |path: &str| Request { subdirectory: Some(path.to_owned()), ..all.clone() };
    assert_eq!(keys(&at("two/deep")).unwrap(), ["in", "in/README"]);
    assert_eq!(keys(&at("one/deep/in")).unwrap(), ["README"]);
    assert_eq!(keys(&at("one/deep/../../two/deep")).unwrap(), ["in", "in/README"]);
    let closed = Request { submodules: false, ..at("one/deep") };
    assert!(keys(&closed).unwrap_err().contains("submodule, which is not fetched"));
}

#[test]
fn only_the_submodules_of_a_subdirectory_are_asked_for() {
    let shelf = Shelf::new();
    let folder = shelf.repository("a.git");
    write(&folder, "sub/file", b"x");
    git(&folder, &["add", "-A"]);
    add(&folder, "elsewhere", &"12".repeat(20), &module("elsewhere", "ssh://git@host/x"));
    let peer = shelf.serve();
    let part = Request { subdirectory: Some("sub".to_owned()), ..request(&peer, "a.git") };
    assert_eq!(keys(&part).unwrap(), ["file"]);
    assert!(keys(&request(&peer, "a.git")).unwrap_err().contains("uses your keys of ssh only"));
}

#[test]
fn what_a_submodule_says_of_itself_is_not_believed() {
    let shelf = Shelf::new();
    let target = shelf.repository("target.git");
    let id = git(&target, &["rev-parse", "HEAD"]);
    let path = target.to_str().unwrap().to_owned();
    let peer = shelf.serve();
    for (number, (modules, why)) in [
        (module("sub", &path), "a path of this host"),
        (module("sub", &format!("file://{path}")), "a path of this host"),
        (module("sub", "ext::sh -c touch% /tmp/x"), "helpers of git are not run"),
        (module("sub", "-u./x"), "it is no address"),
        (module("sub", "git@host:x"), "uses your keys of ssh only"),
        (module("sub", "git@host:-x"), "its path is none"),
        (module("sub", "ssh://-oProxyCommand=id/x"), "the host is neither"),
        (module("sub", "../../x"), "leads out of the server"),
        (module("sub", "../target.git/../../x"), "no plain path"),
        (module("sub", "\"http://host/\\nx\""), "it is no address"),
        (module("other", "../target.git"), "does not say where this submodule comes from"),
        ("[submodule \"sub\"]\n\tpath = sub\n".to_owned(), "does not say where"),
        ("[submodule \"sub\"]\n\tpath = ../../sub\n\turl = ../target.git\n".to_owned(), "does not say where"),
        ("[submodule \"sub\"\n".to_owned(), ".gitmodules, line 2"),
        ("x".repeat(2 << 20), "more than 1048576 bytes in .gitmodules"),
        (module("sub", "../missing.git"), "nothing is there"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{number}.git");
        let folder = shelf.repository(&name);
        add(&folder, "sub", &id, &modules);
        let error = keys(&request(&peer, &name)).unwrap_err();
        assert!(error.contains(why) && error.contains("submodule \"sub\""), "{why}: {error}");
    }
    // Neither commands nor options are heard, nor is what is not to be checked out.
    for (name, extra, want) in [("x.git", "update = !touch /tmp/x", true), ("y.git", "update = none", false)]
    {
        let folder = shelf.repository(name);
        add(&folder, "sub", &id, &format!("{}\t{extra}\n", module("sub", "../target.git")));
        let found = files(&request(&peer, name)).unwrap();
        assert_eq!((found["sub"].as_str(), found.contains_key("sub/README")), ("755 directory", want));
    }
    let folder = shelf.repository("z.git");
    add(&folder, "sub", &"34".repeat(20), &module("sub", "../target.git"));
    let error = keys(&request(&peer, "z.git")).unwrap_err();
    assert!(error.contains("submodule \"sub\"") && error.contains("refuses"), "{error}");
    let folder = shelf.repository("linked.git");
    let blob = git(&folder, &["rev-parse", "HEAD:README"]);
    let tree = git_with(&folder, &["mktree"], format!("120000 blob {blob}\t.gitmodules\n").as_bytes());
    let made = git(&folder, &["commit-tree", "-m", "a link", &tree]);
    git(&folder, &["update-ref", "HEAD", &made]);
    assert!(keys(&request(&peer, "linked.git")).unwrap_err().contains("could lead anywhere"));
}

#[test]
fn repositories_in_each_other_end() {
    let shelf = Shelf::new();
    let folder = shelf.repository("a.git");
    for _ in 0..18 {
        let id = git(&folder, &["rev-parse", "HEAD"]);
        add(&folder, "sub", &id, &module("sub", "../a.git"));
    }
    let peer = shelf.serve();
    let error = keys(&request(&peer, "a.git")).unwrap_err();
    assert!(error.contains("more than 16 submodules in each other"), "{error}");
    let reference = git(&folder, &["rev-parse", "HEAD~3"]);
    let shallower = Request { reference: Some(reference), ..request(&peer, "a.git") };
    assert!(keys(&shallower).unwrap().contains(&format!("{}README", "sub/".repeat(15))));
    let limits = Limits { submodules: 10, ..Limits::default() };
    let error = told(&files_with(&shallower, limits, &|_| None).unwrap_err());
    assert!(error.contains("more than 10 submodules"), "{error}");
}

/// Serves all repositories to those who show `wanted`, but what lies below `open`.
fn guarded(shelf: &Shelf, wanted: &'static str, open: &'static str) -> Peer {
    let root = shelf.scratch.to_path_buf();
    Peer::serve(move |seen| match seen.header("authorization") == wanted || seen.path.starts_with(open) {
        true => testkit::git_backend(&root, seen),
        false => Reply::new(401, ""),
    })
}

#[test]
fn a_secret_opens_the_repository_that_it_is_for() {
    let shelf = Shelf::new();
    let other = shelf.repository("other.git");
    let id = git(&other, &["rev-parse", "HEAD"]);
    let folder = shelf.repository("a.git");
    add(&folder, "sub", &id, &module("sub", "../other.git"));
    // x-access-token:secret
    let peer = guarded(&shelf, "Basic eC1hY2Nlc3MtdG9rZW46c2VjcmV0", "/open");
    let request = request(&peer, "a.git");
    let with = |submodules: bool, name: &str, value: &str| {
        let request = Request { submodules, ..request.clone() };
        let secret = |asked: &str| (asked == name).then(|| value.to_owned());
        files_with(&request, Limits::default(), &secret).map(drop).map_err(|error| told(&error))
    };
    let host = peer.address();
    with(false, "GIT_AUTH_TOKEN", "secret\n").unwrap();
    with(false, &format!("GIT_AUTH_TOKEN.{host}"), "secret").unwrap();
    with(false, "GIT_AUTH_HEADER", "Basic eC1hY2Nlc3MtdG9rZW46c2VjcmV0").unwrap();
    let error = with(false, "none", "").unwrap_err();
    assert!(error.contains("needs the secret GIT_AUTH_TOKEN"), "{error}");
    let error = with(false, "GIT_AUTH_TOKEN", "wrong").unwrap_err();
    assert!(error.contains("does not reach it") && !error.contains("needs the secret"), "{error}");
    // It is not for the repository beside it.
    let error = with(true, "GIT_AUTH_TOKEN", "secret").unwrap_err();
    assert!(error.contains("submodule \"sub\"") && error.contains("401"), "{error}");
    let beside = peer.seen().into_iter().filter(|seen| seen.path.starts_with("/other.git"));
    assert!(beside.into_iter().all(|seen| seen.header("authorization").is_empty()));
    // Who stands in the address is the same for what is named relative to it.
    let remote = format!("http://x-access-token:secret@{host}/a.git");
    let named = Request { remote, keep_git_dir: true, ..request.clone() };
    let found = files(&named).unwrap();
    assert!(found.contains_key("sub/README"));
    assert!(!format!("{found:?}").contains("secret"), "not even in .git/config");
}

#[test]
fn a_secret_does_not_follow_to_another_host() {
    let shelf = Shelf::new();
    shelf.repository("a.git");
    let far = shelf.serve();
    let target = format!("http://{}", far.address());
    let near =
        Peer::serve(move |seen| Reply::new(301, "").with("Location", format!("{target}{}", seen.path)));
    let secret = |name: &str| (name == "GIT_AUTH_TOKEN").then(|| "secret".to_owned());
    let found = files_with(&request(&near, "a.git"), Limits::default(), &secret).unwrap();
    assert_eq!(found["README"], "644 a.git");
    assert!(near.seen().iter().all(|seen| !seen.header("authorization").is_empty()));
    assert!(far.seen().len() >= 4);
    assert!(far.seen().iter().all(|seen| seen.header("authorization").is_empty()));
    // The repository is where the first answer came from, as git has it.
    assert!(near.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", near.lines());
    let away = Peer::serve(|_| Reply::new(302, "").with("Location", "/elsewhere"));
    assert!(keys(&request(&away, "a.git")).is_err());
}
