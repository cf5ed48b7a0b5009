use std::{future::Future, net::SocketAddr, pin::pin, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, service_fn};
use tower_webhook::WebhookLayer;

use crate::forward::Proxy;

/// Serves until `stop` resolves, and returns the connections that are open then.
pub(crate) async fn serve(
    listener: &TcpListener,
    layer: &WebhookLayer,
    proxy: &Proxy,
    stop: impl Future<Output = ()>,
) -> GracefulShutdown {
    let mut server = auto::Builder::new(TokioExecutor::new());
    // The timer lets a connection go on which no request head comes.
    server
        .http1()
        .timer(TokioTimer::new())
        .preserve_header_case(true);
    server.http2().timer(TokioTimer::new());

    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let (socket, peer) = tokio::select! {
            () = &mut stop => return connections,
            accepted = accept(listener) => accepted,
        };
        // Otherwise a small chunk of a stream may wait for the one before it to be acknowledged.
        let _ = socket.set_nodelay(true);
        let proxy = proxy.clone();
        let service = layer.layer(service_fn(move |request| {
            proxy.clone().forward(request, peer.ip())
        }));
        let connection = server
            .serve_connection_with_upgrades(TokioIo::new(socket), TowerToHyperService::new(service))
            .into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, %peer, "a connection broke off");
            }
        });
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
