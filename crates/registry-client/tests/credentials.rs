//! Who is shown which credential, and who is not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{blob, content, credentials, plain, reference, settings, told};
use registry_client::{Client, Credential, Credentials, Error};
use testkit::{Peer, Reply, Scratch, Seen};

const TAGS: &str = r#"{"tags":["t"]}"#;

fn basic() -> String {
    format!("Basic {}", STANDARD.encode("user:se:cret"))
}

/// A registry that wants tokens of `realm`.
fn wants_token(realm: String) -> Peer {
    Peer::serve(move |seen: &Seen| match seen.header("authorization") {
        "Bearer good" => Reply::new(200, TAGS),
        _ => Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#).with(
            "WWW-Authenticate",
            format!("Bearer realm=\"{realm}\",service=\"s v\",scope=\"repository:a:pull\""),
        ),
    })
}

#[test]
fn a_token_is_fetched_with_the_password_and_kept() {
    let scratch = Scratch::new();
    let giver = Peer::serve(|_| Reply::new(200, r#"{"token":"good","expires_in":300}"#));
    let registry = wants_token(format!("http://{}/token?x=1", giver.address()));
    let file = credentials("registry.test", "user", "se:cret");
    let client = Client::new(settings(&scratch, &plain(&registry.address()), &file));
    let repository = client.repository(&reference("registry.test/a")).unwrap();
    assert_eq!(repository.tags().unwrap(), ["t"]);
    assert_eq!(client.repository(&reference("registry.test/a")).unwrap().tags().unwrap(), ["t"]);
    assert_eq!(giver.lines(), ["GET /token?x=1&service=s%20v&scope=repository%3Aa%3Apull&account=user"]);
    assert_eq!(giver.seen()[0].header("authorization"), basic());
    // The password itself is for the giver of tokens alone.
    let shown: Vec<String> =
        registry.seen().iter().map(|seen| seen.header("authorization").to_owned()).collect();
    assert_eq!(shown, ["", "Bearer good", "Bearer good"]);
}

#[test]
fn an_identity_token_is_exchanged_by_post() {
    let scratch = Scratch::new();
    let giver = Peer::serve(|_| Reply::new(200, r#"{"access_token":"good"}"#));
    let registry = wants_token(format!("http://{}/token", giver.address()));
    let file = r#"{"auths":{"registry.test":{"identitytoken":"i&d"}}}"#;
    let client = Client::new(settings(&scratch, &plain(&registry.address()), file));
    assert_eq!(client.repository(&reference("registry.test/a")).unwrap().tags().unwrap(), ["t"]);
    let seen = &giver.seen()[0];
    let form = "grant_type=refresh_token&refresh_token=i%26d&client_id=skiff&service=s%20v&scope=repository%3Aa%3Apull";
    assert_eq!((seen.method.as_str(), String::from_utf8_lossy(&seen.body).as_ref()), ("POST", form));
    assert_eq!(seen.header("authorization"), "");
}

#[test]
fn a_giver_without_get_is_asked_by_post() {
    let scratch = Scratch::new();
    let giver = Peer::serve(|seen| match seen.method.as_str() {
        "GET" => Reply::new(405, ""),
        _ => Reply::new(200, r#"{"access_token":"good"}"#),
    });
    let registry = wants_token(format!("http://{}/token", giver.address()));
    let file = credentials("registry.test", "user", "se:cret");
    let client = Client::new(settings(&scratch, &plain(&registry.address()), &file));
    client.repository(&reference("registry.test/a")).unwrap().tags().unwrap();
    assert!(
        String::from_utf8_lossy(&giver.seen()[1].body)
            .starts_with("grant_type=password&username=user&password=se%3Acret")
    );
}

#[test]
fn who_logs_in_is_given_a_token_for_the_password_where_there_are_such() {
    let scratch = Scratch::new();
    let file = credentials("registry.test", "user", "se:cret");
    let identity = |reply: &'static str, has_get: bool| {
        let giver = Peer::serve(move |seen| match has_get || seen.method == "POST" {
            true => Reply::new(200, reply),
            false => Reply::new(405, ""),
        });
        let registry = wants_token(format!("http://{}/token", giver.address()));
        let client = Client::new(settings(&scratch, &plain(&registry.address()), &file));
        let given = client.log_in("registry.test").unwrap();
        // Who does not log in does not ask for one.
        let other = Client::new(settings(&scratch, &plain(&registry.address()), &file));
        other.repository(&reference("registry.test/a")).unwrap().tags().unwrap();
        (given, giver)
    };
    let token = Some(Credential::IdentityToken("i&d".to_owned()));
    let (given, giver) = identity(r#"{"token":"good","refresh_token":"i&d"}"#, true);
    assert_eq!(given, token);
    let lines = giver.lines();
    assert!(lines[0].ends_with("&account=user&offline_token=true&client_id=skiff"), "{lines:?}");
    assert!(!lines[1].contains("offline_token"), "{lines:?}");
    let (given, giver) = identity(r#"{"access_token":"good","refresh_token":"i&d"}"#, false);
    assert_eq!(given, token);
    let forms: Vec<bool> = giver
        .seen()
        .iter()
        .filter(|seen| seen.method == "POST")
        .map(|seen| String::from_utf8_lossy(&seen.body).contains("&access_type=offline&"))
        .collect();
    assert_eq!(forms, [true, false]);
    for without in [r#"{"token":"good"}"#, r#"{"token":"good","refresh_token":"no\ntoken"}"#] {
        assert_eq!(identity(without, true).0, None, "{without}");
    }
}

#[test]
fn nothing_secret_follows_a_redirect_to_another_host() {
    let scratch = Scratch::new();
    let whole = content(100_000);
    let served = whole.clone();
    let first = AtomicUsize::new(0);
    let store = Peer::serve(move |seen| {
        let reply = common::serve_blob(&served, seen.header("range"));
        if first.fetch_add(1, Ordering::SeqCst) == 0 { reply.cut(1234) } else { reply }
    });
    let place = format!("http://{}/signed?signature=x", store.address());
    let registry = Peer::serve(move |seen: &Seen| match (seen.header("authorization"), seen.path.as_str()) {
        ("", _) => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        (_, "/v2/a/other") => Reply::new(302, "").with("Location", &place),
        _ => Reply::new(307, "").with("Location", "/v2/a/other"),
    });
    let toml =
        format!("{}[registry.\"registry.test\".header]\nx-own = \"secret\"\n", plain(&registry.address()));
    let client = Client::new(settings(&scratch, &toml, &credentials("registry.test", "user", "se:cret")));
    let mut all = Vec::new();
    let repository = client.repository(&reference("registry.test/a")).unwrap();
    repository.blob(&blob(&whole)).unwrap().read_to_end(&mut all).unwrap();
    assert!(all == whole);
    assert!(registry.seen().iter().skip(1).all(|seen| seen.header("authorization") == basic()));
    assert!(registry.seen().iter().all(|seen| seen.header("x-own") == "secret"));
    assert_eq!(store.seen().len(), 2, "the rest is asked for after the cut");
    for seen in store.seen() {
        assert_eq!((seen.header("authorization"), seen.header("x-own")), ("", ""), "{seen:?}");
    }
    assert_eq!(store.seen()[1].header("range"), "bytes=1234-");
    // And the cut is followed by a fresh redirect: the old address may have expired.
    assert_eq!(registry.seen().iter().filter(|seen| seen.path == "/v2/a/other").count(), 2);
}

#[test]
fn redirects_end_and_what_a_strangers_host_wants_is_not_given() {
    let scratch = Scratch::new();
    let file = credentials("registry.test", "user", "se:cret");
    let around = Peer::serve(|_| Reply::new(302, "").with("Location", "/v2/a/again"));
    let client = Client::new(settings(&scratch, &plain(&around.address()), &file));
    let error = client.repository(&reference("registry.test/a")).unwrap().tags().unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    assert_eq!(around.seen().len(), 9);
    // A host to which we were sent asks for a password: it is another's.
    let thief = Peer::serve(|_| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""));
    let place = format!("http://{}/", thief.address());
    let registry = Peer::serve(move |_| Reply::new(302, "").with("Location", &place));
    let client = Client::new(settings(&scratch, &plain(&registry.address()), &file));
    let error = client.repository(&reference("registry.test/a")).unwrap().tags().unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(thief.seen().iter().all(|seen| seen.header("authorization").is_empty()));
    assert_eq!(thief.seen().len(), 1);
}

#[test]
fn mirrors_are_not_shown_the_credential_of_the_registry() {
    let scratch = Scratch::new();
    let mirror = Peer::serve(|_| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""));
    let registry = Peer::serve(|seen: &Seen| match seen.header("authorization") {
        "" => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"r\""),
        _ => Reply::new(200, TAGS),
    });
    let toml = format!(
        "{}[registry.\"registry.test\".host.\"http://{}\"]\n",
        plain(&registry.address()),
        mirror.address()
    );
    let client = Client::new(settings(&scratch, &toml, &credentials("registry.test", "user", "se:cret")));
    assert_eq!(client.repository(&reference("registry.test/a")).unwrap().tags().unwrap(), ["t"]);
    assert!(mirror.seen().iter().all(|seen| seen.header("authorization").is_empty()));
    assert_eq!(registry.seen()[1].header("authorization"), basic());
}

#[test]
fn a_refusal_says_whether_anything_was_shown() {
    let scratch = Scratch::new();
    let registry = Peer::serve(|_| {
        Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"go away"}]}"#)
            .with("WWW-Authenticate", "Basic realm=\"r\"")
    });
    for (file, part) in [
        ("{}".to_owned(), "skiff login registry.test"),
        (credentials("registry.test", "user", "se:cret"), "these credentials may not reach it"),
    ] {
        let client = Client::new(settings(&scratch, &plain(&registry.address()), &file));
        let error = told(&client.repository(&reference("registry.test/a")).unwrap().tags().unwrap_err());
        assert!(error.contains(part) && error.contains("go away") && !error.contains("cret"), "{error}");
    }
    // A wrong password is shown once.
    assert_eq!(registry.seen().iter().filter(|seen| !seen.header("authorization").is_empty()).count(), 1);
}

#[test]
fn credential_helpers_are_spoken_to_as_docker_does() {
    let scratch = Scratch::new();
    let name = format!("skiff-test-{}", std::process::id());
    let program = std::path::Path::new("/usr/local/bin").join(format!("docker-credential-{name}"));
    // It answers by the server that it is asked for.
    let script = "#!/bin/sh\n[ \"$1\" = get ] || exit 3\nread server\ncase $server in\n\
        token.test) echo '{\"ServerURL\":\"x\",\"Username\":\"<token>\",\"Secret\":\"idtoken\"}' ;;\n\
        pass.test) echo '{\"Username\":\"user\",\"Secret\":\"se:cret\"}' ;;\n\
        none.test) echo 'credentials not found in native keychain'; exit 1 ;;\n\
        long.test) yes | head -c 3000000 ;;\n\
        *) echo 'the keychain is locked'; exit 1 ;;\nesac\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let file = format!(r#"{{"credsStore":"{name}","credHelpers":{{"bad.test":"../x"}}}}"#);
    let credentials = Credentials::parse("", file.as_bytes()).unwrap();
    let found = |server: &str| format!("{:?}", credentials.find(server).map_err(|error| told(&error)));
    let all = ["token.test", "pass.test", "none.test", "long.test", "other.test", "bad.test"].map(found);
    std::fs::remove_file(&program).unwrap();
    assert_eq!(all[0], "Ok(Some(identity token))");
    assert_eq!(all[1], "Ok(Some(password of \"user\"))");
    assert_eq!(all[2], "Ok(None)");
    assert!(all[3].starts_with("Err(") && all[5].starts_with("Err("), "{all:?}");
    assert!(all[4].contains("the keychain is locked") && all[4].contains(&name), "{all:?}");
    drop(scratch);
}
