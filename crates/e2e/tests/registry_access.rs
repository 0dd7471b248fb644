//! Who may do what: passwords and tokens, rights by repository, TLS; request by request, and with other people's clients.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

mod oci;
mod registry;

use std::path::Path;
use std::process::Command;

use oci::dockerd::Dockerd;
use oci::{Done, require, run};
use registry::{Registry, Request, Response, digest, manifest};
use serde_json::Value;
use testkit::{Skiff, wait_until};

const RULES: &str = r#"
[[auth.rule]]
users = ["alice"]
repositories = ["**"]
actions = ["pull", "push", "delete"]

[[auth.rule]]
users = ["*"]
repositories = ["team/**"]
actions = ["pull"]

[[auth.rule]]
everyone = true
repositories = ["public/*"]
actions = ["pull"]
"#;

/// The options of a server whose users are alice and bob, with the password `secret`.
fn protected(skiff: &Skiff, scheme: &str, tls: bool) -> Vec<String> {
    require("htpasswd", "apache2-utils");
    let folder = skiff.folder();
    for (flags, user) in [("-cbB", "alice"), ("-bB", "bob")] {
        let mut command = Command::new("htpasswd");
        let done = run(command.arg(flags).args(["-C", "5"]).arg(folder.join("users")).args([user, "secret"]));
        assert_eq!(done.code, 0, "{done:?}");
    }
    let config = format!("[auth]\nhtpasswd = \"users\"\nscheme = \"{scheme}\"\n{RULES}");
    std::fs::write(folder.join("registry.toml"), config).unwrap();
    let mut options = vec!["--config".to_owned(), "registry.toml".to_owned()];
    if tls {
        certificate(folder);
        options.extend(["--tls-cert", "certs/ca.crt", "--tls-key", "server.key"].map(str::to_owned));
    }
    options
}

/// A certificate that is its own authority, in the folder that clients are told to trust.
fn certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    std::fs::create_dir(folder.join("certs")).unwrap();
    std::fs::write(folder.join("certs/ca.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).unwrap();
}

fn start(scheme: &str, tls: bool) -> Registry {
    Registry::prepared(|skiff| protected(skiff, scheme, tls))
}

/// `user:secret` as a Basic header has it.
fn basic(user: &str) -> &'static str {
    match user {
        "alice" => "Basic YWxpY2U6c2VjcmV0",
        "bob" => "Basic Ym9iOnNlY3JldA==",
        _ => "Basic YWxpY2U6d3Jvbmc=",
    }
}

/// A token for `scope`, asked for by `user` or by nobody.
fn token(registry: &Registry, user: Option<&str>, scope: &str) -> String {
    let mut request = Request::new("GET", &format!("/token?service=x&scope={scope}"));
    if let Some(user) = user {
        request = request.header("authorization", basic(user));
    }
    let answer = registry.send(&request);
    assert_eq!(answer.status, 200, "{answer:?}");
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

fn with(registry: &Registry, token: &str, method: &str, path: &str) -> Response {
    registry.send(&Request::new(method, path).header("authorization", token))
}

#[test]
fn tokens_grant_what_the_rules_do_and_what_was_asked() {
    let registry = start("bearer", false);
    let challenge = registry.get("/v2/");
    challenge.refused(401, "UNAUTHORIZED");
    assert_eq!(
        challenge.header("www-authenticate"),
        Some("Bearer realm=\"http://registry/token\",service=\"registry\"")
    );
    let push = "/v2/team/app/blobs/uploads/";
    let refused = registry.send(&Request::new("POST", push));
    assert!(refused.header("www-authenticate").unwrap().contains("scope=\"repository:team/app:pull,push\""));
    let wrong = registry.send(&Request::new("GET", "/token").header("authorization", basic("wrong")));
    wrong.refused(401, "UNAUTHORIZED");
    let alice = token(&registry, Some("alice"), "repository:team/app:pull,push");
    assert_eq!(with(&registry, &alice, "GET", "/v2/").status, 200);
    assert_eq!(with(&registry, &alice, "POST", push).status, 202);
    // No more than was asked for, and nothing that is not granted.
    let narrow = with(&registry, &alice, "POST", "/v2/other/blobs/uploads/");
    assert!(
        narrow.header("www-authenticate").unwrap().ends_with("error=\"insufficient_scope\""),
        "{narrow:?}"
    );
    let bob = token(&registry, Some("bob"), "repository:team/app:pull,push");
    assert_eq!(with(&registry, &bob, "POST", push).status, 401);
    assert_eq!(with(&registry, &bob, "GET", "/v2/team/app/manifests/none").status, 404);
    let nobody = token(&registry, None, "repository:public/x:pull,push&scope=repository:team/app:pull");
    assert_eq!(with(&registry, &nobody, "GET", "/v2/public/x/manifests/none").status, 404);
    assert_eq!(with(&registry, &nobody, "POST", "/v2/public/x/blobs/uploads/").status, 401);
    assert_eq!(with(&registry, &nobody, "GET", "/v2/team/app/manifests/none").status, 401);
    assert_eq!(with(&registry, &format!("{alice}x"), "GET", "/v2/").status, 401);
    let form = "grant_type=password&username=alice&password=secret&service=x&scope=repository%3Aa%3Apull+repository:b:pull";
    let posted = registry.send(&Request::new("POST", "/token").body(form.as_bytes()));
    let both = format!("Bearer {}", posted.json()["access_token"].as_str().unwrap());
    for name in ["a", "b"] {
        assert_eq!(with(&registry, &both, "GET", &format!("/v2/{name}/manifests/none")).status, 404);
    }
    let refresh =
        registry.send(&Request::new("POST", "/token").body(b"grant_type=refresh_token&refresh_token=x"));
    refresh.refused(401, "UNAUTHORIZED");
}

#[test]
fn nothing_leaks_from_repositories_that_a_client_may_not_read() {
    let registry = start("basic", false);
    let send = |user: &str, request: Request| registry.send(&request.header("authorization", basic(user)));
    let content = b"{}".as_slice();
    let name = digest(content);
    for repository in ["private/x", "team/x", "public/x"] {
        let path = format!("/v2/{repository}/blobs/uploads/?digest={name}");
        assert_eq!(send("alice", Request::new("POST", &path).body(content)).status, 201);
        let put = Request::new("PUT", &format!("/v2/{repository}/manifests/v1"))
            .body(manifest(content, &[], "").as_bytes());
        assert_eq!(send("alice", put).status, 201);
    }
    let blob =
        |user, repository: &str| send(user, Request::new("GET", &format!("/v2/{repository}/blobs/{name}")));
    assert_eq!(blob("alice", "private/x").status, 200);
    blob("bob", "private/x").refused(403, "DENIED");
    assert_eq!(blob("bob", "team/x").status, 200);
    send("bob", Request::new("DELETE", "/v2/team/x/manifests/v1")).refused(403, "DENIED");
    send("wrong", Request::new("GET", "/v2/")).refused(401, "UNAUTHORIZED");
    let anonymous = registry.get(&format!("/v2/public/x/blobs/{name}"));
    assert_eq!(anonymous.status, 200);
    registry.get(&format!("/v2/team/x/blobs/{name}")).refused(401, "UNAUTHORIZED");
    let listed = |answer: Response| answer.json()["repositories"].clone();
    assert_eq!(
        listed(send("bob", Request::new("GET", "/v2/_catalog"))),
        serde_json::json!(["public/x", "team/x"])
    );
    assert_eq!(listed(registry.get("/v2/_catalog")), serde_json::json!(["public/x"]));
    let all = listed(send("alice", Request::new("GET", "/v2/_catalog?n=2")));
    assert_eq!(all.as_array().map(Vec::len), Some(2));
    // Whoever may push may not make a blob theirs by its digest.
    let rules = std::fs::read_to_string(registry.skiff.folder().join("registry.toml")).unwrap();
    let more =
        "[[auth.rule]]\nusers = [\"bob\"]\nrepositories = [\"bobs/**\"]\nactions = [\"push\", \"pull\"]\n";
    let other = Registry::prepared(|skiff| {
        let options = protected(skiff, "basic", false);
        std::fs::write(skiff.folder().join("registry.toml"), rules + more).unwrap();
        options
    });
    let send = |user: &str, request: Request| other.send(&request.header("authorization", basic(user)));
    let path = format!("/v2/private/x/blobs/uploads/?digest={name}");
    assert_eq!(send("alice", Request::new("POST", &path).body(content)).status, 201);
    let mount = |from: &str| {
        send("bob", Request::new("POST", &format!("/v2/bobs/x/blobs/uploads/?mount={name}{from}"))).status
    };
    assert_eq!(mount("&from=private/x"), 202, "an upload is begun instead");
    assert_eq!(mount(""), 202, "nor is it found there");
    assert_eq!(send("bob", Request::new("GET", &format!("/v2/bobs/x/blobs/{name}"))).status, 404);
}

#[test]
fn a_configuration_that_says_nothing_sensible_stops_the_server() {
    let skiff = Skiff::new();
    let serve = |more: &[&str]| skiff.run(&[&["registry", "serve", "--addr", "127.0.0.1:0"], more].concat());
    for (text, told) in [
        ("[auth]\nhtpasswd = \"none\"\n", "open"),
        ("[auth]\nhtpasswd = \"users\"\n", "USER:BCRYPT"),
        ("[auth]\nhtpaswd = \"users\"\n", "unknown field"),
        (
            "[auth]\nhtpasswd = \"users\"\n[[auth.rule]]\nrepositories = [\"a\"]\nactions = [\"pull\"]\n",
            "nobody",
        ),
        ("[auth]\nhtpasswd = \"users\"\ntoken-lifetime = 1\n", "token-lifetime"),
    ] {
        std::fs::write(skiff.folder().join("users"), "alice:plain\n").unwrap();
        std::fs::write(skiff.folder().join("c.toml"), text).unwrap();
        let refused = serve(&["--config", "c.toml"]);
        assert!(
            refused.code == 1 && (refused.stderr.contains(told) || told == "open"),
            "{text}: {refused:?}"
        );
    }
    assert!(serve(&["--tls-cert", "c.toml"]).stderr.contains("need each other"));
    assert!(serve(&["--tls-cert", "c.toml", "--tls-key", "c.toml"]).stderr.contains("no private key"));
}

fn skopeo(registry: &Registry, words: &[&str]) -> Done {
    require("skopeo", "skopeo");
    let mut command = Command::new("skopeo");
    command.env("REGISTRY_AUTH_FILE", registry.skiff.folder().join("auth.json"));
    run(command.arg("--insecure-policy").args(words))
}

#[test]
fn rights_change_with_their_file_and_a_broken_file_changes_none() {
    let registry = start("bearer", false);
    let file = registry.skiff.folder().join("registry.toml");
    let path = "/v2/team/app/blobs/uploads/";
    let push = || {
        let token = token(&registry, Some("bob"), "repository:team/app:pull,push");
        with(&registry, &token, "POST", path).status
    };
    assert_eq!(push(), 401);
    let before = std::fs::read_to_string(&file).unwrap();
    let wider = before.replace(
        "repositories = [\"team/**\"]\nactions = [\"pull\"]",
        "repositories = [\"team/**\"]\nactions = [\"pull\", \"push\"]",
    );
    assert_ne!(wider, before);
    std::fs::write(&file, &wider).unwrap();
    wait_until("bob may push", || push() == 202);
    let given = token(&registry, Some("bob"), "repository:team/app:pull,push");
    assert_eq!(with(&registry, &given, "POST", path).status, 202);
    for broken in ["", "[auth", "[auth]\nhtpasswd = \"nowhere\""] {
        let said = registry.log().matches("the old stays in use").count();
        std::fs::write(&file, broken).unwrap();
        registry.signal(rustix::process::Signal::HUP);
        wait_until("it says that it cannot use it", || {
            registry.log().matches("the old stays in use").count() > said
        });
        assert_eq!(push(), 202, "{broken:?}");
        assert_eq!(registry.get("/v2/team/app/tags/list").status, 401, "{broken:?} lets nobody in");
    }
    std::fs::write(&file, &before).unwrap();
    wait_until("a token that was given before counts no more", || {
        with(&registry, &given, "POST", path).status == 401
    });
}

/// The certificate that a server shows, as PEM.
fn shown(registry: &Registry) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &registry.address.to_string()]).stdin(std::process::Stdio::null());
    let output = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
    let from = output.find("-----BEGIN").unwrap_or_else(|| panic!("no certificate: {output}"));
    let to = output.find("-----END CERTIFICATE-----").unwrap();
    output[from..to].replace('\r', "")
}

#[test]
fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    require("openssl", "openssl");
    let registry = start("basic", true);
    let folder = registry.skiff.folder();
    let first = shown(&registry);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let renewed = made.cert.pem().replace('\r', "");
    let refused = || registry.log().matches("the old stays in use").count();
    // The certificate alone does not fit the key: what is shown is the old pair, until both are there.
    std::fs::write(folder.join("certs/ca.crt"), &renewed).unwrap();
    registry.signal(rustix::process::Signal::HUP);
    wait_until("half a pair is refused", || refused() == 1);
    assert_eq!(shown(&registry), first);
    std::fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).unwrap();
    // Without any signal: by its time alone.
    wait_until("the renewed certificate is shown", || renewed.starts_with(&shown(&registry)));
    std::fs::write(folder.join("server.key"), "no key").unwrap();
    registry.signal(rustix::process::Signal::HUP);
    wait_until("what is no key is refused", || refused() >= 2);
    assert!(renewed.starts_with(&shown(&registry)));
}

#[test]
fn skopeo_and_docker_log_in_over_tls() {
    for scheme in ["bearer", "basic"] {
        let registry = start(scheme, true);
        let folder = registry.skiff.folder().to_owned();
        let certs = folder.join("certs").to_str().unwrap().to_owned();
        let host = registry.address.to_string();
        let archive = folder.join("image.tar");
        std::fs::write(&archive, testkit::busybox()).unwrap();
        let from = format!("docker-archive:{}", archive.display());
        let push = |user: &str, name: &str| {
            let credentials = format!("{user}:secret");
            let to = format!("docker://{host}/{name}");
            skopeo(&registry, &["copy", "--dest-cert-dir", &certs, "--dest-creds", &credentials, &from, &to])
        };
        assert_eq!(push("alice", "team/app:v1").code, 0, "{scheme}");
        assert_ne!(push("bob", "team/app:v2").code, 0, "{scheme}");
        let untrusted = skopeo(
            &registry,
            &["inspect", "--creds", "alice:secret", &format!("docker://{host}/team/app:v1")],
        );
        assert!(untrusted.err.contains("x509"), "{untrusted:?}");
        let docker = Dockerd::start(&format!("registry-login-{scheme}"), |_| Vec::new());
        let name = format!("{host}/team/app:v1");
        let refused = docker.run(&["pull", &name]);
        assert_ne!(refused.code, 0, "{refused:?}");
        let wrong = docker.run(&["login", "--username", "bob", "--password", "wrong", &host]);
        assert!(wrong.code != 0, "{wrong:?}");
        let login = docker.run(&["login", "--username", "bob", "--password", "secret", &host]);
        assert_eq!(login.code, 0, "{login:?}");
        let pulled = docker.run(&["pull", &name]);
        assert_eq!(pulled.code, 0, "{pulled:?}");
        let denied = docker.run(&["push", &name]);
        assert!(denied.code != 0 && denied.err.contains("denied"), "{denied:?}");
        let inspected: Value = serde_json::from_str(&docker.run(&["image", "inspect", &name]).out).unwrap();
        assert!(
            inspected[0]["RepoDigests"][0].as_str().unwrap().starts_with(&format!("{host}/team/app@sha256:"))
        );
    }
}
