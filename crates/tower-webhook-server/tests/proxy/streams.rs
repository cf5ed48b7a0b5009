//! What must not wait for its end.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, ws::WebSocketUpgrade},
    routing::{any, get, post},
};
use futures::{SinkExt, StreamExt, stream};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    join,
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    process::within,
    raw::{RawService, header, raw_call},
    world::{SECRET, World},
};

const TRYING_OUT: &[&str] = &["--insecure-private-endpoints"];

#[tokio::test]
async fn an_event_reaches_the_caller_before_the_next_is_made() {
    let (events, made) = mpsc::unbounded_channel::<&str>();
    let made = Mutex::new(Some(made));
    let stream = move || {
        let made = made.lock().unwrap().take().expect("there is one call");
        let made = UnboundedReceiverStream::new(made).map(Ok::<_, std::io::Error>);
        let body = Body::from_stream(made);
        async { ([("content-type", "text/event-stream")], body) }
    };
    let stream = Arc::new(stream);
    let service = Router::new().route("/", get(move || stream()));
    let mut world = World::of(service, TRYING_OUT).await;
    events.send("data: 1\n\n").unwrap();
    let mut response = within(world.call(Method::GET, "/").send()).await.unwrap();
    assert_eq!(
        within(response.chunk()).await.unwrap().unwrap(),
        "data: 1\n\n"
    );
    events.send("data: 2\n\n").unwrap();
    assert_eq!(
        within(response.chunk()).await.unwrap().unwrap(),
        "data: 2\n\n"
    );
    drop(events);
    assert_eq!(within(response.chunk()).await.unwrap(), None);
    let webhook = world.webhook().await;
    assert_eq!(webhook.body, "data: 1\n\ndata: 2\n\n");
    assert_eq!(webhook.headers["content-type"], "text/event-stream");
}

#[tokio::test]
async fn a_request_reaches_the_service_before_its_end_is_made() {
    let echo = |request: Request| async { Body::new(request.into_body()) };
    let world = World::of(Router::new().route("/", post(echo)), &[]).await;
    let mut socket = TcpStream::connect(world.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    for chunk in ["first", "second"] {
        let framed = format!("{:x}\r\n{chunk}\r\n", chunk.len());
        socket.write_all(framed.as_bytes()).await.unwrap();
        while !answer.ends_with(&framed) {
            answer.push(within(socket.read_u8()).await.unwrap().into());
        }
    }
}

#[tokio::test]
async fn a_websocket_is_a_tunnel() {
    let echo = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                let _ = socket.send(message).await;
            }
        })
    };
    let world = World::of(Router::new().route("/", any(echo)), &[]).await;
    // Upgrades never make a webhook, so that even this endpoint is not looked at.
    let url = format!("ws://{}/?webhookEndpoint=x", world.address);
    let connecting = tokio_tungstenite::connect_async(url);
    let (mut socket, _) = within(connecting).await.unwrap();
    for text in ["hello", "again"] {
        within(socket.send(Message::text(text))).await.unwrap();
        let answer = within(socket.next()).await.unwrap().unwrap();
        assert_eq!(answer, Message::text(text));
    }
}

#[tokio::test]
async fn trailers_go_through_over_http2() {
    let call = || async {
        let trailers = [("grpc-status", "0")];
        let trailers =
            trailers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let frames = [
            Frame::data(Bytes::from_static(b"message")),
            Frame::trailers(trailers.into_iter().collect()),
        ];
        let frames = stream::iter(frames.map(Ok::<_, std::io::Error>));
        Body::new(StreamBody::new(frames))
    };
    let args = ["--insecure-private-endpoints", "--upstream-http2"];
    let mut world = World::of(Router::new().route("/", get(call)), &args).await;

    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = http::Request::get(format!(
        "http://{}/?webhookEndpoint={}",
        world.address, world.endpoint
    ));
    let request = request.header("x-webhook-secret", SECRET);
    let request = request.header("te", "trailers").body(Empty::<Bytes>::new());
    let response = client.request(request.unwrap());
    let body = within(response).await.unwrap().into_body();
    let body = within(body.collect()).await.unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "message");

    let webhook = world.webhook().await;
    assert_eq!(webhook.body, "message");
    assert_eq!(webhook.headers["grpc-status"], "0");
}

#[tokio::test]
async fn trailers_go_through_over_http1_where_they_are_named() {
    let service = RawService::start().await;
    let world = World::before(service.address, &[]).await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, close\r\n\
        trailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n";
    let serve = async {
        let mut raw = service.accept().await;
        let head = raw.head().await;
        let body = raw.until("0\r\n").await + &raw.head().await;
        let answer = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
            2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n";
        raw.write(answer).await;
        (head, body)
    };
    let (answer, (head, sent)) = join!(raw_call(world.address, request), serve);
    assert_eq!(header(&head, "te"), Some("trailers"), "{head}");
    assert_eq!(sent, "2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n");
    assert!(answer.ends_with("\r\n0\r\nx-sum: 2\r\n\r\n"), "{answer}");
}
