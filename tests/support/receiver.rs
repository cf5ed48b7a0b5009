//! A receiver of webhooks that notes what it gets.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedReceiver},
};

use super::soon;

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    address: SocketAddr,
    received: UnboundedReceiver<Received>,
}

impl Received {
    /// The one value of this header, as text.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().unwrap(),
            (first, _) => panic!(
                "{name}: {}",
                if first.is_some() { "twice" } else { "missing" }
            ),
        }
    }
}

impl Receiver {
    /// Takes everything.
    pub(crate) async fn start() -> Self {
        Self::answering(|_| StatusCode::OK).await
    }

    pub(crate) async fn answering(
        script: impl Fn(&Received) -> StatusCode + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (note, received) = mpsc::unbounded_channel();
        let script = Arc::new(script);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (note, script) = (note.clone(), Arc::clone(&script));
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (note, script) = (note.clone(), Arc::clone(&script));
                    async move {
                        let received = read(request).await;
                        let mut response = Response::new(Empty::<Bytes>::new());
                        *response.status_mut() = script(&received);
                        let _ = note.send(received);
                        Ok::<_, Infallible>(response)
                    }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), answer);
                tokio::spawn(async { drop(connection.await) });
            }
        });
        Self { address, received }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn next(&mut self) -> Received {
        soon("a webhook", self.received.recv()).await.unwrap()
    }

    /// What it got and was not asked for yet.
    pub(crate) fn rest(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.received.try_recv().ok()).collect()
    }
}

async fn read(request: Request<Incoming>) -> Received {
    let (head, body) = request.into_parts();
    Received {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}
