//! Ten thousand asynchronous calls that run at once: memory stays under what is stated for a webhook
//! under way. Alone in its binary, as it looks at the whole process.
#![cfg(target_os = "linux")]

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{BoxError, Dispatcher, EventKind, Payload, WebhookLayer};

const RUNS: usize = 10_000;

/// What `DispatcherBuilder::with_memory_budget` says that a webhook under way takes at most whose call
/// nobody waits for, besides its payload, the headers that are kept, and what its handler holds.
const WEBHOOK: usize = 7 << 10;
/// What the layer's own room for them is counted as; nothing of it is used before there is a body.
const RESERVED: usize = 256 << 10;

/// The longest that are permitted.
const URL: usize = 2_048;
const SECRET: usize = 1_024;

#[tokio::test]
async fn ten_thousand_runs_are_under_way_in_the_stated_bound() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let client = service_fn(|_: Request<Payload>| async {
        Ok::<_, BoxError>(Response::new(Full::new(Bytes::new())))
    });
    let dispatcher = Dispatcher::builder()
        .with_client(client)
        .with_max_outstanding(RUNS)
        .with_max_outstanding_per_host(RUNS)
        .with_memory_budget(RUNS * RESERVED * 8 / 7)
        .on_event(move |event| {
            if event.is_final() {
                let _ = ended.send(event.kind().clone());
            }
        })
        .build();
    let may_end = Arc::new(Semaphore::new(0));
    let service = {
        let may_end = Arc::clone(&may_end);
        service_fn(move |_: Request<()>| {
            let may_end = Arc::clone(&may_end);
            async move {
                let _permit = may_end.acquire().await.unwrap();
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
            }
        })
    };
    let layer = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .with_async_requests();
    let app = layer.layer(service);
    let call = |number: usize| {
        let url = "https://example.com/";
        let rest = URL - url.len();
        let target = format!("/?async=true&webhookEndpoint={url}{number:0>rest$}");
        let request = Request::get(target).header("x-webhook-secret", "s".repeat(SECRET));
        app.clone().oneshot(request.body(()).unwrap())
    };
    let before = resident();
    for number in 0..RUNS {
        let receipt = call(number).await.unwrap();
        assert_eq!(receipt.status(), StatusCode::ACCEPTED);
        receipt.into_body().collect().await.unwrap();
    }
    assert_eq!(dispatcher.outstanding(), RUNS);
    let grown = resident().saturating_sub(before);
    println!("{} bytes for each of {RUNS} runs", grown / RUNS);
    assert!(grown <= RUNS * WEBHOOK, "{grown} bytes");
    let refused = call(RUNS).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);

    may_end.add_permits(RUNS);
    for _ in 0..RUNS {
        let end = timeout(PATIENCE, ends.recv()).await.unwrap().unwrap();
        assert_eq!(end, EventKind::Delivered { attempts: 1 });
    }
    let report = dispatcher.shutdown(PATIENCE).await;
    assert_eq!((report.abandoned.len(), report.unfinished), (0, 0));
}

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}
