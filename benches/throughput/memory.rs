//! How much memory a delivery takes while it is outstanding, beyond its payload: while it is
//! being attempted, and while it waits for its next attempt. Each weighing in a new process.

use std::{
    convert::Infallible,
    fs,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use tokio::task::yield_now;
use tower::service_fn;
use tower_webhook::{Dispatcher, Payload, RetryPolicy, WebhookLayer};

use super::{
    endpoints::{PAYLOAD, dispatcher, host, request},
    peer::{forward, plain},
};
use crate::{
    row,
    support::{
        args::Args,
        child::{Child, end_with_parent, say},
        report::Report,
        rounds::median,
    },
};

pub(crate) const FIGURES: &[&str] = &["outstanding_bytes"];
pub(crate) const ROLES: &[&str] = &["attempted", "waiting"];

const DELIVERIES: usize = 10_000;

pub(crate) fn measure(args: &Args, report: &mut Report) {
    let mut table = vec![row![
        "each of 10,000 deliveries",
        "bytes beyond its payload"
    ]];
    let mut worst = 0.0_f64;
    for &role in ROLES {
        let weigh = |_| {
            let [bytes] = Child::start(role).numbers::<f64, 1>();
            bytes
        };
        let bytes = median((0..args.pick(5, 1)).map(weigh).collect());
        worst = worst.max(bytes);
        table.push(row![role, format!("{bytes:.0}")]);
    }
    report.table("Resident memory", &table);
    report.figure("outstanding_bytes", worst);
}

/// The child's part.
pub(crate) fn weigh(role: &str) {
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let bytes = runtime.block_on(outstanding(role == "waiting"));
    say(&bytes.to_string());
}

async fn outstanding(waiting: bool) -> f64 {
    let attempted = Arc::new(AtomicUsize::new(0));
    let dispatcher = dispatcher_to_nowhere(waiting, Arc::clone(&attempted));
    let mut service = plain(&WebhookLayer::new().with_dispatcher(dispatcher.clone()));
    let mut before = 0;
    for number in 0..=DELIVERIES {
        // A host that never answers has few attempts under way.
        let host = host(number / 4);
        let request = request(&format!("http://{host}/hook/{number}"));
        forward(&mut service, request).await;
        while attempted.load(SeqCst) <= number {
            yield_now().await;
        }
        if number == 0 {
            before = resident();
        }
    }
    assert_eq!(dispatcher.outstanding(), DELIVERIES + 1);
    (resident() - before) as f64 / DELIVERIES as f64 - PAYLOAD.len() as f64
}

/// Its attempts have no end, or end in an answer upon which it is tried again much later.
fn dispatcher_to_nowhere(waiting: bool, attempted: Arc<AtomicUsize>) -> Dispatcher {
    let client = service_fn(move |_request: Request<Payload>| {
        attempted.fetch_add(1, SeqCst);
        async move {
            if !waiting {
                pending::<()>().await;
            }
            let mut answer = Response::new(Empty::<Bytes>::new());
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer.headers_mut().insert("retry-after", 300.into());
            Ok::<_, Infallible>(answer)
        }
    });
    dispatcher()
        .with_client(client)
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .with_max_attempts(DELIVERIES * 4)
        .with_max_attempts_per_host(DELIVERIES * 4)
        .with_attempt_timeout(Duration::from_secs(600))
        .build()
}

/// The bytes of this process that are in memory. Linux only.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux says how much is resident");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.expect("in KiB") << 10
}
