//! Ten thousand deliveries outstanding to receivers that never answer: memory stays under the
//! bound that follows from the settings. Alone in its binary, as it looks at the whole process.
#![cfg(target_os = "linux")]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{Dispatcher, EndpointPolicy, WebhookLayer};

const DELIVERIES: usize = 10_000;
const ATTEMPTS: usize = 200;
const BODY: usize = 1 << 10;

/// What the settings promise, in bytes: the payloads' budget, what a delivery is besides its
/// payload, and what an attempt under way holds (a connection's buffers, its task, its timers).
const BUDGET: usize = 16 << 20;
const BOUND: usize = BUDGET + DELIVERIES * (4 << 10) + ATTEMPTS * (128 << 10);

#[tokio::test]
async fn memory_stays_under_the_computed_bound() {
    let stalled = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = stalled.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = stalled.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 512];
                while matches!(socket.read(&mut buffer).await, Ok(1..)) {}
            });
        }
    });

    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let dispatcher = Dispatcher::builder()
        .with_endpoint_policy(policy)
        .with_max_outstanding(DELIVERIES, DELIVERIES)
        .with_max_attempts(ATTEMPTS, ATTEMPTS)
        .with_body_limit(BODY)
        .with_memory_budget(BUDGET)
        // Nothing comes to its end while this looks.
        .with_attempt_timeout(Duration::from_secs(3_600))
        .build();
    let service = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .layer(service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; BODY]))))
        }));

    let before = resident();
    for number in 0..DELIVERIES {
        let request = Request::get(format!("/?webhookEndpoint=http://{address}/{number}"))
            .header("x-webhook-secret", "a-value-of-your-choice")
            .body(())
            .unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{number}");
        response.into_body().collect().await.unwrap();
    }
    assert_eq!(dispatcher.outstanding(), DELIVERIES);
    let grown = resident().saturating_sub(before);
    println!("grown by {grown} bytes, bound {BOUND} bytes");
    assert!(grown <= BOUND, "{grown} over {BOUND}");

    let report = dispatcher.shutdown(Duration::ZERO).await;
    assert_eq!(report.abandoned.len(), DELIVERIES);
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}
