//! Connections to the service behind.

use std::{
    error::Error,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::{
    client::legacy::connect::HttpConnector,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{sync::Mutex as AsyncMutex, time::timeout};
use tower::Service as _;

use crate::{
    limits::{HEADER_BYTES, HEADER_LINES},
    link::{Link, Watch},
    replay::Sending,
    upstream::Upstream,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than services keep theirs: one that is just being closed would lose a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The service, and the connections to it that are kept. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service(Arc<Shared>);

struct Shared {
    upstream: Upstream,
    connector: HttpConnector,
    kept: Kept,
    made: AtomicU64,
}

enum Kept {
    /// The one used last at the end.
    Http1(Mutex<Vec<Idle<OneByOne>>>),
    /// One for all, also while it is in use.
    Http2(AsyncMutex<Option<Idle<Connection>>>),
}

struct Idle<T> {
    connection: T,
    since: Instant,
}

/// A connection that is ready for a request.
pub(crate) struct Connection {
    pub(crate) id: u64,
    kind: Kind,
}

enum Kind {
    Http1(OneByOne),
    Http2(http2::SendRequest<Sending>),
}

struct OneByOne {
    sender: http1::SendRequest<Sending>,
    watch: Arc<Watch>,
    used: bool,
}

/// No answer.
pub(crate) struct Failed {
    pub(crate) seen: Seen,
    pub(crate) error: BoxError,
}

/// Whether the service has seen the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    No,
    /// A kept connection has ended without a byte of an answer: most often it was just closing.
    HardlyAny,
    Perhaps,
}

impl Service {
    pub(crate) fn new(upstream: Upstream, http2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let kept = match http2 {
            true => Kept::Http2(AsyncMutex::default()),
            false => Kept::Http1(Mutex::default()),
        };
        let shared = Arc::new(Shared {
            upstream,
            connector,
            kept,
            made: AtomicU64::new(0),
        });
        tokio::spawn(close_idle(Arc::downgrade(&shared)));
        Self(shared)
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    pub(crate) fn http2(&self) -> bool {
        matches!(self.0.kept, Kept::Http2(_))
    }

    /// One that is kept, or a new one; a new one in any case after `failed`.
    pub(crate) async fn connection(&self, failed: Option<u64>) -> Result<Connection, BoxError> {
        match &self.0.kept {
            Kept::Http1(kept) => {
                if failed.is_none() {
                    let mut kept = lock(kept);
                    while let Some(Idle { connection, since }) = kept.pop() {
                        if since.elapsed() < IDLE_TIMEOUT && connection.sender.is_ready() {
                            return Ok(self.0.number(Kind::Http1(connection)));
                        }
                    }
                }
                let (link, watch) = self.0.connect().await?;
                let (mut sender, connection) = http1::Builder::new()
                    .preserve_header_case(true)
                    .max_headers(HEADER_LINES)
                    .ignore_invalid_headers_in_responses(true)
                    .allow_obsolete_multiline_headers_in_responses(true)
                    .allow_spaces_after_header_name_in_responses(true)
                    .handshake(link)
                    .await?;
                tokio::spawn(connection.with_upgrades());
                sender.ready().await?;
                Ok(self.0.number(Kind::Http1(OneByOne {
                    sender,
                    watch,
                    used: false,
                })))
            }
            // Whoever is first connects, and the others wait for that.
            Kept::Http2(kept) => timeout(CONNECT_TIMEOUT, async {
                let mut kept = kept.lock().await;
                if let Some(idle) = &mut *kept
                    && Some(idle.connection.id) != failed
                    && let Kind::Http2(sender) = &idle.connection.kind
                    && !sender.is_closed()
                {
                    idle.since = Instant::now();
                    return Ok(idle.connection.share());
                }
                let (link, _watch) = self.0.connect().await?;
                let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_header_list_size(HEADER_BYTES)
                    .handshake(link)
                    .await?;
                tokio::spawn(connection);
                sender.ready().await?;
                let connection = self.0.number(Kind::Http2(sender));
                let shared = connection.share();
                *kept = Some(Idle {
                    connection,
                    since: Instant::now(),
                });
                Ok(shared)
            })
            .await
            .map_err(|_| "no connection in time")?,
        }
    }

    /// Sends a request, and keeps the connection once that is over.
    pub(crate) async fn send(
        &self,
        connection: Connection,
        request: Request<Sending>,
    ) -> Result<Response<Incoming>, Failed> {
        match connection.kind {
            Kind::Http2(mut sender) => sender.try_send_request(request).await.map_err(|failed| {
                let (unsent, error) = parts(failed);
                let seen = if unsent || is_unprocessed(&error) {
                    Seen::No
                } else {
                    Seen::Perhaps
                };
                Failed::new(seen, error)
            }),
            Kind::Http1(mut line) => {
                line.watch.next_answer();
                match line.sender.try_send_request(request).await {
                    Ok(response) => {
                        tokio::spawn(self.clone().keep(line));
                        Ok(response)
                    }
                    Err(failed) => {
                        let (unsent, error) = parts(failed);
                        let seen = if unsent {
                            Seen::No
                        } else if line.used && !line.watch.has_answered() && !error.is_user() {
                            Seen::HardlyAny
                        } else {
                            Seen::Perhaps
                        };
                        Err(Failed::new(seen, error))
                    }
                }
            }
        }
    }

    async fn keep(self, mut line: OneByOne) {
        if line.sender.ready().await.is_err() {
            return;
        }
        line.used = true;
        if let Kept::Http1(kept) = &self.0.kept {
            lock(kept).push(Idle {
                connection: line,
                since: Instant::now(),
            });
        }
    }
}

impl Shared {
    async fn connect(&self) -> Result<(TokioIo<Link>, Arc<Watch>), BoxError> {
        let stream = self.connector.clone().call(self.upstream.uri()).await?;
        let (link, watch) = Link::new(stream.into_inner());
        Ok((TokioIo::new(link), watch))
    }

    fn number(&self, kind: Kind) -> Connection {
        let id = self.made.fetch_add(1, Ordering::Relaxed);
        Connection { id, kind }
    }

    async fn close_idle(&self) {
        match &self.kept {
            Kept::Http1(kept) => {
                lock(kept).retain(|idle| {
                    idle.since.elapsed() < IDLE_TIMEOUT && idle.connection.sender.is_ready()
                });
            }
            // Calls under way keep theirs.
            Kept::Http2(kept) => {
                let mut kept = kept.lock().await;
                kept.take_if(|idle| idle.since.elapsed() >= IDLE_TIMEOUT);
            }
        }
    }
}

impl Connection {
    /// Another way to the same connection, which HTTP/2 alone has.
    fn share(&self) -> Self {
        match &self.kind {
            Kind::Http2(sender) => Self {
                id: self.id,
                kind: Kind::Http2(sender.clone()),
            },
            Kind::Http1(_) => unreachable!("one request at a time"),
        }
    }
}

impl Failed {
    fn new(seen: Seen, error: hyper::Error) -> Self {
        let error = error.into();
        Self { seen, error }
    }
}

async fn close_idle(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT / 4).await;
        match shared.upgrade() {
            Some(shared) => shared.close_idle().await,
            None => return,
        }
    }
}

/// Whether the request has come back unsent, and why.
fn parts<B>(mut failed: TrySendError<Request<B>>) -> (bool, hyper::Error) {
    (failed.take_message().is_some(), failed.into_error())
}

/// The service says that it has not looked at the request (RFC 9113, 8.7).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let Some(error) = error
        .source()
        .and_then(|error| error.downcast_ref::<h2::Error>())
    else {
        return false;
    };
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (refused || error.is_go_away())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
