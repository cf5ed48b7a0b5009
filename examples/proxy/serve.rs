use std::{
    convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use futures::{
    TryFutureExt as _,
    future::{Either, ready},
};
use http_body_util as util;
use hyper::{
    Request, Response, Version,
    body::{Body, Incoming},
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt as _, service_fn};
use tower_webhook::{Dispatcher, WebhookLayer, status, status::Status};

use crate::{
    answer::own,
    call,
    caller::Caller,
    connection::BoxError,
    forward::Proxy,
    headers::{HEADER_BYTES, HEADER_LINES},
};

/// What every connection of a caller is served with.
pub(crate) struct Server {
    layer: WebhookLayer,
    proxy: Proxy,
    /// See [`Caller::left`].
    patience: Duration,
    status: Option<StatusAt>,
}

/// Where callers are told what has become of their calls.
#[derive(Clone)]
pub(crate) struct StatusAt {
    path: Arc<str>,
    status: Status,
}

impl StatusAt {
    pub(crate) fn new(path: String, dispatcher: &Dispatcher) -> Self {
        Self {
            path: path.into(),
            status: status(dispatcher),
        }
    }

    fn serves<B>(&self, request: &Request<B>) -> bool {
        let below = request.uri().path().strip_prefix(&*self.path);
        below.is_some_and(|below| below.starts_with('/'))
    }
}

impl Server {
    pub(crate) fn new(
        layer: WebhookLayer,
        proxy: Proxy,
        patience: Duration,
        status: Option<StatusAt>,
    ) -> Self {
        Self {
            layer,
            proxy,
            patience,
            status,
        }
    }

    /// Serves until `stop` resolves, and returns the connections that are open then.
    pub(crate) async fn serve(
        &self,
        listener: &TcpListener,
        stop: impl Future<Output = ()>,
    ) -> GracefulShutdown {
        let mut server = auto::Builder::new(TokioExecutor::new());
        // The timer lets a connection go on which no request head comes.
        server
            .http1()
            .timer(TokioTimer::new())
            .preserve_header_case(true)
            .max_headers(HEADER_LINES)
            // Otherwise hyper takes who sends no more for one who has left.
            .half_close(true);
        server
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES);

        let connections = GracefulShutdown::new();
        let patience = self.patience;
        let mut stop = pin!(stop);
        loop {
            let (socket, peer) = tokio::select! {
                () = &mut stop => return connections,
                accepted = accept(listener) => accepted,
            };
            // Otherwise a small chunk of a stream may wait for the one before it to be acknowledged.
            let _ = socket.set_nodelay(true);
            let (caller, io) = Caller::new(socket);
            let service = self.service(peer, Arc::clone(&caller));
            let service = TowerToHyperService::new(service);
            let connection = server
                .serve_connection_with_upgrades(TokioIo::new(io), service)
                .into_owned();
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                tokio::select! {
                    ended = connection => if let Err(error) = ended {
                        tracing::debug!(error, %peer, "a connection broke off");
                    },
                    () = caller.left(patience) => tracing::debug!(%peer, "a caller has left"),
                }
            });
        }
    }

    /// The layer and the proxy, for what is fit for both.
    fn service(
        &self,
        peer: SocketAddr,
        caller: Arc<Caller>,
    ) -> impl tower::Service<
        Request<Incoming>,
        Response = Response<impl Body<Data = Bytes, Error = BoxError> + Send + use<>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + use<> {
        let proxy = self.proxy.clone();
        let webhook = self.layer.layer(service_fn(move |request| {
            proxy.clone().forward(request, peer.ip())
        }));
        let status = self.status.clone();
        service_fn(move |request: Request<Incoming>| {
            let http1 = request.version() <= Version::HTTP_11;
            let ambiguous = http1 && caller.heads().next_is_ambiguous();
            match call::check(&request, ambiguous) {
                Ok(()) => match status.as_ref().filter(|status| status.serves(&request)) {
                    None => {
                        let answer = webhook.clone().oneshot(request);
                        Either::Left(answer.map_ok(|response| response.map(util::Either::Left)))
                    }
                    Some(StatusAt { status, .. }) => {
                        let answer = status.clone().oneshot(request);
                        let answer = answer.map_ok(|response| {
                            response.map(|body| util::Either::Right(util::Either::Left(body)))
                        });
                        Either::Right(Either::Left(answer))
                    }
                },
                Err(refusal) => {
                    let answer = own(refusal.status, refusal.text);
                    let answer = answer.map(|body| util::Either::Right(util::Either::Right(body)));
                    Either::Right(Either::Right(ready(Ok(answer))))
                }
            }
        })
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Such as too many open files: some may close meanwhile.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}
