//! The connections of both listeners: callers' and operators'.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tower::{Service, ServiceExt as _};

/// How long a connection may be open without a request. hyper waits for as long for the rest of a head that has
/// begun, but for ever for the first byte.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a connection of HTTP/2 is asked whether anybody is still there.
const PING: Duration = Duration::from_secs(30);

/// The next connection.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Such as too many open files: some may close meanwhile.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// What serves connections that do not go on where nobody is at the other end.
pub(crate) fn server() -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    let mut http2 = server.http2();
    http2.timer(TokioTimer::new()).keep_alive_interval(PING);
    server
}

/// Whether a connection has had a request.
#[derive(Clone, Default)]
pub(crate) struct FirstRequest(Arc<AtomicBool>);

impl FirstRequest {
    /// The service that the connection is served with.
    pub(crate) fn noted_by<R, S: Service<R> + Clone>(
        &self,
        service: S,
    ) -> impl Service<R, Response = S::Response, Error = S::Error, Future = S::Future> + Clone + use<R, S>
    {
        let Self(has_come) = self.clone();
        service.map_request(move |request| {
            has_come.store(true, Ordering::Relaxed);
            request
        })
    }

    /// Resolves where none has come for too long.
    pub(crate) async fn is_missing(&self) {
        sleep(SILENCE).await;
        if self.0.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::timeout,
    };

    use super::*;

    /// What HTTP/2 begins with, and a frame of settings.
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    /// Whoever opens connections to it and asks for nothing keeps none of them. The clock is paused.
    pub(crate) async fn ends_what_is_silent(address: SocketAddr) {
        for sent in [&b""[..], b"GET", PREFACE] {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(sent).await.unwrap();
            let mut rest = Vec::new();
            let ended = timeout(Duration::from_secs(3_600), socket.read_to_end(&mut rest)).await;
            assert!(ended.is_ok(), "{sent:?}");
        }
    }
}
