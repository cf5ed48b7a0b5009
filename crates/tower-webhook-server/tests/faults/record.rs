//! What callers were answered, and what the receiver got.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{Router, http::HeaderMap, routing::post};
use http::StatusCode;
use tokio::{net::TcpListener, sync::Notify};

use crate::fleet::Addresses;

#[derive(Default)]
pub(crate) struct Record {
    answered: Mutex<HashSet<String>>,
    received: Mutex<HashMap<String, usize>>,
    next: AtomicUsize,
    is_over: AtomicBool,
    has_answered: Notify,
}

impl Record {
    pub(crate) fn answers(&self) -> usize {
        self.answered.lock().unwrap().len()
    }

    /// Waits until so many more calls are answered.
    pub(crate) async fn more_answers(&self, number: usize) {
        let enough = self.answers() + number;
        while self.answers() < enough {
            self.has_answered.notified().await;
        }
    }

    pub(crate) fn stop(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// How many calls were answered, are lost, and came more than once.
    pub(crate) fn sums(&self) -> (usize, usize, usize) {
        let (answered, received) = (self.answered.lock().unwrap(), self.received.lock().unwrap());
        let lost = answered.iter().filter(|id| !received.contains_key(*id));
        let repeated = received.values().filter(|times| **times > 1);
        (answered.len(), lost.count(), repeated.count())
    }
}

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

/// Takes every webhook.
pub(crate) async fn receiver(record: &Arc<Record>) -> String {
    let record = Arc::clone(record);
    let hook = |headers: HeaderMap| async move {
        let id = headers["x-request-id"].to_str().unwrap().to_owned();
        *record.received.lock().unwrap().entry(id).or_default() += 1;
        StatusCode::NO_CONTENT
    };
    let address = serve(Router::new().route("/hook", post(hook))).await;
    format!("http://{address}/hook")
}

/// One caller, who calls again and again, any proxy that there is.
pub(crate) async fn call(record: Arc<Record>, proxies: Addresses, endpoint: String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    while !record.is_over.load(Ordering::SeqCst) {
        let id = format!("call-{}", record.next.fetch_add(1, Ordering::SeqCst));
        let proxy = proxies.any();
        let call = client
            .post(format!("http://{proxy}/run"))
            .query(&[("webhookEndpoint", &endpoint)])
            .header("x-request-id", &id)
            .body("done");
        let Ok(response) = call.send().await else {
            // It was killed.
            tokio::task::yield_now().await;
            continue;
        };
        let is_fine = response.status() == StatusCode::OK;
        // All of it: only then is the webhook certain.
        if response.bytes().await.is_ok() && is_fine {
            record.answered.lock().unwrap().insert(id);
            record.has_answered.notify_waiters();
        }
    }
}
