//! Debian's `docker-registry` as a peer, on loopback, with its content in a folder of the test's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::peer::{Seen, exchange};
use crate::{Scratch, require, wait_until};

/// How a registry is set up.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// Certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A file of names and passwords hashed by bcrypt.
    pub htpasswd: Option<PathBuf>,
}

/// A registry that runs until this is dropped.
pub struct Registry {
    child: Child,
    shelf: Shelf,
}

/// Where a test puts content, whosever registry it is.
pub struct Shelf {
    address: String,
}

impl Registry {
    /// Starts one over the content in `folder`, where others may work at the same time.
    pub fn start(folder: &Path, options: &RegistryOptions) -> Registry {
        require("docker-registry", "docker-registry");
        for attempt in 0..5 {
            let port = free_port();
            let config = folder.join(format!("config-{port}-{attempt}.yml"));
            std::fs::write(&config, configuration(folder, port, options).to_string())
                .expect("write the configuration");
            let log = std::fs::File::create(config.with_extension("log")).expect("make a log");
            let mut command = Command::new("docker-registry");
            command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            let mut child = command.spawn().expect("start docker-registry");
            let mut is_up = false;
            wait_until("docker-registry listens, or has ended", || {
                is_up = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
                is_up || child.try_wait().expect("look after docker-registry").is_some()
            });
            if is_up && child.try_wait().expect("look after docker-registry").is_none() {
                return Registry { child, shelf: Shelf::at(format!("127.0.0.1:{port}")) };
            }
            // Somebody else has got the port.
            drop(child.kill());
            drop(child.wait());
        }
        panic!("docker-registry does not start; see its log in {}", folder.display());
    }
    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.shelf.address()
    }
}

impl std::ops::Deref for Registry {
    type Target = Shelf;

    fn deref(&self) -> &Shelf {
        &self.shelf
    }
}

impl Shelf {
    /// A registry at `address`, in plain HTTP and without passwords.
    pub fn at(address: impl ToString) -> Shelf {
        Shelf { address: address.to_string() }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// One request in plain HTTP.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> crate::Reply {
        let headers = [("content-type".to_owned(), kind.to_owned())].into();
        let seen = Seen { method: method.to_owned(), path: path.to_owned(), headers, body: body.to_vec() };
        exchange(&self.address(), &seen)
    }

    /// Puts a blob into a repository; returns its descriptor.
    pub fn put_blob(&self, repository: &str, kind: &str, content: &[u8]) -> Value {
        let begun = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
        let location =
            begun.headers.iter().find(|(name, _)| name == "location").expect("a place to upload to");
        let path = location.1.split_once(&self.address()).map_or(location.1.as_str(), |(_, path)| path);
        let digest = oci::Digest::of(content);
        let separator = if path.contains('?') { '&' } else { '?' };
        let done = self.ask(
            "PUT",
            &format!("{path}{separator}digest={digest}"),
            "application/octet-stream",
            content,
        );
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
        json!({"mediaType": kind, "digest": digest.as_str(), "size": content.len()})
    }

    /// Puts a manifest or an index into a repository; returns its descriptor.
    pub fn put_manifest(&self, repository: &str, name: &str, document: &Value) -> Value {
        let kind = document["mediaType"].as_str().expect("a media type");
        let bytes = document.to_string();
        let done = self.ask("PUT", &format!("/v2/{repository}/manifests/{name}"), kind, bytes.as_bytes());
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
        json!({"mediaType": kind, "digest": oci::Digest::of(bytes.as_bytes()).as_str(), "size": bytes.len()})
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    socket.local_addr().expect("an address").port()
}

/// YAML is a superset of JSON.
fn configuration(folder: &Path, port: u16, options: &RegistryOptions) -> Value {
    let mut config = json!({
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": folder.join("content")}, "delete": {"enabled": true}},
        "http": {"addr": format!("127.0.0.1:{port}")},
    });
    if let Some((certificate, key)) = &options.tls {
        config["http"]["tls"] = json!({"certificate": certificate, "key": key});
    }
    if let Some(path) = &options.htpasswd {
        config["auth"] = json!({"htpasswd": {"realm": "test", "path": path}});
    }
    config
}

/// A registry over an empty folder.
pub fn registry() -> (Registry, Scratch) {
    let scratch = Scratch::new();
    (Registry::start(&scratch, &RegistryOptions::default()), scratch)
}
