//! `skiff login`, `logout` and `image tags`, with Debian's `docker-registry` and a password.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
use testkit::{Output, Peer, Registry, RegistryOptions, Reply, Seen, Skiff, registry};

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
fn an_identity_token_is_kept_in_place_of_the_password() {
    let giver = Peer::serve(|seen| match seen.method.as_str() {
        "GET" => Reply::new(200, r#"{"token":"good","refresh_token":"stands-for-it"}"#),
        _ => Reply::new(200, r#"{"access_token":"good"}"#),
    });
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", giver.address());
    let server = Peer::serve(move |seen: &Seen| match seen.header("authorization") {
        "Bearer good" => Reply::new(200, r#"{"tags":["t"]}"#),
        _ => Reply::new(401, "").with("WWW-Authenticate", realm.clone()),
    });
    let skiff = Skiff::new();
    let name = server.address();
    let login = run(&skiff, &["login", "-u", "user", "--password-stdin", &name], "se:cret");
    assert_eq!((login.code, login.stdout.as_str()), (0, "Login Succeeded\n"), "{login:?}");
    let text = std::fs::read_to_string(skiff.folder().join("config.json")).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(kept["auths"][&name]["identitytoken"], "stands-for-it", "{text}");
    // `user:se:cret` as a password would be kept.
    assert!(!text.contains("dXNlcjpzZTpjcmV0"), "{text}");
    let tags = run(&skiff, &["image", "tags", &format!("{name}/a")], "");
    assert_eq!((tags.code, tags.stdout.as_str()), (0, "t\n"), "{tags:?}");
    let form = String::from_utf8_lossy(&giver.seen().last().unwrap().body).into_owned();
    assert!(form.contains("refresh_token=stands-for-it"), "{form}");
}

#[test]
fn what_a_registry_wants_its_user_to_know_is_told_once() {
    let warned = |reply: Reply| reply.with("Warning", "299 - \"moves elsewhere\", 299 - \"soon\"");
    let server = Peer::serve(move |seen: &Seen| match seen.header("authorization") {
        "" => warned(Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\"")),
        _ => warned(Reply::new(200, r#"{"tags":["t"]}"#)),
    });
    let skiff = Skiff::new();
    let name = server.address();
    let config = json!({"auths": {&name: {"username": "user", "password": "secret"}}});
    std::fs::write(skiff.folder().join("config.json"), config.to_string()).unwrap();
    let tags = run(&skiff, &["image", "tags", &format!("{name}/a")], "");
    let told = format!("WARNING: {name}: moves elsewhere\nWARNING: {name}: soon\n");
    assert_eq!((tags.code, tags.stdout.as_str(), tags.stderr.as_str()), (0, "t\n", told.as_str()));
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

#[test]
fn credentials_of_a_variable_count_before_those_of_the_file() {
    // `user:secret`, and a token that nobody has to give first.
    for (entry, good, challenge) in [
        (json!({"auth": "dXNlcjpzZWNyZXQ="}), "Basic dXNlcjpzZWNyZXQ=", "Basic realm=\"r\""),
        (json!({"registrytoken": "shown"}), "Bearer shown", "Bearer realm=\"http://127.0.0.1:1/token\""),
    ] {
        let server = Peer::serve(move |seen: &Seen| match seen.header("authorization") == good {
            true => Reply::new(200, r#"{"tags":["t"]}"#),
            false => Reply::new(401, "").with("WWW-Authenticate", challenge),
        });
        let skiff = Skiff::new();
        let name = server.address();
        let wrong = json!({"auths": {&name: {"username": "user", "password": "wrong"}}});
        std::fs::write(skiff.folder().join("config.json"), wrong.to_string()).unwrap();
        let tags = |variable: &str| {
            let mut command = skiff.command(&["image", "tags", &format!("{name}/a")]);
            command.env("DOCKER_CONFIG", skiff.folder()).env("DOCKER_AUTH_CONFIG", variable);
            Output::of(command.output().unwrap())
        };
        let found = tags(&json!({"auths": {&name: entry}}).to_string());
        assert_eq!((found.code, found.stdout.as_str()), (0, "t\n"), "{good}: {found:?}");
        // For another registry it is nothing.
        assert_eq!(tags(&json!({"auths": {"other.example": {"auth": "eDp5"}}}).to_string()).code, 1);
        let refused = tags("{secret");
        assert!(refused.code == 1 && refused.stderr.contains("DOCKER_AUTH_CONFIG"), "{refused:?}");
        assert!(!refused.stderr.contains("secret"), "{refused:?}");
    }
}
