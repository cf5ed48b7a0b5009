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

use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt as _, service_fn};
use tower_webhook::{Dispatcher, WebhookLayer, keys::Keys, status, status::Status};

use super::{
    answer::{Body as Answer, own},
    call,
    caller::Caller,
    connection::BoxError,
    forward::Proxy,
    headers::{HEADER_BYTES, HEADER_LINES},
    interim::Turn,
};
use crate::connections::{self, FirstRequest, accept};

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
        let mut server = connections::server();
        server
            .http1()
            .preserve_header_case(true)
            .max_headers(HEADER_LINES)
            // Otherwise hyper takes who sends no more for one who has left.
            .half_close(true);
        // Never `pipeline_flush`: `Interim` relies on that.
        server.http2().max_header_list_size(HEADER_BYTES);

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
            let first = FirstRequest::default();
            let service = TowerToHyperService::new(first.noted_by(service));
            let connection = server
                .serve_connection_with_upgrades(TokioIo::new(io), service)
                .into_owned();
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                tokio::select! {
                    ended = connection => if let Err(error) = ended {
                        tracing::debug!(error, %peer, "a connection broke off");
                    },
                    () = first.is_missing() => tracing::debug!(%peer, "a connection brought no request"),
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
        service_fn(move |mut request: Request<Incoming>| {
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
                        // Who speaks HTTP/1.0 knows of nothing before an answer.
                        let hears = request.version() == Version::HTTP_11;
                        let turn = hears.then(|| caller.interim().begin());
                        if let Some(turn) = &turn {
                            request.extensions_mut().insert(turn.clone());
                        }
                        let answer = webhook.clone().oneshot(request);
                        let answer = answer.map_ok(move |response| {
                            turn.into_iter().for_each(Turn::end);
                            response.map(util::Either::Left)
                        });
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::{
        connections::tests::ends_what_is_silent,
        proxy::{service::Service, tls, upstream::Upstream},
    };

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_ended() {
        let upstream: Upstream = "http://127.0.0.1:1".parse().unwrap();
        let connector = tls::connector(&upstream, false, None).unwrap();
        let proxy = Proxy::new(Service::new(upstream, connector, false), None);
        let patience = Duration::from_secs(3);
        let server = Server::new(WebhookLayer::new(), proxy, patience, None, None);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { server.serve(&listener, pending()).await });
        ends_what_is_silent(address).await;
    }
}
