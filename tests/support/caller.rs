//! A caller with one connection of its own.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::soon;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    H1,
    H2,
}

pub(crate) const BOTH: [Protocol; 2] = [Protocol::H1, Protocol::H2];

pub(crate) struct Caller {
    server: SocketAddr,
    sender: Sender,
    tasks: Tasks,
}

enum Sender {
    H1(http1::SendRequest<Full<Bytes>>),
    H2(http2::SendRequest<Full<Bytes>>),
}

/// A whole answer, as far as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Caller {
    pub(crate) async fn connect(server: SocketAddr, protocol: Protocol) -> Self {
        let socket = TokioIo::new(TcpStream::connect(server).await.unwrap());
        let tasks = Tasks::default();
        let sender = match protocol {
            Protocol::H1 => {
                let (sender, connection) = http1::handshake(socket).await.unwrap();
                tasks.execute(connection.with_upgrades());
                Sender::H1(sender)
            }
            Protocol::H2 => {
                let (sender, connection) = http2::handshake(tasks.clone(), socket).await.unwrap();
                tasks.execute(connection);
                Sender::H2(sender)
            }
        };
        Self {
            server,
            sender,
            tasks,
        }
    }

    /// A request for this target, a path and a query.
    pub(crate) fn request(&self, method: Method, target: &str) -> Request<Full<Bytes>> {
        let server = self.server;
        let builder = Request::builder().method(method);
        let builder = match self.sender {
            Sender::H1(_) => builder.uri(target).header(HOST, server.to_string()),
            Sender::H2(_) => builder.uri(format!("http://{server}{target}")),
        };
        builder.body(Full::default()).unwrap()
    }

    /// Sends a request; what is returned need not be polled for that.
    pub(crate) fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + use<> {
        let (h1, h2) = match &mut self.sender {
            Sender::H1(sender) => (Some(sender.send_request(request)), None),
            Sender::H2(sender) => (None, Some(sender.send_request(request))),
        };
        async {
            match (h1, h2) {
                (Some(answer), _) => soon("an answer", answer).await,
                (None, Some(answer)) => soon("an answer", answer).await,
                (None, None) => unreachable!("a caller speaks one protocol"),
            }
        }
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        let request = self.request(Method::GET, target);
        self.call(request).await
    }

    /// A request whose answer is whole.
    pub(crate) async fn call(&mut self, request: Request<Full<Bytes>>) -> Answer {
        Answer::read(self.send(request).await.unwrap()).await
    }

    /// Hangs up: closes the socket, whatever is under way.
    pub(crate) async fn leave(self) {
        let mut tasks = std::mem::take(&mut *self.tasks.0.lock().unwrap());
        tasks.shutdown().await;
    }
}

/// Runs a connection, which has a task or several, until the caller leaves.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock().unwrap();
        tasks.spawn(async { drop(task.await) });
    }
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = soon("the body", body.collect()).await.unwrap();
        Self {
            status: head.status,
            headers: head.headers,
            trailers: body.trailers().cloned(),
            body: body.to_bytes(),
        }
    }
}

/// The next frame of data, as text.
pub(crate) async fn next_text(body: &mut Incoming) -> String {
    let frame = soon("a frame", body.frame()).await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

/// Sends these bytes and reads until the server closes the connection.
pub(crate) async fn raw(server: SocketAddr, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut socket = TcpStream::connect(server).await.unwrap();
    socket.write_all(bytes.as_ref()).await.unwrap();
    let mut answer = Vec::new();
    soon("the connection's end", socket.read_to_end(&mut answer))
        .await
        .unwrap();
    answer
}
