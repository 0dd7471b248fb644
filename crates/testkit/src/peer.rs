//! A web server of the tests' own: it answers as a test says, and does what no honest one does.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, …
    pub method: String,
    /// What is asked for, with its query.
    pub path: String,
    /// Headers by their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Seen {
    /// A header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers; `Content-Length` is that of the body unless it is among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The connection is closed after so many bytes of the body.
    pub cut: Option<usize>,
    /// How long to wait before anything is said.
    pub delay: Duration,
    /// After so many bytes of the body nothing more is said until that is set.
    pub held: Option<(usize, Arc<AtomicBool>)>,
    /// So many bytes of the body are sent in a second, at most.
    pub pace: Option<usize>,
}

impl Reply {
    /// A body with a status.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, body: body.into(), ..Reply::default() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Closes the connection after so many bytes of the body.
    #[must_use]
    pub fn cut(mut self, after: usize) -> Reply {
        self.cut = Some(after);
        self
    }

    /// Sends so many bytes of the body in a second, at most.
    #[must_use]
    pub fn paced(mut self, pace: usize) -> Reply {
        self.pace = Some(pace);
        self
    }

    /// Says nothing after so many bytes of the body, until `go` is set.
    #[must_use]
    pub fn held(mut self, after: usize, go: &Arc<AtomicBool>) -> Reply {
        self.held = Some((after, Arc::clone(go)));
        self
    }
}

/// The server, on a port of `127.0.0.1`; it ends when this is dropped.
pub struct Peer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    is_over: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Peer {
    /// Serves what `answer` says, one request a connection.
    pub fn serve(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Peer {
        let socket = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = socket.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (log, over, answer) = (Arc::clone(&seen), Arc::clone(&is_over), Arc::new(answer));
        let listener = std::thread::spawn(move || {
            for stream in socket.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                let Ok(stream) = stream else { continue };
                // It ends with its client.
                std::thread::spawn(move || {
                    let Some(request) = read_request(&stream) else { return };
                    log.lock().expect("the log").push(request.clone());
                    reply(&stream, &request, &answer(&request));
                });
            }
        });
        Peer { address, seen, is_over, listener: Some(listener) }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the log").clone()
    }

    /// Requests so far, as `METHOD path`.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

/// A request of a whole, with its answer; used to speak to another server plainly.
pub fn exchange(address: &str, seen: &Seen) -> Reply {
    let mut stream = TcpStream::connect(address).expect("connect to the server of the test");
    let mut head = format!("{} {} HTTP/1.1\r\n", seen.method, seen.path);
    for (name, value) in &seen.headers {
        if !matches!(name.as_str(), "connection" | "content-length" | "host" | "transfer-encoding") {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str(&format!(
        "Host: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        seen.body.len()
    ));
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&seen.body)).expect("ask the server");
    let mut reader = BufReader::new(stream);
    let (first, headers) = read_head(&mut reader).expect("an answer of the server");
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let mut body = Vec::new();
    if seen.method != "HEAD" {
        if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            body = read_chunks(&mut reader).expect("all chunks");
        } else {
            reader.read_to_end(&mut body).expect("the body of the answer");
        }
    }
    let headers = headers
        .into_iter()
        .filter(|(name, _)| !matches!(name.as_str(), "transfer-encoding" | "connection"))
        .filter(|(name, _)| seen.method == "HEAD" || name != "content-length")
        .collect();
    Reply { status, headers, body, ..Reply::default() }
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = reader.by_ref().take(64 << 10).read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

fn read_head(reader: &mut impl BufRead) -> Option<(String, BTreeMap<String, String>)> {
    let first = read_line(reader)?;
    let mut headers = BTreeMap::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Some((first, headers));
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

/// A body in chunks, to its end.
fn read_chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&read_line(reader)?, 16).ok()?;
        let mut chunk = vec![0; size];
        reader.read_exact(&mut chunk).ok()?;
        body.extend(chunk);
        read_line(reader)?;
        if size == 0 {
            return Some(body);
        }
    }
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let (first, headers) = read_head(&mut reader)?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        return read_chunks(&mut reader).map(|body| Seen { method, path, headers, body });
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { method, path, headers, body })
}

/// Whoever hangs up in the middle of an answer has reasons that are none of ours.
fn reply(mut stream: &TcpStream, request: &Seen, reply: &Reply) {
    std::thread::sleep(reply.delay);
    let mut head = format!("HTTP/1.1 {} .\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    let body = if request.method == "HEAD" { &[][..] } else { &reply.body[..] };
    let body = &body[..reply.cut.unwrap_or(body.len()).min(body.len())];
    let (first, rest) = match &reply.held {
        Some((after, _)) => body.split_at((*after).min(body.len())),
        None => (body, &[][..]),
    };
    if stream.write_all(head.as_bytes()).and_then(|()| send(stream, first, reply.pace)).is_err() {
        return;
    }
    if let Some((_, go)) = &reply.held {
        let is_there = || stream.set_nonblocking(true).is_ok() && !matches!(stream.peek(&mut [0]), Ok(0));
        while !go.load(Ordering::SeqCst) && is_there() {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(stream.set_nonblocking(false));
    }
    drop(send(stream, rest, reply.pace));
}

fn send(mut stream: &TcpStream, body: &[u8], pace: Option<usize>) -> std::io::Result<()> {
    const TURNS: usize = 50;
    let Some(pace) = pace else { return stream.write_all(body) };
    for part in body.chunks((pace / TURNS).max(1)) {
        stream.write_all(part)?;
        std::thread::sleep(Duration::from_secs(1) / u32::try_from(TURNS).unwrap_or(1));
    }
    Ok(())
}
