//! WebSockets, CONNECT and 101 are never a webhook, and work as they do without the layer.

use axum::{
    Router,
    body::Body,
    extract::{WebSocketUpgrade, ws},
    response::Response,
    routing::any,
};
use futures::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};
use tower::{Layer, service_fn};
use tower_webhook::event::FailReason;

use crate::support::{
    caller::{BOTH, Caller, Protocol},
    rig::Rig,
    server::{Server, serve},
    soon,
};

async fn echo_messages(mut socket: ws::WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let _ = socket.send(message).await;
    }
}

#[tokio::test]
async fn a_websocket() {
    let rig = Rig::new().await;
    let upgrade = |upgrade: WebSocketUpgrade| async { upgrade.on_upgrade(echo_messages) };
    let app = Router::new().route("/", any(upgrade)).layer(rig.layer());
    let server = serve(app).await;
    let url = format!("ws://{}{}", server.address, rig.asking("/"));
    let (mut socket, response) = soon("the upgrade", connect_async(url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    for message in [Message::text("hello"), Message::binary(vec![7; 70_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(
            soon("the echo", socket.next()).await.unwrap().unwrap(),
            message
        );
    }
    socket.close(None).await.unwrap();
    nothing_happened(rig).await;
}

/// Echoes what comes through a tunnel.
async fn tunnel(status: StatusCode, request: Request<Incoming>) -> Result<Response, hyper::Error> {
    tokio::spawn(async {
        let tunnel = hyper::upgrade::on(request).await.unwrap();
        let (mut from, mut to) = tokio::io::split(TokioIo::new(tunnel));
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let headers = response.headers_mut();
        headers.insert("connection", HeaderValue::from_static("upgrade"));
        headers.insert("upgrade", HeaderValue::from_static("echo"));
    }
    Ok(response)
}

async fn serve_tunnels(rig: &Rig, status: StatusCode) -> Server {
    let layer = rig.layer().with_endpoint_header(ENDPOINT);
    serve(layer.layer(service_fn(move |request| tunnel(status, request)))).await
}

const ENDPOINT: HeaderName = HeaderName::from_static("x-webhook-endpoint");

#[tokio::test]
async fn connect() {
    for protocol in BOTH {
        let rig = Rig::new().await;
        let server = serve_tunnels(&rig, StatusCode::OK).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let mut request = caller.request(Method::CONNECT, "/");
        *request.uri_mut() = "example.com:443".parse().unwrap();
        let endpoint = rig.receiver.url("/hook").parse().unwrap();
        request.headers_mut().insert(ENDPOINT, endpoint);
        let response = caller.send(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let tunnel = soon("the tunnel", hyper::upgrade::on(response))
            .await
            .unwrap();
        let mut tunnel = TokioIo::new(tunnel);
        tunnel.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        soon("the echo", tunnel.read_exact(&mut echo))
            .await
            .unwrap();
        assert_eq!(&echo, b"hello");
        drop(tunnel);
        if protocol == Protocol::H1 {
            caller.leave().await;
        }
        nothing_happened(rig).await;
    }
}

/// The request's `Upgrade` is one that is not looked at, so it is taken for a webhook.
#[tokio::test]
async fn a_101_to_a_request_that_asked_for_a_webhook() {
    let mut rig = Rig::new().await;
    let server = serve_tunnels(&rig, StatusCode::SWITCHING_PROTOCOLS).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let target = rig.asking("/");
    let request =
        format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the head", socket.read_u8()).await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    socket.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    soon("the echo", socket.read_exact(&mut echo))
        .await
        .unwrap();
    assert_eq!(&echo, b"hello");
    rig.expect_failed(FailReason::Upgraded).await;
}

async fn nothing_happened(mut rig: Rig) {
    rig.expect_no_more(0).await;
    assert_eq!(
        rig.dispatcher.counts(),
        tower_webhook::event::Counts::default()
    );
    assert!(rig.events.rest().is_empty() && rig.receiver.rest().is_empty());
}
