//! What has happened, in its order: the page reads it as it is written.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::response::sse;
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower_webhook::{Event, EventKind, event::Outcome};

/// So much is kept for whoever opens the page later.
const KEPT: usize = 1_000;

/// Clones write to the same one.
#[derive(Clone)]
pub(crate) struct Journal {
    written: Arc<Mutex<Written>>,
    /// The number of the next entry, for those who wait for it.
    next: watch::Sender<u64>,
}

struct Written {
    entries: VecDeque<String>,
    next: u64,
}

impl Journal {
    pub(crate) fn new() -> Self {
        let written = Written {
            entries: VecDeque::with_capacity(KEPT),
            next: 0,
        };
        Self {
            written: Arc::new(Mutex::new(written)),
            next: watch::Sender::new(0),
        }
    }

    pub(crate) fn write(&self, mut entry: Value) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        entry["at"] = json!(now.unwrap_or_default().as_millis());
        let mut written = self.written();
        if written.entries.len() == KEPT {
            written.entries.pop_front();
        }
        written.entries.push_back(entry.to_string());
        written.next += 1;
        // Under the lock, so that it never goes back.
        self.next.send_replace(written.next);
    }

    /// What [`on_event`](tower_webhook::dispatch::DispatcherBuilder::on_event) takes.
    pub(crate) fn subscriber(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let journal = self.clone();
        move |event| {
            if let Some(entry) = entry(event) {
                journal.write(entry);
            }
        }
    }

    /// All entries after this one, and then whatever comes.
    pub(crate) fn after(
        &self,
        seen: Option<u64>,
    ) -> impl Stream<Item = Result<sse::Event, Infallible>> + use<> {
        let start = seen.map_or(0, |number| number.saturating_add(1));
        let reader = (self.clone(), self.next.subscribe(), start);
        stream::unfold(reader, |(journal, mut next, wanted)| async move {
            loop {
                if let Some((number, text)) = journal.read(wanted) {
                    let event = sse::Event::default().id(number.to_string()).data(text);
                    return Some((Ok(event), (journal, next, number + 1)));
                }
                next.changed().await.ok()?;
            }
        })
    }

    /// This entry, or the oldest of those after it that are still there.
    fn read(&self, wanted: u64) -> Option<(u64, String)> {
        let written = self.written();
        let oldest = written.next - written.entries.len() as u64;
        let number = wanted.max(oldest);
        let index = usize::try_from(number - oldest).ok()?;
        written
            .entries
            .get(index)
            .map(|text| (number, text.clone()))
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event of one call's, as the page reads it.
fn entry(event: &Event) -> Option<Value> {
    let mut entry = match event.kind() {
        EventKind::Accepted => json!({ "kind": "accepted" }),
        EventKind::Queued { .. } => json!({ "kind": "queued" }),
        EventKind::Attempted {
            attempt,
            outcome,
            took,
            again_in,
            ..
        } => {
            let (status, error) = match outcome {
                Outcome::Answered { status, .. } => (Some(status.as_u16()), None),
                Outcome::Failed(error) => (None, Some(error.to_string())),
            };
            json!({
                "kind": "attempted",
                "attempt": attempt,
                "status": status,
                "error": error,
                "took": took.as_millis(),
                "again_in": again_in.map(|pause| pause.as_millis()),
            })
        }
        EventKind::Delivered { .. } => json!({ "kind": "ended", "state": "delivered" }),
        EventKind::Dead { .. } => json!({ "kind": "ended", "state": "dead" }),
        EventKind::Failed(reason) => {
            json!({ "kind": "ended", "state": "failed", "why": reason.to_string() })
        }
        EventKind::Abandoned => json!({ "kind": "ended", "state": "given up" }),
        _ => return None,
    };
    entry["call"] = json!(event.request_id()?.as_str());
    entry["delivery"] = json!(event.delivery_id().map(|id| id.to_string()));
    Some(entry)
}
