//! Listening, connections, and the end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::auth::passwords;
use crate::cache::{Cache, rules};
use crate::direct::{Direct, Pieces};
use crate::http::Service;
use crate::http::body::Buffers;
use crate::keeper;
use crate::limits::Limits;
use crate::metrics::{self, Metrics};
use crate::pace::Paced;
use crate::store::{self, Store};
use crate::{Settings, auth, config, tls};

/// Connections at once; whoever comes later waits to be accepted.
const CONNECTIONS: usize = 1024;
/// Bytes of a request's head, and of its body that are read at once.
const HEAD: usize = 64 << 10;
/// Connections of those who monitor.
const MONITORS: usize = 16;
/// So long may the beginning of TLS take, at most.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Whoever monitors asks within so long.
const MONITORS_PATIENCE: Duration = Duration::from_secs(60);
/// Requests that are being answered when the server is told to end have so long.
const FAREWELL: Duration = Duration::from_secs(20);
/// Threads that wait for the disk. Beyond these, requests wait for one.
const WAITING_THREADS: usize = 48;

/// Why a server has not begun, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be used.
    #[error("open the registry's store")]
    Store(#[source] store::Error),
    /// The address cannot be had.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be spoken.
    #[error("prepare TLS")]
    Tls(#[source] tls::Error),
    /// The configuration is not to be followed.
    #[error("read the configuration of the registry")]
    Config(#[from] config::Error),
    /// The passwords cannot be checked.
    #[error("read who may log in")]
    Passwords(#[source] passwords::Error),
    /// The kernel refuses what a server needs.
    #[error("{attempt}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A server that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// Where clients reach it, with the port that was taken.
    pub address: SocketAddr,
    /// Where monitoring reaches it.
    pub metrics_address: Option<SocketAddr>,
    /// Whether they have to speak TLS.
    pub tls: bool,
}

/// Serves until SIGTERM or SIGINT, then answers what has been asked and returns. `ready` is called once, when clients
/// can connect.
///
/// # Errors
/// If it cannot begin.
pub fn serve(settings: Settings, ready: impl FnOnce(Listening)) -> Result<(), Error> {
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().min(4));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(WAITING_THREADS)
        .thread_stack_size(512 << 10)
        .thread_name("registry")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| Error::System { attempt: "start the threads of the server", source })?;
    // Its connections have executors of their own, which must not end within this one.
    let mut cache = None;
    let ended = runtime.block_on(run(settings, &mut cache, ready));
    // What still waits for the disk ends with the process; nothing of it was acknowledged.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(cache);
    ended
}

async fn run(
    settings: Settings,
    cache: &mut Option<Arc<Cache>>,
    ready: impl FnOnce(Listening),
) -> Result<(), Error> {
    let system = |attempt| move |source| Error::System { attempt, source };
    // Before anybody can know of the server and end it.
    let mut terminate = signal(SignalKind::terminate()).map_err(system("watch for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("watch for SIGINT"))?;
    let mut again = signal(SignalKind::hangup()).map_err(system("watch for SIGHUP"))?;
    let tls = settings.tls.as_ref().map(tls::acceptor).transpose().map_err(Error::Tls)?.map(Arc::new);
    let guard = auth::guard(settings.config.as_deref(), tls.is_some())?;
    let store = Arc::new(Store::open(&settings.root, settings.grace).map_err(Error::Store)?);
    let listen = |source| Error::Listen { address: settings.address, source };
    let listener = TcpListener::bind(settings.address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    warn_of_openness(address, guard.current().is_some(), tls.is_some());
    let monitored = match settings.metrics_address {
        Some(address) => {
            Some(TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?)
        }
        None => None,
    };
    let metrics_address = monitored.as_ref().and_then(|listener| listener.local_addr().ok());
    let metrics = Arc::new(Metrics::default());
    let rules = rules::read(settings.config.as_deref(), settings.proxy.as_deref(), &settings.client)?;
    let standing_in = Arc::new(Cache::new(rules, store.clone()));
    *cache = Some(Arc::clone(&standing_in));
    let patience = settings.patience;
    let service = Arc::new(Service {
        store: store.clone(),
        buffers: Arc::new(Buffers::default()),
        metrics: metrics.clone(),
        limits: Limits::new(settings.uploads_per_client),
        guard,
        cache: Arc::clone(&standing_in),
        sparse: settings.sparse_indexes,
        patience,
    });
    let keeper = tokio::spawn(keeper::keep(store, metrics.clone(), settings, standing_in));
    let monitor = monitored.map(|listener| tokio::spawn(monitor(listener, service.clone())));
    let (farewell, ending) = watch::channel(false);
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    ready(Listening { address, tls: tls.is_some(), metrics_address });
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = again.recv() => {
                tls.iter().for_each(|tls| tls.refresh());
                service.guard.refresh();
                service.cache.refresh();
                continue;
            }
        };
        let Some((stream, peer, seat)) = accepted else { continue };
        let (service, ending, open) = (service.clone(), ending.clone(), metrics.clone());
        let tls = tls.as_ref().map(|tls| tls.current());
        open.connections.fetch_add(1, Ordering::Relaxed);
        connections.spawn(async move {
            match tls {
                None => {
                    let pieces = Arc::new(Pieces::default());
                    let stream = Paced::new(Direct::new(stream, Arc::clone(&pieces)), patience);
                    converse(stream, peer, (service, Some(pieces)), ending).await;
                }
                Some(tls) => {
                    let accepted = tls.accept(Paced::new(stream, patience));
                    match tokio::time::timeout(HANDSHAKE.min(patience), accepted).await {
                        Ok(Ok(stream)) => converse(stream, peer, (service, None), ending).await,
                        Ok(Err(error)) => {
                            tracing::debug!(%peer, %error, "a client did not come to speak TLS")
                        }
                        Err(_) => tracing::debug!(%peer, "a client was too slow to speak TLS"),
                    }
                }
            }
            open.connections.fetch_sub(1, Ordering::Relaxed);
            drop(seat);
        });
        // Those that have ended leave no trace but memory.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    keeper.abort();
    monitor.iter().for_each(tokio::task::JoinHandle::abort);
    // Receivers live as long as their connections.
    farewell.send_replace(true);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, all_gone).await.is_err() {
        tracing::warn!("requests were cut, for the server is to end");
    }
    Ok(())
}

/// The next client, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let seat = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are written whole: waiting for more to send would only delay them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was lost at once");
            }
            Some((stream, peer.ip().to_canonical(), seat))
        }
        Err(error) => {
            // Out of descriptors, most likely: others have to end first.
            tracing::warn!(%error, "a connection was not accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// Answers monitoring, a few connections at a time.
async fn monitor(listener: TcpListener, service: Arc<Service>) {
    let room = Arc::new(Semaphore::new(MONITORS));
    loop {
        let Some((stream, _, seat)) = accept(&listener, &room).await else { continue };
        let service = service.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, std::convert::Infallible>(metrics::answer(&service, request).await) }
            });
            let mut connection = http1::Builder::new();
            connection.timer(TokioTimer::new()).header_read_timeout(MONITORS_PATIENCE).max_buf_size(HEAD);
            if let Err(error) = connection.serve_connection(TokioIo::new(stream), answer).await {
                tracing::debug!(%error, "a connection of the monitoring was cut");
            }
            drop(seat);
        });
    }
}

/// Says what a server beyond loopback gives away.
fn warn_of_openness(address: SocketAddr, access: bool, tls: bool) {
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    if !access {
        tracing::warn!(
            "everybody who can reach {address} may push and delete: a configuration with [auth] says who may"
        );
    } else if !tls {
        tracing::warn!(
            "passwords and tokens reach {address} unencrypted: give a certificate, or put TLS in front of it"
        );
    }
}

/// One connection, from its first request to its last. `pieces` are those that it sends as they are.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    (service, pieces): (Arc<Service>, Option<Arc<Pieces>>),
    mut ending: watch::Receiver<bool>,
) {
    let patience = service.patience;
    let answer = service_fn(move |request| {
        let (service, pieces) = (service.clone(), pieces.clone());
        async move {
            let mut response = service.answer(request, peer).await;
            if let Some(pieces) = &pieces {
                response.body_mut().send_by(pieces);
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Of the whole head, and of idle connections, too.
        .header_read_timeout(patience)
        .max_buf_size(HEAD)
        .max_headers(100)
        // Never copied together: what stands in for a piece of a file is known by where it lies.
        .writev(true)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        _ = ending.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // The client has gone, or has never spoken HTTP.
        tracing::debug!(%peer, %error, "a connection was cut");
    }
}
