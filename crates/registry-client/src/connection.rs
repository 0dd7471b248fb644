//! One connection: a socket, TLS over it, HTTP/1.1 over that. Each has an executor of one thread to itself, which runs only
//! while its owner waits in one of the calls below; so everything above here blocks, and who does not read is not sent to.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::backoff::Patience;
use crate::end::End;
use crate::error::{Error, Result};
use crate::payload::Payload;
use crate::proxy::Proxy;
use crate::url::Origin;

/// Bytes of all headers of an answer.
const HEADERS_LIMIT: usize = 128 << 10;

/// How a peer is reached.
pub(crate) struct Route<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) tls: &'a Arc<ClientConfig>,
    pub(crate) proxy: Option<&'a Proxy>,
}

/// An open connection, on which nothing is under way.
pub(crate) struct Connection {
    // Before the executor, which must outlive it.
    sender: SendRequest<Payload>,
    runtime: Runtime,
    /// Addresses are asked for in full of a proxy, which is told our credential for it each time.
    through: Option<(Origin, Option<String>)>,
    silence: Duration,
    /// Ends all waiting.
    end: Arc<End>,
    pub(crate) idle_since: Instant,
}

/// An answer of which the body is yet to be read.
pub(crate) struct Streaming {
    body: Incoming,
    connection: Connection,
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

impl Connection {
    /// Connects by the first address that answers.
    pub(crate) fn open(route: &Route<'_>, patience: &Patience, end: &Arc<End>) -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Connect { origin: route.origin.clone(), source })?;
        let peer = route.proxy.map_or(route.origin, |proxy| &proxy.origin);
        let addresses = resolve(peer, end)?;
        let connected = end.or(transport(route, peer, &addresses, patience.connect));
        let transport = runtime.block_on(connected).map_err(|_| Error::Ended)??;
        let handshake = async {
            let io = TokioIo::new(transport);
            let (sender, driver) =
                hyper::client::conn::http1::Builder::new().max_buf_size(HEADERS_LIMIT).handshake(io).await?;
            // It ends with the connection, or with the executor.
            drop(tokio::spawn(driver));
            Ok::<_, hyper::Error>(sender)
        };
        let sender = runtime.block_on(handshake).map_err(|error| Error::Connect {
            origin: route.origin.clone(),
            source: io::Error::other(error),
        })?;
        let through = route
            .proxy
            .filter(|_| !route.origin.is_secure)
            .map(|proxy| (route.origin.clone(), proxy.authorization.clone()));
        let (silence, end) = (patience.silence, Arc::clone(end));
        Ok(Self { sender, runtime, through, silence, end, idle_since: Instant::now() })
    }

    /// Whether the peer has not closed it meanwhile.
    pub(crate) fn is_usable(&mut self) -> bool {
        // One turn of the executor sees what has arrived since.
        self.runtime.block_on(tokio::task::yield_now());
        self.sender.is_ready() && !self.sender.is_closed()
    }

    /// Sends a request and waits until the answer begins.
    pub(crate) fn send(
        mut self,
        mut request: Request<Payload>,
        origin: &Origin,
    ) -> io::Result<Response<Streaming>> {
        let host = HeaderValue::from_str(&origin.authority()).map_err(io::Error::other)?;
        request.headers_mut().insert(HOST, host);
        if let Some((origin, authorization)) = &self.through {
            let whole = format!("{origin}{}", request.uri());
            *request.uri_mut() = whole.parse::<Uri>().map_err(io::Error::other)?;
            if let Some(authorization) = authorization {
                let value = HeaderValue::from_str(authorization).map_err(io::Error::other)?;
                request.headers_mut().insert(PROXY_AUTHORIZATION, value);
            }
        }
        let (silence, passed) = (self.silence, request.body().passed());
        let answer = self.runtime.block_on(self.end.or(async {
            let mut sent = std::pin::pin!(self.sender.send_request(request));
            let mut before = 0;
            loop {
                if let Ok(answer) = timeout(silence, sent.as_mut()).await {
                    return answer.map_err(ended);
                }
                // A long body is no silence, as long as it is taken.
                let now = passed.as_ref().map_or(0, |passed| passed.bytes());
                if now == before {
                    return Err(too_silent(silence));
                }
                before = now;
            }
        }))??;
        Ok(answer.map(|body| Streaming { body, connection: self }))
    }
}

impl Streaming {
    /// The next part of the body; `None` at its end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Self { body, connection } = self;
        let silence = connection.silence;
        connection.runtime.block_on(connection.end.or(async {
            loop {
                let frame = timeout(silence, body.frame()).await.map_err(|_| too_silent(silence))?;
                match frame {
                    None => return Ok(None),
                    Some(Err(error)) => return Err(ended(error)),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if data.is_empty() => {}
                        Ok(data) => return Ok(Some(data)),
                        // Trailers say nothing that is wanted.
                        Err(_) => {}
                    },
                }
            }
        }))?
    }

    /// The connection, free for another request. The body must have been read to its end.
    pub(crate) fn into_connection(self) -> Connection {
        let Self { body, mut connection } = self;
        drop(body);
        connection.idle_since = Instant::now();
        connection
    }
}

fn too_silent(silence: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing was heard for {} s", silence.as_secs_f64()))
}

/// The library's errors say little beyond their causes.
fn ended(error: hyper::Error) -> io::Error {
    if error.is_incomplete_message() {
        return io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed in the middle");
    }
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    match source {
        Some(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed in the middle")
        }
        Some(source) => io::Error::new(source.kind(), source.to_string()),
        None => io::Error::other(error),
    }
}

/// The addresses of a peer. The system's look-up cannot be ended: it is left alone, in a thread of its own, by whoever does not want
/// to wait for it any more.
fn resolve(peer: &Origin, end: &End) -> Result<Vec<SocketAddr>> {
    let failed = |source| Error::Connect { origin: peer.clone(), source };
    let unknown = |error| failed(io::Error::new(io::ErrorKind::NotFound, error));
    let name = (peer.host.clone(), peer.port);
    let look_up = move || -> io::Result<Vec<SocketAddr>> {
        Ok((name.0.as_str(), name.1).to_socket_addrs()?.take(16).collect())
    };
    let is_number = peer.host.parse::<std::net::IpAddr>().is_ok();
    let addresses = if is_number { look_up() } else { aside(look_up, end)? }.map_err(unknown)?;
    if addresses.is_empty() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(addresses)
}

/// Has something done by a thread, and waits for it unless the end is wished.
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static, end: &End) -> Result<T> {
    /// Between two looks at whether to go on.
    const TURN: Duration = Duration::from_millis(20);
    let (done, wait) = std::sync::mpsc::sync_channel(1);
    // Whoever does not wait any more does not want to know.
    linux::thread::spawn("look up a name", move || drop(done.send(work())))?;
    loop {
        match wait.recv_timeout(TURN) {
            Ok(found) => return Ok(found),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => end.check()?,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Err(Error::Ended),
        }
    }
}

async fn transport(
    route: &Route<'_>,
    peer: &Origin,
    addresses: &[SocketAddr],
    patience: Duration,
) -> Result<Box<dyn Transport>> {
    let origin = route.origin;
    let failed = |source| Error::Connect { origin: origin.clone(), source };
    let slow = || {
        failed(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} s", patience.as_secs_f64()),
        ))
    };
    let mut last = None;
    let mut stream = None;
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(connected)) => {
                stream = Some(connected);
                break;
            }
            Ok(Err(error)) => last = Some(Error::Connect { origin: peer.clone(), source: error }),
            Err(_) => last = Some(slow()),
        }
    }
    let Some(mut stream) = stream else { return Err(last.unwrap_or_else(slow)) };
    // Requests are small and waited for.
    drop(stream.set_nodelay(true));
    if !origin.is_secure {
        return Ok(Box::new(stream));
    }
    if let Some(proxy) = route.proxy {
        stream = timeout(patience, tunnel(stream, proxy, origin)).await.map_err(|_| slow())??;
    }
    let name = ServerName::try_from(origin.host.clone())
        .map_err(|error| Error::Tls { origin: origin.clone(), source: io::Error::other(error) })?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(route.tls));
    let stream = timeout(patience, connector.connect(name, stream)).await.map_err(|_| slow())?;
    // One that hangs up was reached, and does not want to be talked to: that passes.
    let is_tls =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other);
    let stream = stream.map_err(|source| match is_tls(&source) {
        true => Error::Tls { origin: origin.clone(), source },
        false => failed(source),
    })?;
    Ok(Box::new(stream))
}

/// Has the proxy connect us (RFC 9110, 9.3.6).
async fn tunnel(stream: TcpStream, proxy: &Proxy, origin: &Origin) -> Result<TcpStream> {
    let failed = |error: hyper::Error| Error::Connect { origin: proxy.origin.clone(), source: ended(error) };
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let driver = tokio::spawn(driver.with_upgrades());
    let host = if origin.host.contains(':') { format!("[{}]", origin.host) } else { origin.host.clone() };
    let target = format!("{host}:{}", origin.port);
    let mut request = Request::builder().method(Method::CONNECT).uri(&target).header(HOST, &target);
    if let Some(authorization) = &proxy.authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    let request = request
        .body(Payload::Whole(Bytes::new()))
        .map_err(|error| Error::Connect { origin: proxy.origin.clone(), source: io::Error::other(error) })?;
    let answer = sender.send_request(request).await.map_err(failed)?;
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        driver.abort();
        return Err(Error::Proxy { proxy: proxy.origin.clone(), origin: origin.clone(), status });
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(failed)?;
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().map_err(|_| Error::Connect {
        origin: proxy.origin.clone(),
        source: io::Error::other("the tunnel cannot be used"),
    })?;
    if !parts.read_buf.is_empty() {
        // TLS lets the caller speak first: whoever speaks before is not whom we want.
        let source = io::Error::new(io::ErrorKind::InvalidData, "the proxy speaks before it is spoken to");
        return Err(Error::Connect { origin: proxy.origin.clone(), source });
    }
    Ok(parts.io.into_inner())
}
