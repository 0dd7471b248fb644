//! `skiff login`, `logout` and `image tags`, with Debian's `docker-registry` and a password.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
use testkit::{Output, Registry, RegistryOptions, Skiff, registry};

/// `user`, `se:cret`.
const HTPASSWD: &str = "user:$2b$05$abcdefghijklmnopqrstuuWqeDdmk0qhXLYvA33lbC9M700ynI2Oa\n";

fn run(skiff: &Skiff, arguments: &[&str], input: &str) -> Output {
    let mut command = skiff.command(arguments);
    command.env("DOCKER_CONFIG", skiff.folder());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    Output::of(child.wait_with_output().unwrap())
}

#[test]
fn a_password_is_tried_kept_used_and_forgotten() {
    let (open, content) = registry();
    let config = open.put_blob("a", "application/vnd.oci.image.config.v1+json", b"{}");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    open.put_manifest(
        "a",
        "t",
        &json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}),
    );
    let htpasswd = content.join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD).unwrap();
    let closed = Registry::start(&content, &RegistryOptions { tls: None, htpasswd: Some(htpasswd) });
    let skiff = Skiff::new();
    let (server, name) = (closed.address(), format!("{}/a", closed.address()));
    let file = skiff.folder().join("config.json");
    std::fs::write(&file, r#"{"psFormat":"{{.ID}}"}"#).unwrap();
    let kept = || serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap();

    let denied = run(&skiff, &["image", "tags", &name], "");
    assert_eq!(denied.code, 1, "{denied:?}");
    assert!(denied.stderr.contains(&format!("skiff login {server}")), "{denied:?}");
    let wrong = run(&skiff, &["login", "-u", "user", "--password-stdin", &server], "wrong\n");
    assert_eq!((wrong.code, wrong.stdout.as_str()), (1, ""), "{wrong:?}");
    assert!(kept().get("auths").is_none_or(|auths| auths.as_object().unwrap().is_empty()));

    let right = run(&skiff, &["login", "-u", "user", "--password-stdin", &server], "se:cret\n");
    assert_eq!((right.code, right.stdout.as_str()), (0, "Login Succeeded\n"), "{right:?}");
    assert!(right.stderr.contains("stored unencrypted"), "{right:?}");
    assert_eq!(kept()["psFormat"], "{{.ID}}");
    let tags = run(&skiff, &["image", "tags", &name], "");
    assert_eq!((tags.code, tags.stdout.as_str()), (0, "t\n"), "{tags:?}");

    let out = run(&skiff, &["logout", &format!("https://{server}/v2/")], "");
    assert_eq!(out.stdout, format!("Removing login credentials for {server}\n"), "{out:?}");
    assert_eq!(run(&skiff, &["image", "tags", &name], "").code, 1);
    let out = run(&skiff, &["logout", &server], "");
    assert_eq!((out.code, out.stdout), (0, format!("Not logged in to {server}\n")));
}

#[test]
fn a_login_that_cannot_be_is_refused_before_anybody_is_asked() {
    let skiff = Skiff::new();
    for (arguments, part) in [
        (vec!["login", "--password-stdin", "127.0.0.1:1"], "Must provide --username with --password-stdin"),
        (vec!["login", "-u", "u", "-p", "x", "--password-stdin"], "mutually exclusive"),
        (vec!["login", "-u", "u", "127.0.0.1:1"], "non TTY"),
        (vec!["login", "-u", "u", "--password-stdin", "127.0.0.1:1"], "must not be empty"),
        (vec!["login", "-u", "u", "-p", "x", "a b"], "is not a registry"),
        (vec!["logout", "../x"], "is not a registry"),
    ] {
        let output = run(&skiff, &arguments, "");
        assert_eq!(output.code, 1, "{arguments:?}: {output:?}");
        assert!(output.stderr.contains(part), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_password_that_is_typed_does_not_show() {
    let (_open, content) = registry();
    let htpasswd = content.join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD).unwrap();
    let closed = Registry::start(&content, &RegistryOptions { tls: None, htpasswd: Some(htpasswd) });
    let skiff = Skiff::new();
    let folder = skiff.folder().join("client");
    let config = format!("--config={}", folder.display());
    let mut terminal = skiff.terminal(&[&config, "login", &closed.address()], 80, 24);
    terminal.expect("Username: ");
    terminal.send(b"user\r");
    terminal.expect("Password: ");
    terminal.send(b"se:cret\r");
    let (code, said) = terminal.finish();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Login Succeeded") && !said.contains("cret"), "{said}");
}
