//! A server that hangs: a TCP proxy in front of it stops forwarding, and keeps its sockets open.

use std::time::Duration;

use http::StatusCode;
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};
use tower_webhook::outbox::Outbox;
use tower_webhook_postgres::{PostgresOutboxError, PostgresOutboxErrorKind as Kind};

use crate::{
    deliveries::new,
    support::{
        place::Place,
        proxy::behind_a_proxy,
        scene::{PATIENCE, Receiver, call, dispatcher, until},
        server,
    },
};

fn kind(error: &tower_webhook::BoxError) -> Kind {
    error.downcast_ref::<PostgresOutboxError>().unwrap().kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_a_connection_that_hangs_fails_in_time_and_the_next_one_connects_anew() {
    let Some((place, proxy)) = behind_a_proxy().await else {
        return;
    };
    let builder = place.builder().with_timeout(Duration::from_secs(2));
    let outbox = builder.open().await.unwrap();
    outbox
        .insert(vec![new("a.example", "1", false)])
        .await
        .unwrap();
    proxy.flows.send_replace(false);
    for _ in 0..3 {
        let failed = outbox.insert(vec![new("a.example", "2", false)]);
        let failed = timeout(PATIENCE, failed).await.expect("it fails in time");
        assert_eq!(kind(&failed.unwrap_err()), Kind::TimedOut);
    }
    proxy.flows.send_replace(true);
    until(async || {
        outbox
            .insert(vec![new("a.example", "3", false)])
            .await
            .is_ok()
    })
    .await;
    // The server notices that those connections are closed.
    let query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tower-webhook'
                 AND state LIKE 'idle in transaction%'";
    let sql = server::shared().unwrap().sql().await;
    until(async || sql.query_one(query, &[]).await.unwrap().get::<_, i64>(0) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_completes_while_the_server_hangs_and_is_delivered() {
    let Some((place, proxy)) = behind_a_proxy().await else {
        return;
    };
    let receiver = Receiver::start(200).await;
    let builder = place.builder().with_timeout(Duration::from_secs(2));
    let dispatcher = dispatcher()
        .with_outbox(builder.open().await.unwrap())
        .with_accept_timeout(Duration::from_secs(1))
        .build();
    call(&dispatcher, "before", &receiver.url()).await;
    proxy.flows.send_replace(false);
    let began = Instant::now();
    let answered = timeout(PATIENCE, call(&dispatcher, "meanwhile", &receiver.url())).await;
    assert_eq!(answered.expect("it completes"), StatusCode::OK);
    println!("completed after {:.1?}", began.elapsed());
    receiver.gets(2).await;
    proxy.flows.send_replace(true);
    dispatcher.shutdown(Duration::from_secs(10)).await;
}

/// A server that accepts connections and never responds.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_greets_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let place = Place {
        url: format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        schema: "webhooks".to_owned(),
    };
    let opened = place
        .builder()
        .with_timeout(Duration::from_millis(200))
        .open();
    let opened = timeout(PATIENCE, opened).await.expect("it ends");
    assert_eq!(opened.unwrap_err().kind(), Kind::TimedOut);
}
