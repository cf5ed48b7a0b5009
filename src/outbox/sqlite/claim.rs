use std::{
    fmt,
    time::{Duration, SystemTime},
};

use tokio::sync::oneshot;

use super::{
    command::{Command, Settle, StoredRow},
    error::gone,
    hold::Hold,
    secrets::Secrets,
    text::{endpoint_from_text, headers_from_text, status_from},
};
use crate::{
    BoxError, Delivery, Payload, RequestId,
    delivery::DeliveryParts,
    event::{AttemptError, Outcome},
    outbox::{AttemptRecord, Claim, Verdict},
};

/// A delivery claimed from the file. It is nobody else's for as long as this lives; dropped
/// without being settled, it is due again.
pub struct SqliteClaim {
    hold: Hold,
    delivery: Delivery,
    attempt: u32,
    unreadable: Option<&'static str>,
}

impl SqliteClaim {
    /// `None` when it cannot even be said where it would go: it is dead then.
    pub(super) fn read(hold: Hold, row: StoredRow, secrets: &Secrets) -> Option<Self> {
        let attempt = u32::try_from(row.attempt).unwrap_or(1).max(1);
        let id = row.id.as_deref().and_then(RequestId::parse);
        let endpoint = row.endpoint.as_deref().and_then(endpoint_from_text);
        let (Some(id), Some(endpoint)) = (id.clone(), endpoint) else {
            bury(hold, id, attempt);
            return None;
        };
        let mut unreadable = None;
        let secret = secrets.open(row.secret.as_deref(), row.secret_key.as_deref(), &id);
        if secret.is_none() {
            unreadable = Some("its secret cannot be opened with the keys that were given");
        }
        let status = status_from(row.status);
        let headers = row.headers.as_deref().and_then(headers_from_text);
        let whole = |payload: &bytes::Bytes| i64::try_from(payload.len()) == Ok(row.payload_len);
        let payload = row.payload.filter(whole);
        if status.is_none() || headers.is_none() || payload.is_none() {
            unreadable = Some("its row was changed");
        }
        if let Some(reason) = unreadable {
            tracing::error!(id = id.as_str(), reason, "a stored delivery cannot be read");
        }
        let parts = DeliveryParts {
            id,
            endpoint,
            secret: secret.flatten(),
            status: status.unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            payload: payload.map(Payload::from).unwrap_or_default(),
        };
        Some(Self {
            hold,
            delivery: parts.into(),
            attempt,
            unreadable,
        })
    }
}

/// Without an endpoint there is nothing that a worker could be given.
fn bury(hold: Hold, id: Option<RequestId>, attempt: u32) {
    tracing::error!(
        id = id.as_ref().map(RequestId::as_str),
        "a stored delivery cannot be read"
    );
    let last = Outcome::Failed(AttemptError::Unreadable);
    let record = AttemptRecord::new(attempt, SystemTime::now(), Duration::ZERO, last);
    let (claim, handle) = hold.take();
    let _ = handle.send(Command::Settle(Settle {
        claim,
        id,
        verdict: Verdict::Dead(last),
        record,
        reason: Some("its id or its endpoint was changed"),
        reply: None,
    }));
}

impl Claim for SqliteClaim {
    fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn is_unreadable(&self) -> bool {
        self.unreadable.is_some()
    }

    async fn settle(self, verdict: Verdict, record: AttemptRecord) -> Result<(), BoxError> {
        let id = self.delivery.id().clone();
        let (reply, answer) = oneshot::channel();
        let (claim, handle) = self.hold.take();
        handle.send(Command::Settle(Settle {
            claim,
            id: Some(id),
            verdict,
            record,
            reason: self.unreadable,
            reply: Some(reply),
        }))?;
        Ok(answer.await.map_err(|_| gone())??)
    }
}

impl fmt::Debug for SqliteClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteClaim")
            .field("id", self.delivery.id())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
