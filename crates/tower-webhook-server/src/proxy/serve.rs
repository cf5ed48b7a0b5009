use std::{
    convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use futures::{
    TryFutureExt as _,
    future::{Either, ready},
};
use http_body_util::{self as util, Full};
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
use tower_webhook::{Dispatcher, WebhookLayer, keys::Keys, status, status::Status};

use super::{
    answer::{Body as Answer, own},
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
    /// The path that is the proxy's own, and what answers there.
    keys: Option<(String, Keys)>,
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
    pub(crate) fn new(path: &str, dispatcher: &Dispatcher) -> Self {
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
        keys: Option<(String, Keys)>,
    ) -> Self {
        Self {
            layer,
            proxy,
            keys,
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

    /// The layer and the proxy, for what is fit for both; the keys have their path for themselves.
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
        let keys = self.keys.clone();
        let webhook = self.layer.layer(service_fn(move |request| {
            proxy.clone().forward(request, peer.ip())
        }));
        let status = self.status.clone();
        service_fn(move |request: Request<Incoming>| {
            let http1 = request.version() <= Version::HTTP_11;
            let ambiguous = http1 && caller.heads().next_is_ambiguous();
            let own_answer = match call::check(&request, ambiguous) {
                Err(refusal) => own(refusal.status, refusal.text),
                Ok(()) => {
                    if let Some(StatusAt { status, .. }) =
                        status.as_ref().filter(|status| status.serves(&request))
                    {
                        let answer = status.clone().oneshot(request);
                        let answer = answer.map_ok(|response| {
                            response.map(|body| util::Either::Right(util::Either::Left(body)))
                        });
                        return Either::Right(Either::Left(answer));
                    }
                    let is_here = |path: &str| request.uri().path() == path;
                    let Some((_, keys)) = keys.as_ref().filter(|(path, _)| is_here(path)) else {
                        let answer = webhook.clone().oneshot(request);
                        let answer = answer.map_ok(|response| response.map(util::Either::Left));
                        return Either::Left(answer);
                    };
                    let answer = keys.answer(request.method(), request.headers());
                    answer.map(|set| Answer::Own(Full::from(set.to_bytes())))
                }
            };
            let answer = own_answer.map(|body| util::Either::Right(util::Either::Right(body)));
            Either::Right(Either::Right(ready(Ok(answer))))
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
