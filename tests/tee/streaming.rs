//! Frames reach the caller when they are made.

use std::convert::Infallible;

use axum::{
    Router,
    response::sse::{Event, Sse},
    routing::get,
};
use futures::StreamExt;
use http::Method;
use http_body_util::BodyExt;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{
    caller::{BOTH, Caller, next_text},
    rig::Rig,
    server::serve,
    soon,
};

#[tokio::test]
async fn server_sent_events_are_not_held_back() {
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let (make, made) = mpsc::channel::<&str>(1);
        let made = std::sync::Arc::new(Mutex::new(Some(made)));
        let handler = || async move {
            let events = ReceiverStream::new(made.lock().await.take().unwrap());
            Sse::new(events.map(|text| Ok::<_, Infallible>(Event::default().data(text))))
        };
        let app = Router::new().route("/", get(handler)).layer(rig.layer());
        let server = serve(app).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let request = caller.request(Method::GET, &rig.asking("/"));
        let response = caller.send(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut body = response.into_body();
        // No event is made before the one before it was seen.
        for text in ["one", "two", "three"] {
            make.send(text).await.unwrap();
            assert_eq!(next_text(&mut body).await, format!("data: {text}\n\n"));
        }
        drop(make);
        let rest = soon("the end", body.collect()).await.unwrap();
        assert!(rest.to_bytes().is_empty());
        let webhook = rig.receiver.next().await;
        assert_eq!(webhook.body, "data: one\n\ndata: two\n\ndata: three\n\n");
        assert_eq!(webhook.header("content-type"), "text/event-stream");
        rig.expect_delivered().await;
    }
}
