//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests handle their own files")]

use std::path::Path;
use std::time::Duration;

use oci::{Descriptor, Digest, MediaType, Reference};
use registry_client::{Client, Credentials, HostRules, Patience, Repository, Settings};
use testkit::{Reply, Scratch};

/// As patient as a test may be.
pub fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(5),
        silence: Duration::from_millis(800),
        attempts: 4,
        first: Duration::from_millis(10),
        longest: Duration::from_millis(40),
        longest_asked: Duration::from_secs(2),
    }
}

/// Settings by which `registry.test` is what `toml` says, and by which `credentials` are those of the client.
pub fn settings(scratch: &Scratch, toml: &str, credentials: &str) -> Settings {
    let file = scratch.join("registries.toml");
    std::fs::write(&file, toml).unwrap();
    Settings {
        hosts: HostRules { files: vec![file], ..HostRules::default() },
        credentials: Credentials::parse("config.json", credentials.as_bytes()).unwrap(),
        patience: patience(),
        ..Settings::default()
    }
}

/// `[registry."registry.test"]` at a plain address.
pub fn plain(address: &str) -> String {
    format!("[registry.\"registry.test\"]\nserver = \"http://{address}\"\n")
}

pub fn credentials(host: &str, user: &str, password: &str) -> String {
    serde_json::json!({"auths": {host: {"username": user, "password": password}}}).to_string()
}

pub fn reference(text: &str) -> Reference {
    text.parse::<Reference>().unwrap().or_latest()
}

/// The repository `registry.test/a` of a plain server.
pub fn repository(scratch: &Scratch, address: &str) -> Repository {
    let client = Client::new(settings(scratch, &plain(address), "{}"));
    client.repository(&reference("registry.test/a")).unwrap()
}

/// Bytes that no two places have alike.
pub fn content(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(step).collect()
}

pub fn blob(content: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::OCI_LAYER_GZIP, Digest::of(content), content.len() as u64)
}

/// The first byte that a range asks for, and the last, if it says one.
pub fn asked(range: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}

/// What an honest server answers to a request for a blob, ranges included.
pub fn serve_blob(content: &[u8], range: &str) -> Reply {
    match asked(range) {
        None => Reply::new(200, content),
        Some((first, last)) => {
            let last = last.unwrap_or(content.len() - 1);
            let told = format!("bytes {first}-{last}/{}", content.len());
            Reply::new(206, &content[first..=last]).with("Content-Range", told)
        }
    }
}

/// An error with its causes.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// A certificate for `127.0.0.1` and `localhost`, its key, and that of the CA behind it, as files.
pub fn certificates(folder: &Path) -> [std::path::PathBuf; 3] {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let texts = [certificate.pem(), key.serialize_pem(), ca_certificate.pem()];
    let paths = ["server.crt", "server.key", "ca.crt"].map(|name| folder.join(name));
    for (path, text) in paths.iter().zip(texts) {
        std::fs::write(path, text).unwrap();
    }
    paths
}
