//! What is sent to the server, and how its answers are awaited.

use std::{error::Error, future::Future, time::Duration};

use async_nats::{
    Client, HeaderMap, Request, RequestErrorKind, Subject,
    connection::State,
    jetstream::{
        self, AckKind, ErrorCode,
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};
use bytes::Bytes;
use tokio::time::timeout;

use crate::{JetStreamOutboxError, JetStreamOutboxErrorKind as Kind, engine::Engine};

impl Engine {
    /// What is sent and answered in this time.
    pub(crate) async fn in_time<T>(
        &self,
        time: Duration,
        answered: impl Future<Output = T>,
    ) -> Result<T, JetStreamOutboxError> {
        check_connection(&self.client)?;
        let answered = timeout(time, answered).await;
        answered.map_err(|_| Kind::TimedOut.into())
    }

    /// Publishes without waiting for the acknowledgement. How long that may take is the caller's to say.
    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<PublishAckFuture, JetStreamOutboxError> {
        let mut message = PublishMessage::build().payload(payload);
        if let Some(headers) = headers {
            message = message.headers(headers);
        }
        check_connection(&self.client)?;
        let published = self.context.send_publish(subject, message).await;
        published.map_err(publish_error)
    }

    /// Acknowledges a message in one way or another, and waits until the server has heard it: what
    /// becomes of the message is so for the next pull.
    pub(crate) async fn answer(
        &self,
        reply: &Subject,
        kind: AckKind,
    ) -> Result<(), JetStreamOutboxError> {
        let request = Request::new().payload(kind.into()).timeout(None);
        let sent = self.client.send_request(reply.clone(), request);
        let Err(error) = self.in_time(2 * self.settings.timeout, sent).await? else {
            return Ok(());
        };
        let kind = match error.kind() {
            RequestErrorKind::TimedOut => Kind::TimedOut,
            // The consumer is gone, and with it every lease.
            RequestErrorKind::NoResponders => Kind::Refused,
            _ => Kind::Other,
        };
        Err(JetStreamOutboxError::new(kind).with_source(error))
    }

    /// The same for what nobody waits for: what is not heard is delivered again after a lease.
    pub(crate) async fn hint(&self, reply: Subject, kind: AckKind) {
        let sent = self.client.publish(reply, kind.into());
        let failure = match self.in_time(self.settings.timeout, sent).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::debug!(
            failure,
            "a message that is handed back comes after its lease"
        );
    }
}

/// Without a connection nothing is sent: the client would keep it for the next one, when nobody waits for
/// the answer any more, and what it says may no longer be so.
pub(crate) fn check_connection(client: &Client) -> Result<(), JetStreamOutboxError> {
    match client.connection_state() {
        State::Connected => Ok(()),
        _ => Err(Kind::TimedOut.into()),
    }
}

pub(crate) fn publish_error(error: PublishError) -> JetStreamOutboxError {
    let kind = match error.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Kind::TimedOut,
        PublishErrorKind::MaxPayloadExceeded => Kind::TooLarge,
        _ if is_full(&error) => Kind::Full,
        _ => Kind::Refused,
    };
    JetStreamOutboxError::new(kind).with_source(error)
}

/// A limit of the server, the account or the stream is reached.
fn is_full(error: &PublishError) -> bool {
    const FULL: [ErrorCode; 5] = [
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ErrorCode::INSUFFICIENT_RESOURCES,
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::STREAM_STORE_FAILED,
        ErrorCode::TEMP_STORAGE_FAILED,
    ];
    let reason = error.source().and_then(|reason| reason.downcast_ref());
    reason.is_some_and(|reason: &jetstream::Error| FULL.contains(&reason.error_code()))
}
