//! What the client has open, as gauges.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::{
    TAKEN, TAKES,
    hostile::{Api, Receiver, Stub, found, within},
    recorder::Recorder,
};

#[tokio::test]
async fn connections_and_look_ups_are_seen() {
    let recorder = Recorder::install();
    let receiver = Receiver::new(|mut conn| async move {
        conn.request().await;
        conn.say(TAKES).await;
        conn.closed().await;
    });
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let resolver = Stub({
        let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
        move |_: &str| {
            let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
            Box::pin(async move {
                asked.notify_one();
                answer.notified().await;
                found(["127.0.0.1"]).await
            }) as _
        }
    });
    let mut api = Api::with(|builder| builder.with_metrics().with_resolver(resolver));
    let dispatcher = api.dispatcher.clone();
    let now = async || {
        let connections = recorder.gauge(&dispatcher, "webhook_connections").await;
        (
            connections.unwrap(),
            recorder.value("webhook_lookups").unwrap(),
        )
    };
    assert_eq!(now().await, (0.0, 0.0));
    let port = receiver.address.port();
    api.send(&format!("http://receiver.example.com:{port}/"))
        .await;
    within(asked.notified()).await;
    // It counts from before it is opened.
    assert_eq!(now().await, (1.0, 1.0));
    answer.notify_one();
    assert_eq!(api.attempted().await.outcome, TAKEN);
    assert_eq!(now().await, (1.0, 0.0), "it is kept for another attempt");
}
