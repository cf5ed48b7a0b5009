//! What callers were answered, and what the receiver got.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::HeaderMap, routing::post};
use http::StatusCode;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle, time::timeout};

use crate::fleet::Addresses;

#[derive(Default)]
pub(crate) struct Record {
    /// When each call was answered.
    answered: Mutex<HashMap<String, Instant>>,
    received: Mutex<HashMap<String, Received>>,
    next: AtomicUsize,
    refused: AtomicUsize,
    /// The one that took longest, in milliseconds.
    longest: AtomicU64,
    is_over: AtomicBool,
    has_answered: Notify,
    has_received: Notify,
}

/// A webhook, however often it came.
struct Received {
    first: Instant,
    times: usize,
}

impl Record {
    pub(crate) fn answers(&self) -> usize {
        self.answered.lock().unwrap().len()
    }

    /// How many calls had another answer than the service's, or none.
    pub(crate) fn refusals(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// How long the longest call has taken.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.load(Ordering::SeqCst))
    }

    /// Waits until so many more calls are answered.
    pub(crate) async fn more_answers(&self, number: usize) {
        let enough = self.answers() + number;
        let answers = async {
            loop {
                let answered = self.has_answered.notified();
                if self.answers() >= enough {
                    return;
                }
                answered.await;
            }
        };
        timeout(LONG, answers).await.expect("calls are answered");
    }

    /// How many calls were answered, are lost, and came more than once.
    fn sums(&self) -> (usize, usize, usize) {
        let (answered, received) = (self.answered.lock().unwrap(), self.received.lock().unwrap());
        let lost = answered.keys().filter(|id| !received.contains_key(*id));
        let repeated = received.values().filter(|received| received.times > 1);
        (answered.len(), lost.count(), repeated.count())
    }

    /// How long after the answer a webhook came: half of them, and all but one in a hundred.
    fn latencies(&self) -> [Duration; 2] {
        let (answered, received) = (self.answered.lock().unwrap(), self.received.lock().unwrap());
        let came = answered.iter().filter_map(|(id, answered)| {
            let first = received.get(id)?.first;
            Some(first.saturating_duration_since(*answered))
        });
        let mut came: Vec<_> = came.collect();
        came.sort_unstable();
        [50, 99].map(|percent| {
            came.get(came.len() * percent / 100)
                .copied()
                .unwrap_or_default()
        })
    }
}

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

/// Callers at work, and what they and the receiver record.
pub(crate) struct Load {
    pub(crate) record: Arc<Record>,
    callers: Vec<JoinHandle<()>>,
}

const CALLERS: usize = 16;

/// Longer than several leases.
pub(crate) const LONG: Duration = Duration::from_secs(180);

/// Longer than a response waits for an outbox.
const PATIENCE: Duration = Duration::from_secs(30);

impl Load {
    pub(crate) async fn on(proxies: &Addresses) -> Self {
        let record = Arc::new(Record::default());
        let endpoint = receiver(&record).await;
        let call = |endpoint: &String| {
            let call = call(Arc::clone(&record), proxies.clone(), endpoint.clone());
            tokio::spawn(call)
        };
        let mut callers: Vec<_> = (0..CALLERS).map(|_| call(&endpoint)).collect();
        callers.push(tokio::spawn(call_in_vain(
            Arc::clone(&record),
            proxies.clone(),
        )));
        Self { callers, record }
    }

    /// Nobody calls any more, and all that was answered has come: what a killed process had leased comes
    /// after the time of a lease.
    pub(crate) async fn end(&mut self) {
        self.record.is_over.store(true, Ordering::SeqCst);
        for caller in self.callers.drain(..) {
            caller.await.unwrap();
        }
        let all_have_come = async {
            while self.record.sums().1 > 0 {
                self.record.has_received.notified().await;
            }
        };
        // What is lost is told by `expect_all`.
        let _ = timeout(LONG, all_have_come).await;
    }

    /// Says how it was, and that nothing is lost.
    pub(crate) fn expect_all(&self, what: &str) {
        let (answered, lost, repeated) = self.record.sums();
        let [half, most] = self.record.latencies();
        println!(
            "{what}: {answered} answered, {lost} lost, {repeated} more than once; webhooks came {half:.1?} \
             after the answer (p50) and {most:.1?} (p99), beside an endpoint that always fails"
        );
        assert!(answered > 0);
        assert_eq!(lost, 0);
    }
}

/// Takes every webhook.
async fn receiver(record: &Arc<Record>) -> String {
    let record = Arc::clone(record);
    let hook = |headers: HeaderMap| async move {
        let id = headers["x-request-id"].to_str().unwrap().to_owned();
        let mut all = record.received.lock().unwrap();
        let first = Instant::now();
        all.entry(id).or_insert(Received { first, times: 0 }).times += 1;
        drop(all);
        record.has_received.notify_one();
        StatusCode::NO_CONTENT
    };
    let address = serve(Router::new().route("/hook", post(hook))).await;
    format!("http://{address}/hook")
}

/// One caller whose endpoint always fails: what it is answered does not count.
async fn call_in_vain(record: Arc<Record>, proxies: Addresses) {
    let fail = || async { StatusCode::INTERNAL_SERVER_ERROR };
    // A host of its own: limits are by host.
    let address = serve(Router::new().fallback(fail)).await;
    let endpoint = format!("http://localhost:{}/hook", address.port());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    while !record.is_over.load(Ordering::SeqCst) {
        let call = client
            .post(format!("http://{}/run", proxies.any()))
            .query(&[("webhookEndpoint", &endpoint)])
            .body("in vain");
        let _ = timeout(PATIENCE, call.send()).await;
    }
}

/// One caller, who calls again and again, any proxy that there is.
async fn call(record: Arc<Record>, proxies: Addresses, endpoint: String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    while !record.is_over.load(Ordering::SeqCst) {
        let id = format!("call-{}", record.next.fetch_add(1, Ordering::SeqCst));
        let proxy = proxies.any();
        let call = client
            .post(format!("http://{proxy}/run"))
            .query(&[("webhookEndpoint", &endpoint)])
            .header("x-request-id", &id)
            .body("done");
        let began = Instant::now();
        let answered = async {
            let response = call.send().await?;
            let is_fine = response.status() == StatusCode::OK;
            // All of it: only then is the webhook certain.
            response.bytes().await?;
            Ok::<_, reqwest::Error>(is_fine)
        };
        let answered = timeout(PATIENCE, answered).await;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap();
        record.longest.fetch_max(took, Ordering::SeqCst);
        if !matches!(answered, Ok(Ok(true))) {
            record.refused.fetch_add(1, Ordering::SeqCst);
        }
        match answered {
            Ok(Ok(true)) => {
                record.answered.lock().unwrap().insert(id, Instant::now());
                record.has_answered.notify_waiters();
            }
            // It was killed, or refuses.
            Ok(_) => tokio::task::yield_now().await,
            Err(_elapsed) => eprintln!("{id} had no answer in {PATIENCE:?}"),
        }
    }
}
