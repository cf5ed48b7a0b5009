//! Deliveries a second to one endpoint, alone and while another one stalls at its full share of
//! everything: `cargo bench --bench stalled`.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode, routing::post};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{
    Dispatcher, EndpointPolicy, EventKind, WebhookLayer,
    attempt::{Resolve, ResolveFuture},
};

const ROUNDS: usize = 5;
const DELIVERIES: usize = 5_000;
const OUTSTANDING: usize = 64;

/// Every name is this machine's: hosts are told apart by their names.
#[derive(Debug)]
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _: &str) -> ResolveFuture {
        Box::pin(async { Ok::<_, io::Error>(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) })
    }
}

#[tokio::main]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let deliveries = if quick { 500 } else { DELIVERIES };
    let healthy = serve(post(|_: Bytes| async { StatusCode::NO_CONTENT })).await;
    let stalled = serve(post(|_: Bytes| std::future::pending::<StatusCode>())).await;
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let alone = rate(healthy, None, deliveries).await;
        let beside = rate(healthy, Some(stalled), deliveries).await;
        println!("round {round}: {alone:.0}/s alone, {beside:.0}/s beside a stalled endpoint");
        ratios.push(beside / alone);
    }
    ratios.sort_by(f64::total_cmp);
    println!("figure stalled_rate_ratio {:.3}", ratios[ROUNDS / 2]);
}

async fn serve(route: axum::routing::MethodRouter) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().route("/", route);
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Deliveries a second to the healthy endpoint, so many of them outstanding at any time.
async fn rate(healthy: SocketAddr, stalled: Option<SocketAddr>, deliveries: usize) -> f64 {
    let turns = Arc::new(Semaphore::new(OUTSTANDING));
    let ended = Arc::clone(&turns);
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let dispatcher = Dispatcher::builder()
        .with_endpoint_policy(policy)
        .with_resolver(Loopback)
        .with_attempt_timeout(Duration::from_secs(600))
        .on_event(move |event| {
            if matches!(event.kind(), EventKind::Delivered { .. }) {
                ended.add_permits(1);
            }
        })
        .build();
    if let Some(stalled) = stalled {
        // Its whole share of the places: one more is refused.
        while call(&dispatcher, "stalled.example", stalled).await == 200 {}
    }
    let started = Instant::now();
    for _ in 0..deliveries {
        turns
            .acquire()
            .await
            .map(|turn| turn.forget())
            .expect("open");
        assert_eq!(call(&dispatcher, "healthy.example", healthy).await, 200);
    }
    let _all: OwnedSemaphorePermit = turns
        .acquire_many_owned(OUTSTANDING as u32)
        .await
        .expect("open");
    let rate = deliveries as f64 / started.elapsed().as_secs_f64();
    dispatcher.shutdown(Duration::ZERO).await;
    rate
}

async fn call(dispatcher: &Dispatcher, host: &str, address: SocketAddr) -> StatusCode {
    let service = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .layer(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(&[b'x'; 1_024]))))
        }));
    let target = format!("/?webhookEndpoint=http://{host}:{}/", address.port());
    let request = Request::get(target).body(()).expect("a request");
    let Ok(response) = service.oneshot(request).await;
    let status = response.status();
    let _ = response.into_body().collect().await;
    status
}
