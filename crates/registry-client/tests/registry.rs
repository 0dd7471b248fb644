//! Against Debian's `docker-registry`: plain, with TLS, with passwords, through a proxy.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::{blob, certificates, content, credentials, reference, settings, told};
use oci::{Document, MediaType};
use registry_client::{Client, Error, Proxies, Settings};
use serde_json::json;
use testkit::{Registry, RegistryOptions, Scratch, registry};

/// `user`, `se:cret`.
const HTPASSWD: &str = "user:$2b$05$abcdefghijklmnopqrstuuWqeDdmk0qhXLYvA33lbC9M700ynI2Oa\n";

/// Puts an image of one layer there.
fn fill(registry: &Registry, repository: &str) -> Vec<u8> {
    let layer = content(3 << 20);
    let config = registry.put_blob(repository, MediaType::OCI_CONFIG.as_str(), b"{}");
    let described = registry.put_blob(repository, MediaType::OCI_LAYER_GZIP.as_str(), &layer);
    let kind = MediaType::OCI_MANIFEST;
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [described]});
    let manifest = registry.put_manifest(repository, "one", &manifest);
    let kind = MediaType::OCI_INDEX;
    registry.put_manifest(
        repository,
        "all",
        &json!({"schemaVersion": 2, "mediaType": kind, "manifests": [manifest]}),
    );
    layer
}

/// Reads all of it by the tag of the index.
fn check(settings: Settings, name: &str, layer: &[u8]) -> Result<(), Error> {
    let client = Client::new(settings);
    let reference = reference(name);
    let repository = client.repository(&reference)?;
    let index = repository.manifest(&reference)?;
    let Document::Index(all) = &index.document else { panic!("{index:?}") };
    assert_eq!(repository.resolve(&reference)?, index.descriptor);
    let one = repository.manifest_of_index(&all.manifests[0])?;
    assert_eq!(one.descriptor.media_type, MediaType::OCI_MANIFEST);
    let Document::Manifest(manifest) = one.document else { panic!("{one:?}") };
    assert_eq!(repository.small_blob(&manifest.config, 100)?, b"{}");
    assert!(repository.small_blob(&manifest.config, 1).is_err());
    let mut read = Vec::new();
    repository.blob(&manifest.layers[0])?.read_to_end(&mut read).unwrap();
    assert!(read == layer);
    assert!(repository.has_blob(&manifest.layers[0])? && !repository.has_blob(&blob(b"missing"))?);
    let mut tags = repository.tags()?;
    tags.sort();
    assert_eq!(tags, ["all", "one"]);
    let missing =
        client.repository(&reference)?.manifest(&reference.with_tag("missing").unwrap()).unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    Ok(())
}

#[test]
fn an_image_is_read_by_http_where_the_registry_is_this_host() {
    let (registry, _scratch) = registry();
    let layer = fill(&registry, "a/b");
    let settings = Settings { patience: common::patience(), ..Settings::default() };
    check(settings, &format!("{}/a/b:all", registry.address()), &layer).unwrap();
}

#[test]
fn an_image_is_read_with_a_password_over_tls_that_is_verified() {
    let (plain, scratch) = registry();
    let layer = fill(&plain, "a/b");
    let [certificate, key, ca] = certificates(&scratch);
    let htpasswd = scratch.join("htpasswd");
    std::fs::write(&htpasswd, HTPASSWD).unwrap();
    let options = RegistryOptions { tls: Some((certificate, key)), htpasswd: Some(htpasswd) };
    let secure = Registry::start(&scratch, &options);
    let name = format!("{}/a/b:all", secure.address());
    let with = |ca: &Path, password: &str| {
        let toml = format!("[registry.\"{}\"]\nca = {ca:?}\n", secure.address());
        settings(&scratch, &toml, &credentials(&secure.address(), "user", password))
    };
    check(with(&ca, "se:cret"), &name, &layer).unwrap();
    let denied = check(with(&ca, "wrong"), &name, &layer).unwrap_err();
    assert!(matches!(denied, Error::Unauthorized { anonymous: false, .. }), "{denied}");
    // Another CA: nobody is believed, and nothing is tried without TLS.
    let other = Scratch::new();
    let [.., other_ca] = certificates(&other);
    let refused = check(with(&other_ca, "se:cret"), &name, &layer).unwrap_err();
    assert!(matches!(refused, Error::Tls { .. }), "{}", told(&refused));
}

/// A proxy that connects (`CONNECT`) and passes on; returns its address and what it was asked.
fn tunnels() -> (String, Arc<Mutex<Vec<String>>>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for client in socket.incoming().flatten() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                let mut client = client;
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                log.lock().unwrap().push(head);
                let port = target.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
                let Some(server) = port.and_then(|port| TcpStream::connect(("127.0.0.1", port)).ok()) else {
                    drop(client.write_all(b"HTTP/1.1 502 no\r\n\r\n"));
                    return;
                };
                client.write_all(b"HTTP/1.1 200 connected\r\n\r\n").unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let up = std::thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
                let (mut from, mut to) = (server, client);
                drop(std::io::copy(&mut from, &mut to));
                drop(to.shutdown(std::net::Shutdown::Both));
                drop(up.join());
            });
        }
    });
    (address, asked)
}

#[test]
fn a_proxy_connects_to_the_registry_and_sees_nothing_of_what_is_said() {
    let (plain, scratch) = registry();
    let layer = fill(&plain, "a/b");
    let [certificate, key, ca] = certificates(&scratch);
    let secure =
        Registry::start(&scratch, &RegistryOptions { tls: Some((certificate, key)), htpasswd: None });
    let port = secure.address().rsplit_once(':').unwrap().1.to_owned();
    // A name that only the proxy could find; its certificate is for another one.
    let (proxy, asked) = tunnels();
    let proxies = Proxies::new("", &format!("http://u:p@{proxy}"), "").unwrap();
    let toml = format!("[registry.\"registry.test:{port}\"]\nskip_verify = true\n");
    let with = |toml: &str| Settings { proxies: proxies.clone(), ..settings(&scratch, toml, "{}") };
    check(with(&toml), &format!("registry.test:{port}/a/b:all"), &layer).unwrap();
    let heads = asked.lock().unwrap().clone();
    assert!(heads.iter().all(|head| head.starts_with(&format!("CONNECT registry.test:{port} HTTP/1.1\r\n"))));
    assert!(heads[0].to_ascii_lowercase().contains("proxy-authorization: basic dtpw"), "{heads:?}");
    // Connections are kept: all of that took one or two.
    assert!(heads.len() <= 3, "{}", heads.len());
    let toml = format!("[registry.\"registry.test:{port}\"]\nca = {ca:?}\n");
    let refused = check(with(&toml), &format!("registry.test:{port}/a/b:all"), &layer).unwrap_err();
    assert!(matches!(refused, Error::Tls { .. }), "{}", told(&refused));
    let nowhere = check(with(""), "registry.test:1/a/b:all", &layer).unwrap_err();
    assert!(matches!(nowhere, Error::Proxy { status: 502, .. }), "{}", told(&nowhere));
}

#[test]
fn nobody_there_is_told_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = std::time::Instant::now();
    let error = check(Settings::default(), &format!("{free}/a"), b"").unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{}", told(&error));
    assert!(begun.elapsed().as_millis() < 2000);
}
