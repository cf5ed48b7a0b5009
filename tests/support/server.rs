//! Serves anything over HTTP/1.1, and over HTTP/2 to those who begin with its preface.

use std::{io, net::SocketAddr};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt};
use tower_webhook::BoxError;

use super::let_go::{LetGo, letting_go};

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) let_go: LetGo,
}

pub(crate) async fn serve<S, B>(service: S) -> Server
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, let_go) = letting_go();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (service, tell) = (service.clone(), tell.clone());
            let service = tell.layer(service);
            let service = service_fn(move |request| {
                let answer = service.clone().oneshot(request);
                async { answer.await.map_err(io::Error::other) }
            });
            tokio::spawn(async {
                let server = auto::Builder::new(TokioExecutor::new());
                let socket = TokioIo::new(socket);
                drop(server.serve_connection_with_upgrades(socket, service).await);
            });
        }
    });
    Server { address, let_go }
}
