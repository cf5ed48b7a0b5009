//! The service behind, and the connections to it that are kept.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{Request, Response, body::Incoming};
use hyper_util::{client::legacy::connect::Connection as _, rt::TokioIo};
use tokio::{sync::Mutex as AsyncMutex, time::timeout};
use tower::Service as _;

use super::{
    connection::{BoxError, Connection, Failed},
    link::Stream,
    replay::Sending,
    tls::{CONNECT_TIMEOUT, Connector},
    upstream::Upstream,
};

/// Shorter than services keep theirs: one that is just being closed would lose a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Service(Arc<Shared>);

struct Shared {
    upstream: Upstream,
    connector: Connector,
    made: AtomicU64,
    kept: Kept,
}

enum Kept {
    /// The one that was used last is at the end.
    Http1(Mutex<Vec<Idle>>),
    /// One for all, also while it is in use.
    Http2(AsyncMutex<Option<Idle>>),
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Service {
    pub(crate) fn new(upstream: Upstream, connector: Connector, http2: bool) -> Self {
        let shared = Arc::new(Shared {
            upstream,
            connector,
            made: AtomicU64::new(0),
            kept: match http2 {
                true => Kept::Http2(AsyncMutex::default()),
                false => Kept::Http1(Mutex::default()),
            },
        });
        tokio::spawn(close_idle(Arc::downgrade(&shared)));
        Self(shared)
    }

    pub(crate) fn upstream(&self) -> &Upstream {
        &self.0.upstream
    }

    pub(crate) fn speaks_http2(&self) -> bool {
        matches!(self.0.kept, Kept::Http2(_))
    }

    /// A connection that is kept, or a new one: none that was kept before `failed` did.
    pub(crate) async fn connection(&self, failed: Option<u64>) -> Result<Connection, BoxError> {
        let shared = &*self.0;
        match &shared.kept {
            Kept::Http1(kept) => {
                let idle = match failed {
                    None => take_idle(&mut lock(kept)),
                    Some(_) => None,
                };
                match idle {
                    Some(connection) => Ok(connection),
                    None => Connection::http1(shared.id(), shared.connect().await?).await,
                }
            }
            // Whoever is first connects, and the others wait for that.
            Kept::Http2(kept) => timeout(CONNECT_TIMEOUT, async {
                let mut kept = kept.lock().await;
                if let Some(idle) = &mut *kept
                    && Some(idle.connection.id) != failed
                    && idle.connection.is_ready()
                    && let Some(connection) = idle.connection.share()
                {
                    idle.since = Instant::now();
                    return Ok(connection);
                }
                let connection = Connection::http2(shared.id(), shared.connect().await?).await?;
                *kept = connection.share().map(Idle::new);
                Ok(connection)
            })
            .await
            .map_err(|_| "no connection in time")?,
        }
    }

    /// Sends a request, and keeps the connection once that is over.
    pub(crate) async fn send(
        &self,
        mut connection: Connection,
        request: Request<Sending>,
    ) -> Result<Response<Incoming>, Failed> {
        let response = connection.send(request).await?;
        if !self.speaks_http2() {
            tokio::spawn(self.clone().keep(connection));
        }
        Ok(response)
    }

    async fn keep(self, mut connection: Connection) {
        if connection.is_free().await
            && let Kept::Http1(kept) = &self.0.kept
        {
            lock(kept).push(Idle::new(connection));
        }
    }
}

impl Shared {
    fn id(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    async fn connect(&self) -> Result<Stream, BoxError> {
        let connecting = self.connector.clone().call(self.upstream.uri());
        let stream = timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| "no connection in time")??;
        let http2 = matches!(self.kept, Kept::Http2(_));
        match self.upstream.is_https() && http2 && !stream.connected().is_negotiated_h2() {
            true => Err("the service offers no HTTP/2 in TLS".into()),
            false => Ok(TokioIo::new(stream)),
        }
    }
}

impl Idle {
    fn new(connection: Connection) -> Self {
        let since = Instant::now();
        Self { connection, since }
    }

    fn is_good(&self) -> bool {
        self.since.elapsed() < IDLE_TIMEOUT && self.connection.is_ready()
    }
}

fn take_idle(kept: &mut Vec<Idle>) -> Option<Connection> {
    while let Some(idle) = kept.pop() {
        if idle.is_good() {
            return Some(idle.connection);
        }
    }
    None
}

/// Ends when the service is no longer used.
async fn close_idle(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT / 4).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match &shared.kept {
            Kept::Http1(kept) => lock(kept).retain(Idle::is_good),
            // Calls under way keep it open.
            Kept::Http2(kept) => {
                kept.lock().await.take_if(|idle| !idle.is_good());
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
