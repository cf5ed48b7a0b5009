//! The service behind the endpoints: it writes down what it gets, and does what it was told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, time::sleep};
use tower_webhook::Verifier;

use crate::{
    journal::Journal,
    manner::{Does, Manner, Step},
};

/// Of so many receivers it is known what they were told; older ones are gone.
const KEPT: usize = 200;
/// So much of a body is shown.
const SHOWN: usize = 4_096;

/// Any number of receivers at one address, each with a path of its own. Clones have the same ones.
#[derive(Clone)]
pub(crate) struct Receivers {
    /// That of those who answer, and that of the wrong certificate.
    ports: [u16; 2],
    journal: Journal,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    manners: VecDeque<Manner>,
    next: u64,
}

impl Receivers {
    pub(crate) fn new(ports: [u16; 2], journal: Journal) -> Self {
        Self {
            ports,
            journal,
            told: Arc::default(),
        }
    }

    /// The endpoint of a new one.
    pub(crate) fn tell(&self, manner: Manner) -> String {
        let [plain, secure] = self.ports;
        let does = manner.does;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.manners.len() == KEPT {
            told.manners.pop_front();
        }
        told.manners.push_back(manner);
        let number = told.next;
        told.next += 1;
        match does {
            Does::Certificate => format!("https://127.0.0.1:{secure}/hook/{number}"),
            _ => format!("http://127.0.0.1:{plain}/hook/{number}"),
        }
    }

    fn manner(&self, number: u64) -> Option<Manner> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = told.next - told.manners.len() as u64;
        let index = usize::try_from(number.checked_sub(oldest)?).ok()?;
        told.manners.get(index).cloned()
    }
}

/// Serves for as long as the process runs. It is not `axum::serve`, as that ends no connection without an answer.
pub(crate) async fn serve(listener: TcpListener, receivers: Receivers) {
    let app = Router::new()
        .route("/hook/{number}", post(receive))
        .with_state(receivers);
    loop {
        // An error is one connection's own, or passes.
        let Ok((socket, _)) = listener.accept().await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let closing = Arc::new(Notify::new());
        let service = TowerToHyperService::new(app.clone().layer(Extension(Arc::clone(&closing))));
        tokio::spawn(async move {
            tokio::select! {
                _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service) => {}
                () = closing.notified() => {}
            }
        });
    }
}

async fn receive(
    State(receivers): State<Receivers>,
    Extension(closing): Extension<Arc<Notify>>,
    Path(number): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(manner) = receivers.manner(number) else {
        return StatusCode::GONE;
    };
    let attempt = header(&headers, "x-webhook-attempt").and_then(|text| text.parse().ok());
    let attempt = attempt.unwrap_or(1);
    // The bytes are verified as they came, before anything reads them.
    let checked = manner
        .own_secret()
        .map(|secret| Verifier::new(secret).verify(&headers, &body));
    let (is_right, check) = match &checked {
        None => (
            None,
            "The call had no secret, so there is no signature.".to_owned(),
        ),
        Some(Ok(_)) => (Some(true), "The signature is right.".to_owned()),
        Some(Err(error)) => (Some(false), format!("Refused: {error}.")),
    };
    let step = match is_right {
        Some(false) => Step::Answer(StatusCode::UNAUTHORIZED),
        _ => manner.step(attempt),
    };
    let does = match &step {
        Step::Answer(status) => format!("answers {}", status.as_u16()),
        Step::AnswerAfter(seconds) => format!("answers 204 after {seconds} s"),
        Step::Close => "closes the connection".to_owned(),
    };
    receivers.journal.write(json!({
        "kind": "received",
        "call": header(&headers, "x-request-id"),
        "attempt": attempt,
        "headers": shown(&headers),
        "body": String::from_utf8_lossy(&body[..body.len().min(SHOWN)]),
        "is_cut": body.len() > SHOWN,
        "is_right": is_right,
        "check": check,
        "does": does,
    }));
    match step {
        Step::Answer(status) => status,
        Step::AnswerAfter(seconds) => {
            sleep(Duration::from_secs(seconds.into())).await;
            StatusCode::NO_CONTENT
        }
        Step::Close => {
            closing.notify_one();
            std::future::pending().await
        }
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Names and values, as the page shows them.
fn shown(headers: &HeaderMap) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let lines = headers.iter();
    lines
        .map(|(name, value)| json!([name.as_str(), text(value.as_bytes())]))
        .collect()
}
