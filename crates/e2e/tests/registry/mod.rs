//! The registry under test, and a client that speaks HTTP word by word.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests start programs, handle their own files and say why they fail"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::Skiff;

/// A running `skiff registry serve` with a root of its own.
pub(crate) struct Registry {
    pub(crate) skiff: Skiff,
    options: Vec<String>,
    server: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Registry {
    pub(crate) fn start(options: &[&str]) -> Registry {
        Registry::prepared(|_| options.iter().map(|&option| option.to_owned()).collect())
    }

    /// One that stands in for the registry at `url`.
    pub(crate) fn standing_in_for(url: &str, options: &[&str]) -> Registry {
        Registry::start(&[&["--proxy", url], options].concat())
    }

    /// One with a configuration.
    pub(crate) fn configured(text: String, options: &[&str]) -> Registry {
        Registry::prepared(|skiff| {
            std::fs::write(skiff.folder().join("registry.toml"), text).unwrap();
            let mut all = vec!["--config".to_owned(), "registry.toml".to_owned()];
            all.extend(options.iter().map(|&option| option.to_owned()));
            all
        })
    }

    /// How many files it has below `blobs` or `uploads`.
    pub(crate) fn files(&self, folder: &str) -> usize {
        let entries = |path: PathBuf| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let folder = self.root().join(folder);
        entries(folder).map(|path| if path.is_dir() { entries(path).count() } else { 1 }).sum()
    }

    /// One whose files are made first; they say with which options it begins.
    pub(crate) fn prepared(prepare: impl FnOnce(&Skiff) -> Vec<String>) -> Registry {
        let skiff = Skiff::new();
        let options = prepare(&skiff);
        let (server, address) = begin(&skiff, &options, "127.0.0.1:0");
        Registry { skiff, options, server, address }
    }

    /// Where it keeps everything.
    pub(crate) fn root(&self) -> PathBuf {
        self.skiff.root().join("registry")
    }

    /// Kills it, and starts another one at the same address.
    pub(crate) fn kill_and_restart(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        (self.server, self.address) = begin(&self.skiff, &self.options, &self.address.to_string());
    }

    /// Where it is monitored, as it says behind the line that the fixture has read.
    pub(crate) fn monitor(&mut self) -> SocketAddr {
        let mut line = String::new();
        // The pipe is read without a buffer until its end of line.
        let output = self.server.stdout.as_mut().unwrap();
        while !line.ends_with('\n') {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            line.push(char::from(byte[0]));
        }
        line.trim().rsplit_once("//").unwrap().1.parse().unwrap()
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        log_in(&self.skiff)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.server), signal).unwrap();
    }

    pub(crate) fn server(&mut self) -> &mut Child {
        &mut self.server
    }

    pub(crate) fn send(&self, request: &Request) -> Response {
        request.send(self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.send(&Request::new("GET", path))
    }

    pub(crate) fn head(&self, path: &str) -> Response {
        self.send(&Request::new("HEAD", path))
    }

    pub(crate) fn delete(&self, path: &str) -> Response {
        self.send(&Request::new("DELETE", path))
    }

    /// Begins an upload; returns its location.
    pub(crate) fn begin(&self, repository: &str) -> String {
        let begun = self.send(&Request::new("POST", &format!("/v2/{repository}/blobs/uploads/")));
        assert_eq!(begun.status, 202, "{begun:?}");
        begun.header("location").unwrap().to_owned()
    }

    /// Pushes a blob in one piece.
    pub(crate) fn push(&self, repository: &str, content: &[u8]) -> String {
        let digest = digest(content);
        let location = self.begin(repository);
        let request = Request::new("PUT", &format!("{location}?digest={digest}")).body(content);
        let done = self.send(&request);
        assert_eq!(done.status, 201, "{done:?}");
        assert_eq!(done.header("docker-content-digest"), Some(digest.as_str()));
        digest
    }

    /// Pushes a manifest under a tag or a digest.
    pub(crate) fn put_manifest(&self, repository: &str, reference: &str, content: &str) -> Response {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let kind = serde_json::from_str::<Value>(content).ok();
        let kind = kind.and_then(|value| value["mediaType"].as_str().map(str::to_owned));
        let kind = kind.unwrap_or_else(|| MANIFEST.to_owned());
        self.send(&Request::new("PUT", &path).header("content-type", &kind).body(content.as_bytes()))
    }
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

const LOG: &str = "registry.log";

fn log_in(skiff: &Skiff) -> String {
    std::fs::read_to_string(skiff.folder().join(LOG)).unwrap_or_default()
}

fn begin(skiff: &Skiff, options: &[String], address: &str) -> (Child, SocketAddr) {
    let mut words = vec!["registry".to_owned(), "serve".to_owned(), "--addr".to_owned(), address.to_owned()];
    words.extend_from_slice(options);
    let log = std::fs::File::options().create(true).append(true).open(skiff.folder().join(LOG)).unwrap();
    let mut server = skiff.command(&words).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    // Byte by byte: what follows is for others.
    while !line.ends_with('\n') {
        let mut byte = [0];
        let read = server.stdout.as_mut().unwrap().read(&mut byte).unwrap();
        assert_eq!(read, 1, "the registry has not begun: {}", log_in(skiff));
        line.push(char::from(byte[0]));
    }
    let address = line.trim().rsplit_once("//").and_then(|(_, address)| address.parse().ok());
    (server, address.unwrap_or_else(|| panic!("the registry did not begin: {line:?}")))
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.server),
            rustix::process::Signal::TERM,
        );
        let status = self.server.wait().unwrap();
        if std::thread::panicking() {
            eprintln!("the log of the registry:\n{}", self.log());
        }
        assert!(std::thread::panicking() || status.success(), "the registry has ended with {status}");
    }
}

/// `sha256:…` of `content`.
pub(crate) fn digest(content: &[u8]) -> String {
    oci::Digest::of(content).to_string()
}

/// A manifest with one config and layers, which must have been pushed.
pub(crate) fn manifest(config: &[u8], layers: &[&[u8]], more: &str) -> String {
    let of = |kind: &str, content: &[u8]| {
        format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#, digest(content), content.len())
    };
    let config = of("application/vnd.oci.image.config.v1+json", config);
    let layers: Vec<String> =
        layers.iter().map(|layer| of("application/vnd.oci.image.layer.v1.tar", layer)).collect();
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{}]{more}}}"#,
        layers.join(",")
    )
}

/// A request, sent on a connection of its own.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Request {
        Request { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Request {
        self.body = body.to_vec();
        self
    }

    /// The head, which announces the whole body.
    pub(crate) fn head(&self) -> String {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n", self.method, self.path);
        head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }

    pub(crate) fn send(&self, address: SocketAddr) -> Response {
        self.try_send(address).unwrap()
    }

    /// The same where the server may end meanwhile.
    pub(crate) fn try_send(&self, address: SocketAddr) -> io::Result<Response> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(self.head().as_bytes())?;
        // A server may answer before it has taken everything, and close.
        drop(stream.write_all(&self.body));
        Response::try_read(&mut stream, self.method == "HEAD")
    }
}

impl Response {
    /// Reads one answer; all of ours say how long they are.
    pub(crate) fn read(stream: &mut impl Read, no_body: bool) -> Response {
        Response::try_read(stream, no_body).unwrap()
    }

    /// Reads one answer of several on a connection, and not a byte of the next one.
    pub(crate) fn read_one(stream: &mut impl Read, no_body: bool) -> Response {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let text = String::from_utf8(head.clone()).unwrap().to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).map(|rest| rest.split("\r\n").next().unwrap());
        let length = length.filter(|_| !no_body).map_or(0, |length| length.parse().unwrap());
        Response::try_read(&mut head.as_slice().chain(stream.take(length)), no_body).unwrap()
    }

    fn try_read(stream: &mut impl Read, no_body: bool) -> io::Result<Response> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not an answer: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut response = Response { status, headers, body: Vec::new() };
        let length: usize = response.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if !no_body && status != 304 && status != 204 {
            response.body = vec![0; length];
            reader.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts a status and the code of the first error.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        let found = self.json()["errors"][0]["code"].as_str().map(str::to_owned);
        assert_eq!((self.status, found.as_deref()), (status, Some(code)), "{self:?}");
    }
}
